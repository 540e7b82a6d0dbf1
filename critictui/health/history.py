"""A run snapshot goes in, the rows that are new or changed come out: one a step, ordered by session and step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from critictui.run import metrics as m
from critictui.run.facts import RunSnapshot
from critictui.run.series import Series

Key = tuple[int, int]
"""(session, step): the order in which rows are judged."""

BEGINNING: Key = (-(2**63), -(2**63))


@dataclass(frozen=True, slots=True)
class Row:
    """Everything logged at one step of one session."""

    key: Key
    values: Mapping[str, float]
    """By canonical name, or by tag where a tag stands for none. May hold NaN and infinities."""

    @property
    def session(self) -> int:
        """The session that wrote the row."""
        return self.key[0]

    @property
    def step(self) -> int:
        """The training step."""
        return self.key[1]


@dataclass(slots=True)
class _Seen:
    """What was taken from one series; enough to notice that its past has changed."""

    tag: str
    superseded: int
    n: int = 0
    step: int = 0
    last: float = math.nan
    past: bytes = b""
    series: Series | None = None
    """What was looked at last: the same object again holds nothing new."""


@dataclass(slots=True)
class _Change:
    start: Key | None = None
    """The earliest row that is new or different; None if all is as before."""
    fresh: dict[Key, dict[str, float]] = field(default_factory=dict)
    """The new points, where all changes are additions."""
    rewritten: bool = False


EXACT = 4096
"""Points of a judged series that are compared byte for byte with the last look; a longer past by its ends."""


class Feed:
    """Remembers what was consumed of each series. A rewritten past is found, and the rows after it are given again."""

    def __init__(self, watched: frozenset[str]) -> None:
        self._watched = watched
        """Names whose past is compared exactly; the others are only looked at for non-finite values."""
        self._seen: dict[str, _Seen] = {}
        self.epochs: tuple[int, ...] = ()
        """Steps at which the run says that an epoch begins."""
        self._last: Row | None = None

    def changes(self, run: RunSnapshot) -> tuple[Key | None, list[Row] | None]:
        """The earliest row that is new or different, and the new rows if they all follow what was given before.

        (None, None): nothing changed. (key, None): history changed from `key` on; ask `rows` for it again. The last row
        that was given may come once more, with more in it: a step does not reach the disk in one piece.
        """
        change = self._compare(named_series(run))
        epochs = tuple(sorted({seam.step for seam in run.seams if seam.kind == "epoch"}))
        if epochs != self.epochs:
            if self._last is not None and min(set(epochs) ^ set(self.epochs)) <= self._last.key[1]:
                change.rewritten = True
            self.epochs = epochs
        if change.rewritten:
            return BEGINNING, None
        if change.start is None:
            return None, None
        if self._last is None or change.start < self._last.key:
            return change.start, None
        fresh = change.fresh
        if self._last.key in fresh:
            fresh[self._last.key] = {**self._last.values, **fresh[self._last.key]}
        return change.start, self._finished(fresh)

    def rows(self, run: RunSnapshot, after: Key) -> list[Row]:
        """All rows of the run that come after the key."""
        gathered: dict[Key, dict[str, float]] = {}
        for name, series in named_series(run):
            for key, value in _points(series, after):
                gathered.setdefault(key, {})[name] = value
        return self._finished(gathered)

    def _finished(self, gathered: dict[Key, dict[str, float]]) -> list[Row]:
        rows = []
        for key in sorted(gathered):
            values = gathered[key]
            if m.SCORE_DIFF not in values and m.TEACHER_MEAN in values and m.STUDENT_MEAN in values:
                values[m.SCORE_DIFF] = values[m.TEACHER_MEAN] - values[m.STUDENT_MEAN]
            rows.append(Row(key, values))
        if rows:
            self._last = rows[-1]
        return rows

    def _compare(self, named: list[tuple[str, Series]]) -> _Change:
        change = _Change(rewritten=bool(self._seen) and not self._seen.keys() <= {name for name, _ in named})
        for name, series in named:
            seen = self._seen.get(name)
            n = len(series.step)
            if seen is None:
                if n == 0:
                    continue
                seen = self._seen[name] = _Seen(series.tag, series.superseded)
            elif series is seen.series and n == seen.n:
                continue  # the very same view
            exact = name in self._watched
            if not _same_past(series, n, seen, exact):
                change.rewritten = True
                seen.n = 0
            if n != seen.n:
                self._take(change, name, series, seen.n, n)
                _look(series, n, seen, exact)
            seen.series = series
        return change

    def _take(self, change: _Change, name: str, series: Series, known: int, n: int) -> None:
        """Add the points from `known` on to the change."""
        if change.rewritten:
            return
        fresh = change.fresh
        if known == n - 1:  # the usual case, and the cheapest
            key = (series.session.item(known), series.step.item(known))
            if key in fresh:
                fresh[key][name] = series.value.item(known)
                return
            points = [(key, series.value.item(known))]
        else:
            keys = zip(series.session[known:].tolist(), series.step[known:].tolist(), strict=True)
            points = list(zip(keys, series.value[known:].tolist(), strict=True))
        for key, value in points:
            if change.start is None or key < change.start:
                change.start = key
            fresh.setdefault(key, {})[name] = value


def named_series(run: RunSnapshot) -> list[tuple[str, Series]]:
    """Each series once, under its canonical name or its tag, sorted by name."""
    named = {}
    taken = set()
    for name, tag in run.metrics.items():
        series = run.series.get(tag)
        if series is not None:
            named[name] = series
            taken.add(tag)
    for tag, series in run.series.items():
        if tag not in taken and tag not in named:
            named[tag] = series
    return sorted(named.items())


def _points(series: Series, after: Key) -> list[tuple[Key, float]]:
    later = (series.session > after[0]) | ((series.session == after[0]) & (series.step > after[1]))
    at = np.flatnonzero(later)
    keys = zip(series.session[at].tolist(), series.step[at].tolist(), strict=True)
    return list(zip(keys, series.value[at].tolist(), strict=True))


def _look(series: Series, n: int, seen: _Seen, exact: bool) -> None:
    seen.n, seen.tag, seen.superseded = n, series.tag, series.superseded
    if n > 0:
        seen.step, seen.last = series.step.item(n - 1), series.value.item(n - 1)
    if exact:
        seen.past = _past(series, n)


def _past(series: Series, n: int) -> bytes:
    low = max(0, n - EXACT)
    return series.value[low:n].tobytes() + series.step[low:n].tobytes() + series.session[low:n].tobytes()


def _same_past(series: Series, n: int, seen: _Seen, exact: bool) -> bool:
    known = seen.n
    if known == 0:
        return True
    if n < known or series.superseded != seen.superseded or series.tag != seen.tag:
        return False
    # a display has one point a step, in order: the same step at the same place means as many steps before it
    if series.step.item(known - 1) != seen.step:
        return False
    value = series.value.item(known - 1)
    if value != seen.last and not (math.isnan(value) and math.isnan(seen.last)):
        return False
    return not exact or _past(series, known) == seen.past
