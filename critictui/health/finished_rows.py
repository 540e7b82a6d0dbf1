"""A run goes in, and comes out without a last step of which the disk has only a part: what it lacks is no finding."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from critictui.health.history import Key
from critictui.run.facts import RunSnapshot
from critictui.run.series import Series

_MANY = 2000
"""Of a run with more tags only those that the rules know by name are looked at."""


def unfinished_row(run: RunSnapshot) -> Key | None:
    """(session, step) of the last row of event files, where it lacks a tag that both rows before it have; else None.

    An event file gets a step in pieces, as its writer's buffer fills: a NaN in the first tags is the beginning of one
    in all of them, and a rule that looks at two metrics would see one of them alone. A line of a log is there or not.
    """
    some: Collection[Series] = run.series.values()
    if len(some) > _MANY:
        some = [run.series[tag] for tag in run.metrics.values() if tag in run.series]
    ends = [_last_keys(series) for series in some if series.kind == "events"]
    newest = sorted({key for keys in ends for key in keys}, reverse=True)[:3]
    if len(newest) < 3:
        return None
    last, before, earlier = newest
    lacking = (before in keys and earlier in keys and last not in keys for keys in ends)
    return last if any(lacking) else None


def without_row(run: RunSnapshot, row: Key) -> RunSnapshot:
    """The run without its last row; series that would be empty are left out. Views of the same columns, no copies."""
    series = {}
    for tag, one in run.series.items():
        n = len(one)
        if n and (one.session.item(n - 1), one.step.item(n - 1)) == row:
            n -= 1
        if n == len(one):
            series[tag] = one
        elif n:
            series[tag] = _part(one, n)
    return replace(run, series=series, metrics={name: tag for name, tag in run.metrics.items() if tag in series})


def _last_keys(series: Series) -> tuple[Key, ...]:
    keys = zip(series.session[-3:].tolist(), series.step[-3:].tolist(), strict=True)
    return tuple(keys)


def _part(one: Series, n: int) -> Series:
    return replace(
        one, step=one.step[:n], wall_time=one.wall_time[:n], value=one.value[:n], session=one.session[:n]
    )  # fmt: skip
