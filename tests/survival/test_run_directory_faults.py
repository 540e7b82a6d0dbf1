"""A run directory as the world treats it: vast, deep, unmounted, without inotify, without descriptors."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from event_bytes import Wire, content_of, read_plainly
from processes import wait_until

from critictui.config import Config
from critictui.monitor.inotify import Inotify
from critictui.monitor.monitor import Monitor
from critictui.monitor.snapshot import Snapshot
from critictui.run.discovery import Scanner
from critictui.run.reader import RunReader
from critictui.run.source import Budget

LONG = bool(os.environ.get("CRITICTUI_LONG"))
WIRE = Wire()
EVENTS = "events.out.tfevents.1700000000.host.1.0"
WHOLE = Budget(bytes=1 << 30, seconds=60)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Path], list[Snapshot]]]:
    """Start a monitor on a path; its snapshots come into the list."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monitors: list[Monitor] = []

    def start(path: Path) -> list[Snapshot]:
        seen: list[Snapshot] = []
        monitor = Monitor(path, Config(read_only=True), seen.append)
        monitors.append(monitor)
        monitor.start()
        return seen

    yield start
    for monitor in monitors:
        monitor.stop()


def at_step(seen: list[Snapshot], step: int) -> bool:
    return bool(seen) and seen[-1].main is not None and seen[-1].main.run.step == step


def states(seen: list[Snapshot]) -> set[str]:
    return {f.state for f in seen[-1].main.run.sources} if seen and seen[-1].main is not None else set()


def write(path: Path, first: int, last: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as out:
        out.write(WIRE.steps("critic/d_acc", list(range(first, last + 1))))


@pytest.mark.fault("F09")
def test_a_disk_that_is_unmounted_keeps_its_curves_and_goes_on_when_it_returns(
    watch: Callable[[Path], list[Snapshot]], tmp_path: Path
) -> None:
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    kept.mkdir()

    def mount() -> None:
        done = subprocess.run(["mount", "--bind", str(kept), str(disk)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("nothing can be mounted here")

    write(kept / EVENTS, 1, 5)
    mount()
    try:
        seen = watch(disk)
        assert wait_until(lambda: at_step(seen, 5))
        # nothing is held open, so that it need not be forced
        assert wait_until(
            lambda: not subprocess.run(["umount", str(disk)], capture_output=True, check=False).returncode
        )
        assert wait_until(lambda: states(seen) == {"gone"})
        assert at_step(seen, 5), "the last data is kept"
        assert "gone since" in seen[-1].main.run.sources[0].message
        write(kept / EVENTS, 6, 8)
        mount()
        assert wait_until(lambda: at_step(seen, 8))
        assert states(seen) <= {"live", "filling"}
    finally:
        subprocess.run(["umount", "-l", str(disk)], capture_output=True, check=False)


@pytest.mark.fault("F09", "F21")
def test_a_directory_that_is_made_again_and_again_is_followed_and_nothing_piles_up(tmp_path: Path) -> None:
    target = tmp_path / "run"
    reader = RunReader(tmp_path, Config())
    for life in range(1, 12):
        write(target / "tb" / EVENTS, 1, life)
        reader._scanner._next_look = 0.0
        snapshot = reader.poll(WHOLE)
        assert content_of(snapshot) == content_of(read_plainly(tmp_path))
        shutil.rmtree(target)
        assert reader.poll(WHOLE).step == life
    assert len(reader._scanner._folders) <= 4
    reader.close()


@pytest.mark.fault("F09", "F20")
def test_directories_that_come_and_go_are_forgotten(tmp_path: Path) -> None:
    scanner = Scanner(tmp_path)
    for k in range(20):
        (tmp_path / f"tmp{k}" / "deeper").mkdir(parents=True)
        scanner._next_look = 0.0
        scanner.finish()
        shutil.rmtree(tmp_path / f"tmp{k}")
    scanner._next_look = 0.0
    scanner.finish()
    assert len(scanner._folders) == 1


@pytest.mark.fault("F20")
def test_a_hundred_thousand_runs_are_found_in_slices_within_bounded_memory(tmp_path: Path) -> None:
    """Short: far fewer. The bound is per directory, so that it holds for any number of them."""
    many = 100_000 if LONG else 500
    data = WIRE.version()
    for k in range(many):
        folder = tmp_path / f"group{k // 1000}" / f"run{k}"
        folder.mkdir(parents=True)
        (folder / EVENTS).write_bytes(data)
    scanner = Scanner(tmp_path)
    tracemalloc.start()
    longest, found_early = 0.0, False
    more = True
    while more:
        began = time.thread_time()
        more = scanner.step(0.005)
        longest = max(longest, time.thread_time() - began)
        found_early |= 0 < len(scanner.runs) < many
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(scanner.runs) == many
    assert found_early, "the first are shown while the rest is sought"
    assert used < 5_000 * many
    assert longest < (5.0 if LONG else 0.5)


@pytest.mark.fault("F20")
def test_a_tree_two_hundred_deep_with_many_files_is_searched(tmp_path: Path) -> None:
    folder = tmp_path
    for level in range(200):
        folder = folder / f"d{level}"
        folder.mkdir()
        for k in range(5000 if LONG else 20):
            (folder / f"{k}.bin").touch()
    write(folder / EVENTS, 1, 3)
    snapshot = read_plainly(tmp_path)
    assert snapshot.step == 3


@pytest.mark.fault("F20")
def test_a_path_longer_than_the_system_allows_is_passed_over_and_named(tmp_path: Path) -> None:
    write(tmp_path / EVENTS, 1, 3)
    made = subprocess.run(
        ["sh", "-c", 'name=$(printf "%0200d" 0); for i in $(seq 30); do mkdir $name && cd -P ./$name || exit 1; done'],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("this system makes no such path")
    try:
        snapshot = read_plainly(tmp_path)
        assert snapshot.step == 3
        assert any("too long" in notice for notice in snapshot.notices)
    finally:
        subprocess.run(["sh", "-c", "rm -rf 0*"], cwd=tmp_path, check=False)


@pytest.mark.fault("F22", "F23")
@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ESTALE])
def test_a_file_that_could_not_be_looked_at_once_is_found_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write(tmp_path / EVENTS, 1, 3)
    reader = RunReader(tmp_path, Config())
    real = os.open

    def failing(path: object, *rest: object, **more: object) -> int:
        if str(path).endswith(EVENTS):
            raise OSError(number, os.strerror(number))
        return real(path, *rest, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        snapshot = reader.poll(WHOLE)
        assert snapshot.step is None
        assert any(EVENTS in notice for notice in snapshot.notices)
    reader._scanner._next_look = 0.0
    snapshot = reader.poll(WHOLE)
    assert snapshot.step == 3
    assert snapshot.notices == ()
    reader.close()


def in_namespace(code: str, *arguments: str) -> str:
    """What a program prints as root of a user namespace of its own, where limits can be set."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    if subprocess.run([unshare, "-Ur", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    done = subprocess.run(
        [unshare, "-Ur", sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_WITHOUT = """
import sys, time
from pathlib import Path
Path("/proc/sys/user/" + sys.argv[1]).write_text("0")
from critictui.config import Config
from critictui.monitor.monitor import Monitor
seen = []
monitor = Monitor(Path(sys.argv[2]), Config(read_only=True), seen.append)
monitor.start()
def at(step):
    end = time.monotonic() + 60
    while not (seen and seen[-1].main and seen[-1].main.run.step == step):
        assert time.monotonic() < end
        time.sleep(0.02)
at(3)
with open(sys.argv[3], "ab") as out:
    out.write(Path(sys.argv[4]).read_bytes())
at(5)
monitor.stop()
print([n for n in seen[-1].notices if "inotify" in n])
"""


@pytest.mark.fault("F21")
@pytest.mark.parametrize(
    ("limit", "said"), [("max_inotify_watches", "watches are left"), ("max_inotify_instances", "instances are left")]
)
def test_without_inotify_the_same_data_comes_by_polling(tmp_path: Path, limit: str, said: str) -> None:
    run = tmp_path / "run"
    write(run / EVENTS, 1, 3)
    later = tmp_path / "later"
    write(later, 4, 5)
    assert said in in_namespace(_WITHOUT, limit, str(run), str(run / EVENTS), str(later))


@pytest.mark.fault("F21")
def test_a_queue_that_overflows_rings_the_bell(tmp_path: Path) -> None:
    """What the kernel dropped is not known, so everything is looked at."""
    import struct

    from critictui.monitor import inotify

    assert inotify._means_something(struct.pack("iIII", -1, 0x4000, 0, 0))
    assert not inotify._means_something(struct.pack("iIII", 1, 0x8000, 0, 0))


@pytest.mark.fault("F21")
def test_a_monitor_that_was_stopped_while_thousands_of_files_came_sees_the_last_step(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run / EVENTS, 1, 3)
    code = (
        "import sys,time; from pathlib import Path; from critictui.config import Config\n"
        "from critictui.monitor.monitor import Monitor\n"
        "def heard(s):\n    print(s.main.run.step if s.main else None, flush=True)\n"
        "m = Monitor(Path(sys.argv[1]), Config(read_only=True), heard); m.start(); time.sleep(120)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(run)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            pipe = process.stdout.fileno()
            os.set_blocking(pipe, False)
            said = b""

            def has_said(step: str) -> bool:
                nonlocal said
                with contextlib.suppress(BlockingIOError):
                    said += os.read(pipe, 1 << 16)
                return step in said.decode().split()

            assert wait_until(lambda: has_said("3"))
            process.send_signal(signal.SIGSTOP)
            for k in range(40_000 if LONG else 500):  # the queue holds 16,384
                os.close(os.open(run / f"{k}.tmp", os.O_CREAT | os.O_WRONLY))
            write(run / EVENTS, 4, 9)
            process.send_signal(signal.SIGCONT)
            assert wait_until(lambda: has_said("9"))
        finally:
            process.kill()


@pytest.mark.fault("F23")
def test_a_monitor_with_thirty_two_descriptors_reads_a_run_of_a_hundred_live_files(tmp_path: Path) -> None:
    """Nothing is held open between looks; discovery, reading and the bell make do with what there is."""
    for k in range(100):
        name = f"events.out.tfevents.{1_700_000_000 + k}.host.1.0"
        (tmp_path / name).write_bytes(WIRE.steps("a", [2 * k, 2 * k + 1], 1e9 + 100 * k))
    code = (
        "import os,sys,time; from pathlib import Path; from critictui.config import Config\n"
        "from critictui.monitor.monitor import Monitor\n"
        "seen = []; most = 0\n"
        "m = Monitor(Path(sys.argv[1]), Config(read_only=True), seen.append); m.start()\n"
        "end = time.monotonic() + 60\n"
        "while time.monotonic() < end and not (seen and seen[-1].main and seen[-1].main.run.step == 199):\n"
        "    most = max(most, len(os.listdir('/proc/self/fd'))); time.sleep(0.01)\n"
        "run = seen[-1].main.run\n"
        "print(run.step, len(run.series['a']), sum(f.state == 'error' for f in run.sources), most); m.stop()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    step, points, errors, most = map(int, done.stdout.split())
    assert (step, points, errors) == (199, 200, 0)
    assert most < 20


@pytest.mark.fault("F23")
def test_a_full_disk_stops_no_reading(small_disk: Path, watch: Callable[[Path], list[Snapshot]]) -> None:
    write(small_disk / EVENTS, 1, 3)
    with (small_disk / "filler").open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while out.write(bytes(4096)):
            pass
    assert os.statvfs(small_disk).f_bavail == 0
    seen = watch(small_disk)
    assert wait_until(lambda: at_step(seen, 3))
    os.truncate(small_disk / "filler", 64 << 10)
    write(small_disk / EVENTS, 4, 6)
    assert wait_until(lambda: at_step(seen, 6))


@pytest.mark.fault("F23")
def test_reading_a_run_over_and_over_leaks_no_descriptor(tmp_path: Path) -> None:
    write(tmp_path / EVENTS, 1, 50)
    (tmp_path / "train.log").write_text("step:1 - critic/d_acc:0.5\n")
    before = descriptors()
    for k in range(20):
        reader = RunReader(tmp_path, Config())
        reader.read_all()
        write(tmp_path / EVENTS, 51 + k, 51 + k)
        reader.poll(WHOLE)
        assert descriptors() == before, "nothing is open between polls"


@pytest.mark.fault("F23")
def test_an_inotify_that_gets_no_pipe_gives_its_descriptor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(flags: int) -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    before = descriptors()
    monkeypatch.setattr(os, "pipe2", refuse)
    with pytest.raises(OSError, match="Too many"):
        Inotify(lambda: None)
    assert descriptors() == before
