"""GPU memory through NVML, read in a thread of its own: a driver that hangs freezes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_SECONDS = 5.0
_PATIENCE = 2.0
"""Before the first look: the first chart comes first."""
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """One GPU, rounded to whole GiB so that a screen at rest does not flicker."""

    index: int
    used_gib: int
    total_gib: int


class GpuWatch:
    """Reads the memory of all GPUs every five seconds and tells `listen` of changes. Silent where there is none."""

    def __init__(self, listen: Callable[[tuple[GpuMemory, ...]], object]) -> None:
        self._listen = listen
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="critictui-gpu", daemon=True)
        self._peaks: dict[int, tuple[int, float]] = {}
        """Highest use in bytes, and since when (monotonic) it is watched without a gap."""

    def peaks(self, seconds: float) -> dict[int, int]:
        """The highest use in bytes of every GPU that was watched for so long without a gap."""
        now = time.monotonic()
        return {index: used for index, (used, since) in dict(self._peaks).items() if now - since >= seconds}

    def note(self, used: dict[int, int]) -> None:
        """One reading of all GPUs, in bytes; one that is missing is watched anew from its next reading on."""
        now = time.monotonic()
        before = self._peaks
        self._peaks = {i: (max(u, before[i][0]), before[i][1]) if i in before else (u, now) for i, u in used.items()}

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a call that hangs in the driver is left behind (the thread is a daemon)."""
        self._stop.set()

    def _run(self) -> None:
        if self._stop.wait(_PATIENCE):
            return
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception:  # noqa: BLE001 - the boundary of this thread: without NVML there is nothing to show
            return
        last: tuple[GpuMemory, ...] | None = None
        while not self._stop.is_set():
            try:
                used = {i: self._read(pynvml, i) for i in range(pynvml.nvmlDeviceGetCount())}
                self.note({i: u for i, (u, _) in used.items()})
                gpus = tuple(GpuMemory(i, round(u / _GIB), round(t / _GIB)) for i, (u, t) in used.items())
            except Exception:  # noqa: BLE001 - a driver that went away; the last numbers would be a lie
                gpus = ()
                self.note({})
            if gpus != last:
                last = gpus
                self._listen(gpus)
            self._stop.wait(_SECONDS)

    @staticmethod
    def _read(pynvml: object, index: int) -> tuple[int, int]:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)  # type: ignore[attr-defined]
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)  # type: ignore[attr-defined]
        return int(memory.used), int(memory.total)
