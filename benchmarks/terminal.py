"""A real pseudo-terminal around a command: what it sends is counted, kept and read with a terminal emulator."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self


class PtySession:
    """The command runs in a terminal of its own; `pump` reads what it sends."""

    def __init__(
        self, command: Sequence[str], columns: int, lines: int, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self.started = time.monotonic()
        self.sent = bytearray()
        """Every byte the command has sent."""
        self.first: float | None = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # the child
            if cwd is not None:
                os.chdir(cwd)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
            os.execvpe(command[0], list(command), dict(env))
        self.resize(columns, lines)
        self.status: int | None = None

    def resize(self, columns: int, lines: int) -> None:
        """The window has another size now."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def pump(self, seconds: float, until: Callable[[bytes], bool] | None = None) -> bool:
        """Read for so long, or until the bytes of this session satisfy `until`; whether they did."""
        end = time.monotonic() + seconds
        while True:
            if until is not None and until(bytes(self.sent)):
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            if select.select([self.fd], [], [], min(left, 0.05))[0]:
                try:
                    data = os.read(self.fd, 1 << 16)
                except OSError:
                    return until is not None and until(bytes(self.sent))
                if not data:
                    return until is not None and until(bytes(self.sent))
                if self.first is None:
                    self.first = time.monotonic()
                self.take(data)

    def take(self, data: bytes) -> None:
        """What the command has just sent. A terminal that answers questions does so here."""
        self.sent += data

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.fd, keys.encode())

    def cpu_seconds(self) -> float:
        """User and system time of the command so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def attributes(self) -> list[object]:
        """The terminal's modes, as termios has them."""
        return list(termios.tcgetattr(self.fd))

    def wait(self, seconds: float = 60.0) -> int:
        """Read until the command has ended; its exit status, -n after signal n. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pump(0.02)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                self.pump(0.05)
                return self.status
        raise TimeoutError(f"process {self.pid} still runs after {seconds} s")

    def close(self) -> None:
        """End what still runs, and give the terminal back."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.status = -9
        with contextlib.suppress(OSError):
            os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def terminal_env(state: Path, **changes: str) -> dict[str, str]:
    """An environment for the command: a colour terminal in UTF-8, and state and configuration in `state`."""
    env = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(state),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "XDG_STATE_HOME": str(state / "state"),
        "XDG_CONFIG_HOME": str(state / "config"),
    }
    return {**env, **changes}
