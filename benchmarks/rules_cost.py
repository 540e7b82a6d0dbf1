"""What the rules cost a step: a run with 150 metrics grows by one step at a time, and the judge is asked each time.

`python -m benchmarks.rules_cost` prints the median and the 99th percentile of one `Judge.update`, in milliseconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.detection.generator import Shape, generate, snapshot_of
from critictui.config import Config
from critictui.health.judge import Judge
from critictui.run.facts import RunSnapshot

METRICS = 150
GOAL = 1.0
"""Milliseconds."""


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


def milliseconds(steps: int = 800) -> list[float]:
    """The processor time of each update but the first ten."""
    judge = Judge(Config())
    taken = []
    for snapshot in growing(steps):
        started = time.thread_time()
        judge.update(snapshot)
        taken.append(1e3 * (time.thread_time() - started))
    return taken[10:]


def main() -> None:
    """Print one line."""
    taken = sorted(milliseconds())
    print(
        f"all rules on {METRICS} metrics: {statistics.median(taken):.2f} ms a step, "
        f"{taken[int(0.99 * len(taken))]:.2f} ms at the 99th percentile (goal: under {GOAL:g} ms)"
    )


if __name__ == "__main__":
    main()
