"""One metric of one run as its consumers see it: columns in display order, with a pyramid for cheap frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from critictui.run.dtypes import FloatArray, IntArray, SmallIntArray
from critictui.run.pyramid import Pyramid

SourceKind = Literal["events", "log", "jsonl", "trainer-state", "derived"]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The points of one tag that are shown: one value a step, sorted by step, later sessions over earlier ones.

    The arrays are read-only views of columns that grow in place; a snapshot costs no copy. All have length n.
    """

    tag: str
    """The tag as its source wrote it, or the canonical name of a derived series."""
    name: str
    """The canonical name (see `critictui.run.metrics`), or the tag itself where no alias is known."""
    kind: SourceKind
    source: str
    """Where it was read: a path relative to the run directory, or, of a derived series, the tags it came from."""
    step: IntArray
    wall_time: FloatArray
    """Seconds since the epoch as the writer stamped them; NaN where the source has no time."""
    value: FloatArray
    """May hold NaN and infinities, as written."""
    session: SmallIntArray
    """The number of the session that wrote the point, counted from 0."""
    pyramid: Pyramid
    """Minimum, mean and maximum over any index range at the cost of a few hundred reads."""
    superseded: int = 0
    """How many points are kept but not shown, because a later session wrote the same step again."""
    duplicates: int = 0
    """How many points are not shown, because the same session wrote their step again: the last write stands."""

    def __len__(self) -> int:
        return len(self.step)

    def last(self) -> tuple[int, float] | None:
        """The newest point as (step, value), or None for an empty series."""
        return (int(self.step[-1]), float(self.value[-1])) if len(self.step) else None

    def in_session(self, number: int) -> slice:
        """The index range of the points from the first one of session `number` on (points are sorted by step)."""
        inside = np.flatnonzero(self.session >= number)
        return slice(int(inside[0]), len(self.step)) if len(inside) else slice(0, 0)
