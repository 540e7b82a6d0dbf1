"""How long after a write a value is in a snapshot, with inotify and without; and what an idle monitor costs."""

from __future__ import annotations

import json
import statistics
import struct
import tempfile
import threading
import time
from pathlib import Path

import google_crc32c

from critictui.config import Config
from critictui.monitor.monitor import Monitor
from critictui.monitor.snapshot import Snapshot

WRITES = 15
TAGS = 60


def masked(data: bytes) -> int:
    """TFRecord's checksum."""
    crc = int(google_crc32c.value(data))
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def scalar_record(tag: str, step: int, value: float, wall_time: float) -> bytes:
    """One `add_scalar` as a TensorBoard writer puts it on disk; step below 16384."""
    name = tag.encode()
    number = bytes([step & 0x7F | 0x80, step >> 7]) if step > 127 else bytes([step])
    inner = b"\x0a" + bytes([len(name)]) + name + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(inner)]) + inner
    event = b"\x09" + struct.pack("<d", wall_time) + b"\x10" + number + b"\x2a" + bytes([len(summary)]) + summary
    length = struct.pack("<Q", len(event))
    return length + struct.pack("<I", masked(length)) + event + struct.pack("<I", masked(event))


class Waiting:
    """Waits until a step is in a snapshot."""

    def __init__(self) -> None:
        self._step: int | None = None
        self._ring = threading.Condition()

    def listen(self, snapshot: Snapshot) -> None:
        """The monitor's listener."""
        series = snapshot.main.run.series.get(f"m/{TAGS - 1}") if snapshot.main is not None else None
        last = series.last() if series is not None else None
        with self._ring:
            self._step = last[0] if last is not None else None
            self._ring.notify_all()

    def until(self, step: int, seconds: float) -> bool:
        """Whether the last tag of the step came in time."""
        with self._ring:
            return self._ring.wait_for(lambda: self._step == step, timeout=seconds)


def latencies(folder: Path, *, inotify: bool, writes: int = WRITES) -> list[float]:
    """Seconds from the end of each write of a step (60 records, one write each) to the snapshot that holds it."""
    path = folder / "events.out.tfevents.1700000000.node.1.0"
    path.write_bytes(scalar_record("m/0", 0, 0.0, time.time()))
    waiting = Waiting()
    watch = Monitor(folder, Config(read_only=True), waiting.listen)
    if not inotify:
        watch._bell._give_up(OSError(24, "disabled for the measurement"))  # noqa: SLF001
    watch.start()
    took = []
    try:
        with path.open("ab", buffering=0) as file:
            for step in range(1, writes + 1):
                for tag in range(TAGS):
                    file.write(scalar_record(f"m/{tag}", step, step / 7, time.time()))
                written = time.monotonic()
                if not waiting.until(step, 10):
                    raise RuntimeError(f"step {step} did not arrive within ten seconds")
                took.append(time.monotonic() - written)
                # spread over the poll's period, so that the poll's phase is not what is measured
                time.sleep(0.3 + 0.37 * (step % 5) / 5)
    finally:
        watch.stop()
    return took


def idle_share(folder: Path, seconds: float = 10.0) -> float:
    """Share of a core that a monitor at rest takes."""
    arrived = threading.Event()
    watch = Monitor(folder, Config(read_only=True), lambda _: arrived.set())
    watch.start()
    arrived.wait(10)
    time.sleep(2)
    before = time.process_time()
    time.sleep(seconds)
    share = (time.process_time() - before) / seconds
    watch.stop()
    return share


def main() -> dict[str, float]:
    """Milliseconds, and the idle share in per cent."""
    figures: dict[str, float] = {}
    for inotify in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            took = latencies(Path(folder), inotify=inotify)
        name = "inotify" if inotify else "polling"
        figures[f"{name} median ms"] = round(1000 * statistics.median(took), 1)
        figures[f"{name} worst ms"] = round(1000 * max(took), 1)
    with tempfile.TemporaryDirectory() as folder:
        latencies(Path(folder), inotify=True, writes=3)
        figures["idle per cent of a core"] = round(100 * idle_share(Path(folder)), 2)
    return figures


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
