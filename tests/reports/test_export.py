from __future__ import annotations

import csv
import io
import json
import math
import os
import struct
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from critictui.cli import cli
from critictui.reports.export import export
from critictui.run.source import RunError

REAL = Path(os.environ.get("CRITICTUI_DATA", "")) / "real"
needs_real_data = pytest.mark.skipif(
    not REAL.is_dir(), reason="CRITICTUI_DATA does not name the folder with the real runs"
)
Row = dict[str, object]


def rows_of(target: Path, *options: str) -> list[Row]:
    result = CliRunner().invoke(cli, ["export", str(target), *options], catch_exceptions=False)
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.split("\n")[:-1]]


def write_with_tensorboard(folder: Path, points: list[tuple[str, float, int]]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    for tag, value, step in points:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=summary))
    writer.close()


def test_every_scalar_is_a_row_with_the_columns_of_the_contract(tmp_path):
    points = [("critic/d_acc", 0.1, 1), ("b", math.nan, 2), ("b", math.inf, 3), ("b", -math.inf, 4)]
    write_with_tensorboard(tmp_path, points)
    rows = rows_of(tmp_path)
    name = next(tmp_path.iterdir()).name
    assert [list(row) for row in rows] == [["tag", "step", "wall_time", "value", "source", "session"]] * 4
    first = {"tag": "critic/d_acc", "step": 1, "wall_time": 1.7e9 + 1, "value": float(np.float32(0.1))}
    assert rows[0] == {**first, "source": name, "session": 0}
    assert [row["value"] for row in rows[1:]] == ["nan", "inf", "-inf"]


def test_superseded_and_double_points_are_exported_in_file_order(tmp_path):
    path = tmp_path / "metrics.jsonl"
    steps = [1, 2, 3, 3, 4, 5, 2, 3, 4, 5, 6]
    path.write_text("".join(json.dumps({"step": s, "data": {"critic/d_acc": k}}) + "\n" for k, s in enumerate(steps)))
    rows = rows_of(path)
    assert [row["step"] for row in rows] == steps
    assert [row["value"] for row in rows] == list(range(len(steps)))
    assert [row["session"] for row in rows] == [0] * 6 + [1] * 5


def test_csv_and_parquet_hold_what_jsonl_holds(tmp_path):
    import pyarrow.parquet as pq

    run = tmp_path / "run"
    run.mkdir()
    points = [("critic/d_acc", 0.1 * s, s) for s in range(50)] + [('t, "x"', math.nan, 3)]
    write_with_tensorboard(run, points)
    rows = rows_of(run)
    export(run, "csv", tmp_path / "x.csv")
    export(run, "parquet", tmp_path / "x.parquet")
    table = list(csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text())))
    assert [(r["tag"], int(r["step"]), float(r["wall_time"]), repr(float(r["value"])), r["source"]) for r in table] == [
        (r["tag"], r["step"], r["wall_time"], repr(float(r["value"])), r["source"]) for r in rows
    ]
    columns = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert [repr(c["value"]) for c in columns] == [repr(float(r["value"])) for r in rows]
    assert [(c["tag"], c["step"], c["session"]) for c in columns] == [(r["tag"], r["step"], r["session"]) for r in rows]


def test_a_directory_of_several_runs_is_refused_by_name(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_with_tensorboard(tmp_path / name, [("a", 1.0, 1)])
    with pytest.raises(RunError, match=r"2 runs.*(one.*two|two.*one)"):
        export(tmp_path, "jsonl", None)


def test_an_empty_directory_and_an_unwritable_output_are_refused_in_words(tmp_path):
    with pytest.raises(Exception, match="no event file"):
        export(tmp_path, "jsonl", None)
    write_with_tensorboard(tmp_path, [("a", 1.0, 1)])
    with pytest.raises(Exception, match="choose another place"):
        export(tmp_path, "csv", tmp_path / "missing" / "x.csv")
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_losses_are_told_on_stderr(tmp_path):
    write_with_tensorboard(tmp_path, [("a", float(s), s) for s in range(20)])
    path = next(tmp_path.iterdir())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    result = CliRunner().invoke(cli, ["export", str(tmp_path)])
    assert result.exit_code == 0
    assert "1 damaged place left out" in result.stderr
    assert len(result.stdout.split("\n")) == 20


@pytest.mark.torch
def test_everything_adds_hyper_parameters_text_and_histograms(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "run")) as writer:
        writer.add_scalar("critic/d_acc", 0.5, 1)
        writer.add_text("note", "hello", 1)
        writer.add_histogram("weights", np.array([1.0, 2.0, 2.5]), 2)
    rows = rows_of(tmp_path / "run", "--everything")
    assert [row.get("kind") for row in rows] == [None, "text", "histograms"]
    assert rows[1]["value"] == "hello"
    assert sum(rows[2]["counts"]) == 3
    export(tmp_path / "run", "csv", tmp_path / "x.csv", everything=True)
    assert sorted(p.name for p in tmp_path.glob("x*")) == ["x.csv", "x.histograms.csv", "x.text.csv"]


# The real files.


def event_files() -> list[Path]:
    return sorted(p for p in (REAL / "events").rglob("*tfevents*") if not p.name.endswith(".meta"))


def accumulated(path: Path) -> dict[str, list[tuple[int, float, bytes]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0}, purge_orphaned_data=False)
    accumulator.Reload()
    return {
        tag: [(e.step, e.wall_time, struct.pack("<f", e.value)) for e in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


@needs_real_data
@pytest.mark.parametrize(
    "path", event_files() if REAL.is_dir() else [], ids=lambda p: f"{p.parent.name[:20]}-{p.name[-24:]}"
)
def test_the_export_of_a_real_event_file_is_what_tensorboard_reads(path):
    """CRITICTUI_DATA. All tags, all steps, float32-equal; of a file cut short, what is whole."""
    ours: dict[str, list[tuple[int, float, bytes]]] = defaultdict(list)
    for row in rows_of(path):
        ours[row["tag"]].append((row["step"], row["wall_time"], struct.pack("<f", float(row["value"]))))
    theirs = accumulated(path)
    assert dict(ours) == theirs
    assert sum(map(len, ours.values())) == sum(map(len, theirs.values()))


@needs_real_data
def test_the_real_look_alike_is_refused_by_name():
    """CRITICTUI_DATA."""
    path = next((REAL / "events").rglob("*.meta"))
    result = CliRunner().invoke(cli, ["export", str(path)])
    assert result.exit_code != 0
    assert path.name in str(result.exception)


@needs_real_data
@pytest.mark.parametrize(
    "folder", sorted({p.parent for p in event_files()}) if REAL.is_dir() else [], ids=lambda p: p.name[-40:]
)
def test_the_export_of_a_real_directory_is_the_sum_of_its_files(folder):
    """CRITICTUI_DATA."""
    rows = rows_of(folder)
    files = [p for p in folder.iterdir() if "tfevents" in p.name and not p.name.endswith(".meta")]
    for path in files:
        mine = [(r["tag"], r["step"], r["value"]) for r in rows if r["source"].endswith(path.name)]
        assert mine == [(r["tag"], r["step"], r["value"]) for r in rows_of(path)]


def test_a_file_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    loop = tmp_path / "events.out.tfevents.1.host"
    loop.symlink_to(loop)
    with pytest.raises(RunError, match=r"no event file, log or JSONL of metrics in it \(.*events\.out\.tfevents"):
        export(tmp_path, "jsonl", tmp_path / "out.jsonl")
