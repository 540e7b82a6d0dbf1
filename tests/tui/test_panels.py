"""What the charts of a run hold: lines, thresholds, seams, best points, and the runs laid over it."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from textual.pilot import Pilot

from critictui.monitor.snapshot import Snapshot
from critictui.run import metrics as names
from critictui.run.facts import Seam
from critictui.run.panels import D_ACC, MARGIN, SCORE_MEAN, SCORE_STD
from critictui.run.series import Series
from critictui.tui.app import CriticApp
from critictui.tui.chart.model import ChartData
from critictui.tui.chart.widget import Chart
from critictui.tui.panels import (
    dashboard_panels,
    run_names,
    spec_panel,
    tag_panel,
)
from critictui.tui.screens.chart import ChartScreen
from critictui.tui.screens.runs import RunsScreen

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture
def three_runs(case_snapshot: Snapshot) -> Snapshot:
    """The run of the case, two others laid over it."""
    first = case_snapshot.watched[0]
    others = [
        dataclasses.replace(first, run=dataclasses.replace(first.run, name=f"lab/{name}", path=first.run.path / name))
        for name in ("warmup-v10", "warmup-v9", "baseline")
    ]
    return dataclasses.replace(case_snapshot, watched=tuple(others))


def test_the_spread_has_a_scale_of_its_own_and_the_range_is_said(case_snapshot: Snapshot) -> None:
    data = spec_panel(case_snapshot, SCORE_STD).data
    assert [line.label for line in data.lines] == ["teacher", "student"]
    assert [line.label for line in data.asides] == ["range"]
    assert tag_panel(case_snapshot, names.SCORE_RANGE).data.lines, "it has a chart"


def test_the_best_point_is_marked_where_better_has_a_direction_and_nowhere_else(case_snapshot: Snapshot) -> None:
    def best(data: ChartData) -> list[str | None]:
        return [line.best for line in data.lines]

    assert best(spec_panel(case_snapshot, D_ACC).data) == ["high"]
    assert best(spec_panel(case_snapshot, MARGIN).data) == ["high"]
    assert best(spec_panel(case_snapshot, SCORE_MEAN).data) == [None, None]
    assert best(spec_panel(case_snapshot, SCORE_STD).data) == [None, None]
    assert best(tag_panel(case_snapshot, names.D_LOSS).data) == ["low"]
    for tag in (names.GRAD_NORM, names.LEARNING_RATE, names.RESPONSE_LENGTH, "actor/metric_00"):
        assert best(tag_panel(case_snapshot, tag).data) == [None]


def test_a_threshold_has_the_name_of_its_rule(case_snapshot: Snapshot) -> None:
    references = spec_panel(case_snapshot, D_ACC).data.references
    found = {(r.label, r.value) for r in references if r.kind == "threshold"}
    assert found == {("generalisation-gap", 0.51), ("step-change", 0.05)}


@pytest.mark.parametrize("rule", ["non-finite", "instability", "length-bias", "stalled", "step-regression"])
def test_a_threshold_in_another_unit_is_no_line_on_the_axis_of_the_metric(
    case_snapshot: Snapshot, snapshot_with: Callable[..., Snapshot], rule: str
) -> None:
    judgement = case_snapshot.watched[0].judgement
    alert = dataclasses.replace(judgement.alerts[0], rule=rule, threshold=0.6)
    snapshot = snapshot_with(judgement=dataclasses.replace(judgement, alerts=(alert,)))
    assert all(r.kind != "threshold" for r in spec_panel(snapshot, D_ACC).data.references)


def test_a_restart_is_told_from_an_epoch(snapshot_with: Callable[..., Snapshot]) -> None:
    snapshot = snapshot_with(seams=(Seam(100, "restart", "restart 1"), Seam(300, "epoch", "epoch 2")))
    assert [(s.label, s.restart) for s in spec_panel(snapshot, D_ACC).data.seams] == [
        ("restart 1", True),
        ("epoch 2", False),
    ]


def test_runs_on_a_chart_of_one_metric_have_a_colour_each(three_runs: Snapshot) -> None:
    for data in (spec_panel(three_runs, D_ACC).data, tag_panel(three_runs, names.GRAD_NORM).data):
        assert len({line.role for line in data.lines}) == 3
        assert [line.run for line in data.lines] == [0, 1, 2]
        assert data.runs == ("warmup-v10", "warmup-v9", "baseline"), "without the folder that they share"
    both = spec_panel(three_runs, SCORE_MEAN).data
    assert [(line.role, line.shade) for line in both.lines[:4]] == [
        ("teacher", 0),
        ("student", 0),
        ("teacher", 1),
        ("student", 1),
    ]


def test_one_run_alone_has_no_legend(case_snapshot: Snapshot) -> None:
    assert run_names(case_snapshot) == ()


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_runs_over_each_other_are_told_apart_on_the_dashboard(
    three_runs: Snapshot, showing: Showing, text_of: Callable[[CriticApp], str], size: tuple[int, int]
) -> None:
    async with showing(three_runs, size) as pilot:
        assert isinstance(pilot.app, CriticApp)
        text = text_of(pilot.app)
        assert all(name in text for name in ("A wa", "B wa", "C ba", "v10", "v9"))
        for chart in pilot.app.screen.query(Chart):
            title = chart._border_title.plain
            assert "A " in title or "AT " in title


async def test_the_full_screen_names_every_line_in_its_colour(
    three_runs: Snapshot, showing: Showing, settle: Settle, text_of: Callable[[CriticApp], str]
) -> None:
    async with showing(three_runs, (120, 36)) as pilot:
        assert isinstance(pilot.app, CriticApp)
        pilot.app.push_screen(ChartScreen("d_acc"))
        await settle(pilot)
        text = text_of(pilot.app)
        assert all(f"{name}: 0." in text for name in ("A warmup-v10", "B warmup-v9", "C baseline"))
        assert "best 0." in text
        assert "chance 0.500" in text
        assert "generalisation-gap 0.510" in text
        assert "epoch 2 from step 300" in text
        chart = pilot.app.screen.query_one(Chart)
        assert len({str(s.spans[0].style.foreground) for s in chart.swatches()}) == 3  # type: ignore[union-attr]
        assert "warmup-v9" in chart._border_subtitle.plain


def test_the_help_of_the_run_list_says_what_is_drawn() -> None:
    assert RunsScreen.HELP is not None
    assert "letter" in RunsScreen.HELP
    assert "lower border" in RunsScreen.HELP


def test_a_run_of_unknown_names_fills_the_room_with_what_tells_most(
    case_snapshot: Snapshot, series_of: Callable[..., Series]
) -> None:
    tags = ["Timing/total_sec", "Resources/cpu_mem_gb", "Progress/kimg", "Loss/D/reg", "Loss/scores/real", "other", "B"]
    series = {tag: series_of(tag, number) for number, tag in enumerate(tags)}
    snapshot = _with_run(case_snapshot, series=series, metrics={})
    order = [panel.key for panel in dashboard_panels(snapshot, (), 7)]
    assert order[:4] == ["Loss/scores/real", "Loss/D/reg", "other", "B"]
    assert sorted(order) == sorted(tags)
    assert len(dashboard_panels(snapshot, (), 4)) == 4


def test_the_same_values_under_two_names_are_shown_once(
    case_snapshot: Snapshot, series_of: Callable[..., Series]
) -> None:
    tags = {"critic/score/mean": 1, "critic/rewards/mean": 1, "rewards/iter": 2, "rewards/time": 2, "rewards/frame": 2}
    series = {tag: series_of(tag, seed) for tag, seed in tags.items()}
    snapshot = _with_run(case_snapshot, series=series, metrics={})
    shown = [panel.key for panel in dashboard_panels(snapshot, (), 8)]
    assert shown == ["critic/score/mean", "rewards/iter"]


def _with_run(snapshot: Snapshot, **changes: object) -> Snapshot:
    main = snapshot.watched[0]
    run = dataclasses.replace(main.run, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(snapshot, watched=(dataclasses.replace(main, run=run),))


def test_only_the_runs_own_scores_are_points_of_its_curve(case_snapshot: Snapshot) -> None:
    main = case_snapshot.watched[0]
    trial = dataclasses.replace(main.scores[-1], d_acc=0.251, recipe={"pooling": "last"})
    main = dataclasses.replace(main, scores=(*main.scores, trial))
    data = spec_panel(dataclasses.replace(case_snapshot, watched=(main,)), D_ACC).data
    assert [point.value for point in data.points] == [score.d_acc for score in main.own_scores]
    assert 0.251 not in [point.value for point in data.points]
