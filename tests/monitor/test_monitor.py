"""The monitor's thread: what is written arrives, what fails is said, and nothing it meets ends it."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from critictui.checkpoint import find
from critictui.checkpoint.checkpoint import Checkpoint
from critictui.config import Config
from critictui.health.alert import Alert, Judgement
from critictui.monitor import guard, side, watch
from critictui.monitor import monitor as monitor_module
from critictui.monitor.check import check
from critictui.monitor.inotify import Inotify
from critictui.monitor.monitor import Monitor

Write = Callable[..., None]


def test_what_was_there_and_what_is_written_later_arrives(watching: Any, run_dir: Path, write_steps: Write) -> None:
    write_steps(run_dir, 1, 20)
    _, listener = watching(run_dir)
    snapshot = listener.until_step(20)
    assert snapshot.main.run.metric("critic/d_acc") is not None
    for step in range(21, 26):
        write_steps(run_dir, step, step)
        listener.until_step(step)
    versions = [s.version for s in listener.snapshots]
    assert versions == sorted(set(versions))


@pytest.mark.fault("F21")
def test_without_inotify_the_poll_finds_it_and_that_is_said(
    watching: Any, run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Inotify, ring: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Inotify, "__init__", refuse)
    write_steps(run_dir, 1, 3)
    _, listener = watching(run_dir)
    listener.until_step(3)
    write_steps(run_dir, 4, 4)
    snapshot = listener.until_step(4)
    assert any("no inotify instances" in notice for notice in snapshot.notices)


@pytest.mark.fault("F21")
def test_a_bell_that_never_rings_costs_a_second_and_loses_nothing(
    watching: Any, run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inotify, "arm", lambda self, folders: None)
    write_steps(run_dir, 1, 3)
    _, listener = watching(run_dir)
    listener.until_step(3)
    write_steps(run_dir, 4, 4)
    began = time.monotonic()
    listener.until_step(4)
    assert time.monotonic() - began < 5


def test_at_rest_nothing_is_posted(
    watching: Any, run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "POLL", 0.01)
    write_steps(run_dir, 1, 50)
    monitor, listener = watching(run_dir)
    listener.until(lambda s: s.main is not None and s.main.run.step == 50 and s.main.judgement.waiting is not None)
    rounds, real, done = 0, monitor._round, threading.Event()
    posted: list[int] = []

    def counted() -> bool:
        nonlocal rounds
        rounds += 1
        if rounds == 20:  # whatever was still on its way has arrived
            posted.append(len(listener.snapshots))
        if rounds >= 120:
            done.set()
        return real()

    monkeypatch.setattr(monitor, "_round", counted)
    assert done.wait(30)
    assert len(listener.snapshots) - posted[0] <= 1


def test_a_run_that_begins_after_the_monitor_is_found(watching: Any, run_dir: Path, write_steps: Write) -> None:
    _, listener = watching(run_dir)
    listener.until(lambda s: s.main is not None and s.main.run.state == "empty")
    write_steps(run_dir, 1, 2)
    listener.until_step(2)


@pytest.mark.fault("F09")
def test_a_run_directory_that_is_deleted_and_made_again_goes_on(
    watching: Any, run_dir: Path, write_steps: Write
) -> None:
    write_steps(run_dir, 1, 5)
    _, listener = watching(run_dir)
    listener.until_step(5)
    shutil.rmtree(run_dir)
    listener.until(lambda s: s.main is not None and all(f.state == "gone" for f in s.main.run.sources))
    assert listener.last.main.run.step == 5
    run_dir.mkdir()
    write_steps(run_dir, 1, 9)
    listener.until_step(9)


def test_several_runs_are_listed_the_newest_is_shown_and_another_can_be_chosen(
    watching: Any, tmp_path: Path, write_steps: Write
) -> None:
    for number, name in enumerate(("alpha", "beta", "gamma")):
        (tmp_path / name).mkdir()
        write_steps(tmp_path / name, 1, 10 + number)
    monitor, listener = watching(tmp_path)
    listener.until(lambda s: [r.step for r in s.rows] == [10, 11, 12])
    assert listener.last.main is not None
    monitor.select(tmp_path / "alpha")
    listener.until(lambda s: s.main is not None and s.main.run.path.name == "alpha" and s.main.run.step == 10)
    monitor.overlay([tmp_path / "beta", tmp_path / "gamma"])
    listener.until(lambda s: [w.run.path.name for w in s.watched] == ["alpha", "beta", "gamma"])
    row = next(r for r in listener.last.rows if r.name == "beta")
    assert row.d_acc == pytest.approx(0.76, abs=0.03)
    monitor.overlay([])
    listener.until(lambda s: len(s.watched) == 1)


def test_the_paths_own_run_is_watched_however_new_another_one_below_it_is(
    watching: Any, run_dir: Path, write_steps: Write
) -> None:
    (run_dir / "older").mkdir()
    for folder, last, stamp in ((run_dir, 9, 1e9), (run_dir / "older", 4, 2e9)):
        write_steps(folder, 1, last)
        os.utime(folder / "train.log", (stamp, stamp))
    _, listener = watching(run_dir)
    snapshot = listener.until(lambda s: not s.scanning and s.main is not None and s.main.run.step is not None)
    assert [row.name for row in snapshot.rows] == ["older", "run"]
    assert snapshot.main.run.step == check(run_dir, Config())["step"] == 9
    assert any("1 other run lies below" in notice for notice in snapshot.main.run.notices)


def test_a_tree_is_searched_once_for_the_list_and_the_run(
    watching: Any, run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critictui.run import discovery

    listed: list[str] = []
    real = os.scandir

    def counted(path: Any) -> Any:
        listed.append(str(path))
        return real(path)

    for k in range(20):
        (run_dir / f"folder{k}").mkdir()
    write_steps(run_dir, 1, 5)
    monkeypatch.setattr(discovery, "os", SimpleNamespace(scandir=counted, path=os.path, DirEntry=os.DirEntry))
    _, listener = watching(run_dir)
    listener.until_step(5)
    assert listed.count(str(run_dir / "folder7")) == 1


def test_while_it_searches_and_has_found_nothing_it_says_how_far_it_is(
    watching: Any, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critictui.run.discovery import Scanner

    real = Scanner.step
    monkeypatch.setattr(Scanner, "step", lambda self, seconds: real(self, 0.0))
    for k in range(60):
        (run_dir / f"folder{k}").mkdir()
        for j in range(40):
            (run_dir / f"folder{k}" / f"{j}.bin").touch()
    _, listener = watching(run_dir)
    listener.until(lambda s: not s.scanning)
    assert len({s.scanned for s in listener.snapshots if s.scanning}) > 2


def alert(state: str = "firing") -> Alert:
    return Alert(
        "margin-collapse", "critical", state, "critic/score_diff", 3, 5, None, 6, 0.1, 1.0, "it fell", "look"  # type: ignore[arg-type]
    )  # fmt: skip


def test_alerts_are_acknowledged_and_snoozed_by_key(watching: Any, run_dir: Path, write_steps: Write) -> None:
    write_steps(run_dir, 1, 5)
    monitor, listener = watching(run_dir)
    listener.until_step(5)
    monitor.acknowledge("a")
    monitor.snooze("b", 0.3)
    listener.until(lambda s: s.main.acknowledged == {"a", "b"})
    listener.until(lambda s: s.main.acknowledged == {"a"})


@pytest.mark.parametrize("part", ["reader", "judge", "checkpoints", "results", "search", "alarm log"])
def test_a_part_that_fails_is_said_and_recovers(
    watching: Any, run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    from critictui.health.judge import Judge
    from critictui.monitor.alarm_log import AlarmLog
    from critictui.run.discovery import Scanner
    from critictui.run.reader import RunReader
    from critictui.scoring.results import ResultsFolder

    place, name = {
        "reader": (RunReader, "poll"),
        "judge": (Judge, "update"),
        "checkpoints": (find, "find_checkpoints"),
        "results": (ResultsFolder, "poll"),
        "search": (Scanner, "step"),
        "alarm log": (AlarmLog, "record"),
    }[part]
    monkeypatch.setattr(guard, "_PAUSE", 0.05)
    monkeypatch.setattr(side, "SCORES_EVERY", 0.05)
    monkeypatch.setattr(side, "CHECKPOINTS_EVERY", 0.05)
    write_steps(run_dir, 1, 5)
    _, listener = watching(run_dir)
    listener.until_step(5)
    real = getattr(place, name)

    def broken(*args: object, **kwargs: object) -> object:
        raise RuntimeError("\x1b[31mbroken on purpose")

    monkeypatch.setattr(place, name, broken)
    write_steps(run_dir, 6, 6)
    snapshot = listener.until(lambda s: any("broken on purpose" in notice for notice in s.notices))
    assert not any("\x1b" in notice for notice in snapshot.notices)
    monkeypatch.setattr(place, name, real)
    write_steps(run_dir, 7, 7)
    listener.until(lambda s: s.main.run.step == 7 and not any("broken" in notice for notice in s.notices))


def test_a_listener_that_raises_does_not_end_the_thread(
    run_dir: Path, write_steps: Write, watching: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_steps(run_dir, 1, 2)
    monkeypatch.setattr(guard, "_PAUSE", 0.05)
    calls: list[int] = []
    seen = threading.Event()

    def listen(snapshot: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("the screen is gone")
        seen.set()

    monitor = Monitor(run_dir, Config(), listen)
    watching.monitors.append(monitor)
    monitor.start()
    deadline = time.monotonic() + 30
    step = 3
    while not seen.wait(0.1) and time.monotonic() < deadline:
        write_steps(run_dir, step, step)
        step += 1
    assert seen.is_set()


def test_before_anybody_listens_the_newest_is_read_and_nothing_is_judged(
    run_dir: Path, write_steps: Write, watching: Any
) -> None:
    write_steps(run_dir, 1, 30)
    monitor, listener = watching.unheard(run_dir)
    assert monitor.first.main.run.step == 30
    assert not monitor.first.main.judgement.waiting
    monitor.tell(listener)
    listener.until(lambda snapshot: snapshot.main is not None and snapshot.main.judgement.waiting)
    assert listener.snapshots[0].main is not None
    assert listener.snapshots[0].main.run.step == 30
    write_steps(run_dir, 31, 31)
    listener.until_step(31)


def test_alerts_reach_the_snapshot_and_the_alarm_log(
    watching: Any, run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critictui.health.judge import Judge

    monkeypatch.setattr(Judge, "update", lambda *_: Judgement("critical", (alert(),)))
    write_steps(run_dir, 1, 6)
    _, listener = watching(run_dir)
    listener.until(lambda s: s.main is not None and s.main.judgement.verdict == "critical")
    assert "margin-collapse" in (run_dir / "critictui" / "alarms.jsonl").read_text()


def test_a_new_critical_alert_is_sent_and_an_old_run_sends_nothing(
    watching: Any, tmp_path: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critictui.health.judge import Judge

    monkeypatch.setattr(Judge, "update", lambda *_: Judgement("critical", (alert(),)))
    for name, age in (("old", 7200.0), ("new", 0.0)):
        folder, out = tmp_path / name, tmp_path / f"{name}.sent"
        folder.mkdir()
        write_steps(folder, 1, 6)
        stamp = time.time() - age
        os.utime(folder / "train.log", (stamp, stamp))
        _, listener = watching(folder, Config(notify={"command": f"sh -c 'cat > {out}.part && mv {out}.part {out}'"}))
        listener.until(lambda s: s.main is not None and s.main.judgement.verdict == "critical")
    for monitor in watching.monitors:
        monitor.stop()
    assert "margin-collapse" in (tmp_path / "new.sent").read_text()
    assert not (tmp_path / "old.sent").exists()


def test_scores_and_checkpoints_come_through_the_side_door(
    watching: Any, run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Checkpoint(run_dir / "global_step_5/critic", 5, "hf", "writing", "shard 1 of 2", 10, (), 0.0)
    monkeypatch.setattr(find, "find_checkpoints", lambda *_, **__: [found])
    write_steps(run_dir, 1, 6)
    _, listener = watching(run_dir)
    listener.until(lambda s: s.main is not None and s.main.checkpoints == (found,))


def test_read_only_writes_nothing_into_the_run(
    watching: Any, run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critictui.health.judge import Judge

    monkeypatch.setattr(Judge, "update", lambda *_: Judgement("critical", (alert(),)))
    write_steps(run_dir, 1, 6)
    _, listener = watching(run_dir, Config(read_only=True))
    listener.until(lambda s: s.main is not None and s.main.judgement.verdict == "critical")
    assert [p.name for p in run_dir.iterdir()] == ["train.log"]


def test_stop_ends_the_threads_and_gives_the_descriptors_back(run_dir: Path, write_steps: Write, watching: Any) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    write_steps(run_dir, 1, 6)
    before, threads = descriptors(), threading.active_count()
    for _ in range(3):
        monitor, listener = watching(run_dir)
        listener.until_step(6)
        monitor.stop()
    assert descriptors() <= before
    assert threading.active_count() <= threads


def test_orders_before_the_start_are_kept(watching: Any, tmp_path: Path, write_steps: Write) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_steps(tmp_path / name, 1, 3)
    _, listener = watching(tmp_path, prepare=lambda m: m.select(tmp_path / "a"))
    assert listener.until(lambda s: s.main is not None).main.run.path == tmp_path / "a"


def test_a_silence_that_only_grows_is_not_said_again_and_again(run_dir: Path, write_steps: Write) -> None:
    one = Judgement("warning", (alert(),))
    other = Judgement("warning", (Alert(**{**{f: getattr(alert(), f) for f in alert().__slots__}, "value": 9.0}),))
    assert watch._alike(one, other)
    assert not watch._alike(one, Judgement("warning", (alert("resolved"),)))
