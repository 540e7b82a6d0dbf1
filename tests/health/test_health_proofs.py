"""Whole runs: a short form of the detection benchmark, the demo's scenarios, real runs, the command and the cost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection.generator import HEALTHY, Fault, faulty, healthy
from benchmarks.detection.measure import EXPECTED, outcomes
from benchmarks.rules_cost import all_rules, costs
from critictui.config import Config
from critictui.health.backtest import HealthError, as_text, backtest, pairs_of
from critictui.health.judge import judge_all
from critictui.run.discovery import Scanner
from critictui.run.reader import RunReader

DATA = os.environ.get("CRITICTUI_DATA")


def test_sixteen_healthy_runs_raise_nothing() -> None:
    shapes = [healthy(kind, seed) for kind in HEALTHY for seed in (500_001, 500_002)]
    said = [fired for one in outcomes(shapes, processes=1, with_peers=False) for fired in one.fired]
    assert [fired for fired in said if fired.severity != "info"] == []


@pytest.mark.parametrize(("fault", "within"), [("abrupt", 8), ("linear", 100), ("mild", 60), ("memorise", 8)])
def test_six_runs_with_a_fault_are_all_found_in_time(fault: Fault, within: int) -> None:
    shapes = [faulty(fault, seed, noise) for noise in ("white", "heavy") for seed in (500_001, 500_002, 500_003)]
    for one in outcomes(shapes, processes=1, with_peers=False):
        delay = one.delay(EXPECTED[fault])
        assert delay is not None
        assert delay <= within


SCENARIOS = [
    ("healthy", {"healthy"}, set()),
    ("restart", {"healthy"}, set()),
    ("collapse", {"critical"}, {"margin-collapse", "chance-accuracy"}),
    ("memorise", {"warning", "critical"}, {"step-change"}),
    ("drift", {"warning", "critical"}, {"drift"}),
    ("inverted", {"critical"}, {"inverted"}),
    ("nan", {"critical"}, {"non-finite"}),
]


@pytest.mark.torch
@pytest.mark.parametrize(("scenario", "verdicts", "rules"), SCENARIOS)
def test_a_demo_scenario_gets_the_right_verdict(
    demo_run: Callable[..., Path], scenario: str, verdicts: set[str], rules: set[str]
) -> None:
    judgement = judge_all(RunReader(demo_run(scenario), Config()).read_all(), Config())
    fired = {alert.rule for alert in judgement.alerts if alert.severity != "info"}
    assert judgement.verdict in verdicts
    assert not rules or fired & rules
    if verdicts == {"healthy"}:
        assert fired == set()


@pytest.mark.skipif(DATA is None, reason="needs the real data: set CRITICTUI_DATA")
def test_real_data_healthy_verl_runs_raise_no_critical_alert_and_the_stuck_one_does() -> None:
    real = Path(DATA or "") / "real"
    critical = {}
    judged = 0
    for folder in ("events/verl", "jsonl/verl", "logs/verl", "logs/verl-data"):
        scanner = Scanner(real / folder)
        scanner.finish()
        for found in scanner.runs:
            reader = RunReader(found.path, Config(), found.files)
            alerts = judge_all(reader.read_all(), Config()).alerts
            reader.close()
            judged += 1
            for alert in alerts:
                if alert.severity == "critical":
                    critical[str(found.path.relative_to(real))] = alert
    assert judged >= 15
    assert set(critical) == {
        "events/verl/tensorboard_log/verl_grpo_game2048/trtllm-qwen2-7b-game2048-tp4-8gpus",
        "logs/verl/examples/grpo_trainer",
    }  # one run, by its event file and by its log
    for alert in critical.values():
        assert (alert.rule, alert.since_step, alert.fired_step) == ("spread-collapse", 11, 15)
        assert "entropy went from 0.51" in alert.message


def _run_file(path: Path) -> Path:
    rng = np.random.default_rng(5)
    accuracy = np.concatenate([0.76 + 0.02 * rng.standard_normal(100), 0.5 + 0.02 * rng.standard_normal(40)])
    lines = [json.dumps({"step": i + 1, "data": {"critic/d_acc": float(v)}}) for i, v in enumerate(accuracy)]
    path.mkdir()
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return path


def test_backtest_tells_when_each_rule_would_have_fired(tmp_path: Path) -> None:
    run = _run_file(tmp_path / "run")
    result = json.loads(json.dumps(backtest([run], Config()), allow_nan=False))
    assert (result["schema"], result["runs"][0]["steps"]) == (1, 140)
    chance = next(a for a in result["runs"][0]["alerts"] if a["rule"] == "chance-accuracy")
    assert 101 <= chance["fired_step"] <= 108
    assert "chance-accuracy" in as_text(result)


def test_backtest_of_one_rule_with_another_threshold(tmp_path: Path) -> None:
    run = _run_file(tmp_path / "run")
    found = backtest([run], Config(), "decline", {"drop": "0.5"})
    assert found["runs"][0]["alerts"] == []  # type: ignore[index]
    found = backtest([run], Config(), None, {"chance-accuracy.enabled": "false"})
    assert {a["rule"] for a in found["runs"][0]["alerts"]} == {"decline"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("rule", "pairs"),
    [
        ("declin", ()),
        (None, ("drop=0.1",)),
        (None, ("decline.dorp=1",)),
        (None, ("x.drop=1",)),
        ("decline", ("drop=a",)),
    ],
)
def test_backtest_names_what_it_does_not_know(tmp_path: Path, rule: str | None, pairs: tuple[str, ...]) -> None:
    with pytest.raises(HealthError, match=r"there are|of which rule|it has|not a number"):
        backtest([tmp_path], Config(), rule, pairs_of(pairs))


def test_a_setting_without_a_value_is_told() -> None:
    with pytest.raises(HealthError, match="KEY=VALUE"):
        pairs_of(["drop"])


def test_a_step_of_150_metrics_costs_the_same_late_as_early() -> None:
    taken = [processor for processor, _ in costs(all_rules(), 300)]
    early, late = np.median(taken[60:110]), np.median(taken[-50:])
    assert late < 3 * early  # the goal in milliseconds is the benchmark's: machines differ, growth does not
