"""The alarm log: one line a change, across restarts and monitors, and never lost to a full disk."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from critictui.health.alert import Alert
from critictui.monitor import alarm_log
from critictui.monitor.alarm_log import AlarmLog


def alert(number: int, state: str = "firing", value: float = 0.1) -> Alert:
    return Alert(
        "drift", "warning", state, f"m/{number}", 3, 5, None, 6, value, 1.0, "it drifts \u2028\ud800", "look"  # type: ignore[arg-type]
    )  # fmt: skip


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.mark.fault("S12")
def test_each_change_is_one_line(tmp_path: Path) -> None:
    log = AlarmLog(tmp_path)
    assert len(log.record([alert(1), alert(2, "pending")])) == 1
    assert log.record([alert(1)]) == []
    assert [a.state for a in log.record([alert(1, "resolved")])] == ["resolved"]
    found = lines(tmp_path / "critictui" / "alarms.jsonl")
    assert [(x["key"], x["state"]) for x in found] == [(alert(1).key, "firing"), (alert(1).key, "resolved")]
    assert found[0]["rule"] == "drift"
    assert found[0]["advice"] == "look"


@pytest.mark.fault("S12")
def test_a_second_monitor_and_a_restart_add_nothing(tmp_path: Path) -> None:
    first, second = AlarmLog(tmp_path), AlarmLog(tmp_path)
    assert first.record([alert(1)])
    assert second.record([alert(1), alert(2)]) == [alert(2)]
    assert first.record([alert(1), alert(2)]) == []
    assert AlarmLog(tmp_path).record([alert(1), alert(2)]) == []
    assert len(lines(first.path)) == 2


def _record(folder: str, home: str) -> None:
    os.environ["XDG_STATE_HOME"] = home
    log = AlarmLog(Path(folder))
    for number in range(60):
        log.record([alert(n) for n in range(number + 1)])


@pytest.mark.fault("O01")
def test_two_processes_at_once_neither_double_nor_lose_a_line(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_record, args=(str(tmp_path), str(tmp_path / "s"))) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    keys = [line["key"] for line in lines(tmp_path / "critictui" / "alarms.jsonl")]
    assert sorted(keys) == sorted({alert(n).key for n in range(60)})


@pytest.mark.fault("O03")
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AlarmLog(tmp_path)
    log.record([alert(1)])
    whole = log.path.read_bytes()
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) > 40:
            return real(descriptor, data[:40])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(alarm_log.os, "write", half)
    assert log.record([alert(2)]) == [alert(2)]
    assert "No space left" in log.notice
    assert log.path.read_bytes().startswith(whole)
    monkeypatch.setattr(alarm_log.os, "write", real)
    monkeypatch.setattr(log, "_retry_at", 0.0)
    log.flush()
    assert log.notice == ""
    assert [x["key"] for x in lines(log.path)] == [alert(1).key, alert(2).key]


def test_after_a_failure_it_waits_before_it_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AlarmLog(tmp_path)
    tries: list[int] = []

    def full(descriptor: int, data: bytes) -> int:
        tries.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(alarm_log.os, "write", full)
    log.record([alert(1)])
    for number in range(2, 20):
        log.record([alert(number)])
    assert len(tries) == 1
    assert "19 lines" in log.notice


@pytest.mark.fault("O04")
def test_a_run_that_cannot_be_written_in_gets_its_log_in_the_state_directory(tmp_path: Path, state_home: Path) -> None:
    (tmp_path / "critictui").write_text("a file where the folder should be")
    log = AlarmLog(tmp_path)
    assert log.record([alert(1)])
    assert log.path.is_relative_to(state_home)
    assert len(lines(log.path)) == 1
    assert AlarmLog(tmp_path).record([alert(1)]) == []


@pytest.mark.fault("O04")
def test_a_run_whose_mode_forbids_writing_is_left_alone_by_root_too(tmp_path: Path, state_home: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o555)
    log = AlarmLog(folder)
    log.record([alert(1)])
    assert list(folder.iterdir()) == []
    assert log.path.is_relative_to(state_home)


def test_read_only_goes_there_at_once(tmp_path: Path, state_home: Path) -> None:
    log = AlarmLog(tmp_path, read_only=True)
    log.record([alert(1)])
    assert log.path.is_relative_to(state_home)
    assert not (tmp_path / "critictui").exists()


@pytest.mark.fault("O02")
def test_a_half_line_that_a_crash_left_is_closed_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "critictui" / "alarms.jsonl"
    path.parent.mkdir()
    path.write_text('garbage\n[1]\n{"key": 1}\n{"key": "0:dr')
    log = AlarmLog(tmp_path)
    log.record([alert(1)])
    assert json.loads(path.read_bytes().split(b"\n")[-2])["key"] == alert(1).key


def test_numbers_that_json_cannot_hold_are_text(tmp_path: Path) -> None:
    log = AlarmLog(tmp_path)
    log.record([alert(1, value=float("nan"))])
    assert lines(log.path)[0]["value"] == "nan"


def test_an_alert_that_becomes_critical_while_it_fires_is_logged_again(tmp_path):
    log = AlarmLog(tmp_path)
    first = Alert(
        rule="decline", severity="warning", state="firing", metric="critic/d_acc", since_step=5, fired_step=9,
        resolved_step=None, step=9, value=0.6, threshold=0.7, message="it declines", advice="look",
    )  # fmt: skip
    worse = replace(first, severity="critical", step=14)
    assert log.record([first]) == [first]
    assert log.record([first, worse]) == [worse]
    assert AlarmLog(tmp_path).record([first, worse]) == []
    written = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [line["severity"] for line in written] == ["warning", "critical"]


def test_what_was_acknowledged_stays_so_after_a_restart_and_for_other_monitors(tmp_path: Path) -> None:
    there_before, log = AlarmLog(tmp_path), AlarmLog(tmp_path)
    alerts = [alert(1), alert(2)]
    assert log.record(alerts)
    assert there_before.acknowledged(alerts) == frozenset()
    log.acknowledge(alert(1).key, "warning")
    for one in (log, there_before, AlarmLog(tmp_path)):
        assert one.acknowledged(alerts) == {alert(1).key}
    assert [path.name for path in tmp_path.rglob("*")] == ["critictui", "alarms.jsonl"]
    written = lines(log.path)[-1]
    assert (written["key"], written["state"], written["severity"]) == (alert(1).key, "acknowledged", "warning")


def test_an_alert_that_has_grown_worse_is_not_acknowledged_any_more(tmp_path: Path) -> None:
    AlarmLog(tmp_path).acknowledge(alert(1).key, "warning")
    log = AlarmLog(tmp_path)
    assert log.acknowledged([alert(1)]) == {alert(1).key}
    worse = replace(alert(1), severity="critical")
    assert log.acknowledged([worse]) == frozenset()
    log.acknowledge(worse.key, worse.severity)
    assert AlarmLog(tmp_path).acknowledged([worse]) == {worse.key}


def test_a_snooze_ends_when_it_is_over_also_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(alarm_log.time, "time", lambda: now[0])
    AlarmLog(tmp_path).acknowledge(alert(1).key, "warning", 3600.0)
    log = AlarmLog(tmp_path)
    for moment, quiet in ((1000.0, True), (4599.0, True), (4601.0, False), (-3000.0, False)):
        now[0] = moment
        assert (log.acknowledged([alert(1)]) == {alert(1).key}) is quiet, moment
    now[0] = 5000.0
    log.acknowledge(alert(1).key, "warning", 3600.0)
    quiet = log.acknowledged([alert(1)])
    assert AlarmLog(tmp_path).acknowledged([alert(1)]) == quiet == {alert(1).key}
    assert log.snoozed(quiet) == {alert(1).key: 8600.0}
    assert len(lines(log.path)) == 2


def test_the_last_key_press_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(alarm_log.time, "time", lambda: now[0])
    log = AlarmLog(tmp_path)
    log.acknowledge(alert(1).key, "warning")
    now[0] = 1001.0
    log.acknowledge(alert(1).key, "warning", 60.0)
    now[0] = 2000.0
    assert log.acknowledged([alert(1)]) == AlarmLog(tmp_path).acknowledged([alert(1)]) == frozenset()


def test_a_read_only_run_keeps_what_was_acknowledged_elsewhere(tmp_path: Path, state_home: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    AlarmLog(run, read_only=True).acknowledge(alert(1).key, "warning")
    assert list(run.iterdir()) == []
    log = AlarmLog(run, read_only=True)
    assert log.acknowledged([alert(1)]) == {alert(1).key}
    assert log.path.is_relative_to(state_home)


def test_an_acknowledgement_that_a_full_disk_did_not_take_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AlarmLog(tmp_path)
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(alarm_log.os, "write", full)
    log.acknowledge(alert(1).key, "warning")
    assert log.acknowledged([alert(1)]) == {alert(1).key}
    assert "1 line" in log.notice
    monkeypatch.setattr(alarm_log.os, "write", real)
    monkeypatch.setattr(log, "_retry_at", 0.0)
    log.flush()
    assert AlarmLog(tmp_path).acknowledged([alert(1)]) == {alert(1).key}


@pytest.mark.parametrize(
    "line",
    [
        {"state": "acknowledged"},
        {"state": "acknowledged", "time": True},
        {"state": "snoozed", "time": 10.0},
        {"state": "snoozed", "time": 10.0, "seconds": -5},
        {"state": "snoozed", "time": 10.0, "seconds": "long"},
        {"state": "snoozed", "time": 1e300, "seconds": 1e300},
        {"state": "firing", "time": 10.0},
    ],
)
def test_a_line_that_is_no_acknowledgement_makes_nothing_quiet(tmp_path: Path, line: dict[str, object]) -> None:
    path = tmp_path / "critictui" / "alarms.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps({"key": alert(1).key, "severity": "critical", **line}) + "\n")
    assert AlarmLog(tmp_path).acknowledged([alert(1)]) == frozenset()


def test_a_monitor_that_is_started_again_knows_what_was_acknowledged(
    watching: Any, run_dir: Path, write_steps: Callable[..., None]
) -> None:
    write_steps(run_dir, 1, 80)
    write_steps(run_dir, 81, 100, margin=0.0)
    first, listener = watching(run_dir)
    key = listener.until(lambda s: s.main is not None and s.main.judgement.alerts).main.judgement.alerts[0].key
    first.acknowledge(key)
    listener.until(lambda s: s.main.acknowledged == {key})
    first.stop()
    _, again = watching(run_dir)
    assert again.until(lambda s: s.main is not None and s.main.judgement.alerts).main.acknowledged == {key}
