"""How fast event files are read, against TensorBoard and tbparse: `python -m benchmarks.reading [--scalars 120000]`.

Writes one event file of 60 tags a step into a temporary directory and reads it in full with each reader, by turns, in
one process; then appends a step of 60 scalars, again and again, and measures what it costs each to be up to date.
Times are CPU times of the thread, so that other work on the machine counts little; the ratios are of medians.
"""

from __future__ import annotations

import argparse
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import google_crc32c

from critictui.config import Config
from critictui.run.reader import RunReader
from critictui.run.source import Budget

TAGS = [f"critic/some_metric_{k}" for k in range(60)]
_STEP = Budget(bytes=1 << 30, seconds=60)


def step_bytes(step: int) -> bytes:
    """One step of 60 scalars, as torch's writer appends it."""
    return records(step, {tag: (step * 37 + k) % 1000 / 1000 for k, tag in enumerate(TAGS)})


def records(step: int, values: Mapping[str, float]) -> bytes:
    """One step of any scalars, as torch's writer appends it."""
    return b"".join(_record(_event(tag, value, step)) for tag, value in values.items())


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _event(tag: str, value: float, step: int) -> bytes:
    inner = b"\x0a" + _varint(len(tag)) + tag.encode() + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + _varint(len(inner)) + inner
    head = b"\x09" + struct.pack("<d", 1.7e9 + 2 * step) + b"\x10" + _varint(step)
    return head + b"\x2a" + _varint(len(summary)) + summary


def _masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _record(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + _masked(length) + payload + _masked(payload)


def _cost(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def read_ours(path: Path) -> RunReader:
    """Everything, down to a snapshot."""
    reader = RunReader(path, Config())
    reader.read_all()
    return reader


def read_tensorboard(path: Path) -> object:
    """TensorBoard's own accumulator, nothing thinned out."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()


def read_tbparse(path: Path) -> object:
    """tbparse's table of scalars."""
    from tbparse import SummaryReader

    return SummaryReader(str(path)).scalars


def full_reads(path: Path, repeats: int) -> dict[str, float]:
    """Seconds for a full read, median, by reader; each takes its turn `repeats` times."""
    readers = {"critictui": read_ours, "EventAccumulator": read_tensorboard, "tbparse": read_tbparse}
    took: dict[str, list[float]] = {name: [] for name in readers}
    for read in readers.values():
        read(path.with_name("events.out.tfevents.small"))  # imports are not part of it
    for _ in range(repeats):
        for name, read in readers.items():
            took[name].append(_cost(lambda read=read: read(path)))  # type: ignore[misc]
    return {name: statistics.median(times) for name, times in took.items()}


def refreshes(path: Path, first: int, times: int) -> dict[str, float]:
    """Seconds to take in one more step of 60 scalars, median, by reader."""
    ours, theirs = read_ours(path), read_tensorboard(path)
    took: dict[str, list[float]] = {"critictui": [], "EventAccumulator": [], "tbparse": []}
    for k in range(times):
        with path.open("ab") as file:
            file.write(step_bytes(first + k))
        took["critictui"].append(_cost(lambda: ours.poll(_STEP)))
        took["EventAccumulator"].append(_cost(theirs.Reload))  # type: ignore[attr-defined]
        if k < 2:
            took["tbparse"].append(_cost(lambda: read_tbparse(path)))
    return {name: statistics.median(values) for name, values in took.items()}


def refresh_alone(path: Path, first: int, times: int) -> tuple[float, float]:
    """Seconds of a refresh of ours with all of `path` loaded: median and best."""
    ours = read_ours(path)
    took = []
    for k in range(times):
        with path.open("ab") as file:
            file.write(step_bytes(first + k))
        took.append(_cost(lambda: ours.poll(_STEP)))
    return statistics.median(took), min(took)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scalars", type=int, default=120_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loaded", type=int, default=1_200_000, help="scalars loaded while a refresh is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="critictui-reading-") as name:
        path = Path(name) / "events.out.tfevents.1700000000.host.1.0"
        steps = options.scalars // len(TAGS)
        path.write_bytes(b"".join(map(step_bytes, range(1, steps + 1))))
        path.with_name("events.out.tfevents.small").write_bytes(step_bytes(1))
        print(f"full read of {steps * len(TAGS):,} scalars, {path.stat().st_size / 1e6:.1f} MB, CPU seconds")
        _table(full_reads(path, options.repeats))
        print(f"one more step of {len(TAGS)} scalars with these loaded, CPU seconds")
        _table(refreshes(path, steps + 1, 20))
        many = options.loaded // len(TAGS)
        large = path.with_name("events.out.tfevents.1700000000.host.2.0")
        large.write_bytes(b"".join(map(step_bytes, range(1, many + 1))))
        median, best = refresh_alone(large, many + 1, 50)
        print(f"and with {many * len(TAGS):,} loaded: {median * 1e3:.2f} ms, at best {best * 1e3:.2f} ms")


def _table(seconds: dict[str, float]) -> None:
    ours = seconds["critictui"]
    for name, took in seconds.items():
        print(f"  {name:<18}{took:10.4f} s{took / ours:10.1f} x")


if __name__ == "__main__":
    main()
