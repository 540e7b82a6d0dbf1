"""One metric against its own past: learns what is normal after the transient, then sums what departs from it."""

from __future__ import annotations

import math

from critictui.health.statistics import Baseline, Cusum, median, noise, rise


class Column:
    """The finite values of one metric in the current session."""

    __slots__ = ("steps", "values")

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.values: list[float] = []

    def __len__(self) -> int:
        return len(self.steps)

    def cut(self, n: int) -> None:
        """Keep the first n points."""
        del self.steps[n:], self.values[n:]

    def tail(self, n: int) -> list[float]:
        """The last n values, fewer where there are fewer."""
        return self.values[-n:]


class Level:
    """Baseline and two CUSUMs (below, above) of one metric; shared by all rules that judge it.

    The baseline is the median of the first stable window. Upwards it follows (a critic learns for long, and what it has
    learnt it can lose); downwards it never does, or a slow decline would carry it along. After a seam it is taken
    anew, and until then the old one is used.
    """

    SKIP = 10
    """Points at the start of a session that never count: optimiser and schedule warm up."""
    WINDOW = 40
    PATIENCE = 120
    """After so many points a window is taken even where it still trends."""
    EVERY = 20
    """Points between two looks at whether a better level was reached."""
    LONG = 160
    """Points that the noise is estimated from once there are so many."""
    STABLE = 2.5
    """Standard errors between the halves of a window that is still called stable."""

    __slots__ = (
        "_begin",
        "_seen",
        "_waiting",
        "above",
        "baseline",
        "below",
        "follows",
        "least",
        "limit",
        "log",
        "now",
        "shift",
        "short",
    )

    def __init__(
        self, *, log: bool = False, follows: bool = True, shift: float = 0.5, limit: float = 12.0, least: float = 0.0
    ) -> None:
        self.log = log
        self.follows = follows
        self.shift = shift
        self.limit = limit
        self.least = least
        """Sigma is never believed to be smaller."""
        self.baseline: Baseline | None = None
        self.below = Cusum()
        self.above = Cusum()
        self.now = math.nan
        """Median of the last three values, in the metric's own units."""
        self.short = math.nan
        """Median of the last ten."""
        self._begin = 0
        """Index of the first point after the last seam."""
        self._waiting = True
        self._seen = 0

    @property
    def usual(self) -> float:
        """The baseline in the metric's own units; NaN before there is one."""
        if self.baseline is None:
            return math.nan
        return math.exp(self.baseline.level) if self.log else self.baseline.level

    @property
    def fell(self) -> bool:
        """The level has gone down beyond what noise does."""
        return self.below.sum >= self.limit

    @property
    def rose(self) -> bool:
        """The level has gone up beyond what noise does."""
        return self.above.sum >= self.limit

    def needs(self) -> int:
        """Points that are still missing before this metric can be judged; 0 when it can."""
        return 0 if self.baseline is not None else max(1, self.SKIP + self.WINDOW - (self._seen - self._begin))

    def seam(self, points: int) -> None:
        """From the next point on (there are `points` so far) the baseline is taken anew."""
        self._begin = points
        self._waiting = True

    def settle(self) -> None:
        """Call what is now normal: after a change that was reported and is over."""
        self.below.reset()
        self.above.reset()

    def add(self, column: Column) -> None:
        """Take in the newest point of the column."""
        values = column.values
        n = self._seen = len(values)
        x = self._scale(values[-1])
        self.now = median(values[-3:])
        self.short = median(values[-10:])
        base = self.baseline
        if base is not None:
            z = (base.level - x) / base.inflated
            step = column.steps[-1]
            self.below.add(z, self.shift, step, 2 * self.limit)
            self.above.add(-z, self.shift, step, 2 * self.limit)
        count = n - self._begin
        if self._waiting:
            ready = count - self.SKIP - self.WINDOW
            if ready >= 0 and ready % 5 == 0:
                self._first(column, patient=count < self.PATIENCE)
        elif (count - self.SKIP - self.WINDOW) % self.EVERY == 0:
            self._again(column)

    def _scale(self, value: float) -> float:
        return math.log(max(value, 1e-9)) if self.log else value

    def _window(self, column: Column, n: int) -> list[float]:
        values = column.values[max(self._begin, len(column) - n) :]
        return [self._scale(v) for v in values] if self.log else values

    def _measured(self, column: Column) -> Baseline:
        window = self._window(column, self.WINDOW)
        level = median(window)
        available = len(column) - self._begin - self.SKIP
        longer = self._window(column, min(self.LONG, max(self.WINDOW, available)))
        floor = max(self.least, 1e-3 if self.log else 1e-3 * abs(level), 1e-9)
        sigma, phi = noise(longer, floor)
        return Baseline(level, sigma, phi, column.steps[-1], len(longer))

    def _first(self, column: Column, *, patient: bool) -> None:
        fresh = self._measured(column)
        trend = rise(self._window(column, self.WINDOW), fresh.sigma, fresh.phi)
        if patient and abs(trend) > self.STABLE:
            return
        if self.baseline is not None and (
            self.fell or (self.below.sum > self.limit / 2 and fresh.level < self.baseline.level)
        ):
            return  # a seam does not excuse a fall that is under way
        self.baseline = fresh
        self._waiting = False
        self.settle()

    def _again(self, column: Column) -> None:
        base = self.baseline
        if base is None or self.below.sum > self.limit / 2 or (self.above.sum > self.limit and not self.follows):
            return
        fresh = self._measured(column)
        sigma, phi = (fresh.sigma, fresh.phi) if fresh.n >= base.n else (base.sigma, base.phi)
        level = base.level
        if self.follows:
            error = fresh.inflated / math.sqrt(self.WINDOW)
            trend = rise(self._window(column, self.WINDOW), fresh.sigma, fresh.phi)
            if fresh.level - error > base.level and abs(trend) <= self.STABLE:
                level = fresh.level - error
                self.above.reset()
        self.baseline = Baseline(level, sigma, phi, base.step, max(base.n, fresh.n))
