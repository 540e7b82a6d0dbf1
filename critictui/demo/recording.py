"""Recorded demo runs: a run directory goes in and a small file comes out, or a recording is played into a directory.

A recording holds what was really measured in a full-length run of a scenario, as float32, with the time of each step.
Playing it needs neither torch nor TensorBoard.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from critictui.demo.console import Console
from critictui.demo.scenario import SCENARIOS, DemoError
from critictui.demo.tfrecord import scalar_record, version_record


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """One process's part of a run: what one event file held."""

    first: int
    """The step before its first one: 0, or the checkpoint it resumed from."""
    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    """When each step was logged, since the run began."""
    values: Mapping[str, Sequence[float]]
    """Tag to a value a step."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A recorded run."""

    scenario: str
    total: int
    """Steps planned."""
    config: Mapping[str, object]
    """verl's configuration as the log began with it."""
    sessions: tuple[Session, ...]


def save_recording(recording: Recording, path: Path) -> None:
    """Writes a recording; the same recording gives the same bytes."""
    sessions = [
        {"first": s.first, "steps": s.steps, "seconds": s.seconds, "values": dict(s.values)} for s in recording.sessions
    ]
    whole = {
        "schema": 1,
        "scenario": recording.scenario,
        "total": recording.total,
        "config": recording.config,
        "sessions": sessions,
    }
    text = json.dumps(whole, separators=(",", ":"))  # non-finite values as Python's json writes and reads them
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def load_recording(scenario: str) -> Recording:
    """The recording that ships with the package. Raises DemoError when there is none of that name."""
    if scenario not in SCENARIOS:
        raise DemoError(f"--scenario {scenario}: there are {', '.join(SCENARIOS)}")
    file = resources.files("critictui.demo") / "recordings" / f"{scenario}.json.gz"
    try:
        whole: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    except (OSError, ValueError, EOFError) as error:
        raise DemoError(f"{file}: not readable ({error}); install critictui again, or critictui[score]") from error
    sessions = tuple(
        Session(s["first"], tuple(s["steps"]), tuple(s["seconds"]), dict(s["values"])) for s in whole["sessions"]
    )
    return Recording(whole["scenario"], whole["total"], whole["config"], sessions)


def play(
    recording: Recording, root: Path, *, speed: float = 4.0, steps: int | None = None,
    stopping: threading.Event | None = None,
) -> None:  # fmt: skip
    """Writes the recorded run into `root`, a step at a time at `speed` times its pace; `speed` 0 writes all at once.

    steps: how many step lines to write at most. Returns early when `stopping` is set.
    """
    stop = stopping or threading.Event()
    began = time.monotonic()
    base = time.time() - (recording.sessions[-1].seconds[-1] if speed == 0 else 0.0)
    left = steps
    (root / "tensorboard").mkdir(parents=True, exist_ok=True)
    for number, session in enumerate(recording.sessions):
        console = Console(root / "train.log", recording.total, first=session.first)
        name = f"events.out.tfevents.{int(base)}.{socket.gethostname()}.{os.getpid()}.{number}"
        with (root / "tensorboard" / name).open("ab", buffering=0) as events:
            console.config(recording.config)
            console.line(f"Total training steps: {recording.total}")
            if session.first:
                console.line(f"Setting global step to {session.first}")
            console.progress(session.first)
            events.write(version_record(base + session.seconds[0]))
            for index, (step, seconds) in enumerate(zip(session.steps, session.seconds, strict=True)):
                if left is not None:
                    if left == 0:
                        break
                    left -= 1
                if speed and stop.wait(max(0.0, began + seconds / speed - time.monotonic())):
                    break
                wall = base + seconds if speed == 0 else time.time()
                metrics = {tag: values[index] for tag, values in session.values.items()}
                for tag, value in metrics.items():
                    events.write(scalar_record(tag, value, step, wall))
                console.step(step, metrics)
                console.progress(step)
        console.close()
        if stop.is_set():
            return


class LiveReplay:
    """A recording being played by a thread; the same doors as a live training."""

    def __init__(self, recording: Recording, root: Path, *, speed: float, steps: int | None) -> None:
        self._stopping = threading.Event()
        self._failure: OSError | None = None

        def run() -> None:
            try:
                play(recording, root, speed=speed, steps=steps, stopping=self._stopping)
            except OSError as error:
                self._failure = error

        self._thread = threading.Thread(target=run, name="demo-replay", daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the end; False when it has not come in `timeout` seconds. Raises DemoError when writing failed."""
        self._thread.join(timeout)
        if self._failure is not None:
            raise DemoError(f"the recording could not be played: {self._failure}; choose another --dir")
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ends it and waits until it is gone."""
        self._stopping.set()
        self._thread.join()


@contextmanager
def live_replay(scenario: str, root: Path, *, speed: float, steps: int | None) -> Iterator[LiveReplay]:
    """A recording that plays while the block runs, and no longer."""
    replay = LiveReplay(load_recording(scenario), root, speed=speed, steps=steps)
    try:
        yield replay
    finally:
        replay.stop()
