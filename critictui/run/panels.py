"""Which metrics belong on one chart, what they are read against, and which others are worth one.

The dashboard and the page that `report` writes show the same charts.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from critictui.run import metrics as names
from critictui.run.facts import RunSnapshot
from critictui.run.series import Series

Role = Literal["teacher", "student", "train", "fixed", "main", "second", "third", "fourth", "fifth", "sixth"]
"""What a line stands for; a theme has a colour for each, as `chart-teacher` and so on."""
ReferenceKind = Literal["zero", "chance", "threshold"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A horizontal dashed line. It widens the y range only when `kind` is not threshold."""

    value: float
    label: str = ""
    kind: ReferenceKind = "zero"


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """A panel with a meaning: the metrics it joins and what they are read against."""

    title: str
    metrics: tuple[tuple[str, str, Role], ...]
    """(canonical name, label, role)."""
    references: tuple[Reference, ...] = ()
    asides: tuple[tuple[str, str, Role], ...] = ()
    """As `metrics`; of another scale: their values are said, their curves are not drawn."""
    percent: bool = False
    fixed: str = ""
    """Which value of a fixed-set score is drawn here: d_acc, score_diff, or none."""
    help: str = ""


SCORE_MEAN = PanelSpec(
    "score mean",
    ((names.TEACHER_MEAN, "teacher", "teacher"), (names.STUDENT_MEAN, "student", "student")),
    help="Mean score that the critic gives to teacher and student responses. Pairwise loss does not see a shift of "
    "both: their distance and order count, the level does not.",
)
D_ACC = PanelSpec(
    "d_acc",
    ((names.D_ACC, "train", "train"),),
    (Reference(0.5, "chance", "chance"),),
    percent=True,
    fixed="d_acc",
    help="How often the critic scores the teacher above the student. 0.5 is chance. Points with a bar are scores of "
    "checkpoints on the fixed set, with their 95 % interval. Within the first epoch the logged value is measured on "
    "pairs not seen before; from the second on it is not.",
)
SCORE_STD = PanelSpec(
    "score std",
    (
        (names.TEACHER_STD, "teacher", "teacher"),
        (names.STUDENT_STD, "student", "student"),
    ),
    asides=((names.SCORE_RANGE, "range", "third"),),
    help="Spread of the scores within a batch. Near 0 the critic says the same of everything; a sudden change in "
    "spread often comes before a collapse. The range, largest minus smallest score, is several times as large: here "
    "stands its value, its curve is a chart of its own.",
)
MARGIN = PanelSpec(
    "margin",
    ((names.SCORE_DIFF, "train", "main"),),
    (Reference(0.0, "zero", "zero"),),
    fixed="score_diff",
    help="Mean teacher score minus mean student score. At 0 the critic tells them apart no more; below 0 it prefers "
    "the student.",
)
MAIN = (SCORE_MEAN, D_ACC, SCORE_STD, MARGIN)

BEST: Mapping[str, Literal["high", "low"]] = {names.D_ACC: "high", names.SCORE_DIFF: "high", names.D_LOSS: "low"}
"""Where better has a direction, and the best point is marked; of a mean, a spread or a length there is none."""

INTERESTING = (
    "critic/d_loss", "critic/*loss*", "critic/score/mean", "critic/grad_norm", "critic/*_range", "*accura*",
    "rewards/*", "*reward*mean*", "*scores/*", "actor/entropy*", "*loss*", "response_length/mean", "*grad_norm*",
    "val*", "*/lr", "*learning_rate*", "critic/*", "*entropy*", "*score*", "*reward*", "*return*", "metrics/*",
)  # fmt: skip
"""What fills the room that is left, or stands in for a metric that a run does not log; in lower case."""
_LAST = ("tim*", "*/tim*", "*_time", "*_sec*", "perf*", "resource*", "*mem*", "progress/*", "epoch*", "episodes")
"""What says least of a run whose names are all unknown."""


def interesting(run: RunSnapshot, shown: Iterable[str], count: int) -> list[str]:
    """Tags worth showing, best first: by their names, then any other; `shown` ones, and doubles of them, left out."""
    standing_in = {tag for name, tag in run.metrics.items() if name in _MAIN_NAMES}
    taken = [tag for tag in shown if tag in run.series]
    tags = {tag: tag.lower() for tag in islice(run.series, _MOST_TAGS)}
    left = dict.fromkeys(tag for tag in tags if tag not in taken and tag not in standing_in)
    found: list[str] = []
    for pattern in (*INTERESTING, "*"):
        for tag in [tag for tag in left if fnmatch.fnmatchcase(tags[tag], pattern)]:
            if len(found) >= count:
                return found
            if pattern == "*" and any(fnmatch.fnmatchcase(tags[tag], last) for last in _LAST):
                continue
            del left[tag]
            if not any(_alike(run.series[tag], run.series[other]) for other in (*taken, *found)):
                found.append(tag)
    return [*found, *islice(left, count - len(found))]


def _alike(one: Series, other: Series) -> bool:
    """Whether two series hold the same values, as a reward that is logged under two names does."""
    n = len(one)
    if n < _FEW or n != len(other):
        return False
    apart = max(n // _COMPARED, 1)
    return all(
        one.value[part].tobytes() == other.value[part].tobytes()
        for part in (slice(-_COMPARED, None), slice(0, n, apart))
    )


_FEW, _COMPARED = 3, 256
"""Points from which equal values are no accident, and how many are compared at the end and over all."""
_MOST_TAGS = 2000
"""Looked at for the room that is left; a run with more has a metrics screen."""
_MAIN_NAMES = {name for spec in MAIN for name, _, _ in spec.metrics}
