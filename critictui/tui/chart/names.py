"""What the lines of a chart are called, long and short: so that none is told from another by its colour alone."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence

from critictui.tui.chart.model import ChartData, Line

_LETTERS_FROM = 40
"""Characters of a label that its letter is taken from."""


def run_letter(run: int) -> str:
    """A for the run on the dashboard, B, C ... for those laid over it."""
    return string.ascii_uppercase[run] if run < len(string.ascii_uppercase) else "?"


def long_names(data: ChartData) -> list[str]:
    """`teacher`, and of several runs `A teacher`, or `A` where a run has one line. Lines first, then asides."""
    every = (*data.lines, *data.asides)
    if len(data.runs) < 2:
        return [line.label for line in every]
    alone = _alone(data)
    return [run_letter(line.run) + ("" if alone else f" {line.label}") for line in every]


def short_names(data: ChartData) -> list[str]:
    """`T`, and of several runs `AT`, or `A` where a run has one line. Lines first, then asides."""
    every = (*data.lines, *data.asides)
    if len(data.runs) < 2:
        return letters_of(every)
    alone = _alone(data)
    first = letters_of([line for line in every if line.run == 0])
    letters = dict(zip((line.label for line in every if line.run == 0), first, strict=True))
    return [
        run_letter(line.run) + ("" if alone else letters.get(line.label) or letters_of([line])[0]) for line in every
    ]


def end_names(data: ChartData, *, mono: bool) -> list[str]:
    """What stands at the end of each line: of several runs the letter, without colours the short name, else ''."""
    if mono and len(data.lines) > 1:
        return short_names(data)[: len(data.lines)]
    return [run_letter(line.run) if len(data.runs) > 1 else "" for line in data.lines]


def letters_of(lines: Sequence[Line]) -> list[str]:
    """One ASCII letter or digit for each line, no two alike while there are enough of them."""
    taken: list[str] = []
    for line in lines:
        own = [c for c in line.letter + line.label[:_LETTERS_FROM] if c.isascii() and c.isalnum()]
        first = own[0] if own else "A"
        wanted = (first.upper(), first.lower(), *"23456789", *(c.upper() for c in own), *string.ascii_letters)
        taken.append(next((c for c in wanted if c not in taken), "?"))
    return taken


def _alone(data: ChartData) -> bool:
    return max(Counter(line.run for line in (*data.lines, *data.asides)).values(), default=0) < 2
