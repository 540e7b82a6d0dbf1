"""Foreign text on its way into cells: sanitised, and where every character must take one cell, made to."""

from __future__ import annotations

from rich.cells import cell_len

from critictui.run.text import sanitise_line

_LONGEST = 200


def cells(text: str, *, ascii_only: bool = False) -> str:
    """Text of single-cell characters for writing into a picture; any other character becomes a question mark."""
    clean = sanitise_line(text, _LONGEST)
    if clean.isascii() and clean.isprintable():
        return clean
    return "".join(c if (c.isascii() or not ascii_only) and cell_len(c) == 1 else "?" for c in clean)


def shown(text: str, *, ascii_only: bool = False) -> str:
    """Text for a title, where wide characters are welcome unless the terminal knows nothing but ASCII."""
    clean = sanitise_line(text, _LONGEST)
    return clean.encode("ascii", "replace").decode() if ascii_only else clean


def elided(text: str, width: int, more: str) -> str:
    """Text in at most `width` cells, cut in the middle: both ends of a tag tell it apart. '' where nothing fits."""
    if cell_len(text) <= width:
        return text
    left, right = len(text) // 2, len(text) - len(text) // 2
    while (left or right) and cell_len(text[:left] + more + text[len(text) - right :]) > width:
        left, right = (left - 1, right) if left >= right else (left, right - 1)
    cut = text[:left] + more + text[len(text) - right :]
    return cut if cell_len(cut) <= width else ""
