"""Scores each new complete checkpoint of a run by itself, one at a time, for as long as it is let."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.checkpoint.find import find_checkpoints
from critictui.config import Config
from critictui.errors import InputError, JobFailedError
from critictui.scoring.client import run_job_sync
from critictui.scoring.jobs import Failed, Finished, JobMessage
from critictui.scoring.order import NoRoomError, Order, already_scored, order_score, require_finished

SECONDS = 5.0
ROOM_SECONDS = 30.0
"""Where no device has room: until what is free is looked at again."""
ATTEMPTS = 2
"""A checkpoint that failed is tried once more: training may have been in the way."""


def follow(
    run_dir: Path,
    config: Config,
    fixed_set: Path | None,
    *,
    tell: Callable[[JobMessage], None],
    run: Callable[[Order], Finished | Failed] | None = None,
    elsewhere: bool = False,
    scored: Callable[[Finished], None],
    said: Callable[[str], None],
    stop: threading.Event,
    seconds: float = SECONDS,
    room_seconds: float = ROOM_SECONDS,
    share_gpu: bool = False,
) -> None:
    """Score the newest complete checkpoint, then each new one, until `stop` is set; what fails is said, and it goes on.

    tell: progress. run: makes one score; else a worker on this machine does. elsewhere: it is made on a node of a
    cluster. scored: every result. said: a sentence about what could not be scored, once each.
    """
    known: list[Checkpoint] = []
    waiting: tuple[Path, float] | None = None
    tried: dict[tuple[Path, float], int] = {}
    first = True
    while not stop.is_set():
        known = find_checkpoints(run_dir, previous=known)
        complete = [c for c in known if c.state == "complete"]
        if first:
            # older ones are history; whoever wants them scored names them
            tried.update({(c.path, c.modified): ATTEMPTS for c in complete[1:]})
            first = not complete
        for checkpoint in reversed(complete):
            key = (checkpoint.path, checkpoint.modified)
            if tried.get(key, 0) >= ATTEMPTS or stop.is_set():
                continue
            tried[key] = tried.get(key, 0) + 1
            try:
                order = order_score(
                    checkpoint.path, config, fixed_set, run_dir=run_dir, share_gpu=share_gpu, elsewhere=elsewhere
                )
                made = already_scored(order)
                if made is not None:
                    said(f"{checkpoint.path} is scored already: {made.path}; waiting for the next checkpoint")
                else:
                    scored(require_finished(run(order) if run is not None else run_job_sync(order.job, tell)))
                tried[key] = ATTEMPTS
            except NoRoomError as error:
                tried[key] -= 1
                if key != waiting:
                    waiting = key
                    said(f"{error}; waiting for room")
                stop.wait(room_seconds)
                break  # the others need as much
            except InputError as error:
                tried[key] = ATTEMPTS
                said(str(error))
            except JobFailedError as error:
                said(str(error))
        stop.wait(seconds)
