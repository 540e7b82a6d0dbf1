"""A scoring script's source goes in (parsed, never run), and the known mistakes that it makes come out."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from critictui.errors import InputError

_LARGEST_SCRIPT = 2 << 20


class DiagnosisError(InputError):
    """Something cannot be diagnosed; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class ScriptFinding:
    """One place in a script that can produce a wrong number."""

    cause: str
    """The id of the cause that it speaks for."""
    mistake: str
    """Which known mistake: wrapped-backbone, template-slice, padded-slice, prompt-echo and so on."""
    line: int
    code: str
    """The source line, stripped."""
    message: str


@dataclass(frozen=True, slots=True)
class ScriptReading:
    """What a script does, as far as its source shows."""

    path: str
    findings: tuple[ScriptFinding, ...]
    sampling: Mapping[str, float] = field(default_factory=dict)
    """Generation parameters that are written as numbers: temperature, top_p, max_tokens and the like."""
    sampling_lines: Mapping[str, int] = field(default_factory=dict)

    def mistakes(self) -> frozenset[str]:
        """The known mistakes that were found."""
        return frozenset(f.mistake for f in self.findings)


MISTAKES: dict[str, tuple[str, str]] = {
    "train-mode": (
        "score-definition",
        "the model is put into training mode: dropout makes scores random; call .eval()",
    ),
    "wrapped-backbone": (
        "head-missing",
        "a model object is wrapped with a value head: the trained head is dropped and a random one is scored",
    ),
    "trl-loader": (
        "head-missing",
        (
            "this loader reads v_head.* only: a checkpoint whose head is named otherwise (score.weight) gets "
            "a random one, and nothing says so"
        ),
    ),
    "own-linear-head": (
        "head-missing",
        "a fresh linear layer with one output, and nothing in the script loads its weights: a random head",
    ),
    "not-strict": (
        "head-missing",
        "load_state_dict(strict=False) keeps random weights where names differ and says nothing",
    ),
    "ignored-sizes": ("head-missing", "ignore_mismatched_sizes replaces a head of another shape by a random one"),
    "str-of-content": (
        "prompt-garbled",
        "str() of a chat's messages gives Python's repr, not the prompt that training saw",
    ),
    "prompt-echo": (
        "prompt-echo",
        (
            "the whole output is decoded, prompt included: the student's text repeats the prompt and the "
            "critic separates formats"
        ),
    ),
    "max-length-counts-prompt": (
        "truncation",
        "generate(max_length=...) counts the prompt: long prompts leave the student no room",
    ),
    "tokenizer-truncation": (
        "truncation",
        "the tokenizer cuts the text at max_length: the response's end may never be scored",
    ),
    "template-slice": (
        "score-definition",
        (
            "the last n positions of a templated chat are scored: the template's closing tokens shift them "
            "off the response"
        ),
    ),
    "padded-slice": (
        "score-definition",
        "the last n positions after right padding are scored: shorter sequences are scored on padding",
    ),
    "ties-counted": (
        "accuracy-definition",
        "a tie is counted as a win or a loss here: <= and >= differ from > where scores are equal",
    ),
    "swallowed-exception": (
        "accuracy-definition",
        "an exception becomes the score 0.0: failed samples are counted as ties or as losses",
    ),
}
"""Each known mistake: the cause it speaks for, and what it does to a score."""

_BACKBONE_LOADERS = {"AutoModelForCausalLM", "AutoModel", "AutoModelForSequenceClassification"}
_HEAD_WRAPPERS = ("WithValueHead", "ValueHead")
_SAMPLING = {
    "temperature", "top_p", "top_k", "repetition_penalty", "presence_penalty", "frequency_penalty",
    "max_tokens", "max_new_tokens", "max_length", "n",
}  # fmt: skip
_WEIGHTS = {"weight", "bias", "data"}
_SAMPLING_CONTEXT = {"temperature", "top_p", "repetition_penalty", "do_sample"}


def read_script(path: Path) -> ScriptReading:
    """Parse `path` and look for the known mistakes. Raises DiagnosisError when it is no Python source."""
    try:
        if path.stat().st_size > _LARGEST_SCRIPT:
            raise DiagnosisError(f"{path}: larger than 2 MiB; pass the scoring script itself to --script")
        source = path.read_bytes()
    except OSError as error:
        raise DiagnosisError(f"{path}: cannot be read ({error.strerror}); pass a Python file to --script") from error
    if not source.strip():
        raise DiagnosisError(f"{path}: the file is empty; pass the scoring script itself to --script")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DiagnosisError(f"{path}: not Python that can be parsed ({error}); nothing was looked for") from error
    lines = source.decode("utf-8", "replace").split("\n")
    visitor = _Reader(lines)
    try:
        visitor.read(tree)
    except RecursionError as error:
        raise DiagnosisError(f"{path}: nested too deeply to be read; nothing was looked for") from error
    findings = sorted({(f.line, f.mistake): f for f in visitor.findings}.values(), key=lambda f: f.line)
    return ScriptReading(str(path), tuple(findings), visitor.sampling, visitor.sampling_lines)


def _dotted(node: ast.AST) -> str:
    """`self.model.values` for a chain of names, or '' for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
        return ".".join(reversed(parts))
    return ""


def _callee(call: ast.Call) -> str:
    return _dotted(call.func)


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((k.value for k in call.keywords if k.arg == name), None)


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _names(node: ast.AST) -> Iterator[str]:
    for child in ast.walk(node):
        if isinstance(child, ast.Name | ast.Attribute):
            name = _dotted(child)
            if name:
                yield name


class _Reader:
    """Collects findings in two passes: first what names hold, then what is done with them."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.findings: list[ScriptFinding] = []
        self.sampling: dict[str, float] = {}
        self.sampling_lines: dict[str, int] = {}
        self.backbones: set[str] = set()
        self.generated: set[str] = set()
        self.heads: dict[int, str] = {}
        """What holds each linear layer of one output, by its call."""
        self.filled: set[str] = set()
        """What gets its weights from somewhere, or fails: strict loads, copies, assignments."""
        self.templated = False
        self.padded = False
        self.left_padding = False

    def read(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                self._learn(node)
            elif isinstance(node, ast.Call):
                self._learn_call(node)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                self._judge_call(node)
            elif isinstance(node, ast.Subscript):
                self._judge_slice(node)
            elif isinstance(node, ast.Compare):
                self._judge_comparison(node)
            elif isinstance(node, ast.ExceptHandler):
                self._judge_handler(node)
            elif isinstance(node, ast.Dict):
                self._learn_sampling_dict(node)

    def found(self, node: ast.AST, mistake: str) -> None:
        cause, message = MISTAKES[mistake]
        line = getattr(node, "lineno", 0)
        code = self.lines[line - 1].strip()[:160] if 0 < line <= len(self.lines) else ""
        self.findings.append(ScriptFinding(cause, mistake, line, code, message))

    # --- what names hold

    def _learn(self, node: ast.Assign) -> None:
        value = node.value
        self.filled |= {_dotted(target) for target in node.targets if _WEIGHTS & set(_dotted(target).split("."))}
        if _is_head(value):
            self.heads[id(value)] = _dotted(node.targets[0])
        if not isinstance(value, ast.Call):
            if isinstance(value, ast.Constant) and value.value == "left":
                self.left_padding |= any(_dotted(t).endswith("padding_side") for t in node.targets)
            return
        names = {name for target in node.targets for name in (_dotted(target),) if name}
        callee = _callee(value)
        head, _, method = callee.rpartition(".")
        if method in {"from_pretrained", "from_config"} and head.rsplit(".", 1)[-1] in _BACKBONE_LOADERS:
            self.backbones |= names
        if method == "generate":
            self.generated |= names

    def _learn_call(self, call: ast.Call) -> None:
        callee = _callee(call)
        owner, _, method = callee.rpartition(".")
        if method == "copy_" or (method == "load_state_dict" and not _is_loose(call)):
            self.filled.add(owner)
        if method == "apply_chat_template" and not _is_true(_keyword(call, "add_generation_prompt")):
            self.templated = True
        if _keyword(call, "padding") is not None:
            value = _keyword(call, "padding")
            self.padded |= not (isinstance(value, ast.Constant) and value.value in (False, "do_not_pad"))
        side = _keyword(call, "padding_side")
        if isinstance(side, ast.Constant) and side.value == "left":
            self.left_padding = True
        numbers = {k.arg: k.value for k in call.keywords if k.arg in _SAMPLING}
        cuts = _is_true(_keyword(call, "truncation"))
        if _SAMPLING_CONTEXT & {k.arg for k in call.keywords} or method == "generate" or cuts:
            for name, value in numbers.items():
                self._note_sampling(str(name), value)

    def _learn_sampling_dict(self, node: ast.Dict) -> None:
        keys = {k.value: v for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)}
        if _SAMPLING_CONTEXT & {k for k in keys if isinstance(k, str)}:
            for name, value in keys.items():
                if name in _SAMPLING:
                    self._note_sampling(str(name), value)

    def _note_sampling(self, name: str, value: ast.expr) -> None:
        if (
            isinstance(value, ast.Constant)
            and isinstance(value.value, int | float)
            and not isinstance(value.value, bool)
        ):
            self.sampling.setdefault(name, float(value.value))
            self.sampling_lines.setdefault(name, value.lineno)

    # --- what is done with them

    def _judge_call(self, call: ast.Call) -> None:
        callee = _callee(call)
        method = callee.rsplit(".", 1)[-1]
        self._judge_loading(call, callee, method)
        self._judge_text(call, callee, method)
        bare = isinstance(call.func, ast.Attribute) and not call.args and not call.keywords
        if method == "train" and bare and "trainer" not in callee.lower():
            self.found(call, "train-mode")

    def _judge_loading(self, call: ast.Call, callee: str, method: str) -> None:
        first = call.args[0] if call.args else None
        wraps = any(w in callee for w in _HEAD_WRAPPERS)
        if wraps and first is not None:
            direct = isinstance(first, ast.Call) and _callee(first).endswith(".from_pretrained")
            if _dotted(first) in self.backbones or direct:
                self.found(call, "wrapped-backbone")
            elif method == "from_pretrained":
                self.found(call, "trl-loader")
        if _is_head(call) and not self._is_filled(call):
            self.found(call, "own-linear-head")
        if method == "load_state_dict" and _is_loose(call):
            self.found(call, "not-strict")
        if _is_true(_keyword(call, "ignore_mismatched_sizes")):
            self.found(call, "ignored-sizes")

    def _is_filled(self, head: ast.Call) -> bool:
        """Whether trained weights get into it: by its own name, or with a module that it may be a part of."""
        name = self.heads.get(id(head), "")
        own = any(filled == name or filled.startswith(f"{name}.") for filled in self.filled if name)
        modules = {filled for filled in self.filled if not _WEIGHTS & set(filled.split("."))}
        return own or bool(modules - self.backbones)

    def _judge_text(self, call: ast.Call, callee: str, method: str) -> None:
        if callee == "str" and call.args:
            name = " ".join(_names(call.args[0])).lower() or _subscript_key(call.args[0])
            if any(w in name for w in ("content", "prompt", "message", "row", "question")):
                self.found(call, "str-of-content")
        if method in {"decode", "batch_decode"} and call.args and self._whole_output(call.args[0]):
            self.found(call, "prompt-echo")
        if (
            method == "generate"
            and _keyword(call, "max_length") is not None
            and _keyword(call, "max_new_tokens") is None
        ):
            self.found(call, "max-length-counts-prompt")
        if _is_true(_keyword(call, "truncation")) and _keyword(call, "max_length") is not None:
            self.found(call, "tokenizer-truncation")

    def _whole_output(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Subscript):
            if isinstance(node.slice, ast.Slice):
                return False
            if isinstance(node.slice, ast.Tuple) and any(isinstance(e, ast.Slice) and e.lower for e in node.slice.elts):
                return False
            return self._whole_output(node.value)
        return _dotted(node) in self.generated

    def _judge_slice(self, node: ast.Subscript) -> None:
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for part in parts:
            if not isinstance(part, ast.Slice):
                continue
            lower = part.lower
            if not (isinstance(lower, ast.UnaryOp) and isinstance(lower.op, ast.USub)):
                continue
            if isinstance(lower.operand, ast.Constant) or part.upper is not None:
                continue
            if self.templated:
                self.found(node, "template-slice")
            if self.padded and not self.left_padding:
                self.found(node, "padded-slice")

    def _judge_comparison(self, node: ast.Compare) -> None:
        if len(node.ops) != 1 or not isinstance(node.ops[0], ast.LtE | ast.GtE):
            return
        text = " ".join([*_names(node.left), *_names(node.comparators[0])]).lower()
        if "score" in text and ("teacher" in text or "student" in text or "chosen" in text or "rejected" in text):
            self.found(node, "ties-counted")

    def _judge_handler(self, node: ast.ExceptHandler) -> None:
        for child in ast.walk(node):
            value = child.value if isinstance(child, ast.Return | ast.Assign) else None
            values = value.elts if isinstance(value, ast.Tuple) else [value]
            if any(_is_number(v, 0) for v in values if v is not None):
                self.found(child, "swallowed-exception")
                return


def _is_head(node: ast.expr) -> bool:
    """A linear layer with one output."""
    if not isinstance(node, ast.Call) or _callee(node).rsplit(".", 1)[-1] != "Linear":
        return False
    outputs = _keyword(node, "out_features") or (node.args[1] if len(node.args) > 1 else None)
    return outputs is not None and _is_number(outputs, 1)


def _is_loose(call: ast.Call) -> bool:
    """A load_state_dict that passes over names that differ."""
    strict = _keyword(call, "strict") or (call.args[1] if len(call.args) > 1 else None)
    return strict is not None and _is_number(strict, 0)


def _is_number(node: ast.expr, number: float) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value == number


def _subscript_key(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value).lower()
    return ""
