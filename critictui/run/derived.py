"""Series that a source lacks and that follow, step by step, from two that it has: the margin, or the two means."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from critictui.run import metrics
from critictui.run.columns import Columns
from critictui.run.dtypes import FloatArray
from critictui.run.pyramid import Pyramid
from critictui.run.series import Series
from critictui.run.tags import side_of

Combine = Callable[[FloatArray, FloatArray], FloatArray]


class Derived:
    """A metric that is a function of two others, at the steps that have both. Grows with them."""

    def __init__(self, name: str, combine: Combine, words: str) -> None:
        """words: how it comes about, with `{0}` and `{1}` for the two tags."""
        self.name = name
        self._combine = combine
        self._words = words
        self._columns = Columns()
        self._pyramid = Pyramid()
        self._sources: tuple[Pyramid, Pyramid] | None = None
        self._from = (0, 0)
        self._series: Series | None = None

    def update(self, one: Series, other: Series) -> Series:
        """The metric of two series; the same object while neither has new steps in common."""
        if self._sources != (one.pyramid, other.pyramid):  # other columns than last time
            self._columns, self._pyramid, self._from, self._series = Columns(), Pyramid(), (0, 0), None
            self._sources = (one.pyramid, other.pyramid)
        a, b = self._from
        _, here, there = np.intersect1d(one.step[a:], other.step[b:], assume_unique=True, return_indices=True)
        if len(here):
            here, there = here + a, there + b
            with np.errstate(invalid="ignore", over="ignore"):
                value = self._combine(one.value[here], other.value[there])
            self._columns.append(one.step[here], one.wall_time[here], value, one.session[here])
            self._from = (int(here[-1]) + 1, int(there[-1]) + 1)
        if self._series is None or len(here):
            self._series = self._made(one, other)
        return self._series

    def _made(self, one: Series, other: Series) -> Series:
        columns = self._columns
        return Series(
            self.name,
            self.name,
            "derived",
            self._words.format(one.tag, other.tag),
            columns.step,
            columns.wall,
            columns.value,
            columns.position,
            self._pyramid,
        )


class DerivedMetrics:
    """Everything that is derived in one run."""

    def __init__(self) -> None:
        self._all = (
            (
                Derived(metrics.SCORE_DIFF, lambda teacher, student: teacher - student, "{0} - {1}"),
                (metrics.TEACHER_MEAN, metrics.STUDENT_MEAN),
            ),
            # TRL logs the mean over both sides and the margin; the sides have as many scores, so both means follow
            (
                Derived(metrics.TEACHER_MEAN, lambda mean, margin: mean + margin / 2, "{0} + {1} / 2"),
                (metrics.SCORE_MEAN, metrics.SCORE_DIFF),
            ),
            (
                Derived(metrics.STUDENT_MEAN, lambda mean, margin: mean - margin / 2, "{0} - {1} / 2"),
                (metrics.SCORE_MEAN, metrics.SCORE_DIFF),
            ),
        )

    def add_to(self, series: dict[str, Series], stand_ins: dict[str, str]) -> None:
        """Put what can be derived, and no tag stands for, into `series` and `stand_ins` (metric to tag)."""
        own = {name for name, tag in stand_ins.items() if tag == name and name not in series}
        logged = {name: tag for name, tag in stand_ins.items() if name not in own}
        for derived, (one, other) in self._all:
            if derived.name in logged or one not in logged or other not in logged:
                continue
            if side_of(logged[one]) != side_of(logged[other]):  # of training and of held-out pairs
                continue
            made = derived.update(series[logged[one]], series[logged[other]])
            if len(made):
                series[derived.name] = made
                stand_ins[derived.name] = derived.name
