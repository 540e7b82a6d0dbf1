"""Whatever a worker started, wherever it went: processes that carry its mark in their environment are found and ended.

A process may leave its group, its session and its parent, but not the environment that it was born with.
"""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path

NAME = "CRITICTUI_WORKER_MARK"
_ROUNDS = 20
"""Of looking and ending; each that finds somebody is followed by another, for they may have started others."""


def new_mark() -> str:
    """A value of `NAME` that no other worker has."""
    return secrets.token_hex(12)


def marked(mark: str) -> list[int]:
    """The living processes of this user that carry the mark; none where there is no /proc."""
    wanted = f"{NAME}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # another user's, or gone
            continue
    return [process for process in found if process != os.getpid()]


def end_marked(mark: str) -> None:
    """End them all. One that the kernel does not let go of is left to it."""
    for _ in range(_ROUNDS):
        left = marked(mark)
        if not left:
            return
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except OSError:
                continue
