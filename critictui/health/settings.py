"""Thresholds: the defaults of every rule in one table, with the user's own laid over them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from critictui.config import ENDLESS, Limits, Threshold


def _count(default: int) -> Limits:
    """Points, steps or judgements."""
    return Limits(default, 1, ENDLESS, whole=True)


def _share(default: float, high: float = 1.0) -> Limits:
    """Of an accuracy, of a level, of a correlation."""
    return Limits(default, 0.0, high)


def _times(default: float) -> Limits:
    """So many times as large as usual."""
    return Limits(default, 1.0, ENDLESS)


def _size(default: float) -> Limits:
    """Of a score, a loss, a time."""
    return Limits(default, 0.0, ENDLESS)


def _sigmas(default: float) -> Limits:
    return Limits(default, 0.0, 100.0)


def _life(hold: int, clear: int) -> dict[str, Limits]:
    return {"for": _count(hold), "clear": _count(clear)}


_LEVEL: Mapping[str, Limits] = {"shift": Limits(0.5, 0.0, 10.0), "limit": Limits(13.0, 1.0, 1000.0)}
"""CUSUM in autocorrelation-inflated sigmas: the shift that is let pass, and the sum that alarms (docs/detection.md)."""

LIMITS: Mapping[str, Mapping[str, Limits]] = MappingProxyType(
    {
        "non-finite": {**_life(1, 5), "critical_for": _count(1)},
        "margin-collapse": {
            **_LEVEL, **_life(1, 10), "fraction": _share(0.5), "critical_fraction": _share(0.25),
        },
        "chance-accuracy": {
            **_life(2, 10), "window": _count(10), "min_steps": _count(100), "chance": _share(0.5),
            "learnt": _share(0.58), "better": _share(0.64),
        },
        "inverted": {
            **_life(3, 10), "window": _count(10), "min_steps": _count(40), "threshold": _share(0.45),
            "sigma": _sigmas(4.0),
        },
        "spread-collapse": {
            **_LEVEL, **_life(5, 10), "threshold": _size(0.1), "fraction": _share(0.5),
            "critical_fraction": _share(0.2), "min_steps": _count(20),
        },
        "spread-explosion": {
            **_LEVEL, **_life(5, 10), "threshold": _size(5.0), "factor": _times(2.5), "critical_factor": _times(5.0),
        },
        "score-scale": {
            **_life(5, 10), "threshold": _size(5.0), "value_threshold": _size(10.0), "min_steps": _count(10),
        },
        "saturation": {**_life(10, 10), "d_acc": _share(0.98), "loss": _size(0.05), "window": _count(10)},
        "step-change": {
            **_life(1, 20), "sigma": _sigmas(4.5), "jump": _share(0.08), "window": _count(20), "within": _count(8),
        },
        "drift": {
            **_LEVEL, **_life(3, 10), "fraction": _share(0.85), "level": _size(1.0), "early_level": _size(3.0),
        },
        "decline": {
            **_LEVEL, **_life(2, 10), "drop": Limits(0.04, 0.0, 1.0, of_metric=ENDLESS),
            "critical_drop": Limits(0.15, 0.0, 1.0, of_metric=ENDLESS),
            "joint_shift": Limits(0.35, 0.0, 10.0), "joint_limit": Limits(12.0, 1.0, 1000.0),
        },
        "instability": {**_life(5, 20), "ratio": _times(3.0), "window": _count(30)},
        "gradient-spike": {
            **_life(1, 20), "factor": _times(5.0), "sigma": _sigmas(8.0), "repeats": _count(3), "window": _count(20),
        },
        "length-drift": {
            **_LEVEL, **_life(5, 10), "fraction": _share(0.25, 10.0), "free_fraction": _share(0.6, 10.0),
        },
        "stalled": {
            "factor": _times(10.0), "min_seconds": _size(600.0), "slow_factor": _times(2.0),
            "slow_seconds": _size(10.0), **_life(5, 5),
        },
        "step-regression": {"overlap": _count(100)},
        "generalisation-gap": {
            "gap": _share(0.03), "sigma": _sigmas(3.0), "critical_gap": _share(0.15), "window": _count(10),
        },
        "length-bias": {"threshold": _share(0.3), "critical": _share(0.6)},
    }
)  # fmt: skip
"""Every setting of every rule: its default, and what it may be."""

DEFAULTS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {rule: {key: limits.default for key, limits in settings.items()} for rule, settings in LIMITS.items()}
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
        limits = LIMITS[rule][key]
        for table in (f"{rule}:{metric}", rule):
            value = self._thresholds.get(table, {}).get(key)
            if isinstance(value, (int, float)) and not limits.why_not(value, of_metric=table != rule):
                return float(value)
        return float(limits.default)

    def count(self, rule: str, key: str, metric: str = "") -> int:
        """The same as a whole number of at least 1."""
        return max(1, round(self.number(rule, key, metric)))

    def enabled(self, rule: str, metric: str = "") -> bool:
        """False where the configuration says `enabled = false`."""
        return all(self._thresholds.get(table, {}).get("enabled") is not False for table in (rule, f"{rule}:{metric}"))
