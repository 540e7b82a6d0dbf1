"""One metric against its own past: learns what is normal after the transient, then sums what departs from it."""

from __future__ import annotations

import math

from critictui.health.statistics import Baseline, Cusum, median, middle_of_three, noise, rise, tame_mean

ABSURD = 1e30
"""No sum or square of values up to this overflows."""


def scale(value: float) -> float:
    """The logarithm, of zero and below that of a billionth."""
    return math.log(max(value, 1e-9))


class Column:
    """The finite values of one metric in the current session."""

    __slots__ = ("log", "scaled", "steps", "values")

    def __init__(self, *, log: bool = False) -> None:
        self.log = log
        self.steps: list[int] = []
        self.values: list[float] = []
        self.scaled: list[float] = [] if log else self.values
        """What statistics are made of: logarithms where the noise is a share of the size, else the values."""

    def add(self, step: int, value: float) -> None:
        """One more point; beyond `ABSURD` a value counts as that."""
        if not -ABSURD <= value <= ABSURD:
            value = ABSURD if value > 0 else -ABSURD
        self.steps.append(step)
        self.values.append(value)
        if self.log:
            self.scaled.append(scale(value))

    def __len__(self) -> int:
        return len(self.steps)

    def cut(self, n: int) -> None:
        """Keep the first n points."""
        del self.steps[n:], self.values[n:]
        if self.log:
            del self.scaled[n:]

    def tail(self, n: int) -> list[float]:
        """The last n values, fewer where there are fewer."""
        return self.values[-n:]


class Level:
    """Baseline and two CUSUMs (below, above) of one metric; shared by all rules that judge it.

    The baseline is the level of the first stable window. Upwards it follows (a critic learns for long, and what it has
    learnt it can lose); downwards it never does, or a slow decline would carry it along. After a seam it is taken
    anew, and until then the old one is used.
    """

    SKIP = 10
    """Points at the start of a session that never count: optimiser and schedule warm up."""
    WINDOW = 40
    PATIENCE = 80
    """After so many points a window is taken even where it still trends."""
    EVERY = 20
    """Points between two looks at whether a better level was reached; `phase` moves them, so that not all metrics of a
    run are looked at in the same step."""
    WIDE = 250
    """Points that the level is the mean of once there are so many; a new and better level needs half of them."""
    LONG = 400
    """Points that the noise is estimated from once there are so many: a low autocorrelation must not be good luck."""
    LEAST = 120
    """Fewer are not enough for that, whatever else they contain."""
    GUARD = 40
    """The newest points say nothing of the noise, nor do those since the sum below was last under `CALM`: a fall that
    has begun would make its own noise, and hide in it."""
    CALM = 2.0
    STABLE = 2.5
    """Standard errors between the halves of a window that is still called stable."""

    __slots__ = (
        "_absolute",
        "_begin",
        "_calm",
        "_known",
        "_phase",
        "_seen",
        "_settled",
        "_short",
        "_tail",
        "_waiting",
        "above",
        "away",
        "baseline",
        "before",
        "below",
        "follows",
        "least",
        "limit",
        "log",
        "shift",
    )

    def __init__(
        self,
        *,
        log: bool = False,
        follows: bool = True,
        shift: float = 0.5,
        limit: float = 12.0,
        least: float = 0.0,
        absolute: bool = False,
        phase: int = 0,
        known: Baseline | None = None,
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
        self.away = self.before = 0.0
        """How far the newest point and the one before it lie below the baseline, in the units of statistics."""
        self._tail: list[float] = []
        """The last ten values."""
        self._short: float | None = None
        self._phase = phase
        self._known = known
        """The baseline of the session that this one continues: as after a seam, its noise serves for a while."""
        self._absolute = absolute
        """The value itself has no meaning, only its changes: then no share of it limits sigma."""
        self._begin = 0
        """Index of the first point after the last seam."""
        self._settled = 0
        """Index of the first point of the window in which the level was reached: before it the metric still moved."""
        self._calm = 0
        """How many points there were when nothing spoke for a fall."""
        self._waiting = True
        self._seen = 0

    @property
    def usual(self) -> float:
        """The baseline in the metric's own units; NaN before there is one."""
        base = self.baseline
        if base is None:
            return math.nan
        return math.exp(base.level) if self.log else base.level

    @property
    def now(self) -> float:
        """Median of the last three values, in the metric's own units; NaN before the first."""
        tail = self._tail
        if len(tail) < 3:
            return median(tail) if tail else math.nan
        return middle_of_three(*tail[-3:])

    @property
    def short(self) -> float:
        """Median of the last ten values; NaN before the first."""
        if self._short is None:
            self._short = median(self._tail) if self._tail else math.nan
        return self._short

    def points(self, most: int) -> int:
        """Points behind `short` (of ten) or `now` (of three)."""
        return min(most, len(self._tail))

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
        if self.baseline is not None:
            return 0
        count = self._seen - self._begin
        least = self.SKIP + self.WINDOW - count
        return least if least > 0 else max(1, self.PATIENCE - count)

    def seam(self, points: int) -> None:
        """From the next point on (there are `points` so far) the baseline is taken anew.

        One that is still waited for is not put off further: epochs may be shorter than a window.
        """
        if self._waiting:
            return
        self._begin = points
        self._waiting = True

    def sigmas_above(self, value: float) -> float:
        """How far one value lies above the baseline, in sigmas of one value; 0 before there is a baseline."""
        return (
            0.0
            if self.baseline is None
            else ((scale(value) if self.log else value) - self.baseline.level) / self.baseline.sigma
        )

    def settle(self) -> None:
        """Call what is now normal: after a change that was reported and is over."""
        self.below.reset()
        self.above.reset()

    def add(self, column: Column) -> None:
        """Take in the newest point of the column."""
        scaled = column.scaled
        n = self._seen = len(scaled)
        self._tail, self._short = column.values[-10:], None
        base = self.baseline
        if base is not None:
            away = self.away = base.level - scaled[-1]
            before = self.before = base.level - scaled[-2]
            shock = (away - base.phi * before) / base.shock
            step = column.steps[-1]
            self.below.add(shock - base.doubt, self.shift, step, 2 * self.limit)
            self.above.add(-shock - base.doubt, self.shift, step, 2 * self.limit)
            if self.below.sum <= self.CALM:
                self._calm = n
        count = n - self._begin
        if self._waiting:
            ready = count - self.SKIP - self.WINDOW
            if ready >= 0 and ready % 5 == 0:
                self._first(column, patient=count < self.PATIENCE)
        elif (count - self.SKIP - self.WINDOW) % self.EVERY == self._phase:
            self._again(column)

    def _window(self, column: Column, n: int) -> list[float]:
        return column.scaled[max(self._begin, len(column) - n) :]

    def _quiet(self, column: Column) -> list[float]:
        """What the noise is estimated from: the newest points of which nothing says that they move, and enough."""
        n, first = len(column), self._begin + self.SKIP
        end = n
        if n - first > self.LEAST:
            end = max(first + self.LEAST, min(n - self.GUARD, self._calm))
        low = max(first, end - self.LONG, min(self._settled, end - self.LEAST))
        return column.scaled[low:end]

    def _measured(self, column: Column, width: int) -> Baseline:
        window = self._window(column, width)
        level = tame_mean(window)
        quiet = self._quiet(column)
        floor = max(self.least, 1e-3 if self.log or self._absolute else 1e-3 * abs(level), 1e-9)
        sigma, phi = noise(quiet, floor)
        return Baseline(level, sigma, phi, column.steps[-1], len(quiet), len(window))

    def _stable(self, column: Column, base: Baseline) -> bool:
        return abs(rise(self._window(column, base.width), base.sigma, base.phi)) <= self.STABLE

    def _first(self, column: Column, *, patient: bool) -> None:
        fresh = self._measured(column, self.WINDOW)
        if patient and not self._stable(column, fresh):
            return
        base = self.baseline
        if base is not None and self.below.sum > self.limit / 2 and fresh.level < base.level:
            return  # a seam does not excuse a fall that is under way
        known = self._known if base is None else base
        if known is not None and known.n > fresh.n:
            fresh = Baseline(fresh.level, max(fresh.sigma, known.sigma), known.phi, fresh.step, known.n, fresh.width)
        self.baseline = fresh
        self._settled, self._calm = len(column) - fresh.width, len(column)
        self.away = self.before = 0.0
        self._waiting = False
        self.settle()

    def _again(self, column: Column) -> None:
        base = self.baseline
        if base is None or self.below.sum > self.limit / 2 or (self.above.sum > self.limit and not self.follows):
            return
        available = len(column) - self._begin - self.SKIP
        fresh = self._measured(column, min(available, self.WIDE // 2))
        sigma, phi, n = (fresh.sigma, fresh.phi, fresh.n) if fresh.n >= base.n else (base.sigma, base.phi, base.n)
        level, width = base.level, base.width
        if self.follows and fresh.level - fresh.error > base.level and self._stable(column, fresh):
            level, width = fresh.level, fresh.width
            self._settled = len(column) - width
            self.above.reset()
        elif base.width < self.WIDE and base.width < available and self.below.sum < self.limit / 4:
            window = self._window(column, min(available, self.WIDE))
            wider = Baseline(tame_mean(window), fresh.sigma, fresh.phi, base.step, fresh.n, len(window))
            if self._stable(column, wider):
                level, width = wider.level, wider.width
        self.baseline = Baseline(level, sigma, phi, base.step, n, width)
