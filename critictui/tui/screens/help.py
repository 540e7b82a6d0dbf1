"""Help for where one is: what the focused panel shows, then every key that works there."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen

from critictui.tui.chart.glyphs import ASCII, UNICODE
from critictui.tui.screens.base import RunScreen
from critictui.tui.supervised import Supervised
from critictui.tui.text import EMPTY, joined, lines, plain, set_title
from critictui.tui.widgets.keybar import key_name
from critictui.tui.widgets.words import Passage


class HelpScreen(Supervised, ModalScreen[None]):
    """Made from the key table and the panel's own words; any of the keys below closes it."""

    CSS_PATH = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Back", id="help.back"),
        Binding("up", "scroll(-1)", "Up", id="help.up", show=False),
        Binding("down", "scroll(1)", "Down", id="help.down", show=False),
        Binding("pageup", "scroll(-10)", "Page up", id="help.page-up", show=False),
        Binding("pagedown", "scroll(10)", "Page down", id="help.page-down", show=False),
    ]

    def __init__(self, under: Screen[object]) -> None:
        super().__init__()
        self._said, self._groups = _paragraphs(under), key_groups(under)
        self._width = under.size.width

    def compose(self) -> ComposeResult:
        """One scrolling text."""
        with VerticalScroll(id="help", classes="dialogue"):
            yield Passage(self._content(), id="help-text")

    def on_mount(self) -> None:
        """The title."""
        set_title(self.query_one("#help"), plain("help: escape closes it"))
        self.set_class(getattr(self.app, "glyphs").ascii, "-ascii")  # noqa: B009

    def on_resize(self, event: events.Resize) -> None:
        """Wrapped anew."""
        if event.size.width != self._width:
            self._width = event.size.width
            self.call_after_refresh(lambda: self.query_one("#help-text", Passage).say(self._content()))

    def _content(self) -> Content:
        """In the room of a dialogue: its share of the screen without border, padding and scrollbar."""
        return help_content(self._said, self._groups, min(self._width * 9 // 10, 100) - 5)

    def action_scroll(self, by: int) -> None:
        """Longer than the terminal is high."""
        self.query_one("#help", VerticalScroll).scroll_relative(y=by, animate=False)


Key = tuple[str, str, str]
"""The keys as people call them, what they do, the id by which the configuration rebinds them."""


def help_content(said: list[Content], groups: dict[str, list[Key]], width: int) -> Content:
    """The panel in focus, then each key once, wrapped at `width` cells."""
    parts = [part for paragraph in said for part in (paragraph, EMPTY)]
    column = max((len(k) for group in groups.values() for k, _, _ in group), default=1)
    for title, group in groups.items():
        parts.append(plain(title, "bold underline"))
        for key, text, name in group:
            row = joined(text, (f"  {name}", _QUIET)).wrap(max(width - column - 3, 10))
            parts.append(joined((f" {key:<{column}}  ", "bold $accent"), row[0]))
            parts += [Content(" " * (column + 3)) + more for more in row[1:]]
        parts.append(EMPTY)
    parts.append(plain('Behind each key is its id; [keys] in the configuration sets others: "run.log" = "f5".', _QUIET))
    return lines(parts)


def _paragraphs(under: Screen[object]) -> list[Content]:
    said = under.help_for(under.focused) if isinstance(under, RunScreen) else ""
    if isinstance(under, RunScreen) and under.shell.glyphs.ascii:
        said = _with_signs_of_ascii(said)
    return [_paragraph(part.strip()) for part in said.split("\n\n") if part.strip()]


def _with_signs_of_ascii(text: str) -> str:
    """The signs that a chart really draws where there is nothing but ASCII."""
    text = text.replace(f"{UNICODE.point} with", f"{ASCII.point} with")  # elsewhere the same sign is a warning
    names = [field.name for field in fields(UNICODE) if field.name not in {"point", "grid", "dot"}]
    signs = {getattr(UNICODE, name): getattr(ASCII, name) for name in names}
    return "".join(signs.get(c, c) for c in text)


_QUIET = "$foreground-muted"
_TITLES = ("in this panel", "on this screen", "anywhere")
_OF_TEXTUAL = (("tab", "The next panel; shift and tab: the one before", ""), ("^p", "Every command by its name", ""))
"""Keys of the framework that stay as they are."""


def key_groups(under: Screen[object]) -> dict[str, list[Key]]:
    """What works where one is, by title. Keys without an id are the framework's and work unsaid."""
    found: dict[str, dict[str, Key]] = {title: {} for title in _TITLES}
    for node, binding, enabled, _tooltip in under.active_bindings.values():
        if binding.id is None or not enabled:
            continue
        name, numbered = re.subn(r"\d+$", "N", binding.id or "")
        title = _TITLES[0 if node is under.focused else 1 if name.partition(".")[0] not in _ANYWHERE else 2]
        key, text = key_name(binding.key), binding.tooltip or binding.description
        if name in found[title]:
            before = found[title][name][0]
            key, text = (f"{before.partition('-')[0]}-{key}" if numbered else f"{before} {key}"), found[title][name][1]
        found[title][name] = (key, text, name)
    return {title: [*group.values(), *(_OF_TEXTUAL if title == _TITLES[2] else ())] for title, group in found.items()}


_ANYWHERE = frozenset({"run", "app", "work"})


def _paragraph(text: str) -> Content:
    """Lines that were broken in the source become one; a heading is bold."""
    if text.startswith("#"):
        return plain(text.lstrip("# "), "bold underline")
    return plain(" ".join(text.split()))
