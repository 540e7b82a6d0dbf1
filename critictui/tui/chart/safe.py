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
