"""Errors become something the user sees, and the app goes on: those of handlers here, those of threads in `strays`."""

from __future__ import annotations

import asyncio
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from textual.message import Message
from textual.message_pump import MessagePump
from textual.strip import Strip
from textual.visual import visualize
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from critictui.places import state_home
from critictui.tui.text import plain

if TYPE_CHECKING:
    from textual.geometry import Region
    from textual.visual import Visual

LARGEST_LOG = 1 << 20


@runtime_checkable
class Reporter(Protocol):
    """The app, as far as errors go."""

    def report(self, error: Exception, where: str) -> None:
        """Show it and log it."""
        ...


class Supervised(MessagePump):
    """Mixed into the app, every screen and every widget of ours.

    `_dispatch_message` is private to Textual (pinned exactly): it is the one place through which every handler, timer
    and callback runs, and an exception that leaves it ends the app.
    """

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            app = self.app
            if not isinstance(app, Reporter):
                raise
            app.report(error, f"{type(self).__name__} on {type(message).__name__}")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A worker that failed is said; it tells only the one that it was started for, and no one further up."""
        error, app = event.worker.error, self.app
        if event.state is WorkerState.ERROR and isinstance(error, Exception) and isinstance(app, Reporter):
            app.report(error, f"{type(self).__name__}, worker {event.worker.name}")


if TYPE_CHECKING:

    class _Mixed(Supervised, Widget):
        """What it is mixed into."""

else:
    _Mixed = Supervised  # a base that is a widget would hide the style sheet of the widget it is mixed into


class SupervisedWidget(_Mixed):
    """Mixed into every widget of ours: one that cannot be drawn says so in its place, and the others are painted."""

    def _render(self) -> Visual:
        try:
            return super()._render()
        except Exception as error:  # noqa: BLE001 - the boundary of a widget
            return visualize(self, plain(self._instead(error)), markup=False)

    def render_lines(self, crop: Region) -> list[Strip]:
        """As every widget's, or what went wrong on its first line."""
        try:
            return super().render_lines(crop)
        except Exception as error:  # noqa: BLE001 - the boundary of a widget
            said = Strip(plain(self._instead(error)).render_segments(self.visual_style))
            lines = [said if y == 0 else Strip.blank(self.size.width) for y in range(crop.y, crop.bottom)]
            return [line.adjust_cell_length(crop.right).crop(crop.x, crop.right) for line in lines]

    def _instead(self, error: Exception) -> str:
        app = self.app
        if isinstance(app, Reporter):
            app.report(error, f"{type(self).__name__} when drawn")
        return f"cannot be drawn: {type(error).__name__}: {error}"


def crash_log_path() -> Path:
    """Where errors are written down."""
    return state_home() / "crash.log"


def log_error(error: BaseException, where: str, path: Path | None = None) -> Path | None:
    """Append the traceback to the crash log; the path, or None where nothing can be written.

    The log starts anew when it has reached 1 MiB: an error that repeats does not fill the disk.
    """
    path = crash_log_path() if path is None else path
    entry = "".join(traceback.format_exception(error))
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.exists() and path.stat().st_size > LARGEST_LOG
        with path.open("w" if fresh else "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"--- {stamp} {where}\n{entry}\n")
    except OSError:
        return None
    return path
