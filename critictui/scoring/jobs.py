"""What the worker is asked and what it answers: frozen messages that travel as length-prefixed JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

JobKind = Literal["score", "prepare", "diagnose", "replay", "simulate"]


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work for the worker process."""

    kind: JobKind
    checkpoint: str = ""
    """The checkpoint's directory (for `prepare`: the student's)."""
    fixed_set: str = ""
    run_dir: str = ""
    """Where results are kept; empty keeps them out of any run directory."""
    recipe: Mapping[str, object] = field(default_factory=dict)
    device: str = "auto"
    """auto, cpu, cuda:0 ..."""
    options: Mapping[str, object] = field(default_factory=dict)
    """What only this kind of job needs, JSON values only."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is; also its heartbeat."""

    phase: str
    """import, load, tokenise, score, generate, save ..."""
    done: float
    total: float
    tokens_per_second: float = 0.0
    seconds_left: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The job's result as JSON values; for a score, the contract's object and the path it was saved to."""

    result: Mapping[str, object]
    saved: Path | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The job ended without a result."""

    reason: Literal["refused", "memory", "crashed", "cancelled", "vanished", "hung", "missing-extra", "error"]
    """refused: the input is not fit to be scored (exit status 2); the others are failures (exit status 3)."""
    message: str
    """What happened, naming the file and the remedy; decoded signal and last lines of stderr after a crash."""


JobMessage = Progress | Finished | Failed
