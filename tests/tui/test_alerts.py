"""Alerts in words: what stands first, what is quiet and until when, and what one alert says in full."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from textual.pilot import Pilot

from critictui.health.alert import Alert, threshold_of
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.run.metrics import D_ACC
from critictui.tui.app import CriticApp
from critictui.tui.glyphs import UNICODE
from critictui.tui.screens.alert import AlertScreen, alert_words
from critictui.tui.screens.alerts import AlertsScreen
from critictui.tui.widgets.health import health_lines

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]

MEMORISED = Alert(
    "step-change", "warning", "firing", D_ACC, 121, 123, None, 123, 1.0, 0.781,
    "memorised: d_acc jumped from 0.781 to 1.000 where epoch 2 begins (step 121).", "Judge on the fixed set.",
)  # fmt: skip


def shown(snapshot: Snapshot, *alerts: Alert, **changes: object) -> WatchedRun:
    main = snapshot.watched[0]
    return replace(main, judgement=replace(main.judgement, alerts=alerts), **changes)  # type: ignore[arg-type]


def first_line(watched: WatchedRun) -> str:
    return health_lines(watched, 120, UNICODE)[0].content.plain


def test_a_step_that_the_message_names_is_not_said_twice(case_snapshot: Snapshot) -> None:
    assert first_line(shown(case_snapshot, MEMORISED)).startswith("● step-change: memorised: d_acc jumped")


def test_what_is_snoozed_says_until_when(case_snapshot: Snapshot) -> None:
    until = time.mktime((2026, 5, 4, 14, 5, 0, 0, 0, -1))
    key = MEMORISED.key
    snoozed = shown(case_snapshot, MEMORISED, acknowledged=frozenset({key}), snoozed={key: until})
    assert "(snoozed until 14:05)" in first_line(snoozed)
    seen = shown(case_snapshot, MEMORISED, acknowledged=frozenset({key}))
    assert "(acknowledged)" in first_line(seen)


def said(case_snapshot: Snapshot, alert: Alert) -> str:
    return alert_words(alert, shown(case_snapshot, alert), UNICODE).plain


def test_what_was_compared_is_named_and_counts_are_whole(case_snapshot: Snapshot) -> None:
    gap = replace(
        MEMORISED, rule="generalisation-gap", value=0.5, threshold=0.9875, evidence=(("points", 10.0), ("pairs", 200.0))
    )
    text = said(case_snapshot, gap)
    assert "d_acc on the fixed set 0.500, in training 0.988" in text
    assert "points 10, pairs 200" in text
    assert "threshold" not in text


def test_a_nan_has_no_threshold_and_its_steps_are_whole(case_snapshot: Snapshot) -> None:
    nan = replace(MEMORISED, rule="non-finite", value=math.nan, threshold=0.0, evidence=(("steps in a row", 113.0),))
    text = said(case_snapshot, nan)
    assert "critic/d_acc = nan\n" in text
    assert "steps in a row 113" in text
    assert "threshold" not in text
    assert threshold_of(nan) is None


def test_equal_scores_are_said_by_their_distance_and_not_by_their_mean(case_snapshot: Snapshot) -> None:
    stuck = replace(MEMORISED, rule="spread-collapse", metric="critic/score/mean", value=0.0, threshold=0.1)
    assert "largest less smallest score of a step 0, threshold 0.1000" in said(case_snapshot, stuck)
    assert threshold_of(stuck) is None
    assert threshold_of(replace(stuck, metric="critic/teacher_score_std")) is not None


def test_the_page_of_a_rule_is_an_address(case_snapshot: Snapshot) -> None:
    assert "https://github.com/critictui/critictui/blob/main/docs/rules.md#step-change" in said(
        case_snapshot, MEMORISED
    )


async def test_the_list_names_every_alert_and_enter_opens_the_one_under_the_cursor(
    showing: Showing, settle: Settle, text_of: Callable[[CriticApp], str]
) -> None:
    async with showing() as pilot:
        await pilot.press("a")
        await settle(pilot)
        assert isinstance(pilot.app, CriticApp)
        text = text_of(pilot.app)
        places = [text.index(rule) for rule in ("generalisation-gap", "step-change", "gradient-spike", "instability")]
        assert places == sorted(places)
        assert "resolved at 130" in text
        await pilot.press("down", "enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, AlertScreen)
        assert "step-change" in pilot.app.screen.key
        keys = text_of(pilot.app).splitlines()[-1]  # 80x24
        assert "n Next" in keys
        assert "p Previous" in keys
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, AlertsScreen)


async def test_a_run_without_alerts_says_so_in_the_list(
    showing: Showing, settle: Settle, text_of: Callable[[CriticApp], str], case_snapshot: Snapshot
) -> None:
    calm = replace(case_snapshot, watched=(shown(case_snapshot),))
    async with showing(calm) as pilot:
        await pilot.press("a", "enter")
        await settle(pilot)
        assert isinstance(pilot.app, CriticApp)
        assert isinstance(pilot.app.screen, AlertsScreen)
        assert "no rule has raised an alert in this run" in text_of(pilot.app)
