"""What takes jobs: what is asked of a cluster, and how a job and its node speak to us."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

NOT_SHARED = 66
"""Exit status of a job whose node does not see what it needs (EX_NOINPUT of sysexits.h)."""
BEGINS = "critictui: a score begins on "
"""What a job prints first, with its node."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that the cluster has taken."""

    id: str
    log: str
    """Where its log is: a file, or the command that shows it."""


@dataclass(frozen=True, slots=True)
class JobState:
    """Where a job is."""

    phase: Literal["queued", "running", "done", "failed", "gone"]
    """gone: the cluster does not know it any more, so only its result can tell how it ended."""
    said: str = ""
    """Why it waits, where it runs, how it failed."""


class Cluster(Protocol):
    """What takes jobs: Slurm, Ray. Each method asks once and returns."""

    @property
    def name(self) -> str:
        """For sentences: `Slurm`."""
        ...

    @property
    def gpus(self) -> bool:
        """Whether the job gets a GPU."""
        ...

    def submit(self, script: str, title: str, logs: Path) -> Submitted:
        """Hand in a shell script. Raises ScoringError where the cluster is not there or refuses it."""
        ...

    def look(self, job: Submitted) -> JobState | None:
        """Where it is; None while the cluster does not answer."""
        ...

    def printed(self, job: Submitted) -> str:
        """The end of what it printed; empty where it cannot be read."""
        ...

    def cancel(self, job: Submitted) -> None:
        """End it; best effort."""
        ...
