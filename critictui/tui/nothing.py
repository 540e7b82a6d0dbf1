"""What the screen says where charts would be while a run has none: what was found, what is missing, what to do."""

from __future__ import annotations

from critictui.monitor.snapshot import Snapshot
from critictui.tui import words


def nothing_to_draw(snapshot: Snapshot) -> str:
    """One or two sentences about the run on the dashboard; '' as soon as it has a series."""
    main = snapshot.main
    if main is None or main.run.series:
        return ""
    run = main.run
    if run.demo == "live":
        return "The demo's critic is starting: its first step comes in some seconds."
    reading = [source for source in run.sources if source.read < source.size]
    if reading:
        return f"Reading {words.count(len(run.sources), 'file')} of metrics ..."
    if run.sources:
        files = words.count(len(run.sources), "file")
        return (
            f"{files} of metrics found, no value in {'it' if len(run.sources) == 1 else 'them'} yet: waiting for one."
        )
    if snapshot.scanning:
        return f"Searching {run.path}: {snapshot.scanned:,} entries so far, no event file or log among them yet."
    if main.checkpoints:
        many = words.count(len(main.checkpoints), "checkpoint")
        return (
            f"{many}, no event files or logs found below {run.path}: point at their directory, or at a parent of both, "
            "to see curves."
        )
    return (
        f"No event file, log or JSONL of metrics below {run.path} yet ({snapshot.scanned:,} entries seen): waiting for "
        "one to appear."
    )
