"""Scores of several fixed sets: each alert says which set it is about, and is an alert of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from critictui.config import Config
from critictui.health.judge import judge_all
from critictui.monitor.fixed_scores import fixed_scores, names_of_series
from critictui.run.reader import RunReader
from critictui.scoring.recipe import PRESETS, Recipe
from critictui.scoring.result import FixedSetRef, ResponseRow, ScoreResult
from critictui.scoring.summary import summarise


def result(path: str, sha256: str, recipe: Recipe = PRESETS["gad-fork"], step: int = 100) -> ScoreResult:
    """200 pairs of which the student wins every second one."""
    rows = []
    for number in range(200):
        for role, score in (("teacher", 1.0), ("student", 2.0 * (number % 2))):
            rows.append(
                ResponseRow(f"p{number}", "why?", role, 0, f"{role} {number}", score, 10, score, 1, 0, 1, False, "stop")
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
