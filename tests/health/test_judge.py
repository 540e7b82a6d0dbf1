"""The judge: what it says as a run grows equals what it says of the whole, and its verdicts are the right ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.detection.generator import Shape, faulty, generate, snapshot_of
from critictui.config import Config, ProfileSettings
from critictui.health.judge import Judge, judge_all
from critictui.run import metrics as m


def test_a_healthy_run_is_healthy() -> None:
    judgement = judge_all(generate(Shape(3)).run, Config())
    assert (judgement.verdict, judgement.alerts) == ("healthy", ())


def test_an_abrupt_collapse_is_critical_within_a_few_steps() -> None:
    labelled = generate(faulty("abrupt", 3))
    assert labelled.onset is not None
    judgement = judge_all(labelled.run, Config())
    assert judgement.verdict == "critical"
    collapse = next(alert for alert in judgement.alerts if alert.rule == "margin-collapse")
    assert collapse.fired_step is not None
    assert 0 <= collapse.fired_step - labelled.onset <= 4
    assert abs(collapse.since_step - labelled.onset) <= 5


def test_the_same_snapshot_twice_changes_nothing() -> None:
    run = generate(faulty("linear", 3)).run
    judge = Judge(Config())
    assert judge.update(run) == judge.update(run) == judge_all(run, Config())


def test_the_first_step_of_a_session_is_judged_with_that_session() -> None:
    columns = {m.D_ACC: 0.76 + 0.02 * np.random.default_rng(1).standard_normal(120)}
    session = np.repeat([0, 1], [70, 50])
    for end, needs in ((1, 49), (70, 0), (71, 49), (80, 40)):
        missing = judge_all(snapshot_of(columns, np.arange(1, 121), session, until=end), Config()).waiting
        said = {w.needs for w in missing if w.rule == "decline"}
        assert said == ({f"needs {needs} more steps"} if needs else set()), end


def test_a_last_step_that_goes_on_growing_loses_none_of_those_before_it() -> None:
    accuracy = 0.76 + 0.02 * np.random.default_rng(1).standard_normal(20)
    run = snapshot_of({m.D_ACC: accuracy}, np.arange(1, 21))
    late = snapshot_of({"val/accuracy": np.array([0.7])}, np.array([20]))
    judge = Judge(Config())
    judge.update(run)
    grown = replace(run, series={**run.series, **late.series})
    assert judge.update(grown) == judge_all(grown, Config())


@pytest.mark.parametrize(
    ("metrics", "verdict"),
    [
        ({m.D_LOSS: "loss"}, "unknown"),
        ({m.D_LOSS: "train/loss", m.GRAD_NORM: "train/grad_norm", m.LEARNING_RATE: "lr"}, "unknown"),
        ({m.D_LOSS: "eval_loss"}, "unknown"),
        ({m.D_LOSS: "loss", m.D_ACC: "rewards/accuracies"}, "healthy"),
        ({m.D_LOSS: "critic/ranking_loss"}, "healthy"),
        ({m.D_LOSS: "critic/vf_loss"}, "healthy"),
    ],
)
def test_a_bare_loss_is_a_critics_only_beside_what_only_a_critic_logs(metrics: dict[str, str], verdict: str) -> None:
    noise = 0.02 * np.random.default_rng(1).standard_normal(120)
    run = snapshot_of(dict.fromkeys(metrics.values(), 0.7 + noise), np.arange(1, 121))
    judgement = judge_all(replace(run, metrics=metrics), Config())
    assert judgement.verdict == verdict
    assert judgement.no_critic == (verdict == "unknown")


def test_a_loss_that_the_user_calls_the_critics_is_one() -> None:
    noise = 0.02 * np.random.default_rng(1).standard_normal(120)
    run = replace(snapshot_of({"train/loss": 0.7 + noise}, np.arange(1, 121)), metrics={m.D_LOSS: "train/loss"})
    own = {"mine": ProfileSettings({"train/loss": m.D_LOSS})}
    for config in (Config(aliases={"loss": m.D_LOSS}), Config(profiles=own)):
        assert judge_all(run, config).verdict == "healthy"
