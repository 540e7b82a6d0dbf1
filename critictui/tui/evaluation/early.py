"""A worker that is started before its job is known: it imports torch while the user reads what a score would take."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from critictui.scoring.client import GRACE_SECONDS, Worker


class EarlyWorker:
    """At most one such worker; all methods are called in the app's event loop."""

    def __init__(self) -> None:
        self._starting: asyncio.Task[Worker] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def expect(self, command: Sequence[str] = ()) -> None:
        """A job may come in a moment: start a worker, unless one is there."""
        if self._starting is None:
            self._starting = asyncio.create_task(Worker.start(command, early=True))

    async def take(self) -> Worker | None:
        """The worker, for a job that has come; None where there is none, or it has died meanwhile.

        A caller that is cancelled meanwhile leaves it here, to be dropped.
        """
        if self._starting is None:
            return None
        worker: Worker | None = None
        with contextlib.suppress(OSError):
            worker = await asyncio.shield(self._starting)
        self._starting = None
        if worker is None or worker.alive:
            return worker
        await worker.end()
        return None

    def drop(self) -> None:
        """No job came: end it."""
        starting, self._starting = self._starting, None
        if starting is not None:
            ending = asyncio.create_task(_end(starting))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End it, and wait until it is gone."""
        self.drop()
        if self._ending:
            await asyncio.wait(self._ending, timeout=2 * GRACE_SECONDS)


async def _end(starting: asyncio.Task[Worker]) -> None:
    with contextlib.suppress(OSError):
        await (await starting).end()
