"""Scores of several fixed sets: each alert says which set it is about, and is an alert of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from critictui.config import Config
from critictui.health.alert import SCORE_ONE
from critictui.health.judge import judge_all
from critictui.monitor.check import check
from critictui.monitor.fixed_scores import fixed_scores, names_of_series
from critictui.run.reader import RunReader
from critictui.scoring.recipe import PRESETS, Recipe
from critictui.scoring.result import FixedSetRef, ResponseRow, ScoreResult
from critictui.scoring.results import save_result
from critictui.scoring.summary import summarise
from critictui.scoring.usual_scores import usual_scores


def result(path: str, sha256: str, recipe: Recipe = PRESETS["gad-fork"], step: int = 100) -> ScoreResult:
    """200 pairs of which the student wins every second one."""
    rows = []
    for number in range(200):
        for role, score in (("teacher", 1.0), ("student", 2.0 * (number % 2))):
            rows.append(
                ResponseRow(
                    f"p{number}",
                    f"why {number}?",
                    role,
                    0,
                    f"{role} {number}",
                    score,
                    10,
                    score,
                    1,
                    0,
                    1,
                    False,
                    "stop",
                )
            )
    what: dict[str, Any] = {"checkpoint": "c", "fingerprint": "f", "values": {}, "tokens": 1, "seconds": {}}
    return summarise(
        rows, recipe=recipe, fixed_set=FixedSetRef(path, sha256, 200, 200), step=step, device="cpu", dtype="float32",
        versions={}, **what,
    )  # fmt: skip


def test_two_sets_are_two_alerts_with_two_names(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("".join(f"step:{n} - critic/d_acc:0.77\n" for n in range(1, 101)))
    reader = RunReader(tmp_path, Config())
    run = reader.read_all()
    reader.close()
    alone = judge_all(run, Config(), fixed_scores([result("/sets/a.jsonl", "aa" * 32)])).alerts
    [gap] = [alert for alert in alone if alert.rule == "generalisation-gap"]
    assert "fixed set 0.5" in gap.message  # one set needs no name
    both = [result("/sets/a.jsonl", "aa" * 32), result("/sets/b.jsonl", "bb" * 32)]
    gaps = [a for a in judge_all(run, Config(), fixed_scores(both)).alerts if a.rule == "generalisation-gap"]
    assert sorted(alert.message.partition("fixed set ")[2][:12] for alert in gaps) == ["a.jsonl: 0.5", "b.jsonl: 0.5"]
    assert len({alert.key for alert in gaps}) == 2
    assert gap.key in {alert.key for alert in gaps}  # a second set does not make the first one's alert another


def test_a_series_is_called_by_what_differs() -> None:
    a, b = result("/x/a.jsonl", "aa" * 32), result("/y/a.jsonl", "bb" * 32)
    last, other = result("/x/a.jsonl", "aa" * 32, PRESETS["gad"]), result("/x/a.jsonl", "aa" * 32, Recipe(ties="half"))
    assert names_of_series([a, a]) == {}
    assert set(names_of_series([a, b]).values()) == {"a.jsonl aaaaaa", "a.jsonl bbbbbb"}
    named = names_of_series([a, last, other])
    assert named[a.series] == "gad-fork"
    assert named[last.series] == "gad"
    assert named[other.series] == f"recipe {Recipe(ties='half').id}"
    assert names_of_series([a, result("/x/c.jsonl", "cc" * 32, PRESETS["gad"])])[a.series] == "a.jsonl, gad-fork"


def test_a_score_by_another_recipe_is_kept_and_not_judged(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("".join(f"step:{n} - critic/d_acc:0.77\n" for n in range(1, 101)))

    for recipe in (PRESETS["gad"], Recipe(max_response_tokens=5)):
        save_result(tmp_path, result("/sets/a.jsonl", "aa" * 32, recipe), [])
    tried = check(tmp_path, Config())
    assert not [alert for alert in alerts_of(tried) if alert["rule"] in {"generalisation-gap", "length-bias"}]
    assert any(SCORE_ONE in str(item) for item in waiting_of(tried))
    assert check(tmp_path, Config(recipe="gad"))["verdict"] == "critical"  # the run's recipe by its configuration
    save_result(tmp_path, result("/sets/a.jsonl", "aa" * 32), [])
    assert check(tmp_path, Config())["verdict"] == "critical"


def alerts_of(report: dict[str, object]) -> list[dict[str, object]]:
    alerts = report["alerts"]
    assert isinstance(alerts, list)
    return alerts


def waiting_of(report: dict[str, object]) -> list[object]:
    waiting = report["waiting"]
    assert isinstance(waiting, list)
    return waiting


def test_the_runs_own_set_is_judged_and_another_is_not(tmp_path: Path) -> None:
    own = tmp_path / "fixed_set.jsonl"
    own.write_text("the set\n")
    digest = hashlib.sha256(b"the set\n").hexdigest()
    other, usual = result("/sets/b.jsonl", "bb" * 32), result(str(own), digest)
    assert usual_scores([other], tmp_path, Config()) == []
    assert usual_scores([other, usual], tmp_path, Config()) == [usual]
    own.unlink()
    assert usual_scores([other, usual, usual], tmp_path, Config()) == [usual, usual]  # then where most are


def test_a_bad_recipe_in_the_configuration_leaves_the_usual_one(tmp_path: Path) -> None:
    usual = result("/sets/a.jsonl", "aa" * 32)
    assert usual_scores([usual], tmp_path, Config(recipe="no-such-preset")) == [usual]
