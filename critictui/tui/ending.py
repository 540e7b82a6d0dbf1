"""However the app ends, the terminal is given back: in order, by force, or by a process that outlives a SIGKILL."""

from __future__ import annotations

import contextlib
import inspect
import os
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from types import FrameType

from critictui.tui import restorer
from critictui.tui.output import PATIENCE

RESTORE = (
    "\x1b[?2026l\x1b[?2004l\x1b[?7h\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[<u\x1b[0m\x1b[?1049l\x1b[?25h"
    "\x1b[?1004l"
)
"""Undoes what the driver switched on, in its own order; written where the driver cannot any more."""
_FAREWELL = (
    "\r\nThe screen's program ended without giving the terminal back; it is restored now. No run was touched.\r\n"
)
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


class Guardian:
    """A small process that waits for our end and restores the terminal if we were killed while we had it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, attributes: list[object]) -> None:
        """Begin to wait; where no process can be had there is none, and `reset` is the remedy."""
        source = inspect.getsource(restorer)
        modes = ("\x1b\\" + RESTORE + _FAREWELL).encode().hex()
        command = [sys.executable, "-I", "-S", "-c", source, modes, restorer.as_argument(attributes)]
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output_fd(), stderr=subprocess.DEVNULL, bufsize=0,
                start_new_session=True, cwd="/",
            )  # fmt: skip

    def tell(self, *, held: bool) -> None:
        """The terminal is ours from now on, or no longer."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write(b"1" if held else b"0")

    def close(self) -> None:
        """We end; it ends too, or stays until a terminal that does not read can be restored."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)


GUARDIAN = Guardian()
"""Of this process's terminal, of which there is one."""


class Ending:
    """Ends the app in order on a signal or a hung-up terminal, and by force where that takes too long."""

    def __init__(self, leave: Callable[[int], None]) -> None:
        self._leave = leave
        self.status: int | None = None
        """128 + the signal that ended the app, or None."""
        self._attributes = _attributes()
        self._watchdog: threading.Timer | None = None

    def install(self) -> None:
        """Handlers for the signals (one that was ignored when we came stays so, but for the terminal's hang-up and
        SIGTERM), a thread that sleeps until the terminal hangs up, and the process that outlives us.
        """
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN or number in {signal.SIGTERM, signal.SIGHUP}:
                signal.signal(number, self._on_signal)
        if sys.__stdin__ is not None:
            threading.Thread(target=self._watch_hang_up, name="critictui-hang-up", daemon=True).start()
        if self._attributes is not None:
            GUARDIAN.start(self._attributes)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.end(128 + number)

    def end(self, status: int) -> None:
        """Ask the app to leave with this status; restore the terminal and leave without it if it does not."""
        if self.status is not None:
            return
        self.status = status
        self._watchdog = threading.Timer(PATIENCE * 2, self._force)
        self._watchdog.daemon = True
        self._watchdog.start()
        self._leave(status)

    def done(self) -> None:
        """The app has left in order."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            restore_terminal(self._attributes, modes=False)
        GUARDIAN.close()

    def _watch_hang_up(self) -> None:
        assert sys.__stdin__ is not None
        poll = select.poll()
        poll.register(sys.__stdin__.fileno(), 0)
        for _, event in poll.poll():
            if event & (select.POLLHUP | select.POLLERR):
                self.end(128 + signal.SIGHUP)

    def _force(self) -> None:
        if restore_terminal(self._attributes):
            GUARDIAN.tell(held=False)
        os._exit(self.status or 1)


def output_fd() -> int:
    """The descriptor of the terminal that is written to; standard error may be a file."""
    stdout = sys.__stdout__
    assert stdout is not None
    return stdout.fileno()


def restore_terminal(attributes: list[object] | None, modes: bool = True) -> bool:
    """Termios, and unless the driver did it the modes, as they were; whether that worked. Never waits for a terminal
    that does not read.
    """
    try:
        if sys.__stdin__ is not None and attributes is not None:
            termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSANOW, attributes)  # type: ignore[arg-type]
        if modes and sys.__stdout__ is not None:
            fd = sys.__stdout__.fileno()
            return bool(select.select((), (fd,), (), 0)[1]) and os.write(fd, RESTORE.encode()) > 0
    except (OSError, ValueError, termios.error):
        return False
    return True


def _attributes() -> list[object] | None:
    try:
        return list(termios.tcgetattr(sys.__stdin__.fileno())) if sys.__stdin__ is not None else None
    except (OSError, ValueError, termios.error):
        return None
