"""From the command to the first chart in a real terminal: a small run, and one with 1.2 million scalars.

python -m benchmarks.startup [RUN_DIR ...]
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.terminal import PtySession, terminal_env
from benchmarks.terminal_bytes import step_line

_ROUNDS = 5


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


def first_chart(run: Path, state: Path) -> float:
    """Seconds from the start of the process to the first chart."""
    code = (
        "import sys; from pathlib import Path; from critictui.config import load_config; "
        "from critictui.tui.app import watch; p = Path(sys.argv[1]); sys.exit(watch(p, load_config(p)))"
    )
    with PtySession([sys.executable, "-c", code, str(run)], 120, 36, terminal_env(state), Path.cwd()) as session:
        if not session.pump(60, has_chart):
            raise RuntimeError(f"{run}: no chart within a minute")
        return time.monotonic() - session.started


def main() -> None:
    """Measure and print the median and the best of five rounds."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        runs = [Path(a) for a in sys.argv[1:]] or [small_run(base / "small"), large_run(base / "large")]
        for run in runs:
            rounds = [first_chart(run, base) for _ in range(_ROUNDS)]
            print(f"{run.name:>24}: median {statistics.median(rounds):.2f} s, best {min(rounds):.2f} s")


if __name__ == "__main__":
    main()
