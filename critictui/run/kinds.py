"""Which files hold metrics: a path and its first bytes go in, the kind of source, or why there is none, comes out."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from critictui.run.framing import HEADER, payload_length
from critictui.run.series import SourceKind
from critictui.run.source import RunError, Source

_HEAD = 1 << 16
_PLAUSIBLE = re.compile(
    r"tfevents|\.(?:log|txt|out|err|jsonl|ndjson)(?:\.\d{1,3})?$|^(?:trainer_state\.json|nohup.*|stdout|stderr)$"
)
_PRINTABLE = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]*")
_ARCHIVES = (b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"\x78\x9c", b"\x78\xda")


def plausible(name: str) -> bool:
    """Whether a file of this name can hold metrics; the others are not opened."""
    return _PLAUSIBLE.search(name) is not None


def kind_of(path: Path, *, named: bool = True) -> SourceKind | None:
    """The kind of source that a regular file is, by name and content, or None for a look-alike. Raises OSError.

    A git-lfs pointer, YAML or an archive with `tfevents` in its name is no event file; an empty file of that name is
    one that waits. With `named` false, the content alone counts: the user pointed at this very file.
    """
    head, tail, size = _ends(path)
    name = path.name
    if "tfevents" in name or (not named and _framed(head)):
        return "events" if size == 0 or _binary(head) else None
    from critictui.run import console, jsonl, trainer_state

    if trainer_state.looks_like(head, name):
        return "trainer-state"
    if jsonl.looks_like(head, name):
        return "jsonl"
    return "log" if console.looks_like(head, name) or (tail and console.looks_like(tail, name)) else None


def why_not(path: Path) -> str:
    """What a look-alike is instead, in words for a notice."""
    head, _, _ = _ends(path)
    if head.startswith(b"version https://git-lfs"):
        return "a git-lfs pointer: the file itself was not downloaded"
    return "an archive: unpack it" if head.startswith(_ARCHIVES) else "no event file"


def refuse_other_files(target: Path) -> None:
    """Raise RunError where `target` is a file that holds no metrics, or cannot be read.

    A directory passes, and so does an empty file: training may be about to begin.
    """
    remedy = "give a run directory, an event file, a log or JSONL of metrics"
    try:
        found = target.stat()
        if stat.S_ISDIR(found.st_mode):
            os.scandir(target).close()
            return
        if not stat.S_ISREG(found.st_mode):
            raise RunError(f"{target}: not a regular file; {remedy}")
        if found.st_size == 0 or kind_of(target, named=False) is not None:
            return
        what = why_not(target) if "tfevents" in target.name else "no metrics in it"
    except OSError as error:
        raise RunError(f"{target}: {error.strerror}; {remedy} that you may read") from None
    raise RunError(f"{target}: {what}; {remedy}")


def source_of(path: Path, name: str, kind: SourceKind) -> Source:
    """The reader for a file of a kind."""
    if kind == "events":
        from critictui.run.events import EventFile

        return EventFile(path, name)
    if kind == "jsonl":
        from critictui.run.jsonl import JsonLines

        return JsonLines(path, name)
    if kind == "trainer-state":
        from critictui.run.trainer_state import TrainerState

        return TrainerState(path, name)
    from critictui.run.console import ConsoleLog

    return ConsoleLog(path, name)


def _ends(path: Path) -> tuple[bytes, bytes, int]:
    """The first and the last 64 KiB, and the size; never waits for a writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return b"", b"", -1
        head = os.pread(descriptor, _HEAD, 0)
        tail = os.pread(descriptor, _HEAD, found.st_size - _HEAD) if found.st_size > 2 * _HEAD else b""
        return head, tail, found.st_size
    finally:
        os.close(descriptor)


def _framed(head: bytes) -> bool:
    return len(head) >= HEADER and payload_length(head[:HEADER]) is not None


def _binary(head: bytes) -> bool:
    """Whether this may be the beginning of an event file, whole, torn or damaged."""
    if _framed(head):
        return True
    if head.startswith(_ARCHIVES):
        return False
    start = head[:256]
    if len(start) < HEADER:
        return not start.strip() or b"\0" in start
    return _PRINTABLE.fullmatch(start) is None
