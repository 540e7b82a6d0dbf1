"""The N-th fault, as SQLite tests it: one system call on one file fails, the first, the second, ... until none is left.

A command that reads once gives what it gives without the fault, or names the file. Short: a few N of each; the long
form (CRITICTUI_LONG=1) goes on until a run in which nothing was left to fail.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from event_bytes import Wire

LONG = bool(os.environ.get("CRITICTUI_LONG"))
WIRE = Wire()
EVENTS, LOG = "events.out.tfevents.1700000000.host.1.0", "train.log"
CALLS = "openat,read,pread64,fstat,newfstatat,statx,lseek"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    tags = ("critic/d_acc", "critic/score_diff")
    records = b"".join(WIRE.scalar(tag, step / 64, step, 1.7e9 + step) for step in range(1, 60) for tag in tags)
    (folder / EVENTS).write_bytes(WIRE.version() + records)
    lines = "".join(f"step:{step} - critic/d_acc:{step / 64} - extra/entropy:{step / 32}\n" for step in range(1, 60))
    (folder / LOG).write_text(lines)
    for name in (EVENTS, LOG):
        os.utime(folder / name, (1.7e9, 1.7e9))
    return folder


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}


def export(run: Path, tmp_path: Path, trace: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*(trace or []), sys.executable, "-c", "from critictui.cli import main; main()", "export", str(run)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment(tmp_path))


def points(text: str) -> set[tuple[str, int, str, str]]:
    rows = [json.loads(line) for line in text.splitlines()]
    return {(row["tag"], row["step"], str(row["value"]), row["source"]) for row in rows}


@pytest.mark.fault("F22")
@pytest.mark.parametrize("file", [EVENTS, LOG])
@pytest.mark.parametrize(("error", "step"), [("EIO", "+"), ("ESTALE", ""), ("EINTR", "")])
def test_a_read_that_fails_is_made_good_or_named(
    strace: str, run_dir: Path, tmp_path: Path, file: str, error: str, step: str
) -> None:
    clean = points(export(run_dir, tmp_path).stdout)
    assert len(clean) == 236
    log = tmp_path / "trace"
    several = range(1, 60) if LONG else ((2,) if step else (1, 3))
    for n in several:
        inject = f"inject={'pread64,read' if error == 'EINTR' else CALLS}:error={error}:when={n}{step}"
        done = export(run_dir, tmp_path, [strace, "-f", "-o", str(log), "-P", str(run_dir / file), "-e", inject])
        injected = "(INJECTED)" in log.read_text()
        found = points(done.stdout)
        assert found <= clean, "no invention"
        assert "Traceback" not in done.stderr
        if found != clean:
            assert file in done.stderr, f"{error} at call {n}: a loss, and nobody said so"
        if not step:
            assert found == clean, "a fault that passes costs nothing"
        if not injected:
            assert found == clean
            break


@pytest.mark.fault("F22")
def test_short_reads_are_read_on(strace: str, run_dir: Path, tmp_path: Path) -> None:
    """A read that gives fewer bytes than were asked for, at each call: what is missing is asked for again."""
    clean = points(export(run_dir, tmp_path).stdout)
    for n in range(1, 20) if LONG else (1, 2):
        # the kernel gives nothing at all to this call: the file seems to end at once
        inject = f"inject=pread64:retval=0:when={n}"
        done = export(run_dir, tmp_path, [strace, "-f", "-o", "/dev/null", "-P", str(run_dir / EVENTS), "-e", inject])
        found = points(done.stdout)
        assert found <= clean
        assert found == clean or EVENTS in done.stderr, f"the read number {n}"


_WATCHER = """
import sys, time, threading
from pathlib import Path
from critictui.config import Config
from critictui.monitor.monitor import Monitor
want, seconds = int(sys.argv[2]), float(sys.argv[3])
done, said = threading.Event(), []
def listen(snapshot):
    run = snapshot.main.run if snapshot.main else None
    if run is not None:
        said.extend(f.state for f in run.sources if f.state == "error")
        if run.step == want and not any(f.state == "error" for f in run.sources):
            done.set()
monitor = Monitor(Path(sys.argv[1]), Config(read_only=True), listen)
monitor.start()
arrived = done.wait(seconds)
monitor.stop()
print(int(arrived), len(said), time.process_time())
"""


def watch(run: Path, tmp_path: Path, trace: list[str], want: int, seconds: float) -> tuple[bool, int, float]:
    command = [*trace, sys.executable, "-c", _WATCHER, str(run), str(want), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True, env=environment(tmp_path))
    arrived, errors, spent = done.stdout.split()[-3:]
    return arrived == "1", int(errors), float(spent)


@pytest.mark.fault("F22")
@pytest.mark.parametrize("error", ["EIO", "ESTALE"])
def test_a_disk_that_fails_for_a_while_is_waited_for(strace: str, run_dir: Path, tmp_path: Path, error: str) -> None:
    inject = f"inject=pread64,read:error={error}:when=2..5"
    trace = [strace, "-f", "-o", "/dev/null", "-P", str(run_dir / EVENTS), "-e", inject]
    arrived, _, _ = watch(run_dir, tmp_path, trace, 59, 60.0)
    assert arrived


@pytest.mark.fault("F22")
def test_a_disk_that_never_answers_again_costs_no_cpu(strace: str, run_dir: Path, tmp_path: Path) -> None:
    trace = [strace, "-f", "-o", "/dev/null", "-e", "inject=pread64:error=EIO:when=3+", "-P", str(run_dir / EVENTS)]
    trace += ["-P", str(run_dir / LOG)]
    began = time.monotonic()
    arrived, errors, spent = watch(run_dir, tmp_path, trace, 59, 8.0)
    assert not arrived
    assert errors
    assert spent < 0.5 * (time.monotonic() - began), "it spins"


@pytest.mark.fault("F22")
def test_a_slow_disk_only_takes_longer(strace: str, run_dir: Path, tmp_path: Path) -> None:
    trace = [strace, "-f", "-o", "/dev/null", "-e", f"inject=pread64:delay_exit={2_000_000}:when=2..3"]
    arrived, errors, _ = watch(run_dir, tmp_path, [*trace, "-P", str(run_dir / EVENTS)], 59, 60.0)
    assert arrived
    assert not errors


def test_the_system_calls_that_are_failed_here_are_those_of_the_reader(
    strace: str, run_dir: Path, tmp_path: Path
) -> None:
    log = tmp_path / "trace"
    export(run_dir, tmp_path, [strace, "-f", "-o", str(log), "-P", str(run_dir / EVENTS)])
    names = set(re.findall(r"^\d+\s+(\w+)\(", log.read_text(), re.MULTILINE))
    assert "pread64" in names
    assert names <= {*CALLS.split(","), "close", "fcntl", "ioctl", "statfs", "stat", "readlink", "lstat", "readlinkat"}
