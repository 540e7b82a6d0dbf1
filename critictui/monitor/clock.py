"""How long a run has been silent, as seen by someone who may have slept: time in which nobody looked is not silence."""

from __future__ import annotations

import time
from collections.abc import Callable

_LONGEST_ROUND = 10.0
_FORGIVEN_FOR = 600.0


class AwakeClock:
    """Wall clock time, less the pauses in which this process did not run.

    After a suspend, or a stop by a signal, a training on another machine may be as lively as ever: it is given time to
    show so. The pause is forgotten once something changes, or after ten minutes awake.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._last = (wall(), monotonic())
        self._pause = 0.0
        self._awake = 0.0

    def now(self) -> float:
        """Seconds since the epoch to measure silence with. Call it at least every few seconds."""
        wall, monotonic = self._wall(), self._monotonic()
        # The wall clock runs on while the machine sleeps, the monotonic one does not; a stopped process sees both jump.
        gap = max(wall - self._last[0], monotonic - self._last[1])
        self._last = (wall, monotonic)
        if gap > _LONGEST_ROUND:
            self._pause += gap
            self._awake = 0.0
        else:
            self._awake += max(gap, 0.0)
        if self._awake > _FORGIVEN_FOR:
            self._pause = 0.0
        return wall - self._pause

    def something_changed(self) -> None:
        """A file grew: whatever the pause was, it is over."""
        self._pause = 0.0
