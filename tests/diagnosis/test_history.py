"""A checkpoint's score beside those of earlier ones: what is said of a difference, and which scores take part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from critictui.config import Config
from critictui.diagnosis.claims import Claim
from critictui.diagnosis.finding import Finding
from critictui.diagnosis.history import history_findings, scored_steps
from critictui.diagnosis.inquiry import Question, Subject, case_of, read_run
from critictui.diagnosis.logged import Logged, logged_curve
from critictui.scoring.read_set import sha256_of
from critictui.scoring.recipe import Recipe
from critictui.scoring.result import FixedSetRef, ResponseRow, ScoreResult
from critictui.scoring.results import ResultsFolder, save_result
from critictui.scoring.summary import summarise

PROMPTS = 200


def rows_of(right: Sequence[bool]) -> list[ResponseRow]:
    """A pair a prompt: won or lost by one."""
    sides = [("teacher", [1.0] * len(right)), ("student", [0.0 if won else 2.0 for won in right])]
    return [
        ResponseRow(
            f"p{i}", f"why {i}?", role, 0, f"text {i}", score, 10, score, 1.0, score - 1, score + 1, False, "stop"
        )
        for role, scores in sides
        for i, score in enumerate(scores)
    ]  # fmt: skip


Scored = Callable[..., ScoreResult]


@pytest.fixture
def scored(tmp_path: Path) -> Scored:
    """`scored(step, lost)`: a saved score that loses these of 200 pairs, on the run's own set unless told otherwise."""
    (tmp_path / "fixed_set.jsonl").write_text("the run's own set\n")

    def score(step: int, lost: range, *, fixed: str = "fixed_set.jsonl", recipe: Recipe | None = None) -> ScoreResult:
        path = tmp_path / fixed
        if not path.exists():
            path.write_text(f"{fixed}\n")
        rows = rows_of([i not in lost for i in range(PROMPTS)])
        result = summarise(
            rows, recipe=recipe or Recipe(), fixed_set=FixedSetRef(str(path), sha256_of(path), PROMPTS, PROMPTS),
            step=step, checkpoint=str(tmp_path / f"global_step_{step}" / "critic"), fingerprint=f"{step:032d}",
            values={"mean": 0.0, "std": 1.0, "min": -1.0, "max": 1.0}, tokens=1,
            seconds={"load": 0, "score": 0, "total": 0}, device="cpu", dtype="float32", versions={},
        )  # fmt: skip
        save_result(tmp_path, result, rows)
        return result

    return score


def audit(step: int) -> Any:
    return SimpleNamespace(fingerprint=f"{step:032d}", problems=(), head=None)


def subject(run: Path, step: int, fixed_set: str = "fixed_set.jsonl", config: Config | None = None) -> Subject:
    return Subject(
        SimpleNamespace(step=step, path=run / f"global_step_{step}" / "critic", state="complete"),  # type: ignore[arg-type]
        audit(step), "", run, (), tuple(ResultsFolder(run).poll()), run / fixed_set, Recipe().to_dict(),
        config=config or Config(),
    )  # fmt: skip


def found(run: Path, step: int, log: Sequence[str] | None = None) -> list[Finding]:
    if log is not None:
        (run / "train.log").write_text("\n".join(log) + "\n")

    def logged_up_to(at: int) -> Logged:
        return logged_curve(read_run(run, Config()), at)

    return list(history_findings(audit(step), subject(run, step).own_scores, logged_up_to if log is not None else None))


def two_epochs(second: float, *, epochs: int = 2) -> list[str]:
    """240 steps that log 0.78, and `second` from step 201 on."""
    return [
        f"step:{i} - training/epoch:{int(i > 200) if epochs > 1 else 0} "
        f"- critic/d_acc:{(second if i > 200 else 0.78) + 0.01 * (i % 3):.4f}"
        for i in range(1, 241)
    ]


WORSE, BARELY = range(40), range(8)


def test_a_score_far_below_an_earlier_one_says_by_how_much_and_how_surely(tmp_path, scored):
    scored(200, range(0)), scored(240, WORSE)
    (said,) = found(tmp_path, 240, two_epochs(0.78))
    assert (said.id, said.severity) == ("collapsed", "warning")
    assert "step 200 scored 1.000 on the same fixed set, this one 0.800: d_acc -20.0 points (" in said.message
    assert "McNemar p < 0.001, 200 pairs of 200 prompts (40 lost, 0 won)" in said.message
    assert "by heart" not in said.message


@pytest.mark.parametrize(
    ("log", "id_"),
    [
        (two_epochs(0.97), "memorised"),
        (two_epochs(0.78), "collapsed"),
        (two_epochs(0.97, epochs=1), "collapsed"),
        (["nothing was logged"], "collapsed"),
        (None, "collapsed"),
    ],
)
def test_only_a_second_epoch_in_which_training_rose_is_called_memorised(tmp_path, scored, log, id_):
    scored(200, range(0)), scored(240, WORSE)
    (said,) = found(tmp_path, 240, log)
    assert said.id == id_
    if id_ == "memorised":
        assert "the logged d_acc rose from 0.791 to 0.979 (means of 10 and 10 steps)" in said.message


def test_a_difference_that_is_barely_significant_is_said_and_is_no_doubt(tmp_path, scored):
    scored(200, range(0)), scored(240, BARELY)  # 8 lost, none won: p = 0.0078, and 0.0156 of two
    assert found(tmp_path, 240)[0].severity == "warning"
    scored(160, range(1))
    (said,) = found(tmp_path, 240)
    assert (said.id, said.severity) == ("by-chance", "info")
    assert "p = 0.016 among 2 comparisons" in said.message


def test_a_difference_within_chance_is_not_worth_a_word(tmp_path, scored):
    scored(200, range(0)), scored(240, range(4))
    assert found(tmp_path, 240) == []


def test_that_a_later_step_is_better_is_no_fault_of_an_earlier_one(tmp_path, scored):
    scored(80, WORSE), scored(240, range(0))
    assert found(tmp_path, 80) == []


@pytest.mark.parametrize("trial", [{"fixed": "small_set.jsonl"}, {"recipe": Recipe(pooling="last")}])
def test_a_trial_of_another_set_or_recipe_changes_no_answer(tmp_path, scored, trial):
    scored(200, range(0)), scored(240, WORSE)
    scored(240, range(120), **trial)
    (said,) = found(tmp_path, 240)
    assert said.id == "collapsed"
    assert [s["d_acc"] for s in scored_steps(audit(240), subject(tmp_path, 240).own_scores)] == [1.0, 0.8]
    case = case_of(read_run(tmp_path, Config()), subject(tmp_path, 240), Question(), None, None)
    assert case.claim is not None
    assert case.claim.d_acc == pytest.approx(0.8)


def test_a_set_or_recipe_that_was_asked_for_is_the_one_that_is_judged(tmp_path, scored):
    scored(240, WORSE)
    scored(240, range(100), fixed="small_set.jsonl")
    scored(240, range(120), recipe=Recipe(pooling="last"))
    other_set = subject(tmp_path, 240, "small_set.jsonl")
    assert [s.d_acc for s in other_set.own_scores] == [0.5]
    other_recipe = subject(tmp_path, 240, config=Config(recipe="gad-fork,pooling=last"))
    assert [s.d_acc for s in other_recipe.own_scores] == [0.4]
    claimed = replace(other_set, scores=())
    case = case_of(read_run(tmp_path, Config()), claimed, Question(Claim(d_acc=0.46)), None, None)
    assert case.score is None
