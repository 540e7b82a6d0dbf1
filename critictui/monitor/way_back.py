"""Where to go back to: alerts and the run's checkpoints go in, advice that names one of them comes out.

A rule knows no checkpoints; it advises `GO_BACK`, and here that becomes the newest complete one before the onset.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.health.alert import GO_BACK, Alert
from critictui.run.text import sanitise_line

_NONE_OLDER = "begin anew (no complete checkpoint is older than that)"


def advises_it(alerts: Iterable[Alert]) -> bool:
    """Whether any of their advice depends on the checkpoints."""
    return any(GO_BACK in alert.advice for alert in alerts)


def with_way_back(alerts: Sequence[Alert], checkpoints: Sequence[Checkpoint]) -> tuple[Alert, ...]:
    """The alerts with the checkpoint named. Where no checkpoint is known, they may lie elsewhere: the advice stays."""
    return tuple(_told(alert, checkpoints) for alert in alerts) if checkpoints else tuple(alerts)


def _told(alert: Alert, checkpoints: Sequence[Checkpoint]) -> Alert:
    if GO_BACK not in alert.advice:
        return alert
    older = [c for c in checkpoints if c.state == "complete" and c.step is not None and c.step < alert.since_step]
    best = max(older, key=lambda c: c.step or 0, default=None)
    said = _NONE_OLDER if best is None else f"go back to {_name(best)}"
    return replace(alert, advice=alert.advice.replace(GO_BACK, said))


def _name(checkpoint: Checkpoint) -> str:
    """`global_step_80`: the part of its path that says the step."""
    named = (part for part in reversed(checkpoint.path.parts) if str(checkpoint.step) in part)
    return sanitise_line(next(named, checkpoint.path.name), 80)
