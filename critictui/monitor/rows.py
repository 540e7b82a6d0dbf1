"""The run list: every run found, each with a few numbers that cost a look at the end of its newest files."""

from __future__ import annotations

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
_LOOKS = 4
_AT_ONCE = 40
_REST = 9.0
"""Once the newest runs are known, looking at the others takes at most a tenth of this thread's time."""
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
        self._runs: Sequence[FoundRun] = ()
        self._queue: list[FoundRun] = []
        self._count = 0
        self._rest_until = 0.0

    def found(self, runs: Sequence[FoundRun]) -> None:
        """All runs that exist now."""
        if runs is self._runs:
            return
        self._runs = runs
        # a single run is read in full anyway
        changed = [run for run in runs if self._looked.get(run.path) != run.modified] if len(runs) > 1 else []
        self._queue = sorted(changed, key=lambda run: run.modified)[-_MOST:]

    @property
    def due(self) -> bool:
        """A run is waiting to be looked at."""
        return bool(self._queue) and time.monotonic() >= self._rest_until

    def step(self, watched: Iterable[Path]) -> bool:
        """Look at the newest run that is waiting, unless it is read in full anyway; True if its row is different."""
        if not self.due:
            return False
        began = time.monotonic()
        run = self._queue.pop()
        self._looked[run.path] = run.modified
        if run.path in set(watched):
            return False
        reader = RunReader(run.path, self._config, run.files)
        try:
            snapshot = reader.poll(_LOOK)
            for _ in range(_LOOKS):
                if snapshot.step is not None or not reader.more:
                    break
                snapshot = reader.poll(_LOOK)
        finally:
            reader.close()
        before = self._known.get(run.path)
        row = self._known[run.path] = row_of(
            snapshot, run.name, run.modified, before.verdict if before is not None else "unknown"
        )
        self._count += 1
        if self._count > _AT_ONCE:
            self._rest_until = time.monotonic() + _REST * (time.monotonic() - began)
        return row != before

    def rows(self, watched: Mapping[Path, WatchedRun]) -> tuple[RunRow, ...]:
        """Every run by name; those read in full as they are now."""
        out = []
        for run in self._runs:
            full = watched.get(run.path)
            if full is not None:
                row = row_of(full.run, run.name, run.modified, full.judgement.verdict)
                self._known[run.path] = row
            else:
                row = self._known.get(run.path) or RunRow(
                    run.path, run.name, "empty", None, None, None, "unknown", run.modified
                )
            out.append(row)
        return tuple(out)
