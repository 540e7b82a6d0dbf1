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
class _Change:
    fresh: dict[Key, dict[str, float]] = field(default_factory=dict)
    """The new points, where all changes are additions."""
    rewritten: bool = False


_NO_ROW: dict[str, float] = {}
EXACT = 4096
"""Points of a judged series that are compared byte for byte where its columns have moved; a longer past by its ends."""


class Feed:
    """Remembers what was consumed of each series. A rewritten past is found, and the rows after it are given again."""

    def __init__(self, watched: frozenset[str]) -> None:
        self._watched = watched
        """Names whose past is compared exactly; the others are only looked at for non-finite values."""
        self._seen: dict[str, Series] = {}
        """What was looked at last."""
        self.epochs: tuple[int, ...] = ()
        """Steps at which the run says that an epoch begins."""
        self._last: Row | None = None
        self._names: list[tuple[str, str]] = []
        """(name, tag) of each series, for these tags and stand-ins:"""
        self._tags: set[str] = set()
        self._metrics: dict[str, str] = {}

    def changes(self, run: RunSnapshot) -> tuple[Key | None, list[Row] | None]:
        """The earliest row that is new or different, and the new rows if they all follow what was given before.

        (None, None): nothing changed. (key, None): history changed from `key` on; ask `rows` for it again. The last row
        that was given may come once more, with more in it: a step does not reach the disk in one piece.
        """
        change = self._compare(run)
        epochs = tuple(sorted({seam.step for seam in run.seams if seam.kind == "epoch"}))
        if epochs != self.epochs:
            if self._last is not None and min(set(epochs) ^ set(self.epochs)) <= self._last.key[1]:
                change.rewritten = True
            self.epochs = epochs
        if change.rewritten:
            return BEGINNING, None
        fresh = change.fresh
        if not fresh:
            return None, None
        start = min(fresh)
        if self._last is None or start < self._last.key:
            return start, None
        if self._last.key in fresh:
            fresh[self._last.key] = {**self._last.values, **fresh[self._last.key]}
        return start, self._finished(fresh)

    def rows(self, run: RunSnapshot, after: Key) -> list[Row]:
        """All rows of the run that come after the key."""
        gathered: dict[Key, dict[str, float]] = {}
        for name, tag in names_of(run):
            for key, value in _points(run.series[tag], after):
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

    def _compare(self, run: RunSnapshot) -> _Change:
        change = _Change(rewritten=self._has_lost_one(run))
        seen, fresh, all_series = self._seen, change.fresh, run.series
        row, at_step, at_session = _NO_ROW, 0, 0
        for name, tag in self._names:
            series = all_series[tag]
            before = seen.get(name)
            if series is before:
                continue
            step, n, known = series.step, len(series.step), 0
            if before is not None:
                known = len(before.step)
                if not (_grown(series, before) and n >= known) and not _same_past(
                    series, n, before, known, exact=name in self._watched
                ):
                    change.rewritten, known = True, 0
            elif n == 0:
                continue
            seen[name] = series
            if known == n - 1:  # the usual case, and the cheapest
                new_step, new_session = step.item(known), series.session.item(known)
                if new_step != at_step or new_session != at_session or row is _NO_ROW:
                    at_step, at_session = new_step, new_session
                    row = fresh.setdefault((new_session, new_step), {})
                row[name] = series.value.item(known)
            elif known < n and not change.rewritten:
                keys = zip(series.session[known:].tolist(), step[known:].tolist(), strict=True)
                for key, value in zip(keys, series.value[known:].tolist(), strict=True):
                    fresh.setdefault(key, {})[name] = value
        return change

    def _has_lost_one(self, run: RunSnapshot) -> bool:
        """Bring the names up to date; True if one of which points were taken is gone, or stands for another tag."""
        if run.series.keys() == self._tags and run.metrics == self._metrics:
            return False
        self._names = names_of(run)
        self._tags, self._metrics = set(run.series), dict(run.metrics)
        tags = dict(self._names)
        lost = [name for name, series in self._seen.items() if tags.get(name) != series.tag]
        for name in lost:
            del self._seen[name]
        return bool(lost)


def names_of(run: RunSnapshot) -> list[tuple[str, str]]:
    """(name, tag) of each series, once: its canonical name where it has one, else its tag. A tag that is spelt as a
    canonical name and does not stand for it (an accuracy in per cent) is none of them.
    """
    names = {name: tag for name, tag in run.metrics.items() if tag in run.series}
    taken = set(names.values())
    for tag in run.series:
        if tag not in taken and tag not in names and tag not in m.NAMES:
            names[tag] = tag
    return list(names.items())


def _points(series: Series, after: Key) -> list[tuple[Key, float]]:
    later = (series.session > after[0]) | ((series.session == after[0]) & (series.step > after[1]))
    at = np.flatnonzero(later)
    keys = zip(series.session[at].tolist(), series.step[at].tolist(), strict=True)
    return list(zip(keys, series.value[at].tolist(), strict=True))


def _grown(series: Series, before: Series) -> bool:
    """Whether a series is a view of the same columns as the last look: what was appended to them is never written
    again (`run.columns`), and every view begins at their first row.
    """
    base = series.value.base
    return (
        base is not None
        and base is before.value.base
        and series.step.base is before.step.base is not None
        and series.session.base is before.session.base is not None
    )


def _same_past(series: Series, n: int, before: Series, known: int, *, exact: bool) -> bool:
    """Whether the first `known` points are those of the last look, though the columns have moved."""
    if known == 0:
        return True
    if n < known or series.superseded != before.superseded:
        return False
    last = known - 1
    # a display has one point a step, in order: the same step at the same place means as many steps before it
    if series.step.item(last) != before.step.item(last):
        return False
    if exact:
        low = max(0, known - EXACT)
        return all(
            new[low:known].tobytes() == old[low:known].tobytes()
            for new, old in (
                (series.value, before.value),
                (series.step, before.step),
                (series.session, before.session),
            )
        )
    value, old = series.value.item(last), before.value.item(last)
    return value == old or (math.isnan(value) and math.isnan(old))
