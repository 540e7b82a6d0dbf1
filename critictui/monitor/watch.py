"""One run that is read in full: its reader, its judge and its alarm log, and what the side thread knows of it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from critictui.config import Config
from critictui.health.alert import FixedScore, Judgement
from critictui.monitor.alarm_log import AlarmLog
from critictui.monitor.clock import AwakeClock
from critictui.monitor.fixed_scores import fixed_scores
from critictui.monitor.guard import Guard
from critictui.monitor.news import News, news_in
from critictui.monitor.side import SideFacts
from critictui.monitor.snapshot import WatchedRun
from critictui.monitor.way_back import with_way_back
from critictui.run.discovery import Scanner
from critictui.run.facts import RunSnapshot
from critictui.run.grouping import FoundFile
from critictui.run.reader import RunReader
from critictui.run.source import Budget
from critictui.scoring.usual_scores import usual_scores

if TYPE_CHECKING:
    from critictui.scoring.result import ScoreResult

_JUDGE_AGAIN = 5.0
_SAY_AGAIN = 60.0
"""Seconds after which an alert is said anew though only its clock has moved: at rest nothing is repainted."""
_ROW_PATIENCE = 30.0
"""Seconds after which a step of which only a part is on disk is judged as it is."""
_LIVE = 3600.0
"""An alert of a run that changed within the last hour is news; one found in an old run is not."""
UNKNOWN = Judgement("unknown")


def _alike(one: Judgement, other: Judgement) -> bool:
    """Whether two judgements of the same data differ in figures at most, such as the length of a silence."""

    def shape(judgement: Judgement) -> tuple[object, ...]:
        alerts = tuple((alert.key, alert.state, alert.severity) for alert in judgement.alerts)
        return judgement.verdict, alerts, judgement.waiting

    return shape(one) == shape(other)


class Watch:
    """Polls one run. Nothing is raised: a part that fails is a notice, and the last good state stays."""

    def __init__(
        self, path: Path, config: Config, files: tuple[FoundFile, ...] = (), scanner: Scanner | None = None
    ) -> None:
        self.path = path
        self.run_dir = path if not path.is_file() else path.parent
        self.guard = Guard()
        self.run: RunSnapshot | None = None
        self.judgement = UNKNOWN
        self.news: list[News] = []
        """What was written down since somebody last emptied this list, and is worth a message."""
        self._config = config
        self._files = files
        self._scanner = scanner
        self._reader = RunReader(path, config, files, scanner)
        self._judge: object = None
        self._clock = AwakeClock()
        self._log = AlarmLog(self.run_dir, read_only=config.read_only, thresholds=_name_of(config.thresholds))
        self._judged: tuple[int, int] | None = None
        self._judged_at = 0.0
        self._said_at = 0.0
        self._partial: tuple[tuple[int, int], float] | None = None
        self._side = SideFacts()
        self._own: tuple[ScoreResult, ...] = ()
        self._scores: tuple[FixedScore, ...] = ()

    @property
    def filling(self) -> bool:
        """There is more to read at once."""
        return self._reader.more

    @property
    def notices(self) -> tuple[str, ...]:
        """What does not work at present."""
        return (*self.guard.notices, *((self._log.notice,) if self._log.notice else ()), *self._side.notices)

    @property
    def folders(self) -> set[Path]:
        """The directories in which a change may mean news."""
        base = self.run_dir
        found = {base}
        for source in self.run.sources if self.run is not None else ():
            found.add((base / source.path).parent)
        return found

    def poll(self, budget: Budget, side: SideFacts, *, judging: bool = True) -> bool:
        """Read, judge, write down; True if anything about the run is different now. The first look does not judge."""
        before, failures = self.run, self.guard.failures
        self.run = self.guard.call("reading", lambda: self._reader.poll(budget), before)
        if self.guard.failures > failures:
            # its state cannot be trusted any more: a new reader takes over, the last snapshot stays until it has one
            self._reader.close()
            self._reader = RunReader(self.path, self._config, self._files, self._scanner)
        changed = self.run is not before
        if before is None or (self.run is not None and before.last_change != self.run.last_change):
            self._clock.something_changed()
        if side is not self._side:
            self._own = tuple(usual_scores(side.scores, self.run_dir, self._config))
            self._side, self._scores, changed = side, fixed_scores(self._own), True
        if not judging:
            return changed
        failures = self.guard.failures
        changed |= self.guard.call("rules", self._judged_anew, False)
        if self.guard.failures > failures:
            self._judge = self._judged = None  # begun anew, it ends where an unbroken one would be
        return changed

    def _judged_anew(self) -> bool:
        now = self._clock.now()
        self._log.flush()
        if self.run is None or (self._reader.more and self.run.progress < 1):
            return False
        state = (self.run.version, id(self._side))
        if state == self._judged and time.monotonic() - self._judged_at < _JUDGE_AGAIN:
            return False
        from critictui.health.judge import Judge

        if not isinstance(self._judge, Judge):
            self._judge = Judge(self._config)
        before = self.judgement
        found = self._judge.update(self._finished(self.run), self._scores, now)
        fresh = self._log.record(found.alerts, self._judge.judged)
        if self.run.last_change is not None and time.time() - self.run.last_change < _LIVE:
            told = with_way_back(fresh, self._side.checkpoints)
            self.news.extend(news_in(told, found.alerts))
        same = state == self._judged and _alike(before, found) and time.monotonic() - self._said_at < _SAY_AGAIN
        self._judged, self._judged_at = state, time.monotonic()
        if same:
            return False
        alerts = with_way_back(found.alerts, self._side.checkpoints)
        self.judgement, self._said_at = replace(found, alerts=alerts), time.monotonic()
        return before != self.judgement

    def _finished(self, run: RunSnapshot) -> RunSnapshot:
        """The run as it is to be judged: a last step that is still being written waits for its rest, for a while."""
        from critictui.health.finished_rows import unfinished_row, without_row

        row = unfinished_row(run)
        if row is None:
            self._partial = None
            return run
        if self._partial is None or self._partial[0] != row:
            changed = run.last_change if self._judged is None else None  # later ones are told by our own clock
            age = max(0.0, time.time() - changed) if changed is not None else 0.0
            self._partial = (row, time.monotonic() - age)
        return run if time.monotonic() - self._partial[1] > _ROW_PATIENCE else without_row(run, row)

    def acknowledge(self, key: str, seconds: float) -> None:
        """The user has seen this alert, or wants it quiet for so long; infinite for good."""
        severity = next((alert.severity for alert in self.judgement.alerts if alert.key == key), None)
        self._log.acknowledge(key, severity, seconds)

    @property
    def acknowledged(self) -> frozenset[str]:
        """Keys of the alerts that are quiet now."""
        return self._log.acknowledged(self.judgement.alerts)

    def state(self) -> WatchedRun | None:
        """As the snapshot holds it."""
        if self.run is None:
            return None
        quiet = self.acknowledged
        return WatchedRun(
            run=self.run,
            judgement=self.judgement,
            checkpoints=self._side.checkpoints,
            audits=dict(self._side.audits),
            scores=self._side.scores,
            own_scores=self._own,
            acknowledged=quiet,
            snoozed=self._log.snoozed(quiet),
        )

    def close(self) -> None:
        """Give all descriptors back."""
        self._reader.close()


def _name_of(thresholds: Mapping[str, Mapping[str, object]]) -> str:
    """Ten hex digits over thresholds that a user has set; '' where there are none."""
    if not thresholds:
        return ""
    plain = {rule: dict(values) for rule, values in thresholds.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:10]
