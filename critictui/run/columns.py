"""Points of one tag in columns that grow in place: batches go in, read-only views that stay valid come out."""

from __future__ import annotations

import contextlib
import itertools
import math
import mmap
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from critictui.run.dtypes import FloatArray, IntArray, SmallIntArray

_SMALLEST = 4
_DOUBLES_UP_TO = 1 << 16
_MAPPED_FROM = 1 << 14
"""Bytes from which a column has pages of its own: those that it has not reached yet take no memory, and those that it
moved out of go back to the system, while the heap would keep both."""
_NARROW = int(np.iinfo(np.int32).max)
_stagger = itertools.count()

Number = TypeVar("Number", bound=np.generic)


class Columns:
    """Four columns of one length: step, wall time, value, and the byte position that the point was read from.

    What was appended is never written again, so that a view taken earlier is a frozen state. When the room is used
    up, the columns move to larger arrays and old views keep the old ones alive. No time takes no room, and a
    position four bytes until one needs eight.
    """

    __slots__ = ("_position", "_read_only", "_step", "_timed", "_value", "_wall", "_widest", "n")

    def __init__(self, capacity: int = 0) -> None:
        self.n = 0
        self._step: IntArray = _room(capacity, np.int64)
        self._wall: FloatArray = _timeless(capacity)
        self._timed = False
        self._value: FloatArray = _room(capacity, np.float64)
        self._position: SmallIntArray = _room(capacity, np.int32)
        self._widest = _NARROW
        """Positions below it fit."""
        self._read_only = self._frozen()

    def append(self, step: IntArray, wall: FloatArray, value: FloatArray, position: SmallIntArray) -> None:
        """Add rows, each argument of shape (k,)."""
        old, new = self.n, self.n + len(step)
        if new > len(self._step):
            self._grow(new)
        if not self._timed and not np.isnan(wall).all():
            self._begin_times()
        if len(position) and int(position.max()) >= self._widest:
            self._widen()
        self._step[old:new] = step
        if self._timed:
            self._wall[old:new] = wall
        self._value[old:new] = value
        self._position[old:new] = position
        self.n = new

    def append_one(self, step: int, wall: float, value: float, position: int) -> None:
        """Add one row, which costs a tenth of `append`."""
        n = self.n
        if n == len(self._step):
            self._grow(n + 1)
        if position >= self._widest:
            self._widen()
        self._step[n] = step
        if self._timed:
            self._wall[n] = wall
        elif not math.isnan(wall):
            self._begin_times()
            self._wall[n] = wall
        self._value[n] = value
        self._position[n] = position
        self.n = n + 1

    def _grow(self, needed: int) -> None:
        old = len(self._step)
        room = old * 2 if old < _DOUBLES_UP_TO else old + old // 4
        # The tags of a run are equally long: were their rooms equal too, all of them would move at the same step.
        room = max(needed, _SMALLEST, room - next(_stagger) % 16 * (room - old) // 32)
        self._step = _moved(self._step, self.n, room)
        self._wall = _moved(self._wall, self.n, room) if self._timed else _timeless(room)
        self._value = _moved(self._value, self.n, room)
        self._position = _moved(self._position, self.n, room)
        self._read_only = self._frozen()

    def _begin_times(self) -> None:
        """The first row that has a time: those before it have none."""
        self._timed = True
        self._wall = _room(len(self._step), np.float64)
        self._wall[: self.n] = np.nan
        self._read_only = self._frozen()

    def _widen(self) -> None:
        """The first position beyond what four bytes hold."""
        self._widest = np.iinfo(np.int64).max
        narrow, self._position = self._position, _room(len(self._step), np.int64)
        self._position[: self.n] = narrow[: self.n]
        self._read_only = self._frozen()

    def _frozen(self) -> tuple[IntArray, FloatArray, FloatArray, SmallIntArray]:
        """Read-only views of all the room: parts of them are read-only too, at the price of a slice."""
        views = (self._step.view(), self._wall.view(), self._value.view(), self._position.view())
        for view in views:
            view.flags.writeable = False
        return views

    @property
    def first_step(self) -> int:
        """The step of the first row; there must be one."""
        return int(self._step[0])

    @property
    def last_step(self) -> int:
        """The step of the last row; there must be one."""
        return int(self._step[self.n - 1])

    @property
    def last_position(self) -> int:
        """The position of the last row; there must be one."""
        return int(self._position[self.n - 1])

    @property
    def step(self) -> IntArray:
        """(n,) read-only."""
        return self._read_only[0][: self.n]

    @property
    def wall(self) -> FloatArray:
        """(n,) read-only; NaN where a row has none."""
        return self._read_only[1][: self.n]

    @property
    def value(self) -> FloatArray:
        """(n,) read-only."""
        return self._read_only[2][: self.n]

    @property
    def position(self) -> SmallIntArray:
        """(n,) read-only."""
        return self._read_only[3][: self.n]

    def in_file_order(self) -> Columns:
        """Itself if the positions never fall, or a copy that is sorted by them; equal positions keep their order."""
        position = self.position
        if self.n < 2 or bool(np.all(position[1:] >= position[:-1])):
            return self
        order = np.argsort(position, kind="stable")
        copy = Columns(self.n)
        copy.append(self.step[order], self.wall[order], self.value[order], position[order])
        return copy


def _moved(array: NDArray[Number], used: int, room: int) -> NDArray[Number]:
    larger: NDArray[Number] = _room(room, array.dtype)
    larger[:used] = array[:used]
    return larger


def _timeless(count: int) -> FloatArray:
    """(count,) NaN at no cost; read-only."""
    return np.broadcast_to(np.float64(np.nan), (count,))


def _room(count: int, dtype: DTypeLike) -> NDArray:  # type: ignore[type-arg]
    """An array of shape (count,), whatever is in it."""
    size = count * np.dtype(dtype).itemsize
    if size >= _MAPPED_FROM:
        with contextlib.suppress(OSError):  # a process may have so many mappings and no more
            pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            return np.frombuffer(pages, dtype)
    return np.empty(count, dtype)
