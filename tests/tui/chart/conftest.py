"""Series and lines for the charts under test, and the styles they are drawn in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from critictui.run.pyramid import Pyramid
from critictui.run.series import Series
from critictui.tui.chart.glyphs import ASCII, UNICODE
from critictui.tui.chart.layers import Style
from critictui.tui.chart.model import Line

MakeSeries = Callable[..., Series]
MakeLine = Callable[..., Line]


def _series(
    value: Sequence[float] | np.ndarray, step: Sequence[int] | None = None, wall: Sequence[float] | None = None
) -> Series:
    values = np.asarray(value, np.float64)
    steps = np.arange(len(values), dtype=np.int64) if step is None else np.asarray(step, np.int64)
    times = 1.7e9 + 60.0 * np.arange(len(values)) if wall is None else np.asarray(wall, np.float64)
    session = np.zeros(len(values), np.int64)
    return Series("tag", "tag", "events", "file", steps, times, values, session, Pyramid())


@pytest.fixture(name="series")
def series_fixture() -> MakeSeries:
    """A function: values, and steps and wall times if they matter, to a series."""
    return _series


@pytest.fixture(name="line")
def line_fixture() -> MakeLine:
    """A function: as `series`, but a line with a label."""

    def make(value: Sequence[float] | np.ndarray, label: str = "teacher", **more: object) -> Line:
        keys = {"step", "wall"}
        series = _series(value, **{k: v for k, v in more.items() if k in keys})  # type: ignore[arg-type]
        return Line(label, series, **{k: v for k, v in more.items() if k not in keys})  # type: ignore[arg-type]

    return make


@pytest.fixture(params=["tint", "dots", "ascii"])
def style(request: pytest.FixtureRequest) -> Style:
    """Every way a picture is drawn."""
    return {
        "tint": Style(UNICODE),
        "dots": Style(UNICODE, tint=False, mono=True),
        "ascii": Style(ASCII, tint=False, mono=True),
    }[request.param]
