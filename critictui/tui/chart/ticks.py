"""Where an axis has its labels and what they say: nice numbers, short, and never two alike."""

from __future__ import annotations

import math
from datetime import datetime
from itertools import pairwise

from critictui.run.clocks import is_date
from critictui.tui.chart.scale import Scale
from critictui.tui.words import number

_SUFFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAY = 86400
_ROWS_A_LABEL = 2
_LABELLED_FROM = 3
"""Rows from which a y axis has two labels at least."""
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


def y_ticks(scale: Scale, rows: int) -> list[float]:
    """Ticks of a y axis of `rows` rows: round numbers, or powers of ten on a log scale; two at least from 3 rows on.

    They are whole rows apart where the scale was made for it, and where round numbers are too few the ends are named.
    """
    if scale.step:
        first, last = math.ceil(scale.low / scale.step - 1e-9), math.floor(scale.high / scale.step + 1e-9)
        ticks = [number * scale.step + 0.0 for number in range(first, last + 1)]
    elif scale.log:
        ticks = _log_ticks(scale, max(2, rows // _ROWS_A_LABEL))
    else:
        ticks = _apart(scale, rows)
    return ticks if len(ticks) > 1 or rows < _LABELLED_FROM else [scale.low, scale.high]


def _apart(scale: Scale, rows: int) -> list[float]:
    """Round numbers whose rows are as far apart, as many as there are; else the first and the last of some."""
    most = max(2, rows // _ROWS_A_LABEL)
    two: list[float] = []
    for count in (*range(most, 0, -1), *range(most + 1, 2 * rows)):
        ticks = nice_ticks(scale.low, scale.high, count)
        places = [round((1 - scale.place(tick)) * (4 * rows - 1)) // 4 for tick in ticks]
        gaps = {b - a for a, b in pairwise(places)}
        if count <= most and len(gaps) == 1 and gaps != {0}:
            return ticks
        if not two and gaps and places[0] != places[-1]:
            two = [ticks[0], ticks[-1]]
        if two and count > most:
            break
    return two


def _log_ticks(scale: Scale, count: int) -> list[float]:
    first, last = math.ceil(math.log10(scale.low) - 1e-9), math.floor(math.log10(scale.high) + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / count))
    powers = [10.0**p for p in range(first, last + 1, stride)]
    if len(powers) >= 2:
        return powers
    fine = [f * 10.0**p for p in range(first - 1, last + 1) for f in (1, 2, 5)]
    fine = [t for t in fine if scale.low <= t <= scale.high]
    return fine if 2 <= len(fine) <= count + 1 else nice_ticks(scale.low, scale.high, max(count - 1, 1))


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

    All have as many decimals. Where even that leaves two alike, the later one is ''.
    """
    if not ticks:
        return [], ""
    if scale.log:
        labels = [_log_label(tick) for tick in ticks]
        return [label if label not in labels[:i] else "" for i, label in enumerate(labels)], ""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else max(abs(ticks[0]), 1e-300)
    base = ticks[0]
    labels = _alike(ticks, step, _WIDEST)
    if labels:
        return labels, ""
    apart = [f"+{label}" for label in _plain([tick - base for tick in ticks], step, ticks[-1] - base)]
    if len(set(apart)) == len(ticks) and max(map(len, apart)) <= _WIDEST + 2:
        return apart, f"{base:.7g}"
    labels = _alike(ticks, step, 2 * _WIDEST) or [number(tick) for tick in ticks]
    return [label if label not in labels[:i] else "" for i, label in enumerate(labels)], ""


def _alike(ticks: list[float], step: float, widest: int) -> list[str]:
    """Labels in one form, none like another, one cell wider with a power of ten; nothing where no form has them."""
    largest = max(map(abs, ticks))
    for made, room in ((_plain, widest), (_suffixed, widest), (_powers, widest + 1)):
        labels = made(ticks, step, largest)
        if len(set(labels)) == len(ticks) and max(map(len, labels)) <= room:
            return labels
    return []


def _plain(ticks: list[float], step: float, largest: float) -> list[str]:
    """`-0.5`, `0.0`, `0.5`; nothing where that is no way to write them."""
    decimals = _decimals(step)
    if largest >= 1e5 or decimals > 6:
        return []
    return [f"{tick + 0.0:.{decimals}f}" for tick in ticks]


def _suffixed(ticks: list[float], step: float, largest: float) -> list[str]:
    """`0.5M`, `1.0M`."""
    size, suffix = next(((size, suffix) for size, suffix in _SUFFIXES if largest >= size), (0.0, ""))
    if not size or largest / size >= 1e4:
        return []
    return [f"{tick / size + 0.0:.{_decimals(step / size)}f}{suffix}" for tick in ticks]


def _powers(ticks: list[float], step: float, largest: float) -> list[str]:
    """`0.5e-6`, `1.0e-6`."""
    power = math.floor(math.log10(largest)) if largest > 0 else 0
    if abs(power) > 300:
        return []
    size = 10.0**power
    decimals = _decimals(step / size)
    return [f"{tick / size + 0.0:.{decimals}f}" + (f"e{power}" if tick else "") for tick in ticks]


def _decimals(step: float) -> int:
    """As many as make multiples of a step exact, two more than its size has where that never is."""
    least = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 99
    return next((n for n in (least, least + 1) if n < 20 and abs(round(step, n) - step) <= step * 1e-6), least + 2)


def _log_label(tick: float) -> str:
    if not 1e-3 <= tick < 1e6:
        return _power(tick, 1)
    return f"{tick:.4g}" if tick < 1e4 else _with_suffix(tick, 3)


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
    """A moment in local time: 14:30, 14:30:05 when `span` (seconds) is short, 22 Nov when it is days.

    In full: 14:30:05, or 22 Nov 14:30 where the span is longer than a day. What is no date is a time since some start.
    """
    if not is_date(seconds):
        return duration(seconds)
    try:
        moment = datetime.fromtimestamp(seconds).astimezone()
    except (OverflowError, OSError, ValueError):
        return number(seconds)
    if full:
        return moment.strftime("%H:%M:%S") if span <= _DAY else moment.strftime("%d %b %H:%M").lstrip("0")
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
