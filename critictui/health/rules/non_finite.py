"""non-finite: NaN or infinity where there was a number; of a critic's own metrics that is the end of the run."""

from __future__ import annotations

import math

from critictui.health.alert import NotEnoughData, Severity
from critictui.health.context import WATCHED, Context
from critictui.health.latches import Latches
from critictui.health.lifecycle import Sighting

_ADVICE = (
    "Stop the run and go back to the last checkpoint before this step; look at critic/grad_norm and the learning rate "
    "in the steps before it."
)
_MAYBE = "One overflow that the loss scaler skips is harmless; see whether it comes back."


class NonFinite:
    """Every tag is judged. Tags that were never finite say nothing (a mean over nothing is NaN) and are information."""

    id = "non-finite"

    def __init__(self) -> None:
        self.latches = Latches(self.id)
        self._finite: set[str] = set()
        self._in_a_row: dict[str, int] = {}

    def step(self, context: Context) -> None:
        """Judge one row."""
        values = context.row.values
        # a sum of finite values is finite, or too large: one call tells for nearly every row that nothing is broken
        whole = math.isfinite(sum(values.values()))
        broken = [] if whole else [name for name, value in values.items() if not math.isfinite(value)]
        if not values.keys() <= self._finite:
            self._finite.update(name for name in values if name not in broken)
        if not broken and not self._in_a_row:
            return
        for name in sorted(broken):
            self._in_a_row[name] = self._in_a_row.get(name, 0) + 1
            self._seen(context, name, values[name])
        for name in sorted(self._in_a_row):
            if name in values and name not in broken:
                self._finite.add(name)
                self._in_a_row[name] = 0
                self.latches.good(context, name)
                if name not in self.latches.active():
                    del self._in_a_row[name]

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Nothing: one value is enough."""
        return []

    def _seen(self, context: Context, name: str, value: float) -> None:
        count = self._in_a_row[name]
        core = name in WATCHED and name.startswith("critic/")
        if name not in self._finite and not core:
            return
        overflow = math.isinf(value) and "grad_norm" in name and count < 3
        severity: Severity = "critical" if core and not overflow else "warning"
        text = "NaN" if math.isnan(value) else ("infinite" if value > 0 else "minus infinite")
        when = f"since step {{since}}, {count} steps in a row" if count > 1 else f"at step {context.step}"

        def look() -> Sighting:
            return Sighting(
                value,
                0.0,
                context.step,
                f"{name} is {text} {when}.",
                _MAYBE if overflow else _ADVICE,
                (("steps in a row", float(count)),),
            )

        self.latches.bad(context, name, severity, look)
