"""Processes as the tests see them from outside."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path


def gone(process: int) -> bool:
    """Whether a process has ended: no such id, or a zombie that its parent has yet to reap, or never will."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children_of(parent: int) -> list[int]:
    """Its child processes, those that ended and were not reaped included."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Look until it holds; False if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
