"""A time span in words, the same on the screen and on the command line."""

from __future__ import annotations

import math


def duration(seconds: float | None) -> str:
    """Seconds as `35ms`, `0.8s`, `12s`, `2m12s`, `3h05m`, `2d04h`."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return "-"
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.2g}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"
