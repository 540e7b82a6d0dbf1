"""The run list: every run under the watched path; Enter shows one, space lays others over it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from critictui.monitor.snapshot import RunRow, Snapshot
from critictui.tui import keys, words
from critictui.tui.glyphs import Glyphs
from critictui.tui.panels import shared_prefix
from critictui.tui.screens.base import RunScreen
from critictui.tui.siblings import told_apart
from critictui.tui.text import plain, set_title
from critictui.tui.widgets.header import STYLES
from critictui.tui.widgets.rows import Rows, cells

_MOST_OVERLAID = 5
_WIDE = 90
_FIXED, _FIXED_WIDE = 36, 67
"""Cells beside the name."""
_AROUND = 20
"""Rows before and behind that a long name is told from."""


_RANKS = {"critical": 0, "warning": 1, "unknown": 3, "healthy": 4}
_ORDERS: tuple[tuple[str, Callable[[RunRow], tuple[float, str]] | None], ...] = (
    ("", None),
    (", the worst first", lambda row: (_RANKS.get(row.verdict, 2), row.name)),
    (", the newest first", lambda row: (-row.modified, row.name)),
)
"""What the title says, and by what rows are put in order; None: as they come, by name."""


class RunsScreen(RunScreen):
    """A virtual list: 100,000 runs cost as much as those in view."""

    HELP = (
        "Every run found under the path, by name; o puts the worst first, then the newest. Enter shows the run on the "
        "dashboard. Space lays it over the one that is shown: the same charts, other lines. Each run has a letter, A "
        "for the one that is shown, a line shape, and on charts of one metric a colour; the lower border of a chart "
        "says which is which."
    )
    BINDINGS: ClassVar[list[BindingType]] = [*keys.RUNS]
    AUTO_FOCUS = "#runs"

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[RunRow, ...] = ()
        self._marked: tuple[Path, ...] | None = None
        self._main: Path | None = None
        self._order = 0
        self._shared = 0
        self._cut: dict[tuple[int, int], str] = {}
        """Names as they are shown, by row and width."""

    def compose_body(self) -> ComposeResult:
        """One list."""
        yield Rows(id="runs", classes="titled")

    def show(self, snapshot: Snapshot) -> None:
        """The rows as they are now; the cursor stays on its run."""
        rows = self.query_one("#runs", Rows)
        before = self._rows[rows.index].path if rows.index < len(self._rows) else None
        sort = _ORDERS[self._order][1]
        ordered = tuple(sorted(snapshot.rows, key=sort)) if sort is not None else snapshot.rows
        if [row.name for row in self._rows] != [row.name for row in ordered]:
            self._cut.clear()
        self._rows = ordered
        self._shared = shared_prefix([row.name for row in snapshot.rows])
        self._main = snapshot.main.run.path if snapshot.main is not None else None
        if self._marked is None:
            self._marked = tuple(w.run.path for w in snapshot.watched[1:])
        wanted = before or self._main
        place = next((i for i, row in enumerate(self._rows) if row.path == wanted), rows.index)
        found = f", looking for more ({snapshot.scanned:,} entries)" if snapshot.scanning else ""
        set_title(rows, plain(f"{words.count(len(self._rows), 'run')}{_ORDERS[self._order][0]}{found}"))
        rows.show(self._line, max(len(self._rows), 1), index=place if place != rows.index else None)

    def _line(self, index: int, width: int) -> Content:
        if index >= len(self._rows):
            return plain("no run found here yet", "$foreground-muted")
        row = self._rows[index]
        glyphs = self.shell.glyphs
        shown = row.path == self._main
        sign = glyphs.cursor if shown else "+" if row.path in (self._marked or ()) else " "
        gap = 1 if width < _WIDE else 2
        name = max(width - (_FIXED if width < _WIDE else _FIXED_WIDE), 10)
        columns = [
            (plain(sign, "bold $accent"), 1, "left"),
            (plain(self._short(index, name), "bold" if shown else ""), name, "left"),
            (plain(row.state if row.read else ""), 8, "left"),
            (plain(_step(row)), 13, "left"),
            (_verdict(row, glyphs), 10, "left"),
        ]
        if width >= _WIDE:
            columns += [
                (plain(f"d_acc {words.share(row.d_acc)}" if row.d_acc is not None else ""), 11, "left"),
                (plain(words.clock(row.modified, self.shell.now())), 12, "right"),
            ]
        return cells(columns, gap=gap)

    def _short(self, index: int, width: int) -> str:
        """A name as it is told from those around it that lie in the same folder."""
        name = self._rows[index].name[self._shared :]
        if len(name) <= width:
            return name
        cut = self._cut.get((index, width))
        if cut is None:
            folder = name.rpartition("/")[0]
            places = list(takewhile(lambda k: self._folder(k) == folder, range(index, index + _AROUND)))
            places = [*takewhile(lambda k: self._folder(k) == folder, range(index - 1, index - _AROUND, -1)), *places]
            if len(places) == 1:  # alone in its folder: then the folders are what differs
                places = list(range(max(index - _AROUND, 0), min(index + _AROUND, len(self._rows))))
            names = told_apart([self._rows[k].name[self._shared :] for k in places], width, self.shell.glyphs.more)
            self._cut |= {(place, width): cut for place, cut in zip(places, names, strict=True)}
            cut = self._cut[index, width]
        return cut

    def _folder(self, index: int) -> str | None:
        if not 0 <= index < len(self._rows):
            return None
        return self._rows[index].name[self._shared :].rpartition("/")[0]

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Show this run."""
        message.stop()
        if message.index < len(self._rows):
            if self.shell.monitor is not None:
                self.shell.monitor.select(self._rows[message.index].path)
            self.action_back()

    def action_order(self) -> None:
        """The next order; the cursor goes to the first run."""
        self._order = (self._order + 1) % len(_ORDERS)
        if self.shell.snapshot is not None:
            self.show(self.shell.snapshot)
            self.query_one("#runs", Rows).show(self._line, max(len(self._rows), 1), index=0)

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


def _step(row: RunRow) -> str:
    if not row.read:
        return "not read yet"
    if row.step is None:
        return "no step"
    return f"step {row.step}" if abs(row.step) < 10**8 else f"step {words.number(row.step, 4)}"


def _verdict(row: RunRow, glyphs: Glyphs) -> Content:
    """As a verdict with its sign, or in plain words that there is none yet."""
    if not row.verdict:
        return plain("not judged", "$foreground-muted")
    return plain(f"{glyphs.severity(row.verdict)} {row.verdict}", STYLES.get(row.verdict, ""))
