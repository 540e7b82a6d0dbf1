"""Results are written once, whole, and never lost; whatever else lies in their folder does no harm."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from critictui.scoring import results
from critictui.scoring.jobs import Finished
from critictui.scoring.recipe import ScoringError
from critictui.scoring.result import ResponseRow, ScoreResult
from critictui.scoring.result_json import result_from_json, result_to_json
from critictui.scoring.results import (
    NotSavedError,
    ResultsFolder,
    read_rows,
    result_name,
    save_again,
    save_result,
    unsaved_rows,
)

Make = Callable[..., tuple[ScoreResult, list[ResponseRow]]]

pytest.importorskip("pyarrow", reason="needs the extra [score]")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


def test_what_is_saved_is_read_back_with_its_rows(run: Path, make_result: Make) -> None:
    result, rows = make_result()
    path = save_result(run, result, rows)
    assert path.parent == run / "critictui" / "scores"
    assert path.name == f"step-000310-{'ab' * 5}-{'cd' * 5}-{result.series.partition('-')[2]}.json"
    [found] = ResultsFolder(run).poll()
    assert result_to_json(found) == result_to_json(result)
    assert found.path == path
    assert read_rows(found) == rows
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".json", ".parquet"]


def test_the_json_is_the_contract(run: Path, make_result: Make) -> None:
    result, rows = make_result()
    value = json.loads(save_result(run, result, rows).read_text())
    contract = (
        "schema step checkpoint checkpoint_fingerprint fixed_set recipe d_acc d_acc_ci d_acc_soft d_acc_ties_win "
        "tie_rate pairs prompts teacher_score_mean student_score_mean teacher_score_std student_score_std score_diff "
        "score_range auc length_bias values warnings tokens seconds device dtype versions"
    )
    assert " ".join(value) == f"{contract} extra"
    assert set(value["fixed_set"]) == {"path", "sha256", "prompts", "pairs"}
    assert set(value["values"]) == {"mean", "std", "min", "max"}
    assert set(value["seconds"]) == {"load", "score", "total"}
    assert set(value["recipe"]) >= {"pooling", "eos", "alignment", "tokens", "chat_template", "ties", "dtype"}
    assert len(value["d_acc_ci"]) == 2


def test_numbers_that_are_not_finite_become_null_with_a_word(run: Path, make_result: Make) -> None:
    result, rows = make_result([(1.0, [1.0])], values={"mean": math.nan, "std": math.inf, "min": 0.0, "max": 0.0})
    text = save_result(run, result, rows).read_text()
    value = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert value["d_acc"] is None
    assert value["values"]["std"] is None
    assert any(w.startswith("not finite: d_acc") for w in value["warnings"])
    [found] = ResultsFolder(run).poll()
    assert math.isnan(found.d_acc)


def test_the_same_score_is_saved_once_and_another_of_its_name_beside_it(run: Path, make_result: Make) -> None:
    result, rows = make_result()
    first = save_result(run, result, rows)
    before = first.read_bytes()
    again = replace(result, seconds={"load": 9.0, "score": 9.0, "total": 18.0})
    assert save_result(run, again, rows) == first
    other = save_result(run, replace(result, d_acc=0.123, device="cuda:0"), rows)
    assert other.name == first.name.replace(".json", "-2.json")
    assert first.read_bytes() == before
    assert len(ResultsFolder(run).poll()) == 2


@pytest.mark.parametrize("moment", [".parquet", ".json"])
@pytest.mark.fault("O01")
def test_an_equal_score_that_is_saved_in_between_is_not_saved_twice(
    run: Path, make_result: Make, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Another process links its rows, or rows and result, just before ours are linked, or is between its two links."""
    result, rows = make_result([(1.0, [0.0, math.nan])])
    inner = results.publish

    def another_is_faster(path: Path, write: Callable[[Path], None]) -> None:
        if path.suffix == moment:
            monkeypatch.setattr(results, "publish", inner)
            save_result(run, result, rows)
        inner(path, write)

    monkeypatch.setattr(results, "publish", another_is_faster)
    first = save_result(run, result, rows)
    assert not first.stem.endswith("-2")
    assert len(ResultsFolder(run).poll()) == 1
    assert len(list(first.parent.iterdir())) == 2


@pytest.mark.fault("O02")
def test_rows_of_a_writer_that_died_are_taken_when_they_are_these_and_left_alone_else(
    run: Path, make_result: Make
) -> None:
    result, rows = make_result()
    path = save_result(run, result, rows)
    path.unlink()
    assert save_result(run, result, rows) == path
    path.unlink()
    other, others = make_result([(2.0, [0.5])])
    second = save_result(run, other, others)
    assert second.stem == f"{path.stem}-2"
    assert read_rows(replace(result, path=path)) == rows


SAVER = """
import sys
from dataclasses import replace
from pathlib import Path
from critictui.scoring.results import ResultsFolder, save_result
from critictui.scoring.result_json import result_from_json
import json
base = result_from_json(json.loads(Path(sys.argv[2]).read_text()))
for number in range(40):
    same_name = number % 2 == 0
    result = replace(base, step=7 if same_name else number, d_acc=(int(sys.argv[3]) * 100 + number) / 1000)
    save_result(Path(sys.argv[1]), result, [])
"""


@pytest.mark.fault("O01")
def test_two_processes_that_save_at_once_lose_nothing(run: Path, make_result: Make, tmp_path: Path) -> None:
    result, _ = make_result()
    (tmp_path / "base.json").write_text(json.dumps(result_to_json(result)))
    command = [sys.executable, "-c", SAVER, str(run), str(tmp_path / "base.json")]
    folder = ResultsFolder(run)
    processes = [subprocess.Popen([*command, str(number)]) for number in range(2)]
    while any(process.poll() is None for process in processes):
        folder.poll()  # a monitor that looks on never sees half a file
        assert folder.notices == ()
    assert [process.wait() for process in processes] == [0, 0]
    found = {r.d_acc for r in folder.poll()}
    assert found == {(p * 100 + n) / 1000 for p in range(2) for n in range(40)}
    assert not [p for p in (run / "critictui" / "scores").iterdir() if p.name.startswith(".")]


@pytest.mark.fault("O04")
def test_a_run_that_cannot_be_written_keeps_its_scores_in_the_state_directory(
    run: Path, make_result: Make, tmp_path: Path
) -> None:
    result, rows = make_result()
    (run / "critictui").write_text("a file in the way")
    path = save_result(run, result, rows)
    assert path.is_relative_to(tmp_path / "state" / "critictui")
    assert [r.path for r in ResultsFolder(run).poll()] == [path]


@pytest.mark.fault("O04")
def test_read_only_writes_nothing_into_the_run(run: Path, make_result: Make) -> None:
    result, rows = make_result()
    save_result(run, result, rows, read_only=True)
    assert list(run.iterdir()) == []
    assert len(ResultsFolder(run).poll()) == 1
    assert ResultsFolder(run.parent / "another").poll() == ()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("where", ["write", "fsync", "link"])
@pytest.mark.fault("O03")
def test_a_full_disk_leaves_no_half_file_and_the_score_can_be_saved_later(
    run: Path, make_result: Make, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    first, first_rows = make_result()
    save_result(run, first, first_rows)
    result, rows = make_result(step=311)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        if where == "write":
            patch.setattr(results, "_write_bytes", full)
        else:
            patch.setattr(os, where, full)
        with pytest.raises(NotSavedError, match="not saved"):
            save_result(run, result, rows)
    assert [r.step for r in ResultsFolder(run).poll()] == [310]
    for folder in results.scores_dirs(run):
        assert len(list(folder.glob("*"))) == (2 if folder.is_relative_to(run) else 0)
    answer = Finished({**result_to_json(result), "unsaved_rows": unsaved_rows(rows)})
    path = save_again(run, json.loads(json.dumps(answer.result)))
    assert [r.step for r in ResultsFolder(run).poll()] == [310, 311]
    assert read_rows(ResultsFolder(run).poll()[1]) == rows
    assert path.exists()


def test_a_file_system_without_hard_links_still_never_overwrites(
    run: Path, make_result: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    result, rows = make_result()
    first = save_result(run, result, rows)
    second = save_result(run, replace(result, d_acc=0.1), rows)
    assert first != second
    assert len(ResultsFolder(run).poll()) == 2


@pytest.mark.fault("O02")
def test_leftovers_of_a_crash_are_ignored_and_cleaned_after_an_age(run: Path, make_result: Make) -> None:
    result, rows = make_result()
    folder = save_result(run, result, rows).parent
    old, fresh = folder / ".writing-1-a.json", folder / ".writing-2-b.json"
    for path in (old, fresh):
        path.write_text('{"schema": 1, "d_')
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    reader = ResultsFolder(run)
    assert len(reader.poll()) == 1
    assert reader.notices == ()
    save_result(run, replace(result, step=311), rows)
    assert not old.exists()
    assert fresh.exists()


@pytest.mark.fault("O06")
def test_what_is_no_result_is_named_and_never_deleted(run: Path, make_result: Make) -> None:
    result, rows = make_result()
    folder = save_result(run, result, rows).parent
    good = json.loads(next(folder.glob("*.json")).read_text())
    bad = {
        "a-future.json": json.dumps({**good, "schema": 99}),
        "b-garbage.json": "\x00\xff{{{",
        "c-half.json": json.dumps(good)[:200],
        "d-empty.json": "",
        "e-list.json": "[1]",
        "f-types.json": json.dumps({**good, "d_acc": "high"}),
        "g-missing.json": json.dumps({k: v for k, v in good.items() if k != "pairs"}),
        "h-deep.json": "[" * 200_000,
        "i-recipe.json": json.dumps({**good, "recipe": {"pooling": "median"}}),
    }
    for name, text in bad.items():
        (folder / name).write_text(text)
    with (folder / "j-huge.json").open("wb") as file:
        file.truncate(1 << 30)
    os.mkfifo(folder / "k-pipe.json")
    (folder / "l-folder.json").mkdir()
    (folder / "m-dangling.json").symlink_to("/nowhere")
    reader = ResultsFolder(run)
    assert [r.step for r in reader.poll()] == [310]
    named = {Path(notice.split(": ")[0]).name[0] for notice in reader.notices}
    assert named == set("abcdefghijkl")
    assert all("\n" not in notice for notice in reader.notices)
    assert (folder / "b-garbage.json").exists()
    (folder / "c-half.json").write_text(json.dumps({**good, "step": 5}))  # a half file that is finished
    assert [r.step for r in reader.poll()] == [5, 310]


def test_polling_reads_only_what_is_new(run: Path, make_result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    result, rows = make_result()
    for step in range(5):
        save_result(run, replace(result, step=step), rows)
    reader = ResultsFolder(run)
    reader.poll()
    read: list[Path] = []
    inner = results._read_result
    monkeypatch.setattr(results, "_read_result", lambda path: (read.append(path), inner(path))[1])
    assert len(reader.poll()) == 5
    assert read == []
    save_result(run, replace(result, step=9), rows)
    read.clear()
    assert [r.step for r in reader.poll()] == [0, 1, 2, 3, 4, 9]
    assert len(read) == 1
    next(run.glob("critictui/scores/step-000003*.json")).unlink()
    assert [r.step for r in reader.poll()] == [0, 1, 2, 4, 9]


@pytest.mark.fault("C10")
def test_results_of_other_sets_or_recipes_are_other_series(make_result: Make) -> None:
    from critictui.scoring.recipe import Recipe

    base, _ = make_result()
    for change in ({"pooling": "last"}, {"eos": "include"}, {"dtype": "float32"}, {"max_response_tokens": 5}):
        assert make_result(recipe=Recipe(**change))[0].series != base.series  # type: ignore[arg-type]
    changed = replace(base, fixed_set=replace(base.fixed_set, sha256="ee" * 32))
    assert changed.series != base.series
    moved = replace(base, fixed_set=replace(base.fixed_set, path="/elsewhere"), device="cuda:0")
    assert moved.series == base.series


@pytest.mark.fault("C10")
def test_results_of_another_tokenizer_template_or_precision_are_another_series_of_another_name(
    make_result: Make,
) -> None:
    extra = {"tokenizer_sha256": "t", "template_sha256": "c"}
    base, _ = make_result(extra=extra)
    others = [make_result(extra=extra | {key: "other"})[0] for key in extra]
    others += [make_result(extra=extra, dtype="bfloat16")[0], make_result()[0]]
    assert len({r.series for r in (base, *others)}) == len({result_name(r) for r in (base, *others)}) == 5


def test_a_result_of_a_version_that_kept_no_hashes_is_read_and_joins_its_like(run: Path, make_result: Make) -> None:
    """Its name ends in the recipe alone."""
    folder = run / "critictui" / "scores"
    folder.mkdir(parents=True)
    for step in (10, 20):
        text = json.dumps(result_to_json(make_result(step=step)[0]))
        (folder / f"step-{step:06d}-ababababab-cdcdcdcdcd-2051f22d35.json").write_text(text)
    first, second = ResultsFolder(run).poll()
    assert first.series == second.series


def test_rows_that_are_missing_or_damaged_are_said(run: Path, make_result: Make) -> None:
    result, rows = make_result()
    with pytest.raises(ScoringError, match="not saved"):
        read_rows(result)
    save_result(run, result, rows)
    [found] = ResultsFolder(run).poll()
    assert found.path is not None
    parquet = found.path.with_suffix(".parquet")
    parquet.write_bytes(parquet.read_bytes()[:-20])
    with pytest.raises(ScoringError, match="cannot be read"):
        read_rows(found)
    parquet.unlink()
    with pytest.raises(ScoringError, match="cannot be read"):
        read_rows(found)


def test_text_that_no_file_can_hold_is_replaced(run: Path, make_result: Make) -> None:
    result, rows = make_result()
    odd = [replace(row, text="a\ud800b\x00\x1b[31m") for row in rows]
    path = save_result(run, replace(result, warnings=("\udcff",)), odd)
    [found] = ResultsFolder(run).poll()
    assert read_rows(found)[0].text == "a?b\x00\x1b[31m"
    assert result_from_json(json.loads(path.read_text())).warnings[0] == "?"
