"""Where an axis has its labels and what they say: nice numbers, short, and never two alike."""

from __future__ import annotations

import math
from datetime import datetime

from critictui.tui.chart.scale import Scale

_SUFFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAY = 86400
_WIDEST = 5
"""Cells a y label may take before it is written as a difference from a base."""


def nice_step(span: float, count: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that divides `span` into at most `count` parts (0 when none)."""
    if not (span > 0 and math.isfinite(span)) or count < 1:
        return 0.0
    rough = span / count
    power = math.floor(math.log10(rough)) if rough > 0 else -323
    for factor in (1.0, 2.0, 5.0, 10.0):
        step = factor * 10.0**power if power > -308 else factor * 1e-308
        if step >= rough * (1 - 1e-9):
            return step
    return 10.0 * 10.0**power


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Multiples of a nice step inside [low, high]: at most `count` + 1 of them, ascending."""
    step = nice_step(high - low, count)
    if not step or not math.isfinite(low / step):
        return []
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first > count + 1 or abs(first) > 2**52:
        return []
    return [number * step + 0.0 for number in range(first, last + 1)]


def y_ticks(scale: Scale, count: int) -> list[float]:
    """Ticks of a y axis with room for `count` labels: nice numbers, or powers of ten on a log scale."""
    if not scale.log:
        return nice_ticks(scale.low, scale.high, max(count, 1))
    first, last = math.ceil(math.log10(scale.low) - 1e-9), math.floor(math.log10(scale.high) + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / max(count, 1)))
    powers = [10.0**p for p in range(first, last + 1, stride)]
    if len(powers) >= 2:
        return powers
    fine = [f * 10.0**p for p in range(first - 1, last + 1) for f in (1, 2, 5)]
    fine = [t for t in fine if scale.low <= t <= scale.high]
    return fine if 2 <= len(fine) <= count + 1 else powers or nice_ticks(scale.low, scale.high, max(count - 1, 1))


def short(value: float) -> str:
    """A number in at most seven cells, for a title or a lone label: 2.77, -0.0031, 12.4k, 1e-05, nan."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e4:
        return _with_suffix(value, 3)
    if size < 1e-4:
        return _power(value, 1)
    digits = 3 if size < 10 else 4
    text = f"{value:.{digits}g}"
    return text if "e" not in text else f"{value:.0f}"


def exact(value: float) -> str:
    """A number as it was logged, up to float32 precision: what the cursor reads."""
    return f"{value:.7g}" if math.isfinite(value) else short(value)


def _with_suffix(value: float, digits: int) -> str:
    for size, suffix in _SUFFIXES:
        if abs(value) >= size * 0.9995:
            number = value / size
            if abs(number) >= 1e4:
                break
            text = f"{number:.{digits}g}"
            return (text if "e" not in text else f"{number:.0f}") + suffix
    return _power(value, 1)


def _power(value: float, digits: int) -> str:
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def y_labels(ticks: list[float], scale: Scale) -> tuple[list[str], str]:
    """(a label for each tick, a base): the base is '' or a number that every label is to be added to.

    Where even that leaves two alike, the later one is ''.
    """
    if not ticks:
        return [], ""
    if scale.log:
        labels = [_log_label(tick) for tick in ticks]
        return [label if label not in labels[:i] else "" for i, label in enumerate(labels)], ""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else max(abs(ticks[0]), 1e-300)
    for labels in (_plain(ticks, step), [_suffixed(t) for t in ticks], [_power(t, 2) if t else "0" for t in ticks]):
        if len(set(labels)) == len(labels) and max(map(len, labels)) <= _WIDEST:
            return labels, ""
    base = ticks[0]
    labels = [f"+{short(tick - base)}" if tick != base else "+0" for tick in ticks]
    return [label if label not in labels[:i] else "" for i, label in enumerate(labels)], f"{base:.7g}"


def _plain(ticks: list[float], step: float) -> list[str]:
    largest = max(map(abs, ticks))
    if not step >= 1e-5 or largest >= 1e5:
        return ["0" * (_WIDEST + 1)]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if decimals > 6:
        return ["0" * (_WIDEST + 1)]
    return [f"{tick:.{decimals}f}" if tick else "0" for tick in ticks]


def _suffixed(tick: float) -> str:
    return "0" if tick == 0 else _with_suffix(tick, 4) if abs(tick) >= 1e3 else f"{tick:.4g}"


def _log_label(tick: float) -> str:
    return short(tick) if 1e-3 <= tick < 1e6 else _power(tick, 0)


def step_label(step: float) -> str:
    """A step on the x axis: 310, 12k, 1.25M."""
    if abs(step) < 1e4:
        return f"{step:.0f}" if float(step).is_integer() else f"{step:.7g}"
    text = _with_suffix(step, 6)
    return text if len(text) <= 8 else _power(step, 3)


def duration(seconds: float) -> str:
    """A length of time in its two largest units: 45s, 2m12s, 1h05, 3d4h."""
    if not math.isfinite(seconds):
        return "?"
    sign, rest = ("-" if seconds < 0 else ""), abs(seconds)
    if rest < 10 and not float(rest).is_integer():
        return f"{sign}{rest:.2g}s"
    whole = round(rest)
    if whole < 60:
        return f"{sign}{whole}s"
    if whole < 3600:
        return f"{sign}{whole // 60}m" + (f"{whole % 60:02d}s" if whole % 60 else "")
    if whole < _DAY:
        return f"{sign}{whole // 3600}h" + (f"{whole % 3600 // 60:02d}" if whole % 3600 >= 60 else "")
    days, hours = whole // _DAY, whole % _DAY // 3600
    if days >= 10_000:
        return f"{sign}{_with_suffix(float(days), 3)}d" if days >= 1e4 else f"{sign}{days}d"
    return f"{sign}{days}d" + (f"{hours}h" if hours else "")


def clock(seconds: float, span: float, *, full: bool = False) -> str:
    """A moment in local time: 14:30, 14:30:05 when `span` (seconds) is short, 22 Nov when it is days."""
    try:
        moment = datetime.fromtimestamp(seconds).astimezone()
    except (OverflowError, OSError, ValueError):
        return short(seconds)
    if full:
        return moment.strftime("%Y-%m-%d %H:%M:%S")
    if span <= 300:
        return moment.strftime("%H:%M:%S")
    if span > 5 * _DAY or (moment.hour == 0 and moment.minute == 0):
        return moment.strftime("%d %b").lstrip("0") if span < 300 * _DAY else moment.strftime("%Y-%m")
    return moment.strftime("%H:%M")


def time_ticks(low: float, high: float, count: int, *, local: bool) -> list[float]:
    """Ticks on whole seconds, minutes, hours or days; of local time when `local`."""
    span = high - low
    if not (span > 0 and math.isfinite(span)) or count < 1:
        return []
    rough = span / count
    if rough < 1:
        return nice_ticks(low, high, count)
    step = next((float(s) for s in _SECONDS if s >= rough), 0.0) or _DAY * max(1.0, nice_step(span / _DAY, count))
    offset = _utc_offset(high) if local else 0.0
    first, last = math.ceil((low + offset) / step), math.floor((high + offset) / step)
    return [number * step - offset for number in range(first, min(last, first + count + 1) + 1)]


def _utc_offset(seconds: float) -> float:
    try:
        delta = datetime.fromtimestamp(seconds).astimezone().utcoffset()
    except (OverflowError, OSError, ValueError):
        return 0.0
    return delta.total_seconds() if delta is not None else 0.0
