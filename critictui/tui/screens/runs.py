"""The run list: every run under the watched path; Enter shows one, space lays others over it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from critictui.monitor.snapshot import RunRow, Snapshot
from critictui.tui import keys, words
from critictui.tui.panels import shared_prefix
from critictui.tui.screens.base import RunScreen
from critictui.tui.text import elided, plain, set_title
from critictui.tui.widgets.header import STYLES
from critictui.tui.widgets.rows import Rows, cells

_MOST_OVERLAID = 5


class RunsScreen(RunScreen):
    """A virtual list: 100,000 runs cost as much as those in view."""

    HELP = (
        "Every run found under the path, by name. Enter shows the run on the dashboard. Space lays it over the one "
        "that is shown: the same charts, other lines. Each run has a letter, A for the one that is shown, a line "
        "shape, and on charts of one metric a colour; the lower border of a chart says which is which."
    )
    BINDINGS: ClassVar[list[BindingType]] = [*keys.RUNS]
    AUTO_FOCUS = "#runs"

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[RunRow, ...] = ()
        self._marked: tuple[Path, ...] | None = None
        self._main: Path | None = None
        self._shared = 0

    def compose_body(self) -> ComposeResult:
        """One list."""
        yield Rows(id="runs", classes="titled")

    def show(self, snapshot: Snapshot) -> None:
        """The rows as they are now; the cursor stays on its run."""
        rows = self.query_one("#runs", Rows)
        before = self._rows[rows.index].path if rows.index < len(self._rows) else None
        self._rows = snapshot.rows
        self._shared = shared_prefix([row.name for row in snapshot.rows])
        self._main = snapshot.main.run.path if snapshot.main is not None else None
        if self._marked is None:
            self._marked = tuple(w.run.path for w in snapshot.watched[1:])
        wanted = before or self._main
        place = next((i for i, row in enumerate(self._rows) if row.path == wanted), rows.index)
        found = f", looking for more ({snapshot.scanned:,} entries)" if snapshot.scanning else ""
        set_title(rows, plain(f"{words.count(len(self._rows), 'run')}{found}"))
        rows.show(self._line, max(len(self._rows), 1), index=place if place != rows.index else None)

    def _line(self, index: int, width: int) -> Content:
        if index >= len(self._rows):
            return plain("no run found here yet", "$foreground-muted")
        row = self._rows[index]
        glyphs = self.shell.glyphs
        shown = row.path == self._main
        sign = glyphs.cursor if shown else "+" if row.path in (self._marked or ()) else " "
        name = max(width - (62 if width >= 90 else 40), 10)
        columns = [
            (plain(sign, "bold $accent"), 1, "left"),
            (plain(elided(row.name[self._shared :], name, glyphs.more), "bold" if shown else ""), name, "left"),
            (plain(row.state), 8, "left"),
            (plain(f"step {row.step}" if row.step is not None else "no step"), 11, "left"),
            (plain(f"{glyphs.severity(row.verdict)} {row.verdict}", STYLES.get(row.verdict, "")), 10, "left"),
        ]
        if width >= 90:
            columns += [
                (plain(f"d_acc {words.share(row.d_acc)}" if row.d_acc is not None else ""), 11, "left"),
                (plain(words.clock(row.modified, self.shell.now())), 12, "right"),
            ]
        return cells(columns, gap=1 if width < 90 else 2)

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Show this run."""
        message.stop()
        if message.index < len(self._rows):
            if self.shell.monitor is not None:
                self.shell.monitor.select(self._rows[message.index].path)
            self.action_back()

    def action_mark(self) -> None:
        """Lay the run under the cursor over the shown one, or take it off."""
        index = self.query_one("#runs", Rows).index
        if index >= len(self._rows) or self._rows[index].path == self._main:
            return
        path = self._rows[index].path
        marked = self._marked or ()
        if path not in marked and len(marked) >= _MOST_OVERLAID:
            self.shell.say(f"{_MOST_OVERLAID} runs over one are as many as can be told apart", "warning")
            return
        self._marked = tuple(p for p in marked if p != path) if path in marked else (*marked, path)
        if self.shell.monitor is not None:
            self.shell.monitor.overlay(self._marked)
        self.query_one("#runs", Rows).refresh()
