"""The run list says of every run what opening it would say, or that it does not know yet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from event_bytes import Wire

from critictui.config import Config
from critictui.health.judge import judge_all
from critictui.monitor import rows, sliced
from critictui.monitor.check import check
from critictui.monitor.rows import RowReader
from critictui.monitor.snapshot import RunRow
from critictui.run.discovery import Scanner
from critictui.run.facts import RunSnapshot
from critictui.run.reader import RunReader
from critictui.run.source import Budget

Write = Callable[..., None]
EVENTS = "events.out.tfevents.1700000000.host.1.0"


@pytest.fixture(autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setattr(rows, "_REST", 0.0)
    monkeypatch.setattr(rows, "_REST_OF_JUDGES", 0.0)


def found_by(target: Path) -> tuple[Scanner, RowReader]:
    scanner, reader = Scanner(target), RowReader(Config())
    scanner.finish()
    reader.found(scanner.runs)
    return scanner, reader


def work_off(reader: RowReader) -> dict[str, RunRow]:
    while reader.wait <= 0:
        reader.step(())
    return {row.name: row for row in reader.rows({})}


def test_a_run_that_nobody_opened_has_the_verdict_that_check_gives(
    tmp_path: Path, recorded_run: Callable[..., Path]
) -> None:
    parent = tmp_path / "runs"
    parent.mkdir()
    for scenario in ("healthy", "collapse", "memorise"):
        recorded_run(scenario).rename(parent / scenario)
    listed = work_off(found_by(parent)[1])
    assert {name: row.verdict for name, row in listed.items()} == {
        name: check(parent / name, Config())["verdict"] for name in listed
    }
    assert {row.verdict for row in listed.values()} == {"healthy", "critical", "warning"}


def test_before_it_was_read_a_row_says_neither_a_state_nor_a_verdict(tmp_path: Path, write_steps: Write) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_steps(tmp_path / name, 1, 3)
    _, reader = found_by(tmp_path)
    assert [(row.read, row.verdict, row.step) for row in reader.rows({})] == [(False, "", None)] * 2


def test_a_row_of_which_half_was_read_is_not_taken_for_the_whole(
    tmp_path: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sliced, "_LOOK", Budget(bytes=64 << 10, seconds=0.001))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_steps(tmp_path / name, 1, 12_000)
    _, reader = found_by(tmp_path)
    reader.step(())
    assert {(row.read, row.step) for row in reader.rows({})} == {(False, None)}
    assert {(row.read, row.step) for row in work_off(reader).values()} == {(True, 12_000)}


def test_a_run_that_grows_unwatched_is_looked_at_again(
    tmp_path: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_steps(tmp_path / name, 1, 3)
        os.utime(tmp_path / name / "train.log", (1e9, 1e9))
    _, reader = found_by(tmp_path)
    assert work_off(reader)["a"].step == 3
    write_steps(tmp_path / "a", 4, 7)
    monkeypatch.setattr(reader, "_again_at", 0.0)
    listed = work_off(reader)
    assert (listed["a"].step, listed["b"].step) == (7, 3)
    assert listed["a"].state == "running"


@pytest.mark.parametrize("scenario", ["healthy", "collapse", "restart", "nan"])
def test_judged_in_slices_a_run_is_judged_as_in_one_go(
    recorded_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, scenario: str
) -> None:
    monkeypatch.setattr(sliced, "_STEPS", 7)
    scanner = Scanner(recorded_run(scenario))
    scanner.finish()
    slices = list(sliced.judged_in_slices(scanner.runs[0], Config()))
    reader = RunReader(scanner.runs[0].path, Config())
    whole: RunSnapshot = reader.read_all()
    reader.close()
    assert len(slices) > 20
    assert slices[-1] == replace(judge_all(whole, Config()), alerts=slices[-1].alerts)
    assert _alerts(slices[-1]) == _alerts(judge_all(whole, Config()))


def _alerts(judgement: Any) -> list[str]:
    return [repr(alert) for alert in judgement.alerts if alert.rule != "stalled"]


def test_a_run_that_is_seen_to_grow_is_live_whatever_its_stamps_say(tmp_path: Path) -> None:
    wire = Wire()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / EVENTS).write_bytes(wire.steps("critic/d_acc", [1, 2, 3], 1.5e9))
        os.utime(tmp_path / name / EVENTS, (2e9 - 1e8, time.time() - 30))
    scanner, reader = found_by(tmp_path)
    listed = work_off(reader)
    assert [listed[name].state for name in ("a", "b")] == ["finished", "finished"]
    assert listed["a"].modified == pytest.approx(1.5e9, abs=10)
    with (tmp_path / "a" / EVENTS).open("ab") as out:
        out.write(wire.scalar("critic/d_acc", 0.5, 4, 1.5e9))
    scanner = Scanner(tmp_path)
    scanner.finish()
    reader.found(scanner.runs)
    listed = work_off(reader)
    assert [listed[name].state for name in ("a", "b")] == ["running", "finished"]
