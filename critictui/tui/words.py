"""Numbers and times in words: values in, short text out. Ages are coarse, so that a screen at rest stays as it is."""

from __future__ import annotations

import math
import time

_AGES: tuple[tuple[float, str], ...] = (
    (86400 * 7, "over a week"),
    (86400 * 2, "over 2 d"),
    (86400, "over a day"),
    (43200, "over 12 h"),
    (21600, "over 6 h"),
    (10800, "over 3 h"),
    (3600, "over 1 h"),
    (1800, "over 30 min"),
    (600, "over 10 min"),
    (300, "over 5 min"),
    (60, "over 1 min"),
)


_SUFFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float | None, digits: int = 3) -> str:
    """A value with so many significant digits, zeros too: `5.85`, `1.00`, `-0.0031`, `12.3k`, `1.0e-5`, `nan`.

    The one way in which the screen writes a value of any size; d_acc has its own, `share`.
    """
    if value is None:
        return "-"
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".rpartition("e")[2])
    if -3 <= exponent < 4:
        return f"{value:.{max(digits - 1 - exponent, 0)}f}"
    if 4 <= exponent < 21:
        size, suffix = next(pair for pair in _SUFFIXES if 10.0**exponent >= pair[0])
        return f"{value / size:.{max(digits - 1 - exponent % 3, 0)}f}{suffix}"
    mantissa, _, power = f"{value:.{max(digits - 2, 0)}e}".partition("e")
    return f"{mantissa}e{int(power)}"


def share(value: float | None) -> str:
    """A share between 0 and 1, as d_acc is, and the half of its interval: always three decimals."""
    return number(value) if value is None or not math.isfinite(value) else f"{value:.3f}"


def coarse(seconds: float) -> str:
    """A duration that changes rarely: rounded to a twentieth, for an ETA."""
    if not math.isfinite(seconds) or seconds < 0:
        return "-"
    if seconds < 60:
        return "under 1m"
    minutes = seconds / 60
    if minutes < 60:
        return f"{round(minutes)}m"
    hours = minutes / 60
    if hours < 48:
        return f"{hours:.1f}h"
    return f"{hours / 24:.1f}d"


def clock(when: float | None, now: float | None = None) -> str:
    """A moment as wall clock time: `20:13:05` today, `Nov 21 20:13` on another day. It never ticks."""
    if when is None or not math.isfinite(when) or not 0 < when < 1e11:
        return "-"
    now = time.time() if now is None else now
    then, today = time.localtime(when), time.localtime(now)
    same_day = (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M:%S" if same_day else "%b %d %H:%M", then)


def age(seconds: float) -> str:
    """How long ago in rough words: `just now`, then `over 5 min ago`, `over 1 h ago`; changes a dozen times in all."""
    for least, words in _AGES:
        if seconds >= least:
            return f"{words} ago"
    return "just now"


def next_age_change(seconds: float) -> float | None:
    """Seconds until `age` reads differently, or None when it never will again."""
    later = [least for least, _ in _AGES if least > seconds]
    return min(later) - seconds if later else None


def size(count: int) -> str:
    """Bytes as `512 B`, `27.5 G`."""
    value = float(count)
    for unit in ("B", "K", "M", "G"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} T"


def count(n: int, noun: str) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
