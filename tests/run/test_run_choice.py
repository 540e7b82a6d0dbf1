"""Every command takes the same run where a path holds several."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from critictui.config import Config
from critictui.health.backtest import as_text, backtest
from critictui.monitor.check import check, render_check
from critictui.reports.export import export
from critictui.run.choice import choose, said_of_others
from critictui.run.facts import RunSnapshot
from critictui.run.grouping import FoundRun
from critictui.run.source import RunError

EVENTS = "events.out.tfevents.1700000000.host.1.0"


def run(path: Path, modified: float = 0.0) -> FoundRun:
    return FoundRun(path, path.name, (), modified)


@pytest.fixture
def nested(tmp_path: Path, wire) -> Path:
    """A run of four steps with a newer copy of its first two in a folder of its own."""
    for folder, steps, stamp in ((tmp_path, [1, 2, 3, 4], 1e9), (tmp_path / "snapshot", [1, 2], 2e9)):
        folder.mkdir(exist_ok=True)
        file = folder / EVENTS
        file.write_bytes(wire.version() + wire.steps("critic/d_acc", steps))
        os.utime(file, (stamp, stamp))
    return tmp_path


def test_the_runs_own_files_come_before_newer_ones_below() -> None:
    target = Path("/runs")
    own, old, new = run(target, 1.0), run(target / "old", 2.0), run(target / "new", 3.0)
    choice = choose(target, (new, own, old))
    assert choice.run is own
    assert choice.others == (new, old)
    assert "2 other runs lie below" in said_of_others(choice)
    assert "new, old" in said_of_others(choice)


def test_a_parent_of_several_means_none_of_them_and_the_only_run_is_meant_wherever_it_lies() -> None:
    target = Path("/runs")
    assert choose(target, (run(target / "a", 1.0), run(target / "b", 2.0))).run is None
    assert choose(target, (run(target / "a"),)).run == run(target / "a")
    assert choose(target, ()).run is None
    assert said_of_others(choose(target, (run(target / "a"),))) == ""


def test_check_export_backtest_and_a_plain_read_take_the_same_one(
    nested: Path, read: Callable[[Path], RunSnapshot], tmp_path_factory: pytest.TempPathFactory
) -> None:
    report = check(nested, Config())
    assert report["step"] == 4
    assert read(nested).step == 4
    past = backtest([nested], Config())
    assert past["runs"][0]["steps"] == 4  # type: ignore[index]
    assert "note: 1 other run lies below" in as_text(past)
    table = tmp_path_factory.mktemp("out") / "table.csv"
    assert any("1 other run" in notice for notice in export(nested, "csv", table).notices)
    assert len(table.read_text().splitlines()) == 5
    said = render_check(report)
    assert "1 other run lies below and is not in these numbers: snapshot" in said


def test_where_no_run_is_meant_the_error_names_the_newest(tmp_path: Path, wire) -> None:
    for k in range(7):
        file = tmp_path / f"run{k}" / EVENTS
        file.parent.mkdir()
        file.write_bytes(wire.version() + wire.steps("critic/d_acc", [1]))
        os.utime(file, (1e9 + k, 1e9 + k))
    with pytest.raises(RunError, match=r"holds 7 runs, none at the path itself.*run6.*run5.*run2 \.\.\.$"):
        check(tmp_path, Config())


def test_the_tree_of_a_real_run_with_a_snapshot_in_it_is_judged_by_its_own_files(real_data: Path) -> None:
    target = next(real_data.rglob("trtllm-qwen2-7b-tp4-8gpus"))
    assert check(target, Config())["step"] == 134
