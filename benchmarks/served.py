"""TensorBoard as it is served, beside the monitor: `python -m benchmarks.served [--steps 20000] [--rounds 3]`.

TensorBoard runs with its data server in Rust (`--load_fast=true`) and the shortest reload that it takes (1 s), once
with its default of 1,000 points a tag and once with all of them; what it holds is asked for over HTTP, as its page
does. Ours is the monitor in a process of its own, which keeps every point, checks every checksum and judges each
step; it says what is in its snapshots. Its reader alone judges nothing: the difference is what judging takes. All
watch the same event file of 60 tags a step:
- `load`: from the start of the process until the answer has the whole history (with 1,000 points: the last step); CPU
  of all processes until then; what they hold two seconds later, in MiB;
- `live`: a run of 300 steps that gets one a second: how long after the write of a step an answer has it (asked every
  20 ms); and, with nobody asking, the share of a core at rest and at a step a second.
They take turns; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import peers
from benchmarks.reading import records
from benchmarks.terminal_bytes import step_values

_TAG = "timing_s/part_51"
"""The last of a step's tags."""
_READING = "critictui, reading alone"
_FILE = "events.out.tfevents.1700000000.host.1.0"
_OURS = """
import sys, threading
from pathlib import Path
from critictui.config import Config
from critictui.monitor.monitor import Monitor

def listen(snapshot):
    series = snapshot.main.run.series.get(sys.argv[2]) if snapshot.main is not None else None
    if series is not None and len(series.step):
        print(len(series.step), int(series.step[-1]), flush=True)

Monitor(Path(sys.argv[1]), Config(read_only=True), listen).start()
threading.Event().wait()
"""
_READER = """
import sys, threading
from pathlib import Path
from critictui.config import Config
from critictui.run.reader import RunReader

reader = RunReader(Path(sys.argv[1]), Config())
series = reader.read_all().series[sys.argv[2]]
print(len(series.step), int(series.step[-1]), flush=True)
threading.Event().wait()
"""


@dataclass
class Process:
    """A program that watches a folder; `holds` gives (points, last step) of the last tag, (0, -1) without any."""

    name: str
    popen: subprocess.Popen[bytes]
    holds: Callable[[], tuple[int, int]]
    started: float = field(default_factory=time.monotonic)

    def until(self, reached: Callable[[int, int], bool], seconds: float = 120, pause: float = 0.02) -> float:
        """When what it holds satisfies `reached`. Raises RuntimeError where it does not come to that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if reached(*self.holds()):
                return time.monotonic()
            time.sleep(pause)
        raise RuntimeError(f"{self.name}: not there within {seconds:.0f} s")

    def end(self) -> None:
        """End it and its children."""
        for process in reversed(peers.tree(self.popen.pid)):
            try:
                os.kill(process, 15)
            except ProcessLookupError:
                continue
        self.popen.wait(20)


def tensorboard(folder: Path, samples: str) -> Process:
    """TensorBoard with its fast loader on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", str(port)]
    command += [
        "--load_fast=true",
        "--reload_interval=1",
        *([f"--samples_per_plugin=scalars={samples}"] * bool(samples)),
    ]
    started = time.monotonic()
    popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/data/plugin/scalars/scalars?run=.&tag={_TAG.replace('/', '%2F')}"

    def holds() -> tuple[int, int]:
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                rows = json.load(answer)
        except (urllib.error.URLError, OSError, ValueError):
            return 0, -1
        return len(rows), int(rows[-1][1]) if rows else -1

    return Process(f"TensorBoard, {'all' if samples else '1,000'} points a tag", popen, holds, started)


def ours(folder: Path, code: str = _OURS) -> Process:
    """The monitor, without a screen."""
    started = time.monotonic()
    popen = subprocess.Popen([sys.executable, "-c", code, str(folder), _TAG], stdout=subprocess.PIPE)
    assert popen.stdout is not None
    out, held, rest = popen.stdout.fileno(), (0, -1), b""

    def holds() -> tuple[int, int]:
        nonlocal held, rest
        while select.select([out], [], [], 0)[0]:
            data = os.read(out, 1 << 16)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            if lines:
                points, step = map(int, lines[-1].split())
                held = points, step
        return held

    return Process("critictui's monitor", popen, holds, started)


STARTS: dict[str, Callable[[Path], Process]] = {
    "critictui": ours,
    "TensorBoard, all points": lambda folder: tensorboard(folder, "1000000"),
    "TensorBoard, 1,000 points": lambda folder: tensorboard(folder, ""),
}


def load(start: Callable[[Path], Process], folder: Path, steps: int, *, whole: bool) -> dict[str, float]:
    """Seconds and CPU until the history is there, and what is resident after it."""
    process = start(folder)
    try:
        there = process.until(lambda points, step: step == steps and (points == steps or not whole))
        cpu = peers.cpu_seconds(process.popen.pid)
        process.until(lambda *_: time.monotonic() > there + 2)
        held = peers.memory(process.popen.pid)
        return {"wall s": there - process.started, "CPU s": cpu, "MiB": held}
    finally:
        process.end()


def live(start: Callable[[Path], Process], folder: Path, seconds: int) -> dict[str, list[float]]:
    """Latencies, and the shares of a core at rest and at a step a second."""
    path, last = folder / _FILE, 300
    path.write_bytes(_steps(1, last))
    process = start(folder)
    try:
        process.until(lambda _, step: step == last)
        time.sleep(3)
        took = []
        for _ in range(seconds):
            last += 1
            _append(path, last)
            written = time.monotonic()
            took.append(process.until(lambda _, step, last=last: step == last) - written)  # type: ignore[misc]
            time.sleep(0.4 + 0.61 * (last % 7) / 7)  # so that the phase of a poll is not what is measured
        time.sleep(2)
        before = peers.cpu_seconds(process.popen.pid)
        time.sleep(seconds)
        rest = (peers.cpu_seconds(process.popen.pid) - before) / seconds
        before = peers.cpu_seconds(process.popen.pid)
        for _ in range(seconds):
            last += 1
            _append(path, last)
            time.sleep(1)
        return {"latency": took, "rest": [rest], "live": [(peers.cpu_seconds(process.popen.pid) - before) / seconds]}
    finally:
        process.end()


def _steps(first: int, last: int) -> bytes:
    rng = random.Random(first)
    return b"".join(records(step, step_values(step, rng)) for step in range(first, last + 1))


def _append(path: Path, step: int) -> None:
    with path.open("ab") as file:
        file.write(_steps(step, step))


def _median(found: list[dict[str, float]], key: str) -> float:
    return statistics.median(one[key] for one in found)


def main() -> None:
    """Measure in turns and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    here = Path(sys.executable)
    versions = {name: peers.version(name, here) for name in ("tensorboard", "tensorboard-data-server")}
    if None in versions.values():
        print("tensorboard or its data server is not installed: nothing is measured")
        return
    print(", ".join(f"{name} {number}" for name, number in versions.items()))
    loads: dict[str, list[dict[str, float]]] = {name: [] for name in (*STARTS, _READING)}
    lives: dict[str, dict[str, list[float]]] = {name: {"latency": [], "rest": [], "live": []} for name in STARTS}
    with tempfile.TemporaryDirectory(prefix="critictui-served-") as name:
        large = Path(name) / "large"
        large.mkdir()
        (large / _FILE).write_bytes(_steps(1, options.steps))
        for turn in range(options.rounds):
            for who, start in STARTS.items():
                loads[who].append(load(start, large, options.steps, whole="1,000" not in who))
                small = Path(name) / f"{who} {turn}"
                small.mkdir()
                for key, values in live(start, small, options.seconds).items():
                    lives[who][key] += values
            loads[_READING].append(load(lambda folder: ours(folder, _READER), large, options.steps, whole=True))
        size = (large / _FILE).stat().st_size / 1e6
    print(f"a history of {options.steps:,} steps of 60 scalars ({size:.0f} MB)")
    keys = ("wall s", "CPU s", "MiB")
    mine = {key: _median(loads["critictui"], key) for key in keys}
    rows = [
        [
            who,
            *(f"{_median(found, key):.2f}" for key in keys),
            *(f"{_median(found, key) / mine[key]:.2f}" for key in keys),
        ]
        for who, found in loads.items()
    ]
    print(peers.table(["", *keys, *(f"{key.split()[0]} / ours" for key in keys)], rows))
    print("one step of 60 scalars a second")
    rows = [
        [
            who,
            f"{statistics.median(found['latency']) * 1e3:.0f}",
            f"{max(found['latency']) * 1e3:.0f}",
            *(f"{statistics.median(found[key]) * 100:.2f}" for key in ("rest", "live")),
        ]
        for who, found in lives.items()
    ]
    print(peers.table(["", "ms to the answer: median", "worst", "% of a core at rest", "at a step a second"], rows))


if __name__ == "__main__":
    main()
