"""Help for where one is: what the focused panel shows, then every key that works there."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen

from critictui.tui.screens.base import RunScreen
from critictui.tui.supervised import Supervised
from critictui.tui.text import EMPTY, lines, plain, set_title
from critictui.tui.widgets.keybar import key_name
from critictui.tui.widgets.words import Words


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
        self._said = help_content(under)

    def compose(self) -> ComposeResult:
        """One scrolling text."""
        with VerticalScroll(id="help", classes="dialogue"):
            yield Words(self._said, id="help-text")

    def on_mount(self) -> None:
        """The title."""
        set_title(self.query_one("#help"), plain("help: escape closes it"))
        self.set_class(getattr(self.app, "glyphs").ascii, "-ascii")  # noqa: B009

    def action_scroll(self, by: int) -> None:
        """Longer than the terminal is high."""
        self.query_one("#help", VerticalScroll).scroll_relative(y=by, animate=False)


def help_content(under: Screen[object]) -> Content:
    """The panel in focus, then the keys: those of the focused panel first."""
    parts: list[Content] = []
    said = under.help_for(under.focused) if isinstance(under, RunScreen) else ""
    for paragraph in filter(None, (part.strip() for part in said.split("\n\n"))):
        parts += [_paragraph(paragraph), EMPTY]
    groups: dict[str, list[tuple[str, str]]] = {}
    seen: set[tuple[str, str]] = set()
    for node, binding, enabled, _tooltip in under.active_bindings.values():
        if binding.system or not enabled or not binding.description or (binding.action, key_name(binding.key)) in seen:
            continue
        seen.add((binding.action, key_name(binding.key)))
        title = "in this panel" if node is under.focused else "here" if node is under else "anywhere"
        group = groups.setdefault(title, [])
        text = f"{binding.description}: {binding.tooltip}" if binding.tooltip else binding.description
        for i, (keys, words) in enumerate(group):
            if words == text:
                group[i] = (f"{keys} {key_name(binding.key)}", words)
                break
        else:
            group.append((key_name(binding.key), text))
    width = max((len(k) for group in groups.values() for k, _ in group), default=1)
    for title in ("in this panel", "here", "anywhere"):
        if title in groups:
            parts.append(plain(title, "bold underline"))
            parts += [plain(f" {k:<{width}}  ", "bold $accent") + plain(text) for k, text in groups[title]]
            parts.append(EMPTY)
    parts.append(plain("Other keys are set in the configuration, under [keys].", "$foreground-muted"))
    return lines(parts)


def _paragraph(text: str) -> Content:
    """Lines that were broken in the source become one; a heading is bold."""
    if text.startswith("#"):
        return plain(text.lstrip("# "), "bold underline")
    return plain(" ".join(text.split()))
