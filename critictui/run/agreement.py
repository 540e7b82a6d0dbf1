"""Whether two files that log one metric agree on it: both columns as they grow go in, steps apart are counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from critictui.run.lanes import Shown

_NEAR, _NEAR_SHARE = 6e-4, 5e-3
"""What printing costs: three decimals (verl's older console), or three significant digits."""
_NAMED = 3


@dataclass(slots=True, eq=False)
class Compared:
    """One metric in the file that is shown and in another. What was compared once is not looked at again."""

    name: str
    """Canonical."""
    shown: Shown
    other: Shown
    common: int = 0
    """Steps that both have."""
    apart: int = 0
    """Steps at which their values differ by more than printing costs."""
    _taken: int = 0

    def go_on(self) -> None:
        """Compare the steps that both have reached since the last time."""
        step, n = self.other.columns.step, self.other.n
        known = self.shown.columns.step[: self.shown.n]
        if not n or not len(known):
            return
        end = int(np.searchsorted(step[:n], min(step[n - 1], known[-1]), side="right"))
        if end <= self._taken:
            return
        new = slice(self._taken, end)
        at = np.searchsorted(known, step[new])
        both = known[at] == step[new]
        mine, theirs = self.shown.columns.value[at[both]], self.other.columns.value[new][both]
        with np.errstate(invalid="ignore", over="ignore"):
            near = np.abs(theirs - mine) <= _NEAR + _NEAR_SHARE * np.abs(mine)
        near |= (theirs == mine) | (np.isnan(theirs) & np.isnan(mine))
        self.common += len(near)
        self.apart += int(np.count_nonzero(~near))
        self._taken = end

    @property
    def same_lives(self) -> bool:
        """Both have seen the same restarts; else some steps are of different lives, and may well differ."""
        return self.shown.superseded == self.other.superseded


def said_of(compared: Iterable[Compared]) -> tuple[str, ...]:
    """A sentence for each pair of files that disagree, by the metrics in which they do, worst first."""
    pairs: dict[tuple[str, str], list[Compared]] = {}
    for one in compared:
        if one.apart and one.same_lives:
            pairs.setdefault((one.other.sources[-1], one.shown.sources[-1]), []).append(one)
    said = []
    for (other, shown), found in pairs.items():
        worst, *rest = sorted(found, key=lambda one: -one.apart)
        names = [one.name for one in rest[:_NAMED]]
        also = f"; so do they on {', '.join(names)}{' ...' if len(rest) > _NAMED else ''}" if rest else ""
        steps = f"{worst.apart} of {worst.common} steps"
        said.append(f"{worst.name}: {other} and {shown} disagree at {steps}; {shown} is shown{also}")
    return tuple(said)
