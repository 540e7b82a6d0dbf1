"""From a snapshot to what the charts show: which panels a dashboard has, and the lines, marks and points on each."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.run import metrics as names
from critictui.tui.chart.model import AlertMark, ChartData, Line, Point, Reference, Role, SeamMark


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """A panel with a meaning: the metrics it joins and what they are read against."""

    title: str
    metrics: tuple[tuple[str, str, Role], ...]
    """(canonical name, label, role)."""
    references: tuple[Reference, ...] = ()
    best: Literal["high", "low"] | None = None
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
    best="high",
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
        (names.SCORE_RANGE, "range", "third"),
    ),
    help="Spread of the scores within a batch. Near 0 the critic says the same of everything; a sudden change in "
    "spread often comes before a collapse.",
)
MARGIN = PanelSpec(
    "margin",
    ((names.SCORE_DIFF, "margin", "main"),),
    (Reference(0.0, "zero", "zero"),),
    fixed="score_diff",
    help="Mean teacher score minus mean student score. At 0 the critic tells them apart no more; below 0 it prefers "
    "the student.",
)
MAIN = (SCORE_MEAN, D_ACC, SCORE_STD, MARGIN)

INTERESTING = (
    "critic/d_loss", "critic/*loss*", "critic/score/mean", "critic/grad_norm", "*accura*", "rewards/*", "*reward*mean*",
    "actor/entropy*", "*loss*", "response_length/mean", "*grad_norm*", "val*", "*/lr", "*learning_rate*", "critic/*",
    "*entropy*",
)  # fmt: skip
"""What fills the room that is left, or stands in for a metric that a run does not log."""


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
    """Tags worth showing by their names, best first; `shown` ones left out."""
    taken = dict.fromkeys(shown)
    standing_in = {tag for name, tag in main.run.metrics.items() if name in _MAIN_NAMES}
    found: list[str] = []
    for pattern in INTERESTING:
        for tag in islice(main.run.series, _MOST_TAGS):
            if len(found) >= count:
                return found
            if tag not in taken and tag not in standing_in and fnmatch.fnmatchcase(tag, pattern):
                found.append(tag)
                taken[tag] = None
    return found


_MOST_TAGS = 2000
"""Looked at for the room that is left; a run with more has a metrics screen."""
_MAIN_NAMES = {name for spec in MAIN for name, _, _ in spec.metrics}


def spec_panel(snapshot: Snapshot, spec: PanelSpec) -> Panel:
    """A main panel over all watched runs."""
    main = snapshot.main
    assert main is not None
    lines: list[Line] = []
    for number, watched in enumerate(snapshot.watched):
        for metric, label, role in spec.metrics:
            series = watched.run.metric(metric)
            if series is not None:
                text = label if number == 0 else f"{label} {watched.run.name}"
                best = spec.best if number == 0 else None
                lines.append(Line(text, series, role, run=number, letter=label[0], best=best))
    tags = tuple(t for m, _, _ in spec.metrics if (t := main.run.metrics.get(m)) is not None)
    wanted = {m for m, _, _ in spec.metrics} | set(tags)
    data = ChartData(
        title=spec.title,
        lines=tuple(lines),
        references=(*thresholds(main, wanted), *spec.references),
        seams=seams(main),
        marks=marks(main, wanted),
        points=fixed_points(main, spec.fixed),
        percent=spec.percent,
    )
    return Panel(spec.title, data, tags, spec.help)


def tag_panel(snapshot: Snapshot, tag: str, *, pinned: bool = False) -> Panel:
    """One tag over all watched runs that have it."""
    main = snapshot.main
    assert main is not None
    lines = []
    for number, watched in enumerate(snapshot.watched):
        series = watched.run.series.get(tag)
        if series is not None:
            label = tag.rsplit("/", 1)[-1] if number == 0 else watched.run.name
            lines.append(Line(label or tag, series, "main", run=number))
    first = main.run.series.get(tag)
    known = {tag} | ({first.name} if first is not None else set())
    limits = thresholds(main, known)
    data = ChartData(title=tag, lines=tuple(lines), references=limits, seams=seams(main), marks=marks(main, known))
    where = f" Read from {first.source} ({first.kind})." if first is not None else ""
    return Panel(tag, data, (tag,), f"{tag}: one metric of the run.{where}", pinned)


def seams(main: WatchedRun) -> tuple[SeamMark, ...]:
    """Where restarts and epochs begin."""
    return tuple(SeamMark(seam.step, seam.label) for seam in main.run.seams)


def marks(main: WatchedRun, metrics: set[str]) -> tuple[AlertMark, ...]:
    """Where alerts on these metrics fired."""
    return tuple(
        AlertMark(alert.fired_step, alert.severity, alert.rule)
        for alert in main.judgement.alerts
        if alert.fired_step is not None and alert.metric in metrics
    )


def thresholds(main: WatchedRun, metrics: set[str]) -> tuple[Reference, ...]:
    """The thresholds that these metrics are beyond now; of alerts that the user has seen, none.

    Without a label: it would lie over that of a line beside it; the alert's own screen names its threshold.
    """
    found: dict[float, Reference] = {}
    for alert in main.judgement.alerts:
        shown = alert.state == "firing" and alert.key not in main.acknowledged and alert.metric in metrics
        if shown and math.isfinite(alert.threshold):
            found.setdefault(alert.threshold, Reference(alert.threshold, kind="threshold"))
    return tuple(found.values())


def fixed_points(main: WatchedRun, value: str) -> tuple[Point, ...]:
    """Fixed-set scores as points with intervals; they are never joined by a line."""
    points = []
    for score in main.scores:
        if score.step is None or not value:
            continue
        if value == "d_acc":
            low, high = score.d_acc_ci
            points.append(Point(score.step, score.d_acc, low, high, "fixed"))
        else:
            interval = score.extra.get("score_diff_ci")
            low, high = interval if _is_pair(interval) else (score.score_diff, score.score_diff)  # type: ignore[misc]
            points.append(Point(score.step, score.score_diff, float(low), float(high), "fixed"))
    return tuple(points)


def _is_pair(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, (int, float)) for v in value)
