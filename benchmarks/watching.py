"""W&B LEET beside critictui, in a real terminal of 120x36: `python -m benchmarks.watching [--rounds 5]`.

The same metrics, 60 a step, lie in an offline W&B run and in an event file. The terminal answers what both ask of it;
system metrics and console capture are off in the W&B run, and LEET reports nothing to anybody (`WANDB_MODE=offline`).
LEET is a Go program that a command in Python starts: it is measured as its users start it, and by itself. CPU seconds
and memory are those of all processes of a command, those of the run's writer aside. In turns:
- `start`: 300 steps; until a chart is on the screen;
- `load`: the long history; until nothing has changed on the screen for two seconds and its end is there;
- `rest`: a run of 300 steps that has ended: bytes and CPU while nothing happens;
- `live`: one that is still being written, by wandb itself for LEET: the same while no step comes, then at a step a
  second; how long a step waits until the run's file grows (wandb writes whole blocks of 32 KiB, and what it has every
  15 s), and from there until the screen changes.
Figures are medians.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import peers
from benchmarks.answering import AnsweringSession
from benchmarks.reading import records
from benchmarks.startup import has_chart
from benchmarks.terminal import terminal_env
from benchmarks.terminal_bytes import step_values

Figures = dict[str, float]
_SMALL = 300
_WRITER = """
import json, sys
import wandb

settings = wandb.Settings(x_disable_stats=True, x_disable_meta=True, console="off", silent=True)
run = wandb.init(mode="offline", dir=sys.argv[1], project="critic", settings=settings)
print(run.settings.sync_file, flush=True)
for line in sys.stdin:
    step, values = json.loads(line)
    run.log(values, step=step)
run.finish()
"""


class Written:
    """A W&B run and an event file that get the same steps."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.events = folder / "tensorboard"
        self.events.mkdir()
        self.event_file = self.events / "events.out.tfevents.1700000000.host.1.0"
        self._file = self.event_file.open("ab", buffering=0)
        self._rng, self.step = random.Random(0), 0
        command, pipe = [str(peers.PYTHON), "-c", _WRITER, str(folder)], subprocess.PIPE
        env = terminal_env(folder, WANDB_MODE="offline")
        self._writer = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env)
        assert self._writer.stdout is not None
        self.wandb = Path(self._writer.stdout.readline().strip())

    def log(self, steps: int) -> None:
        """So many more steps to both."""
        lines = []
        for _ in range(steps):
            self.step += 1
            values = step_values(self.step, self._rng)
            self._file.write(records(self.step, values))
            lines.append(json.dumps([self.step, values]) + "\n")
        assert self._writer.stdin is not None
        self._writer.stdin.write("".join(lines))
        self._writer.stdin.flush()

    def finish(self) -> None:
        """No more steps; returns when both are on disk."""
        assert self._writer.stdin is not None
        self._file.close()
        self._writer.stdin.close()
        self._writer.wait(600)


Command = Callable[[Written], list[str]]


def _ours(written: Written) -> list[str]:
    return [sys.executable, "-m", "critictui", str(written.events)]


def _leet(written: Written) -> list[str]:
    return [str(peers.PYTHON.with_name("wandb")), "leet", str(written.wandb)]


def _leet_alone(written: Written) -> list[str]:
    code = "from wandb.util import get_core_path; print(get_core_path())"
    done = subprocess.run([peers.PYTHON, "-c", code], capture_output=True, text=True, check=True)
    arguments = ["--no-observability", "--run-file", str(written.wandb), str(written.wandb.parents[1])]
    return [done.stdout.strip(), "leet", "run", *arguments]


COMMANDS: dict[str, Command] = {"critictui": _ours, "wandb leet": _leet, "LEET without Python": _leet_alone}


def opened(command: list[str], state: Path) -> AnsweringSession:
    """The command in a terminal that answers."""
    return AnsweringSession(command, 120, 36, terminal_env(state, WANDB_MODE="offline"), Path.cwd())


def start(command: list[str], state: Path) -> Figures:
    """Until the first chart."""
    with opened(command, state) as session:
        _until(session, has_chart)
        wall, cpu = time.monotonic() - session.started, peers.cpu_seconds(session.pid)
        session.pump(3)
        return {"wall s": wall, "CPU s": cpu, "kB within 3 s more": len(session.sent) / 1e3}


def load(command: list[str], state: Path, last: int) -> Figures:
    """Until the whole history is on the screen."""
    with opened(command, state) as session:
        _until(session, has_chart)
        wall = _settle(session)
        if not _tells(session, last):
            raise RuntimeError(f"{command[0]}: step {last} is not on the screen")
        cpu, held = peers.cpu_seconds(session.pid), peers.memory(session.pid)
        return {"wall s": wall, "CPU s": cpu, "MiB": held, "kB": len(session.sent) / 1e3}


def rest(command: list[str], state: Path, seconds: int) -> Figures:
    """Nothing happens."""
    with opened(command, state) as session:
        _until(session, has_chart)
        session.pump(5)
        return _spent(session, lambda: session.pump(seconds), seconds, "at rest")


def live(command: list[str], state: Path, written: Written, file: Path, seconds: int) -> Figures:
    """No step, then a step a second into `file`."""
    with opened(command, state) as session:
        _until(session, has_chart)
        session.pump(5)
        found = _spent(session, lambda: session.pump(seconds), seconds, "between steps")
        logged: list[float] = []

        def steps() -> None:
            for _ in range(seconds):
                logged.append(time.monotonic())
                written.log(1)
                session.pump(max(0.0, logged[-1] + 1 - time.monotonic()))

        with Growth(file) as growth:
            found |= _spent(session, steps, seconds, "at a step a second")
            session.pump(20)  # until wandb has written the last of them
        waited = [min((at - moment for at in growth.seen if at > moment), default=20.0) for moment in logged]
        drawn = [_next_change(session, at) - at for at in growth.seen]
        names = ("ms to the file: median", "worst", "ms from the file to the screen")
        return found | dict(
            zip(
                names,
                (1e3 * x for x in (statistics.median(waited), max(waited), statistics.median(drawn))),
                strict=True,
            )
        )


class Growth:
    """The moments at which a file was seen to have grown, looked at every 2 ms."""

    def __init__(self, file: Path) -> None:
        self.seen: list[float] = []
        self._file, self._over = file, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Growth:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        size = self._file.stat().st_size
        while not self._over.wait(0.002):
            before, size = size, self._file.stat().st_size
            if size > before and (not self.seen or time.monotonic() - self.seen[-1] > 0.1):  # a step is many writes
                self.seen.append(time.monotonic())


def _next_change(session: AnsweringSession, moment: float) -> float:
    """When the first piece larger than a frame of LEET's pulse (65 bytes; this project's clock: less) came after it."""
    start = 0
    for end, arrived in session.arrived:
        if arrived > moment and end - start > 250:
            return arrived
        start = end
    return time.monotonic()


def _spent(session: AnsweringSession, work: Callable[[], object], seconds: int, what: str) -> Figures:
    sent, spent = len(session.sent), peers.cpu_seconds(session.pid)
    work()
    kilobytes, cpu = (len(session.sent) - sent) / 1e3, peers.cpu_seconds(session.pid) - spent
    return {f"kB/s {what}": kilobytes / seconds, "% CPU" + " " * len(what): cpu / seconds * 100}


def _until(session: AnsweringSession, shown: Callable[[bytes], bool]) -> None:
    if not session.pump(60, shown):
        raise RuntimeError("nothing on the screen within a minute")


def _settle(session: AnsweringSession) -> float:
    """Wait until two seconds pass without a byte and with almost no CPU; seconds from the start to the last byte."""
    while time.monotonic() - session.started < 300:
        sent, spent = len(session.sent), peers.cpu_seconds(session.pid)
        at = time.monotonic()
        moved = session.pump(2, lambda now, sent=sent: len(now) > sent)  # type: ignore[misc]
        if not moved and peers.cpu_seconds(session.pid) - spent < 0.2:
            return at - session.started
    raise RuntimeError("the screen does not come to rest")


def _tells(session: AnsweringSession, last: int) -> bool:
    """The last step is on the screen."""
    import pyte

    screen = pyte.Screen(120, 36)
    pyte.ByteStream(screen).feed(bytes(session.sent))
    return any(number in "\n".join(screen.display) for number in (f"{last}", f"{last:,}"))


def report(title: str, found: dict[str, list[Figures]]) -> None:
    """A table of medians, each with how many times ours it is."""
    print(title)
    names = list(found["critictui"][0])
    medians = {
        who: {name: statistics.median(one[name] for one in all_) for name in names} for who, all_ in found.items()
    }

    def cell(who: str, name: str) -> str:
        value, ours = medians[who][name], medians["critictui"][name]
        return f"{value:.2f}" + (f" ({value / ours:.2f}x)" if who != "critictui" and ours else "")

    print(peers.table(["", *names], [[who, *(cell(who, name) for name in names)] for who in found]), flush=True)


def turns(rounds: int, whom: Iterable[str], measure: Callable[[str], Figures]) -> dict[str, list[Figures]]:
    """Each takes its turn, so often."""
    found: dict[str, list[Figures]] = {who: [] for who in whom}
    for _ in range(rounds):
        for who, figures in found.items():
            figures.append(measure(who))
    return found


def main() -> None:
    """Measure in turns and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000, help="of the long history")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    if absent := peers.missing("wandb"):
        print(absent)
        return
    print(f"wandb {peers.version('wandb')}")
    with tempfile.TemporaryDirectory(prefix="critictui-watching-") as name:
        base = Path(name)
        small, large, growing = (Written(base / part) for part in ("small", "large", "growing"))
        for written, steps in ((small, _SMALL), (large, options.steps)):
            written.log(steps)
            written.finish()
        growing.log(_SMALL)
        rounds = options.rounds
        report(
            f"until the first chart, {_SMALL} steps of 60 metrics",
            turns(rounds, COMMANDS, lambda who: start(COMMANDS[who](small), base)),
        )
        report(
            f"until the whole history is there, {options.steps:,} steps of 60 metrics",
            turns((rounds + 1) // 2, COMMANDS, lambda who: load(COMMANDS[who](large), base, options.steps)),
        )
        few = (rounds + 1) // 2
        both = ("critictui", "wandb leet")
        seconds = options.seconds
        report("a run that has ended", turns(few, both, lambda who: rest(COMMANDS[who](small), base, seconds)))
        report(
            "a run that is being written",
            turns(
                few,
                both,
                lambda who: live(
                    COMMANDS[who](growing),
                    base,
                    growing,
                    growing.wandb if who != "critictui" else growing.event_file,
                    seconds,
                ),
            ),
        )
        growing.finish()


if __name__ == "__main__":
    main()
