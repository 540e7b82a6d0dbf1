"""How a worker's process ends: noticed at once, put into words, and made to, with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from critictui.scoring.jobs import Failed
from critictui.scoring.offspring import end_marked

_LOOK_SECONDS = 0.05


async def gone(process: asyncio.subprocess.Process) -> int:
    """Its exit status once it has ended and was reaped.

    `Process.wait` would also wait until nobody holds the other end of its pipe: a child of the worker may, for ever.
    """
    while process.returncode is None:
        await asyncio.sleep(_LOOK_SECONDS)
    return process.returncode


def death(status: int | None, cut: str) -> Failed:
    """A dead worker's exit status in words."""
    if status is None:
        return Failed("crashed", f"the worker closed its channel{cut} and did not end; it was ended")
    if status >= 0:
        return Failed("crashed", f"the worker ended with exit status {status}{cut} and without a result")
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hints = {
        signal.SIGKILL: "; the kernel does so when host memory runs out",
        signal.SIGBUS: "; a file that is being read was cut short, or its disk failed",
        signal.SIGSEGV: "; a library crashed",
    }
    hint = hints.get(signal.Signals(-status), "") if name.startswith("SIG") else ""
    return Failed("crashed", f"the worker died: {name} (signal {-status}){hint}")


async def end(process: asyncio.subprocess.Process, grace: float, mark: str) -> None:
    """End the worker's whole group: politely, then for good; then what left the group.

    Reaped unless the kernel itself holds on to it.
    """
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gone(process), grace)
    _signal_group(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(gone(process), grace)
    await asyncio.to_thread(end_marked, mark)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
