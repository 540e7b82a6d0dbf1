"""Days in minutes: a run grows while every screen is opened over and over; does what the app holds level off?

python -m benchmarks.soak [points [lines]]    5 million points and 10 million lines of a log, by default
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.terminal import PtySession, terminal_env

MOST_BYTES = 300 << 20
"""Resident bytes that the app may ever take."""
A_POINT = 48
"""Bytes that a point may take: step, time, value and session, and its share of the pyramid and of spare room."""
_METRICS = 60
_ROUNDS = 40
_KEYS = ("m", "\x1b[6~", "\r", "\x1b", "a", "c", "l", "w", "i", "\x1b[F", "r", "?", "\x1b", "T", "\x1b", "s", "S", "1")

_CODE = """
import asyncio, sys, threading, time
from pathlib import Path
from critictui.config import load_config
from critictui.tui import app as screens
from critictui.tui.start import watch

ready = screens.CriticApp.on_ready

def on_ready(self):
    loop, out = asyncio.get_running_loop(), Path(sys.argv[2])
    def count():
        while True:
            try:
                out.write_text(f"{len(asyncio.all_tasks(loop))} {len(self._registry)} {self.errors}")
            except RuntimeError:
                pass
            time.sleep(0.1)
    threading.Thread(target=count, daemon=True).start()
    ready(self)

screens.CriticApp.on_ready = on_ready
sys.exit(watch(Path(sys.argv[1]), load_config(Path(sys.argv[1]))))
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What the app holds after a round."""

    points: int
    lines: int
    memory: int
    """Resident bytes."""
    threads: int
    descriptors: int
    tasks: int
    """Of the event loop."""
    widgets: int
    errors: int


def _step(step: int, rng: random.Random) -> str:
    named = f"critic/d_acc:{rng.random()} - critic/score_diff:{rng.gauss(2, 1)} - perf/time_per_step:2.0"
    rest = " - ".join(f"timing_s/part_{i}:{rng.random()}" for i in range(_METRICS - 3))
    return f"step:{step} - {named} - {rest}\n"


def soak(points: int, lines: int, folder: Path, rounds: int = _ROUNDS) -> list[Held]:
    """What the app held after each of `rounds` rounds, in which these points and lines came in.

    Raises TimeoutError where the app does not follow.
    """
    run, counted = folder / "run", folder / "counted"
    run.mkdir()
    rng, step, written = random.Random(0), 0, 0
    chatter = "".join(f"(Worker pid={n}) INFO {rng.random()} a line that says nothing\n" for n in range(1000))
    log = (run / "train.log").open("a", encoding="utf-8")
    log.write(_step(0, rng))
    log.flush()
    found: list[Held] = []
    command = [sys.executable, "-c", _CODE, str(run), str(counted)]
    with PtySession(command, 120, 36, terminal_env(folder), Path(__file__).parents[1]) as session:
        session.pump(60, lambda sent: b"step 0" in sent)
        for number in range(rounds):
            for _ in range(max(points // _METRICS // rounds, 1)):
                step += 1
                log.write(_step(step, rng))
            for _ in range(max(lines // 1000 // rounds, 1)):
                log.write(chatter)
                written += 1000
                session.pump(0)
            log.write(_step(step := step + 1, rng))
            log.flush()
            for key in _KEYS:
                session.press(key)
                session.pump(0.02)
            for _ in range(5):
                session.press("\x1b")
                session.pump(0.15)  # two at once would be a key with Alt
            session.resize(100 + number % 40, 30 + number % 12)
            said = f"step {step}".encode()
            if not session.pump(300, lambda sent, said=said: said in sent[-400_000:]):  # type: ignore[misc]
                raise TimeoutError(f"step {step} is not on the screen")
            del session.sent[:-100_000]
            _settle(session, counted)
            found.append(_held(session.pid, counted, step * _METRICS, written))
        session.pump(1.0)  # q at once would be Alt and q
        session.press("q")
        session.wait(60)
    log.close()
    return found


def _settle(session: PtySession, counted: Path) -> None:
    """Until every screen that was opened is closed: the number of widgets stays the same for half a second."""
    last, same, deadline = "", 0, time.monotonic() + 60
    while same < 3 and time.monotonic() < deadline:
        session.pump(0.2)
        now = counted.read_text().split()[:2]
        same, last = (same + 1, last) if str(now) == last else (0, str(now))


def _held(process: int, counted: Path, points: int, lines: int) -> Held:
    proc = Path(f"/proc/{process}")
    memory = int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    numbers = counted.read_text().split()
    while len(numbers) != 3:  # caught in the middle of a write
        time.sleep(0.01)
        numbers = counted.read_text().split()
    tasks, widgets, errors = map(int, numbers)
    threads, descriptors = len(list((proc / "task").iterdir())), len(list((proc / "fd").iterdir()))
    return Held(points, lines, memory, threads, descriptors, tasks, widgets, errors)


def growth(values: list[int], against: list[int]) -> float:
    """The slope of a straight line through the values, by least squares."""
    n = len(values)
    mean_x, mean_y = sum(against) / n, sum(values) / n
    spread = sum((x - mean_x) ** 2 for x in against)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(against, values, strict=True)) / spread if spread else 0.0


def faults(found: list[Held]) -> list[str]:
    """What does not level off after the first third, in words."""
    rest = found[len(found) // 3 :]
    said = [f"{held.errors} errors" for held in rest[-1:] if held.errors]
    grown = rest[-1].points - rest[0].points
    allowed = grown * A_POINT + (24 << 20)
    slope = growth([h.memory for h in rest], [h.points for h in rest]) * grown
    if slope > allowed:
        said.append(f"memory grows by {slope / 2**20:.0f} MiB where {allowed / 2**20:.0f} are allowed")
    if max(h.memory for h in found) > MOST_BYTES:
        said.append(f"memory is {max(h.memory for h in found) / 2**20:.0f} MiB at its most")
    half = len(rest) // 2
    for name, slack in (("threads", 2), ("descriptors", 3), ("tasks", 8), ("widgets", 8)):
        early, late = (max(getattr(h, name) for h in part) for part in (rest[:half], rest[half:]))
        if late > early + slack:
            said.append(f"{name} grow from {early} to {late}")
    return said


def main() -> None:
    """Soak, print what was held, and fail where it does not level off."""
    asked = [int(float(arg)) for arg in sys.argv[1:3]]
    points, lines = (asked + [5_000_000, 10_000_000][len(asked) :])[:2]
    with tempfile.TemporaryDirectory() as folder:
        found = soak(points, lines, Path(folder))
    print(f"{'points':>10} {'lines':>10} {'MiB':>6} threads  fds tasks widgets")
    for h in found:
        held = f"{h.memory / 2**20:6.0f} {h.threads:7} {h.descriptors:4} {h.tasks:5} {h.widgets:7}"
        print(f"{h.points:>10,} {h.lines:>10,} {held}")
    said = faults(found)
    print("\n".join(said) or "all of it levels off")
    sys.exit(bool(said))


if __name__ == "__main__":
    main()
