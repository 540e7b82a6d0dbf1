"""Tests for mutants that none of the others noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import gone, wait_until

from critictui.config import Config
from critictui.demo.tfrecord import scalar_record
from critictui.health.alert import Alert
from critictui.monitor.alarm_log import AlarmLog
from critictui.run.reader import RunReader

_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
time.sleep(600)
"""
_CHILD = """
import os, time
from critictui.worker.process import end_with
end_with(os.getppid())
open(os.environ["READY"], "w").close()
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_a_process_that_listens_to_nobody_ends_with_its_parent(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, _CHILD],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "READY": str(ready)},
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert wait_until(ready.exists)
        parent.kill()
        parent.wait()
        ended = wait_until(lambda: gone(child), 20)
        if not ended:
            os.kill(child, signal.SIGKILL)
        assert ended
    finally:
        parent.kill()
        parent.wait()
        if parent.stdout is not None:
            parent.stdout.close()


def test_of_files_with_other_prefixes_the_time_in_the_name_tells_the_order(tmp_path: Path) -> None:
    for name, steps, value in (
        ("z.tfevents.1700000000.h", range(12), 1.0),
        ("a.tfevents.1700000900.h", range(5, 20), 2.0),
    ):
        wall = float(name.split(".")[2])
        records = b"".join(scalar_record("a", value, step, wall + step) for step in steps)
        (tmp_path / name).write_bytes(records)
    reader = RunReader(tmp_path, Config())
    series = reader.read_all().series["a"]
    reader.close()
    assert series.value.tolist() == [1.0] * 5 + [2.0] * 15


def test_a_line_that_another_monitor_writes_between_our_look_and_our_write_is_not_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    alarm = Alert("drift", "warning", "firing", "m", 3, 5, None, 6, 0.1, 1.0, "it drifts", "look")
    ours, theirs = AlarmLog(tmp_path), AlarmLog(tmp_path)
    flush = ours.flush

    def too_late() -> None:
        theirs.record([alarm])
        flush()

    monkeypatch.setattr(ours, "flush", too_late)
    ours.record([alarm])
    assert len(ours.path.read_bytes().splitlines()) == 1
