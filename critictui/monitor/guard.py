"""Supervision: a part that fails becomes a sentence for the user and is tried again later; the rest goes on."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import TypeVar

from critictui.run.text import sanitise_line

_PAUSE = 5.0
Value = TypeVar("Value")


class Guard:
    """Calls the parts of a thread, each under a name."""

    def __init__(self) -> None:
        self._notices: dict[str, str] = {}
        self._resting: dict[str, float] = {}
        self.failures = 0
        """How often a part failed."""
        self.traceback = ""
        """Of the last failure, for a crash log."""

    @property
    def notices(self) -> tuple[str, ...]:
        """One sentence for each part that does not work at present."""
        return tuple(self._notices.values())

    def call(self, name: str, part: Callable[[], Value], default: Value) -> Value:
        """What the part returns; `default` while it rests after a failure."""
        until = self._resting.get(name)
        if until is not None and time.monotonic() < until:
            return default
        try:
            value = part()
        except Exception as error:  # noqa: BLE001  the boundary at which it becomes something the user sees
            self.failures += 1
            self.traceback = traceback.format_exc()
            self._resting[name] = time.monotonic() + _PAUSE
            self._notices[name] = sanitise_line(
                f"{name}: {type(error).__name__}: {error}; tried again in a moment", 300
            )
            return default
        if until is not None:
            del self._resting[name]
            del self._notices[name]
        return value
