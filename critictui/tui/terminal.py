"""The terminal side of the app: a driver that never blocks the event loop, and an end by signal that restores it."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType

from textual.drivers.linux_driver import LinuxDriver

from critictui.tui.messages import TerminalDrained

_MOST_WAITING = 1 << 20
"""Characters that may wait for a terminal that does not read; frames beyond it are dropped and drawn anew later."""
_PATIENCE = 2.0
"""Seconds that an orderly end may take before the terminal is restored by force."""

RESTORE = (
    "\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
)
"""Undoes what the driver switched on, in its own order; written by force only where the driver cannot any more."""


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
        """Queue it, or drop it while too much waits already; `drained` is called once the queue is empty again."""
        encoded = data.encode("utf-8", "replace")
        with self._changed:
            if self._lost or self._bytes + len(encoded) > _MOST_WAITING:
                self._lost = True
                return
            self._waiting.append(encoded)
            self._bytes += len(encoded)
            self._changed.notify_all()

    def close(self, timeout: float = _PATIENCE) -> None:
        """Write what waits, for at most `timeout` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)

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
                drained = self._lost and not self._waiting
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


class Terminal(LinuxDriver):
    """Textual's driver with a writer that drops frames, instead of freezing the app, while the terminal is stopped."""

    _writer: PatientWriter | None = None
    _started = False

    def start_application_mode(self) -> None:
        """Also after a suspension, and then all must be painted anew."""
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self._started:
            self._on_drained()
        self._started = True

    def write(self, data: str) -> None:
        """Never blocks."""
        if self._writer is None:
            stderr = sys.__stderr__
            assert stderr is not None
            self._writer = PatientWriter(stderr.fileno(), self._on_drained)
        self._writer.write(data)

    def close(self) -> None:
        """Give the terminal what waits for it, then end the threads; after a suspension there are new ones."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        super().close()

    def _on_drained(self) -> None:
        self._app.post_message(TerminalDrained())


class Ending:
    """Ends the app in order on SIGTERM, SIGHUP or a hung-up terminal, and by force where that takes too long."""

    def __init__(self, leave: Callable[[int], None]) -> None:
        self._leave = leave
        self.status: int | None = None
        """128 + the signal that ended the app, or None."""
        self._attributes = _attributes()
        self._watchdog: threading.Timer | None = None

    def install(self) -> None:
        """Handlers for the signals, and a thread that sleeps until the terminal hangs up."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        if sys.__stdin__ is not None:
            threading.Thread(target=self._watch_hang_up, name="critictui-hang-up", daemon=True).start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.end(128 + number)

    def end(self, status: int) -> None:
        """Ask the app to leave with this status; restore the terminal and leave without it if it does not."""
        if self.status is not None:
            return
        self.status = status
        self._watchdog = threading.Timer(_PATIENCE * 2, self._force)
        self._watchdog.daemon = True
        self._watchdog.start()
        self._leave(status)

    def done(self) -> None:
        """The app has left in order."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            restore_terminal(self._attributes, modes=False)

    def _watch_hang_up(self) -> None:
        assert sys.__stdin__ is not None
        poll = select.poll()
        poll.register(sys.__stdin__.fileno(), 0)
        for _, event in poll.poll():
            if event & (select.POLLHUP | select.POLLERR):
                self.end(128 + signal.SIGHUP)

    def _force(self) -> None:
        restore_terminal(self._attributes)
        os._exit(self.status or 1)


def restore_terminal(attributes: list[object] | None, modes: bool = True) -> None:
    """Termios, and unless the driver did it the modes, as they were; never waits for a terminal that does not read."""
    try:
        if sys.__stdin__ is not None and attributes is not None:
            termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSANOW, attributes)  # type: ignore[arg-type]
        if modes and sys.__stderr__ is not None:
            fd = sys.__stderr__.fileno()
            if select.select((), (fd,), (), 0)[1]:
                os.write(fd, RESTORE.encode())
    except (OSError, ValueError, termios.error):
        return


def _attributes() -> list[object] | None:
    try:
        return list(termios.tcgetattr(sys.__stdin__.fileno())) if sys.__stdin__ is not None else None
    except (OSError, ValueError, termios.error):
        return None
