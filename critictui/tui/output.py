"""What goes to the terminal: written by a thread, so that a terminal that does not read stops nothing but painting."""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable

from critictui.tui.pens import fewer_codes

_MOST_WAITING = 1 << 20
"""Bytes that may wait for a terminal that does not read; frames beyond it are dropped and drawn anew later."""
PATIENCE = 2.0
"""Seconds that an orderly end may take before the terminal is restored by force."""


class PatientWriter:
    """Writes to the terminal from a thread; `write` returns at once, whatever the terminal does."""

    def __init__(self, fd: int, drained: Callable[[], None]) -> None:
        self._fd = fd
        self._drained = drained
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="critictui-output", daemon=True)
        self._thread.start()

    def write(self, data: str) -> None:
        """Queue it, or drop it where too much waits already; `drained` is called once the queue is empty again."""
        encoded = fewer_codes(data).encode("utf-8", "replace")
        with self._changed:
            if self._lost or (self._bytes and self._bytes + len(encoded) > _MOST_WAITING):
                self._lost = True
                return
            self._waiting.append(encoded)
            self._bytes += len(encoded)
            self._changed.notify_all()

    def close(self, timeout: float = PATIENCE) -> bool:
        """Write what waits, for at most `timeout` seconds; whether the terminal got everything."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not (self._lost or self._bytes)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                data = b"".join(self._waiting)
                self._waiting.clear()
            if not self._write_all(data):
                return
            with self._changed:
                self._bytes -= len(data)
                drained = self._lost and not self._waiting and not self._closing
                self._lost = self._lost and not drained
            if drained:
                self._drained()

    def _write_all(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                select.select((), (self._fd,), ())
            except InterruptedError:
                continue
            except OSError:
                return False
        return True
