"""Where in a log the pane stands, and where some rows further on: a page of lines, and a row of its first one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from critictui.run.log_view import LogPage, LogView
from critictui.tui.text import folded


@dataclass(frozen=True, slots=True)
class Looked:
    """What reading the log brought."""

    page: LogPage | None = None
    row: int = 0
    """Rows of the first line that are above the pane: a wrapped line may be longer than the pane is high."""
    following: bool = False
    """The page is the end of the file, and the end is where the pane shall stay."""
    mark: int | None = None
    """Byte offset of the line that a search found."""
    said: str = ""
    """Why there is no page, or where a search ended."""


def moved(view: LogView, page: LogPage, row: int, room: int, width: int | None) -> Looked:
    """The page that begins `row` rows after the beginning of `page`, or before it; the end of the file is where less
    than `room` rows are left. `width` is None where lines are not wrapped.
    """
    start, known, back = page.start, page.lines, row < 0
    if row < 0:
        above = view.tail(-row, before=start)
        start, known = above.start, above.lines + known
        row = max(row + height(above.lines, width), 0)
    passed = 0
    while passed < len(known) - 1 and row >= height(known[passed : passed + 1], width):
        row -= height(known[passed : passed + 1], width)
        passed += 1
    shown = view.page(room, view.page(passed, start).end if passed else start)
    if not back and height(shown.lines, width) - row < room:
        return Looked(view.tail(room), following=True)
    return Looked(shown, row)


def height(found: Sequence[str], width: int | None) -> int:
    """Rows of lines; `width` is None where they are not wrapped."""
    return len(found) if width is None else sum(len(folded(line, width)) for line in found)
