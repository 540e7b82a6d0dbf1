"""What one poll of a text source collects: scalars one by one into columns, and losses one entry a reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from critictui.run.facts import Skipped
from critictui.run.source import Scalars


@dataclass(slots=True)
class Gathered:
    """The scalars of one writer, in the order of the file."""

    writer: str = ""
    _index: dict[str, int] = field(default_factory=dict)
    _tag: list[int] = field(default_factory=list)
    _step: list[int] = field(default_factory=list)
    _time: list[float] = field(default_factory=list)
    _value: list[float] = field(default_factory=list)
    _position: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._value)

    def add(self, position: int, step: int, pairs: Iterable[tuple[str, float]], wall_time: float = float("nan")) -> int:
        """Append the (tag, value) pairs of the record at a byte offset; returns how many there were."""
        before = len(self._value)
        for tag, value in pairs:
            self._tag.append(self._index.setdefault(tag, len(self._index)))
            self._value.append(value)
        count = len(self._value) - before
        self._step.extend([step] * count)
        self._time.extend([wall_time] * count)
        self._position.extend([position] * count)
        return count

    def scalars(self) -> Scalars:
        """Everything that was added, as columns."""
        return Scalars(
            tags=tuple(self._index),
            tag=np.array(self._tag, dtype=np.int32),
            step=np.array(self._step, dtype=np.int64),
            wall_time=np.array(self._time, dtype=np.float64),
            value=np.array(self._value, dtype=np.float64),
            position=np.array(self._position, dtype=np.int64),
            writer=self.writer,
        )


@dataclass(slots=True)
class Losses:
    """Losses of one poll, one entry a reason: a flag printed at every step is one line, not three hundred."""

    file: str
    _by_reason: dict[str, Skipped] = field(default_factory=dict)

    def add(self, offset: int, size: int, reason: str, records: int = 1) -> None:
        """Count a loss at a byte offset."""
        old = self._by_reason.get(reason)
        if old is not None:
            offset, size, records = min(old.offset, offset), old.bytes + size, old.records + records
        self._by_reason[reason] = Skipped(self.file, offset, size, records, reason)

    def take(self) -> tuple[Skipped, ...]:
        """What was counted since the last call."""
        taken = tuple(self._by_reason.values())
        self._by_reason.clear()
        return taken
