"""The app under its keys: what each asks of the monitor, opens and closes, and what it survives."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from critictui.monitor.snapshot import Snapshot
from critictui.run import metrics as names
from critictui.tui.app import CriticApp
from critictui.tui.chart.mini import MiniChart
from critictui.tui.chart.widget import Chart
from critictui.tui.gpu import GpuMemory
from critictui.tui.messages import GpuRead, SnapshotTaken, TerminalDrained
from critictui.tui.screens.alert import AlertScreen
from critictui.tui.screens.alerts import AlertsScreen
from critictui.tui.screens.chart import ChartScreen
from critictui.tui.screens.checkpoints import CheckpointScreen
from critictui.tui.screens.dashboard import Dashboard
from critictui.tui.screens.facts import FactsScreen
from critictui.tui.screens.help import HelpScreen
from critictui.tui.screens.log import LogScreen
from critictui.tui.screens.metrics import MetricsScreen
from critictui.tui.screens.runs import RunsScreen
from critictui.tui.supervised import crash_log_path
from critictui.tui.widgets.rows import Rows

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]
TextOf = Callable[[CriticApp], str]
Made = Callable[..., Snapshot]


def app_of(pilot: Pilot[None]) -> CriticApp:
    assert isinstance(pilot.app, CriticApp)
    return pilot.app


@pytest.mark.parametrize(
    ("key", "screen"),
    [
        ("m", MetricsScreen), ("slash", MetricsScreen), ("a", AlertsScreen), ("c", CheckpointScreen), ("l", LogScreen),
        ("i", FactsScreen), ("r", RunsScreen), ("question_mark", HelpScreen), ("enter", ChartScreen),
        ("4", ChartScreen),
    ],
)  # fmt: skip
async def test_each_key_opens_its_screen_and_escape_steps_back(
    key: str, screen: type, showing: Showing, settle: Settle
) -> None:
    async with showing() as pilot:
        assert isinstance(pilot.app.screen, Dashboard)
        await pilot.press(key)
        await settle(pilot)
        assert type(pilot.app.screen) is screen
        if key == "slash":
            assert isinstance(pilot.app.focused, Input)
            await pilot.press("escape")
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(pilot.app.screen, Dashboard)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, Dashboard)


async def test_q_leaves_with_status_0(showing: Showing) -> None:
    async with showing() as pilot:
        await pilot.press("q")
        assert pilot.app.return_code == 0


async def test_screens_do_not_pile_up(showing: Showing, settle: Settle) -> None:
    async with showing() as pilot:
        for key in "mcirlmcirl":
            await pilot.press(key)
            await settle(pilot)
        assert len(pilot.app.screen_stack) == 2


async def test_pause_holds_the_screen_and_space_shows_the_newest(
    showing: Showing, settle: Settle, text_of: TextOf, snapshot_with: Made
) -> None:
    async with showing() as pilot:
        app = app_of(pilot)
        await pilot.press("space")
        app.post_message(SnapshotTaken(snapshot_with(step=311)))
        app.post_message(SnapshotTaken(snapshot_with(step=312)))
        await settle(pilot)
        assert "step 310/800" in text_of(app)
        assert "PAUSED" in text_of(app)
        await pilot.press("space")
        await settle(pilot)
        assert "step 312/800" in text_of(app)
        assert "PAUSED" not in text_of(app)


@pytest.mark.fault("S09")
async def test_many_snapshots_are_few_frames_and_the_last_one_wins(
    showing: Showing, settle: Settle, text_of: TextOf, snapshot_with: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int | None] = []
    show = Dashboard.show
    monkeypatch.setattr(Dashboard, "show", lambda self, s: (shown.append(s.main.run.step), show(self, s))[1])
    async with showing(refresh=1.0) as pilot:
        app = app_of(pilot)
        shown.clear()
        for step in range(400, 500):
            app.post_message(SnapshotTaken(snapshot_with(step=step)))
        for _ in range(300):
            await settle(pilot)
            if "step 499" in text_of(app):
                break
            await pilot.pause(0.01)
        assert "step 499/800" in text_of(app)
        assert len(shown) <= 3


async def test_an_equal_snapshot_paints_nothing(
    showing: Showing, settle: Settle, monkeypatch: pytest.MonkeyPatch, made_of: Made
) -> None:
    case = made_of()
    async with showing(case, refresh=30.0) as pilot:
        painted: list[object] = []
        monkeypatch.setattr(pilot.app, "_display", lambda screen, renderable: painted.append(renderable))
        app_of(pilot).post_message(SnapshotTaken(dataclasses.replace(case, version=2)))
        await settle(pilot)
        assert [p for p in painted if p is not None] == []


async def test_acknowledge_and_snooze_tell_the_monitor(showing: Showing, settle: Settle) -> None:
    async with showing() as pilot:
        app = app_of(pilot)
        await pilot.press("a", "enter")
        await settle(pilot)
        assert isinstance(app.screen, AlertScreen)
        first = app.screen.key
        await pilot.press("a", "z", "n", "a")
        await settle(pilot)
        second = app.screen.key
        assert first != second
        assert app.monitor.calls == [("acknowledge", first), ("snooze", first, 3600.0), ("acknowledge", second)]  # type: ignore[union-attr]
        await pilot.press("p")
        assert app.screen.key == first


async def test_an_alert_jumps_to_its_step_on_the_full_screen(showing: Showing, settle: Settle) -> None:
    async with showing() as pilot:
        await pilot.press("a", "enter", "j")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ChartScreen)
        assert pilot.app.screen.query_one(Chart).view.cursor_step == 300
        await pilot.press("escape", "escape")
        assert isinstance(pilot.app.screen, AlertScreen)


async def test_the_run_list_selects_and_overlays(showing: Showing, settle: Settle, made_of: Made) -> None:
    async with showing(made_of(rows=4)) as pilot:
        app = app_of(pilot)
        assert isinstance(app.screen, RunsScreen)
        await pilot.press("down", "space", "down", "space", "up", "space")
        await settle(pilot)
        one, two = Path("/runs/older-01"), Path("/runs/older-02")
        assert app.monitor.calls == [("overlay", one), ("overlay", one, two), ("overlay", two)]  # type: ignore[union-attr]
        await pilot.press("enter")
        await settle(pilot)
        assert app.monitor.calls[-1] == ("select", one)  # type: ignore[union-attr]
        assert isinstance(app.screen, Dashboard)


async def test_overlaid_runs_are_lines_on_the_same_charts(showing: Showing, made_of: Made, snapshot_with: Made) -> None:
    one, two = made_of().watched[0], made_of().watched[0]
    two = dataclasses.replace(two, run=dataclasses.replace(two.run, name="other", path=Path("/runs/other")))
    async with showing(made_of(one, two)) as pilot:
        await pilot.press("escape")
        chart = pilot.app.screen_stack[0].query_one("#chart-2", Chart)
        assert [(line.run, line.label) for line in chart.data.lines] == [(0, "train"), (1, "train")]
        assert chart.data.runs[1] == "other"


async def test_the_filter_narrows_as_one_types_and_enter_enlarges(showing: Showing, settle: Settle) -> None:
    async with showing() as pilot:
        await pilot.press("slash", *"std")
        await settle(pilot)
        shown = [m.line.label for m in pilot.app.screen.query(MiniChart) if m.display and m.line is not None]
        assert shown == [names.STUDENT_STD, names.TEACHER_STD]
        await pilot.press("enter", "right", "enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ChartScreen)
        assert pilot.app.screen.key == names.TEACHER_STD


@pytest.mark.fault("S11")
@pytest.mark.parametrize("typed", ["(", "[", "a{", "\\", "*" * 50, "x" * 3000])
async def test_no_filter_breaks_the_screen(typed: str, showing: Showing, settle: Settle) -> None:
    async with showing() as pilot:
        await pilot.press("slash")
        await settle(pilot)
        entry = pilot.app.screen.query_one("#filter", Input)
        entry.value = typed
        await settle(pilot)
        assert isinstance(pilot.app.screen, MetricsScreen)


async def test_pins_go_to_the_dashboard_and_off_it(showing: Showing, settle: Settle) -> None:
    async with showing(size=(200, 50)) as pilot:
        await pilot.press("slash", *"metric_07", "enter", "p")
        await settle(pilot)
        assert app_of(pilot).state.pins == ("timing_s/metric_07",)
        await pilot.press("escape")
        await settle(pilot)
        dashboard = pilot.app.screen
        assert isinstance(dashboard, Dashboard)
        assert dashboard.panels[4].key == "timing_s/metric_07"
        dashboard.query_one("#chart-5").focus()
        await pilot.press("p")
        await settle(pilot)
        assert app_of(pilot).state.pins == ()


async def test_smoothing_and_cursor_are_one_for_all_charts(showing: Showing, settle: Settle) -> None:
    async with showing() as pilot:
        await pilot.press("s", "left")
        await settle(pilot)
        views = {chart.view for chart in pilot.app.screen.query(Chart)}
        assert len(views) == 1
        view = views.pop()
        assert view.smoothing > 0.9
        assert view.cursor_step is not None
        assert app_of(pilot).state.smoothing == view.smoothing
        await pilot.press("escape")
        await settle(pilot)
        assert {chart.view.cursor_step for chart in pilot.app.screen.query(Chart)} == {None}


async def test_pages_show_what_does_not_fit(
    showing: Showing, settle: Settle, make_app: Callable[..., CriticApp]
) -> None:
    app = make_app()
    app.state = dataclasses.replace(app.state, pins=("actor/metric_00", "perf/metric_02"))
    async with showing(app=app) as pilot:
        dashboard = pilot.app.screen
        assert isinstance(dashboard, Dashboard)
        assert [p.key for p in dashboard.panels] == ["score mean", "d_acc", "score std", "margin"]
        await pilot.press("pagedown")
        await settle(pilot)
        assert [p.key for p in dashboard.panels] == ["actor/metric_00", "perf/metric_02"]
        await pilot.press("pageup")
        assert len(dashboard.panels) == 4


async def test_a_run_without_critic_metrics_shows_what_it_has(showing: Showing, snapshot_with: Made) -> None:
    series = snapshot_with().watched[0].run.series
    only = {tag: series[tag] for tag in series if "metric_" in tag or tag == names.GRAD_NORM}
    async with showing(snapshot_with(series=only, metrics={})) as pilot:
        dashboard = pilot.app.screen
        assert isinstance(dashboard, Dashboard)
        assert dashboard.panels[0].key == names.GRAD_NORM


async def test_an_empty_run_waits_in_words(showing: Showing, snapshot_with: Made, text_of: TextOf) -> None:
    empty = snapshot_with(
        series={}, metrics={}, step=None, state="empty", last_change=None, checkpoints=(), scores=(), own_scores=()
    )
    async with showing(empty) as pilot:
        assert "no step yet" in text_of(app_of(pilot))
        assert "waiting for data" in text_of(app_of(pilot))


@pytest.mark.fault("S05")
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 200), (40, 10), (50, 12), (63, 17), (500, 100)])
async def test_no_size_is_too_small_or_too_large(size: tuple[int, int], showing: Showing, settle: Settle) -> None:
    async with showing(size=size) as pilot:
        for key in ("m", "escape", "a", "escape", "c", "i", "r", "l", "question_mark", "escape", "escape"):
            await pilot.press(key)
            await settle(pilot)
        await pilot.press("q")
        assert pilot.app.return_code == 0


@pytest.mark.fault("S05")
async def test_a_storm_of_resizes_changes_nothing(showing: Showing, settle: Settle, text_of: TextOf) -> None:
    async with showing(size=(120, 36)) as pilot:
        before = text_of(app_of(pilot))
        for n in range(30):
            await pilot.resize_terminal(1 + (n * 37) % 210, 1 + (n * 13) % 60)
        await pilot.resize_terminal(120, 36)
        await settle(pilot)
        after = text_of(app_of(pilot))
        assert [line for line in after.splitlines() if line[:1] not in "│╭╰"] == [
            line for line in before.splitlines() if line[:1] not in "│╭╰"
        ]
        assert len(after.splitlines()) == 36


async def test_forty_by_ten_is_a_status_line(showing: Showing, text_of: TextOf) -> None:
    async with showing(size=(40, 10)) as pilot:
        text = text_of(app_of(pilot))
        assert [said for said in ("step 310/800", "1 critical", "generalisation-gap") if said not in text] == []


HOSTILE = [
    "[bold]x[/]",
    "[@click=app.quit]x[/]",
    "\x1b[2Jx",
    "\u202egnp.exe",
    "a\nb",
    "日本語" * 40,
    "",
    "[/",
    "\ud800",
]


@pytest.mark.fault("F17", "L08")
@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_is_shown_and_does_nothing(
    text: str, showing: Showing, settle: Settle, snapshot_with: Made, text_of: TextOf
) -> None:
    case = snapshot_with()
    run = case.watched[0].run
    series = {f"{text}{i}": s for i, s in enumerate(run.series.values())}
    alerts = tuple(
        dataclasses.replace(a, rule=text or "x", message=text, advice=text, metric=next(iter(series)))
        for a in case.watched[0].judgement.alerts
    )
    judgement = dataclasses.replace(case.watched[0].judgement, alerts=alerts)
    source = dataclasses.replace(run.sources[0], path=text, message=text)
    skipped = dataclasses.replace(run.skipped[0], file=text, reason=text)
    checkpoint = dataclasses.replace(
        case.watched[0].checkpoints[0], reason=text, path=Path("/runs") / text.replace("\0", "")
    )
    hostile = snapshot_with(
        name=text, series=series, metrics={}, sources=(source,), skipped=(skipped,), notices=(text,),
        judgement=judgement, checkpoints=(checkpoint,),
    )  # fmt: skip
    row = dataclasses.replace(hostile.rows[0], name=text)
    async with showing(dataclasses.replace(hostile, rows=(row, row), notices=(text,))) as pilot:
        app = app_of(pilot)
        app.say(text, "error")
        for key in ("escape", "1", "escape", "a", "escape", "c", "i", "r", "m", "escape", "tab", "tab"):
            await pilot.press(key)
            await settle(pilot)
            shown = text_of(app)
            assert not set("\x1b\u202e") & set(shown)
        assert app.is_running


async def test_values_that_are_no_numbers_are_survived_everywhere(
    showing: Showing, settle: Settle, snapshot_with: Made
) -> None:
    case = snapshot_with()
    judgement = dataclasses.replace(
        case.watched[0].judgement,
        alerts=tuple(
            dataclasses.replace(a, value=math.nan, threshold=math.inf) for a in case.watched[0].judgement.alerts
        ),
    )
    scores = tuple(
        dataclasses.replace(s, d_acc=math.nan, d_acc_ci=(math.nan, math.inf)) for s in case.watched[0].scores
    )
    bad = snapshot_with(
        pace=math.nan, last_change=1e300, step=2**63 - 1, judgement=judgement, scores=scores, own_scores=scores
    )
    async with showing(bad) as pilot:
        for key in ("1", "escape", "2", "escape", "a", "escape", "c", "i", "r", "m"):
            await pilot.press(key)
            await settle(pilot)


@pytest.mark.fault("S07")
async def test_an_error_in_a_handler_is_said_and_the_app_goes_on(
    showing: Showing, settle: Settle, text_of: TextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, *args: object) -> None:
        raise RuntimeError("the handler [bold]broke[/]")

    async with showing(size=(120, 36)) as pilot:
        app = app_of(pilot)
        app._disable_notifications = False
        monkeypatch.setattr(FactsScreen, "show", fail)
        await pilot.press("i")
        await settle(pilot)
        assert app.errors > 0
        assert "the handler [bold]broke[/]" in text_of(app)
        assert "RuntimeError: the handler" in crash_log_path().read_text()
        monkeypatch.undo()
        monkeypatch.setenv("XDG_STATE_HOME", str(crash_log_path().parents[1]))
        await pilot.press("escape", "c")
        await settle(pilot)
        assert isinstance(app.screen, CheckpointScreen)
        app.errors = 0


@pytest.mark.fault("S07")
async def test_an_error_in_a_worker_is_said_and_the_app_goes_on(showing: Showing, settle: Settle) -> None:
    def fail() -> None:
        raise ValueError("the worker broke")

    async with showing() as pilot:
        app = app_of(pilot)
        app.run_worker(fail, thread=True, exit_on_error=False, name="x")
        for _ in range(200):
            await pilot.pause(0.01)
            if app.errors:
                break
        assert app.errors == 1
        assert app.is_running
        assert "the worker broke" in crash_log_path().read_text()
        app.errors = 0


async def test_a_new_critical_alert_rings_once(
    showing: Showing, settle: Settle, snapshot_with: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts = snapshot_with().watched[0].judgement.alerts
    calm = dataclasses.replace(snapshot_with().watched[0].judgement, alerts=alerts[1:])
    async with showing(snapshot_with(judgement=calm), refresh=30.0) as pilot:
        app = app_of(pilot)
        rung: list[int] = []
        monkeypatch.setattr(app, "bell", lambda: rung.append(1))
        for _ in range(3):
            app.post_message(SnapshotTaken(snapshot_with()))
            await settle(pilot)
            await pilot.pause(0.05)
            await settle(pilot)
        assert len(rung) == 1


async def test_alerts_found_at_the_start_do_not_ring(showing: Showing, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[int] = []
    monkeypatch.setattr(CriticApp, "bell", lambda self: rung.append(1))
    async with showing():
        assert rung == []


async def test_gpu_memory_is_in_the_header_where_there_is_room(
    showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(size=(200, 50)) as pilot:
        app_of(pilot).post_message(GpuRead((GpuMemory(0, 131, 141),)))
        await settle(pilot)
        assert "GPU0 131/141G" in text_of(app_of(pilot)).splitlines()[0]


async def test_lost_frames_are_painted_anew(showing: Showing, settle: Settle, monkeypatch: pytest.MonkeyPatch) -> None:
    async with showing() as pilot:
        painted: list[object] = []
        monkeypatch.setattr(pilot.app, "_display", lambda screen, renderable: painted.append(renderable))
        pilot.app.post_message(TerminalDrained())
        await settle(pilot)
        assert painted


async def test_themes_switch_live_and_all_of_them_work(showing: Showing, settle: Settle) -> None:
    async with showing() as pilot:
        app = app_of(pilot)
        for name in app.available_themes:
            app.theme = name
            await settle(pilot)
        assert app.state.theme == app.theme


async def test_an_unknown_theme_is_a_notice_and_the_default(make_app: Callable[..., CriticApp]) -> None:
    app = make_app(theme="no-such-theme")
    assert app.theme == "critic-dark"
    assert "no-such-theme" in app._theme_notices[-1]


async def test_keys_are_rebound_by_their_ids(showing: Showing, settle: Settle) -> None:
    async with showing(keys={"run.metrics": "f5", "no.such.id": "x"}) as pilot:
        await pilot.press("f5")
        await settle(pilot)
        assert isinstance(pilot.app.screen, MetricsScreen)


async def test_evaluation_keys_are_not_offered_before_they_exist(
    showing: Showing, text_of: TextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("critictui.tui.navigation.can_evaluate", lambda what: False)
    async with showing(size=(200, 50)) as pilot:
        last = text_of(app_of(pilot)).splitlines()[-1]
        assert not [said for said in ("Evaluate", "Explain") if said in last]
        await pilot.press("e", "d", "x")
        assert isinstance(pilot.app.screen, Dashboard)


async def test_the_health_panel_opens_the_alert_under_its_cursor(showing: Showing, settle: Settle) -> None:
    async with showing(size=(120, 36)) as pilot:
        pilot.app.screen.query_one("#health").focus()
        await pilot.press("down", "enter")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, AlertScreen)
        assert "step-change" in screen.key


async def test_a_click_on_a_key_presses_it(showing: Showing, settle: Settle, text_of: TextOf) -> None:
    async with showing() as pilot:
        column = text_of(app_of(pilot)).splitlines()[-1].index("Metrics")
        await pilot.click("#keys", offset=(column, 0))
        await settle(pilot)
        assert isinstance(pilot.app.screen, MetricsScreen)


@pytest.mark.fault("F17")
async def test_a_hundred_thousand_metrics_are_a_page_of_them(
    showing: Showing, settle: Settle, snapshot_with: Made
) -> None:
    one = snapshot_with().watched[0].run.series[names.D_ACC]
    many = {f"group_{i % 300:03d}/metric_{i:06d}": one for i in range(100_000)}
    async with showing(snapshot_with(series=many, metrics={})) as pilot:
        await pilot.press("m")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, MetricsScreen)
        assert len(screen.query(MiniChart)) <= 40
        await pilot.press("end")
        await settle(pilot)
        assert screen.cursor == 99_999


async def test_a_list_of_a_hundred_thousand_rows_makes_only_those_in_view(
    showing: Showing, settle: Settle, made_of: Made
) -> None:
    async with showing(made_of(rows=100_000)) as pilot:
        await settle(pilot)
        rows = pilot.app.screen.query_one(Rows)
        assert rows.count == 100_000
        made: list[int] = []
        make = rows._make
        assert make is not None
        rows._make = lambda i, w: (made.append(i), make(i, w))[1]
        await pilot.press("end")
        await settle(pilot)
        assert rows.index == 99_999
        assert len(set(made)) < 60
