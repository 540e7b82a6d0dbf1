"""Attention over a packed row: every prompt once, its responses as branches that do not see each other.

A packed row holds segments one after another: a prompt, its branches, the next prompt, ... Positions restart in each
branch where its prompt ended. A token sees the earlier tokens of its own segment and all of its parent's: the same keys
as in a row of its own, so its hidden state is the same too.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

TREE = "critictui_tree"
"""The attention implementation's name in transformers."""
QUERIES = 512
"""Queries of a branch that are computed at once."""
FLASH_HEAD = 256
"""The largest head dimension that the flash kernels take."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of tokens of one packed row: a prompt, or a branch behind its parent."""

    start: int
    stop: int
    parent: int
    """Index of the segment it continues, -1 for a prompt."""


@dataclass(eq=False)
class Layout:
    """Where everything is in one packed row of `length` tokens."""

    segments: tuple[Segment, ...]
    length: int
    positions: NDArray[np.int64]
    """(length,) position of each token in its own sequence."""
    varlen: bool = False
    """One flash kernel over all segments at once, instead of one attention a segment."""
    made: dict[Any, Any] = field(default_factory=dict)
    """Masks and spans on the device, made once a row and used by every layer."""

    @staticmethod
    def of(lengths: Sequence[tuple[int, Sequence[int]]], *, varlen: bool = False) -> Layout:
        """A layout for trees given as (prompt tokens, tokens of each branch)."""
        segments: list[Segment] = []
        positions: list[NDArray[np.int64]] = []
        at = 0
        for prompt, branches in lengths:
            parent = len(segments)
            segments.append(Segment(at, at + prompt, -1))
            positions.append(np.arange(prompt))
            at += prompt
            for branch in branches:
                segments.append(Segment(at, at + branch, parent))
                positions.append(np.arange(prompt, prompt + branch))
                at += branch
        return Layout(tuple(segments), at, np.concatenate([np.empty(0, np.int64), *positions]), varlen)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence: a prompt and one of its branches."""
        return int(self.positions.max(initial=-1)) + 1

    def spans(self) -> Spans:
        """The row as sequences of queries, each behind the keys that it sees."""
        keys: list[NDArray[np.int64]] = []
        counts: list[tuple[int, int]] = []
        for part in self.segments:
            if part.start == part.stop:
                continue
            own = np.arange(part.start, part.stop)
            if part.parent >= 0:
                root = self.segments[part.parent]
                own = np.concatenate([np.arange(root.start, root.stop), own])
            keys.append(own)
            counts.append((part.stop - part.start, len(own)))
        bounds = np.concatenate([np.zeros((1, 2), np.int32), np.cumsum(counts, axis=0, dtype=np.int32)])
        longest = np.max(counts, axis=0)
        return Spans(np.concatenate(keys), bounds[:, 0], bounds[:, 1], int(longest[0]), int(longest[1]))


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """A packed row in the form of a kernel for sequences of varying length: n sequences of queries and of keys.

    Query i of m sees the first k - m + i + 1 of its sequence's k keys: causal, aligned at the end.
    """

    keys: NDArray[np.int64]
    """Which token of the row each key is: prompts stand here again for every branch."""
    query_bounds: NDArray[np.int32]
    """(n + 1,) where each sequence's queries begin in the row."""
    key_bounds: NDArray[np.int32]
    """(n + 1,) where each sequence's keys begin in `keys`."""
    longest_query: int
    longest_key: int


_current = threading.local()


@contextmanager
def packed(layout: Layout) -> Iterator[None]:
    """Within this block, in this thread, the tree attention reads rows by this layout."""
    before = getattr(_current, "layout", None)
    _current.layout = layout
    try:
        yield
    finally:
        _current.layout = before
        layout.made.clear()


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a layer asks of attention beside queries, keys and values."""

    scale: float
    window: int | None
    softcap: float | None


def tree_attention(  # noqa: PLR0917  (transformers calls it so)
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """What transformers calls in each layer: (1, heads, T, d) and (1, kv heads, T, d) in, (1, T, heads, d) out."""
    layout: Layout = _current.layout
    if dropout or query.shape[0] != 1 or query.shape[2] != layout.length:
        raise RuntimeError("tree attention needs one packed row and no dropout")
    kind = _Kind(scaling if scaling is not None else query.shape[-1] ** -0.5, sliding_window, softcap)
    attend = _by_kernel if layout.varlen and softcap is None else _by_segment
    return attend(layout, query, key, value, kind).transpose(1, 2), None


def _by_segment(layout: Layout, query: Tensor, key: Tensor, value: Tensor, kind: _Kind) -> Tensor:
    out = query.new_empty((*query.shape[:-1], value.shape[-1]))
    for part in layout.segments:
        k, v = key[:, :, part.start : part.stop], value[:, :, part.start : part.stop]
        before = 0
        if part.parent >= 0:
            root = layout.segments[part.parent]
            k = torch.cat([key[:, :, root.start : root.stop], k], dim=2)
            v = torch.cat([value[:, :, root.start : root.stop], v], dim=2)
            before = root.stop - root.start
        # a few queries at a time: the mask stays small and keys that nobody may see are not touched
        step = part.stop - part.start if not before and kind.window is None and kind.softcap is None else QUERIES
        for start in range(part.start, part.stop, max(step, 1)):
            stop = min(start + step, part.stop)
            seen = before + stop - part.start
            q = query[:, :, start:stop]
            out[:, :, start:stop] = _causal(layout, q, k[:, :, :seen], v[:, :, :seen], kind)
    return out


def _causal(layout: Layout, q: Tensor, k: Tensor, v: Tensor, kind: _Kind) -> Tensor:
    """Attention of the last len(q) positions of len(k), each to itself and what is before it."""
    length, keys = q.shape[2], k.shape[2]
    windowed = kind.window is not None and kind.window < keys
    grouped = q.shape[1] != k.shape[1]
    if kind.softcap is None and not windowed and length in {keys, 1}:
        return functional.scaled_dot_product_attention(
            q, k, v, is_causal=length > 1, scale=kind.scale, enable_gqa=grouped
        )
    mask = _mask(layout, length, keys, kind.window if windowed else None, q)
    if kind.softcap is None:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=kind.scale, enable_gqa=grouped)
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    logits = torch.tanh(q @ k.transpose(2, 3) * kind.scale / kind.softcap) * kind.softcap
    weights = (logits + mask).softmax(-1, dtype=torch.promote_types(q.dtype, torch.float32))
    return weights.to(q.dtype) @ v


def _mask(layout: Layout, length: int, keys: int, window: int | None, like: Tensor) -> Tensor:
    """(length, keys) what is added to the logits of the last `length` positions of `keys`: 0 or -inf.

    A view into one mask a row: query i sees key j where j <= i + before, so another `before` is another first column.
    """
    before = keys - length
    kept = layout.made.get(("mask", window))
    if kept is None or kept.shape[0] < length or kept.shape[1] - kept.shape[0] < before:
        rows, most = max(length, QUERIES), max(before, layout.longest)
        distance = (
            torch.arange(rows, device=like.device)[:, None] + most - torch.arange(most + rows, device=like.device)
        )
        seen = distance >= 0 if window is None else (distance >= 0) & (distance < window)
        kept = torch.zeros(seen.shape, dtype=like.dtype, device=like.device).masked_fill_(~seen, -torch.inf)
        layout.made["mask", window] = kept
    assert isinstance(kept, Tensor)
    first = kept.shape[1] - kept.shape[0] - before
    view = kept[:length, first : first + keys]
    return view.contiguous() if like.device.type == "cuda" else view  # its kernels read 16 bytes at a time


def has_kernel(dtype: torch.dtype, head: int) -> bool:
    """Whether this torch has a flash kernel for sequences of varying length that takes such heads (from 2.11 on)."""
    if dtype not in {torch.bfloat16, torch.float16} or head > FLASH_HEAD or head % 8:
        return False
    return {"scale", "window_size"} <= _kernel()[1]


@cache
def _kernel() -> tuple[Callable[..., Any], frozenset[str]]:
    """Torch's kernel and the names of its arguments."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return (lambda *_, **__: torch.empty(0)), frozenset()
    return varlen_attn, frozenset(inspect.signature(varlen_attn).parameters)


def _by_kernel(layout: Layout, query: Tensor, key: Tensor, value: Tensor, kind: _Kind) -> Tensor:
    """All segments in one call: no mask, no padding, nothing to compile."""
    device = query.device
    if "spans" not in layout.made:
        spans = layout.spans()
        columns = (spans.keys, spans.query_bounds, spans.key_bounds)
        layout.made["spans"] = (spans, *(torch.as_tensor(column, device=device) for column in columns))
    spans, keys, query_bounds, key_bounds = layout.made["spans"]
    attend, names = _kernel()
    # one split: else the order of a sum may depend on the longest sequence of the row (torch that knows no splits
    # makes none); grouped heads need to be announced where there is a word for it
    wanted = {"num_splits": 1, "enable_gqa": query.shape[1] != key.shape[1]}
    out = attend(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1).index_select(0, keys),
        value[0].transpose(0, 1).index_select(0, keys),
        query_bounds,
        key_bounds,
        spans.longest_query,
        spans.longest_key,
        scale=kind.scale,
        window_size=(-1 if kind.window is None else kind.window - 1, 0),
        **{name: value for name, value in wanted.items() if name in names},
    )
    assert isinstance(out, Tensor)
    return out.transpose(0, 1)[None]


def install() -> None:
    """Make the tree attention known to transformers; needs no mask, so none is built."""
    from transformers import AttentionInterface

    AttentionInterface.register(TREE, tree_attention)
