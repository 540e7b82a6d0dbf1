"""The screens of scoring, diagnosis and explanation as text, at three sizes, in Unicode and ASCII; tiny ones too."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.checkpoint.find import resolve_target
from critictui.monitor.snapshot import Snapshot
from critictui.scoring import memory
from critictui.scoring.host_memory import HostReading
from critictui.scoring.jobs import Progress
from critictui.tui.app import CriticApp
from critictui.tui.evaluation import plan
from critictui.tui.evaluation.bench import Ended, RunJob, Running, Task
from critictui.tui.shell import bench_of

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]

KEYS = {
    "dialogue": ("e",),
    "dashboard": (),
    "scores": ("E",),
    "pairs": ("E", "enter"),
    "pair": ("E", "enter", "enter"),
    "diagnosis": ("d",),
    "behaviour": ("d", "down", "down"),
    "samples": ("d", "s"),
    "explanation": ("x",),
    "simulated": ("x", "down", "down", "down"),
}
SIZES = [(80, 24), (120, 36), (200, 50)]


class Case(Protocol):
    """A run directory with one checkpoint, and its snapshot."""

    run: Path
    checkpoint: Checkpoint
    snapshot: Snapshot


@pytest.fixture
def shown(case: Case, scored: Snapshot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answered: None) -> Snapshot:
    """The case with its scores, by paths that are the same everywhere."""
    del answered
    gpu = memory.GpuReading(0, "NVIDIA H200", 140 << 30, 30 << 30, 1)
    monkeypatch.setattr(memory, "read_gpus", lambda: (gpu,))
    monkeypatch.setattr(plan, "read_host", lambda: HostReading(64 << 30, 50 << 30))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.chdir(tmp_path)
    checkpoint = resolve_target(Path("run/checkpoint-310"))
    first = scored.watched[0]
    watched = dataclasses.replace(
        first, run=dataclasses.replace(first.run, path=Path("run")), checkpoints=(checkpoint, *first.checkpoints[1:])
    )
    return dataclasses.replace(scored, watched=(watched,))


async def work(run: RunJob) -> Ended:
    """Never begun: a bench at work is only looked at."""
    raise NotImplementedError


def at_work(app: CriticApp) -> None:
    """A bench in the middle of a score, with a diagnosis waiting."""
    bench = bench_of(app)
    bench.running = Running(Task("score", ("s",), "scoring step 310", work), Progress("score", 45, 100, 1204.0, 12.0))
    bench.waiting = Task("diagnose", ("d",), "diagnosing step 300", work)
    bench.told()


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("screen", KEYS)
async def test_an_evaluation_screen_reads_as_it_did(
    screen: str,
    size: tuple[int, int],
    ascii_only: bool,
    shown: Snapshot,
    showing: Showing,
    settle: Settle,
    text_of: Callable[[CriticApp], str],
    snapshot: SnapshotAssertion,
) -> None:
    async with showing(shown, size, ascii=ascii_only) as pilot:
        app = pilot.app
        assert isinstance(app, CriticApp)
        if screen == "dashboard":
            at_work(app)
        for key in KEYS[screen]:
            await pilot.press(key)
            await settle(pilot)
        await settle(pilot)
        text = text_of(app)
        if screen == "dashboard":
            text = "\n".join(text.splitlines()[-2:])
            app.bench = None
    if ascii_only:
        assert text.isascii()
    assert text == snapshot


@pytest.mark.parametrize("size", [(40, 10), (20, 4), (1, 1)], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("screen", KEYS)
async def test_a_tiny_terminal_does_not_crash_an_evaluation_screen(
    screen: str, size: tuple[int, int], shown: Snapshot, showing: Showing, settle: Settle
) -> None:
    async with showing(shown, size) as pilot:
        app = pilot.app
        assert isinstance(app, CriticApp)
        for key in KEYS[screen]:
            await pilot.press(key)
            await settle(pilot)
        own = app.bench  # it may hold a worker, and ends it
        at_work(app)
        await settle(pilot)
        app.bench = own
