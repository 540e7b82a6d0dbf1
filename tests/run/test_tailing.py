"""Following a text file: rewritten bytes are noticed, errors pass, and nothing is read twice without need."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from critictui.run import followed
from critictui.run.source import Budget
from critictui.run.tailing import Lines, LineTail

AT_ONCE = Budget(1 << 20, 5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.log"
    path.write_bytes(b"".join(b"line %04d\n" % i for i in range(500)))
    os.utime(path, (1e9, 1e9))
    return path


def text(lines: Lines) -> bytes:
    return b"".join(block.data for block in lines.blocks)


def test_bytes_rewritten_in_place_are_noticed_though_size_and_end_are_the_same(
    file: Path,
) -> None:
    tail = LineTail(file)
    tail.poll(AT_ONCE)
    with file.open("r+b") as out:
        out.seek(100)
        out.write(b"LINE")
    os.utime(file, ns=(1, 1))
    lines = tail.poll(AT_ONCE)
    assert lines.touched == "reset"
    assert text(lines) == file.read_bytes()


def test_a_touch_alone_is_no_reset(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "_UNSETTLED", 0.0)
    tail = LineTail(file)
    tail.poll(AT_ONCE)
    for stamp in (1, 2):
        os.utime(file, ns=(stamp, stamp))
        assert (tail.poll(AT_ONCE).touched, text(tail.poll(AT_ONCE))) == ("changed", b"")
    assert tail.poll(AT_ONCE).touched == "same"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize("call", ["open", "pread", "fstat"])
def test_an_error_is_a_state_that_passes_and_loses_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    os.utime(file)
    tail = LineTail(file)
    if call != "open":
        first = text(tail.poll(AT_ONCE))
        file.write_bytes(file.read_bytes() + b"more\n")
    else:
        first = b""

    def broken(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(followed.os, call, broken)
        assert tail.poll(AT_ONCE).touched == "error"
        assert tail.facts("a.log", "log", 1, more=False).state == "error"
        assert os.strerror(number) in tail.facts("a.log", "log", 1, more=False).message
        assert tail.poll(AT_ONCE).touched == "error"
    tail._file._retry_at = 0.0
    assert first + text(tail.poll(AT_ONCE)) == file.read_bytes()
    assert tail.facts("a.log", "log", 1, more=False).state == "live"
    tail.close()


@pytest.mark.fault("F22")
def test_the_pauses_between_tries_stay_short(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(followed.time, "monotonic", lambda: now[0])
    tail = LineTail(file)

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(followed.os, "open", broken)
    for _ in range(20):
        now[0] = tail._file._retry_at
        tail.poll(AT_ONCE)
        assert 0 < tail._file._retry_at - now[0] <= 4.0


def test_an_idle_look_reads_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tail = LineTail(file)
    tail.poll(AT_ONCE)

    def forbidden(*_: object) -> bytes:
        raise AssertionError("an idle file was read")

    monkeypatch.setattr(followed.os, "pread", forbidden)
    assert tail.poll(AT_ONCE).touched == "same"


def test_what_is_no_regular_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.log")
    tail = LineTail(tmp_path / "pipe.log")
    assert tail.poll(AT_ONCE).touched == "error"
    assert "not a regular file" in tail.facts("pipe.log", "log", 0, more=False).message


@pytest.mark.fault("F24")
def test_on_a_network_file_system_the_size_is_not_believed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attributes that lag behind the data, as an NFS client's cache gives them."""
    monkeypatch.setattr(followed, "is_remote", lambda path: True)
    os.utime(file)
    tail = LineTail(file)
    tail.poll(AT_ONCE)
    old, real, known = file.stat(), Path.stat, os.fstat
    with file.open("ab") as out:
        out.write(b"more\n")
    monkeypatch.setattr(Path, "stat", lambda self, **kw: old if self == file else real(self, **kw))
    monkeypatch.setattr(followed.os, "fstat", lambda fd: old if known(fd).st_ino == old.st_ino else known(fd))
    assert text(tail.poll(AT_ONCE)) == b"more\n"


@pytest.mark.fault("F22")
def test_what_was_read_before_an_error_is_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"".join(b"line %07d\n" % i for i in range(300_000)))
    tail, real, calls = LineTail(path), os.pread, 0

    def failing(descriptor: int, size: int, offset: int) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size, offset)

    monkeypatch.setattr(followed.os, "pread", failing)
    whole = Budget(1 << 30, 60)
    first = tail.poll(whole)
    assert first.touched == "error"
    tail._file._retry_at = 0.0
    assert text(first) + text(tail.poll(whole)) == path.read_bytes()


@pytest.mark.fault("F22")
def test_a_reset_is_told_although_the_read_after_it_fails(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tail = LineTail(file)
    tail.poll(AT_ONCE)
    other = file.with_name("other")
    other.write_bytes(b"new\n")
    other.replace(file)

    def failing(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(followed.os, "pread", failing)
        assert tail.poll(AT_ONCE).touched == "reset"
    tail._file._retry_at = 0.0
    assert text(tail.poll(AT_ONCE)) == b"new\n"
