"""The app on the real monitor and real files: what is written appears, and what was chosen is remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from critictui.config import Config
from critictui.monitor.monitor import Monitor
from critictui.tui.app import CriticApp
from critictui.tui.chart.widget import Chart
from critictui.tui.screens.runs import RunsScreen


def step_line(step: int) -> str:
    """A step of verl's console log."""
    return f"step:{step} - critic/d_acc:{0.5 + step / 500:.3f} - critic/score_diff:{step / 20:.3f} - critic/lr:1e-06\n"


def make_run(folder: Path, steps: int) -> Path:
    """A run directory that holds a console log."""
    folder.mkdir(parents=True)
    (folder / "train.log").write_text("".join(step_line(n) for n in range(1, steps + 1)))
    return folder


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.005)


def step_of(app: CriticApp) -> int | None:
    """The step that the header may show."""
    return app.snapshot.main.run.step if app.snapshot is not None and app.snapshot.main is not None else None


def has_charts(app: CriticApp) -> bool:
    """A curve is set on the first panel."""
    return any(chart.data.lines for chart in app.screen.query(Chart))


async def test_a_step_that_is_appended_appears(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 20)
    app = CriticApp(run, Config())
    async with app.run_test(size=(120, 36)):
        await until(lambda: step_of(app) == 20 and has_charts(app))
        with (run / "train.log").open("a") as file:
            file.write(step_line(21))
        await until(lambda: step_of(app) == 21)
        assert app.errors == 0


async def test_what_was_read_before_the_screen_was_there_is_in_its_first_frame(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 20)
    monitor = Monitor(run, Config())
    monitor.start()
    await until(lambda: monitor.first is not None and monitor.first.main is not None)
    app = CriticApp(run, Config(), monitor)
    async with app.run_test(size=(120, 36)):
        assert step_of(app) == 20
        assert has_charts(app)
        with (run / "train.log").open("a") as file:
            file.write(step_line(21))
        await until(lambda: step_of(app) == 21)
        assert app.errors == 0


async def test_a_run_directory_that_is_still_empty_fills(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    app = CriticApp(run, Config())
    async with app.run_test():
        await until(lambda: app.snapshot is not None)
        (run / "train.log").write_text(step_line(1) + step_line(2))
        await until(lambda: step_of(app) == 2)
        assert app.errors == 0


async def test_of_several_runs_one_is_chosen_from_a_list(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "one", 5)
    make_run(tmp_path / "runs" / "two", 7)
    app = CriticApp(tmp_path / "runs", Config())
    async with app.run_test() as pilot:
        await until(lambda: isinstance(app.screen, RunsScreen) and len(app.snapshot.rows if app.snapshot else ()) == 2)
        assert app.snapshot is not None
        names = [row.name for row in app.snapshot.rows]
        await pilot.press("home", *["down"] * names.index("one"), "enter")
        await until(lambda: step_of(app) == 5)


async def press_and_leave(app: CriticApp, *keys: str) -> None:
    """Start, press, leave."""
    async with app.run_test(size=(120, 36)) as pilot:
        await until(lambda: has_charts(app))
        await pilot.press(*keys)


async def test_smoothing_axes_and_pins_are_there_the_next_time(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 20)
    first = CriticApp(run, Config())
    await press_and_leave(first, "s", "y", "slash", *"lr", "enter", "p")
    again = CriticApp(run, Config())
    assert again.view.smoothing > 0.9
    assert again.view.log_y
    assert again.state.pins == ("critic/lr",)
    other = CriticApp(make_run(tmp_path / "other", 3), Config())
    assert other.state.pins == ()


async def test_a_theme_that_was_chosen_lives_until_another_is_configured(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 20)
    app = CriticApp(run, Config())
    async with app.run_test() as pilot:
        app.theme = "critic-light"
        await pilot.pause()
    assert CriticApp(run, Config()).theme == "critic-light"
    assert CriticApp(run, Config(theme="ember")).theme == "ember"


async def test_a_monitor_that_cannot_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("no threads left")

    monkeypatch.setattr("critictui.monitor.monitor.Monitor.start", fail)
    app = CriticApp(make_run(tmp_path / "run", 2), Config())
    async with app.run_test():
        await until(lambda: app.errors > 0)
        assert app.is_running
