"""A training run as a child process: settings go in, a run directory grows, and the child dies with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from critictui.demo.scenario import Trainer, Training
from critictui.errors import JobFailedError

_MODULES: dict[Trainer, str] = {"verl": "critictui.demo.trainer", "trl": "critictui.demo.trl_trainer"}
_TAIL = 2000


def train_in_child(settings: Training, *, trainer: Trainer = "verl") -> None:
    """Trains to the end and returns; raises JobFailedError with the last words of a trainer that failed."""
    with live_training(settings, trainer=trainer) as child:
        child.wait()


class LiveTraining:
    """A trainer process and, where the scenario kills it, the one that resumes it."""

    def __init__(self, settings: Training, *, trainer: Trainer = "verl") -> None:
        self.settings = settings
        self._module = _MODULES[trainer]
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._run, name="demo-training", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether steps are still to be expected."""
        return self._thread.is_alive()

    @property
    def pid(self) -> int | None:
        """The trainer's process, None before it was started."""
        with self._lock:
            return None if self._process is None else self._process.pid

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the end; False when it has not come in `timeout` seconds; JobFailedError for a failed run."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        if self._failure is not None:
            raise JobFailedError(self._failure)
        return True

    def stop(self) -> None:
        """Ends the trainer and whatever it started, and waits until it is gone."""
        self._stopping.set()
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._thread.join()

    def _run(self) -> None:
        settings = self.settings
        settings.root.mkdir(parents=True, exist_ok=True)
        while not self._stopping.is_set():
            status = self._once(settings)
            if status == -signal.SIGKILL and settings.kill_at is not None and not self._stopping.is_set():
                settings = replace(settings, kill_at=None, resume=True)
                continue
            if status != 0 and not self._stopping.is_set():
                words = _last_words(settings.root / "trainer.stderr")
                self._failure = f"{settings.root}: the demo's trainer ended with status {status}: {words}"
            return

    def _once(self, settings: Training) -> int:
        read_end, write_end = os.pipe()
        with (settings.root / "trainer.stderr").open("ab") as errors:
            with self._lock:
                if self._stopping.is_set():
                    os.close(read_end)
                    os.close(write_end)
                    return 0
                # the trainer ends when the other end of its stdin closes: with us, however we go
                self._process = subprocess.Popen(
                    [sys.executable, "-m", self._module, settings.to_json()],
                    stdin=read_end,
                    stdout=errors,
                    stderr=errors,
                    start_new_session=True,
                    env=_environment(),
                )
            os.close(read_end)
            try:
                return self._process.wait()
            finally:
                os.close(write_end)


@contextmanager
def live_training(settings: Training, *, trainer: Trainer = "verl") -> Iterator[LiveTraining]:
    """A training that runs while the block does, and no longer."""
    training = LiveTraining(settings, trainer=trainer)
    try:
        yield training
    finally:
        training.stop()


def _environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}


def _last_words(path: Path) -> str:
    text = path.read_bytes()[-_TAIL:].decode("utf-8", "replace").strip()
    return text.splitlines()[-1] if text else "it said nothing"
