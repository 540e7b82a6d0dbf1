"""Which run a path means: the runs found under it go in, the one that every command takes and the others come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from critictui.run.grouping import FoundRun
from critictui.run.source import RunError

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Choice:
    """What is read where a person names a path."""

    run: FoundRun | None
    """The only run, or of several the one that lies at the path itself; None where that cannot be said."""
    others: tuple[FoundRun, ...]
    """The other runs below the path, newest first."""


def choose(target: Path, runs: Sequence[FoundRun]) -> Choice:
    """The run that `target` means. A run of its own comes before all that lie below it, however new they are."""
    own = runs[0] if len(runs) == 1 else next((run for run in runs if run.path == target), None)
    others = sorted((run for run in runs if run is not own), key=lambda run: run.modified, reverse=True)
    return Choice(own, tuple(others))


def said_of_others(choice: Choice) -> str:
    """That there are other runs below the chosen one, and how to see them; '' where there are none."""
    n = len(choice.others)
    if choice.run is None or not n:
        return ""
    many = f"{n} other runs lie below and are" if n > 1 else "1 other run lies below and is"
    return f"{many} not in these numbers: {_named(choice)}; watch lists them (key r), or give the path of one"


def none_chosen(target: Path, choice: Choice) -> RunError:
    """The error of a command that takes one run, where `target` holds several and is none itself."""
    return RunError(
        f"{target}: holds {len(choice.others)} runs, none at the path itself; give one of them: {_named(choice)}"
    )


def _named(choice: Choice) -> str:
    """The newest of the others; by their names below the target, or by path where there is no run to lie below."""
    shown = choice.others[:_MOST_NAMED]
    names = [run.name if choice.run is not None else str(run.path) for run in shown]
    return ", ".join(names) + (" ..." if len(choice.others) > len(shown) else "")
