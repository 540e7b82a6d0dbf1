"""Names that stand below one another and are too long: cut where they are alike, so that what differs can be read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from critictui.run.text import sanitise_line

_WORD = re.compile(r"[^\W_]+|[\W_]")
"""A word, or one character between words: cuts are made there."""


def told_apart(names: Sequence[str], width: int, more: str = "…") -> list[str]:
    """Each name in at most `width` characters: the words that all begin with, and end with, are cut first, from the
    inside; then the middle of what is left. A name that fits is not touched. Names that still look alike are cut once
    more, by what these few have in common."""
    words = [_WORD.findall(sanitise_line(name)) for name in names]
    head = _alike(words)
    tail = _alike([word[head:][::-1] for word in words])
    cut = ["".join(word) if len("".join(word)) <= width else _cut(word, head, tail, width, more) for word in words]
    for twin in {name for name in cut if cut.count(name) > 1}:
        places = [place for place, name in enumerate(cut) if name == twin]
        if len(places) < len(names):
            for place, name in zip(places, told_apart([names[p] for p in places], width, more), strict=True):
                cut[place] = name
    return cut


def _alike(words: Sequence[Sequence[str]]) -> int:
    """How many words all begin with."""
    if len(words) < 2:
        return 0
    n = 0
    for column in zip(*words, strict=False):
        if len(set(column)) > 1:
            break
        n += 1
    return n


def _cut(words: list[str], head: int, tail: int, width: int, more: str) -> str:
    """What is common is cut: of its beginning the end, of its end the beginning, each gets half of the room left."""
    core = "".join(words[head : len(words) - tail])
    left, right = "".join(words[:head]), "".join(words[len(words) - tail :] if tail else [])
    room = width - len(core)
    if not core or room < 2 * len(more):
        return _middle(core or "".join(words), width, more, marked=bool(core and left))
    for_right = min(len(right), max(room // 2, room - len(left)))
    before = _first(left, room - for_right, more)
    return before + core + _last(right, width - len(before) - len(core), more)


def _first(text: str, room: int, more: str) -> str:
    return text if len(text) <= room else text[: max(room - len(more), 0)] + more


def _last(text: str, room: int, more: str) -> str:
    return text if len(text) <= room else more + (text[len(text) - room + len(more) :] if room > len(more) else "")


def _middle(text: str, width: int, more: str, *, marked: bool) -> str:
    """The middle is cut out; `marked`: something was cut before it as well."""
    if width <= 2 * len(more):
        return text[: max(width, 0)]
    start = more if marked else ""
    if len(text) + len(start) <= width:
        return start + text
    left = (width - len(start) - len(more)) // 2
    return start + text[:left] + more + text[len(text) - (width - len(start) - len(more) - left) :]
