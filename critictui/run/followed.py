"""One file on disk as it changes: looked at, opened, read by offset; errors become states that are tried again.

It is open only while it is read: a run of a thousand files holds no descriptor, a file system can be unmounted, and
where attributes lag behind the data (NFS, FUSE, Lustre), opening anew is what asks for them.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import time
from pathlib import Path
from typing import Literal

from critictui.run.mounts import is_remote

Look = Literal["same", "changed", "replaced", "gone", "error"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 4.0
_UNSETTLED = 2.0
"""Seconds after a change for which the time stamp may hide a second one: clocks of file systems tick in milliseconds
at best, in two seconds at worst (FAT)."""
_OLD = 600.0
_ASK_OLD_FILES = 4.0
"""Remote files that did not change for ten minutes are opened only every so many seconds."""
_PROBE, _MOST_PROBED = 1 << 16, 1 << 22


class FollowedFile:
    """What is known of one file. `look` never raises; `read` raises OSError, for `failed`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        """Bytes that there are to read. On a remote file system not what its attributes say, but what was seen."""
        self.modified = 0.0
        """mtime, seconds since the epoch."""
        self.touched = False
        """At the last look the file may have been written over anywhere: same size with another time stamp, or nobody
        looked for a while."""
        self.remote = False
        self.message = ""
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        self._stamp: tuple[int, int] | None = None
        self.changed_at = -math.inf
        """When it was last seen to change, on the monotonic clock; at a first look as long ago as its mtime says."""
        self._settled_at = 0.0
        self._ask_at = 0.0
        self._gone = False
        self._failures = 0
        self._retry_at = 0.0

    def look(self) -> Look:
        """What happened to the file since the last look."""
        now = time.monotonic()
        if now < self._retry_at:
            return "error"
        try:
            found = self._attributes(now)
            if not stat.S_ISREG(found.st_mode):
                self.close()
                self.message = "not a regular file; not read"
                return "error"
            return self._compared(found, now)
        except OSError as error:
            return self._missing(error)

    def _attributes(self, now: float) -> os.stat_result:
        found = self.path.stat()
        if self._identity is None or found.st_dev != self._identity[0]:
            self.remote = is_remote(self.path)
        stamp = (found.st_size, found.st_mtime_ns)
        if not self.remote or not stat.S_ISREG(found.st_mode) or (stamp == self._stamp and now < self._ask_at):
            return found
        self.close()
        self._ask_at = now + (_ASK_OLD_FILES if now - self.changed_at > _OLD else 0.0)
        return os.fstat(self._open())

    def _compared(self, found: os.stat_result, now: float) -> Look:
        identity, stamp = (found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns)
        replaced = self._identity is not None and identity != self._identity
        size = found.st_size
        if self.remote:
            asked = self._descriptor is not None
            size = self._readable(size, 0 if replaced else self.size) if asked else self.size
        elif replaced:
            self.close()
        self._identity = identity
        same = stamp == self._stamp and not replaced and size == self.size
        if same and now >= self._settled_at:
            return "same"
        before, self._stamp = self._stamp, stamp
        self.touched = before is None or (size == self.size and before != stamp)
        if not same:
            age = max(0.0, time.time() - found.st_mtime) if before is None and not replaced else 0.0
            self.changed_at = max(self.changed_at, now - age)
            self._settled_at = self.changed_at + _UNSETTLED
        self.size, self.modified = size, found.st_mtime
        self.message, self._gone = "", False
        return "replaced" if replaced else "changed"

    def _readable(self, said: int, before: int) -> int:
        """How far the file can be read, whatever its attributes say."""
        size = before if before > said and self.read(before - 1, 1) else said
        for _ in range(_MOST_PROBED // _PROBE):
            found = len(self.read(size, _PROBE))
            size += found
            if found < _PROBE:
                break
        return size

    def _missing(self, error: OSError) -> Look:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            self.close()
            self._stamp = None
            if not self._gone:
                self._gone = True
                self.message = f"gone since {time.strftime('%H:%M:%S')}; its last data is kept"
            return "gone"
        self.failed(error)
        return "error"

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset` on; fewer only at the end of the file. Raises OSError."""
        descriptor = self._descriptor if self._descriptor is not None else self._open()
        data = os.pread(descriptor, length, offset)
        while 0 < len(data) < length:
            rest = os.pread(descriptor, length - len(data), offset + len(data))
            if not rest:
                break
            data += rest
        end = offset + len(data)
        if len(data) < length and end < self.size and not self.remote and os.fstat(descriptor).st_size > end:
            raise OSError(errno.EIO, "a read ended before the file does")
        return data

    def _open(self) -> int:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        self._descriptor = descriptor
        if not self.remote:
            opened = os.fstat(descriptor)
            if self._identity not in {None, (opened.st_dev, opened.st_ino)}:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return descriptor

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
