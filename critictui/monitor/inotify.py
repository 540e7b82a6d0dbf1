"""Linux's inotify, as little of it as a bell needs: watches that ring once and are armed again by who heard them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

_MODIFY, _MOVED_FROM, _MOVED_TO = 0x2, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_IGNORED, _ONLYDIR, _ONESHOT = 0x8000, 0x01000000, 0x80000000
_EVENT = struct.Struct("iIII")
_MASK = _MODIFY | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR | _ONESHOT


def _means_something(data: bytes) -> bool:
    """Whether one of the events is more than the note that a watch which rang is gone."""
    at = 0
    while at + _EVENT.size <= len(data):
        _, mask, _, length = _EVENT.unpack_from(data, at)
        if mask & ~_IGNORED:
            return True
        at += _EVENT.size + length
    return False


class Inotify:
    """Watches directories and calls `ring` from a thread of its own.

    A trainer writes hundreds of records a step, one write each. A watch that rings once costs one wake-up, not
    hundreds; it is armed again, by `arm`, before the files are looked at, so nothing written afterwards goes unheard.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        """Raises OSError when there are no instances left (EMFILE), AttributeError where the system has no inotify."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._add = self._libc.inotify_add_watch
        self._descriptor = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._ring = ring
        try:
            self._stop, self._stopped = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(self._descriptor)
            raise
        self._thread = threading.Thread(target=self._listen, name="critictui-inotify", daemon=True)
        self._thread.start()

    def arm(self, folders: Iterable[Path]) -> OSError | None:
        """Ring at the next change in any of the folders; the last error, for those that cannot be watched."""
        failed: OSError | None = None
        for folder in folders:
            if self._add(self._descriptor, os.fsencode(folder), ctypes.c_uint32(_MASK)) < 0:
                number = ctypes.get_errno()
                failed = OSError(number, os.strerror(number), str(folder))
        return failed

    def _listen(self) -> None:
        while True:
            try:
                ready, _, _ = select.select([self._descriptor, self._stop], [], [])
                if self._stop in ready:
                    return
                data = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                continue
            except (OSError, ValueError):
                return
            if _means_something(data):
                self._ring()

    def close(self) -> None:
        """Stop listening and give the descriptors back."""
        with contextlib.suppress(OSError):
            os.write(self._stopped, b"x")
        self._thread.join(timeout=2)
        for descriptor in (self._descriptor, self._stop, self._stopped):
            with contextlib.suppress(OSError):
                os.close(descriptor)
