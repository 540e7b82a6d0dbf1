"""The monitor's small parts: the bell, the clock that may sleep, the guard, the events of a daemon."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from critictui.monitor import guard
from critictui.monitor.bell import Bell
from critictui.monitor.clock import AwakeClock
from critictui.monitor.guard import Guard
from critictui.run.mounts import Mount, mount_of, mounts

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


class Ringing:
    def __init__(self) -> None:
        self.event, self.count = threading.Event(), 0

    def __call__(self) -> None:
        self.count += 1
        self.event.set()


@linux
@pytest.mark.parametrize("change", ["append", "create", "rename", "delete"])
def test_the_bell_rings_at_every_kind_of_change(tmp_path: Path, change: str) -> None:
    file = tmp_path / "a"
    file.write_text("x")
    ringing = Ringing()
    bell = Bell(ringing)
    bell.arm([tmp_path])
    match change:
        case "append":
            file.write_text("xy")
        case "create":
            (tmp_path / "b").touch()
        case "rename":
            file.rename(tmp_path / "c")
        case "delete":
            file.unlink()
    assert ringing.event.wait(10)
    bell.close()


@linux
def test_a_burst_rings_once_until_it_is_armed_again(tmp_path: Path) -> None:
    ringing = Ringing()
    bell = Bell(ringing)
    bell.arm([tmp_path])
    with (tmp_path / "a").open("w") as file:
        for _ in range(500):
            file.write("x")
            file.flush()
    assert ringing.event.wait(10)
    ringing.event.clear()
    bell.arm([tmp_path])
    with (tmp_path / "a").open("a") as file:
        file.write("y")
    assert ringing.event.wait(10)
    assert ringing.count <= 3
    bell.close()


@pytest.mark.fault("F21")
def test_folders_on_a_network_are_polled_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critictui.run.mounts.is_remote", lambda path: True)
    bell = Bell(lambda: None)
    bell.arm([tmp_path])
    assert "network file system" in bell.notice
    assert bell._watcher is None


@linux
@pytest.mark.fault("F21")
def test_no_watches_left_is_a_notice_not_an_error(tmp_path: Path) -> None:
    """In a user namespace of its own, where the limit can really be zero."""
    code = (
        "import sys; from pathlib import Path; from critictui.monitor.bell import Bell\n"
        "open('/proc/sys/user/max_inotify_watches','w').write('0')\n"
        f"bell = Bell(lambda: None); bell.arm([Path({str(tmp_path)!r})]); print(bell.notice)"
    )
    try:
        found = subprocess.run(
            ["unshare", "-Ur", sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if found.returncode:
        pytest.skip(f"no user namespaces here: {found.stderr.strip()[-80:]}")
    assert "no inotify watches are left" in found.stdout


def test_mounts_are_read_with_their_escapes_and_the_longest_one_counts() -> None:
    text = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "30 22 0:40 / /data\\040set rw - nfs4 host:/x rw\n"
        "31 22 0:41 / /data\\040set/local rw shared:9 master:2 - xfs /dev/sdb rw\n"
        "32 22 0:42 / /home rw - fuse.sshfs a:b rw\nbroken line\n"
    )
    table = mounts(text)
    assert [m.kind for m in table] == ["ext4", "nfs4", "xfs", "fuse.sshfs"]
    for path, remote in {"/x": False, "/data set/run": True, "/data set/local/run": False, "/home/me": True}.items():
        mount = mount_of(Path(path), table)
        assert mount is not None
        assert mount.remote is remote
    assert mount_of(Path("/homework"), table) == Mount("/", "ext4")


class Clock:
    def __init__(self) -> None:
        self.wall, self.mono = 1e9, 50.0

    def pass_by(self, seconds: float, *, asleep: bool = False) -> None:
        self.wall += seconds
        self.mono += 0 if asleep else seconds


@pytest.mark.parametrize("asleep", [True, False], ids=["suspended", "stopped by a signal"])
def test_time_in_which_nobody_looked_is_not_silence(asleep: bool) -> None:
    time = Clock()
    clock = AwakeClock(lambda: time.wall, lambda: time.mono)
    time.pass_by(1)
    assert clock.now() == time.wall
    time.pass_by(8 * 3600, asleep=asleep)
    assert clock.now() == pytest.approx(time.wall - 8 * 3600)
    for _ in range(60):
        time.pass_by(5)
        clock.now()
    assert clock.now() == pytest.approx(time.wall - 8 * 3600)
    clock.something_changed()
    assert clock.now() == time.wall


def test_a_run_that_stays_silent_after_the_pause_is_found_out() -> None:
    time = Clock()
    clock = AwakeClock(lambda: time.wall, lambda: time.mono)
    time.pass_by(3600)
    clock.now()
    for _ in range(130):
        time.pass_by(5)
        clock.now()
    assert clock.now() == time.wall


def test_a_wall_clock_that_is_set_back_breaks_nothing() -> None:
    time = Clock()
    clock = AwakeClock(lambda: time.wall, lambda: time.mono)
    time.wall -= 86_400
    time.mono += 1
    assert clock.now() == time.wall


def test_a_part_that_failed_rests_and_then_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[0])
    watched, calls = Guard(), []

    def part() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no\x1b[2J")
        return 7

    assert watched.call("part", part, 0) == 0
    assert watched.call("part", part, 0) == 0
    assert len(calls) == 1
    assert "ValueError: no" in watched.notices[0]
    assert "\x1b" not in watched.notices[0]
    now[0] += 60
    assert watched.call("part", part, 0) == 7
    assert watched.notices == ()


@linux
def test_closing_gives_descriptors_and_the_thread_back(tmp_path: Path) -> None:
    before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208
    for _ in range(5):
        bell = Bell(lambda: None)
        bell.arm([tmp_path])
        bell.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert threading.active_count() == threads
