"""The one door between files and series: a source is polled within a budget and hands out columns of scalars."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from critictui.errors import InputError
from critictui.run.dtypes import FloatArray, IntArray
from critictui.run.facts import Skipped, SourceFacts
from critictui.run.series import SourceKind


class RunError(InputError):
    """A run directory cannot be read; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much one poll may do before it returns: whichever ends first."""

    bytes: int = 4 << 20
    seconds: float = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Scalars:
    """Columns of n scalars in the order in which the file holds them."""

    tags: tuple[str, ...]
    """The distinct tags."""
    tag: NDArray[np.int32]
    """(n,) index into `tags`."""
    step: IntArray
    wall_time: FloatArray
    """(n,) seconds since the epoch; NaN where the source has none."""
    value: FloatArray
    position: IntArray
    """(n,) byte offset of the record in its file: a source may hand out the end of a file before its history."""
    writer: str = ""
    """Tells several writers in one file apart (a log's pid); empty where there is one."""


@dataclass(frozen=True, slots=True)
class RunHints:
    """What a source says of the run beside scalars; None where it says nothing."""

    total_steps: int | None = None
    epoch_steps: int | None = None
    finished: bool = False
    profile: str = ""
    error: str = ""
    """The error that a log ends in, safe to show."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one poll brought."""

    facts: SourceFacts
    scalars: tuple[Scalars, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    """New losses since the last poll."""
    more: bool = False
    """Bytes are waiting that this budget did not reach."""
    reset: bool = False
    """The file was replaced or rewritten: forget what this source gave before."""
    hints: RunHints = field(default_factory=RunHints)
    notices: tuple[str, ...] = ()


class Source(Protocol):
    """One file that is read as it grows."""

    path: Path
    kind: SourceKind

    def poll(self, budget: Budget) -> Reading:
        """Read what is new, within the budget. Errors of the file are facts in the reading; nothing is raised."""
        ...

    def close(self) -> None:
        """Give the file descriptor back."""
        ...
