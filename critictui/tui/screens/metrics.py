"""Every metric as a small chart, grouped by prefix, filtered as one types; only those on the page are drawn."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.geometry import Size
from textual.widgets import Input

from critictui.monitor.snapshot import Snapshot
from critictui.tui import keys
from critictui.tui.chart.mini import MiniChart
from critictui.tui.chart.model import Line
from critictui.tui.filter import LONGEST, FilterError, group_of, kind_of, matcher
from critictui.tui.screens.base import RunScreen
from critictui.tui.supervised import SupervisedWidget
from critictui.tui.text import EMPTY, elided, plain
from critictui.tui.widgets.words import Words


class FilterInput(SupervisedWidget, Input):
    """The line one types a filter into; it does not blink."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "screen.leave_filter", "Back", id="filter.back"),
        Binding("down", "screen.leave_filter", "Out of the line", id="filter.charts", show=False),
    ]


_SHORTEST_SOURCE = 12
"""Characters of a source's name below which it says nothing."""


def page_shape(size: Size) -> tuple[int, int]:
    """(columns, rows) of small charts that a screen of this size has room for."""
    columns = max(size.width // (26 if size.width < 110 else 30), 1)
    height = 3 if size.height < 20 else 4 if size.height < 36 else 5
    return columns, max((size.height - 4) // height, 1)


def ordered(tags: list[str]) -> list[str]:
    """By group, the critic's own first, then by name."""
    return sorted(tags, key=lambda tag: (group_of(tag) != "critic", group_of(tag) == "other", tag))


class MetricsScreen(RunScreen):
    """A page of small charts. The pool of widgets is as large as a page, whatever the number of metrics."""

    HELP = (
        "Every metric of the run. Arrows walk, page up and down turn pages, [ and ] go to the group before or after. "
        "The filter takes part of a name, a glob (critic/*, d_*) or a regular expression (score_(mean|std)$). Enter "
        "shows the metric on the full screen, p puts it on the dashboard."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        *keys.METRICS,
        Binding("left", "walk(-1)", "Left", id="metrics.left", show=False),
        Binding("right", "walk(1)", "Right", id="metrics.right", show=False),
        Binding("up", "walk_row(-1)", "Up", id="metrics.up", show=False),
        Binding("down", "walk_row(1)", "Down", id="metrics.down", show=False),
        Binding("pagedown", "page(1)", "Next page", id="metrics.page-down"),
        Binding("pageup", "page(-1)", "Page before", id="metrics.page-up"),
        Binding("home", "to(0)", "First", id="metrics.first", show=False),
        Binding("end", "to(-1)", "Last", id="metrics.last", show=False),
    ]
    AUTO_FOCUS = ""

    def __init__(self, *, filtering: bool = False) -> None:
        super().__init__()
        self._filtering = filtering
        self._opened = False
        self._known = -1
        self._ordered: list[str] = []
        self._tags: list[str] = []
        self._groups: list[tuple[str, int, int]] = []
        self.cursor = 0
        """Index into the filtered tags."""
        self._start = 0
        self._shape = (1, 1)
        self._problem = ""
        self._applied: str | None = None
        self._clicked = ""
        """The tag that was clicked last: a second click opens it."""

    def compose_body(self) -> ComposeResult:
        """Filter, groups, charts, and a line about the one under the cursor."""
        yield FilterInput(
            self.shell.state.filter, placeholder="filter: d_acc, critic/*, std$", id="filter", max_length=LONGEST
        )
        yield Words(id="groups")
        yield Container(id="minis")
        yield Words(id="chosen")

    async def on_mount(self) -> None:  # type: ignore[override] # Textual awaits either
        """Where the focus begins."""
        entry = self.query_one("#filter", FilterInput)
        entry.cursor_blink = False
        await self._arrange()
        if self._filtering:
            entry.focus()
        else:
            self._focus()

    async def on_resize(self, event: events.Resize) -> None:  # type: ignore[override] # Textual awaits either
        """Another size, another page."""
        del event
        if self.composed:
            await self._arrange()

    async def _arrange(self) -> None:
        self._shape = columns, rows = page_shape(self.size)
        area = self.query_one("#minis")
        area.styles.grid_size_columns, area.styles.grid_size_rows = columns, rows
        app = self.shell
        have = list(self.query(MiniChart))
        for chart in have[columns * rows :]:
            chart.display = False
        await area.mount_all(
            MiniChart(view=app.view, ascii=app.glyphs.ascii, mono=app.no_color, id=f"mini-{i}", classes="mini")
            for i in range(len(have), columns * rows)
        )
        self.renew()

    def show(self, snapshot: Snapshot) -> None:
        """The charts of this page, from the newest snapshot."""
        main = snapshot.main
        if main is None:
            return
        if len(main.run.series) != self._known:
            self._known = len(main.run.series)
            self._ordered = ordered(list(main.run.series))
            self._applied = None
        self._apply_filter()
        if not (self._opened or self._filtering or self._tags) and self._ordered:
            self._drop_remembered_filter()
        self._opened = True
        columns, rows = self._shape
        room = columns * rows
        self._keep_in_view(room)
        for place, chart in enumerate(self.query(MiniChart)):
            index = self._start + place
            here = place < room and index < len(self._tags)
            chart.display = here
            if here:
                tag = self._tags[index]
                chart.set_line(Line(tag, main.run.series[tag]))
        self._say_where()

    def _drop_remembered_filter(self) -> None:
        """What was typed for an earlier look and fits nothing here would open on an empty page."""
        entry = self.query_one("#filter", FilterInput)
        with self.prevent(Input.Changed):
            entry.value = ""
        self._apply_filter()

    def _apply_filter(self) -> None:
        text = self.query_one("#filter", FilterInput).value
        if text == self._applied:
            return
        chosen = self._tags[self.cursor] if self.cursor < len(self._tags) else ""
        try:
            matches = matcher(text)
        except FilterError as error:
            self._problem = str(error)
            return
        self._problem, self._applied = "", text
        self.refresh_bindings()
        self._tags = [tag for tag in self._ordered if matches(tag)]
        self.cursor = self._tags.index(chosen) if chosen in self._tags else 0
        self._start = 0
        self._groups = []
        for index, tag in enumerate(self._tags):
            group = group_of(tag)
            if not self._groups or self._groups[-1][0] != group:
                self._groups.append((group, index, 0))
            name, first, count = self._groups[-1]
            self._groups[-1] = (name, first, count + 1)

    def _keep_in_view(self, room: int) -> None:
        self.cursor = min(max(self.cursor, 0), max(len(self._tags) - 1, 0))
        if not self._start <= self.cursor < self._start + room:
            self._start = self.cursor // self._shape[0] * self._shape[0]
            self._start = max(min(self._start, len(self._tags) - 1), 0)

    def _say_where(self) -> None:
        dot = f" {self.shell.glyphs.dot} "
        groups = self.query_one("#groups", Words)
        text = self._applied or ""
        if self._problem:
            groups.say(plain(self._problem, "$text-error"))
        elif not self._tags:
            groups.say(plain(f"no metric has {text!r} as {kind_of(text)}" if text else "no metric yet"))
        else:
            here = group_of(self._tags[self.cursor])
            parts = [
                plain(f"{name} {count}", "bold $accent" if name == here else "$foreground-muted")
                for name, _, count in self._groups_near(here)
            ]
            taken = plain(f"taken as {kind_of(text)}: ", "$foreground-muted") if text else EMPTY
            groups.say((taken + plain(dot).join(parts)).truncate(max(self.size.width - 2, 1), ellipsis=True))
        self.query_one("#chosen", Words).say(self._chosen_words())

    def _groups_near(self, here: str) -> list[tuple[str, int, int]]:
        names = [name for name, _, _ in self._groups]
        place = names.index(here) if here in names else 0
        return self._groups[max(place - 3, 0) : place + 20]

    def _chosen_words(self) -> Content:
        if not self._tags:
            return EMPTY
        tag = self._tags[self.cursor]
        main = self.shell.snapshot.main if self.shell.snapshot is not None else None
        series = main.run.series.get(tag) if main is not None else None
        pinned = ", on the dashboard" if tag in self.shell.state.pins else ""
        head = f"{self.cursor + 1:,} of {len(self._tags):,}: "
        room = self.size.width - 2 - len(head) - len(pinned)
        more = self.shell.glyphs.more
        said = elided(tag, max(room, 8), more)
        left = room - len(said) - len(", from ")
        if series is not None and left >= _SHORTEST_SOURCE:
            said += f", from {elided(series.source, left, more)}"
        return plain(f"{head}{said}{pinned}", "$foreground-muted")

    def _focus(self) -> None:
        charts = list(self.query(MiniChart))
        place = self.cursor - self._start
        if 0 <= place < len(charts) and charts[place].display:
            charts[place].focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A click or Tab moves the cursor too."""
        if isinstance(event.widget, MiniChart):
            place = list(self.query(MiniChart)).index(event.widget)
            if self._start + place < len(self._tags):
                self.cursor = self._start + place
                self._say_where()

    def on_click(self, event: events.Click) -> None:
        """A second click on a chart opens it, as in a list."""
        if not isinstance(event.widget, MiniChart) or event.widget.line is None:
            self._clicked = ""
            return
        tag = event.widget.line.label
        if tag == self._clicked:
            self.shell.open_chart(tag)
        self._clicked = tag

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """A row of charts on."""
        event.stop()
        self._scroll(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """A row of charts back."""
        event.stop()
        self._scroll(-1)

    def _scroll(self, by: int) -> None:
        """Another row at the top; the cursor comes along when it would be out of sight."""
        columns, rows = self._shape
        last = max(-(-len(self._tags) // columns) - rows, 0)
        top = min(max(self._start // columns + by, 0), last)
        self._start = top * columns
        self._go(min(max(self.cursor, self._start), self._start + columns * rows - 1))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is nothing to turn on the only page."""
        if action == "page":
            return len(self._tags) > self._shape[0] * self._shape[1]
        return super().check_action(action, parameters)

    def on_input_changed(self, message: Input.Changed) -> None:
        """Filter as one types."""
        message.stop()
        self.renew()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """To the charts."""
        message.stop()
        self.action_leave_filter()

    def action_leave_filter(self) -> None:
        """Keep the filter, go to the charts."""
        from dataclasses import replace

        self.shell.keep(replace(self.shell.state, filter=self.query_one("#filter", FilterInput).value))
        self._focus()
        if isinstance(self.focused, FilterInput):
            self.set_focus(None)

    def action_filter(self) -> None:
        """Type a filter."""
        self.query_one("#filter", FilterInput).focus()

    def _go(self, index: int) -> None:
        self.cursor = min(max(index, 0), max(len(self._tags) - 1, 0))
        self.renew()
        self._focus()

    def action_walk(self, by: int) -> None:
        """To the next chart."""
        self._go(self.cursor + by)

    def action_walk_row(self, by: int) -> None:
        """A row up or down."""
        self._go(self.cursor + by * self._shape[0])

    def action_page(self, by: int) -> None:
        """A page up or down; the cursor keeps its place on the page."""
        room = self._shape[0] * self._shape[1]
        self._start = min(max(self._start + by * room, 0), max(len(self._tags) - 1, 0) // room * room)
        self._go(self.cursor + by * room)

    def action_to(self, index: int) -> None:
        """The first or the last."""
        self._go(index if index >= 0 else len(self._tags) - 1)

    def action_group(self, by: int) -> None:
        """The first metric of the group before or after."""
        here = group_of(self._tags[self.cursor]) if self._tags else ""
        firsts = [first for _, first, _ in self._groups]
        place = next((i for i, (name, _, _) in enumerate(self._groups) if name == here), 0)
        if firsts:
            self._start = firsts[(place + by) % len(firsts)]
            self._go(self._start)

    def action_enlarge(self) -> None:
        """The chart under the cursor on the full screen."""
        if self._tags:
            self.shell.open_chart(self._tags[self.cursor])

    def action_pin(self) -> None:
        """Onto the dashboard, or off it."""
        if self._tags:
            self.shell.toggle_pin(self._tags[self.cursor])
            self._say_where()
