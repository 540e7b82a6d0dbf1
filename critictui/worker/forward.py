"""Trees of tokens go through the critic in packed rows; token values come out, each computed once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from critictui.scoring.recipe import ScoringError
from critictui.worker import attention
from critictui.worker.attention import Layout, packed
from critictui.worker.budget import is_out_of_memory, token_budget
from critictui.worker.model import Critic
from critictui.worker.tokens import Ids, Tree

Values = NDArray[np.float64]
Report = Callable[[float, float], None]
"""(tokens done, tokens in all)."""


class OutOfMemoryError(Exception):
    """Not even one sequence fits; the message says how long it is."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Some branches of one tree: what one packed row holds of it."""

    tree: int
    branches: tuple[int, ...]
    tokens: int


def _plan(trees: Sequence[Tree], budget: int) -> list[list[_Part]]:
    """Packed rows of at most `budget` tokens, in order; a larger tree is split between branches."""
    rows: list[list[_Part]] = [[]]
    used = 0
    for number, tree in enumerate(trees):
        for part in _split(number, tree, budget):
            if used and used + part.tokens > budget:
                rows.append([])
                used = 0
            rows[-1].append(part)
            used += part.tokens
    return [row for row in rows if row]


def _split(number: int, tree: Tree, budget: int) -> Iterator[_Part]:
    branches: list[int] = []
    tokens = len(tree.prompt)
    for index, branch in enumerate(tree.branches):
        if branches and tokens + len(branch.ids) > budget:
            yield _Part(number, tuple(branches), tokens)
            branches, tokens = [], len(tree.prompt)
        branches.append(index)
        tokens += len(branch.ids)
    if branches:
        yield _Part(number, tuple(branches), tokens)


def tree_values(
    critic: Critic, trees: Sequence[Tree], *, budget: int | None = None, progress: Report | None = None
) -> list[list[Values]]:
    """Token values of every branch of every tree, each computed once.

    A branch of n tokens gives (n + 1,) values: that of the prompt's last token (NaN for an empty prompt), then those of
    the branch. They depend on neither the other branches nor `budget`, the tokens of one forward pass; it is halved on
    out of memory. Raises OutOfMemoryError when one sequence alone does not fit, ScoringError for ids that the critic's
    embedding does not have.
    """
    _check_ids(critic, trees)
    room = budget if budget is not None else token_budget(critic)
    total = float(sum(tree.tokens for tree in trees))
    values: list[list[Values | None]] = [[None] * len(tree.branches) for tree in trees]
    done = 0.0
    forward = _one_by_one if _way(critic, trees) == "single" else _packed_row
    rows = _plan(trees, room)
    if progress is not None:
        progress(0.0, total)
    while rows:
        row = rows.pop(0)
        try:
            with torch.inference_mode():
                results = forward(critic, trees, row)
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            results = None
        if results is None:  # outside the handler: its traceback holds on to the tensors that did not fit
            rows = _smaller(critic, trees, row) + rows
            continue
        for part, arrays in zip(row, results, strict=True):
            for branch, array in zip(part.branches, arrays, strict=True):
                values[part.tree][branch] = array
        done += sum(part.tokens for part in row)
        if progress is not None:
            progress(min(done, total), total)
    return [[array for array in arrays if array is not None] for arrays in values]


def _smaller(critic: Critic, trees: Sequence[Tree], row: list[_Part]) -> list[list[_Part]]:
    """The same work in rows of half the size."""
    if critic.device.type == "cuda":
        torch.cuda.empty_cache()
    if len(row) > 1:
        return [row[: len(row) // 2], row[len(row) // 2 :]]
    part = row[0]
    if len(part.branches) == 1:
        raise OutOfMemoryError(
            f"a sequence of {part.tokens} tokens does not fit into the memory of {critic.device}; "
            "score on another device, or cut it with the recipe's max_prompt_tokens or max_response_tokens"
        )
    half = len(part.branches) // 2
    tree = trees[part.tree]
    pieces = []
    for branches in (part.branches[:half], part.branches[half:]):
        tokens = len(tree.prompt) + sum(len(tree.branches[i].ids) for i in branches)
        pieces.append([_Part(part.tree, branches, tokens)])
    return pieces


def _packed_row(critic: Critic, trees: Sequence[Tree], row: list[_Part]) -> list[list[Values]]:
    """Values of one packed row: for each part, for each of its branches."""
    lengths = [(len(trees[p.tree].prompt), [len(trees[p.tree].branches[i].ids) for i in p.branches]) for p in row]
    layout = Layout.of(lengths, varlen=_ways.get(critic) == "kernel")
    pieces: list[Ids] = []
    for part in row:
        tree = trees[part.tree]
        pieces += [tree.prompt, *(tree.branches[i].ids for i in part.branches)]
    ids = np.concatenate(pieces)
    if not len(ids):
        return [[np.array([np.nan]) for _ in part.branches] for part in row]
    with _attention(critic, attention.TREE), packed(layout):
        hidden = _hidden(critic, ids, layout.positions)
        flat = critic.values(hidden).double().cpu().numpy()
    results: list[list[Values]] = []
    at = 0
    for prompt, branches in lengths:
        at += prompt
        last = flat[at - 1] if prompt else np.nan
        arrays = []
        for length in branches:
            arrays.append(np.concatenate([[last], flat[at : at + length]]))
            at += length
        results.append(arrays)
    return results


def _one_by_one(critic: Critic, trees: Sequence[Tree], row: list[_Part]) -> list[list[Values]]:
    """The same without packing, for architectures that bring an attention of their own: a sequence a forward."""
    results: list[list[Values]] = []
    for part in row:
        prompt = trees[part.tree].prompt
        arrays = []
        for index in part.branches:
            ids = np.concatenate([prompt, trees[part.tree].branches[index].ids])
            if not len(ids):
                arrays.append(np.array([np.nan]))
                continue
            with _attention(critic, _plain_attention(critic)):
                flat = critic.values(_hidden(critic, ids, np.arange(len(ids)))).double().cpu().numpy()
            before = flat[len(prompt) - 1 : len(prompt)] if len(prompt) else np.array([np.nan])
            arrays.append(np.concatenate([before, flat[len(prompt) :]]))
        results.append(arrays)
    return results


def _hidden(critic: Critic, ids: Ids, positions: NDArray[np.int64]) -> torch.Tensor:
    out = critic.backbone(
        input_ids=torch.as_tensor(ids, device=critic.device)[None],
        position_ids=torch.as_tensor(positions, device=critic.device)[None],
        use_cache=False,
    )
    hidden = out.last_hidden_state[0]
    assert isinstance(hidden, torch.Tensor)
    return hidden


@contextmanager
def _attention(critic: Critic, name: str) -> Iterator[None]:
    config: Any = critic.backbone.config
    before = config._attn_implementation  # noqa: SLF001  (the only name that transformers gives it)
    config._attn_implementation = name  # noqa: SLF001
    try:
        yield
    finally:
        config._attn_implementation = before  # noqa: SLF001


def _plain_attention(critic: Critic) -> str:
    """Transformers' own: eager where the logits have a soft cap, which SDPA leaves out without a word."""
    softcap = getattr(critic.config, "attn_logit_softcapping", None)
    config: Any = critic.backbone.config
    return "eager" if softcap else str(config._attn_implementation)  # noqa: SLF001


_ways: weakref.WeakKeyDictionary[Critic, str] = weakref.WeakKeyDictionary()
"""How a critic is scored: kernel or segments (packed rows, with either attention), or single."""
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def can_pack(critic: Critic, trees: Sequence[Tree]) -> bool:
    """Whether packed rows give this critic's values: tried once, on a short piece of the trees.

    Architectures with state between tokens, an attention of their own, or rotary frequencies that depend on the
    longest sequence of a batch do not; they are scored a sequence at a time.
    """
    return _way(critic, trees) != "single"


def _way(critic: Critic, trees: Sequence[Tree]) -> str:
    if critic not in _ways:
        probe = next((t for t in trees if len(t.prompt) and t.branches and len(t.branches[0].ids)), None)
        if probe is None:
            return "single"
        found = "single"
        if _supports_packing(critic):
            for way in ("kernel", "segments") if _has_kernel(critic) else ("segments",):
                _ways[critic] = way
                if _agree(critic, probe):
                    found = way
                    break
        _ways[critic] = found
    return _ways[critic]


def _supports_packing(critic: Critic) -> bool:
    attention.install()
    rope = getattr(critic.config, "rope_parameters", None) or getattr(critic.config, "rope_scaling", None) or {}
    kinds = {str(entry.get("rope_type", "default")) for entry in (rope, *rope.values()) if isinstance(entry, dict)}
    return bool(getattr(critic.backbone, "_supports_attention_backend", False)) and not kinds & {"dynamic", "longrope"}


def _has_kernel(critic: Critic) -> bool:
    heads = int(getattr(critic.config, "num_attention_heads", 1) or 1)
    head = int(getattr(critic.config, "head_dim", None) or critic.config.hidden_size // heads)
    softcap = getattr(critic.config, "attn_logit_softcapping", None)
    return critic.device.type == "cuda" and not softcap and attention.has_kernel(critic.dtype, head)


def _agree(critic: Critic, tree: Tree) -> bool:
    first = tree.branches[0]
    cut = type(first)(ids=first.ids[:32], truncated=False, eos=False)
    other = type(first)(ids=first.ids[:32][::-1].copy(), truncated=False, eos=False)
    # two trees, so that a critic whose state leaks from one to the next is found out too
    probe = [Tree(tree.prompt[-48:], (cut, other)), Tree(tree.prompt[-24:], (other,))]
    row = [_Part(0, (0, 1), 0), _Part(1, (0,), 0)]
    try:
        with torch.inference_mode():
            one = np.concatenate([a for part in _packed_row(critic, probe, row) for a in part])
            two = np.concatenate([a for part in _one_by_one(critic, probe, row) for a in part])
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, ImportError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        return False
    exact = critic.dtype == torch.float64 and _plain_attention(critic) != "eager"  # eager's softmax is single precision
    tolerance = 1e-9 if exact else _TOLERANCE.get(critic.dtype, 5e-2)
    scale = 1 + float(np.nanmax(np.abs(two), initial=0.0, where=np.isfinite(two)))
    return bool(np.allclose(one, two, rtol=0, atol=tolerance * scale, equal_nan=True))


def _check_ids(critic: Critic, trees: Sequence[Tree]) -> None:
    rows = critic.backbone.get_input_embeddings().num_embeddings  # type: ignore[operator]
    for tree in trees:
        for ids in (tree.prompt, *(branch.ids for branch in tree.branches)):
            if len(ids) and (int(ids.max()) >= rows or int(ids.min()) < 0):
                raise ScoringError(
                    f"{critic.checkpoint.path}: token id {int(ids.max())} is beyond its embedding of {rows} tokens; "
                    "the tokenizer or the fixed set's ids belong to another model"
                )


def response_values(
    critic: Critic, sequences: Sequence[tuple[Sequence[int] | Ids, Sequence[int] | Ids]], *, budget: int | None = None
) -> list[Values]:
    """Token values of each (prompt ids, response ids): (n,) for n tokens; equal prompts run once."""
    from critictui.worker.tokens import Branch

    trees: dict[bytes, tuple[Ids, list[Branch]]] = {}
    spots: list[tuple[bytes, int]] = []
    for prompt, response in sequences:
        ids = np.asarray(prompt, np.int64)
        tree = trees.setdefault(ids.tobytes(), (ids, []))
        spots.append((ids.tobytes(), len(tree[1])))
        tree[1].append(Branch(np.asarray(response, np.int64), truncated=False, eos=False))
    numbers = {key: i for i, key in enumerate(trees)}
    found = tree_values(critic, [Tree(ids, tuple(branches)) for ids, branches in trees.values()], budget=budget)
    return [found[numbers[key]][index][1:] for key, index in spots]
