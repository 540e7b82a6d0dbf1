"""From a fixed set to token ids as training saw them: one tree a prompt, its responses as the branches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from critictui.scoring.fixed_set import FixedPrompt, FixedSet, Message, Response
from critictui.scoring.recipe import Recipe, ScoringError

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One response behind its prompt."""

    ids: Ids
    """(n,) the response's tokens that take part in the score: cut at the recipe's length, EOS by the recipe."""
    truncated: bool
    """The prompt or the response was cut."""
    eos: bool
    """The response ended in an end-of-sequence token, whether or not it takes part."""


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """A prompt's tokens once, and the responses to it."""

    prompt: Ids
    branches: tuple[Branch, ...]

    @property
    def tokens(self) -> int:
        """How many tokens a forward pass over it computes."""
        return len(self.prompt) + sum(len(branch.ids) for branch in self.branches)


@dataclass(frozen=True, slots=True, eq=False)
class Tokenised:
    """A fixed set as trees. Equal prompts and equal responses are there once."""

    trees: tuple[Tree, ...]
    places: tuple[tuple[tuple[int, int], ...], ...]
    """For each prompt of the set, for its teacher and then each student: (tree, branch)."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Rules:
    """What turns text into ids: tokenizer, recipe, and what ends a response."""

    tokenizer: Any
    recipe: Recipe
    eos_ids: frozenset[int]
    where: str

    def render(self, messages: list[dict[str, str]], *, generation_prompt: bool) -> Ids:
        return _render(
            self.tokenizer, messages, self.recipe.chat_template, generation_prompt=generation_prompt, where=self.where
        )


def tokenise(
    fixed_set: FixedSet, tokenizer: Any, recipe: Recipe, *, eos_ids: frozenset[int], where: str = "checkpoint"
) -> Tokenised:
    """Tokenise every prompt and response by the recipe.

    eos_ids: what ends a response (see `end_ids`). where: names the tokenizer in errors. Raises ScoringError when the
    tokenizer has no chat template and the recipe brings none, or the template does not take the prompt.
    """
    rules = _Rules(tokenizer, recipe, eos_ids, where)
    trees: list[tuple[Ids, list[Branch]]] = []
    by_prompt: dict[bytes, int] = {}
    known: dict[tuple[int, bytes, bool], int] = {}
    places: list[tuple[tuple[int, int], ...]] = []
    eos_seen: dict[str, set[bool]] = {"teacher": set(), "student": set()}
    for item in fixed_set.prompts:
        opening = rules.render(messages_of(item.prompt), generation_prompt=True)
        prompt = opening if recipe.max_prompt_tokens is None else opening[-recipe.max_prompt_tokens :]
        tree = by_prompt.setdefault(prompt.tobytes(), len(trees))
        if tree == len(trees):
            trees.append((prompt, []))
        spots: list[tuple[int, int]] = []
        for number, response in enumerate((item.teacher, *item.students)):
            branch = _branch(item, response, rules, opening, cut=len(prompt) < len(opening))
            eos_seen["student" if number else "teacher"].add(branch.eos)
            key = (tree, branch.ids.tobytes(), branch.truncated)
            if key not in known:
                known[key] = len(trees[tree][1])
                trees[tree][1].append(branch)
            spots.append((tree, known[key]))
        places.append(tuple(spots))
    warnings = _eos_warnings(eos_seen) if recipe.eos == "include" else ()
    return Tokenised(tuple(Tree(prompt, tuple(branches)) for prompt, branches in trees), tuple(places), warnings)


def _eos_warnings(seen: dict[str, set[bool]]) -> tuple[str, ...]:
    if seen["teacher"] == seen["student"]:
        return ()
    if len(seen["teacher"]) == len(seen["student"]) == 1:
        return ("the end-of-sequence token is scored on one side only: scores of the two sides do not compare",)
    return ("not all responses end in the end-of-sequence token that the recipe scores",)


def _branch(item: FixedPrompt, response: Response, rules: _Rules, opening: Ids, *, cut: bool) -> Branch:
    """A response's tokens; `opening` are the whole prompt's, `cut` says that not all of them are scored with."""
    recipe = rules.recipe
    if recipe.tokens == "template":
        ids = _templated_response(item.prompt, response, rules, opening)
    else:
        ids = response_ids(rules.tokenizer, response, recipe, rules.eos_ids)
    if recipe.max_response_tokens is not None and len(ids) > recipe.max_response_tokens:
        ids, cut = ids[: recipe.max_response_tokens], True
    ends = _trailing(ids, rules.eos_ids)
    kept = len(ids) - ends if recipe.eos == "exclude" else len(ids) - max(0, ends - 1)
    return Branch(ids=ids[:kept], truncated=cut, eos=ends > 0)


def _trailing(ids: Ids, ends: frozenset[int]) -> int:
    """How many tokens at the end are end-of-sequence tokens: generation pads with them too."""
    count = 0
    while count < len(ids) and int(ids[-1 - count]) in ends:
        count += 1
    return count


def prompt_ids(
    tokenizer: Any, prompt: str | Sequence[Message], chat_template: str | None = None, *, where: str = "checkpoint"
) -> Ids:
    """The chat template's ids with its generation prompt. A plain text is one user message.

    Raises ScoringError without a template, or when it fails on these messages.
    """
    return _render(tokenizer, messages_of(prompt), chat_template, generation_prompt=True, where=where)


def messages_of(prompt: str | Sequence[Message]) -> list[dict[str, str]]:
    """A prompt as the chat template takes it."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": message.role, "content": message.content} for message in prompt]


def _render(
    tokenizer: Any, messages: list[dict[str, str]], chat_template: str | None, *, generation_prompt: bool, where: str
) -> Ids:
    if chat_template is None and not getattr(tokenizer, "chat_template", None):
        raise ScoringError(
            f"{where}: its tokenizer has no chat template (tokenizer_config.json or chat_template.jinja); "
            "copy the one that training used there, or give the recipe a chat_template"
        )
    from jinja2.exceptions import TemplateError

    try:
        ids = tokenizer.apply_chat_template(
            messages,
            chat_template=chat_template,
            tokenize=True,
            add_generation_prompt=generation_prompt,
            return_dict=False,
        )
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise ScoringError(f"{where}: the chat template fails on a prompt ({error!s:.120})") from None
    return np.asarray(ids, np.int64)


def response_ids(tokenizer: Any, response: Response, recipe: Recipe, eos_ids: frozenset[int]) -> Ids:
    """The raw ids where they are known; else the text's, followed by EOS if the recipe includes it.

    Known ids are what the model wrote and are left as they are. A text that was cut by its length (finish reason
    `length`) had no EOS, so none is made up.
    """
    if response.ids is not None:
        return np.asarray(response.ids, np.int64)
    ids = list(tokenizer(response.text, add_special_tokens=False)["input_ids"])
    eos = tokenizer.eos_token_id
    wanted = recipe.eos == "include" and response.finish_reason != "length" and eos is not None
    if wanted and (not ids or ids[-1] not in eos_ids):
        ids.append(eos)
    return np.asarray(ids, np.int64)


def _templated_response(prompt: str | Sequence[Message], response: Response, rules: _Rules, opening: Ids) -> Ids:
    """What one rendering of prompt and response adds to the opening; what the template writes after EOS is dropped."""
    messages = [*messages_of(prompt), {"role": "assistant", "content": response.text}]
    whole = rules.render(messages, generation_prompt=False)
    if len(whole) < len(opening) or not np.array_equal(whole[: len(opening)], opening):
        raise ScoringError(
            f"{rules.where}: the chat template does not begin a finished turn as it begins a generated one; "
            "score with tokens=concat"
        )
    ids = whole[len(opening) :]
    ends = np.flatnonzero(np.isin(ids, list(rules.eos_ids)))
    return ids[: int(ends[-1]) + 1] if len(ends) else ids


def end_ids(tokenizer: Any, config: Any = None, directory: Path | None = None) -> frozenset[int]:
    """Every token that may end a response: the tokenizer's and those that the model's configurations name."""
    found: set[int] = set()
    sources = [getattr(tokenizer, "eos_token_id", None), getattr(config, "eos_token_id", None)]
    if directory is not None:
        for path in _config_files(directory):
            try:
                if path.stat().st_size < 1 << 20:
                    sources.append(json.loads(path.read_text("utf-8")).get("eos_token_id"))
            except (OSError, ValueError, AttributeError):
                continue
    for source in sources:
        values = source if isinstance(source, (list, tuple)) else [source]
        found.update(int(value) for value in values if isinstance(value, int) and not isinstance(value, bool))
    return frozenset(found)


def _config_files(directory: Path) -> list[Path]:
    names = ("config.json", "generation_config.json")
    return [folder / name for folder in (directory, directory / "huggingface") for name in names]


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 over the vocabulary and a text's ids: two tokenizers with one hash give the same tokens."""
    digest = hashlib.sha256()
    for token, number in sorted(tokenizer.get_vocab().items()):
        digest.update(f"{number}\0{token}\0".encode("utf-8", "replace"))
    digest.update(repr(_fingerprint_ids(tokenizer)).encode())
    return digest.hexdigest()


def _fingerprint_ids(tokenizer: Any) -> list[int]:
    sample = "The quick brown fox, 1234.5 + x = y;\n\tnaïve 中文 😀  two  spaces"
    return list(tokenizer(sample, add_special_tokens=False)["input_ids"])


def template_hash(tokenizer: Any, chat_template: str | None = None) -> str:
    """SHA-256 of the chat template's text, empty where there is none."""
    text = chat_template if chat_template is not None else getattr(tokenizer, "chat_template", None)
    if not text:
        return ""
    plain = text if isinstance(text, str) else json.dumps(text, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()
