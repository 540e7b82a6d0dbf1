"""The one way from text to the screen: whatever goes in is sanitised, and Content, which is never markup, comes out."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from critictui.run.text import LINE_LIMIT, sanitise, sanitise_line

EMPTY = Content("")

Part = Content | str | tuple[str, str]
"""Content, text, or text with a style."""


_LONGEST_LINE = 2000
"""Characters of a name or a message. What a person reads as a text of its own is `whole`."""


def plain(text: object, style: str = "") -> Content:
    """Any text as one line of Content: `[`, escape codes, newlines and bidi controls in it have no effect."""
    clean = sanitise_line(str(text), _LONGEST_LINE)
    return Content.styled(clean, style) if style else Content(clean)


def whole(text: str, style: str = "") -> Content:
    """A line as `plain` shows it, but as long as a line may be at all: 16 Ki characters."""
    clean = sanitise_line(text, LINE_LIMIT)
    return Content.styled(clean, style) if style else Content(clean)


def folded(text: str, width: int) -> list[str]:
    """Rows of at most `width` cells, cut wherever a row is full; one empty row of an empty text."""
    text = sanitise_line(text, LINE_LIMIT)
    if text.isascii():
        return [text[start : start + width] for start in range(0, len(text), width)] or [""]
    rows, start, used = [], 0, 0
    for place, character in enumerate(text):
        cells = cell_len(character)
        if used + cells > width and place > start:
            rows.append(text[start:place])
            start, used = place, 0
        used += cells
    return [*rows, text[start:]]


def passage(text: str, style: str = "") -> Content:
    """Text of several lines as Content."""
    clean = sanitise(text)
    return Content.styled(clean, style) if style else Content(clean)


def joined(*parts: Part) -> Content:
    """Parts one after the other on one line."""
    return EMPTY.join([_content(part) for part in parts])


def lines(parts: Iterable[Content]) -> Content:
    """Content one below the other."""
    return Content("\n").join(list(parts))


def elided(text: str, width: int, more: str = "…") -> str:
    """Text cut in the middle, where tags differ least; never wider than `width` characters."""
    text = sanitise_line(text)
    if len(text) <= width:
        return text
    if width <= len(more):
        return text[: max(width, 0)]
    left = (width - len(more)) // 2
    right = width - len(more) - left
    return text[:left] + more + text[len(text) - right :]


def _content(part: Part) -> Content:
    if isinstance(part, Content):
        return part
    if isinstance(part, tuple):
        return plain(part[0], part[1])
    return plain(part)


def set_title(widget: Widget, title: Content) -> None:
    """The title in a widget's border; a string there would be markup."""
    title = Content(" ") + title + Content(" ")
    if widget.border_title != title.markup:
        widget.border_title = title
