"""Text on the screen: Content goes in, and only a change is painted."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from critictui.tui.supervised import SupervisedWidget
from critictui.tui.text import EMPTY


class Words(SupervisedWidget, Widget):
    """Shows Content; takes nothing else, so that no text can act as markup."""

    DEFAULT_CSS = """
    Words { width: 1fr; height: auto; }
    """

    def __init__(
        self,
        content: Content = EMPTY,
        *,
        id: str | None = None,  # noqa: A002 - Textual's name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._content = content

    @property
    def content(self) -> Content:
        """What is shown now."""
        return self._content

    def say(self, content: Content) -> None:
        """Show this; the same content again costs nothing and sends nothing."""
        if content.is_same(self._content):
            return
        grows = content.plain.count("\n") != self._content.plain.count("\n")
        self._content = content
        self.refresh(layout=grows and self.styles.height is not None and self.styles.height.is_auto)

    def render(self) -> Content:
        """The content as it is."""
        return self._content


class Passage(Words):
    """Text that wraps: another text may take more lines though it has as many newlines."""

    def say(self, content: Content) -> None:
        """Show this; what follows it moves with it."""
        if not content.is_same(self._content):
            super().say(content)
            self.refresh(layout=True)
