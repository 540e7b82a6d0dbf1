"""Text for a terminal goes in, the same text with fewer colour codes comes out: only what changes is said.

The framework writes every piece with its colours in full and a reset behind it: four fifths of what a step sends.
"""

from __future__ import annotations

import re
from functools import lru_cache

_CODES = re.compile(r"\x1b\[([0-9;]*)m")

_MOVES = re.compile(r"(?:[\r\n]|\x1b\[\d+;\d+H|\x1b\[\?\d+[hl])+")
"""What looks the same whatever the pen is."""

Pen = tuple[str, str, frozenset[str]]
"""Foreground, background and attributes, as codes; '' is the terminal's own."""
_PLAIN: Pen = ("", "", frozenset())
_ATTRIBUTES = frozenset({"1", "2", "3", "4", "5", "6", "7", "8", "9"})
_ON_BLANKS = frozenset({"4", "7", "9"})
"""Underline, reverse and strike are seen where nothing is written."""


def fewer_codes(text: str) -> str:
    """The same characters with the same colours wherever one is seen, and the same pen at the end.

    What the pen is at the beginning is not known: until a reset, codes are passed on as they are. So are codes that
    are not understood, after which the next reset is waited for.
    """
    pieces = _CODES.split(text)
    if len(pieces) < 3:
        return text
    held: Pen | None = None
    wanted: Pen | None = None
    out = [pieces[0]]
    for codes, said in zip(pieces[1::2], pieces[2::2], strict=True):
        before, wanted = wanted, _after(wanted, codes)
        if wanted is None:
            if before is not None and held != before:
                out.append(_change(held, before))
            out.append(f"\x1b[{codes}m")
            held = None
        if said:
            if wanted is not None and not _MOVES.fullmatch(said):
                seen = wanted if said.strip(" ") or held is None else _of_blanks(held, wanted)
                if held != seen:
                    out.append(_change(held, seen))
                    held = seen
            out.append(said)
    if wanted is not None and held != wanted:
        out.append(_change(held, wanted))
    return "".join(out)


def _of_blanks(held: Pen, wanted: Pen) -> Pen:
    """The pen for blanks: of theirs nothing but the background is seen, where nothing runs through or below them."""
    if (held[2] | wanted[2]) & _ON_BLANKS:
        return wanted
    return (held[0], wanted[1], held[2])


@lru_cache(maxsize=4096)
def _after(pen: Pen | None, codes: str) -> Pen | None:
    """The pen after these codes; None where that cannot be told."""
    rest = codes.split(";") if codes else ["0"]
    while rest:
        code = (rest.pop(0)).lstrip("0") or "0"
        if code == "0":
            pen = _PLAIN
            continue
        if pen is None:
            return None
        foreground, background, attributes = pen
        if code in {"38", "48"}:
            length = {"2": 4, "5": 2}.get(rest[0] if rest else "", 0)
            if not length or len(rest) < length:
                return None
            colour = ";".join([code, *rest[:length]])
            del rest[:length]
            pen = (colour, background, attributes) if code == "38" else (foreground, colour, attributes)
        elif code in {"39", "49"}:
            pen = ("", background, attributes) if code == "39" else (foreground, "", attributes)
        elif code in _ATTRIBUTES:
            pen = (foreground, background, attributes | {code})
        elif code.isdigit() and (30 <= int(code) <= 37 or 90 <= int(code) <= 97):
            pen = (code, background, attributes)
        elif code.isdigit() and (40 <= int(code) <= 47 or 100 <= int(code) <= 107):
            pen = (foreground, code, attributes)
        else:
            return None
    return pen


@lru_cache(maxsize=4096)
def _change(held: Pen | None, wanted: Pen) -> str:
    """The shortest code that makes one pen the other."""
    anew = [code for code in ("0", *sorted(wanted[2]), wanted[0], wanted[1]) if code]
    ways = [anew]
    if held is not None and held[2] <= wanted[2]:
        changed = sorted(wanted[2] - held[2])
        changed += [wanted[0] or "39"] if wanted[0] != held[0] else []
        changed += [wanted[1] or "49"] if wanted[1] != held[1] else []
        ways.append(changed)
    best = min((";".join(way) for way in ways), key=len)
    return f"\x1b[{'' if best == '0' else best}m"
