"""The run list: every run found, each with a few numbers that cost a look at the end of its newest files."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from critictui.config import Config
from critictui.monitor.snapshot import RunRow, WatchedRun
from critictui.run import metrics
from critictui.run.facts import RunSnapshot
from critictui.run.grouping import FoundRun
from critictui.run.reader import RunReader
from critictui.run.source import Budget

_LOOK = Budget(bytes=1 << 20, seconds=0.01)
_PATIENCE = 0.03
"""Seconds for the first look at a run; each further one may take twice as long."""
_MOST_TRIES = 4
_AT_ONCE = 40
_REST = 4.0
"""Once the newest runs are known, looking at the others takes at most a fifth of this thread's time."""
_MOST = 3000


def row_of(run: RunSnapshot, name: str, modified: float, verdict: str = "unknown") -> RunRow:
    """A run in the list."""

    def last(metric: str) -> float | None:
        series = run.metric(metric)
        point = series.last() if series is not None else None
        return point[1] if point is not None else None

    return RunRow(run.path, name, run.state, run.step, last(metrics.D_ACC), last(metrics.SCORE_DIFF), verdict, modified)


class RowReader:
    """Keeps the rows; `step` looks at one run that is new or has changed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._known: dict[Path, RunRow] = {}
        self._looked: dict[Path, float] = {}
        self._tries: dict[Path, int] = {}
        self._runs: Sequence[FoundRun] = ()
        self._queue: list[FoundRun] = []
        self._count = 0
        self._rest_until = 0.0
        self._listed_runs: Sequence[FoundRun] | None = None
        self._listed: list[RunRow] = []
        self._places: dict[Path, int] = {}

    def found(self, runs: Sequence[FoundRun]) -> None:
        """All runs that exist now."""
        if runs is self._runs:
            return
        self._runs = runs
        changed = [r for r in runs if self._looked.get(r.path) != r.modified or r.path in self._tries]
        if len(runs) <= 1:
            changed = []  # a single run is read in full anyway
        self._queue = sorted(changed, key=lambda run: run.modified)[-_MOST:]

    @property
    def wait(self) -> float:
        """Seconds until the next run may be looked at; infinite when none is waiting."""
        return max(0.0, self._rest_until - time.monotonic()) if self._queue else math.inf

    def step(self, watched: Iterable[Path]) -> bool:
        """Look at the newest run that is waiting, unless it is read in full anyway; True if its row is different."""
        if self.wait > 0:
            return False
        began = time.monotonic()
        run = self._queue.pop()
        self._looked[run.path] = run.modified
        if run.path in set(watched):
            return False
        tries = self._tries[run.path] = self._tries.get(run.path, -1) + 1
        reader = RunReader(run.path, self._config, run.files)
        try:
            deadline = began + _PATIENCE * 2**tries
            snapshot = reader.poll(_LOOK)
            while reader.more and time.monotonic() < deadline:
                snapshot = reader.poll(_LOOK)
            whole = not reader.more
        finally:
            reader.close()
        if whole or tries >= _MOST_TRIES:
            del self._tries[run.path]
        else:
            self._queue.insert(0, run)  # a longer look, after the others had theirs
        before = self._known.get(run.path)
        verdict = before.verdict if before is not None else "unknown"
        row = row_of(snapshot, run.name, run.modified, verdict)
        self._note(row)
        self._count += 1
        if self._count > _AT_ONCE:
            self._rest_until = time.monotonic() + _REST * (time.monotonic() - began)
        return row != before

    def rows(self, watched: Mapping[Path, WatchedRun]) -> tuple[RunRow, ...]:
        """Every run by name; those read in full as they are now."""
        if self._listed_runs is not self._runs:
            self._listed_runs = self._runs
            self._places = {run.path: place for place, run in enumerate(self._runs)}
            self._listed = [self._known.get(run.path) or _unread(run) for run in self._runs]
        for path, full in watched.items():
            place = self._places.get(path)
            if place is not None:
                run = self._runs[place]
                self._note(row_of(full.run, run.name, run.modified, full.judgement.verdict))
        return tuple(self._listed)

    def _note(self, row: RunRow) -> None:
        """Keep a row, and put it in its place in the list: a hundred thousand others are left as they are."""
        self._known[row.path] = row
        place = self._places.get(row.path) if self._listed_runs is self._runs else None
        if place is not None:
            self._listed[place] = row


def _unread(run: FoundRun) -> RunRow:
    return RunRow(run.path, run.name, "empty", None, None, None, "unknown", run.modified)
