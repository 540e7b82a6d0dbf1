"""`critictui report`: a run that was read, scored and judged goes in, one page of HTML comes out.

The page stands alone: no script, no file beside it, nothing from a network. Whatever the run wrote is text on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from critictui import __version__
from critictui.config import Config
from critictui.health.alert import Judgement
from critictui.reports.export import said_of_losses
from critictui.reports.pictures import Picture, PictureError, main_picture, tag_picture
from critictui.reports.written import renamed
from critictui.run.facts import RunSnapshot, directory_of
from critictui.run.panels import MAIN, interesting
from critictui.run.read_once import refuse_empty
from critictui.run.series import Series
from critictui.run.text import sanitise, sanitise_line
from critictui.run.training_config import find_training_config
from critictui.scoring.comparison import Comparisons, comparison_words
from critictui.scoring.pairs import Pair, pairs_of_rows
from critictui.scoring.recipe import ScoringError, preset_name, recipe_from
from critictui.scoring.result import ScoreResult, step_or_first
from critictui.scoring.rows import read_rows
from critictui.scoring.usual_scores import usual_scores

OTHERS = 8
"""Charts beside the main ones."""
MOST_METRICS = 500
MOST_PAIRS = 3
TEXT = 1500
"""Characters of a prompt or a response on the page."""
_VERDICTS = {
    "healthy": "Nothing is wrong, as far as the rules can see.",
    "warning": "Something needs a look.",
    "critical": "The critic is in trouble.",
    "unknown": "There is not enough to judge yet.",
}


@dataclass(frozen=True, slots=True)
class _Metric:
    tag: str
    source: str
    points: int
    steps: str
    last: str
    lowest: str
    highest: str
    non_finite: int


@dataclass(frozen=True, slots=True)
class _ScoreLine:
    score: ScoreResult
    step: str
    recipe: str
    own: bool
    """Whether it is by the run's own recipe on its usual set."""
    against: str
    warnings: tuple[str, ...]


def write_page(
    output: Path, run: RunSnapshot, scores: Sequence[ScoreResult], judgement: Judgement, config: Config
) -> int:
    """Write the page; returns its charts. Raises RunError, PictureError, WriteError.

    scores: all of the run's. On charts, and with their pairs, are its own alone (`usual_scores`).
    """
    refuse_empty(run.path, run)
    own = usual_scores(sorted(scores, key=step_or_first), directory_of(run), config)
    pictures = _pictures(run, own, judgement)
    text = page(run, scores, own, judgement, pictures)
    with renamed(output) as part:
        part.write_text(text, encoding="utf-8", errors="replace")
    return len(pictures)


def page(
    run: RunSnapshot,
    scores: Sequence[ScoreResult],
    own: Sequence[ScoreResult],
    judgement: Judgement,
    pictures: Sequence[Picture] = (),
) -> str:
    """The page's HTML. own: those among the scores that are the run's own, oldest first. Raises PictureError without
    Jinja.
    """
    lines = _score_lines(Comparisons().of(tuple(sorted(scores, key=step_or_first))), own)
    pairs, unread = _pairs(own)
    tags = sorted(run.series)
    text: str = _template().render(
        version=__version__,
        made=_stamp(datetime.now(UTC).timestamp()),
        run=run,
        step=_progress(run),
        changed=_stamp(run.last_change),
        judgement=judgement,
        verdict=_VERDICTS[judgement.verdict],
        pictures=pictures,
        lines=lines,
        pairs=pairs,
        pairs_of=_step_words(own[-1]) if own else "",
        unread=unread,
        settings=_settings(run),
        metrics=[_metric(run.series[tag]) for tag in tags[:MOST_METRICS]],
        more_metrics=max(len(tags) - MOST_METRICS, 0),
        losses=said_of_losses(run.skipped),
    )
    return text


def _progress(run: RunSnapshot) -> str:
    if run.step is None:
        return "no step yet"
    return f"step {run.step} of {run.total_steps}" if run.total_steps else f"step {run.step}"


def _template() -> Any:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise PictureError("a page needs matplotlib and Jinja: pip install 'critictui[report]'") from error
    loader = PackageLoader("critictui.reports", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        line=lambda text: sanitise_line(str(text), 600), text=lambda text: sanitise(str(text), TEXT), number=_number,
        percent=_percent,
    )  # fmt: skip
    return environment.get_template("page.html.jinja")


def _pictures(run: RunSnapshot, scores: Sequence[ScoreResult], judgement: Judgement) -> list[Picture]:
    specs = [spec for spec in MAIN if any(run.metric(name) is not None for name, _, _ in spec.metrics)]
    shown = {tag for spec in specs for name, _, _ in spec.metrics if (tag := run.metrics.get(name)) is not None}
    judged = [alert.metric for alert in judgement.alerts]
    wanted = dict.fromkeys(tag for name in judged if (tag := run.metrics.get(name, name)) in run.series)
    wanted.update(dict.fromkeys(interesting(run, shown, OTHERS)))
    others = [tag for tag in wanted if tag not in shown][:OTHERS]
    alerts = judgement.alerts
    return [
        *(main_picture(run, spec, alerts, scores) for spec in specs),
        *(tag_picture(run, tag, alerts) for tag in others),
    ]


def _score_lines(scores: Sequence[ScoreResult], own: Sequence[ScoreResult]) -> list[_ScoreLine]:
    """Newest first, each against the one before it on the same pairs."""
    series = {score.series for score in own}
    return [
        _ScoreLine(
            score, _step_words(score), _recipe(score), score.series in series, comparison_words(score), score.warnings
        )
        for score in reversed(scores)
    ]


def _step_words(score: ScoreResult) -> str:
    return "step ?" if score.step is None else f"step {score.step}"


def _recipe(score: ScoreResult) -> str:
    recipe = recipe_from(score.recipe)
    return preset_name(recipe) or recipe.id


def _pairs(scores: Sequence[ScoreResult]) -> tuple[list[Pair], str]:
    """The pairs of the newest score that the critic gets most wrong, and why there are none."""
    if not scores:
        return [], ""
    try:
        rows = read_rows(scores[-1])
    except ScoringError as error:
        return [], str(error)
    return [pair for pair in pairs_of_rows(rows) if pair.verdict != "no score"][:MOST_PAIRS], ""


def _settings(run: RunSnapshot) -> list[tuple[str, str]]:
    found = find_training_config(directory_of(run))
    said: list[tuple[str, str]] = []
    if run.profile:
        said.append(("trainer", f"{run.profile} (by {run.profile_by})" if run.profile_by else run.profile))
    if found is not None:
        values = ((f.name, getattr(found, f.name)) for f in fields(found))
        said += [(name, _said(value)) for name, value in values if value not in (None, ())]
    return said


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else str(value)


def _metric(series: Series) -> _Metric:
    bounds = series.pyramid.bounds(series.value)
    last = series.last()
    n = len(series)
    finite = int(np.isfinite(series.value).sum())
    return _Metric(
        series.tag, series.source, n, f"{series.step[0]} to {series.step[-1]}" if n else "-",
        _number(last[1]) if last is not None else "-",
        _number(bounds[0]) if bounds else "-", _number(bounds[1]) if bounds else "-", n - finite,
    )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.4g}"


def _percent(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else str(value)


def _stamp(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds) or seconds <= 0:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
