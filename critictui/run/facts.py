"""What is known of a run at one moment, frozen: what leaves `run` towards the rules, the monitor and the screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from critictui.run.demo_mark import DemoKind
from critictui.run.series import Series, SourceKind

RunState = Literal["running", "stalled", "finished", "empty"]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A loss that was counted: these bytes or records of `file` were not used, for `reason`."""

    file: str
    """Path relative to the run directory."""
    offset: int
    """Byte offset where the loss begins."""
    bytes: int
    records: int
    reason: str


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """One file that a run is read from, and how far."""

    path: str
    """Relative to the run directory."""
    kind: SourceKind
    size: int
    """Bytes in the file when last looked at."""
    read: int
    """Bytes of it that were read."""
    scalars: int
    state: Literal["live", "quiet", "filling", "waiting", "gone", "error"]
    """filling: history is still being read; waiting: nothing in it yet; gone: deleted, last data kept."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """One life of the training process: a restart begins a new one."""

    number: int
    first_step: int
    last_step: int
    started: float
    """Wall time of its first point, seconds since the epoch; NaN when unknown."""
    source: str


@dataclass(frozen=True, slots=True)
class Seam:
    """A step at which a restart or an epoch begins; drawn as a vertical line, and baselines start anew there."""

    step: int
    kind: Literal["restart", "epoch"]
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class RunSnapshot:
    """A run directory at one moment."""

    path: Path
    name: str
    version: int
    """Grows with every change; equal versions mean equal contents."""
    state: RunState
    series: Mapping[str, Series]
    """By tag. Two live writers of one tag in one directory keep two series, the second as `tag [file]`."""
    metrics: Mapping[str, str]
    """Canonical name to the tag that stands for it, for those of `critictui.run.metrics` that this run has."""
    sessions: tuple[Session, ...]
    seams: tuple[Seam, ...]
    sources: tuple[SourceFacts, ...]
    skipped: tuple[Skipped, ...]
    profile: str
    """Which trainer's spelling the run uses (`critictui.run.profiles`, or the user's own), or ''."""
    step: int | None
    """The newest step of the current session."""
    total_steps: int | None
    """Where the run says how long it will be (a progress bar, a trainer state); never guessed."""
    epoch_steps: int | None
    """Steps an epoch, where known."""
    pace: float | None
    """Seconds a step, a median over the recent steps; None while unknown."""
    last_change: float | None
    """`time.time()` when we last saw any source grow; while we have not, when it was written last: the newest mtime, or
    the newest record where that is clearly older, as in a copy."""
    progress: float
    """Share of the known bytes that were read, 0 to 1; below 1 the history is still filling in."""
    profile_by: str = ""
    """What the profile was recognised by: a tag, `the form of its files`, `the configuration`."""
    demo: DemoKind = ""
    """Whether the run is a demo, and of which kind."""
    old: bool = False
    """Silent for a day when we first looked, or perhaps a copy. Until it grows, that it is silent is no news."""
    error: str = ""
    """What its log ends in, where that is an error and no step came after it: `train.log: TypeError: ...`."""
    notices: tuple[str, ...] = ()
    """Sentences for the user: several writers, clock skew, polling instead of inotify, unsupported files."""

    def metric(self, name: str) -> Series | None:
        """The series that stands for a canonical name, or None."""
        tag = self.metrics.get(name)
        return self.series.get(tag) if tag is not None else None


def directory_of(run: RunSnapshot) -> Path:
    """Where a run's checkpoints and scores lie."""
    return run.path.parent if run.path.is_file() else run.path
