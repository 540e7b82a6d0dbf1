"""A path that a command was given becomes a run, read whole: a run directory, one file, or a parent of one run."""

from __future__ import annotations

from pathlib import Path

from critictui.config import Config
from critictui.run.choice import choose, none_chosen
from critictui.run.discovery import Scanner
from critictui.run.facts import RunSnapshot
from critictui.run.reader import Found, RunReader
from critictui.run.source import RunError


def read_once(target: Path, config: Config) -> RunSnapshot:
    """The run at `target`. Raises RunError that names the runs where there are several, or when it cannot be read."""
    try:
        target.stat()
    except OSError as error:
        raise RunError(f"{target}: {error.strerror}; give a run directory, or a file in one") from error
    scanner = Scanner(target)
    scanner.finish()
    choice = choose(target, scanner.runs)
    if choice.run is None and choice.others:
        raise none_chosen(target, choice)
    if choice.run is None or choice.run.path == target:
        reader = RunReader(target, config, scanner=scanner)
    else:
        reader = RunReader(choice.run.path, config, scanner=Found(choice.run))
    try:
        return reader.read_all()
    finally:
        reader.close()
