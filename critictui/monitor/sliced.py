"""A run read and judged beside other work: a found run goes in, a slice of work at a time, its snapshot or judgement
comes out at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from critictui.config import Config
from critictui.health.alert import Judgement
from critictui.monitor.fixed_scores import fixed_scores
from critictui.run.facts import RunSnapshot
from critictui.run.grouping import FoundRun
from critictui.run.reader import Found, RunReader
from critictui.run.series import Series
from critictui.run.source import Budget
from critictui.scoring.usual_scores import usual_scores

_LOOK = Budget(bytes=4 << 20, seconds=0.01)
_PATIENCE = 1.0
"""Seconds of this thread's time for a look: the newest is read first, the history of a large file takes longer."""
_STEPS = 200
"""Judged in one slice: 20 to 30 ms (100 to 150 us a step, measured on verl's runs)."""
_MOST_STEPS = 30_000
_MOST_BYTES = 256 << 20


def looked_at_in_slices(run: FoundRun, config: Config, *, grows: bool = False) -> Iterator[RunSnapshot | None]:
    """None after each slice, then the run as it is; of large files perhaps without the middle of their history.

    `grows`: it was seen to.
    """
    reader = RunReader(run.path, config, scanner=Found(run), grows=grows)
    began, waited = time.thread_time(), 0.0
    try:
        snapshot = reader.poll(_LOOK)
        while reader.more and time.thread_time() - began - waited < _PATIENCE:
            paused = time.thread_time()
            yield None
            waited += time.thread_time() - paused
            snapshot = reader.poll(_LOOK)
    finally:
        reader.close()
    yield snapshot


def judged_in_slices(run: FoundRun, config: Config, *, grows: bool = False) -> Iterator[Judgement | None]:
    """None after each slice, then the judgement that `check` gives. Ends without one where a run is too long for it."""
    from critictui.health.judge import Judge
    from critictui.scoring.results import ResultsFolder

    reader = RunReader(run.path, config, scanner=Found(run), grows=grows)
    try:
        snapshot = reader.poll(_LOOK)
        if sum(source.size for source in snapshot.sources) > _MOST_BYTES:
            return
        while reader.more:
            yield None
            snapshot = reader.poll(_LOOK)
    finally:
        reader.close()
    longest = max(snapshot.series.values(), key=len, default=None)
    if longest is not None and len(longest) > _MOST_STEPS:
        return
    run_dir = run.path if run.path.is_dir() else run.path.parent
    scores = fixed_scores(usual_scores(ResultsFolder(run_dir).poll(), run_dir, config))
    judge = Judge(config)
    for step in longest.step[_STEPS - 1 : -1 : _STEPS].tolist() if longest is not None else ():
        judge.update(_until(snapshot, step))
        yield None
    yield judge.update(snapshot, scores, time.time())


def _until(run: RunSnapshot, step: int) -> RunSnapshot:
    """The run as it was when it had reached a step."""
    return replace(run, series={tag: _cut(series, step) for tag, series in run.series.items()})


def _cut(series: Series, step: int) -> Series:
    n = int(series.step.searchsorted(step, side="right"))
    return replace(
        series,
        step=series.step[:n],
        wall_time=series.wall_time[:n],
        value=series.value[:n],
        session=series.session[:n],
    )
