"""Two files that log one metric: where they disagree that is said, what printing costs is no disagreement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from critictui.config import Config
from critictui.run.reader import RunReader
from critictui.run.source import Budget

WHOLE = Budget(bytes=1 << 30, seconds=60)


def row(step: int, **values: float) -> str:
    return json.dumps({"step": step, "data": {f"critic/{name}": value for name, value in values.items()}}) + "\n"


def line(step: int, **values: float | str) -> str:
    return f"step:{step}" + "".join(f" - critic/{name}:{value}" for name, value in values.items()) + "\n"


def said(folder: Path) -> list[str]:
    reader = RunReader(folder, Config())
    snapshot = reader.read_all()
    reader.close()
    return [notice for notice in snapshot.notices if "disagree" in notice]


def test_files_that_disagree_are_named_with_the_steps_and_with_what_is_shown(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("".join(line(k, d_acc=0.5625, lr=1e-5) for k in (1, 2, 3, 4)))
    (tmp_path / "x.jsonl").write_text("".join(row(k, d_acc=0.5 + k / 10, lr=1e-5) for k in (1, 2, 3)))
    assert said(tmp_path) == ["critic/d_acc: train.log and x.jsonl disagree at 3 of 3 steps; x.jsonl is shown"]


@pytest.mark.parametrize(
    ("value", "printed"),
    [(0.763412, "0.763"), (3970.123, "3.97e+03"), (1.2e-6, "0.000"), (float("nan"), "nan"), (float("inf"), "inf")],
)
def test_few_digits_are_no_disagreement(tmp_path: Path, value: float, printed: str) -> None:
    (tmp_path / "train.log").write_text("".join(line(k, d_acc=printed) for k in (1, 2, 3)))
    (tmp_path / "x.jsonl").write_text("".join(row(k, d_acc=value) for k in (1, 2, 3)))
    assert said(tmp_path) == []


@pytest.mark.parametrize("value", [float("nan"), 0.5])
def test_no_number_and_a_number_disagree(tmp_path: Path, value: float) -> None:
    (tmp_path / "train.log").write_text(line(1, d_acc="nan" if value == 0.5 else 0.5))
    (tmp_path / "x.jsonl").write_text(row(1, d_acc=value))
    assert len(said(tmp_path)) == 1


def test_as_both_grow_the_same_is_said_as_of_the_whole(tmp_path: Path) -> None:
    log, rows = tmp_path / "train.log", tmp_path / "x.jsonl"
    log.write_text(line(1, d_acc=0.7, score_diff=1.0))
    rows.write_text(row(1, d_acc=0.7, score_diff=1.0))
    reader = RunReader(tmp_path, Config())
    reader.poll(WHOLE)
    for k in range(2, 12):
        for path, text in (
            (log, line(k, d_acc=0.7, score_diff=9.0)),
            (rows, row(k, d_acc=0.7 + (k > 6), score_diff=1.0)),
        ):
            with path.open("a") as file:
                file.write(text)
            if k % 3:
                snapshot = reader.poll(WHOLE)
    snapshot = reader.poll(WHOLE)
    reader.close()
    now = [notice for notice in snapshot.notices if "disagree" in notice]
    assert now == said(tmp_path)
    assert "critic/score_diff: train.log and x.jsonl disagree at 10 of 11 steps" in now[0]
    assert now[0].endswith("so do they on critic/d_acc")


def test_a_log_that_saw_fewer_restarts_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("".join(line(k, d_acc=0.7) for k in range(1, 31)))
    again = [*range(1, 31), *range(10, 41)]
    (tmp_path / "x.jsonl").write_text("".join(row(k, d_acc=0.7 + 0.1 * (n > 29)) for n, k in enumerate(again)))
    assert said(tmp_path) == []
