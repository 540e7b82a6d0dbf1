"""non-finite: NaN or infinity where there was a number; of a critic's own metrics that is the end of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import groupby

from critictui.health.alert import GO_BACK, NotEnoughData, Severity
from critictui.health.context import WATCHED, Context
from critictui.health.latches import Latches
from critictui.health.lifecycle import Sighting
from critictui.health.order import importance

_ADVICE = f"Stop the run and {GO_BACK}; look at critic/grad_norm and the learning rate in the steps before."
_MAYBE = "One overflow that the loss scaler skips is harmless; see whether it comes back."
_WITHIN = 5
"""Rows within which a metric that breaks belongs to the break before it: a NaN spreads in a step or two."""
_NAMED = 2


@dataclass(slots=True)
class _Broken:
    """One metric of a break."""

    text: str
    """`NaN`, `infinite` or `minus infinite`."""
    value: float
    since: int
    count: int = 0
    """Rows in a row; 0 while it is finite again."""


@dataclass(slots=True)
class _Break:
    """One event: the metric that tells most of those that broke first, and all that broke with it."""

    metric: str
    row: int
    members: dict[str, _Broken] = field(default_factory=dict)


class NonFinite:
    """Every tag is judged. Tags that were never finite say nothing (a mean over nothing is NaN) and are information."""

    id = "non-finite"

    def __init__(self) -> None:
        self.latches = Latches(self.id)
        self._finite: set[str] = set()
        self._breaks: list[_Break] = []

    def step(self, context: Context) -> None:
        """Judge one row."""
        values = context.row.values
        # a sum of finite values is finite, or too large: one call tells for nearly every row that nothing is broken
        whole = math.isfinite(sum(values.values()))
        broken = set() if whole else {name for name, value in values.items() if not math.isfinite(value)}
        if not values.keys() <= self._finite:
            self._finite.update(name for name in values if name not in broken)
        if broken:
            self._take(context, broken)
        for event in tuple(self._breaks):
            self._judge(context, event, broken)

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Nothing: one value is enough."""
        return []

    def _take(self, context: Context, broken: set[str]) -> None:
        """Put each metric that broke in this row into the newest break, or into one of its own."""
        known = {name for event in self._breaks for name in event.members}
        for name in sorted(broken - known, key=importance):
            if not (name in self._finite or _core(name)) or not context.settings.enabled(self.id, name):
                continue
            if not self._breaks or context.rows - self._breaks[-1].row > _WITHIN:
                self._breaks.append(_Break(name, context.rows))
            self._breaks[-1].members[name] = _Broken("", math.nan, context.step)

    def _judge(self, context: Context, event: _Break, broken: set[str]) -> None:
        values = context.row.values
        for name, member in event.members.items():
            if name in broken:
                if member.count == 0:
                    member.since = context.step
                value = values[name]
                member.count += 1
                member.value = value
                member.text = "NaN" if math.isnan(value) else "infinite" if value > 0 else "minus infinite"
            elif name in values:
                member.count = 0
        if not event.members.keys() & values.keys():
            return
        now = {name: member for name, member in event.members.items() if member.count and name in values}
        if now:
            self.latches.bad(context, event.metric, _severity(now), lambda: _seen(event.metric, now, context.step))
            return
        self.latches.good(context, event.metric)
        if event.metric not in self.latches.active():
            self._breaks.remove(event)


def _core(name: str) -> bool:
    return name in WATCHED and name.startswith("critic/")


def _overflow(name: str, member: _Broken) -> bool:
    """A gradient too large for half precision: a loss scaler skips such a step."""
    return math.isinf(member.value) and "grad_norm" in name and member.count < 3


def _severity(now: dict[str, _Broken]) -> Severity:
    bad = any(_core(name) and not _overflow(name, member) for name, member in now.items())
    return "critical" if bad else "warning"


def _seen(metric: str, now: dict[str, _Broken], step: int) -> Sighting:
    """What is broken in this row: the metrics by name, those that broke first in front."""
    longest = max(member.count for member in now.values())
    since = min(member.since for member in now.values())
    parts = []
    told = sorted(now.items(), key=lambda item: (item[1].since, item[1].text, importance(item[0])))
    for (began, text), group in groupby(told, key=lambda item: (item[1].since, item[1].text)):
        names = [name for name, _ in group]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        first = (", " if more else " and ").join(names[:_NAMED])
        when = f"at step {step}" if longest == 1 else f"since step {began}"
        parts.append(f"{first}{more} {'is' if len(names) == 1 else 'are'} {text} {when}")
    rows = f", {longest} steps in a row" if longest > 1 else ""
    value = now[metric].value if metric in now else next(iter(now.values())).value
    advice = _MAYBE if all(_overflow(name, member) for name, member in now.items()) else _ADVICE
    return Sighting(
        value,
        0.0,
        since,
        "; ".join(parts[:3]) + f"{rows}.",
        advice,
        (("metrics", float(len(now))), ("steps in a row", float(longest))),
    )
