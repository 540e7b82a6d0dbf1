"""A list of any length: rows are made when they come into view, one of them is chosen by key or mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from critictui.tui.supervised import SupervisedWidget
from critictui.tui.text import EMPTY

MakeRow = Callable[[int, int], Content]
"""(index, width in cells) to the row."""


class Rows(SupervisedWidget, ScrollView, can_focus=True):
    """Virtual rows of one line each. 100,000 of them cost as much as those in view."""

    DEFAULT_CSS = """
    Rows {
        height: 1fr; width: 1fr; overflow-x: hidden; overflow-y: auto;
        scrollbar-size-vertical: 1; scrollbar-gutter: stable;
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", id="list.up", show=False),
        Binding("down,j", "move(1)", "Down", id="list.down", show=False),
        Binding("pageup", "page(-1)", "Page up", id="list.page-up", show=False),
        Binding("pagedown", "page(1)", "Page down", id="list.page-down", show=False),
        Binding("home,g", "first", "First", id="list.first", show=False),
        Binding("end,G", "last", "Last", id="list.last", show=False),
        Binding("enter", "choose", "Open", id="list.open", show=False),
    ]

    class Chosen(Message):
        """Enter or a click on the row that the cursor is on."""

        def __init__(self, rows: Rows, index: int) -> None:
            self.rows = rows
            self.index = index
            super().__init__()

        @property
        def control(self) -> Rows:
            """The list."""
            return self.rows

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, rows: Rows, index: int) -> None:
            self.rows = rows
            self.index = index
            super().__init__()

        @property
        def control(self) -> Rows:
            """The list."""
            return self.rows

    def __init__(
        self,
        make: MakeRow | None = None,
        count: int = 0,
        *,
        id: str | None = None,  # noqa: A002 - Textual's name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._make = make
        self._count = count
        self.index = 0
        """The row the cursor is on."""
        self._shown: tuple[object, ...] = ()

    @property
    def room(self) -> int:
        """Cells of a row: the place of the scrollbar is kept free, so that it covers nothing when it comes."""
        return self.scrollable_content_region.width

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._count

    def show(self, make: MakeRow, count: int, *, index: int | None = None) -> None:
        """Other rows; the cursor stays where it is unless it is put elsewhere. Repaints only visible changes."""
        resized = count != self._count
        self._make, self._count = make, count
        wanted = self.index if index is None else index
        self.index = min(max(wanted, 0), max(count - 1, 0))
        if resized:
            self.virtual_size = Size(self.size.width, count)
        now = self._visible()
        if now != self._shown:
            self.refresh()
        if resized or index is not None:
            self._reveal()

    def on_mount(self) -> None:
        """The scrollbar needs to know the length."""
        self.virtual_size = Size(self.size.width, self._count)

    def on_resize(self, event: events.Resize) -> None:
        """The width goes into the rows."""
        self.virtual_size = Size(event.size.width, self._count)
        self._reveal()

    def render_line(self, y: int) -> Strip:
        """The row that is at line `y` of the window."""
        width = self.size.width
        index = y + self.scroll_offset.y
        if y == 0:
            self._shown = self._visible()
        if self._make is None or not 0 <= index < self._count:
            return Strip.blank(width, self.rich_style)
        style = self.visual_style
        if index == self.index and self.has_focus:
            style += self.get_visual_style("rows--cursor", partial=True)
        content = self._make(index, self.room)
        strips = Visual.to_strips(self, content.truncate(width, ellipsis=False, pad=True), width, 1, style)
        return strips[0] if strips else Strip.blank(width, self.rich_style)

    def _visible(self) -> tuple[object, ...]:
        top, width, height = self.scroll_offset.y, self.room, self.size.height
        if self._make is None:
            return ()
        rows: list[object] = [top, width, self.index, self.has_focus]
        for index in range(top, min(top + height, self._count)):
            content = self._make(index, width)
            rows.append((content.plain, tuple(content.spans)))
        return tuple(rows)

    def _move_to(self, index: int) -> None:
        index = min(max(index, 0), max(self._count - 1, 0))
        if index == self.index:
            return
        self.index = index
        self._reveal()
        self.refresh()
        self.post_message(self.Moved(self, index))

    def _reveal(self) -> None:
        if self._count and self.size.height:
            self.scroll_to_region(Region(0, self.index, 1, 1), animate=False, force=True)

    def action_move(self, by: int) -> None:
        """Up or down."""
        self._move_to(self.index + by)

    def action_page(self, by: int) -> None:
        """A window up or down."""
        self._move_to(self.index + by * max(self.size.height - 1, 1))

    def action_first(self) -> None:
        """To the first row."""
        self._move_to(0)

    def action_last(self) -> None:
        """To the last row."""
        self._move_to(self._count - 1)

    def action_choose(self) -> None:
        """Open the row."""
        if self._count:
            self.post_message(self.Chosen(self, self.index))

    def on_click(self, event: events.Click) -> None:
        """The first click puts the cursor there, the next one opens."""
        index = event.y + self.scroll_offset.y
        if not 0 <= index < self._count:
            return
        if index == self.index:
            self.action_choose()
        else:
            self._move_to(index)


def cells(columns: list[tuple[Content, int, str]], gap: int = 2) -> Content:
    """Columns side by side: (content, width, 'left' or 'right'); what is too long is cut."""
    row = EMPTY
    for i, (content, width, side) in enumerate(columns):
        if width <= 0:
            continue
        cut = content.truncate(width, ellipsis=content.cell_length > width)
        missing = width - cut.cell_length
        padded = cut.pad_left(missing) if side == "right" else cut.pad_right(missing)
        row = row + padded + (Content(" " * gap) if i < len(columns) - 1 else EMPTY)
    return row
