"""Nothing but ASCII leaves the screen: a filter over every line, Textual's own widgets included."""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_ALIKE = {
    **dict.fromkeys("─━┄┈╌═▔▁", "-"),
    **dict.fromkeys("│┃┆┊╎║▏▎▕", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝┏┓┗┛┠┨┝┥┣┫┳┻╋", "+"),
    **dict.fromkeys("█▓▉▊▋▌▐▀▄▅▆▇■", "#"),
    **dict.fromkeys("▒░▂▃", ":"),
    **dict.fromkeys("•●◉", "*"),
    **dict.fromkeys("○◌", "o"),
    **dict.fromkeys("▲△", "^"),
    **dict.fromkeys("▼▽", "v"),
    **dict.fromkeys("▶›»→❯", ">"),
    **dict.fromkeys("◀‹«←❮", "<"),
    **dict.fromkeys("–—−", "-"),
    **dict.fromkeys("’‘", "'"),
    **dict.fromkeys("“”", '"'),
    "…": ".", "·": ".", "±": "~", "×": "x", "✓": "+", "✔": "+", "✗": "x", "↑": "^", "↓": "v", "\u00a0": " ", "⭘": "o",
    "␊": " ", "␉": " ", "🔎": "/ ",
}  # fmt: skip


@lru_cache(8192)
def transliterated(text: str) -> str:
    """The same width in ASCII: signs that look alike where there are such, else question marks."""
    if text.isascii():
        return text
    return "".join(c if c.isascii() else _ALIKE.get(c) or "?" * cell_len(c) for c in text)


class AsciiFilter(LineFilter):
    """Applied to every line that goes to the terminal."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments with ASCII text."""
        del background
        return [Segment(transliterated(text), style, control) for text, style, control in segments]
