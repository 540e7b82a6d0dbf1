"""One file on disk as it changes: looked at, opened, read by offset; errors become states that are tried again."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path
from typing import Literal

import google_crc32c

Look = Literal["same", "changed", "replaced", "gone", "error"]

_BLOCK = 1 << 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 4.0
_SETTLED_NS = 1_000_000_000
"""A time stamp younger than this may hide a second write: clocks of file systems tick in milliseconds at best."""
_GIVE_BACK_AFTER = 60.0


class FollowedFile:
    """Stat, descriptor and identity of one file. `look` never raises; `read` raises OSError for `failed`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.modified = 0.0
        """mtime, seconds since the epoch."""
        self.rewritten = False
        """At the last look the time stamp had moved and the size had not: written in place, or touched."""
        self.message = ""
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        self._stamp: tuple[int, int] | None = None
        self._unsettled = False
        self._failures = 0
        self._retry_at = 0.0
        self._used_at = 0.0

    def look(self) -> Look:
        """What happened to the file since the last look."""
        now = time.monotonic()
        if now < self._retry_at:
            return "error"
        try:
            found = self.path.stat()
        except OSError as error:
            return self._missing(error)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            self.message = "not a regular file; not read"
            return "error"
        identity, stamp = (found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns)
        replaced = self._identity is not None and identity != self._identity
        if stamp == self._stamp and not replaced and not self._unsettled:
            if self._descriptor is not None and now - self._used_at > _GIVE_BACK_AFTER:
                self.close()
            return "same"
        if replaced:
            self.close()
        before, self._stamp, self._identity = self._stamp, stamp, identity
        self.rewritten = before is not None and before[0] == stamp[0] and before != stamp
        self._unsettled = time.time_ns() - found.st_mtime_ns < _SETTLED_NS
        self.size, self.modified = found.st_size, found.st_mtime
        self.message = ""
        self._used_at = now
        return "replaced" if replaced else "changed"

    def _missing(self, error: OSError) -> Look:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            self.close()
            self._stamp = None
            self.message = "deleted; the last data is kept"
            return "gone"
        self.failed(error)
        return "error"

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset` on. Raises OSError."""
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
            opened = os.fstat(self._descriptor)
            if self._identity not in {None, (opened.st_dev, opened.st_ino)}:
                self.close()
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        data = os.pread(self._descriptor, length, offset)
        while 0 < len(data) < length:
            rest = os.pread(self._descriptor, length - len(data), offset + len(data))
            if not rest:
                break
            data += rest
        return data

    def failed(self, error: OSError) -> None:
        """Note an error: the file is opened and read again, after a pause that grows to four seconds."""
        self.close()
        self._stamp = None
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**self._failures)
        self._failures = min(self._failures + 1, 8)
        self._retry_at = time.monotonic() + pause
        self.message = f"{error.strerror or error}; tried again every few seconds"

    def succeeded(self) -> None:
        """Note that reading worked: the next error starts with a short pause again."""
        self._failures = 0

    def close(self) -> None:
        """Give the descriptor back; the next read opens the file again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Digest:
    """Checksums of the bytes that were read from one offset on, a block at a time, to notice rewrites."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.length = 0
        self._blocks: list[int] = []

    def update(self, data: bytes) -> None:
        """Take the bytes that follow."""
        at = 0
        while at < len(data):
            filled = self.length % _BLOCK
            part = data[at : at + _BLOCK - filled]
            if filled:
                self._blocks[-1] = google_crc32c.extend(self._blocks[-1], part)
            else:
                self._blocks.append(google_crc32c.value(part))
            self.length += len(part)
            at += len(part)

    def holds(self, file: FollowedFile, most: int | None = None) -> bool:
        """Whether the file still has these bytes: all of them, or the blocks of the last `most`. Raises OSError."""
        first = 0 if most is None else max(0, (self.length - most) // _BLOCK)
        for k in range(first, len(self._blocks)):
            wanted = min(_BLOCK, self.length - k * _BLOCK)
            data = file.read(self.start + k * _BLOCK, wanted)
            if len(data) < wanted or google_crc32c.value(data) != self._blocks[k]:
                return False
        return True
