"""A run to show: the case of the domain, made from seeds, as the monitor would post it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.config import Config
from critictui.health.alert import Alert, Judgement, NotEnoughData
from critictui.monitor.snapshot import RunRow, Snapshot, WatchedRun
from critictui.run import metrics as names
from critictui.run.facts import RunSnapshot, Seam, Session, Skipped, SourceFacts
from critictui.run.pyramid import Pyramid
from critictui.run.series import Series
from critictui.scoring.recipe import Recipe
from critictui.scoring.result import FixedSetRef, ScoreResult
from critictui.tui.app import CriticApp
from critictui.tui.messages import SnapshotTaken
from critictui.tui.supervised import crash_log_path

NOW = 1_800_000_000.0
STEPS = 310


def make_series(tag: str, value: np.ndarray, name: str = "", first: int = 1) -> Series:
    """A series of one session, a step every 132 seconds, the last one three seconds ago."""
    n = len(value)
    step = np.arange(first, first + n, dtype=np.int64)
    wall = NOW - 3 - 132.0 * (n - 1 - np.arange(n, dtype=np.float64))
    value = np.asarray(value, np.float64)
    return Series(
        tag, name or tag, "events", "events.out.tfevents.1", step, wall, value, np.zeros(n, np.int64), Pyramid()
    )


def make_run(steps: int = STEPS, name: str = "warmup-v10", seed: int = 0, extra: int = 30) -> RunSnapshot:
    """A warm-up in which d_acc rises to 0.77, with `extra` further metrics."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps)
    rise = 1 - np.exp(-t / 60)
    teacher = 2.9 * rise + rng.normal(0, 0.25, steps)
    student = -3.1 * rise + rng.normal(0, 0.3, steps)
    values: dict[str, np.ndarray] = {
        names.D_ACC: np.clip(0.5 + 0.27 * rise + rng.normal(0, 0.03, steps), 0, 1),
        names.TEACHER_MEAN: teacher,
        names.STUDENT_MEAN: student,
        names.SCORE_DIFF: teacher - student,
        names.TEACHER_STD: 1.4 + rng.normal(0, 0.1, steps),
        names.STUDENT_STD: 1.6 + rng.normal(0, 0.1, steps),
        names.SCORE_RANGE: 8 + rng.normal(0, 0.6, steps),
        names.D_LOSS: 0.69 - 0.25 * rise + rng.normal(0, 0.02, steps),
        names.GRAD_NORM: np.exp(rng.normal(0, 0.3, steps)),
        names.LEARNING_RATE: np.full(steps, 1e-6),
        names.RESPONSE_LENGTH: 400 + rng.normal(0, 20, steps),
    }
    for i in range(extra):
        values[f"{('actor', 'timing_s', 'perf')[i % 3]}/metric_{i:02d}"] = rng.normal(i, 1, steps)
    series = {tag: make_series(tag, value) for tag, value in values.items()}
    return RunSnapshot(
        path=Path("/runs") / name,
        name=name,
        version=steps,
        state="running",
        series=series,
        metrics={tag: tag for tag in values if "metric_" not in tag},
        sessions=(Session(0, 1, steps, NOW - steps * 132, "events.out.tfevents.1"),),
        seams=(Seam(300, "epoch", "epoch 2"),),
        sources=(
            SourceFacts("tb/events.out.tfevents.1", "events", 1_204_224, 1_204_224, 12_710, "live"),
            SourceFacts("train.log", "log", 2_500_000, 2_500_000, 12_710, "live"),
            SourceFacts("old/events.out.tfevents.0", "events", 88, 88, 0, "waiting", "nothing in it yet"),
        ),
        skipped=(Skipped("tb/events.out.tfevents.1", 48_211, 64, 1, "data CRC is wrong"),),
        profile="gad-fork",
        step=steps,
        total_steps=800,
        epoch_steps=300,
        pace=132.0,
        last_change=NOW - 3,
        progress=1.0,
        notices=("train.log and tb agree; the event file is shown",),
    )


def make_alerts() -> tuple[Alert, ...]:
    """One critical, two warnings, one resolved."""
    return (
        Alert(
            "generalisation-gap", "critical", "firing", names.D_ACC, 300, 310, None, 310, 0.769, 0.51,
            "d_acc is 0.769 in training and 0.458 (0.41-0.51) on the fixed set, since step 300.",
            "Press x: the causes, ranked. A random value head in the test script looks exactly like this.",
            evidence=(("train", 0.769), ("fixed set", 0.458), ("pairs", 400.0)),
        ),
        Alert(
            "step-change", "warning", "firing", names.D_ACC, 300, 304, None, 310, 0.99, 0.05,
            "d_acc jumped from 0.76 to 0.99 where epoch 2 began, since step 300.", "The critic saw these pairs before.",
        ),
        Alert(
            "gradient-spike", "warning", "firing", names.GRAD_NORM, 280, 281, None, 310, 9.1, 4.0,
            "The gradient norm is 9.1, 4 times its usual size, since step 280.", "Look at the batch of step 280.",
        ),
        Alert(
            "instability", "warning", "resolved", names.D_ACC, 100, 110, 130, 310, 0.1, 0.05,
            "d_acc swung three times as much as before, from step 100 to 130.", "Nothing to do.",
        ),
    )  # fmt: skip


def make_score(step: int, d_acc: float, half: float = 0.049) -> ScoreResult:
    """A score of 400 pairs."""
    return ScoreResult(
        step=step, checkpoint=f"/runs/warmup-v10/global_step_{step}/critic", checkpoint_fingerprint="ab12",
        fixed_set=FixedSetRef("fixed.jsonl", "0" * 64, 100, 400), recipe=Recipe().to_dict(), d_acc=d_acc,
        d_acc_ci=(d_acc - half, d_acc + half), d_acc_soft=d_acc, d_acc_ties_win=d_acc, tie_rate=0.0, pairs=400,
        prompts=100, teacher_score_mean=0.1, student_score_mean=0.0, teacher_score_std=1.0, student_score_std=1.0,
        score_diff=0.1, score_range=5.0, auc=d_acc, length_bias=0.05, values={"mean": 0.0}, warnings=(), tokens=90_000,
        seconds={"total": 12.0}, device="cpu", dtype="float32", versions={}, extra={},
        path=Path(f"/runs/warmup-v10/critictui/scores/step-{step:06}-ab12-0000000000-2051f22d35.json"),
    )  # fmt: skip


def make_checkpoint(step: int, state: str = "complete", reason: str = "", size: int = 29_500_000_000) -> Checkpoint:
    """A verl checkpoint of eight shards."""
    path = Path(f"/runs/warmup-v10/global_step_{step}/critic")
    return Checkpoint(path, step, "verl-fsdp", state, reason, size, (), NOW - 500, 8)  # type: ignore[arg-type]


def make_watched(run: RunSnapshot | None = None, alerts: tuple[Alert, ...] | None = None) -> WatchedRun:
    """A run with its judgement, checkpoints and scores."""
    alerts = make_alerts() if alerts is None else alerts
    verdict = "critical" if any(a.severity == "critical" for a in alerts) else "healthy"
    waiting = (NotEnoughData("drift", names.TEACHER_MEAN, "needs 40 more steps"),)
    checkpoints = (
        make_checkpoint(310),
        make_checkpoint(300),
        make_checkpoint(305, "writing", "2 of 8 shards are still written"),
        make_checkpoint(250, "deleted", "only the directory is left", 0),
    )
    scores = (make_score(250, 0.72), make_score(300, 0.741), make_score(310, 0.458))
    return WatchedRun(run or make_run(), Judgement(verdict, alerts, waiting), checkpoints, None, scores, scores)


def make_snapshot(*watched: WatchedRun, rows: int = 1, version: int = 1) -> Snapshot:
    """What the monitor posts."""
    runs = watched or (make_watched(),)
    found = [
        RunRow(w.run.path, w.run.name, w.run.state, w.run.step, 0.769, 5.85, w.judgement.verdict, NOW - 3) for w in runs
    ]
    found += [
        RunRow(Path(f"/runs/older-{i:02d}"), f"older-{i:02d}", "finished", 800, 0.7, 3.1, "healthy", NOW - 86400 * i)
        for i in range(1, rows - len(runs) + 1)
    ]
    return Snapshot(version, Path("/runs"), tuple(found), runs, 120, scanning=False, passed_over=2)


@pytest.fixture
def case_snapshot() -> Snapshot:
    """The case of the domain."""
    return make_snapshot()


@pytest.fixture
def snapshot_with() -> Callable[..., Snapshot]:
    """A snapshot with fields of its main run's judgement, run or watched run replaced."""

    def made(**changes: object) -> Snapshot:
        watched = make_watched()
        run_fields = {f.name for f in dataclasses.fields(RunSnapshot)}
        run = dataclasses.replace(watched.run, **{k: v for k, v in changes.items() if k in run_fields})
        rest = {k: v for k, v in changes.items() if k not in run_fields}
        return make_snapshot(dataclasses.replace(watched, run=run, **rest))

    return made


class RecordingWatcher:
    """Stands where the monitor stands and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def stop(self) -> None:
        self.calls.append(("stop",))

    def select(self, path: Path) -> None:
        self.calls.append(("select", path))

    def overlay(self, paths: tuple[Path, ...]) -> None:
        self.calls.append(("overlay", *paths))

    def acknowledge(self, key: str) -> None:
        self.calls.append(("acknowledge", key))

    def snooze(self, key: str, seconds: float) -> None:
        self.calls.append(("snooze", key, seconds))

    def wake(self) -> None:
        self.calls.append(("wake",))


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes what belongs to the person who runs it; every test has the same terminal and clock."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()


@pytest.fixture
def make_app() -> Callable[..., CriticApp]:
    """An app without threads, its clock stopped."""

    def made(**settings: object) -> CriticApp:
        app = CriticApp(Path("/runs"), Config(**settings), watching=False, clock=NOW)  # type: ignore[arg-type]
        app.monitor = RecordingWatcher()
        return app

    return made


@pytest.fixture
def showing(make_app: Callable[..., CriticApp]) -> Callable[..., AbstractAsyncContextManager[Pilot[None]]]:
    """`async with showing(snapshot, size) as pilot`: an app that has painted this snapshot, and raises its errors."""

    @asynccontextmanager
    async def shown(
        snapshot: Snapshot | None = None,
        size: tuple[int, int] = (80, 24),
        app: CriticApp | None = None,
        **settings: object,
    ) -> AsyncIterator[Pilot[None]]:
        app = app or make_app(**settings)
        async with app.run_test(size=size) as pilot:
            app.post_message(SnapshotTaken(snapshot or make_snapshot()))
            await settled(pilot)
            yield pilot
            await settled(pilot)
            assert app.errors == 0, crash_log_path().read_text()

    return shown


async def settled(pilot: Pilot[None]) -> None:
    """Every message is handled, every thread is done, and what they changed is painted.

    Not `pilot.pause()`: it waits until the process is idle, which on a busy machine takes a second each time.
    """
    app = pilot.app
    quiet = 0
    for _ in range(4000):
        await asyncio.sleep(0.001)
        pumps = [app, *app._registry]
        waiting = any(pump.message_queue_size or pump._next_callbacks for pump in pumps if pump._running)
        painting = any(s._dirty_widgets or s._layout_required or s._callbacks for s in app.screen_stack[-1:])
        working = any(worker.is_running for worker in app.workers)
        quiet = 0 if waiting or painting or working else quiet + 1
        if quiet >= 5:
            return
    raise TimeoutError("the screen does not settle")


def screen_text(app: CriticApp) -> str:
    """What the screen shows, line by line."""
    width, height = app.size
    rows = app.screen._compositor.render_strips(app.size) if width and height else []
    return "\n".join("".join(segment.text for segment in row).rstrip() for row in rows)


@pytest.fixture
def text_of() -> Callable[[CriticApp], str]:
    """What the screen shows, line by line."""
    return screen_text


@pytest.fixture
def settle() -> Callable[[Pilot[None]], Awaitable[None]]:
    """Wait until everything that was asked for is on the screen."""
    return settled


@pytest.fixture
def made_of() -> Callable[..., Snapshot]:
    """`make_snapshot`, for tests that want other runs."""
    return make_snapshot


@pytest.fixture
def series_of() -> Callable[..., Series]:
    """`series_of(tag, seed)`: forty points; the same seed gives the same values."""

    def made(tag: str, seed: int) -> Series:
        return make_series(tag, np.random.default_rng(seed).normal(0, 1, 40))

    return made
