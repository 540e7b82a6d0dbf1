"""What work on the bench needs of the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from textual.screen import Screen
    from textual.timer import Timer
    from textual.worker import Worker

    from critictui.config import Config
    from critictui.monitor.snapshot import Snapshot
    from critictui.tui.said import Severity


class Wakes(Protocol):
    """The monitor, as far as results go."""

    def wake(self) -> None:
        """Look now."""
        ...


class Host(Protocol):
    """The app, as far as work knows it."""

    snapshot: Snapshot | None
    """The newest one that may be shown."""

    @property
    def config(self) -> Config:
        """What the user set."""
        ...

    @property
    def monitor(self) -> Wakes | None:
        """Finds new results."""
        ...

    @property
    def screen(self) -> Screen[object]:
        """The one that the user looks at."""
        ...

    def say(self, text: str, severity: Severity = "information") -> None:
        """A toast."""
        ...

    def report(self, error: Exception, where: str) -> None:
        """An error that nobody expected."""
        ...

    def tell_screen(self, snapshot: Snapshot) -> None:
        """The screen on top shows it."""
        ...

    def tell_work(self) -> None:
        """Something about the bench, or a result, is different."""
        ...

    def tick_work(self) -> None:
        """The seconds of what runs go on."""
        ...

    def gpu_peaks(self) -> Mapping[int, int]:
        """The highest use in bytes of each GPU, where it is known."""
        ...

    def set_interval(self, interval: float, callback: Callable[[], object], *, name: str) -> Timer:
        """Call again and again."""
        ...

    def set_timer(self, delay: float, callback: Callable[[], object], *, name: str) -> Timer:
        """Call once."""
        ...

    def run_worker(self, work: Awaitable[None], name: str, group: str, *, exit_on_error: bool) -> Worker[None]:
        """Do it beside the screen."""
        ...
