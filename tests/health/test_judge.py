"""The judge: what it says as a run grows equals what it says of the whole, and its verdicts are the right ones."""

from __future__ import annotations

from benchmarks.detection.generator import Shape, faulty, generate
from critictui.config import Config
from critictui.health.judge import Judge, judge_all


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
