"""Where a training process began anew: steps in file order go in, the beginnings of its lives come out.

A restart inside one file shows as steps that were written before and are gone through again. A point that arrives
late, or twice, is no restart: the first fills a gap, and after the second the steps go on where they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from critictui.run.dtypes import IntArray, SmallIntArray

FAR = 16
"""A step below all of the last 16 is a restart even if it was never seen: writers are not late by that much."""
_WINDOW = 4096
_MOST_LIVES = 1000


def first_restart(step: IntArray) -> int | None:
    """Index of the first point of a new life in `step` (n,), in file order, or None.

    It lies below the highest step so far and either was seen and is followed by the next step that was seen (two
    steps of the old life in their old order), or lies below each of the `FAR` points before it. The answer for the
    points up to some point never changes by what comes later.
    """
    window = _WINDOW
    while True:
        part = step[:window]
        found = _first_restart(part)
        if found is not None or len(part) == len(step):
            return found
        window *= 4


def _first_restart(step: IntArray) -> int | None:
    if len(step) < 2:
        return None
    back = np.flatnonzero(step[1:] < np.maximum.accumulate(step)[:-1]) + 1
    if not len(back):
        return None
    _, first, which = np.unique(step, return_index=True, return_inverse=True)
    seen_at = first[which]
    for i in back.tolist():
        if i >= FAR and step[i] < step[i - FAR : i].min():
            return int(i)
        if i + 1 == len(step):
            continue
        if seen_at[i] < i and step[i + 1] > step[i] and seen_at[i + 1] < i:
            before = step[:i]
            if not np.any((before > step[i]) & (before < step[i + 1])):
                return int(i)
    return None


def lives(tags: Iterable[tuple[IntArray, SmallIntArray]]) -> tuple[int, ...]:
    """Positions in a file at which a new life begins, rising; empty for a file of one life.

    `tags` are the (step, position) columns of each tag that does not simply rise, in file order. A life begins for
    all tags at the first position at which it shows for one.
    """
    starts: list[int] = []
    columns = list(tags)
    at = np.zeros(len(columns), np.int64)
    nexts = [_next_start(step, position, 0) for step, position in columns]
    while len(starts) < _MOST_LIVES:
        found = [n for n in nexts if n is not None]
        if not found:
            break
        start = min(found)
        starts.append(start)
        for k, (step, position) in enumerate(columns):
            at[k] = np.searchsorted(position, start)
            nexts[k] = _next_start(step, position, int(at[k]))
    return tuple(starts)


def _next_start(step: IntArray, position: SmallIntArray, begin: int) -> int | None:
    found = first_restart(step[begin:])
    return None if found is None else int(position[begin + found])


AT_ONCE = 0.5
"""Two writers whose times overlap by half of the shorter one wrote at once. A process that dies slowly overlaps its
successor by seconds, and a writer that was resumed in the middle by the steps that were lost; neither comes near."""


def overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Which part of the shorter of two ranges (low, high) lies in both, 0 to 1; 0 where that cannot be said."""
    shorter = min(one[1] - one[0], other[1] - other[0])
    both = min(one[1], other[1]) - max(one[0], other[0])
    return both / shorter if both > 0 and shorter > 0 else 0.0


def lanes(count: int, at_once: Callable[[int, int], bool]) -> tuple[int, ...]:
    """The lane of each of `count` writers, oldest first: those that did not write at once share one."""
    held: list[list[int]] = []
    out = []
    for writer in range(count):
        for number, lane in enumerate(held):
            if not any(at_once(writer, other) for other in lane):
                lane.append(writer)
                out.append(number)
                break
        else:
            held.append([writer])
            out.append(len(held) - 1)
    return tuple(out)
