"""A text file as it grows: appended bytes in, blocks of complete lines out; of a large file the end comes first."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from critictui.run.facts import SourceFacts
from critictui.run.followed import FollowedFile, Look
from critictui.run.series import SourceKind
from critictui.run.source import Budget
from critictui.run.witness import Digest, Witness

CHUNK = 1 << 20
LINE_CAP = 64 << 10
"""Bytes of one line that are kept for parsing; a file cannot make us hold more."""
TAIL = 8 << 20
"""A file larger than this is read from its last 8 MiB on, and its history afterwards."""
QUIET = 600.0
"""Seconds without growth after which a file is called quiet."""
_NULS = re.compile(rb"\0{8,}+")

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
    digest: Digest
    """Of the bytes that were read."""
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

    Replaced, truncated, rewritten in place, or a hole that was filled afterwards: all end in `touched == "reset"` and
    a fresh start from the file's present bytes.
    """

    def __init__(
        self, path: Path, *, shorten: Callable[[bytes], bytes] = _as_it_is, tail: int = TAIL, cap: int = LINE_CAP
    ) -> None:
        self.path = path
        self._file = FollowedFile(path)
        self._shorten = shorten
        self._tail = tail
        self._cap = cap
        self._state: Look = "same"
        self._forget()

    def _forget(self) -> None:
        self._witness = Witness()
        self.live = Cursor(0, self._witness.stretch(0), cap=self._cap)
        self.history: Cursor | None = None
        self._started = False
        self._held: Block | None = None

    @property
    def size(self) -> int:
        """Bytes in the file when last looked at."""
        return max(self._file.size, self.live.position)

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
            state = "live" if time.monotonic() - self._file.changed_at < QUIET else "quiet"
        read = max(min(self.read, self.size) - sum(len(block.data) for block in waiting), 0)
        return SourceFacts(name, kind, self.size, read, scalars, state, self._file.message)

    def close(self) -> None:
        """Nothing stays open between polls."""
        self._file.close()

    def start_over(self, *, tail: int | None = None) -> None:
        """Forget what was read; the next poll begins anew, with the end first only if it is longer than `tail`."""
        self._forget()
        if tail is not None:
            self._tail = tail

    def hold(self, block: Block) -> None:
        """Put the last lines back: they are given again, with what came after them, once there is more."""
        self._held = block

    def poll(self, budget: Budget) -> Lines:
        """Lines that are new, the end of the file before its history, within the budget."""
        deadline = time.monotonic() + budget.seconds
        look = self._state = self._file.look()
        if look in {"gone", "error"}:
            return Lines(look)
        result = Lines("same" if look == "same" else "changed")
        try:
            if self._started and not self._witness.still_holds(self._file, look, deadline):
                self._forget()
                result.touched = "reset"
            if look != "same" or not self._started or self.history is not None or not self._at_end():
                self._read_on(result, budget.bytes, deadline)
            result.more |= self._witness.busy
            self._file.succeeded()
        except OSError as error:
            self._file.failed(error)
            self._state = "error"
            result.more = False
            if result.touched != "reset":
                result.touched = "error"  # what was read before it is handed out all the same
        finally:
            self._file.close()
        return result

    def _at_end(self) -> bool:
        return self.live.position >= self._file.size

    def _begin(self) -> None:
        self._started = True
        if self._file.size <= self._tail:
            return
        start = self._file.size - self._tail
        found = self._file.read(start, CHUNK).find(b"\n")
        if found >= 0:
            border = start + found + 1
            self.history = Cursor(0, self.live.digest, end=border, cap=self._cap)
            self.live = Cursor(border, self._witness.stretch(border), line_start=border, cap=self._cap)

    def _read_on(self, result: Lines, most: int, deadline: float) -> None:
        if not self._started:
            self._begin()
        before = self.live.position
        try:
            self._read(result, most, deadline)
        finally:
            if self._held is not None and self.live.position > before:
                held, self._held = self._held, None
                result.blocks.insert(0, held)

    def _read(self, result: Lines, most: int, deadline: float) -> None:
        left = max(most, 1)
        ended = False
        while left > 0 and not ended:
            count = self._advance(self.live, min(CHUNK, left), result)
            left -= count
            ended = count == 0
            if time.monotonic() >= deadline:
                break
        ended = ended or self._at_end()
        while self.history is not None and ended and left > 0 and (time.monotonic() < deadline or not result.blocks):
            assert self.history.end is not None
            count = self._advance(self.history, min(CHUNK, left, self.history.end - self.history.position), result)
            left -= count
            if count == 0 or self.history.position >= self.history.end:
                self.history = None
        result.more = self.history is not None or not ended

    def _advance(self, cursor: Cursor, size: int, result: Lines) -> int:
        offset = cursor.position
        data = self._file.read(offset, size)
        if not data:
            return 0
        cursor.position += len(data)
        cursor.digest.update(data)
        if b"\0" in data:
            for found in _NULS.finditer(data):
                result.holes.append((offset + found.start(), found.end() - found.start()))
                self._witness.note(offset + found.start(), found.group())
        result.blocks.extend(cursor.feed(offset, data, self._shorten))
        return len(data)
