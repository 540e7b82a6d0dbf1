"""What the time stamps in a run are worth: their extents go in, words about clocks that disagree come out.

Order is by step and file, and whether a run lives is judged by what we see change; a wrong clock costs neither. But
what a person reads as a time of day must be one.
"""

from __future__ import annotations

import math
import time

A_DATE = 946_684_800.0
"""2000-01-01; what is stamped earlier counts from the start of a run, or by a clock that was never set."""
AGREE = 3600.0
"""Seconds by which clocks of machines may differ, or be set back, unmentioned."""


def is_date(stamp: float) -> bool:
    """Whether a wall time can be a time of day, seconds since the epoch."""
    return math.isfinite(stamp) and stamp >= A_DATE


def skew(earliest: float, latest: float, fell: float, grew_at: float | None) -> tuple[str, ...]:
    """One sentence for each way in which the stamps of a run are no time of day.

    earliest, latest: seconds since the epoch, infinite where there are none. fell: the largest step back from one
    record to the next, in seconds. grew_at: when we last saw a file grow, by our own clock: about then the newest
    stamp was written.
    """
    if earliest > latest:
        return ()
    now = time.time()
    said = []
    if not is_date(earliest):
        said.append("time stamps that are no dates (seconds since some start, or a clock that was not set)")
    if latest > now + AGREE:
        said.append(f"time stamps {_span(latest - now)} in the future")
    elif grew_at is not None and is_date(latest) and latest < grew_at - AGREE:
        said.append(f"time stamps {_span(grew_at - latest)} in the past")
    if fell > AGREE:
        said.append(f"time stamps that jump back by {_span(fell)}")
    order = "order is by file and step, silence is judged by this machine's clock"
    return tuple(f"clock skew: {what}; {order}" for what in said)


def _span(seconds: float) -> str:
    if seconds < 1.5 * 86400:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 86400:.0f} days" if seconds < 1e9 else "decades"
