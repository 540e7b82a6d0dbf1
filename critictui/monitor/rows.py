"""The run list: every run found, each with a few numbers and a verdict that cost little and are renewed seldom."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from critictui.config import Config
from critictui.health.alert import Judgement
from critictui.monitor.sliced import judged_in_slices, looked_at_in_slices
from critictui.monitor.snapshot import RunRow, WatchedRun
from critictui.run import metrics
from critictui.run.facts import RunSnapshot
from critictui.run.grouping import FoundRun
from critictui.run.judging import SHORTEST_SILENCE

_AT_ONCE = 1.5
"""Seconds of this thread's time for the newest runs, without a rest."""
_REST = 4.0
"""After that, looking at the others takes at most a fifth of a core,"""
_REST_OF_JUDGES = 9.0
"""and judging them a tenth."""
_MOST = 3000
_MOST_JUDGED = 100
_AGAIN = 15.0
_SHARE = 300
_MOST_AGAIN = 200
"""Runs whose files are looked at for growth every now and then, the newest first."""
_JUDGE_AGAIN = 60.0
_TOO_LONG = Judgement("unknown")


def row_of(run: RunSnapshot, found: FoundRun, verdict: str = "") -> RunRow:
    """A run in the list; where nobody saw it change, as old as its files are."""

    def last(metric: str) -> float | None:
        series = run.metric(metric)
        point = series.last() if series is not None else None
        return point[1] if point is not None else None

    modified = found.modified if run.last_change is None else run.last_change
    d_acc, margin = last(metrics.D_ACC), last(metrics.SCORE_DIFF)
    return RunRow(run.path, found.name, run.state, run.step, d_acc, margin, verdict, modified)


class RowReader:
    """Keeps the rows. `step` does one thing: look at a run that is new or grew, judge a slice, look for growth."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: dict[Path, RunRow] = {}
        self._looked: dict[Path, float] = {}
        """The newest time stamp of a run's files when it was looked at."""
        self._grow: set[Path] = set()
        """Runs whose files changed between two looks."""
        self._runs: Sequence[FoundRun] = ()
        self._queue: list[FoundRun] = []
        self._looking: tuple[FoundRun, Iterator[RunSnapshot | None]] | None = None
        self._unjudged: list[FoundRun] = []
        self._judging: tuple[FoundRun, Iterator[Judgement | None]] | None = None
        self._judge_from: dict[Path, float] = {}
        self._judge_spent = 0.0
        self._spent = 0.0
        self._rest_until = 0.0
        self._again_at = 0.0
        self._listed_runs: Sequence[FoundRun] | None = None
        self._listed: list[RunRow] = []
        self._places: dict[Path, int] = {}

    def found(self, runs: Sequence[FoundRun]) -> None:
        """All runs that exist now."""
        if runs is self._runs:
            return
        self._runs = runs
        changed = [r for r in runs if self._looked.get(r.path, -math.inf) < r.modified]
        if len(runs) <= 1:
            changed = []  # a single run is read in full anyway
        self._queue = sorted(changed, key=lambda run: run.modified)[-_MOST:]

    @property
    def wait(self) -> float:
        """Seconds until there is something to do; infinite where there are no runs to choose from."""
        if len(self._runs) <= 1:
            return math.inf
        busy = self._queue or self._looking or self._unjudged or self._judging
        return max(0.0, (self._rest_until if busy else self._again_at) - time.monotonic())

    def step(self, watched: Iterable[Path]) -> bool:
        """Do one piece of work, leaving out runs that are read in full anyway; True if a row is different."""
        if self.wait > 0:
            return False
        began = time.thread_time()
        changed, rest = False, 0.0
        if self._queue or self._looking is not None:
            changed, rest = self._look(set(watched)), _REST if self._spent > _AT_ONCE else 0.0
        elif self._unjudged or self._judging is not None:
            changed, rest = self._judge(set(watched)), _REST_OF_JUDGES
        else:
            self._look_for_growth()
            self._again_at = time.monotonic() + max(_AGAIN, _SHARE * (time.thread_time() - began))
        spent = time.thread_time() - began
        self._spent += spent
        self._rest_until = time.monotonic() + rest * spent
        return changed

    def rows(self, watched: Mapping[Path, WatchedRun]) -> tuple[RunRow, ...]:
        """Every run by name; those read in full as they are now."""
        if self._listed_runs is not self._runs:
            self._listed_runs = self._runs
            self._places = {run.path: place for place, run in enumerate(self._runs)}
            self._listed = [self._known.get(run.path) or _unread(run) for run in self._runs]
        for path, full in watched.items():
            place = self._places.get(path)
            if place is not None and full.run.progress >= 1:
                run = self._runs[place]
                judged = full.judgement.verdict != "unknown" or full.judgement.waiting
                self._note(row_of(full.run, run, full.judgement.verdict if judged else ""))
        return tuple(self._listed)

    # One piece of work each.

    def _look(self, watched: set[Path]) -> bool:
        """A slice of a look at one run; the newest run first."""
        if self._looking is None:
            run = _as_it_is(self._queue.pop())
            if self._looked.get(run.path, math.inf) < run.modified:
                self._grow.add(run.path)
            self._looked[run.path] = run.modified
            if run.path in watched:
                return False
            self._looking = (run, looked_at_in_slices(run, self._config, grows=run.path in self._grow))
        run, slices = self._looking
        self._looking = None  # where a slice fails, the next run has its turn
        snapshot = next(slices)
        if snapshot is None:
            self._looking = (run, slices)
            return False
        before = self._known.get(run.path) or _unread(run)
        row = row_of(snapshot, run, before.verdict)
        self._note(row)
        if row.state != before.state or time.monotonic() >= self._judge_from.get(run.path, 0.0):
            self._unjudged = [*(r for r in self._unjudged if r.path != run.path), run][-_MOST_JUDGED:]
        return row != before

    def _judge(self, watched: set[Path]) -> bool:
        """A slice of one run's judgement; the newest run first."""
        began = time.thread_time()
        if self._judging is None:
            run = max(self._unjudged, key=lambda run: run.modified)
            self._unjudged.remove(run)
            if run.path in watched:
                return False
            self._judging = (run, judged_in_slices(run, self._config, grows=run.path in self._grow))
            self._judge_spent = 0.0
        run, slices = self._judging
        self._judging = None
        judgement = next(slices, _TOO_LONG)
        if judgement is None:
            self._judging = (run, slices)
        self._judge_spent += time.thread_time() - began
        self._judge_from[run.path] = time.monotonic() + max(_JUDGE_AGAIN, _SHARE * self._judge_spent)
        row = self._known.get(run.path)
        if judgement is None or judgement is _TOO_LONG or row is None or row.verdict == judgement.verdict:
            return False
        self._note(replace(row, verdict=judgement.verdict))
        return True

    def _look_for_growth(self) -> None:
        """Runs that have grown since, and those that may have stalled, get another look."""
        newest = sorted(self._known.values(), key=lambda row: row.modified, reverse=True)[:_MOST_AGAIN]
        runs = {run.path: run for run in self._runs}
        for row in reversed(newest):
            run = runs.get(row.path)
            if run is None:
                continue
            run = _as_it_is(run)
            silent = row.state == "running" and time.time() - run.modified > SHORTEST_SILENCE
            if run.modified > self._looked.get(row.path, -math.inf) or silent:
                self._queue.append(run)

    def _note(self, row: RunRow) -> None:
        """Keep a row, and put it in its place in the list: a hundred thousand others are left as they are."""
        self._known[row.path] = row
        place = self._places.get(row.path) if self._listed_runs is self._runs else None
        if place is not None:
            self._listed[place] = row


def _as_it_is(run: FoundRun) -> FoundRun:
    """The run with the time stamps that its files have now."""
    files = []
    for file in run.files:
        try:
            files.append(replace(file, modified=file.path.stat().st_mtime))
        except OSError:
            files.append(file)
    return replace(run, files=tuple(files), modified=max((f.modified for f in files), default=run.modified))


def _unread(run: FoundRun) -> RunRow:
    return RunRow(run.path, run.name, "empty", None, None, None, "", run.modified, read=False)
