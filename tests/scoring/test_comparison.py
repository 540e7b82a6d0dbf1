"""A score is compared with the newest earlier one of its series, as the results at hand have it now."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from critictui.scoring import comparison
from critictui.scoring.comparison import Comparisons, compared, comparison_words, difference_words, with_comparison
from critictui.scoring.recipe import Recipe
from critictui.scoring.result import ResponseRow, ScoreResult
from critictui.scoring.results import ResultsFolder, save_result
from critictui.scoring.summary import in_words

pytest.importorskip("pyarrow", reason="needs the extra [score]")

Make = Callable[..., tuple[ScoreResult, list[ResponseRow]]]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def score(tmp_path: Path, make_result: Make) -> Callable[..., ScoreResult]:
    """Scores a step as the worker does: so many tenths of the pairs right, compared, saved."""

    def make(step: int, right: int, **changes: Any) -> ScoreResult:
        groups = [(1.0, [0.0])] * right * 10 + [(0.0, [1.0])] * (10 - right) * 10
        result, rows = make_result(groups, step=step, fingerprint=f"{step:032d}", **changes)
        result = with_comparison(result, rows, ResultsFolder(tmp_path).poll())
        save_result(tmp_path, result, rows)
        return result

    return make


def test_the_words_of_a_score_say_how_it_compares(score: Callable[..., ScoreResult]) -> None:
    assert comparison_words(score(10, 6)) == ""
    second = score(20, 9)
    assert "against step 10: d_acc +30.0 points" in comparison_words(second)
    assert comparison_words(second) in in_words(second).splitlines()
    assert in_words(second).count("is found in about 4 of 5 cases from") == 1


def test_students_of_a_prompt_that_agree_are_no_evidence_twice(make_result: Make, tmp_path: Path) -> None:
    """The two students of a prompt agree: over pairs, McNemar's test would say p = 0.024."""
    was = [(1.0, [0.0, 0.0])] * 60 + [(0.0, [1.0, 1.0])] * 40
    now = [(1.0, [0.0, 0.0])] * 48 + [(0.0, [1.0, 1.0])] * 12 + [(1.0, [0.0, 0.0])] * 5 + [(0.0, [1.0, 1.0])] * 35
    first, rows = make_result(was, step=200, fingerprint="1" * 32)
    save_result(tmp_path, first, rows)
    second, rows = make_result(now, step=240, fingerprint="2" * 32)
    said = comparison_words(with_comparison(second, rows, ResultsFolder(tmp_path).poll()))
    assert said == (
        "against step 200: d_acc -7.0 points (-15.0 to +1.0), McNemar by prompt p = 0.14, 200 pairs of 100 prompts: "
        "no change that could be told from chance"
    )


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.12, -0.0002, "(-12.0 to -0.02)"), (-0.12, 0.0, "(-12.0 to +0.0)"), (-0.02, 0.00002, "(-2.0 to +0.002)")],
)
def test_a_bound_near_zero_is_not_written_as_zero(low: float, high: float, said: str) -> None:
    assert said in difference_words(-0.06, (low, high), 0.04, 200, 100)


def test_a_comparison_of_an_older_version_is_made_anew(make_result: Make, tmp_path: Path) -> None:
    """Its test took the students of a prompt for independent."""
    was, now = [(1.0, [0.0] * 4)] * 50 + [(0.0, [1.0] * 4)] * 50, [(1.0, [0.0] * 4)] * 54 + [(0.0, [1.0] * 4)] * 46
    first, rows = make_result(was, step=10, fingerprint="1" * 32)
    save_result(tmp_path, first, rows)
    second, rows = make_result(now, step=20, fingerprint="2" * 32)
    second = with_comparison(second, rows, ResultsFolder(tmp_path).poll())
    held = second.extra["previous"]
    assert isinstance(held, dict)
    older = {key: value for key, value in held.items() if key != "prompts"} | {"p_value": 0.0001}
    save_result(tmp_path, dataclasses.replace(second, extra={**second.extra, "previous": older}), rows)
    [_, shown] = Comparisons().of(ResultsFolder(tmp_path).poll())
    found = compared(shown)
    assert found is not None
    assert found.p_value == pytest.approx(0.125)
    assert not found.real


def test_what_is_scored_later_becomes_the_one_before(tmp_path: Path, score: Callable[..., ScoreResult]) -> None:
    folder, comparisons = ResultsFolder(tmp_path), Comparisons()
    score(30, 9)
    [newest] = comparisons.of(folder.poll())
    assert compared(newest) is None
    score(10, 5)
    first, newest = comparisons.of(folder.poll())
    assert compared(first) is None
    found = compared(newest)
    assert found is not None
    assert (found.step, found.pairs) == (10, 100)
    assert found.d_acc == pytest.approx(0.4)
    score(20, 8)
    _, middle, newest = comparisons.of(folder.poll())
    assert [c.step for c in map(compared, (middle, newest)) if c is not None] == [10, 20]


def test_a_comparison_is_made_once_and_one_that_is_true_still_is_taken_from_the_file(
    tmp_path: Path, score: Callable[..., ScoreResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    inner = comparison.read_rows
    monkeypatch.setattr(comparison, "read_rows", lambda result: (read.append(result.step), inner(result))[1])
    score(10, 5)
    score(20, 6)
    del read[:]
    folder, comparisons = ResultsFolder(tmp_path), Comparisons()
    polled = folder.poll()
    shown = comparisons.of(polled)
    assert [a is b for a, b in zip(shown, polled, strict=True)] == [True, True]
    score(15, 7)
    del read[:]
    once = comparisons.of(folder.poll())
    assert sorted(read, key=str) == [15, 20]
    assert all(a is b for a, b in zip(comparisons.of(folder.poll()), once, strict=True))
    assert sorted(read, key=str) == [15, 20]


@pytest.mark.fault("C10")
def test_another_recipe_or_precision_is_not_compared(score: Callable[..., ScoreResult]) -> None:
    score(10, 5)
    assert compared(score(20, 6, recipe=Recipe(pooling="last"))) is None
    assert compared(score(20, 6, dtype="bfloat16")) is None
    assert compared(score(30, 6)) is not None


def test_responses_that_cannot_be_read_are_said(tmp_path: Path, score: Callable[..., ScoreResult]) -> None:
    folder = tmp_path / "critictui" / "scores"
    score(10, 5)
    next(folder.glob("*.parquet")).unlink()
    assert any("not compared with step 10" in w for w in score(20, 6).warnings)
    [_, newest] = Comparisons().of(ResultsFolder(tmp_path).poll())
    assert comparison_words(newest).startswith("not compared with step 10")
