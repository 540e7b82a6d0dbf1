"""The judge: what it says as a run grows equals what it says of the whole, and its verdicts are the right ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.detection.generator import Shape, faulty, generate, snapshot_of
from critictui.config import Config
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
