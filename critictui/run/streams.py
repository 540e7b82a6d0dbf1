"""One writer of one file, as columns by tag in file order: batches of scalars go in, pieces by life come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from critictui.run.clocks import is_date
from critictui.run.columns import Columns
from critictui.run.dtypes import FloatArray, IntArray
from critictui.run.series import SourceKind
from critictui.run.sessions import lives
from critictui.run.source import Scalars

_FEW = 512
"""Batches of at most this many points are taken point by point: numpy's fixed cost is higher."""


@dataclass(slots=True, eq=False)
class Rows:
    """The points of one tag in one stream."""

    columns: Columns = field(default_factory=Columns)
    top: int = 0
    """The highest step."""
    rising: bool = True
    """Each step was higher than all before it."""
    sorted: bool = True
    """Rows stand in file order."""

    def add(self, batch: Scalars, rows: IntArray | slice) -> bool:
        """Append; False unless the new steps all rise above the old ones in file order."""
        step, position = batch.step[rows], batch.position[rows]
        before = self.columns.n
        regular = bool(step[0] > self.top or not before)
        if len(step) > 1 and regular:
            regular = bool(np.all(step[1:] > step[:-1]))
        in_order = not before or position[0] >= self.columns.last_position
        self.sorted = self.sorted and in_order
        self.rising = self.rising and regular and in_order
        highest = int(step[-1]) if regular else int(step.max())
        self.top = highest if not before else max(self.top, highest)
        self.columns.append(step, batch.wall_time[rows], batch.value[rows], position)
        return regular and in_order

    def add_one(self, step: int, wall: float, value: float, position: int) -> bool:
        """Append one point; see `add`."""
        columns = self.columns
        if not columns.n:
            self.top = step
            columns.append_one(step, wall, value, position)
            return True
        in_order = position >= columns.last_position
        regular = step > self.top and in_order
        if not regular:
            self.rising = False
            self.sorted = self.sorted and in_order
        self.top = max(self.top, step)
        columns.append_one(step, wall, value, position)
        return regular

    def settle(self) -> None:
        """Put the rows into file order."""
        self.columns = self.columns.in_file_order()
        self.sorted = True
        step = self.columns.step
        self.rising = bool(np.all(step[1:] > step[:-1]))


@dataclass(frozen=True, slots=True, eq=False)
class RawScalars:
    """All n points of one writer as its file holds them, in file order."""

    source: str
    kind: SourceKind
    tags: tuple[str, ...]
    tag: NDArray[np.int32]
    """(n,) index into `tags`."""
    step: IntArray
    wall_time: FloatArray
    value: FloatArray
    session: IntArray


@dataclass(slots=True, eq=False)
class Stream:
    """One writer of one file."""

    source: str
    writer: str
    kind: SourceKind
    rows: dict[str, Rows] = field(default_factory=dict)
    starts: tuple[int, ...] = ()
    """Byte positions at which its second and later lives begin."""
    filling: bool = False
    flat: bool = True
    """All steps of all tags are 0: the writer counts no steps, and points go by their index."""
    wall: tuple[float, float] = (np.inf, -np.inf)
    fell: float = 0.0
    """The largest step back from one wall time to the next in the file, in seconds."""
    _last_wall: float = -np.inf
    span: tuple[int, int] = (1 << 62, -1)
    count: int = 0
    _shared: tuple[tuple[str, ...], list[Rows | None]] = field(default_factory=lambda: ((), []))

    def __len__(self) -> int:
        return self.count

    def add(self, batch: Scalars) -> tuple[list[str], list[str]]:
        """Take a batch. Returns the tags that grew, and those of them whose new steps do not simply rise."""
        if len(batch.tag) <= _FEW:
            return self._add_few(batch)
        grown, irregular = [], []
        for number, rows_of_tag in _by_tag(batch.tag):
            tag = batch.tags[number]
            rows = self.rows_for(batch.tags)[number]
            if rows is None:
                rows = self.rows[tag] = self._shared[1][number] = Rows()
            if not rows.add(batch, rows_of_tag):
                irregular.append(tag)
            grown.append(tag)
        self._stretch(batch)
        return grown, irregular

    def _add_few(self, batch: Scalars) -> tuple[list[str], list[str]]:
        """The same, point by point: a step's worth of scalars has one point a tag."""
        grown: dict[str, None] = {}
        irregular: dict[str, None] = {}
        table = self.rows_for(batch.tags)
        columns = (batch.tag, batch.step, batch.wall_time, batch.value, batch.position)
        for number, step, wall, value, position in zip(*(column.tolist() for column in columns), strict=True):
            rows, tag = table[number], batch.tags[number]
            if rows is None:
                rows = self.rows[tag] = table[number] = Rows()
            if not rows.add_one(step, wall, value, position):
                irregular[tag] = None
            grown[tag] = None
        self._stretch(batch)
        return list(grown), list(irregular)

    def begin_lives(self) -> bool:
        """Find anew where its lives begin; True if that changed."""
        before = self.starts
        some = (rows.columns.in_file_order() for rows in self.rows.values() if not rows.rising)
        self.starts = () if self.flat else lives((columns.step, columns.position) for columns in some)
        return self.starts != before

    def settle(self) -> bool:
        """Put everything into file order, once history has filled in; False if it was already."""
        unsorted = [rows for rows in self.rows.values() if not rows.sorted]
        for rows in unsorted:
            rows.settle()
        return bool(unsorted)

    def columns_of(self, tag: str) -> Columns | None:
        """The points of a tag in file order."""
        rows = self.rows.get(tag)
        return None if rows is None else rows.columns.in_file_order()

    def rows_for(self, tags: tuple[str, ...]) -> list[Rows | None]:
        """Rows by tag number; a source hands out the same tuple again and again."""
        if self._shared[0] is not tags or len(self._shared[1]) != len(tags):
            self._shared = (tags, [self.rows.get(tag) for tag in tags])
        return self._shared[1]

    def _stretch(self, batch: Scalars) -> None:
        """Take a batch into the extents."""
        finite = batch.wall_time[np.isfinite(batch.wall_time)]
        if len(finite):
            before = self._last_wall if int(batch.position[0]) > self.span[1] else -np.inf
            falls = float((finite[:-1] - finite[1:]).max(initial=before - float(finite[0])))
            self.fell, self._last_wall = max(self.fell, falls), float(finite[-1])
            self.wall = (min(self.wall[0], float(finite.min())), max(self.wall[1], float(finite.max())))
        low, high = int(batch.position.min()), int(batch.position.max())
        self.span = (min(self.span[0], low), max(self.span[1], high))
        self.count += len(batch.step)
        self.flat = self.flat and not batch.step.any()

    def raw(self, first_session: int) -> RawScalars:
        """All points, superseded and double ones too, in file order."""
        tags = tuple(self.rows)
        all_columns = [self.rows[tag].columns.in_file_order() for tag in tags]
        position = np.concatenate([columns.position for columns in all_columns])
        order = np.argsort(position, kind="stable")
        numbers = np.concatenate([np.full(c.n, k, np.int32) for k, c in enumerate(all_columns)])
        life = np.searchsorted(np.array(self.starts, np.int64), position[order], side="right")
        return RawScalars(
            self.source,
            self.kind,
            tags,
            numbers[order],
            np.concatenate([columns.step for columns in all_columns])[order],
            np.concatenate([columns.wall for columns in all_columns])[order],
            np.concatenate([columns.value for columns in all_columns])[order],
            life + first_session,
        )

    def simple(self, tag: str) -> bool:
        """Whether the rows of a tag can be shown as they are."""
        rows = self.rows[tag]
        return rows.rising and rows.sorted and not (self.flat and rows.columns.n > 1)

    def reach(self, life: int) -> dict[str, tuple[int, int]]:
        """The lowest and the highest step of each tag in one of its lives."""
        out = {}
        for tag, rows in self.rows.items():
            if rows.rising and not self.starts:
                out[tag] = (rows.columns.first_step, rows.top)
                continue
            for number, columns, part in self.pieces(tag):
                if number == life:
                    step = columns.step[part]
                    out[tag] = (int(step.min()), int(step.max()))
        return out

    def started(self, life: int) -> float:
        """The earliest wall time of one of its lives; NaN where there is none that is a date."""
        if not self.starts:
            return self.wall[0] if is_date(self.wall[0]) else np.nan
        earliest = np.inf
        for tag in self.rows:
            for number, columns, part in self.pieces(tag):
                if number == life:
                    earliest = min(earliest, float(np.nanmin(columns.wall[part], initial=np.inf)))
        return earliest if is_date(earliest) else np.nan

    def pieces(self, tag: str) -> Iterator[tuple[int, Columns, slice]]:
        """(life, columns, rows) of a tag, for each of its lives that has some."""
        columns = self.columns_of(tag)
        if columns is None:
            return
        position = columns.position
        starts = np.minimum(self.starts, np.iinfo(position.dtype).max).astype(position.dtype)
        cuts = [0, *np.searchsorted(position, starts).tolist(), columns.n]
        for life, (first, last) in enumerate(pairwise(cuts)):
            if first < last:
                yield life, columns, slice(first, last)

    def steps(self, columns: Columns, rows: slice) -> IntArray:
        """The steps of a piece, or its indices if the writer counts none."""
        return np.arange(rows.start, rows.stop) if self.flat and columns.n > 1 else columns.step[rows]


def _by_tag(tag: NDArray[np.int32]) -> Iterator[tuple[int, IntArray | slice]]:
    """The rows of each tag number, in file order."""
    if len(tag) == 1:
        yield int(tag[0]), slice(0, 1)
        return
    order = np.argsort(tag, kind="stable")
    sorted_tags = tag[order]
    cuts = np.flatnonzero(sorted_tags[1:] != sorted_tags[:-1]) + 1
    edges = [0, *cuts.tolist(), len(tag)]
    for first, last in pairwise(edges):
        yield int(sorted_tags[first]), order[first:last]
