"""Attention over a packed row: every prompt once, its responses as branches that do not see each other.

A packed row holds segments one after another: a prompt, its branches, the next prompt, ... Positions restart in each
branch where its prompt ended. A token sees the earlier tokens of its own segment and all of its parent's: the same keys
as in a row of its own, so its hidden state is the same too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

TREE = "critictui_tree"
"""The attention implementation's name in transformers."""
BLOCK = 128
"""FlexAttention's block: a packed row on the GPU is padded to a multiple of it."""
QUERIES = 512
"""Queries of a branch that are computed at once."""


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
    use_flex: bool = False
    masks: dict[Any, Any] = field(default_factory=dict)
    """Block masks or dense ones, made once a row and used by every layer."""

    @staticmethod
    def of(lengths: Sequence[tuple[int, Sequence[int]]], *, pad_to: int = 1) -> Layout:
        """A layout for trees given as (prompt tokens, tokens of each branch); the row is padded to a multiple."""
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
        padding = -at % pad_to
        if padding:
            segments.append(Segment(at, at + padding, -1))
            positions.append(np.arange(padding))
        return Layout(tuple(segments), at + padding, np.concatenate([np.empty(0, np.int64), *positions]))

    def owners(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(length,) each token's segment, and its segment's parent (a prompt is its own parent)."""
        segment = np.empty(self.length, np.int32)
        parent = np.empty(self.length, np.int32)
        for number, part in enumerate(self.segments):
            segment[part.start : part.stop] = number
            parent[part.start : part.stop] = number if part.parent < 0 else part.parent
        return segment, parent


def visible(layout: Layout, window: int | None = None, device: torch.device | None = None) -> Callable[..., Tensor]:
    """FlexAttention's mask function of a layout: (batch, head, query, key) -> whether the query sees the key."""
    own, parent = (torch.as_tensor(column, device=device) for column in layout.owners())
    position = torch.as_tensor(layout.positions, device=device)

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = (own[key] == own[query]) | (own[key] == parent[query])
        distance = position[query] - position[key]
        near = distance >= 0 if window is None else (distance >= 0) & (distance < window)
        return same & near

    return sees


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
        layout.masks.clear()


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
    attend = _flex if layout.use_flex and softcap is None else _by_segment
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
    mask = _dense_mask(layout, length, keys, kind.window if windowed else None, q.device)
    if kind.softcap is None:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=kind.scale, enable_gqa=grouped)
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    logits = torch.tanh(q @ k.transpose(2, 3) * kind.scale / kind.softcap) * kind.softcap
    weights = logits.masked_fill(~mask, -torch.inf).softmax(-1, dtype=torch.promote_types(q.dtype, torch.float32))
    return weights.to(q.dtype) @ v


def _dense_mask(layout: Layout, length: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    name = (length, keys, window)
    mask = layout.masks.get(name)
    if mask is None:
        distance = torch.arange(keys - length, keys, device=device)[:, None] - torch.arange(keys, device=device)
        mask = distance >= 0 if window is None else (distance >= 0) & (distance < window)
        if mask.numel() < 1 << 22:
            layout.masks[name] = mask
    assert isinstance(mask, Tensor)
    return mask


_compiled: dict[str, Any] = {}


def _flex(layout: Layout, query: Tensor, key: Tensor, value: Tensor, kind: _Kind) -> Tensor:
    """On a GPU, blocks that nobody sees are not computed.

    Tested here only through its mask, on the CPU: no GPU was at hand when it was written. `score` tries it against one
    sequence at a time before it believes it, and scores without packing where they differ.
    """
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    if "flex" not in _compiled:
        _compiled["flex"] = torch.compile(flex_attention, dynamic=False)
    name = ("block", kind.window)
    if name not in layout.masks:
        layout.masks[name] = create_block_mask(
            visible(layout, kind.window, query.device),
            B=None,
            H=None,
            Q_LEN=layout.length,
            KV_LEN=layout.length,
            device=str(query.device),
            BLOCK_SIZE=BLOCK,
        )
    grouped = query.shape[1] != key.shape[1]
    out = _compiled["flex"](query, key, value, block_mask=layout.masks[name], scale=kind.scale, enable_gqa=grouped)
    assert isinstance(out, Tensor)
    return out


def install() -> None:
    """Make the tree attention known to transformers; needs no mask, so none is built."""
    from transformers import AttentionInterface

    AttentionInterface.register(TREE, tree_attention)
