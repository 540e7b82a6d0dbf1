"""Which files lie in the page cache, and how to leave it as it was: training's own pages are not driven out."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os

_CACHESTAT = 451
"""The system call's number, the same on every architecture since Linux 6.5."""
_PROBES = 64
"""Pages that are asked for one by one where the kernel is older."""


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _CacheStat(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cache", "dirty", "writeback", "evicted", "recently_evicted"))


def cached_bytes(fd: int) -> int | None:
    """How much of a file is in the page cache; None where the kernel cannot say.

    Never by mapping the file: mincore would need that.
    """
    found = _CacheStat()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_CACHESTAT, fd, ctypes.byref(_Range(0, 0)), ctypes.byref(found), 0) == 0:
        return int(found.cache) * mmap.PAGESIZE
    return _probed(fd)


def _probed(fd: int) -> int | None:
    """The same from a sample of pages: a read that must not wait (Linux 4.14) succeeds where the page is there."""
    size = os.fstat(fd).st_size
    buffer = bytearray(1)
    hits = 0
    for number in range(_PROBES):
        try:
            hits += os.preadv(fd, [buffer], size * number // _PROBES, os.RWF_NOWAIT) > 0
        except BlockingIOError:
            continue
        except (OSError, AttributeError):
            return None
    return size * hits // _PROBES


def is_cold(fd: int) -> bool:
    """Whether most of a file is not in the page cache; False where nobody can say."""
    known = cached_bytes(fd)
    return known is not None and known * 2 < os.fstat(fd).st_size


def forget(fd: int, offset: int = 0, length: int = 0) -> None:
    """Give up the pages of a stretch of a file, of all of it by default. What somebody else wrote to stays."""
    with contextlib.suppress(OSError):
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)
