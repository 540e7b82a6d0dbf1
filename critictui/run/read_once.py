"""A path that a command was given becomes a run, read whole: a run directory, one file, or a parent of one run."""

from __future__ import annotations

from pathlib import Path

from critictui.config import Config
from critictui.run.choice import choose, none_chosen
from critictui.run.discovery import Scanner
from critictui.run.facts import RunSnapshot
from critictui.run.reader import Found, RunReader
from critictui.run.source import RunError
from critictui.run.text import sanitise_line


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


def refuse_empty(target: Path, run: RunSnapshot) -> None:
    """Raises RunError for a run with nothing to read; it names what there was and could not be read."""
    if run.sources:
        return
    unread = f" ({sanitise_line(run.notices[0], 300).rstrip('.')})" if run.notices else ""
    raise RunError(f"{target}: no event file, log or JSONL of metrics in it{unread}; give a run directory, or a file")
