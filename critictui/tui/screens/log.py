"""The log pane: the console log as safe text, from its end; follows, goes back, searches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Input
from textual.worker import get_current_worker

from critictui.monitor.snapshot import Snapshot
from critictui.run.log_view import LogPage, LogView
from critictui.run.source import RunError
from critictui.tui import keys, words
from critictui.tui.filter import LONGEST
from critictui.tui.log_place import Looked, height, moved
from critictui.tui.screens.base import RunScreen
from critictui.tui.screens.metrics import FilterInput
from critictui.tui.text import elided, folded, lines, plain, set_title, whole
from critictui.tui.widgets.words import Words

_SHIFT = 20
_NOTCH = 3
"""Rows that a notch of the wheel moves."""
_SECONDS = 1.0
"""Between two looks at a log that is followed."""


class LogRead(Message):
    """The reading thread is done."""

    def __init__(self, looked: Looked, number: int) -> None:
        self.looked = looked
        self.number = number
        super().__init__()


class LogScreen(RunScreen):
    """One log at a time; F2 goes to the next where a run has several."""

    HELP = (
        "The console log of the run. Escape codes and invisible characters are taken out; a line longer than 16 KiB "
        "is cut and says so. f stays at the end as it grows. w wraps long lines; where they are not wrapped left and "
        "right move sideways. / searches (a regular expression in linear time; without capital letters case does not "
        "matter), backwards from here; n goes on backwards, N forwards."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        *keys.LOG,
        Binding("up,k", "scroll(-1)", "Up", id="log.up", show=False),
        Binding("down,j", "scroll(1)", "Down", id="log.down", show=False),
        Binding("pageup", "turn(-1)", "Page up", id="log.page-up", show=False),
        Binding("pagedown", "turn(1)", "Page down", id="log.page-down", show=False),
        Binding("home,g", "begin", "First line", id="log.first", show=False),
        Binding("end,G", "follow(True)", "Last line", id="log.last", show=False),
        Binding("right", "shift(1)", "Right", id="log.right", show=False),
        Binding("left", "shift(-1)", "Left", id="log.left", show=False),
    ]
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self._files: tuple[Path, ...] = ()
        self._file = 0
        self._page: LogPage | None = None
        self._row = 0
        self._asked = 0
        self._owed = 0
        """Rows that were asked for and are not read yet: a wheel turns faster than a disk reads."""
        self.following = True
        self._mark: int | None = None
        self._pattern = ""
        self._wrapped = False
        self._column = 0
        self._version = -1

    def compose_body(self) -> ComposeResult:
        """Text, and a line to type a search into."""
        yield Words(id="log", classes="titled")
        yield FilterInput(placeholder="search", id="search", max_length=LONGEST)

    def on_mount(self) -> None:
        """Nothing to type until asked."""
        entry = self.query_one("#search", FilterInput)
        entry.cursor_blink = False
        entry.display = False
        if self.shell.frozen_clock is None:
            self.set_interval(_SECONDS, self._look_for_more, name="log")

    def _look_for_more(self) -> None:
        """Text without numbers in it is no news to the monitor."""
        page = self._page
        if not self.following or self._owed or page is None or not self.is_current or self.shell.paused:
            return

        def read(view: LogView, room: int) -> Looked:
            grown = view.path.stat().st_size != page.size
            return Looked(view.tail(room), following=True) if grown else Looked()

        self._look(read)

    def on_resize(self, event: events.Resize) -> None:
        """More or fewer lines."""
        del event
        self._version = -1
        self.renew()

    def show(self, snapshot: Snapshot) -> None:
        """The monitor saw something new: so may the log have."""
        main = snapshot.main
        if main is None:
            return
        root = main.run.path if main.run.path.is_dir() else main.run.path.parent
        self._files = tuple(root / s.path for s in main.run.sources if s.kind == "log" and s.state != "gone")
        if not self._files:
            self._say("this run has no console log that is known; the files it is read from are under i")
        elif self._version < 0 or (self.following and not self._owed and snapshot.version != self._version):
            self._version = snapshot.version
            if self.following or self._page is None:
                self._look(self._end)
            else:
                self._look(self._again(self._page.start, self._row))

    @property
    def _room(self) -> int:
        return max(self.size.height - 3 - self.query_one("#search").display, 1)

    @property
    def _view(self) -> LogView:
        return LogView(self._files[self._file % len(self._files)])

    def _look(self, read: Callable[[LogView, int], Looked]) -> None:
        """Read in a thread: a dead mount must not stop the screen."""
        if not self._files:
            return
        view, room = self._view, self._room
        self._asked += 1
        number = self._asked

        def work() -> None:
            try:
                looked = read(view, room)
            except (RunError, OSError) as error:
                looked = Looked(said=str(error), following=self.following)
            if not get_current_worker().is_cancelled:
                self.post_message(LogRead(looked, number))

        self.run_worker(work, thread=True, exclusive=True, exit_on_error=False, name="log", group="log")

    @staticmethod
    def _end(view: LogView, room: int) -> Looked:
        return Looked(view.tail(room), following=True)

    def _again(self, start: int, row: int) -> Callable[[LogView, int], Looked]:
        return lambda view, room: Looked(view.page(room, start), row, mark=self._mark)

    def on_log_read(self, message: LogRead) -> None:
        """Show it, unless something else was asked for since."""
        looked = message.looked
        if message.number != self._asked:
            return
        self._owed = 0
        if looked.said:
            self.shell.say(looked.said, "warning") if self._page is not None else self._say(looked.said)
        if looked.page is None:
            return
        self._page, self._row = looked.page, looked.row
        self.following, self._mark = looked.following, looked.mark
        self._paint()

    @property
    def _width(self) -> int:
        return max(self.size.width - 2, 1)

    def _paint(self) -> None:
        page = self._page
        if page is None:
            return
        width = self._width
        rows: list[Content] = []
        for number, line in enumerate(page.lines):
            style = "bold $accent" if self._mark == page.start and number == 0 else ""
            if self._wrapped:
                rows += [whole(row, style) for row in folded(line, width)]
            else:
                rows.append(whole(line[self._column :][: width + 1], style).truncate(width, ellipsis=True))
        rows = rows[-self._room :] if self.following else rows[min(self._row, max(len(rows) - 1, 0)) :][: self._room]
        self.query_one("#log", Words).say(lines(rows))
        file = self._files[self._file % len(self._files)] if self._files else Path("log")
        more = f" ({self._file % len(self._files) + 1} of {len(self._files)}, f2: next)" if len(self._files) > 1 else ""
        share = 1.0 if not page.size else page.end / page.size
        where = "following" if self.following else f"{share:.0%} of {words.size(page.size)}"
        name = elided(file.name, max(width - 40, 8), self.shell.glyphs.more)
        set_title(self.query_one("#log"), plain(f"{name}{more} {self.shell.glyphs.dot} {where}"))

    def _say(self, text: str) -> None:
        self.query_one("#log", Words).say(plain(text, "$foreground-muted"))

    def action_scroll(self, by: int) -> None:
        """A line up or down."""
        self._move(by)

    def action_turn(self, by: int) -> None:
        """A page up or down."""
        self._move(by * max(self._room - 1, 1))

    def _move(self, by: int) -> None:
        """By rows: a line is one of them unless it is wrapped."""
        page = self._page
        if page is None or (by > 0 and self.following):
            return
        self._owed += by
        row, width = self._top() + self._owed, self._width if self._wrapped else None
        self._look(lambda view, room: moved(view, page, row, room, width))

    def _top(self) -> int:
        """The row of the page that is the first of the pane."""
        if self._page is None or not self.following:
            return self._row
        return max(height(self._page.lines, self._width if self._wrapped else None) - self._room, 0)

    def action_begin(self) -> None:
        """To the first line."""
        self._look(lambda view, room: Looked(view.page(room, 0)))

    def action_follow(self, on: bool | None = None) -> None:
        """Stay at the end as it grows, or stay here."""
        self._row = self._top()
        self.following = not self.following if on is None else on
        if self.following:
            self._look(self._end)
        else:
            self._paint()

    def action_shift(self, by: int) -> None:
        """Long lines, sideways."""
        self._column = max(self._column + by * _SHIFT, 0)
        self._paint()

    def action_wrap(self) -> None:
        """Long lines whole, or cut."""
        self._wrapped = not self._wrapped
        self._row = 0
        self._paint()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """A notch is a few rows."""
        event.stop()
        self._move(_NOTCH)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Back."""
        event.stop()
        self._move(-_NOTCH)

    def action_next_file(self) -> None:
        """Another log of this run."""
        self._file += 1
        self._page, self._row, self._mark, self.following = None, 0, None, True
        self._look(self._end)

    def action_search(self) -> None:
        """Type what to look for."""
        entry = self.query_one("#search", FilterInput)
        entry.display = True
        entry.focus()

    def action_leave_filter(self) -> None:
        """Out of the search line."""
        self.query_one("#search", FilterInput).display = False
        self.set_focus(None)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Look for it, backwards from the end of what is shown."""
        message.stop()
        self._pattern = message.value
        self.action_leave_filter()
        if self._pattern and self._page is not None:
            self._find(-1, self._page.end)

    def action_next_match(self, by: int) -> None:
        """The next one, backwards (-1) or forwards."""
        page = self._page
        if page is None or not self._pattern:
            self.shell.say("nothing to search for yet: press /")
            return
        on_mark = self._mark == page.start and len(page.lines) > 0
        self._find(by, page.start if by < 0 or not on_mark else page.start + 1)

    def _find(self, by: int, start: int) -> None:
        pattern = self._pattern

        def read(view: LogView, room: int) -> Looked:
            at = view.page(1, start).end if by > 0 and self._mark is not None else start
            while not get_current_worker().is_cancelled:
                hit = view.search(pattern, before=at) if by < 0 else view.search(pattern, after=at)
                if hit.offset is not None:
                    return Looked(view.page(room, hit.offset), mark=hit.offset)
                if hit.reached == at or hit.reached <= 0:
                    break
                at = hit.reached
            return Looked(said=f"no {'earlier' if by < 0 else 'later'} line matches {pattern!r}")

        self._look(read)
