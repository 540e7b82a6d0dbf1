"""Score, diagnose and explain with the real worker on a real run, from the key to the answer on the screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from critictui.config import Config
from critictui.scoring.results import ResultsFolder
from critictui.tui.app import CriticApp
from critictui.tui.evaluate import bench_of
from critictui.tui.screens.diagnosis import DiagnosisScreen
from critictui.tui.screens.explanation import ExplanationScreen
from critictui.tui.screens.pairs import PairsScreen
from critictui.tui.screens.score_dialog import ScoreDialog
from critictui.tui.screens.scores import ScoresScreen

pytestmark = pytest.mark.torch


async def until(pilot: Pilot[None], condition: Callable[[], bool], seconds: float = 240.0) -> None:
    """Wait for a condition while app and worker go on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        assert isinstance(pilot.app, CriticApp)
        assert pilot.app.errors == 0
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)


def state_of(run: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of everything in a run that is not ours."""
    files = [p for p in run.rglob("*") if p.is_file() and p.relative_to(run).parts[0] != "critictui"]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


async def test_a_run_is_scored_diagnosed_and_explained_by_keys(
    demo_copy: Callable[..., Path], text_of: Callable[[CriticApp], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = demo_copy("healthy")
    before = state_of(run)
    app = CriticApp(run, Config())
    async with app.run_test(size=(140, 44)) as pilot:
        await until(pilot, lambda: "not scored" in text_of(app) and "complete" in text_of(app))

        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ScoreDialog) and app.screen.can_start())
        await pilot.press("enter")
        await until(pilot, lambda: bench_of(app).last is not None)
        assert bench_of(app).last[1].good, bench_of(app).last  # type: ignore[index]
        saved = ResultsFolder(run).poll()
        assert len(saved) == 1
        figure = f"{saved[0].d_acc:.3g}"
        await until(pilot, lambda: app.snapshot is not None and len(app.snapshot.main.scores) == 1)  # type: ignore[union-attr]
        await until(pilot, lambda: any(" d_acc " in row and figure in row for row in text_of(app).splitlines()))

        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, ScoresScreen) and f"{saved[0].pairs} pairs" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PairsScreen) and f"{saved[0].pairs} pairs" in text_of(app))
        await pilot.press("escape", "escape")

        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, DiagnosisScreen) and "numbers" in text_of(app))
        await until(pilot, lambda: app.screen.inquiry.stage == "done")  # type: ignore[attr-defined]
        text = text_of(app)
        assert app.screen.inquiry.problem == ""  # type: ignore[attr-defined]
        assert "behaviour" in text
        assert "so far from its files alone" not in text
        await pilot.press("escape")

        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ExplanationScreen) and "ruled-out" in text_of(app))
        await until(pilot, lambda: app.screen.inquiry.stage == "done")  # type: ignore[attr-defined]
        assert app.screen.inquiry.problem == ""  # type: ignore[attr-defined]
        assert "Training logged d_acc" in text_of(app)
        await pilot.press("t")
        app.focused.value = "d_acc=0.47 margin=0.0 teacher=0.01 student=0.0 pairs=400"  # type: ignore[union-attr]
        await pilot.press("enter")
        await until(pilot, lambda: "against d_acc=0.47" in text_of(app))
        assert app.screen.inquiry.stage == "done"  # type: ignore[attr-defined]
        top = app.screen.inquiry.explanation.causes[0]  # type: ignore[attr-defined]
        assert top.verdict in {"likely", "proven"}
    assert state_of(run) == before
