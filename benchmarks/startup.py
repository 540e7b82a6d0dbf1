"""From the command to the first chart in a real terminal, beside the smallest app that Textual can show.

python -m benchmarks.startup [RUN_DIR ...]

Without arguments: a small run, one with 1.2 million scalars, and verl's largest event file where `CRITICTUI_DATA` names
the folder with real runs. CPU seconds are those of the command, all threads, until the terminal has the chart.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.terminal import PtySession, terminal_env
from benchmarks.terminal_bytes import step_line

_ROUNDS = 7
_HELLO = """
from textual.app import App
from textual.widgets import Static

class Hello(App):
    def compose(self):
        yield Static("hello")

Hello().run()
"""


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds from the start of the process until the screen shows what was waited for."""

    wall: float
    cpu: float


def large_run(folder: Path, steps: int = 20_000, metrics: int = 60) -> Path:
    """A run of verl's file logger with steps x metrics scalars."""
    folder.mkdir()
    rng = random.Random(0)
    names = ["critic/d_acc", "critic/teacher_score_mean", "critic/student_score_mean", "critic/score_diff"]
    names += [f"timing_s/part_{i}" for i in range(metrics - len(names))]
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(1, steps + 1):
            file.write(json.dumps({"step": step, "data": {name: rng.random() for name in names}}) + "\n")
    return folder


def small_run(folder: Path) -> Path:
    """Three hundred steps of a console log."""
    folder.mkdir()
    rng = random.Random(0)
    (folder / "train.log").write_text("".join(step_line(n, rng) for n in range(1, 301)))
    return folder


def has_chart(sent: bytes) -> bool:
    """A braille dot: a curve is on the screen."""
    return any("\u2801" <= c <= "\u28ff" for c in sent.decode("utf-8", "ignore"))


def has_hello(sent: bytes) -> bool:
    """The peer has painted its only widget."""
    return b"hello" in sent


def started(command: Sequence[str], shown: Callable[[bytes], bool], state: Path) -> Start:
    """Start the command in a terminal, wait until `shown`, end it."""
    with PtySession(command, 120, 36, terminal_env(state), Path.cwd()) as session:
        if not session.pump(60, shown):
            raise RuntimeError(f"{' '.join(command)}: nothing on the screen within a minute")
        return Start(time.monotonic() - session.started, session.cpu_seconds())


def real_run() -> list[Path]:
    """verl's largest event file, where there are real runs."""
    data = os.environ.get("CRITICTUI_DATA")
    files = [path for path in Path(data, "real/events/verl").rglob("events.*") if path.is_file()] if data else []
    return [max(files, key=lambda path: path.stat().st_size)] if files else []


def main() -> None:
    """Measure in turns, so that every round has its peer under the same load; print medians."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        runs = [Path(a) for a in sys.argv[1:]]
        runs = runs or [small_run(base / "300 steps"), large_run(base / "1.2 million scalars"), *real_run()]
        hello: list[Start] = []
        found: dict[Path, list[Start]] = {run: [] for run in runs}
        for _ in range(_ROUNDS):
            hello.append(started([sys.executable, "-c", _HELLO], has_hello, base))
            for run in runs:
                found[run].append(started([sys.executable, "-m", "critictui", str(run)], has_chart, base))
        print(f"{'':>24}   wall s: median, best   CPU s: median   CPU / smallest Textual app")
        for name, starts in (("smallest Textual app", hello), *((run.name[:24], found[run]) for run in runs)):
            wall, cpu = [s.wall for s in starts], statistics.median(s.cpu for s in starts)
            ratio = statistics.median(s.cpu / peer.cpu for s, peer in zip(starts, hello, strict=True))
            print(f"{name:>24}   {statistics.median(wall):14.2f} {min(wall):6.2f} {cpu:15.2f} {ratio:15.1f}")


if __name__ == "__main__":
    main()
