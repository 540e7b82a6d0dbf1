"""`critictui watch --headless`: the monitor without a screen, one line an event, for nodes where no terminal stays."""

from __future__ import annotations

import queue
import signal
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import FrameType

from critictui.config import Config
from critictui.monitor.events import events_between
from critictui.monitor.monitor import Monitor
from critictui.monitor.snapshot import Snapshot
from critictui.run.text import sanitise_line

_ENDING = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def watch_headless(target: Path, config: Config, write: Callable[[str], None] | None = None) -> int:
    """Watch until a signal ends it; returns the exit status that belongs to the signal (130, 143 or 129).

    `write` gets each line, without its newline. Call it from the main thread: it handles the signals.
    """
    ended = threading.Event()
    status = 0

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal status
        del frame
        status = _ENDING[signal.Signals(number)]
        ended.set()

    before = {number: signal.signal(number, end) for number in _ENDING}
    say = write or _print
    snapshots: queue.SimpleQueue[Snapshot] = queue.SimpleQueue()
    arrived = threading.Event()

    def listen(snapshot: Snapshot) -> None:
        snapshots.put(snapshot)
        arrived.set()

    monitor = Monitor(target, config, listen)
    scoring = _start_scoring(target, config, say, ended) if config.auto_score else None
    monitor.start()
    last: Snapshot | None = None
    try:
        while not ended.is_set():
            # A short wait, because a signal is only handled between the steps of the main thread.
            if not arrived.wait(0.5):
                continue
            arrived.clear()
            while not snapshots.empty():
                last = _tell(last, snapshots.get(), say)
    except BrokenPipeError:
        status = 141
    finally:
        ended.set()
        monitor.stop()
        if scoring is not None:
            scoring.join(timeout=2)
        for number, handler in before.items():
            signal.signal(number, handler)
    return status


def _tell(before: Snapshot | None, after: Snapshot, say: Callable[[str], None]) -> Snapshot | None:
    """Say what is new. History that is still being read is not news: it is compared once it is whole."""
    if any(watched.run.progress < 1 for watched in after.watched):
        return before
    for event in events_between(before, after):
        say(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {sanitise_line(event, 2000)}")
    return after


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _start_scoring(target: Path, config: Config, say: Callable[[str], None], stop: threading.Event) -> threading.Thread:
    """Score each new complete checkpoint, in a thread of its own; results come back through the run directory."""
    from critictui.scoring.follow import follow

    def run() -> None:
        follow(
            target if target.is_dir() else target.parent,
            config,
            None,
            tell=lambda _: None,
            scored=lambda _: None,
            said=lambda sentence: say(f"scoring: {sanitise_line(sentence, 2000)}"),
            stop=stop,
        )

    thread = threading.Thread(target=run, name="critictui-scoring", daemon=True)
    thread.start()
    return thread
