"""A pyramid of minima, sums and maxima over a column that grows: index ranges go in, their envelopes come out."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critictui.run.dtypes import FloatArray, IntArray

_RADIX = 16
_FIELDS = 5
_MIN, _MAX, _SUM, _COUNT, _BAD = range(_FIELDS)


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """What the values in each of several index ranges look like; every array has shape (columns,)."""

    min: FloatArray
    """Of the finite values; NaN where a range has none. So are `mean` and `max`."""
    mean: FloatArray
    max: FloatArray
    count: IntArray
    """Finite values in the range."""
    non_finite: IntArray
    """NaN and infinities in the range: left out of the rest, to be drawn as marks."""


class Pyramid:
    """Summaries of 16, 256, 4096 ... values of one column, made when they are first asked for.

    Only full blocks are kept, and full blocks never change: growing costs O(new values), and the snapshots of one
    column, old and new, share one pyramid. An envelope of c ranges over n values costs O(c log n) whatever the
    ranges are. Any thread may ask.
    """

    __slots__ = ("_levels", "_lock", "_used")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._levels: list[FloatArray] = []
        """Level k has shape (5, room): min, max, sum, count, non-finite of 16^(k+1) values a column."""
        self._used: list[int] = []

    def envelope(self, values: FloatArray, edges: IntArray) -> Envelope:
        """Summarise `values[edges[c]:edges[c + 1]]` for each c.

        `values` is the column (n,), or an earlier, shorter view of it; `edges` (columns + 1,) are indices into it
        that do not fall. Raises ValueError for edges outside of the column.
        """
        edges = np.asarray(edges, np.int64)
        if len(edges) < 2 or edges[0] < 0 or edges[-1] > len(values) or bool(np.any(edges[1:] < edges[:-1])):
            raise ValueError(f"edges must rise within 0 to {len(values)}")
        return _as_envelope(self._summary(values, edges[:-1], edges[1:]))

    def bounds(self, values: FloatArray) -> tuple[float, float] | None:
        """The smallest and the largest finite value, or None where there is none; O(log n)."""
        both = self._summary(values, np.zeros(1, np.int64), np.array([len(values)], np.int64))
        return (float(both[_MIN, 0]), float(both[_MAX, 0])) if both[_COUNT, 0] else None

    def _summary(self, values: FloatArray, low: IntArray, high: IntArray) -> FloatArray:
        levels = self._grown_to(values)
        total = _nothing(len(low))
        below: FloatArray | None = None  # the level that `low` and `high` index; None is the column itself
        for level in [*levels, None]:
            if level is None or int(np.max(high - low, initial=0)) <= 2 * _RADIX:
                _join(total, _gather(values, below, low, high))
                break
            first = np.minimum(-(-low // _RADIX) * _RADIX, high)
            last = np.maximum(high // _RADIX * _RADIX, first)
            _join(total, _gather(values, below, low, first))
            _join(total, _gather(values, below, last, high))
            below, low, high = level, first // _RADIX, last // _RADIX
            high = np.maximum(high, low)
        return total

    def _grown_to(self, values: FloatArray) -> list[FloatArray]:
        """The levels, after the blocks that `values` fills were added."""
        with self._lock:
            k, blocks = 0, len(values) // _RADIX
            while blocks:
                if k == len(self._levels):
                    self._levels.append(np.empty((_FIELDS, max(blocks, _RADIX))))
                    self._used.append(0)
                used = self._used[k]
                if blocks > used:
                    new = _of_values(values, used, blocks) if k == 0 else _of_level(self._levels[k - 1], used, blocks)
                    self._levels[k] = _with_room(self._levels[k], used, blocks)
                    self._levels[k][:, used:blocks] = new
                    self._used[k] = blocks
                k, blocks = k + 1, blocks // _RADIX
            return list(self._levels[:k])


def _of_values(values: FloatArray, used: int, blocks: int) -> FloatArray:
    rows = values[used * _RADIX : blocks * _RADIX].reshape(-1, _RADIX)
    return _reduced(np.isfinite(rows), rows)


def _reduced(finite: NDArray[np.bool_], rows: FloatArray, inside: NDArray[np.bool_] | None = None) -> FloatArray:
    out = np.empty((_FIELDS, len(rows)))
    out[_MIN] = np.min(rows, axis=1, where=finite, initial=np.inf)
    out[_MAX] = np.max(rows, axis=1, where=finite, initial=-np.inf)
    with np.errstate(over="ignore"):
        out[_SUM] = np.sum(rows, axis=1, where=finite)
    out[_COUNT] = np.count_nonzero(finite, axis=1)
    out[_BAD] = (rows.shape[1] if inside is None else np.count_nonzero(inside, axis=1)) - out[_COUNT]
    return out


def _of_level(level: FloatArray, used: int, blocks: int) -> FloatArray:
    return _folded(level[:, used * _RADIX : blocks * _RADIX].reshape(_FIELDS, -1, _RADIX))


def _folded(rows: FloatArray) -> FloatArray:
    """(5, k, j) summaries to (5, k)."""
    out = np.empty(rows.shape[:2])
    out[_MIN] = np.min(rows[_MIN], axis=1)
    out[_MAX] = np.max(rows[_MAX], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        out[_SUM:] = np.sum(rows[_SUM:], axis=2)
    return out


def _with_room(level: FloatArray, used: int, needed: int) -> FloatArray:
    if needed <= level.shape[1]:
        return level
    larger = np.empty((_FIELDS, max(needed, 2 * level.shape[1])))
    larger[:, :used] = level[:, :used]
    return larger


def _gather(values: FloatArray, level: FloatArray | None, low: IntArray, high: IntArray) -> FloatArray:
    """The summary (5, columns) of short ranges of the column, or of one level of the pyramid."""
    widest = int(np.max(high - low, initial=0))
    if widest == 0:
        return _nothing(len(low))
    index = low[:, None] + np.arange(widest)
    inside = index < high[:, None]
    index[~inside] = 0
    if level is None:
        rows = values[index]
        return _reduced(np.isfinite(rows) & inside, rows, inside)
    found = level[:, index]
    found[:, ~inside] = _nothing(1)
    return _folded(found)


def _nothing(columns: int) -> FloatArray:
    out = np.zeros((_FIELDS, columns))
    out[_MIN], out[_MAX] = np.inf, -np.inf
    return out


def _join(total: FloatArray, part: FloatArray) -> None:
    np.minimum(total[_MIN], part[_MIN], out=total[_MIN])
    np.maximum(total[_MAX], part[_MAX], out=total[_MAX])
    with np.errstate(over="ignore", invalid="ignore"):
        total[_SUM:] += part[_SUM:]


def _as_envelope(total: FloatArray) -> Envelope:
    empty = total[_COUNT] == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(empty, np.nan, total[_SUM] / total[_COUNT])
    low, high = np.where(empty, np.nan, total[_MIN]), np.where(empty, np.nan, total[_MAX])
    mean = np.where(np.isfinite(mean) | empty, mean, low / 2 + high / 2)  # a sum that overflowed: still in the band
    return Envelope(low, np.clip(mean, low, high), high, total[_COUNT].astype(np.int64), total[_BAD].astype(np.int64))
