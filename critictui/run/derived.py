"""Series that a source lacks and that follow from those it has: the margin, step by step, from the two means."""

from __future__ import annotations

import numpy as np

from critictui.run import metrics
from critictui.run.columns import Columns
from critictui.run.pyramid import Pyramid
from critictui.run.series import Series


class Margin:
    """`critic/score_diff` = teacher mean - student mean, at the steps that have both. Grows with them."""

    def __init__(self) -> None:
        self._columns = Columns()
        self._pyramid = Pyramid()
        self._sources: tuple[Pyramid, Pyramid] | None = None
        self._from = (0, 0)
        self._series: Series | None = None

    def update(self, teacher: Series, student: Series) -> Series:
        """The margin of two series; the same object while neither has new steps in common."""
        if self._sources != (teacher.pyramid, student.pyramid):  # other columns than last time
            self._columns, self._pyramid, self._from, self._series = Columns(), Pyramid(), (0, 0), None
            self._sources = (teacher.pyramid, student.pyramid)
        t, s = self._from
        left, right = teacher.step[t:], student.step[s:]
        _, mine, other = np.intersect1d(left, right, assume_unique=True, return_indices=True)
        if len(mine):
            mine, other = mine + t, other + s
            with np.errstate(invalid="ignore", over="ignore"):
                value = teacher.value[mine] - student.value[other]
            self._columns.append(teacher.step[mine], teacher.wall_time[mine], value, teacher.session[mine])
            self._from = (int(mine[-1]) + 1, int(other[-1]) + 1)
        if self._series is None or len(mine):
            self._series = self._made(teacher, student)
        return self._series

    def _made(self, teacher: Series, student: Series) -> Series:
        columns = self._columns
        source = f"{teacher.tag} - {student.tag}"
        return Series(
            metrics.SCORE_DIFF,
            metrics.SCORE_DIFF,
            "derived",
            source,
            columns.step,
            columns.wall,
            columns.value,
            columns.position,
            self._pyramid,
        )
