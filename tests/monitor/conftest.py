"""Helpers for everything that runs the monitor's thread: wait for a condition, never for a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from critictui.config import Config
from critictui.monitor.monitor import Monitor
from critictui.monitor.snapshot import Snapshot


class Listener:
    """Collects snapshots."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self._arrived = threading.Condition()

    def __call__(self, snapshot: Snapshot) -> None:
        with self._arrived:
            self.snapshots.append(snapshot)
            self._arrived.notify_all()

    @property
    def last(self) -> Snapshot:
        return self.snapshots[-1]

    def until(self, fits: Callable[[Snapshot], object], seconds: float = 20.0) -> Snapshot:
        """The first snapshot, from the newest one on, that fits."""
        deadline = time.monotonic() + seconds
        with self._arrived:
            while not (self.snapshots and fits(self.snapshots[-1])):
                left = deadline - time.monotonic()
                assert left > 0, f"it did not come; last: {self.snapshots[-1] if self.snapshots else None}"
                self._arrived.wait(left)
            return self.snapshots[-1]

    def until_step(self, step: int) -> Snapshot:
        return self.until(lambda s: s.main is not None and s.main.run.step == step)


class Watching:
    """Starts monitors and stops them at the end of the test."""

    def __init__(self) -> None:
        self.monitors: list[Monitor] = []

    def __call__(
        self, target: Path, config: Config | None = None, prepare: Callable[[Monitor], None] = lambda _: None
    ) -> tuple[Monitor, Listener]:
        listener = Listener()
        monitor = Monitor(target, config or Config(), listener)
        prepare(monitor)
        self.monitors.append(monitor)
        monitor.start()
        return monitor, listener

    def unheard(self, target: Path) -> tuple[Monitor, Listener]:
        """A monitor that has read what a first frame shows, and a listener that it does not know yet."""
        monitor = Monitor(target, Config())
        self.monitors.append(monitor)
        monitor.start()
        deadline = time.monotonic() + 60
        while monitor.first is None or monitor.first.main is None:
            assert time.monotonic() < deadline, "nothing was read"
            threading.Event().wait(0.005)
        return monitor, Listener()


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watching]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    watching = Watching()
    yield watching
    for monitor in watching.monitors:
        monitor.stop()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def append(run_dir: Path, first: int, last: int, *, name: str = "train.log", margin: float = 3.0) -> None:
    """Write the steps of a healthy warm-up as verl does: a noise-free d_acc that wobbles."""
    with (run_dir / name).open("a") as file:
        for step in range(first, last + 1):
            wobble = ((step * 7919) % 101 - 50) / 50
            file.write(
                f"step:{step} - critic/d_acc:{0.76 + 0.02 * wobble:.4f} - critic/d_loss:{0.5 + 0.01 * wobble:.4f} - "
                f"critic/teacher_score_mean:{margin / 2:.4f} - "
                f"critic/student_score_mean:{-margin / 2 + 0.1 * wobble:.4f}\n"
            )


@pytest.fixture
def write_steps() -> Callable[..., None]:
    return append
