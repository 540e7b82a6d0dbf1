"""A log file as pages of safe lines, for a person to read: from the end, backwards and forwards, with search."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from critictui.run.log_lines import plain, split_prefix
from critictui.run.source import RunError
from critictui.run.text import LINE_LIMIT, sanitise

_CHUNK = 256 << 10
_COUNT = 16
"""Characters that the number of what is missing may take."""
_LONGEST_LOOK = 8 << 20
"""Bytes that one page may cost, whatever the lines in it are like."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Neighbouring lines of a log."""

    lines: tuple[str, ...]
    """Sanitised, at most 16 KiB each; of a progress bar drawn over itself, its last state."""
    start: int
    """Byte offset of the first line: pass it as `before` for the page above."""
    end: int
    """Byte offset after the last line: pass it as `after` for the page below."""
    size: int
    """Bytes of the file when the page was read."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a search ended."""

    offset: int | None
    """Byte offset of the line that matches; None when there was none as far as the search looked."""
    line: str
    """That line, sanitised."""
    reached: int
    """How far it looked: pass it as `after` (or `before`) to go on. Equal to the end of the file when all was seen."""


def shown(line: bytes) -> str:
    """One line as a person should see it."""
    line = line.rstrip(b"\r")
    if b"\r" in line:
        pieces = line.split(b"\r")
        last = next((p for p in reversed(pieces) if plain(p).strip()), b"")
        head = pieces[0] if last is not pieces[0] and not split_prefix(plain(pieces[0])).content else b""
        line = head[:200] + last if head.strip() and b"%|" not in head else last
    cut = line[: 4 * LINE_LIMIT]
    text = cut.decode("utf-8", "replace")
    missing = len(line) - len(cut)
    safe = sanitise(text, LINE_LIMIT).replace("\n", " ")
    if not missing:
        return safe
    kept, _, more = safe.rpartition("…+")
    if not more.isdigit():
        kept, more = safe, "0"
    room = LINE_LIMIT - _COUNT  # a longer line would be cut once more where it is shown, and counted wrong
    return f"{kept[:room]}…+{len(kept[room:]) + int(more) + missing}"


class LogView:
    """One log file. Each call opens it anew, so that rotation, deletion and a dead mount harm only that call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tail(self, lines: int, before: int | None = None) -> LogPage:
        """The last `lines` lines, or those before byte `before`; a last line without newline is shown too.

        Raises RunError when the file cannot be read.
        """
        descriptor = self._open()
        try:
            size = os.fstat(descriptor).st_size
            end = size if before is None else max(0, min(before, size))
            data, start = self._back(descriptor, end, lines)
        except OSError as error:
            raise self._unreadable(error) from error
        finally:
            os.close(descriptor)
        return _page(data, start, size, keep=-lines)

    def page(self, lines: int, after: int) -> LogPage:
        """The `lines` lines from byte `after` (the beginning of a line) on. Raises RunError."""
        descriptor = self._open()
        try:
            size = os.fstat(descriptor).st_size
            data = b""
            while data.count(b"\n") < lines and len(data) < _LONGEST_LOOK:
                chunk = os.pread(descriptor, _CHUNK, after + len(data))
                if not chunk:
                    break
                data += chunk
        except OSError as error:
            raise self._unreadable(error) from error
        finally:
            os.close(descriptor)
        return _page(data, after, size, keep=lines)

    def search(
        self, pattern: str, *, after: int | None = None, before: int | None = None, limit: int = 64 << 20
    ) -> Hit:
        """The next line from byte `after` on that matches, or the last one before byte `before`; at most `limit` bytes.

        A regular expression in linear time (RE2), or the text itself where that is none. Without capital letters in it
        case does not matter. Raises RunError when the file cannot be read.
        """
        matcher = _matcher(pattern)
        descriptor = self._open()
        try:
            size = os.fstat(descriptor).st_size
            if before is not None:
                return self._search_back(descriptor, matcher, min(before, size), limit)
            return self._search_on(descriptor, matcher, after or 0, limit)
        except OSError as error:
            raise self._unreadable(error) from error
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> RunError:
        return RunError(f"{self.path}: {error.strerror or error}; the log cannot be shown, it may come back")

    def _back(self, descriptor: int, end: int, lines: int) -> tuple[bytes, int]:
        """Bytes before `end` that hold `lines` lines, from the beginning of a line, and where they begin."""
        chunks: list[bytes] = []
        start, seen = end, 0
        while start > 0 and seen <= lines and end - start < _LONGEST_LOOK:
            size = min(_CHUNK, start)
            chunk = os.pread(descriptor, size, start - size)
            if len(chunk) < size:
                break
            start -= size
            seen += chunk.count(b"\n")
            chunks.append(chunk)
        data = b"".join(reversed(chunks))
        if start > 0:
            first = data.find(b"\n") + 1
            data, start = data[first:], start + first
        return data, start

    def _search_on(self, descriptor: int, matcher: re.Pattern[bytes], after: int, limit: int) -> Hit:
        at, stop = after, after + limit
        while at < stop:
            data = os.pread(descriptor, _CHUNK, at)
            last = len(data) < _CHUNK
            cut = len(data) if last else (data.rfind(b"\n") + 1 or len(data))
            found = matcher.search(data[:cut])
            if found is not None:
                return _hit(data, at, found.start())
            at += cut
            if last:
                break
        return Hit(None, "", at)

    def _search_back(self, descriptor: int, matcher: re.Pattern[bytes], before: int, limit: int) -> Hit:
        end, stop = before, max(0, before - limit)
        while end > stop:
            start = max(0, end - _CHUNK)
            data = os.pread(descriptor, end - start, start)
            first = data.find(b"\n") + 1 if start > 0 else 0
            begin = first if 0 < first < len(data) else 0
            hits = [found.start() for found in matcher.finditer(data, begin)]
            if hits:
                return _hit(data, start, hits[-1])
            end = start + begin
        return Hit(None, "", end)


def _hit(data: bytes, offset: int, at: int) -> Hit:
    start = data.rfind(b"\n", 0, at) + 1
    end = data.find(b"\n", at)
    end = len(data) if end < 0 else end
    return Hit(offset + start, shown(data[start:end]), offset + end + 1)


def _page(data: bytes, start: int, size: int, keep: int) -> LogPage:
    """Lines out of bytes that begin at a line's beginning: the first `keep`, or the last when negative."""
    pieces = data.split(b"\n")
    partial = pieces.pop()
    if keep < 0:
        rows = [*pieces, partial] if partial else pieces
        dropped = rows[:keep] if len(rows) > -keep else []
        start += sum(len(row) + 1 for row in dropped)
        rows = rows[keep:]
    else:
        at_end = start + len(data) >= size
        rows = ([*pieces, partial] if partial and at_end else pieces)[:keep]
    end = min(start + sum(len(row) + 1 for row in rows), max(size, start))
    return LogPage(tuple(shown(row) for row in rows), start, end, size)


def _matcher(pattern: str) -> re.Pattern[bytes]:
    import re2

    text = pattern[:1000].encode("utf-8", "replace")
    flags = b"" if any(c.isupper() for c in pattern) else b"(?i)"
    options = re2.Options()
    options.log_errors = False
    try:
        compiled: re.Pattern[bytes] = re2.compile(flags + b"(?:" + text + b")", options)
    except re2.error:
        compiled = re2.compile(flags + re2.escape(text), options)
    return compiled
