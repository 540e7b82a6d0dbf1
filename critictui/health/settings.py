"""Thresholds: the defaults of every rule in one table, with the user's own laid over them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

Threshold = float | int | bool | str

_LEVEL: Mapping[str, Threshold] = {"shift": 0.5, "limit": 13.0}
"""CUSUM in autocorrelation-inflated sigmas: the shift that is let pass, and the sum that alarms (docs/detection.md)."""

DEFAULTS: Mapping[str, Mapping[str, Threshold]] = MappingProxyType(
    {
        "non-finite": {"for": 1, "clear": 5, "critical_for": 1},
        "margin-collapse": {**_LEVEL, "for": 1, "clear": 10, "fraction": 0.5, "critical_fraction": 0.25},
        "chance-accuracy": {
            "for": 2,
            "clear": 10,
            "window": 10,
            "min_steps": 100,
            "chance": 0.5,
            "learnt": 0.58,
            "better": 0.64,
        },
        "inverted": {"for": 3, "clear": 10, "window": 10, "min_steps": 40, "threshold": 0.45, "sigma": 4.0},
        "spread-collapse": {
            **_LEVEL,
            "for": 5,
            "clear": 10,
            "threshold": 0.1,
            "fraction": 0.5,
            "critical_fraction": 0.2,
            "min_steps": 20,
        },
        "spread-explosion": {**_LEVEL, "for": 5, "clear": 10, "threshold": 5.0, "factor": 2.5, "critical_factor": 5.0},
        "score-scale": {"for": 5, "clear": 10, "threshold": 5.0, "value_threshold": 10.0, "min_steps": 10},
        "saturation": {"for": 10, "clear": 10, "d_acc": 0.98, "loss": 0.05, "window": 10},
        "step-change": {"for": 1, "clear": 20, "sigma": 4.5, "jump": 0.08, "window": 20, "within": 8},
        "drift": {**_LEVEL, "for": 3, "clear": 10, "fraction": 0.85, "level": 1.0, "early_level": 3.0},
        "decline": {
            **_LEVEL,
            "for": 2,
            "clear": 10,
            "drop": 0.04,
            "critical_drop": 0.15,
            "joint_shift": 0.35,
            "joint_limit": 12.0,
        },
        "instability": {"for": 5, "clear": 20, "ratio": 3.0, "window": 30},
        "gradient-spike": {"for": 1, "clear": 20, "factor": 5.0, "sigma": 8.0, "repeats": 3, "window": 20},
        "length-drift": {**_LEVEL, "for": 5, "clear": 10, "fraction": 0.25, "free_fraction": 0.6},
        "stalled": {
            "factor": 10.0,
            "min_seconds": 600.0,
            "slow_factor": 2.0,
            "slow_seconds": 10.0,
            "for": 5,
            "clear": 5,
        },
        "step-regression": {"overlap": 100},
        "generalisation-gap": {"gap": 0.03, "sigma": 3.0, "critical_gap": 0.15, "window": 10},
        "length-bias": {"threshold": 0.3, "critical": 0.6},
    }
)

RULES: tuple[str, ...] = tuple(DEFAULTS)


class Settings:
    """Reads `rule` and `rule:metric` tables of the configuration; the default replaces what is not usable there."""

    def __init__(self, thresholds: Mapping[str, Mapping[str, Threshold]]) -> None:
        self._thresholds = thresholds
        self._known: dict[tuple[str, str, str], float] = {}

    def number(self, rule: str, key: str, metric: str = "") -> float:
        """The value of `key`: for this metric if set, else for the rule, else the default.

        Raises KeyError for a key that the rule does not have.
        """
        known = self._known.get((rule, key, metric))
        if known is None:
            known = self._known[rule, key, metric] = self._look_up(rule, key, metric)
        return known

    def _look_up(self, rule: str, key: str, metric: str) -> float:
        default = float(DEFAULTS[rule][key])
        for table in (f"{rule}:{metric}", rule):
            value = self._thresholds.get(table, {}).get(key)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
        return default

    def count(self, rule: str, key: str, metric: str = "") -> int:
        """The same as a whole number of at least 1."""
        return max(1, round(self.number(rule, key, metric)))

    def enabled(self, rule: str, metric: str = "") -> bool:
        """False where the configuration says `enabled = false`."""
        return all(self._thresholds.get(table, {}).get("enabled") is not False for table in (rule, f"{rule}:{metric}"))
