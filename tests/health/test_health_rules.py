"""Each rule on a short run that shows what it is for, and beside it what it must not mistake for that."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.detection.generator import Fault, Shape, faulty, generate, snapshot_of
from critictui.config import Config
from critictui.health.alert import Alert, FixedScore, Judgement
from critictui.health.judge import judge_all
from critictui.run import metrics as m
from critictui.run.facts import RunSnapshot, Seam, Session

RNG = np.random.default_rng(11)
N = 200


def noisy(level: float, sigma: float, n: int = N) -> np.ndarray:
    return level + sigma * np.random.default_rng([int(level * 100) + 5000, n]).standard_normal(n)


def judged(config: Config | None = None, seams: tuple[Seam, ...] = (), **columns: np.ndarray) -> Judgement:
    names = {name: getattr(m, name, name) for name in columns}
    tags = {names[name]: values for name, values in columns.items()}
    n = len(next(iter(tags.values())))
    return judge_all(snapshot_of(tags, np.arange(1, n + 1), seams=seams), config or Config())


def alerts(judgement: Judgement, rule: str) -> list[Alert]:
    return [alert for alert in judgement.alerts if alert.rule == rule]


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("abrupt", "margin-collapse"),
        ("abrupt", "chance-accuracy"),
        ("linear", "drift"),
        ("mild", "decline"),
        ("memorise", "step-change"),
        ("inversion", "inverted"),
        ("variance-collapse", "spread-collapse"),
        ("variance-explosion", "spread-explosion"),
        ("divergence", "non-finite"),
        ("oscillation", "instability"),
    ],
)
def test_each_fault_is_named_and_not_before_it_begins(fault: Fault, rule: str) -> None:
    labelled = generate(faulty(fault, 21))
    assert labelled.onset is not None
    found = alerts(judge_all(labelled.run, Config()), rule)
    assert found
    assert min(alert.fired_step or 0 for alert in found) >= labelled.onset


def test_a_nan_in_the_loss_is_critical_and_tells_the_step() -> None:
    loss = noisy(0.5, 0.02)
    loss[150] = np.nan
    (alert,) = alerts(judged(D_LOSS=loss), "non-finite")
    assert (alert.severity, alert.fired_step, alert.state) == ("critical", 151, "resolved")
    assert "NaN at step 151" in alert.message


def test_a_tag_that_never_was_a_number_says_nothing() -> None:
    columns = {m.D_LOSS: noisy(0.5, 0.02), "perf/unused": np.full(N, np.nan)}
    judgement = judge_all(snapshot_of(columns, np.arange(N)), Config())
    assert not alerts(judgement, "non-finite")


def test_one_infinite_gradient_is_a_warning_and_three_are_critical() -> None:
    norm = noisy(1.0, 0.1)
    norm[100] = np.inf
    assert alerts(judged(GRAD_NORM=norm), "non-finite")[0].severity == "warning"
    norm[100:103] = np.inf
    assert alerts(judged(GRAD_NORM=norm), "non-finite")[0].severity == "critical"


def test_a_critic_that_never_learns_is_called_so_after_a_hundred_steps() -> None:
    (alert,) = alerts(judged(D_ACC=noisy(0.5, 0.03)), "chance-accuracy")
    assert alert.fired_step is not None
    assert 100 <= alert.fired_step <= 110
    assert "never was better" in alert.message


@pytest.mark.parametrize("seed", [5, 8, 12, 14])
def test_a_collapse_to_chance_is_not_called_inverted_however_long_it_is_asked(seed: int) -> None:
    noise = np.random.default_rng([seed, 4]).standard_normal((2, 400))
    accuracy = np.where(np.arange(400) < 120, 0.75, 0.5) + 0.08 * noise[0]
    margin = np.where(np.arange(400) < 120, 0.9, 0.0) + 0.1 * (noise[0] + noise[1])
    judgement = judged(D_ACC=accuracy, SCORE_DIFF=margin)
    assert alerts(judgement, "chance-accuracy")
    assert not alerts(judgement, "inverted")


def test_accuracy_below_one_half_with_a_margin_above_zero_is_not_inverted() -> None:
    fallen = np.concatenate([noisy(0.75, 0.03, 120), noisy(0.42, 0.03, 80)])
    kept = np.concatenate([noisy(0.9, 0.1, 120), noisy(0.5, 0.1, 80)])
    turned = np.concatenate([noisy(0.9, 0.1, 120), noisy(-0.3, 0.1, 80)])
    assert not alerts(judged(D_ACC=fallen, SCORE_DIFF=kept), "inverted")
    assert alerts(judged(D_ACC=fallen, SCORE_DIFF=turned), "inverted")
    assert alerts(judged(D_ACC=fallen), "inverted")


def test_a_critic_that_turns_round_after_a_collapse_is_inverted_since_then_and_not_since_the_collapse() -> None:
    accuracy = np.concatenate([noisy(0.75, 0.03, 100), noisy(0.5, 0.03, 50), noisy(0.3, 0.03, 50)])
    (alert,) = alerts(judged(D_ACC=accuracy), "inverted")
    assert 149 <= alert.since_step <= 153


def test_known_pairs_widen_the_interval_of_accuracy() -> None:
    accuracy = noisy(0.545, 0.002)
    assert not alerts(judged(D_ACC=accuracy), "chance-accuracy")
    assert alerts(judged(Config(pairs_per_step=8), D_ACC=accuracy), "chance-accuracy")


def test_saturation_needs_a_low_loss_where_one_is_logged() -> None:
    accuracy = np.full(N, 0.995)
    assert alerts(judged(D_ACC=accuracy, D_LOSS=noisy(0.01, 0.001)), "saturation")
    assert not alerts(judged(D_ACC=accuracy, D_LOSS=noisy(0.3, 0.01)), "saturation")


def test_large_means_and_values_are_score_scale_and_means_near_zero_are_nothing() -> None:
    assert alerts(judged(TEACHER_MEAN=noisy(6, 0.1), STUDENT_MEAN=noisy(3, 0.1)), "score-scale")
    assert alerts(judged(VALUE_MAX=noisy(12, 0.1)), "score-scale")
    assert judged(TEACHER_MEAN=noisy(0.02, 0.1), STUDENT_MEAN=noisy(-3, 0.1)).alerts == ()


def test_scores_that_were_always_close_did_not_fall_and_large_ones_did_not_grow() -> None:
    small = noisy(0.06, 0.003)
    for accuracy, severity in ((0.77, "warning"), (0.5, "critical")):
        found = judged(TEACHER_STD=small, STUDENT_STD=small[::-1], D_ACC=noisy(accuracy, 0.02))
        alert = alerts(found, "spread-collapse")[0]
        assert alert.severity == severity
        assert re.search(r"is 0\.0\d+ \(.*\), below 0\.1, since", alert.message), alert.message
    large = alerts(judged(TEACHER_STD=noisy(40.0, 0.5), D_ACC=noisy(0.77, 0.02)), "spread-explosion")[0]
    assert re.search(r"is [34]\d\.\d+ \(.*\), above 5, since", large.message), large.message


@pytest.mark.parametrize(("level", "rule"), [(0.05, "spread-collapse"), (6.0, "spread-explosion")])
def test_the_reports_limits_of_spread(level: float, rule: str) -> None:
    assert alerts(judged(TEACHER_STD=noisy(level, 0.01 * level)), rule)
    assert not alerts(judged(TEACHER_STD=noisy(2.0, 0.05)), rule)


def test_a_jump_at_an_epoch_is_memorised_and_stays_so() -> None:
    accuracy = np.concatenate([noisy(0.76, 0.03, 120), np.clip(noisy(0.99, 0.005, 80), 0, 1)])
    (alert,) = alerts(judged(D_ACC=accuracy, seams=(Seam(121, "epoch", "epoch 2"),)), "step-change")
    assert (alert.state, alert.since_step) == ("firing", 121)
    assert alert.fired_step is not None
    assert alert.fired_step <= 128
    assert "memorised" in alert.message


def test_a_leap_to_one_is_memorised_even_where_no_epoch_is_told() -> None:
    accuracy = np.concatenate([noisy(0.76, 0.03, 120), np.clip(noisy(0.99, 0.005, 80), 0, 1)])
    assert any("memorised" in alert.message for alert in alerts(judged(D_ACC=accuracy), "step-change"))


def test_an_epoch_without_a_jump_is_nothing() -> None:
    assert judged(D_ACC=noisy(0.76, 0.03), seams=(Seam(121, "epoch", "epoch 2"),)).alerts == ()


def _two_lives(first: np.ndarray, second: np.ndarray, begins: int) -> RunSnapshot:
    step = np.concatenate([np.arange(1, len(first) + 1), np.arange(begins, begins + len(second))])
    session = np.repeat([0, 1], [len(first), len(second)])
    run = snapshot_of({m.D_ACC: np.concatenate([first, second])}, step, session)
    lives = (
        Session(0, 1, len(first), 0.0, "a"),
        Session(1, begins, begins + len(second) - 1, 0.0, "b"),
    )
    return replace(run, sessions=lives)


def test_a_resume_that_goes_on_as_before_is_no_alarm() -> None:
    judgement = judge_all(_two_lives(noisy(0.76, 0.03, 120), noisy(0.761, 0.03, 120), 121), Config())
    assert (judgement.verdict, judgement.alerts) == ("healthy", ())


def test_a_resume_that_lost_something_is_a_step_change() -> None:
    judgement = judge_all(_two_lives(noisy(0.76, 0.03, 120), noisy(0.55, 0.03, 60), 121), Config())
    (alert,) = alerts(judgement, "step-change")
    assert "resumed" in alert.message


def test_alerts_of_an_earlier_session_are_resolved() -> None:
    first = np.concatenate([noisy(0.76, 0.03, 100), noisy(0.5, 0.03, 20)])
    judgement = judge_all(_two_lives(first, noisy(0.761, 0.03, 120), 121), Config())
    chance = alerts(judgement, "chance-accuracy")
    assert [(a.state, a.resolved_step, a.session) for a in chance] == [("resolved", 121, 0)]
    assert alerts(judgement, "step-change") != []


def test_a_run_that_starts_over_is_a_step_regression_and_an_overlap_is_not() -> None:
    run = _two_lives(noisy(0.76, 0.03, 120), noisy(0.761, 0.03, 120), 121)
    over = (run.sessions[0], replace(run.sessions[1], first_step=1, last_step=50))
    resumed = (run.sessions[0], replace(run.sessions[1], first_step=101, last_step=150))
    assert alerts(judge_all(replace(run, sessions=over), Config()), "step-regression")
    assert not alerts(judge_all(replace(run, sessions=resumed), Config()), "step-regression")


def test_a_falling_margin_is_a_collapse_in_the_warm_up_and_learning_in_the_adversarial_stage() -> None:
    margin = np.concatenate([noisy(4.0, 0.2, 100), noisy(0.2, 0.2, 60)])
    accuracy = np.concatenate([noisy(0.76, 0.02, 100), noisy(0.78, 0.02, 60)])
    columns = {"SCORE_DIFF": margin, "D_ACC": accuracy}
    assert judged(Config(stage="warmup"), **columns).verdict == "critical"
    assert judged(Config(stage="adversarial"), **columns).verdict == "healthy"
    learning = judge_all(
        snapshot_of(
            {m.SCORE_DIFF: margin, m.D_ACC: accuracy, "actor/pg_loss": noisy(0.01, 0.001, 160)}, np.arange(1, 161)
        ),
        Config(),
    )
    assert learning.verdict == "healthy"


def test_both_means_that_climb_together_drift() -> None:
    climb = np.concatenate([np.zeros(100), np.linspace(0, 12, 100)])
    judgement = judged(
        TEACHER_MEAN=noisy(-8, 0.1) + climb, STUDENT_MEAN=noisy(-11, 0.1) + climb, TEACHER_STD=noisy(2.0, 0.05)
    )
    (alert,) = alerts(judgement, "drift")
    assert "drift up together" in alert.message
    assert 95 <= alert.since_step <= 115


def test_one_gradient_spike_is_information_and_three_are_a_warning() -> None:
    norm = np.exp(noisy(0.0, 0.2))
    norm[120] = 40
    judgement = judged(GRAD_NORM=norm)
    assert (judgement.verdict, alerts(judgement, "gradient-spike")[0].severity) == ("healthy", "info")
    norm[[124, 128]] = 40
    spikes = alerts(judged(GRAD_NORM=norm), "gradient-spike")[0]
    assert spikes.severity == "warning"
    assert spikes.message.startswith("The gradient norm was 40 at step 129, usually 0.989, 3 times")
    assert spikes.message.endswith(", 3 times since step 121.")


def test_lengths_may_move_once_the_actor_learns_but_not_before() -> None:
    length = np.concatenate([noisy(400, 8, 100), noisy(280, 8, 100)])
    accuracy = noisy(0.76, 0.02)
    assert alerts(judged(D_ACC=accuracy, RESPONSE_LENGTH=length), "length-drift")
    assert not alerts(judged(RESPONSE_LENGTH=length), "length-drift")


def test_steps_that_take_twice_as_long_are_told() -> None:
    seconds = np.concatenate([noisy(120, 5, 100), noisy(300, 10, 60)])
    run = snapshot_of({"timing_s/step": seconds}, np.arange(1, 161))
    assert alerts(judge_all(run, Config()), "stalled")[0].metric == "timing_s/step"


def test_silence_is_measured_against_the_runs_own_pace() -> None:
    run = replace(generate(Shape(2, steps=100)).run, last_change=1e9, pace=120.0)
    assert not alerts(judge_all(run, Config(), now=1e9 + 1100), "stalled")
    assert alerts(judge_all(run, Config(), now=1e9 + 1300), "stalled")
    assert not alerts(judge_all(replace(run, state="finished"), Config(), now=1e9 + 9000), "stalled")
    (quick,) = alerts(judge_all(replace(run, pace=0.00052), Config(), now=1e9 + 1980), "stalled")
    assert quick.message == "Nothing was written for 33 minutes; a step took 0.52 ms."
    assert not alerts(judge_all(run, Config(), now=1e9 - 5000), "stalled")


def score(step: int, d_acc: float, half: float, **changes: float) -> FixedScore:
    fixed = FixedScore(step, d_acc, d_acc - half, d_acc + half, d_acc, 3.0, 400, 0.05, "set")
    return replace(fixed, **changes)  # type: ignore[arg-type]


def test_training_that_claims_more_than_the_fixed_set_is_a_critical_gap() -> None:
    run = snapshot_of({m.D_ACC: noisy(0.769, 0.03)}, np.arange(1, N + 1))
    judgement = judge_all(run, Config(), [score(200, 0.458, 0.05)])
    (alert,) = alerts(judgement, "generalisation-gap")
    assert (judgement.verdict, alert.severity, alert.fired_step) == ("critical", "critical", 200)


def test_a_soft_accuracy_that_explains_the_log_is_no_gap() -> None:
    run = snapshot_of({m.D_ACC: noisy(0.68, 0.02)}, np.arange(1, N + 1))
    assert alerts(judge_all(run, Config(), [score(200, 0.80, 0.04)]), "generalisation-gap")
    assert not alerts(judge_all(run, Config(), [score(200, 0.80, 0.04, d_acc_soft=0.68)]), "generalisation-gap")


def test_a_gap_that_closes_is_resolved_and_one_onset_is_one_alert() -> None:
    run = snapshot_of({m.D_ACC: noisy(0.769, 0.03)}, np.arange(1, N + 1))
    scores = [score(50, 0.5, 0.05), score(100, 0.51, 0.05), score(150, 0.76, 0.04)]
    (alert,) = alerts(judge_all(run, Config(), scores), "generalisation-gap")
    assert (alert.fired_step, alert.resolved_step) == (50, 150)


def test_length_bias_beyond_its_error() -> None:
    run = generate(Shape(2, steps=100)).run
    assert alerts(judge_all(run, Config(), [score(50, 0.76, 0.04, length_bias=-0.45)]), "length-bias")
    assert not alerts(judge_all(run, Config(), [score(50, 0.76, 0.04, length_bias=0.1)]), "length-bias")


def test_without_scores_the_rules_that_need_them_say_so() -> None:
    waiting = judge_all(generate(Shape(2, steps=100)).run, Config()).waiting
    assert {"generalisation-gap", "length-bias"} <= {one.rule for one in waiting}


def test_thresholds_are_set_for_a_rule_and_for_one_metric_of_it() -> None:
    accuracy = np.concatenate([noisy(0.76, 0.02, 100), noisy(0.66, 0.02, 60)])
    assert alerts(judged(D_ACC=accuracy), "decline")
    assert not alerts(judged(Config(thresholds={"decline": {"drop": 0.2}}), D_ACC=accuracy), "decline")
    assert not alerts(judged(Config(thresholds={f"decline:{m.D_ACC}": {"enabled": False}}), D_ACC=accuracy), "decline")
    assert alerts(judged(Config(thresholds={"decline": {"drop": "much"}}), D_ACC=accuracy), "decline")


def test_a_metric_with_a_table_of_its_own_is_watched_for_decline() -> None:
    run = snapshot_of({"val/acc": np.concatenate([noisy(0.8, 0.01, 100), noisy(0.7, 0.01, 40)])}, np.arange(140))
    config = Config(thresholds={"decline:val/acc": {"drop": 0.05}})
    assert [a.metric for a in alerts(judge_all(run, config), "decline")] == ["val/acc"]
    assert judge_all(run, Config()).alerts == ()


def test_an_alert_is_resolved_after_the_metric_has_recovered_for_a_while() -> None:
    margin = np.concatenate([noisy(4.0, 0.2, 100), noisy(0.1, 0.2, 20), noisy(4.01, 0.2, 60)])
    (alert,) = alerts(judged(SCORE_DIFF=margin), "margin-collapse")
    assert (alert.state, alert.severity) == ("resolved", "critical")
    assert alert.resolved_step is not None
    assert 130 <= alert.resolved_step <= 145


def test_a_number_in_a_message_says_what_it_is() -> None:
    """A panel shows the last point, a rule judges a mean or a median: on one screen none may look like the other."""
    for fault in ("abrupt", "linear"):
        for alert in judge_all(generate(faulty(fault, 3)).run, Config()).alerts:
            if alert.rule in {"decline", "drift", "margin-collapse", "chance-accuracy"}:
                assert re.search(r"(median|mean) of last \d+", alert.message), alert.message
                assert f"before step {alert.since_step}" in alert.message
                assert len(alert.message) <= 120


@pytest.mark.parametrize("pairs", [1, 2, 4, 8, 12])
def test_few_pairs_a_step_make_no_alarm_of_luck_and_hide_no_collapse(pairs: int) -> None:
    rng = np.random.default_rng(pairs)
    steps = np.arange(400)
    for collapses in (False, True):
        for _ in range(6):
            lost = collapses & (steps >= 250)
            accuracy = np.where(lost, 0.5, 0.77 - 0.27 * np.exp(-steps / 20))
            margin = np.where(lost, 0.0, 1.2 - 1.2 * np.exp(-steps / 30))
            found = judged(
                D_ACC=rng.binomial(pairs, accuracy) / pairs,
                SCORE_DIFF=margin + rng.normal(0, 1.5 / np.sqrt(pairs), len(steps)),
            )
            fired = [alert.fired_step for alert in found.alerts if alert.severity == "critical" and alert.fired_step]
            assert bool(fired) == collapses
            assert not collapses or 250 <= min(fired) <= 250 + 20 + 120 // pairs
