"""From a snapshot to what the charts show: which panels a dashboard has, and the lines, marks and points on each."""

from __future__ import annotations

import fnmatch
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from critictui.health.alert import Alert
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.run import metrics as names
from critictui.run.series import Series
from critictui.tui.chart.model import AlertMark, ChartData, Line, Point, Reference, Role, SeamMark


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
    "spread often comes before a collapse. The range, largest minus smallest score, is some times as large: its value "
    "stands in the title, its curve is a chart of its own.",
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

_RUN_ROLES: tuple[Role, ...] = ("main", "second", "third", "fourth", "fifth", "sixth")
"""The colours of the runs on a chart of one metric."""

INTERESTING = (
    "critic/d_loss", "critic/*loss*", "critic/score/mean", "critic/grad_norm", "critic/*_range", "*accura*",
    "rewards/*", "*reward*mean*", "*scores/*", "actor/entropy*", "*loss*", "response_length/mean", "*grad_norm*",
    "val*", "*/lr", "*learning_rate*", "critic/*", "*entropy*", "*score*", "*reward*", "*return*", "metrics/*",
)  # fmt: skip
"""What fills the room that is left, or stands in for a metric that a run does not log; in lower case."""
_LAST = ("tim*", "*/tim*", "*_time", "*_sec*", "perf*", "resource*", "*mem*", "progress/*", "epoch*", "episodes")
"""What says least of a run whose names are all unknown."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One chart of the dashboard."""

    key: str
    """A spec's title or a tag: what Enter, pins and the state file know it by."""
    data: ChartData
    tags: tuple[str, ...]
    """The tags of the first run on it."""
    help: str
    pinned: bool = False


def dashboard_panels(snapshot: Snapshot, pins: Sequence[str], room: int) -> tuple[Panel, ...]:
    """At most `room` panels: the four main ones that the run has, the pinned tags, then what else is worth a look."""
    main = snapshot.main
    if main is None:
        return ()
    panels = [spec_panel(snapshot, spec) for spec in MAIN if any(main.run.metric(m) for m, _, _ in spec.metrics)]
    shown = {tag for panel in panels for tag in panel.tags}
    pinned = [tag for tag in pins if tag in main.run.series]
    panels += [tag_panel(snapshot, tag, pinned=True) for tag in pinned]
    if len(panels) < room:
        panels += [tag_panel(snapshot, tag) for tag in interesting(main, shown.union(pinned), room - len(panels))]
    return tuple(panels)


def interesting(main: WatchedRun, shown: Iterable[str], count: int) -> list[str]:
    """Tags worth showing, best first: by their names, then any other; `shown` ones, and doubles of them, left out."""
    standing_in = {tag for name, tag in main.run.metrics.items() if name in _MAIN_NAMES}
    taken = [tag for tag in shown if tag in main.run.series]
    tags = {tag: tag.lower() for tag in islice(main.run.series, _MOST_TAGS)}
    left = dict.fromkeys(tag for tag in tags if tag not in taken and tag not in standing_in)
    found: list[str] = []
    for pattern in (*INTERESTING, "*"):
        for tag in [tag for tag in left if fnmatch.fnmatchcase(tags[tag], pattern)]:
            if len(found) >= count:
                return found
            if pattern == "*" and any(fnmatch.fnmatchcase(tags[tag], last) for last in _LAST):
                continue
            del left[tag]
            if not any(_alike(main.run.series[tag], main.run.series[other]) for other in (*taken, *found)):
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


def spec_panel(snapshot: Snapshot, spec: PanelSpec) -> Panel:
    """A main panel over all watched runs."""
    main = snapshot.main
    assert main is not None
    several = len(snapshot.watched) > 1
    lines: list[Line] = []
    asides: list[Line] = []
    for run, watched in enumerate(snapshot.watched):
        for found, wanted in ((lines, spec.metrics), (asides, spec.asides)):
            for metric, label, role in wanted:
                series = watched.run.metric(metric)
                if series is None or (run and found is asides):
                    continue
                alone = several and len(spec.metrics) == 1
                drawn, shade = (_run_role(run), 0) if alone else (role, run)
                best = BEST.get(metric) if run == 0 else None
                found.append(Line(label, series, drawn, run=run, shade=shade, letter=label[0], best=best))
    tags = tuple(t for m, _, _ in spec.metrics if (t := main.run.metrics.get(m)) is not None)
    wanted_names = {m for m, _, _ in spec.metrics} | set(tags)
    data = ChartData(
        title=spec.title,
        lines=tuple(lines),
        asides=tuple(asides),
        runs=run_names(snapshot),
        references=(*thresholds(main, wanted_names), *spec.references),
        seams=seams(main),
        marks=marks(main, wanted_names),
        points=fixed_points(main, spec.fixed),
        percent=spec.percent,
    )
    return Panel(spec.title, data, tags, spec.help)


def tag_panel(snapshot: Snapshot, tag: str, *, pinned: bool = False) -> Panel:
    """One tag over all watched runs that have it."""
    main = snapshot.main
    assert main is not None
    lines = []
    label = tag.rsplit("/", 1)[-1] or tag
    for run, watched in enumerate(snapshot.watched):
        series = watched.run.series.get(tag)
        if series is not None:
            best = BEST.get(series.name) if run == 0 else None
            lines.append(Line(label, series, _run_role(run), run=run, best=best))
    first = main.run.series.get(tag)
    known = {tag} | ({first.name} if first is not None else set())
    data = ChartData(
        title=tag,
        lines=tuple(lines),
        runs=run_names(snapshot),
        references=thresholds(main, known),
        seams=seams(main),
        marks=marks(main, known),
    )
    where = f" Read from {first.source} ({first.kind})." if first is not None else ""
    return Panel(tag, data, (tag,), f"{tag}: one metric of the run.{where}", pinned)


def _run_role(run: int) -> Role:
    return _RUN_ROLES[min(run, len(_RUN_ROLES) - 1)]


def run_names(snapshot: Snapshot) -> tuple[str, ...]:
    """The names of all runs on a chart without the folders they share, none where there is one."""
    found = [watched.run.name for watched in snapshot.watched]
    shared = shared_prefix(found)
    return tuple(name[shared:] for name in found) if len(found) > 1 else ()


def shared_prefix(names_of_runs: Sequence[str]) -> int:
    """How many characters of leading folders all names have in common: they tell nothing apart."""
    parents = [name.rsplit("/", 1)[0] if "/" in name else "" for name in names_of_runs]
    shared = os.path.commonpath(parents) if len(names_of_runs) > 1 and all(parents) else ""
    return len(shared) + 1 if shared else 0


def seams(main: WatchedRun) -> tuple[SeamMark, ...]:
    """Where restarts and epochs begin."""
    return tuple(SeamMark(seam.step, seam.label, restart=seam.kind == "restart") for seam in main.run.seams)


def marks(main: WatchedRun, metrics: set[str]) -> tuple[AlertMark, ...]:
    """Where alerts on these metrics fired."""
    return tuple(
        AlertMark(alert.fired_step, alert.severity, alert.rule)
        for alert in main.judgement.alerts
        if alert.fired_step is not None and alert.metric in metrics
    )


def thresholds(main: WatchedRun, metrics: set[str]) -> tuple[Reference, ...]:
    """The thresholds that these metrics are beyond now, by the rule's name; of alerts that the user has seen, none."""
    found: dict[float, Reference] = {}
    for alert in main.judgement.alerts:
        wanted = alert.state == "firing" and alert.key not in main.acknowledged and alert.metric in metrics
        reference = threshold_of(alert) if wanted else None
        if reference is not None:
            found.setdefault(reference.value, reference)
    return tuple(found.values())


_OF_ANOTHER_UNIT = frozenset({"non-finite", "instability", "stalled", "step-regression", "length-bias"})
"""Rules whose threshold is a count, a ratio or a time: on the axis of their metric it has no place."""
_NOT_OF_THE_METRIC = ("spread-collapse", "critic/score/mean")
"""How far apart the largest and the smallest score lie has no axis of its own."""


def threshold_of(alert: Alert) -> Reference | None:
    """The line across the chart of the alert's metric that the rule drew; None where it drew none there."""
    if alert.rule in _OF_ANOTHER_UNIT or (alert.rule, alert.metric) == _NOT_OF_THE_METRIC:
        return None
    if not math.isfinite(alert.threshold):
        return None
    return Reference(alert.threshold, alert.rule, "threshold")


def fixed_points(main: WatchedRun, value: str) -> tuple[Point, ...]:
    """Fixed-set scores as points with intervals; they are never joined by a line."""
    points = []
    for score in main.scores:
        if score.step is None or not value:
            continue
        if value == "d_acc":
            low, high = score.interval
            points.append(Point(score.step, score.d_acc, low, high, "fixed"))
        else:
            interval = score.extra.get("score_diff_ci")
            low, high = interval if _is_pair(interval) else (score.score_diff, score.score_diff)  # type: ignore[misc]
            points.append(Point(score.step, score.score_diff, float(low), float(high), "fixed"))
    return tuple(points)


def _is_pair(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, (int, float)) for v in value)
