"""What the screen costs in a real terminal of 120x36: bytes and CPU, at rest and at one step a second.

python -m benchmarks.terminal_bytes [seconds]
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.terminal import PtySession, terminal_env

_METRICS = 60


def step_values(step: int, rng: random.Random) -> dict[str, float]:
    """One step of a critic that learns: its metrics and what else makes 60."""
    rise = 1 - math.exp(-step / 60)
    teacher, student = 2.9 * rise + rng.gauss(0, 0.25), -3.1 * rise + rng.gauss(0, 0.3)
    pairs = {
        "critic/d_acc": min(0.5 + 0.27 * rise + rng.gauss(0, 0.03), 1.0),
        "critic/teacher_score_mean": teacher,
        "critic/student_score_mean": student,
        "critic/score_diff": teacher - student,
        "critic/teacher_score_std": 1.4 + rng.gauss(0, 0.1),
        "critic/student_score_std": 1.6 + rng.gauss(0, 0.1),
        "critic/grad_norm": math.exp(rng.gauss(0, 0.3)),
        "critic/d_loss": 0.69 - 0.25 * rise + rng.gauss(0, 0.02),
    }
    return pairs | {f"timing_s/part_{i}": rng.random() for i in range(_METRICS - len(pairs))}


def step_line(step: int, rng: random.Random) -> str:
    """The same as verl's console logger prints it."""
    pairs = step_values(step, rng)
    return f"step:{step} - " + " - ".join(f"{name}:{value}" for name, value in pairs.items()) + "\n"


def measure(run: Path, seconds: float, state: Path) -> dict[str, float]:
    """Bytes a second and share of a core at rest and while steps come."""
    rng = random.Random(0)
    log = run / "train.log"
    log.write_text("".join(step_line(n, rng) for n in range(1, 301)))
    code = (
        "import sys; from pathlib import Path; from critictui.config import load_config; "
        "from critictui.tui.start import watch; p = Path(sys.argv[1]); sys.exit(watch(p, load_config(p)))"
    )
    with PtySession([sys.executable, "-c", code, str(run)], 120, 36, terminal_env(state), Path.cwd()) as session:
        session.pump(30, lambda sent: b"step 300" in sent)
        session.pump(3)
        sent, spent = len(session.sent), session.cpu_seconds()
        session.pump(seconds)
        rest_bytes, rest_cpu = len(session.sent) - sent, session.cpu_seconds() - spent
        sent, spent, began, step = len(session.sent), session.cpu_seconds(), time.monotonic(), 300
        while time.monotonic() - began < seconds:
            step += 1
            with log.open("a") as file:
                file.write(step_line(step, rng))
            session.pump(max(began + (step - 300) - time.monotonic(), 0.0))
        live_bytes, live_cpu = len(session.sent) - sent, session.cpu_seconds() - spent
        session.press("q")
        session.wait()
    return {
        "rest_bytes": rest_bytes,
        "rest_cpu_percent": 100 * rest_cpu / seconds,
        "live_kilobytes_a_second": live_bytes / seconds / 1000,
        "live_cpu_percent": 100 * live_cpu / seconds,
    }


def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        run.mkdir()
        for name, value in measure(run, seconds, Path(folder)).items():
            print(f"{name:>26}: {value:.2f}")


if __name__ == "__main__":
    main()
