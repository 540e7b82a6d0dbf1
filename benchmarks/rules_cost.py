"""What the rules cost a step, next to what other tools' detectors cost on the same run in the same minutes.

`python -m benchmarks.rules_cost`: a run with 150 metrics grows by one step at a time, and after each step the judge is
asked; then the peers, three times in turn. Printed are the median and the 99th percentile in milliseconds of processor
time (`time.thread_time`) and of the clock. The peers: river's ADWIN and Page-Hinkley on the metrics that are held
against their own past here, and a z-score of the last 30 values of all 150, as an automation of W&B's looks at one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from river.drift import ADWIN, PageHinkley

from benchmarks.detection.generator import Shape, generate, snapshot_of
from benchmarks.detection.peers import WINDOW, Z
from critictui.config import Config
from critictui.health.context import LEVELS
from critictui.health.judge import Judge
from critictui.run.facts import RunSnapshot

METRICS = 150
GOAL = 1.0
"""Milliseconds."""
Cost = tuple[float, float]
"""Milliseconds of processor time, and of the clock."""


def growing(steps: int = 800, metrics: int = METRICS) -> Iterator[RunSnapshot]:
    """A run of so many metrics (those the rules read, and others like verl's) after each of its steps."""
    rng = np.random.default_rng(7)
    run = generate(Shape(7, steps=steps)).run
    first = next(iter(run.series.values()))
    columns = {tag: series.value for tag, series in run.series.items()}
    for i in range(metrics - len(columns)):
        columns[f"perf/other_{i}"] = rng.standard_normal(steps)
    for n in range(1, steps + 1):
        yield snapshot_of(columns, first.step, first.session, until=n)


def costs(work: Callable[[RunSnapshot], object], steps: int = 800) -> list[Cost]:
    """What each call but the first ten costs, as the run grows."""
    taken = []
    for snapshot in growing(steps):
        clock, processor = time.perf_counter(), time.thread_time()
        work(snapshot)
        taken.append((1e3 * (time.thread_time() - processor), 1e3 * (time.perf_counter() - clock)))
    return taken[10:]


def all_rules() -> Callable[[RunSnapshot], object]:
    """A judge that has seen nothing yet."""
    return Judge(Config()).update


def river_detectors() -> Callable[[RunSnapshot], None]:
    """ADWIN and Page-Hinkley, fed with the newest value of each metric that is held against its own past."""
    detectors = {name: (ADWIN(), PageHinkley()) for name in LEVELS}

    def work(run: RunSnapshot) -> None:
        for name, pair in detectors.items():
            series = run.series.get(name)
            if series is not None:
                value = series.value.item(-1)
                for detector in pair:
                    detector.update(value)

    return work


def z_scores() -> Callable[[RunSnapshot], object]:
    """How many of all metrics lie three deviations from the mean of the 30 values before their newest."""

    def work(run: RunSnapshot) -> int:
        found = 0
        for series in run.series.values():
            past = series.value[-WINDOW - 1 : -1]
            if len(past) == WINDOW:
                found += abs(series.value[-1] - past.mean()) > Z * past.std()
        return found

    return work


WORK: dict[str, Callable[[], Callable[[RunSnapshot], object]]] = {
    f"all rules, {METRICS} metrics": all_rules,
    f"ADWIN and Page-Hinkley (river), {len(LEVELS)} metrics": river_detectors,
    f"z-score (numpy), {METRICS} metrics": z_scores,
}
ROUNDS = 3


def main() -> None:
    """One line for each."""
    taken: dict[str, list[Cost]] = {name: [] for name in WORK}
    for _ in range(ROUNDS):
        for name, make in WORK.items():
            taken[name] += costs(make())
    ours = statistics.median(cost for cost, _ in taken[next(iter(WORK))])
    for name, both in taken.items():
        processor, clock = ([cost[i] for cost in both] for i in (0, 1))
        ratio = ours / statistics.median(processor)
        print(f"{name}: processor {_said(processor)}, clock {_said(clock)}; the rules cost {ratio:.2f} of it")
    print(f"milliseconds a step, median (99th percentile); goal: under {GOAL:g}")


def _said(costs: Sequence[float]) -> str:
    ordered = sorted(costs)
    return f"{statistics.median(ordered):.3f} ({ordered[int(0.99 * len(ordered))]:.3f})"


if __name__ == "__main__":
    main()
