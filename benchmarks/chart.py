"""What a frame of charts costs: six panels of two lines each, against the two other chart widgets for Textual.

Each contender runs in one headless app of 120 x 36 cells and draws the same lines: its data are set anew, then all
rows of all panels are rendered. Figures are CPU milliseconds of this process, the median over repetitions. The peers
(textual-plotext, textual-plot) are no dependencies of the project: where they are not installed their row says so.
"""

from __future__ import annotations

import asyncio
import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from textual.app import App, ComposeResult
from textual.containers import Grid
from textual.geometry import Region
from textual.widget import Widget

from critictui.run.dtypes import FloatArray
from critictui.run.pyramid import Pyramid
from critictui.run.series import Series
from critictui.tui.chart.model import ChartData, Line, View
from critictui.tui.chart.widget import Chart

PANELS = 6
SIZE = (120, 36)
Lines = Sequence[FloatArray]
Feed = Callable[[Widget, Lines, int], None]


class Panels(App[None]):
    """Six of one widget."""

    CSS = "Grid { grid-size: 3 2; } Chart, PlotextPlot, PlotWidget { border: round gray; }"

    def __init__(self, make: Callable[[], Widget]) -> None:
        super().__init__()
        self.panels = [make() for _ in range(PANELS)]

    def compose(self) -> ComposeResult:
        """A grid of them."""
        with Grid():
            yield from self.panels


def series_of(value: FloatArray) -> Series:
    """A series as the store hands it out; its pyramid is warm after the first frame, as in a live run."""
    n = len(value)
    return Series("t", "t", "events", "f", np.arange(n), np.arange(n) * 60.0, value, np.zeros(n, np.int64), Pyramid())


def lines_of(n: int) -> Lines:
    """A teacher and a student that part, with noise."""
    rng = np.random.default_rng(0)
    rise = 3 * (1 - np.exp(-np.linspace(0, 5, n)))
    return rise + rng.normal(0, 0.6, n), -rise + rng.normal(0, 0.6, n)


def chart_feed() -> Feed:
    """Ours: one `ChartData`; the series are made once, as the store does, and an equal frame would cost nothing."""
    made: dict[int, ChartData] = {}

    def feed(widget: Widget, lines: Lines, turn: int) -> None:
        assert isinstance(widget, Chart)
        if len(lines[0]) not in made:
            teacher, student = (series_of(line) for line in lines)
            both = (Line("teacher", teacher, "teacher"), Line("student", student, "student"))
            made[len(lines[0])] = ChartData("score mean", both)
        widget.set_data(replace(made[len(lines[0])], title=f"score mean {turn}"))

    return feed


def plotext_feed(widget: Widget, lines: Lines, turn: int) -> None:
    """textual-plotext."""
    plot = widget.plt  # type: ignore[attr-defined]
    plot.clear_data()
    for line in lines:
        plot.plot(line.tolist(), marker="braille")
    plot.title(f"score mean {turn}")
    widget.refresh()


def plot_feed(widget: Widget, lines: Lines, turn: int) -> None:
    """textual-plot."""
    from textual_plot import HiResMode  # type: ignore[import-not-found]

    widget.clear()  # type: ignore[attr-defined]
    for line in lines:
        widget.plot(np.arange(len(line)), line, hires_mode=HiResMode.BRAILLE)  # type: ignore[attr-defined]
    widget.refresh()


async def frame_cost(make: Callable[[], Widget], feed: Feed, n: int, repetitions: int) -> float:
    """Median CPU milliseconds to feed and render all panels."""
    lines, costs = lines_of(n), []
    async with Panels(make).run_test(size=SIZE) as pilot:
        app = pilot.app
        assert isinstance(app, Panels)
        await pilot.pause()
        for turn in range(repetitions + 1):
            start = time.process_time()
            for panel in app.panels:
                feed(panel, lines, turn)
            await pilot.pause()
            for panel in app.panels:
                panel.render_lines(Region(0, 0, *panel.outer_size))
            costs.append((time.process_time() - start) * 1000)
    return statistics.median(costs[1:])


async def cursor_cost() -> float:
    """Median CPU milliseconds to move the cursor on all six panels of 2 x 10,000 points."""
    lines, costs = lines_of(10_000), []
    feed = chart_feed()
    async with Panels(Chart).run_test(size=SIZE) as pilot:
        app = pilot.app
        assert isinstance(app, Panels)
        for panel in app.panels:
            feed(panel, lines, 0)
        await pilot.pause()
        for turn in range(20):
            start = time.process_time()
            for panel in app.panels:
                assert isinstance(panel, Chart)
                panel.view = View(cursor_step=5000 + turn * 97)
                panel.render_lines(Region(0, 0, *panel.outer_size))
            costs.append((time.process_time() - start) * 1000)
    return statistics.median(costs[1:])


def _usable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def peers() -> dict[str, tuple[Callable[[], Widget], Feed] | None]:
    """The other chart widgets, or None where they are not installed."""
    found: dict[str, tuple[Callable[[], Widget], Feed] | None] = {"textual-plotext": None, "textual-plot": None}
    if _usable("textual_plotext"):
        from textual_plotext import PlotextPlot  # type: ignore[import-not-found]

        found["textual-plotext"] = (PlotextPlot, plotext_feed)
    if _usable("textual_plot"):
        from textual_plot import PlotWidget

        found["textual-plot"] = (PlotWidget, plot_feed)
    return found


def main() -> None:
    """Print the table."""
    print(f"six panels of two lines, {SIZE[0]}x{SIZE[1]} cells, CPU ms a frame")
    ours = {}
    for n in (1_000, 10_000, 100_000, 1_000_000):
        ours[n] = asyncio.run(frame_cost(Chart, chart_feed(), n, 12))
        print(f"  critictui        2 x {n:>9,} points  {ours[n]:8.1f}")
    print(f"  critictui        cursor moved          {asyncio.run(cursor_cost()):8.1f}")
    for name, peer in peers().items():
        if peer is None:
            print(f"  {name:16} not installed")
            continue
        cost = asyncio.run(frame_cost(*peer, 10_000, 3))
        print(f"  {name:16} 2 x    10,000 points  {cost:8.1f}   {cost / ours[10_000]:5.1f} times ours")


if __name__ == "__main__":
    main()
