"""Every rule of the contract fires on what it is for, is silent on what only comes near, and says all that it must."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection.generator import snapshot_of
from critictui.config import Config
from critictui.health.alert import Alert, FixedScore
from critictui.health.judge import Judge, judge_all
from critictui.health.settings import RULES
from critictui.run import metrics as m
from critictui.run.facts import RunSnapshot, Seam, Session

CONTRACT = """
non-finite, margin-collapse, chance-accuracy, inverted, spread-collapse, spread-explosion, score-scale, saturation,
step-change, drift, decline, instability, gradient-spike, length-drift, stalled, step-regression, generalisation-gap,
length-bias
"""
"""The rule ids that others build on."""
DOCS = Path(__file__).parents[2] / "docs" / "rules.md"
N, ONSET = 200, 121
Array = np.ndarray


def steady(level: float, sigma: float, n: int = N, key: int = 0) -> Array:
    """White noise around a level."""
    return level + sigma * np.random.default_rng([int(abs(level) * 1000), n, key]).standard_normal(n)


def turned(before: float, after: float, sigma: float) -> Array:
    """A level that is another one from step ONSET on."""
    return np.concatenate([steady(before, sigma, ONSET - 1), steady(after, sigma, N - ONSET + 1, key=1)])


def spiked(height: float) -> Array:
    """A gradient norm of about 1 with three peaks."""
    norm = np.exp(steady(0.0, 0.15))
    norm[[ONSET - 1, ONSET + 4, ONSET + 9]] = height
    return norm


def with_one(value: float) -> Array:
    loss = steady(0.5, 0.02)
    loss[ONSET - 1] = value
    return loss


def swinging(factor: float) -> Array:
    accuracy = steady(0.76, 0.02)
    accuracy[ONSET - 1 :] += (factor - 1) * (accuracy[ONSET - 1 :] - 0.76)
    return accuracy


@dataclass(frozen=True)
class Case:
    """What is logged, or how the snapshot of a quiet run differs, or what was scored."""

    columns: Mapping[str, Array] = field(default_factory=dict)
    change: Callable[[RunSnapshot], RunSnapshot] = lambda run: run
    scores: tuple[FixedScore, ...] = ()
    now: float | None = None

    def alerts(self, rule: str) -> list[Alert]:
        columns = self.columns or {m.D_ACC: steady(0.769, 0.03)}
        run = self.change(snapshot_of(columns, np.arange(1, N + 1)))
        judgement = judge_all(run, Config(), self.scores, self.now)
        return [alert for alert in judgement.alerts if alert.rule == rule]


def logged(**columns: Array) -> Case:
    return Case({getattr(m, name, name): values for name, values in columns.items()})


def at_seam(accuracy: Array) -> Case:
    return Case({m.D_ACC: accuracy}, lambda run: replace(run, seams=(Seam(ONSET, "epoch", "epoch 2"),)))


def silent_for(seconds: float) -> Case:
    return Case({}, lambda run: replace(run, last_change=1e9, pace=120.0), now=1e9 + seconds)


def back_to(step: int) -> Case:
    lives = (Session(0, 1, 150, 0.0, "a"), Session(1, step, N, 0.0, "b"))
    return Case({}, lambda run: replace(run, sessions=lives))


def scored(d_acc: float, bias: float = 0.0) -> Case:
    return Case({}, scores=(FixedScore(N, d_acc, d_acc - 0.05, d_acc + 0.05, d_acc, 3.0, 400, bias, "set"),))


def means(teacher: Array, student: Array, **more: Array) -> Case:
    return logged(TEACHER_MEAN=teacher, STUDENT_MEAN=student, **more)


FIRES: list[tuple[str, Case, Case]] = [
    ("non-finite", logged(D_LOSS=with_one(math.nan)), logged(D_LOSS=with_one(1e300))),
    ("non-finite", logged(D_LOSS=with_one(-math.inf)), logged(D_LOSS=with_one(-1e300))),
    ("margin-collapse", logged(SCORE_DIFF=turned(4.0, 1.7, 0.1)), logged(SCORE_DIFF=turned(4.0, 2.3, 0.1))),
    (
        "margin-collapse",
        means(turned(2.0, 0.85, 0.07), turned(-2.0, -0.85, 0.07)),
        means(turned(2.0, -0.3, 0.07), turned(-2.0, -4.3, 0.07)),  # both fall: the margin stays
    ),
    ("chance-accuracy", logged(D_ACC=turned(0.76, 0.5, 0.02)), logged(D_ACC=turned(0.76, 0.6, 0.02))),
    ("inverted", logged(D_ACC=turned(0.76, 0.4, 0.02)), logged(D_ACC=turned(0.76, 0.48, 0.02))),
    ("spread-collapse", logged(TEACHER_STD=turned(2.0, 0.8, 0.05)), logged(TEACHER_STD=turned(2.0, 1.15, 0.05))),
    ("spread-collapse", logged(STUDENT_STD=steady(0.08, 0.005)), logged(STUDENT_STD=steady(0.12, 0.005))),
    ("spread-explosion", logged(STUDENT_STD=turned(1.0, 3.0, 0.05)), logged(STUDENT_STD=turned(1.0, 2.2, 0.05))),
    ("spread-explosion", logged(TEACHER_STD=steady(5.3, 0.1)), logged(TEACHER_STD=steady(4.6, 0.1))),
    (
        "score-scale",
        means(steady(5.4, 0.1), steady(2.0, 0.1)),
        means(steady(4.6, 0.1), steady(0.0, 0.1)),
    ),
    ("score-scale", logged(VALUE_MIN=steady(-10.8, 0.2)), logged(VALUE_MIN=steady(-9.2, 0.2))),
    (
        "saturation",
        logged(D_ACC=steady(0.985, 0.002), D_LOSS=steady(0.04, 0.002)),
        logged(D_ACC=steady(0.985, 0.002), D_LOSS=steady(0.065, 0.002)),
    ),
    ("step-change", at_seam(turned(0.76, 0.88, 0.02)), at_seam(turned(0.76, 0.81, 0.02))),
    ("drift", logged(SCORE_DIFF=turned(4.0, 3.1, 0.1)), logged(SCORE_DIFF=turned(4.0, 3.6, 0.1))),
    (
        "drift",
        means(turned(2.0, 3.6, 0.05), turned(0.0, 1.6, 0.05), TEACHER_STD=steady(1, 0.02)),
        means(turned(2.0, 2.7, 0.05), turned(0.0, 0.7, 0.05), TEACHER_STD=steady(1, 0.02)),
    ),
    ("decline", logged(D_ACC=turned(0.76, 0.69, 0.02)), logged(D_ACC=turned(0.76, 0.735, 0.02))),
    ("instability", logged(D_ACC=swinging(4.5)), logged(D_ACC=swinging(2.0))),
    ("gradient-spike", logged(GRAD_NORM=spiked(8.0)), logged(GRAD_NORM=spiked(3.5))),
    (
        "length-drift",
        logged(D_ACC=steady(0.76, 0.02), RESPONSE_LENGTH=turned(400, 520, 8)),
        logged(D_ACC=steady(0.76, 0.02), RESPONSE_LENGTH=turned(400, 480, 8)),
    ),
    ("stalled", silent_for(1300), silent_for(1100)),
    ("stalled", Case({"timing_s/step": turned(120, 260, 5)}), Case({"timing_s/step": turned(120, 220, 5)})),
    ("step-regression", back_to(40), back_to(60)),
    ("generalisation-gap", scored(0.65), scored(0.71)),
    ("length-bias", scored(0.76, bias=-0.35), scored(0.76, bias=-0.27)),
]  # fmt: skip


def named(cases: list[tuple[str, Case, Case]]) -> list[str]:
    return [f"{rule}-{sum(r == rule for r, _, _ in cases[:i])}" for i, (rule, _, _) in enumerate(cases)]


def test_the_rules_are_those_of_the_contract_and_each_has_a_case_here_and_a_section_in_the_docs() -> None:
    contract = set(re.findall(r"[a-z-]+", CONTRACT))
    assert set(RULES) == contract == {rule for rule, _, _ in FIRES}
    assert set(re.findall(r"^## ([a-z-]+)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)) == contract


@pytest.mark.parametrize(("rule", "bad", "near"), FIRES, ids=named(FIRES))
def test_a_rule_fires_on_what_it_is_for_and_not_on_what_comes_near(rule: str, bad: Case, near: Case) -> None:
    fired = [alert for alert in bad.alerts(rule) if alert.state != "pending"]
    assert fired
    assert near.alerts(rule) == []


@pytest.mark.parametrize(("rule", "bad", "near"), FIRES, ids=named(FIRES))
def test_an_alert_says_what_was_seen_since_when_and_what_to_do(rule: str, bad: Case, near: Case) -> None:
    for alert in bad.alerts(rule):
        assert re.search(r"\d|NaN|infinite", alert.message)
        assert "{" not in alert.message
        assert alert.message.endswith(".")
        assert len(alert.advice) > 20
        assert alert.fired_step is not None
        assert 1 <= alert.since_step <= alert.fired_step <= alert.step <= N
        assert math.isfinite(alert.threshold)
        assert alert.evidence
        assert all(name and isinstance(value, float) for name, value in alert.evidence)
        assert alert.severity in {"info", "warning", "critical"}


def test_a_rule_without_enough_data_says_how_many_more_steps_it_needs_and_then_judges() -> None:
    accuracy = turned(0.76, 0.60, 0.02)
    judge = Judge(Config())
    said = {}
    for n in range(1, N + 1):
        judgement = judge.update(snapshot_of({m.D_ACC: accuracy}, np.arange(1, N + 1), until=n))
        said[n] = {missing.rule: missing.needs for missing in judgement.waiting}
    assert said[10]["decline"] == "needs 40 more steps"
    assert said[49]["decline"] == "needs 1 more step"
    assert "decline" not in said[50]
    assert any(alert.rule == "decline" for alert in judgement.alerts)


def test_steps_that_are_logged_seldom_are_counted_in_steps_of_the_run() -> None:
    run = snapshot_of({m.D_ACC: steady(0.76, 0.02, 20)}, 10 * np.arange(1, 21))
    needs = {missing.rule: missing.needs for missing in judge_all(run, Config()).waiting}
    assert needs["decline"] == "needs 300 more steps"
