"""GPU memory through NVML, read in a thread of its own: a driver that hangs freezes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

_SECONDS = 15.0
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
    """Reads the memory of all GPUs every 15 seconds and tells `listen` when it changed. Silent where there is none."""

    def __init__(self, listen: Callable[[tuple[GpuMemory, ...]], object]) -> None:
        self._listen = listen
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="critictui-gpu", daemon=True)

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
                gpus = tuple(self._read(pynvml, i) for i in range(pynvml.nvmlDeviceGetCount()))
            except Exception:  # noqa: BLE001 - a driver that went away; the last numbers would be a lie
                gpus = ()
            if gpus != last:
                last = gpus
                self._listen(gpus)
            self._stop.wait(_SECONDS)

    @staticmethod
    def _read(pynvml: object, index: int) -> GpuMemory:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)  # type: ignore[attr-defined]
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)  # type: ignore[attr-defined]
        return GpuMemory(index, round(memory.used / _GIB), round(memory.total / _GIB))
