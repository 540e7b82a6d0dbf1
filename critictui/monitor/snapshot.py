"""What the monitor posts: everything a screen, a check or a daemon needs to know at one moment, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from critictui.checkpoint.checkpoint import Audit, Checkpoint
    from critictui.health.alert import Judgement
    from critictui.run.facts import RunSnapshot, RunState
    from critictui.scoring.result import ScoreResult


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in the run list: enough to choose by."""

    path: Path
    name: str
    state: RunState
    step: int | None
    d_acc: float | None
    score_diff: float | None
    verdict: str
    """As `check` says it; empty while nobody has judged the run."""
    modified: float
    """When it was written last, seconds since the epoch; while its files are unread, by their time stamps."""
    read: bool = True
    """False while its files, or half of them, are still to be read: state and numbers say nothing yet."""


@dataclass(frozen=True, slots=True, eq=False)
class WatchedRun:
    """One run that is read in full."""

    run: RunSnapshot
    judgement: Judgement
    checkpoints: tuple[Checkpoint, ...] = ()
    """Newest step first."""
    audits: Mapping[Path, Audit] | None = None
    scores: tuple[ScoreResult, ...] = ()
    """Oldest step first: those of another set or recipe too."""
    own_scores: tuple[ScoreResult, ...] = ()
    """Those among them by the run's own recipe on its usual set (`usual_scores`): what is judged and drawn."""
    acknowledged: frozenset[str] = frozenset()
    """Keys of alerts that the user acknowledged or snoozed."""
    snoozed: Mapping[str, float] = field(default_factory=dict)
    """Of these the ones that are snoozed, and until when: seconds since the epoch."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The state of everything under the watched path."""

    version: int
    target: Path
    rows: tuple[RunRow, ...]
    """Every run found under the target, by name."""
    watched: tuple[WatchedRun, ...]
    """The runs read in full: the selected one first, then those laid over it."""
    scanned: int
    """Directory entries looked at so far."""
    scanning: bool
    """The search for runs has not seen everything yet."""
    passed_over: int
    """Look-alikes, special files and loops that were not followed."""
    notices: tuple[str, ...] = ()

    @property
    def main(self) -> WatchedRun | None:
        """The run on the dashboard."""
        return self.watched[0] if self.watched else None
