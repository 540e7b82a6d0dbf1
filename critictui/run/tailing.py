"""A text file as it grows: appended bytes in, blocks of complete lines out; of a large file the end comes first."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from critictui.run.facts import SourceFacts
from critictui.run.mounts import is_remote
from critictui.run.series import SourceKind
from critictui.run.source import Budget

CHUNK = 1 << 20
LINE_CAP = 64 << 10
"""Bytes of one line that are kept for parsing; a file cannot make us hold more."""
TAIL = 8 << 20
"""A file larger than this is read from its last 8 MiB on, and its history afterwards."""
QUIET = 600.0
"""Seconds without growth after which a file is called quiet."""
_SLOWEST_RETRY = 4.0
_SETTLED = 1.0
_NULS = re.compile(rb"\0{8,}+")
_FINGERPRINT = 256
_MOST_HOLES = 64

Touched = Literal["same", "changed", "reset", "gone", "error"]


@dataclass(frozen=True, slots=True)
class Block:
    """Complete lines, newlines included, and the byte offset of the first."""

    offset: int
    data: bytes
    cut: int = 0
    """Bytes missing at the end of the only line of this block, because it was longer than LINE_CAP."""


@dataclass(slots=True)
class Cursor:
    """A place in the file from which lines are read, and the beginning of the line it stands in."""

    position: int
    end: int | None = None
    """Where to stop; None for the end of the file, wherever that moves."""
    line_start: int = 0
    cap: int = LINE_CAP
    carry: bytes = b""
    dropped: int = 0

    def feed(self, offset: int, data: bytes, shorten: Callable[[bytes], bytes]) -> list[Block]:
        """Take the bytes at `offset` (the cursor's position) and give the lines that they complete."""
        first, last = data.find(b"\n"), data.rfind(b"\n")
        if first < 0:
            self._keep(data, shorten)
            return []
        blocks = []
        begin = 0
        if self.dropped:
            blocks.append(Block(self.line_start, self.carry + b"\n", self.dropped + first))
            begin = first + 1
        elif self.carry:
            blocks.append(Block(self.line_start, self.carry + data[: first + 1]))
            begin = first + 1
        if begin <= last:
            blocks.append(Block(offset + begin, data[begin : last + 1]))
        self.carry, self.dropped, self.line_start = b"", 0, offset + last + 1
        self._keep(data[last + 1 :], shorten)
        return blocks

    def _keep(self, data: bytes, shorten: Callable[[bytes], bytes]) -> None:
        if self.dropped:
            self.dropped += len(data)
            return
        self.carry += data
        if len(self.carry) > self.cap:
            self.carry = shorten(self.carry)
        if len(self.carry) > self.cap:
            self.dropped = len(self.carry) - self.cap
            self.carry = self.carry[: self.cap]


@dataclass(slots=True)
class Lines:
    """What one poll of a file brought."""

    touched: Touched
    blocks: list[Block] = field(default_factory=list)
    more: bool = False
    holes: list[tuple[int, int]] = field(default_factory=list)
    """New runs of NUL bytes as (offset, length): damage, or a hole that may yet be filled."""


def _as_it_is(line: bytes) -> bytes:
    return line


class LineTail:
    """One file that is followed. Nothing is raised: an error is a state, and is tried again with growing pauses.

    The file is known by device, inode and checksums of what was read: replaced, truncated, rewritten in place, or a
    hole that was filled afterwards, all end in `touched == "reset"` and a fresh start from its present bytes.
    """

    def __init__(
        self, path: Path, *, shorten: Callable[[bytes], bytes] = _as_it_is, tail: int = TAIL, cap: int = LINE_CAP
    ) -> None:
        self.path = path
        self.size = 0
        self.message = ""
        self._shorten = shorten
        self._tail = tail
        self._cap = cap
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        self._stamp: tuple[int, int] | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._grew_at = time.monotonic()
        self._remote = False
        self._state: Touched = "same"
        self._forget()

    def _forget(self) -> None:
        self.live = Cursor(0, cap=self._cap)
        self.history: Cursor | None = None
        self._started = False
        self._held: Block | None = None
        self._sums: list[tuple[int, int, int]] = []
        self._last = (0, b"")
        self._holes: list[tuple[int, int]] = []
        self._checked: int | None = None
        self._touched_at: float | None = None

    @property
    def read(self) -> int:
        """Bytes of the file that were read."""
        if self.history is None:
            return self.live.position
        end = self.history.end or 0
        return self.live.position - end + min(self.history.position, end)

    @property
    def filling(self) -> bool:
        """Whether history before the end that was read first is still missing."""
        return self.history is not None

    def facts(
        self, name: str, kind: SourceKind, scalars: int, *, more: bool, waiting: Iterable[Block] = ()
    ) -> SourceFacts:
        """The file's state in the words of the contract; blocks that wait to be parsed count as not read."""
        state: Literal["live", "quiet", "filling", "waiting", "gone", "error"]
        if self._state in {"gone", "error"}:
            state = "gone" if self._state == "gone" else "error"
        elif more:
            state = "filling"
        elif not scalars:
            state = "waiting"
        else:
            state = "live" if time.monotonic() - self._grew_at < QUIET else "quiet"
        read = max(min(self.read, self.size) - sum(len(block.data) for block in waiting), 0)
        return SourceFacts(name, kind, self.size, read, scalars, state, self.message)

    def close(self) -> None:
        """Give the file descriptor back; a later poll opens the file again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def start_over(self, *, tail: int | None = None) -> None:
        """Forget what was read; the next poll begins anew, with the end first only if it is longer than `tail`."""
        self._forget()
        self._stamp = None
        if tail is not None:
            self._tail = tail

    def hold(self, block: Block) -> None:
        """Put the last lines back: they are given again, with what came after them, once there is more."""
        self._held = block

    def poll(self, budget: Budget) -> Lines:
        """Lines that are new, the end of the file before its history, within the budget."""
        deadline = time.monotonic() + budget.seconds
        if time.monotonic() < self._retry_at:
            return Lines(self._state)
        try:
            touched = self._look()
            result = Lines(touched)
            self._state = touched
            if touched in {"gone", "error"}:
                return result
            if touched == "same" and not self.history and self._at_end():
                return result
            before = self.live.position
            self._read(result, budget.bytes, deadline)
            if self._held is not None and self.live.position > before:
                held, self._held = self._held, None
                result.blocks.insert(0, held)
        except OSError as error:
            self._failed(error)
            return Lines(self._state)
        self._failures, self._retry_at, self.message = 0, 0.0, ""
        return result

    def _failed(self, error: OSError) -> None:
        self.close()
        self._failures += 1
        self._retry_at = time.monotonic() + min(_SLOWEST_RETRY, 0.25 * 2 ** min(self._failures, 5))
        self._state = "error"
        self._stamp = None
        self.message = f"{os.strerror(error.errno) if error.errno else error}; tried again every few seconds"

    def _look(self) -> Touched:
        try:
            found = self.path.stat()
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
                raise
            self.close()
            self.message = "deleted; its last data is kept"
            self._stamp = None
            return "gone"
        if not stat.S_ISREG(found.st_mode):
            self.close()
            self.message = "not a regular file; it is not read"
            return "error"
        reset = self._identity not in {None, (found.st_dev, found.st_ino)}
        stamp = (found.st_size, found.st_mtime_ns)
        if stamp == self._stamp and not reset and not self._remote and self._touched_at is None:
            return "same"
        if self._descriptor is None or reset or self._remote:
            self._open()
        assert self._descriptor is not None
        now = os.fstat(self._descriptor)
        reset = reset or self._identity not in {None, (now.st_dev, now.st_ino)}
        self._identity = (now.st_dev, now.st_ino)
        if self.size != now.st_size:
            self._grew_at = time.monotonic()
        before, self._stamp = self._stamp, (now.st_size, now.st_mtime_ns)
        self.size = now.st_size
        if reset or self._rewritten(before, self._stamp):
            self._forget()
            return "reset"
        return "changed"

    def _open(self) -> None:
        self.close()
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        self._remote = is_remote(self.path)

    def _at_end(self) -> bool:
        return self._started and not self._remote and self.live.position >= self.size

    def _rewritten(self, before: tuple[int, int] | None, stamp: tuple[int, int]) -> bool:
        """Whether bytes that were read are others now: checked in full after a touch without growth."""
        if not self._started:
            return False
        if stamp[0] < self.live.position and not self._remote:
            return True
        if any(self._filled(hole) for hole in self._holes):
            return True
        if before is not None and before != stamp and before[0] == stamp[0]:
            self._touched_at, self._checked = time.monotonic(), None
        if self._touched_at is not None and time.monotonic() - self._touched_at >= _SETTLED:
            return self._check_all()
        start, data = self._last
        return self._pread(len(data), start) != data

    def _check_all(self) -> bool:
        until = time.monotonic() + 0.02
        index = self._checked or 0
        while index < len(self._sums):
            if not self._still(self._sums[index]):
                return True
            index += 1
            if time.monotonic() > until:
                break
        self._checked = index
        if index >= len(self._sums):
            self._touched_at = self._checked = None
        return False

    def _still(self, entry: tuple[int, int, int]) -> bool:
        start, size, checksum = entry
        data = self._pread(size, start)
        return len(data) == size and zlib.crc32(data) == checksum

    def _filled(self, hole: tuple[int, int]) -> bool:
        start, size = hole
        part = min(size, 4096)
        return self._pread(part, start).count(0) != part or self._pread(part, start + size - part).count(0) != part

    def _pread(self, size: int, offset: int) -> bytes:
        assert self._descriptor is not None
        data = os.pread(self._descriptor, size, offset)
        while data and len(data) < size:
            more = os.pread(self._descriptor, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def _begin(self) -> None:
        self._started = True
        if self.size <= self._tail:
            return
        start = self.size - self._tail
        found = self._pread(CHUNK, start).find(b"\n")
        if found >= 0:
            border = start + found + 1
            self.live = Cursor(border, line_start=border, cap=self._cap)
            self.history = Cursor(0, end=border, cap=self._cap)

    def _read(self, result: Lines, most: int, deadline: float) -> None:
        if self._descriptor is None:
            self._open()
        if not self._started:
            self._begin()
        left = max(most, 1)
        ended = False
        while left > 0 and not ended:
            count = self._advance(self.live, min(CHUNK, left), result)
            left -= count
            ended = count == 0
            if time.monotonic() >= deadline:
                break
        if not ended:
            ended = self.live.position >= self.size and not self._remote
        while self.history is not None and ended and left > 0 and (time.monotonic() < deadline or not result.blocks):
            assert self.history.end is not None
            count = self._advance(self.history, min(CHUNK, left, self.history.end - self.history.position), result)
            left -= count
            if count == 0 or self.history.position >= self.history.end:
                self.history = None
        self.size = max(self.size, self.live.position)
        result.more = self.history is not None or not ended

    def _advance(self, cursor: Cursor, size: int, result: Lines) -> int:
        offset = cursor.position
        data = self._pread(size, offset)
        if not data:
            return 0
        cursor.position += len(data)
        self._remember(offset, data)
        if b"\0" in data:
            self._note_holes(offset, data, result)
        result.blocks.extend(cursor.feed(offset, data, self._shorten))
        return len(data)

    def _remember(self, offset: int, data: bytes) -> None:
        if offset >= self._last[0]:
            self._last = (offset + max(0, len(data) - _FINGERPRINT), data[-_FINGERPRINT:])
        if self._sums:
            start, size, checksum = self._sums[-1]
            if start + size == offset and size + len(data) <= CHUNK // 16:
                self._sums[-1] = (start, size + len(data), zlib.crc32(data, checksum))
                return
        self._sums.append((offset, len(data), zlib.crc32(data)))

    def _note_holes(self, offset: int, data: bytes, result: Lines) -> None:
        found = [(offset + m.start(), m.end() - m.start()) for m in _NULS.finditer(data)]
        result.holes.extend(found)
        self._holes = [*self._holes, *found][-_MOST_HOLES:]
