"""What is looked at seldom and must hold nobody up: a run's checkpoints, their audits and its scores, in a thread."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from critictui.monitor.guard import Guard

if TYPE_CHECKING:
    from critictui.checkpoint.checkpoint import Audit, Checkpoint
    from critictui.scoring.comparison import Comparisons
    from critictui.scoring.result import ScoreResult
    from critictui.scoring.results import ResultsFolder

HEAD_START = 0.4
"""Seconds that the first chart has to itself: this thread's imports and looks would hold Python's lock meanwhile."""
SCORES_EVERY = 1.0
CHECKPOINTS_EVERY = 4.0
_SHARE, _SHARE_QUIET = 20, 300
"""A walk that took long is repeated only after this many times its cost: where a checkpoint may have changed, and where
no directory near one has another time stamp."""
_LONGEST_PAUSE = 600.0
_MOST_MARKS = 64
_MOST_AUDITS = 64


@dataclass(frozen=True, slots=True, eq=False)
class SideFacts:
    """What this thread knows of one run."""

    checkpoints: tuple[Checkpoint, ...] = ()
    """Newest step first."""
    audits: tuple[tuple[Path, Audit], ...] = ()
    scores: tuple[ScoreResult, ...] = ()
    """Oldest step first."""
    notices: tuple[str, ...] = ()


class _Looked:
    """One run directory and when it is to be looked at again."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.results: ResultsFolder | None = None
        self._comparisons: Comparisons | None = None
        self.facts = SideFacts()
        self.guard = Guard()
        self.checkpoints_at = 0.0
        """When to walk, on the monotonic clock, whatever the time stamps say."""
        self._sooner_at = 0.0
        self._marks: dict[Path, int] = {}
        self.audited: dict[Path, tuple[tuple[float, int], Audit]] = {}

    def look(self) -> bool:
        """Whether anything is different from the last look."""
        from critictui.checkpoint.find import find_checkpoints
        from critictui.scoring.comparison import Comparisons
        from critictui.scoring.results import ResultsFolder

        before = self.facts
        results = self.results = self.results or ResultsFolder(self.run_dir)
        comparisons = self._comparisons = self._comparisons or Comparisons()
        scores = self.guard.call("scores", lambda: comparisons.of(results.poll()), before.scores)
        checkpoints: Sequence[Checkpoint] = before.checkpoints
        if self._due(before):
            began = time.monotonic()
            checkpoints = tuple(
                self.guard.call(
                    "checkpoints", lambda: find_checkpoints(self.run_dir, previous=before.checkpoints), checkpoints
                )
            )
            now = time.monotonic()
            self._sooner_at = now + max(CHECKPOINTS_EVERY, _SHARE * (now - began))
            self.checkpoints_at = now + min(max(CHECKPOINTS_EVERY, _SHARE_QUIET * (now - began)), _LONGEST_PAUSE)
            self._marks = _marks(self.run_dir, checkpoints)
        self.guard.call("audit", lambda: self._audit_one(checkpoints), None)
        kept = {c.path for c in checkpoints}
        audits = tuple((path, found) for path, (_, found) in self.audited.items() if path in kept)
        facts = SideFacts(tuple(checkpoints), audits, tuple(scores), (*results.notices, *self.guard.notices))
        same = (
            before.checkpoints == facts.checkpoints
            and before.notices == facts.notices
            and [id(found) for _, found in before.audits] == [id(found) for _, found in audits]
            and [id(score) for score in before.scores] == [id(score) for score in facts.scores]
        )
        if not same:
            self.facts = facts
        return not same

    def _due(self, before: SideFacts) -> bool:
        """Whether to walk now: it is time, or something moved where checkpoints are expected."""
        now = time.monotonic()
        if now >= self.checkpoints_at:
            return True
        if now < self._sooner_at:
            return False
        writing = any(c.state in {"writing", "incomplete"} for c in before.checkpoints)
        return writing or any(_stamp(path) != stamp for path, stamp in self._marks.items())

    def _audit_one(self, checkpoints: Sequence[Checkpoint]) -> None:
        """The newest complete checkpoint that has not been audited as it is now."""
        from critictui.checkpoint.audit import audit

        for checkpoint in [c for c in checkpoints if c.state == "complete"][:_MOST_AUDITS]:
            stamp = (checkpoint.modified, checkpoint.size)
            known = self.audited.get(checkpoint.path)
            if known is None or known[0] != stamp:
                self.audited[checkpoint.path] = (stamp, audit(checkpoint))
                return


def _marks(run_dir: Path, checkpoints: Sequence[Checkpoint]) -> dict[Path, int]:
    """The time stamps of the directories in which the next checkpoint is expected, or this one changes."""
    with contextlib.suppress(OSError), os.scandir(run_dir) as entries:
        below = [Path(entry.path) for _, entry in zip(range(_MOST_MARKS), entries, strict=False) if entry.is_dir()]
        near = [folder for c in checkpoints for folder in (c.path, c.path.parent, c.path.parent.parent)]
        folders = dict.fromkeys([run_dir, *near, *below])
        return {folder: _stamp(folder) for _, folder in zip(range(_MOST_MARKS), folders, strict=False)}
    return {}


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


class Side:
    """Looks after the run directories it is told of, and calls `changed` when one has something new."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._lock = threading.Lock()
        self._looked: dict[Path, _Looked] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="critictui-side", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; does not wait for a directory that hangs."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=0.5)

    def wake(self) -> None:
        """Look again now."""
        with self._lock:
            for looked in self._looked.values():
                looked.checkpoints_at = 0.0
        self._wake.set()

    def watch(self, run_dirs: Sequence[Path]) -> None:
        """These run directories from now on, and no others."""
        with self._lock:
            if set(run_dirs) == self._looked.keys():
                return
            self._looked = {path: self._looked.get(path) or _Looked(path) for path in run_dirs}
        self._wake.set()

    def facts(self, run_dir: Path) -> SideFacts:
        """What is known of one of them."""
        with self._lock:
            looked = self._looked.get(run_dir)
        return looked.facts if looked is not None else SideFacts()

    def _run(self) -> None:
        self._stop.wait(HEAD_START)
        while not self._stop.is_set():
            self._wake.clear()
            with self._lock:
                every = list(self._looked.values())
            for looked in every:
                if self._stop.is_set():
                    return
                try:
                    if looked.look():
                        self._changed()
                except Exception as error:  # noqa: BLE001  said in the snapshot; goes on
                    looked.facts = replace(looked.facts, notices=(f"{looked.run_dir}: {error}",))
                    self._changed()
            self._wake.wait(SCORES_EVERY)
