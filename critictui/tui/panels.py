"""From a snapshot to what the charts show: which panels a dashboard has, and the lines, marks and points on each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from critictui.health.alert import Alert, threshold_of
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.run.panels import BEST, MAIN, PanelSpec, Reference, Role, interesting
from critictui.tui.chart.model import AlertMark, ChartData, Line, Point, SeamMark

_RUN_ROLES: tuple[Role, ...] = ("main", "second", "third", "fourth", "fifth", "sixth")
"""The colours of the runs on a chart of one metric."""


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
        panels += [tag_panel(snapshot, tag) for tag in interesting(main.run, shown.union(pinned), room - len(panels))]
    return tuple(panels)


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
        reference = threshold_line(alert) if wanted else None
        if reference is not None:
            found.setdefault(reference.value, reference)
    return tuple(found.values())


def threshold_line(alert: Alert) -> Reference | None:
    """The line across the chart of the alert's metric that the rule drew; None where it drew none there."""
    value = threshold_of(alert)
    return None if value is None else Reference(value, alert.rule, "threshold")


def fixed_points(main: WatchedRun, value: str) -> tuple[Point, ...]:
    """The run's own scores as points with intervals; they are never joined by a line. Another set or recipe is no
    point of the same curve.
    """
    points = []
    for score in main.own_scores:
        if score.step is None or not value:
            continue
        if value == "d_acc":
            low, high = score.interval
            points.append(Point(score.step, score.d_acc, low, high, "fixed"))
        else:
            low, high = score.score_diff_interval
            points.append(Point(score.step, score.score_diff, low, high, "fixed"))
    return tuple(points)
