"""One event is told once and the cause first, on full-length runs of the demo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection.generator import snapshot_of
from critictui.config import Config
from critictui.health.alert import Alert, Judgement
from critictui.health.judge import judge_all
from critictui.health.order import events_of, ordered
from critictui.run import metrics as m
from critictui.run.reader import RunReader


def judgement_of(run: Path) -> Judgement:
    reader = RunReader(run, Config())
    try:
        return judge_all(reader.read_all(), Config())
    finally:
        reader.close()


@pytest.mark.parametrize(
    ("scenario", "rules"),
    [
        ("collapse", ["margin-collapse", "spread-collapse", "spread-collapse", "chance-accuracy", "decline"]),
        ("memorise", ["step-change", "step-change", "saturation"]),
        ("drift", ["drift", "score-scale", "score-scale", "score-scale", "score-scale"]),
        ("nan", ["non-finite", "gradient-spike"]),
    ],
)
def test_the_cause_stands_before_what_follows_from_it(
    recorded_run: Callable[..., Path], scenario: str, rules: list[str]
) -> None:
    assert [alert.rule for alert in judgement_of(recorded_run(scenario)).alerts] == rules


def test_a_run_that_turns_to_nan_is_one_alert_that_names_the_metrics(recorded_run: Callable[..., Path]) -> None:
    alert = judgement_of(recorded_run("nan")).alerts[0]
    assert alert.message == (
        "critic/grad_norm is NaN since step 127; critic/score_diff, critic/d_loss and 8 more are NaN since step 128, "
        "114 steps in a row."
    )
    assert (alert.metric, alert.severity, alert.since_step) == ("critic/grad_norm", "critical", 127)


def test_the_word_memorised_stands_first_and_the_step_is_said_once(recorded_run: Callable[..., Path]) -> None:
    alert = judgement_of(recorded_run("memorise")).alerts[0]
    assert alert.message == "memorised: d_acc jumped from 0.750 to 1.000 where epoch 2 begins (step 121)."


def broken(**rows: list[int]) -> tuple[Alert, ...]:
    tags = {}
    for name, steps in rows.items():
        values = 1 + 0.01 * np.random.default_rng(len(name)).standard_normal(60)
        values[[step - 1 for step in steps]] = np.nan
        tags[getattr(m, name, name)] = values
    judgement = judge_all(snapshot_of(tags, np.arange(1, 61)), Config())
    return tuple(alert for alert in judgement.alerts if alert.rule == "non-finite")


def test_breaks_far_apart_are_two_alerts_and_a_break_ends_when_all_of_it_is_finite() -> None:
    newer, older = broken(D_LOSS=[20], GRAD_NORM=[22, 50])
    assert (older.metric, older.fired_step, older.resolved_step) == (m.D_LOSS, 20, 27)
    assert (newer.metric, newer.fired_step, newer.resolved_step) == (m.GRAD_NORM, 50, 55)


def test_what_is_finite_again_is_not_said_to_be_nan() -> None:
    (alert,) = broken(D_LOSS=[20], GRAD_NORM=list(range(22, 61)))
    assert alert.message == "critic/grad_norm is NaN since step 22, 39 steps in a row."
    assert (alert.metric, alert.since_step) == (m.D_LOSS, 20)


def test_what_was_pending_when_its_metric_fell_silent_is_forgotten(recorded_run: Callable[..., Path]) -> None:
    assert not [a for a in judgement_of(recorded_run("nan")).alerts if a.state == "pending"]


def test_severity_comes_before_cause_and_the_newest_of_what_is_over_first() -> None:
    one = Alert("decline", "critical", "firing", m.D_ACC, 120, 126, None, 130, 0, 0, "", "")
    cause = replace(one, rule="margin-collapse", metric=m.SCORE_DIFF, since_step=122)
    mild = replace(one, rule="non-finite", severity="warning", since_step=1)
    later = replace(one, rule="non-finite", since_step=200)
    over = [replace(one, state="resolved", since_step=step, resolved_step=step + 9) for step in (10, 50)]
    assert ordered([*over, mild, later, one, cause]) == [cause, one, later, mild, over[1], over[0]]
    assert events_of([later, one, cause]) == [[cause, one], [later]]
