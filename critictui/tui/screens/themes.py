"""The themes to choose from: ours first and by what they are for, the current one marked; moving shows each at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import ModalScreen
from textual.theme import BUILTIN_THEMES

from critictui.tui import keys
from critictui.tui.supervised import Supervised
from critictui.tui.text import plain, set_title
from critictui.tui.themes import DEFAULT_THEME
from critictui.tui.widgets.keybar import KeyBar
from critictui.tui.widgets.rows import Rows, cells

if TYPE_CHECKING:
    from critictui.tui.shell import Shell

PURPOSE: Final = {
    DEFAULT_THEME: "dark, colour-blind safe: the default",
    "critic-light": "light",
    "high-contrast": "high contrast",
    "ansi": "the terminal's own sixteen colours",
    "ember": "a favourite: warm and low",
    "fjord": "a favourite: cool, grey-blue",
}
"""What each of our themes is for, in the order of the list."""
_NAME = 20


class ThemeRows(Rows):
    """The list, with the dialogue's keys."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.THEMES]


class ThemeScreen(Supervised, ModalScreen[str]):
    """Ends with the name of the chosen theme; with that of the one before where none was chosen."""

    CSS_PATH = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = []
    AUTO_FOCUS = "#themes"
    previewing: ClassVar[bool] = True
    """What is shown while this screen is on top was not chosen yet."""

    def __init__(self, names: list[str], before: str) -> None:
        super().__init__()
        self.names, self._before = names, before

    @property
    def shell(self) -> Shell:
        """The app."""
        return cast("Shell", self.app)

    def compose(self) -> ComposeResult:
        """One list and its keys."""
        with Container(id="themes-box", classes="dialogue"):
            yield ThemeRows(id="themes")
            yield KeyBar(id="dialogue-keys")

    def on_mount(self) -> None:
        """The cursor begins on the theme that is shown."""
        self.set_class(self.shell.glyphs.ascii, "-ascii")
        set_title(self.query_one("#themes-box"), plain("theme"))
        rows = self.query_one("#themes", ThemeRows)
        place = self.names.index(self._before) if self._before in self.names else 0
        rows.show(self._line, len(self.names), index=place)

    def on_resize(self, event: events.Resize) -> None:
        """As many rows as there is room for, with border and keys."""
        self.query_one("#themes").styles.height = max(min(len(self.names), event.size.height * 9 // 10 - 3), 1)

    def _line(self, index: int, width: int) -> Content:
        name = self.names[index]
        now = name == self._before
        said = PURPOSE.get(name) or ("comes with Textual" if name in BUILTIN_THEMES else "your own")
        return cells(
            [
                (plain(self.shell.glyphs.cursor if now else " ", "bold $accent"), 1, "left"),
                (plain(name, "bold" if now else ""), min(_NAME, max(width - 2, 1)), "left"),
                (plain(said, "$foreground-muted"), max(width - _NAME - 3, 0), "left"),
            ],
            gap=1,
        )

    def on_rows_moved(self, message: Rows.Moved) -> None:
        """Seen at once."""
        message.stop()
        self.app.theme = self.names[message.index]

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """This one."""
        message.stop()
        self.dismiss(self.names[message.index])

    def action_leave(self) -> None:
        """The one before."""
        self.app.theme = self._before
        self.dismiss(self._before)


def in_order(available: list[str], *, sixteen: frozenset[str] | None = None) -> list[str]:
    """Ours, then the user's, then Textual's; where the terminal has sixteen colours, only those that mix none."""
    rank = {name: place for place, name in enumerate(PURPOSE)}
    names = [name for name in available if sixteen is None or name in sixteen]
    return sorted(names, key=lambda name: (rank.get(name, len(rank) + (name in BUILTIN_THEMES)), name))
