"""Points of one tag in columns that grow in place: batches go in, read-only views that stay valid come out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from critictui.run.series import FloatArray, IntArray

_SMALLEST = 4
_DOUBLES_UP_TO = 1 << 16


class Columns:
    """Four columns of one length: step, wall time, value, and the byte position that the point was read from.

    What was appended is never written again, so that a view taken earlier is a frozen state. When the room is used
    up, the columns move to larger arrays and old views keep the old ones alive.
    """

    __slots__ = ("_position", "_step", "_value", "_wall", "n")

    def __init__(self, capacity: int = 0) -> None:
        self.n = 0
        self._step: IntArray = np.empty(capacity, np.int64)
        self._wall: FloatArray = np.empty(capacity, np.float64)
        self._value: FloatArray = np.empty(capacity, np.float64)
        self._position: IntArray = np.empty(capacity, np.int64)

    def append(self, step: IntArray, wall: FloatArray, value: FloatArray, position: IntArray) -> None:
        """Add rows, each argument of shape (k,)."""
        old, new = self.n, self.n + len(step)
        if new > len(self._step):
            self._grow(new)
        self._step[old:new] = step
        self._wall[old:new] = wall
        self._value[old:new] = value
        self._position[old:new] = position
        self.n = new

    def _grow(self, needed: int) -> None:
        room = len(self._step)
        room = max(needed, _SMALLEST, room * 2 if room < _DOUBLES_UP_TO else room + room // 4)
        self._step = _moved(self._step, self.n, room)
        self._wall = _moved(self._wall, self.n, room)
        self._value = _moved(self._value, self.n, room)
        self._position = _moved(self._position, self.n, room)

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
        return _frozen(self._step[: self.n])

    @property
    def wall(self) -> FloatArray:
        """(n,) read-only."""
        return _frozen(self._wall[: self.n])

    @property
    def value(self) -> FloatArray:
        """(n,) read-only."""
        return _frozen(self._value[: self.n])

    @property
    def position(self) -> IntArray:
        """(n,) read-only."""
        return _frozen(self._position[: self.n])

    def in_file_order(self) -> Columns:
        """Itself if the positions never fall, or a copy that is sorted by them; equal positions keep their order."""
        position = self.position
        if self.n < 2 or bool(np.all(position[1:] >= position[:-1])):
            return self
        order = np.argsort(position, kind="stable")
        copy = Columns(self.n)
        copy.append(self.step[order], self.wall[order], self.value[order], position[order])
        return copy


def _moved(array: NDArray[np.generic], used: int, room: int) -> NDArray:  # type: ignore[type-arg]
    larger = np.empty(room, array.dtype)
    larger[:used] = array[:used]
    return larger


def _frozen(view: NDArray) -> NDArray:  # type: ignore[type-arg]
    view.flags.writeable = False
    return view
