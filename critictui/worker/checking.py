"""Entries of archives in, their checksums compared with their bytes beside the scoring, which a load does not wait for.

What comes from the disk is summed up while it is read, which costs nothing there. From the page cache a load is several
times as fast as zlib's CRC-32 (1 to 2 GB/s a core): those bytes are read once more while the critic scores.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Collection, Iterable

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.checksum import Sealed
from critictui.checkpoint.weights import reading
from critictui.worker.page_cache import forget

_CHUNK = 1 << 20


class Checking:
    """Threads that read entries and compare. They hold the files open by themselves and die with the process."""

    def __init__(self, entries: Iterable[Sealed], cold: Collection[int] = ()) -> None:
        self._left = sorted(entries, key=lambda entry: entry.size)
        self._cold = frozenset(cold)
        self._fds = {fd: os.dup(fd) for fd in {entry.fd for entry in self._left}}
        self._error: CheckpointError | None = None
        self._lock = threading.Lock()
        count = min(len(self._left), max(1, min(8, (os.cpu_count() or 1) // 2)))
        self._threads = [threading.Thread(target=self._work, name="check", daemon=True) for _ in range(count)]
        self._running = count
        for thread in self._threads:
            thread.start()

    def ask(self, *, wait: bool) -> None:
        """Raise CheckpointError with file and entry where one is known to be damaged. wait: until all were read."""
        while wait and any(thread.is_alive() for thread in self._threads):
            for thread in self._threads:
                thread.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while self._error is None:
                try:
                    entry = self._left.pop()
                except IndexError:
                    break
                self._check(entry)
        except CheckpointError as error:
            self._error = self._error or error
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    for fd in self._fds.values():
                        os.close(fd)

    def _check(self, entry: Sealed) -> None:
        fd = self._fds[entry.fd]
        buffer = memoryview(bytearray(min(_CHUNK, entry.size)))
        crc, at = 0, 0
        with reading(entry.path):
            while at < entry.size:
                got = os.preadv(fd, [buffer[: entry.size - at]], entry.start + at)
                if got == 0:
                    raise CheckpointError(f"{entry.path}: cut short in entry {entry.name!r}; copy the file again")
                crc = zlib.crc32(buffer[:got], crc)
                at += got
        if entry.fd in self._cold:
            forget(fd, entry.start, entry.size)
        if crc != entry.crc:
            raise entry.damaged()
