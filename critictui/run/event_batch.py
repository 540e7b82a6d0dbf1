"""Many records at once: framed payloads go in, columns of scalars come out, most of them decoded by numpy.

Nearly all records of a run have one shape, `wall_time, step, summary { value { tag, simple_value } }`: those are
recognised by their lengths, which must all fit, and gathered column by column. Whatever differs in a byte goes
through `event_record.decode` alone. Tags are told apart by a hash of their bytes, then compared byte for byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from critictui.run.dtypes import FloatArray, IntArray
from critictui.run.event_record import MalformedError, decode

_Octets = NDArray[np.uint8]

_FEW = 256
"""Fewer records than this are decoded one by one: numpy's fixed cost is higher."""
_SHORTEST = 19
_VARINT_MOST = 10
_LONGEST = 127
"""Inner lengths that fit one varint byte; longer tags take the slow way."""


class Tags:
    """The tags of one file, numbered as they appear."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.raw: list[bytes] = []

    def number(self, tag: bytes) -> int:
        """The number of a tag, a new one if need be."""
        number = self._numbers.get(tag)
        if number is None:
            number = self._numbers[tag] = len(self.raw)
            self.raw.append(tag)
        return number


@dataclass(slots=True)
class Batch:
    """n scalars in file order, and what else was met."""

    tag: NDArray[np.int32]
    step: IntArray
    wall_time: FloatArray
    value: FloatArray
    position: IntArray
    """(n,) offset of the record's payload in the buffer."""
    others: int = 0
    """Values that are no scalar."""
    malformed: list[int] = field(default_factory=list)
    """Payload offsets of records that pass their checksum and are no `Event`."""


def decode_batch(buffer: bytes, payload: IntArray, length: IntArray, tags: Tags) -> Batch:
    """Decode the records whose payloads stand at `payload` (k,) in `buffer` and have `length` (k,) bytes."""
    if len(payload) < _FEW:
        return _one_by_one(buffer, payload, length, tags)
    octets = np.frombuffer(buffer, np.uint8)
    usual = np.flatnonzero(length >= _SHORTEST)
    usual, step, tag_at, tag_length = _usual(octets, payload, length, usual)
    tag = _numbered(octets, tag_at, tag_length, tags)
    start = payload[usual]
    value = _rows(octets, tag_at + tag_length + 1, 4).view("<f4")[:, 0].astype(np.float64)
    wall = _rows(octets, start + 1, 8).view("<f8")[:, 0]
    fast = Batch(tag, step, wall, value, start)
    if len(usual) == len(payload):
        return fast
    rest = np.ones(len(payload), np.bool_)
    rest[usual] = False
    return _merged(fast, _one_by_one(buffer, payload[rest], length[rest], tags))


def _rows(octets: _Octets, at: IntArray, width: int) -> _Octets:
    """(k, width) bytes from each offset on."""
    return sliding_window_view(octets, width)[at] if len(at) else np.empty((0, width), np.uint8)


def _usual(
    octets: _Octets, payload: IntArray, length: IntArray, chosen: IntArray
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Those of `chosen` that have the usual shape, with their steps and where their tags lie."""
    start, size = payload[chosen], length[chosen]
    has_step = octets[start + 9] == 0x10
    step, step_length = _varints(octets, start + 10, start + size)
    step = np.where(has_step, step, 0)
    at = start + 9 + np.where(has_step, 1 + step_length, 0)
    end = start + size
    fits = (octets[start] == 0x09) & (at + 12 < end + 1)
    at = np.where(fits, at, start)
    tag_length = octets[at + 5].astype(np.int64)
    tag_end = at + 6 + tag_length
    fits &= (octets[at] == 0x2A) & (octets[at + 1] == end - at - 2) & (octets[at + 1] <= _LONGEST)
    fits &= (octets[at + 2] == 0x0A) & (octets[at + 3] == end - at - 4) & (octets[at + 4] == 0x0A)
    fits &= (tag_end + 5 == end) & (octets[np.where(fits, tag_end, start)] == 0x15)
    return chosen[fits], step[fits], at[fits] + 6, tag_length[fits]


def _varints(octets: _Octets, at: IntArray, end: IntArray) -> tuple[IntArray, IntArray]:
    """The varint at each offset and its length; nonsense, to be refused by the lengths, where it has no end."""
    inside = np.minimum(at, len(octets) - _VARINT_MOST)
    rows = _rows(octets, inside, _VARINT_MOST)
    first = rows[:, 0].astype(np.int64)
    if not len(rows) or (first.max() < 0x80 and bool(np.all(inside == at))):
        return first, np.ones(len(rows), np.int64)
    shifted = inside != at
    if bool(shifted.any()):
        rows[shifted] = octets[np.minimum(at[shifted, None] + np.arange(_VARINT_MOST), len(octets) - 1)]
    length = np.argmin(rows & 0x80, axis=1) + 1
    number = np.zeros(len(rows), np.uint64)
    for k in range(int(length.max())):
        septet = np.where(k < length, rows[:, k] & 0x7F, 0).astype(np.uint64)
        number |= septet << np.uint64(7 * k)
    return number.view(np.int64), length


_WEIGHTS = np.multiply.accumulate(np.full(128, 0x9E3779B97F4A7C15, np.uint64))
"""Powers of an odd number modulo 2^64: the hash of a tag is a polynomial in it."""


def _numbered(octets: _Octets, at: IntArray, length: IntArray, tags: Tags) -> NDArray[np.int32]:
    """The number of each tag."""
    out = np.empty(len(at), np.int32)
    for width in np.flatnonzero(np.bincount(length)).tolist():
        here = np.flatnonzero(length == width)
        if width == 0:
            out[here] = tags.number(b"")
            continue
        rows = _rows(octets, at[here], width)
        with np.errstate(over="ignore"):
            hashes = (rows * _WEIGHTS[:width]).sum(axis=1, dtype=np.uint64)
        _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
        same = (rows == rows[first[which]]).all(axis=1)
        numbers = np.array([tags.number(rows[i].tobytes()) for i in first.tolist()], np.int32)
        out[here] = numbers[which]
        for i in np.flatnonzero(~same).tolist():  # two tags with one hash
            out[here[i]] = tags.number(rows[i].tobytes())
    return out


def _one_by_one(buffer: bytes, payload: IntArray, length: IntArray, tags: Tags) -> Batch:
    tag: list[int] = []
    step: list[int] = []
    wall: list[float] = []
    value: list[float] = []
    position: list[int] = []
    others, malformed = 0, []
    for start, size in zip(payload.tolist(), length.tolist(), strict=True):
        quick = _quick(buffer, start, size)
        if quick is not None:
            tag.append(tags.number(quick[0]))
            step.append(quick[1])
            wall.append(quick[2])
            value.append(quick[3])
            position.append(start)
            continue
        try:
            record = decode(buffer[start : start + size])
        except MalformedError:
            malformed.append(start)
            continue
        others += record.others
        for name, number in record.scalars or ():
            tag.append(tags.number(name))
            step.append(record.step)
            wall.append(record.wall_time)
            value.append(number)
            position.append(start)
    return Batch(
        np.array(tag, np.int32),
        np.array(step, np.int64),
        np.array(wall, np.float64),
        np.array(value, np.float64),
        np.array(position, np.int64),
        others,
        malformed,
    )


def _quick(buffer: bytes, start: int, size: int) -> tuple[bytes, int, float, float] | None:
    """Tag, step, wall time and value of one record of the usual shape, or None."""
    end = start + size
    if size < _SHORTEST or buffer[start] != 0x09:
        return None
    at, step = start + 9, 0
    if buffer[at] == 0x10:
        shift = 0
        while True:
            at += 1
            octet = buffer[at]
            step |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80 or shift > 63:
                break
        at += 1
        step = step - (1 << 64) if step >> 63 else step
    left = end - at
    if not 12 <= left <= _LONGEST or step >> 63 not in {0, -1}:
        return None
    if buffer[at : at + 5] != b"\x2a" + _LENGTHS[left - 2] + b"\x0a" + _LENGTHS[left - 4] + b"\x0a":
        return None
    if buffer[at + 5] != left - 11 or buffer[end - 5] != 0x15:
        return None
    wall: float = _DOUBLE.unpack_from(buffer, start + 1)[0]
    value: float = _FLOAT.unpack_from(buffer, end - 4)[0]
    return buffer[at + 6 : end - 5], step, wall, value


_LENGTHS = [bytes([length]) for length in range(_LONGEST + 1)]
_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")


def _merged(fast: Batch, slow: Batch) -> Batch:
    position = np.concatenate([fast.position, slow.position])
    order = np.argsort(position, kind="stable")
    return Batch(
        np.concatenate([fast.tag, slow.tag])[order],
        np.concatenate([fast.step, slow.step])[order],
        np.concatenate([fast.wall_time, slow.wall_time])[order],
        np.concatenate([fast.value, slow.value])[order],
        position[order],
        slow.others,
        slow.malformed,
    )
