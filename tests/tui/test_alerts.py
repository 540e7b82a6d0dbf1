"""Alerts in words: what stands first, what is quiet and until when, and what one alert says in full."""

from __future__ import annotations

import time
from dataclasses import replace

from critictui.health.alert import Alert
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.run.metrics import D_ACC
from critictui.tui.glyphs import UNICODE
from critictui.tui.widgets.health import health_lines

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
