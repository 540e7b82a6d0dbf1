"""Decoding in tiles of a fixed shape, so that a response is the same bit for bit whatever runs beside it.

A matrix product of another shape may add in another order, and a sampled token then flips. Here each step of a row
is computed in a tile of `LANES` rows, idle lanes filled; each row attends to its own keys alone; each prompt is read
in by itself. So a row depends on nothing beside it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LANES = 8
"""Rows of a tile: decoding is bound by reading weights, so eight rows cost little more than one."""
NAME = "critictui_lanes"

KeyValues = list[tuple[Tensor, Tensor]]
"""A layer's keys and values, each (1, kv heads, length, d)."""


@dataclass(eq=False)
class Lane:
    """One row in flight."""

    keys: KeyValues
    """With room for `capacity` tokens; `length` of them are there."""
    length: int


@dataclass(eq=False)
class _Call:
    """What the attention of one forward pass works on: a prompt being read, or a tile of lanes."""

    prompt: KeyValues | None = None
    lanes: Sequence[Lane | None] = field(default_factory=tuple)


_current = threading.local()


def lane_attention(  # noqa: PLR0917  (transformers calls it so)
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
    """A prompt's causal attention, or each lane's attention to its own past."""
    if softcap is not None or dropout:
        raise RuntimeError("lanes know neither soft caps nor dropout")
    call: _Call = _current.call
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if call.prompt is not None:
        call.prompt.append((key, value))
        return _prompt(query, key, value, scale, sliding_window).transpose(1, 2), None
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    out = torch.zeros_like(query)
    for number, lane in enumerate(call.lanes):
        if lane is None:
            continue
        keys, values = lane.keys[layer]
        keys[:, :, lane.length] = key[number : number + 1, :, 0]
        values[:, :, lane.length] = value[number : number + 1, :, 0]
        first = 0 if sliding_window is None else max(0, lane.length + 1 - sliding_window)
        out[number : number + 1] = functional.scaled_dot_product_attention(
            query[number : number + 1],
            keys[:, :, first : lane.length + 1],
            values[:, :, first : lane.length + 1],
            scale=scale,
            enable_gqa=query.shape[1] != keys.shape[1],
        )
    return out.transpose(1, 2), None


def _prompt(query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None) -> Tensor:
    length = query.shape[2]
    grouped = query.shape[1] != key.shape[1]
    if window is None or window >= length:
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=length > 1, scale=scale, enable_gqa=grouped
        )
    distance = torch.arange(length, device=query.device)[:, None] - torch.arange(length, device=query.device)
    mask = (distance >= 0) & (distance < window)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale, enable_gqa=grouped)


def read_prompt(model: Any, ids: Sequence[int] | np.ndarray) -> tuple[KeyValues, np.ndarray]:
    """A prompt's keys and values, and the logits (vocabulary,) after it."""
    _current.call = _Call(prompt=[])
    tokens = torch.as_tensor(np.asarray(ids, np.int64), device=model.device)[None]
    positions = torch.arange(tokens.shape[1], device=model.device)[None]
    out = model(input_ids=tokens, position_ids=positions, use_cache=False, logits_to_keep=1)
    return _current.call.prompt, out.logits[0, -1].float().cpu().numpy()


def open_lane(prompt: KeyValues, capacity: int) -> Lane:
    """A lane that goes on where a prompt ends, with room for `capacity` tokens in all."""
    length = prompt[0][0].shape[2]
    room: KeyValues = []
    for key, value in prompt:
        both = []
        for tensor in (key, value):
            buffer = tensor.new_zeros((1, tensor.shape[1], capacity, tensor.shape[3]))
            buffer[:, :, :length] = tensor
            both.append(buffer)
        room.append((both[0], both[1]))
    return Lane(room, length)


def step(model: Any, lanes: Sequence[Lane | None], tokens: Sequence[int]) -> np.ndarray:
    """One token further in each lane: given tokens go in, next logits (lanes, vocabulary) out."""
    _current.call = _Call(lanes=lanes)
    ids = torch.tensor(tokens, device=model.device)[:, None]
    positions = torch.tensor([0 if lane is None else lane.length for lane in lanes], device=model.device)[:, None]
    logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    for lane in lanes:
        if lane is not None:
            lane.length += 1
    found: np.ndarray = logits[:, -1].float().cpu().numpy()
    return found


def install(model: Any) -> None:
    """Give a model this attention."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, lane_attention)
    model.config._attn_implementation = NAME  # noqa: SLF001


def agrees(model: Any, lanes: int = LANES) -> bool:
    """Whether a row's logits are the same bits in every lane of a tile and beside any other row, on this machine."""
    one, two = np.arange(3, 12), np.arange(5, 30, 2)
    first, _ = read_prompt(model, one)
    second, _ = read_prompt(model, two)

    def at(place: int, *, beside: bool) -> np.ndarray:
        tile: list[Lane | None] = [open_lane(second, 40) if beside else None for _ in range(lanes)]
        tile[place] = open_lane(first, 40)
        tokens = [7] * lanes
        step(model, tile, tokens)
        logits: np.ndarray = step(model, tile, tokens)[place]
        return logits

    expected = at(0, beside=False)
    return all(np.array_equal(at(place, beside=beside), expected) for place in range(lanes) for beside in (False, True))
