"""`critictui demo`: a scenario's name goes in, a run directory that is being written comes out, live or replayed."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from critictui.demo.live import LiveTraining
from critictui.demo.recording import LiveReplay, load_recording
from critictui.demo.scenario import DemoError, Pooling, Trainer, training_for
from critictui.run.demo_mark import mark_demo

REPLAY_SPEED = 4.0
_NEEDED = ("torch", "transformers", "tokenizers", "tensorboard", "pyarrow")
_NEEDED_BY_TRL = (*_NEEDED, "trl", "datasets", "accelerate")
_POLL = 0.5
_EVERY = 10
"""Of the steps, which the headless demo prints."""
_STEP = re.compile(rb"\bstep:(\d+) - ([^\n]*)|\{'loss': [^\n]*\}")


class Live(Protocol):
    """A training or a replay that goes on in the background."""

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it has ended; raises an InputError or JobFailedError when it failed."""

    def stop(self) -> None:
        """Ends it."""


@dataclass(frozen=True, slots=True)
class DemoRun:
    """A demo under way."""

    directory: Path
    live: Live
    notice: str
    """One line to say first; empty when the critic is really being trained."""


def missing_packages(trainer: Trainer = "verl") -> list[str]:
    """What of the extra [score] the trainer needs and is not installed."""
    names = _NEEDED if trainer == "verl" else _NEEDED_BY_TRL
    return [name for name in names if importlib.util.find_spec(name) is None]


@contextmanager
def live_run(
    scenario: str = "healthy",
    directory: Path | None = None,
    *,
    trainer: Trainer = "verl",
    pooling: Pooling | None = None,
    steps: int | None = None,
    speed: float | None = None,
    seed: int = 1,
) -> Iterator[DemoRun]:
    """A demo that runs while the block does; its directory exists at once and fills up.

    pooling: what verl's critic is scored by (default mean). speed: of a replay, times the recorded pace (default 4); of
    a training, 1 is as fast as it goes and less waits between steps. Raises DemoError for a directory that holds
    something else, an unknown scenario, too few steps, or a pooling where there is no choice of one.
    """
    if speed is not None and speed <= 0:
        raise DemoError(f"--speed {speed}: must be above 0")
    if pooling is not None and trainer == "trl":
        raise DemoError(f"--pooling {pooling}: TRL's score is defined by TRL; leave it out, or use --trainer verl")
    missing = missing_packages(trainer)
    if pooling == "last" and missing:
        raise DemoError(f"--pooling last: nothing of it is recorded; install critictui[score] ({', '.join(missing)})")
    root = _directory(directory)
    settings = training_for(
        scenario, root, steps=steps, seed=seed, speed=min(1.0, speed or 1.0), pooling=pooling or "mean"
    )
    live: Live
    notice = ""
    if missing:
        notice = (
            f"{', '.join(missing)} not installed, so a recorded run is replayed; "
            "to train a critic: pip install 'critictui[score]'"
        )
        mark_demo(root, "recording", scenario)
        live = LiveReplay(load_recording(scenario), root, speed=speed or REPLAY_SPEED, steps=steps)
    else:
        mark_demo(root, "live", scenario)
        live = LiveTraining(settings, trainer=trainer)
    try:
        yield DemoRun(root, live, notice)
    finally:
        live.stop()


def run_demo(
    scenario: str,
    directory: Path | None,
    *,
    watch: Callable[[Path], int] | None,
    say: Callable[[str], None],
    trainer: Trainer = "verl",
    pooling: Pooling | None = None,
    steps: int | None = None,
    speed: float | None = None,
) -> int:
    """Runs the demo to its end; returns an exit status.

    watch: shows the run directory on the screen and returns when the user leaves; None prints a line every few steps
    through `say` instead. Where the directory is, is said last.
    """
    with live_run(scenario, directory, trainer=trainer, pooling=pooling, steps=steps, speed=speed) as run:
        if run.notice:
            say(run.notice)
        status = watch(run.directory) if watch is not None else _follow(run, say)
    say(f"{run.directory}: the {scenario} run; look again with: critictui {shlex.quote(str(run.directory))}")
    return status


def _follow(run: DemoRun, say: Callable[[str], None]) -> int:
    """Prints what the log says until the run has ended."""
    offset, lines = 0, 0
    while True:
        ended = run.live.wait(_POLL)
        new = _whole_lines(run.directory / "train.log", offset)
        offset += len(new)
        for match in _STEP.finditer(new):
            if lines % _EVERY == 0:
                say(_words(match))
            lines += 1
        if ended:
            return 0


def _whole_lines(log: Path, offset: int) -> bytes:
    if not log.exists():
        return b""
    with log.open("rb") as handle:
        handle.seek(offset)
        data = handle.read()
    return data[: data.rfind(b"\n") + 1]


def _words(match: re.Match[bytes]) -> str:
    """A step's line in short; TRL's dictionaries are short already."""
    if match[1] is None:
        return match[0].decode("utf-8", "replace").strip()
    pairs = match[2].decode("utf-8", "replace").split(" - ")
    values = dict(pair.rsplit(":", 1) for pair in pairs if ":" in pair)
    acc, margin, loss = (
        float(values.get(tag, "nan").removeprefix("np.float64(").removesuffix(")"))
        for tag in ("critic/d_acc", "critic/score_diff", "critic/d_loss")
    )
    return f"step {int(match[1]):4d}  d_acc {acc:.3f}  margin {margin:+.3f}  loss {loss:.3f}"


def _directory(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="critictui-demo-"))
    if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise DemoError(f"{wanted}: exists and is not an empty directory; give --dir a new one")
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"{wanted}: cannot be made ({error.strerror}); give --dir another one") from None
    return wanted
