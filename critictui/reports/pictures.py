"""Charts of a page: series go in, SVG comes out. The same panels as the dashboard's, for a reader without one."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from critictui.errors import InputError
from critictui.health.alert import Alert, threshold_of
from critictui.run.dtypes import FloatArray
from critictui.run.facts import RunSnapshot
from critictui.run.panels import PanelSpec, Reference, Role
from critictui.run.series import Series
from critictui.run.text import sanitise_line
from critictui.scoring.result import ScoreResult

COLUMNS = 600
"""Across a chart: a longer series is drawn as the mean and the range of that many stretches of it."""
TREND = 20
"""Points that the bold line is the mean of, where each point is drawn too."""
_LARGEST = 1e30
"""Farther values have no place on an axis of floats; they are counted below the chart."""
_COLOURS: Mapping[Role, str] = {
    "teacher": "#0072b2", "student": "#d55e00", "train": "#009e73", "fixed": "#aa3377", "main": "#0072b2",
    "second": "#d55e00", "third": "#009e73", "fourth": "#aa3377", "fifth": "#b8860b", "sixth": "#555555",
}  # fmt: skip
"""Okabe and Ito's, told apart by every eye."""
_SEVERITIES = {"info": "#777777", "warning": "#c77700", "critical": "#c00000"}
_STYLE = {
    "svg.fonttype": "none", "text.parse_math": False, "axes.formatter.useoffset": False, "font.size": 8.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "axes.axisbelow": True,
    "legend.frameon": False, "axes.edgecolor": "#888888", "xtick.color": "#444444", "ytick.color": "#444444",
}  # fmt: skip


class PictureError(InputError):
    """No chart can be drawn here; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart and what is said of it."""

    title: str
    svg: str
    """One `<svg>` element without a script or a link."""
    values: str
    """The newest value of each curve, in words."""
    help: str
    left_out: str
    """What is not on the chart and why; empty where everything is."""


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """One curve, cut into at most COLUMNS stretches."""

    x: FloatArray
    middle: FloatArray
    low: FloatArray
    high: FloatArray
    every_point: bool


def main_picture(run: RunSnapshot, spec: PanelSpec, alerts: Sequence[Alert], scores: Sequence[ScoreResult]) -> Picture:
    """A panel with a meaning. Raises PictureError without matplotlib."""
    curves = [(label, role, s) for name, label, role in spec.metrics if (s := run.metric(name)) is not None]
    known = {name for name, _, _ in spec.metrics} | {s.tag for _, _, s in curves}
    asides = [(label, s) for name, label, _ in spec.asides if (s := run.metric(name)) is not None]
    return _picture(run, spec.title, curves, _about(alerts, known), scores=scores, spec=spec, asides=asides)


def tag_picture(run: RunSnapshot, tag: str, alerts: Sequence[Alert]) -> Picture:
    """One metric. Raises PictureError without matplotlib."""
    series = run.series[tag]
    label = tag.rsplit("/", 1)[-1] or tag
    return _picture(run, tag, [(label, "main", series)], _about(alerts, {tag, series.name}))


def _about(alerts: Sequence[Alert], metrics: set[str]) -> list[Alert]:
    return [alert for alert in alerts if alert.metric in metrics and alert.fired_step is not None]


def _picture(
    run: RunSnapshot,
    title: str,
    curves: Sequence[tuple[str, Role, Series]],
    alerts: Sequence[Alert],
    *,
    scores: Sequence[ScoreResult] = (),
    spec: PanelSpec | None = None,
    asides: Sequence[tuple[str, Series]] = (),
) -> Picture:
    title = sanitise_line(title, 120)
    figure_class = _matplotlib()
    with _styled(title):
        figure = figure_class(figsize=(6.6, 2.7), layout="constrained")
        axes = figure.add_subplot()
        left_out = []
        heights: list[tuple[FloatArray, FloatArray]] = []
        for label, role, series in curves:
            drawn, far = _cut(series)
            _draw(axes, drawn, sanitise_line(label, 40), _COLOURS[role])
            heights.append((drawn.low, drawn.high))
            if far:
                left_out.append(f"{far:,} value{'' if far == 1 else 's'} of {label} that no axis holds (nan, inf)")
        if spec is not None and spec.fixed:
            heights.append(_draw_scores(axes, scores, spec.fixed))
        outside = _set_heights(axes, *map(np.concatenate, zip(*heights, strict=True))) if heights else 0
        if outside:
            left_out.append(f"{outside:,} far point{'' if outside == 1 else 's'} beyond the edge")
        references = spec.references if spec is not None else ()
        _draw_marks(axes, run, alerts, references)
        if spec is not None and spec.percent:
            from matplotlib.ticker import PercentFormatter

            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("step")
        if len(axes.get_legend_handles_labels()[1]) > 1:
            axes.legend(loc="best", ncols=3, fontsize=8)
        svg = _svg(figure)
    values = ", ".join(
        f"{sanitise_line(label, 40)} {_last(series)}" for label, series in (*((c[0], c[2]) for c in curves), *asides)
    )
    return Picture(title, svg, values, spec.help if spec is not None else "", "; ".join(left_out))


def _matplotlib() -> Any:
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # fonts that it looks for in vain are no concern of ours
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PictureError("a page needs matplotlib and Jinja: pip install 'critictui[report]'") from error
    return Figure


@contextmanager
def _styled(salt: str) -> Iterator[None]:
    """Our style for one figure, and no word of a glyph that some font has not."""
    import matplotlib as mpl

    # ids of two charts on a page must differ
    with warnings.catch_warnings(action="ignore"), mpl.rc_context({**_STYLE, "svg.hashsalt": salt}):
        yield


def _cut(series: Series) -> tuple[_Drawn, int]:
    """The curve, and how many of its values have no place on a chart."""
    step, value = series.step.astype(np.float64), series.value
    n = len(value)
    if n <= COLUMNS:
        kept = np.where(np.abs(value) <= _LARGEST, value, np.nan)
        return _Drawn(step, _trailing_mean(kept), kept, kept, every_point=True), int(n - np.isfinite(kept).sum())
    edges = np.linspace(0, n, COLUMNS + 1).astype(np.int64)
    envelope = series.pyramid.envelope(value, edges)
    far = (np.abs(envelope.min) > _LARGEST) | (np.abs(envelope.max) > _LARGEST)
    low, middle, high = (np.where(far, np.nan, part) for part in (envelope.min, envelope.mean, envelope.max))
    lost = int(envelope.non_finite.sum() + envelope.count[far].sum())
    return _Drawn(step[(edges[:-1] + edges[1:]) // 2], middle, low, high, every_point=False), lost


def _trailing_mean(values: FloatArray) -> FloatArray:
    """Of the finite ones among the last TREND values; NaN where there is none."""
    finite = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(finite)])
    first = np.maximum(np.arange(len(values)) + 1 - TREND, 0)
    many = count[1:] - count[first]
    return np.where(finite, (total[1:] - total[first]) / np.maximum(many, 1), np.nan)


def _draw(axes: Any, curve: _Drawn, label: str, colour: str) -> None:
    label = f"\u200b{label}" if label.startswith("_") else label  # one that begins so is left out of a legend
    if not curve.every_point:
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(curve.x, curve.middle, color=colour, linewidth=1.6, label=label)
    elif len(curve.x) < 2 * TREND or _is_smooth(curve.low):
        axes.plot(
            curve.x,
            curve.low,
            color=colour,
            linewidth=1.6,
            marker="." if len(curve.x) < 2 * TREND else "",
            markersize=4,
            label=label,
        )
    else:
        axes.plot(curve.x, curve.low, color=colour, linewidth=0.7, alpha=0.4)
        axes.plot(curve.x, curve.middle, color=colour, linewidth=1.8, label=label)


def _is_smooth(values: FloatArray) -> bool:
    """Whether most points lie so close to the one before that a mean would only hide where it turns."""
    finite = values[np.isfinite(values)]
    reach = float(np.ptp(finite)) if len(finite) else 0.0
    return len(finite) < 2 or float(np.median(np.abs(np.diff(finite)))) <= 0.01 * reach


def _draw_scores(axes: Any, scores: Sequence[ScoreResult], value: str) -> tuple[FloatArray, FloatArray]:
    """Fixed-set scores with their intervals, never joined; returns the ends of these."""
    found = []
    for score in scores:
        middle = score.d_acc if value == "d_acc" else score.score_diff
        if score.step is not None and np.isfinite(middle):
            found.append((score.step, middle, *(score.interval if value == "d_acc" else score.score_diff_interval)))
    if not found:
        return np.zeros(0), np.zeros(0)
    step, middle, low, high = np.nan_to_num(np.array(found, np.float64).T)
    reach = np.maximum(np.stack([middle - low, high - middle]), 0.0)
    axes.errorbar(
        step, middle, yerr=reach, fmt="D", color=_COLOURS["fixed"], markersize=4, capsize=2.5, linewidth=1.2,
        label="fixed set", zorder=4,
    )  # fmt: skip
    return low, high


def _set_heights(axes: Any, lows: FloatArray, highs: FloatArray) -> int:
    """A few far points must not flatten the rest; returns how many are beyond the edge."""
    finite = np.concatenate([lows[np.isfinite(lows)], highs[np.isfinite(highs)]])
    if len(finite) < 50:
        return 0
    low, high = np.percentile(finite, [2, 98])
    span = high - low
    if not span or finite.max() - finite.min() < 8 * span:
        return 0
    bottom, top = max(low - span, finite.min()), min(high + span, finite.max())
    axes.set_ylim(bottom - 0.05 * span, top + 0.05 * span)
    return int((highs > top).sum() + (lows < bottom).sum())


def _draw_marks(axes: Any, run: RunSnapshot, alerts: Sequence[Alert], references: Sequence[Reference]) -> None:
    left, right = axes.get_xlim()
    for reference in references:
        axes.axhline(reference.value, color="#888888", linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(reference.label, (right, reference.value), fontsize=7, color="#666666", ha="right", va="bottom")
    for seam in run.seams:
        if left <= seam.step <= right:
            axes.axvline(seam.step, color="#888888", linewidth=0.8, linestyle=":" if seam.kind == "epoch" else "-")
            axes.annotate(
                sanitise_line(seam.label, 24), (seam.step, 0.01), xycoords=("data", "axes fraction"), fontsize=7,
                color="#666666", rotation=90, ha="right", va="bottom",
            )  # fmt: skip
    bottom, top = axes.get_ylim()
    for place, alert in enumerate(alerts):
        colour, fired = _SEVERITIES[alert.severity], float(alert.fired_step or 0)
        until = float(alert.resolved_step) if alert.resolved_step is not None else right
        axes.axvspan(fired, max(until, fired), color=colour, alpha=0.08, linewidth=0)
        axes.axvline(fired, color=colour, linewidth=1.1)
        axes.annotate(
            alert.rule, (fired, 0.99 - 0.08 * (place % 4)), xycoords=("data", "axes fraction"), fontsize=7,
            color=colour, va="top", xytext=(2, 0), textcoords="offset points",
        )  # fmt: skip
        threshold = threshold_of(alert) if alert.state == "firing" else None
        if threshold is not None and bottom <= threshold <= top:
            axes.axhline(threshold, color=colour, linewidth=0.9, linestyle="--")
    axes.set_xlim(left, right)


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _last(series: Series) -> str:
    last = series.last()
    return "-" if last is None else f"{last[1]:.4g} at step {last[0]}"
