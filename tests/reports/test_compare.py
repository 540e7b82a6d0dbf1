"""`compare`: the same step, the same pairs, what differs; nothing is claimed that cannot be told from chance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from click.testing import CliRunner

from critictui.cli import cli
from critictui.config import Config
from critictui.errors import InputError
from critictui.reports.compare import Comparison, compare
from critictui.reports.render_comparison import comparison_json, comparison_text
from critictui.run import metrics
from critictui.scoring.recipe import Recipe
from critictui.scoring.result import FixedSetRef, ResponseRow
from critictui.scoring.results import save_result
from critictui.scoring.summary import summarise


def log(folder: Path, name: str, values: list[float], settings: str = "") -> Path:
    """A run whose d_acc is these values, from step 1 on, as verl's console writes it."""
    run = folder / name
    run.mkdir()
    lines = [f"step:{step} - critic/d_acc:{value} - critic/score_diff:1.5\n" for step, value in enumerate(values, 1)]
    (run / "train.log").write_text(settings + "".join(lines))
    return run


def score(
    run: Path, step: int, wins: int, *, fixed_set: str = "ab", pooling: Literal["mean", "last"] = "mean", **extra: str
) -> None:
    """A saved score of 100 pairs of which the first `wins` are ordered rightly."""
    rows = []
    for number in range(100):
        for role, value in (("teacher", 1.0), ("student", 0.0 if number < wins else 2.0)):
            texts = f"p{number}", f"why {number}?", role, 0, role
            rows.append(ResponseRow(*texts, value, 9, value, 1.0, value, value, truncated=False, finish_reason=""))
    on = FixedSetRef("/sets/fixed.jsonl", fixed_set * 32, 100, 100)
    result = summarise(
        rows, recipe=Recipe(pooling=pooling), fixed_set=on, step=step,
        checkpoint=f"/runs/{run.name}/{step}", fingerprint=f"{step:032d}",
        values={"mean": 0.5, "std": 1.5, "min": -4.0, "max": 5.0}, tokens=900, seconds={"total": 3.0}, device="cpu",
        dtype="float32", versions={}, extra=extra,
    )  # fmt: skip
    save_result(run, result, rows)


def of(*runs: Path) -> Comparison:
    return compare(runs, Config())


def test_curves_are_read_at_the_newest_step_that_all_have_reached(tmp_path: Path) -> None:
    long = log(tmp_path, "long", [0.5] * 30 + [0.7] * 20 + [0.9] * 50)
    short = log(tmp_path, "short", [0.6] * 50)
    found = of(long, short)
    assert found.step == 50
    levels = [side.levels[metrics.D_ACC] for side in found.sides]
    assert [(level.mean, level.step, level.n) for level in levels] == [
        (pytest.approx(0.7), 50, 20),
        (pytest.approx(0.6), 50, 20),
    ]
    text = comparison_text(found)
    assert "at step 50, the mean of the last 20 points" in text
    assert [row.split()[:2] for row in text.splitlines()[2:4]] == [["A", "long"], ["B", "short"]]


def test_a_number_that_is_none_takes_no_part(tmp_path: Path) -> None:
    found = of(log(tmp_path, "a", [0.5, float("nan"), 0.7]), log(tmp_path, "b", [float("nan")] * 3))
    first, second = (side.levels.get(metrics.D_ACC) for side in found.sides)
    assert first is not None
    assert (first.mean, first.n) == (pytest.approx(0.6), 2)
    assert second is None
    assert metrics.SCORE_DIFF in found.sides[1].levels


def test_scores_of_the_same_set_and_recipe_are_compared_pair_by_pair(tmp_path: Path) -> None:
    first, second, third = (log(tmp_path, name, [0.6] * 5) for name in ("first", "second", "third"))
    score(first, 3, 60)
    score(first, 5, 70)
    score(second, 5, 90)
    score(second, 9, 10, fixed_set="cd")  # newer, but on a set that the first one was not scored on
    score(third, 5, 71)
    found = of(first, second, third)
    better, same = found.on_the_set
    assert better.steps == (5, 5)
    assert better.found is not None
    assert better.found.d_acc_difference == pytest.approx(0.2)
    assert (better.found.gained, better.found.lost) == (20, 0)
    text = comparison_text(found)
    assert "B (step 5) against A (step 5) on fixed.jsonl, gad-fork: d_acc +20.0 points" in text
    assert text.count("a real difference") == 1
    assert same.found is not None
    assert same.found.p_value > 0.05
    assert "no difference that could be told from chance" in text
    assert "B  step 9: d_acc 10.0%" in text


def test_a_run_is_known_by_its_own_scores_and_others_are_named(tmp_path: Path) -> None:
    first, second = (log(tmp_path, name, [0.6] * 5) for name in ("first", "second"))
    for run in (first, second):
        score(run, 3, 70)
        score(run, 4, 80)
        score(run, 5, 20, pooling="last")  # somebody tried another recipe at the newest step
    found = of(first, second)
    assert [side.newest.step if side.newest is not None else None for side in found.sides] == [4, 4]
    (one,) = found.on_the_set
    assert (one.steps, one.on) == ((4, 4), "")
    text = comparison_text(found)
    assert "A  step 4: d_acc 80.0%" in text
    assert "20.0%" not in text

    trial = log(tmp_path, "trial", [0.6] * 5)
    score(trial, 5, 30, pooling="last")
    found = of(first, trial)
    assert found.sides[1].newest is None
    text = comparison_text(found)
    assert "B  not scored on its own set by its own recipe; it has 1 other score\n" in text
    assert "B (step 5) against A (step 5) on fixed.jsonl, recipe " in text
    assert comparison_json(found)["fixed_set"][0]["on"].startswith("fixed.jsonl, recipe ")  # type: ignore[index]


def test_scores_that_are_not_alike_are_not_compared_and_the_reason_is_said(tmp_path: Path) -> None:
    first, other_set, other_recipe, none = (log(tmp_path, name, [0.6] * 5) for name in "wxyz")
    score(first, 5, 70)
    score(other_set, 5, 70, fixed_set="cd")
    score(other_recipe, 5, 70, pooling="last")
    found = of(first, other_set, other_recipe, none)
    reasons = [one.reason for one in found.on_the_set]
    assert "different fixed sets" in reasons[0]
    assert "different recipes" in reasons[1]
    assert reasons[2] == "D has no score; make one: critictui score RUN"
    assert all(one.found is None for one in found.on_the_set)


def test_runs_of_different_models_are_compared_and_what_is_not_the_same_is_said(tmp_path: Path) -> None:
    first, second = (log(tmp_path, name, [0.6] * 5) for name in ("qwen", "llama"))
    score(first, 3, 60, tokenizer_sha256="bb")
    score(first, 5, 70, tokenizer_sha256="aa")
    score(second, 5, 90, tokenizer_sha256="bb")
    score(second, 7, 90, tokenizer_sha256="cc", template_sha256="dd")
    (one,) = of(first, second).on_the_set
    assert (one.steps, one.unlike) == ((7, 5), ("tokenizer", "chat template"))
    assert (
        comparison_text(of(first, second))
        .splitlines()[-1]
        .endswith("a real difference (not the same tokenizer, chat template)")
    )
    (back,) = of(second, first).on_the_set
    assert (back.steps, back.unlike) == ((5, 7), ("tokenizer", "chat template"))


def test_rows_that_are_gone_are_named(tmp_path: Path) -> None:
    first, second = (log(tmp_path, name, [0.6] * 5) for name in "ab")
    score(first, 5, 70)
    score(second, 5, 80)
    next((second / "critictui" / "scores").glob("*.parquet")).unlink()
    (one,) = of(first, second).on_the_set
    assert one.found is None
    assert ".parquet" in one.reason


def test_what_was_set_differently_is_listed_and_what_a_run_does_not_say_is_left_open(tmp_path: Path) -> None:
    def written(name: str, temperature: float, batch: int | None) -> Path:
        run = log(tmp_path, name, [0.6] * 3)
        (run / ".hydra").mkdir()
        batch_line = f"  train_batch_size: {batch}\n" if batch is not None else ""
        (run / ".hydra" / "config.yaml").write_text(
            f"actor_rollout_ref:\n  rollout:\n    temperature: {temperature}\n    n: 4\ndata:\n"
            f"  max_response_length: 512\n{batch_line}"
        )
        return run

    found = of(written("a", 0.6, 128), written("b", 1.0, None))
    assert found.differs == {"temperature": (0.6, 1.0)}
    assert "temperature  0.6  1.0" in comparison_text(found)


def test_json_has_everything_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    first, second = (log(tmp_path, name, [0.6] * 30) for name in ("a", "b"))
    score(first, 5, 70)
    score(second, 5, 90)
    done = CliRunner().invoke(cli, ["compare", str(first), str(second), "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    answer = json.loads(done.stdout)
    assert answer == json.loads(json.dumps(comparison_json(of(first, second))))
    assert (answer["schema"], answer["step"], answer["window"]) == (1, 30, 20)
    assert [run["run"] for run in answer["runs"]] == [str(first), str(second)]
    level = answer["runs"][0]["metrics"]["critic/d_acc"]
    assert level == {"tag": "critic/d_acc", "step": 30, "mean": pytest.approx(0.6), "points": 20}
    assert answer["runs"][1]["score"]["d_acc"] == pytest.approx(0.9)
    (one,) = answer["fixed_set"]
    assert (one["run"], one["against"], one["pairs"]) == (str(second), str(first), 100)
    assert one["d_acc_difference"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("names", "said"), [(("a",), "1 run given: give 2 to 26"), (("a", "empty"), "no event file, log or JSONL")]
)
def test_what_cannot_be_compared_is_one_line(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    log(tmp_path, "a", [0.5])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=said):
        of(*(tmp_path / name for name in names))


def test_hostile_names_are_made_safe(tmp_path: Path) -> None:
    text = comparison_text(of(log(tmp_path, "a\x1b[31m", [0.5]), log(tmp_path, "b", [0.5])))
    assert "\x1b" not in text


def test_recorded_runs_keep_their_own_numbers(recorded_run: Callable[..., Path]) -> None:
    healthy, collapse = recorded_run("healthy"), recorded_run("collapse")
    found = of(healthy, collapse)
    for side in found.sides:
        series = side.run.metric(metrics.D_ACC)
        assert series is not None
        upto = series.value[series.step <= found.step]
        assert side.levels[metrics.D_ACC].mean == pytest.approx(float(np.mean(upto[-20:])))
    assert found.sides[0].levels[metrics.D_ACC].mean > found.sides[1].levels[metrics.D_ACC].mean
