"""verl's console log as Ray prints it: config, step lines and progress bars go in, lines of a file come out."""

from __future__ import annotations

import os
import pprint
import time
from collections.abc import Mapping
from numbers import Number
from pathlib import Path
from typing import IO


class Console:
    """The driver's log: coloured prefix, one `step:` line a step, progress bars."""

    def __init__(self, path: Path, total: int, *, first: int = 0) -> None:
        self._file: IO[str] = path.open("a", encoding="utf-8")
        self._prefix = f"\x1b[36m(TaskRunner pid={os.getpid()})\x1b[0m "
        self._total = total
        self._first = first
        self._start = time.monotonic()

    def line(self, text: str) -> None:
        """One line of the driver's output, or several."""
        self._file.write("".join(f"{self._prefix}{part}\n" for part in text.split("\n")))
        self._file.flush()

    def config(self, config: Mapping[str, object]) -> None:
        """verl prints its whole configuration first."""
        self.line(pprint.pformat(config))

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """`step:3 - critic/d_acc:np.float64(0.5) - ...`, every value as `pprint` shows it."""
        pairs = [f"{key}:{pprint.pformat(value)}" for key, value in metrics.items() if isinstance(value, Number)]
        self.line(" - ".join([f"step:{step}", *pairs]))

    def progress(self, step: int) -> None:
        """tqdm's bar as Ray forwards it, a line each."""
        elapsed = time.monotonic() - self._start
        done, share = step - self._first, step / self._total
        eighths = int(share * 80)
        bar = ("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()).ljust(10)
        if done:
            pace = elapsed / done
            speed = f"{1 / pace:.2f}it/s" if pace < 1 else f"{pace:.2f}s/it"
            left = _clock((self._total - step) * pace)
        else:
            speed, left = "?it/s", "?"
        self.line(f"Training Progress: {share:4.0%}|{bar}| {step}/{self._total} [{_clock(elapsed)}<{left}, {speed}]")

    def close(self) -> None:
        """Flushes and closes."""
        self._file.close()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
