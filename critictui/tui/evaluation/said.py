"""Scores in words and columns: results in, Content out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from textual.content import Content

from critictui.durations import duration
from critictui.scoring.comparison import compared, number_in, p_words, pair_in, points
from critictui.scoring.result import ScoreResult
from critictui.scoring.summary import in_words
from critictui.scoring.usual_scores import set_and_recipe
from critictui.tui import words
from critictui.tui.glyphs import Glyphs
from critictui.tui.text import lines, plain
from critictui.tui.widgets.rows import cells

HEADINGS = ("step", "d_acc", "margin", "against the step before", "pairs", "set and recipe")


def columns(width: int) -> tuple[int, ...]:
    """Widths of the six columns; the last ones go first where it is narrow."""
    fixed = [6, 15, 15, 29, 7]
    rest = width - sum(fixed) - 2 * len(fixed)
    if rest >= 8:
        return (*fixed, min(rest, 30))
    return (*fixed[:4], 0, 0) if width >= 71 else (*fixed[:3], max(width - 42, 0), 0, 0)


def heading(width: int) -> Content:
    """The column names."""
    sizes = columns(width)
    return cells([(plain(h, "$foreground-muted"), w, "left") for h, w in zip(HEADINGS, sizes, strict=True)])


def score_line(score: ScoreResult, width: int, glyphs: Glyphs, *, own: bool = True) -> Content:
    """One score as a row. own: by the run's own recipe on its own set; if not, that is said at every width."""
    sizes = columns(width)
    name = set_and_recipe(score) if own else f"other: {set_and_recipe(score)}"
    unsaved = "not saved" if score.path is None else name
    low, high = score.interval
    chance = low <= 0.5 <= high
    style = "$text-error" if high < 0.5 else "$text-warning" if chance else "$text-success"
    d_acc = f"{score.d_acc:.3f} {glyphs.plus_minus}{(high - low) / 2:.3f}" if math.isfinite(score.d_acc) else "-"
    margin_low, margin_high = pair_in(score.extra.get("score_diff_ci"))
    half = (margin_high - margin_low) / 2
    margin = words.number(score.score_diff) + (f" {glyphs.plus_minus}{words.number(half)}" if half == half else "")  # noqa: PLR0124
    parts = [
        plain(str(score.step) if score.step is not None else "-", "bold"),
        plain(d_acc, style),
        plain(margin),
        _against(score) if own or sizes[-1] else plain(name, "$text-warning"),
        plain(f"{score.counted:,}"),
        plain(unsaved, "$foreground-muted" if own else "$text-warning"),
    ]
    return cells([(part, size, "left") for part, size in zip(parts, sizes, strict=True)])


def _against(score: ScoreResult) -> Content:
    found = compared(score)
    if found is None:
        return plain("first of its set", "$foreground-muted")
    if not found.pairs:
        return plain(f"not compared with {found.step}", "$foreground-muted")
    style = ("$text-success" if found.d_acc > 0 else "$text-error") if found.real else "$foreground-muted"
    real = "" if found.real else ", chance"
    return plain(f"{points(found.d_acc)} pts, {p_words(found.p_value)}{real}", style)


def score_facts(score: ScoreResult, glyphs: Glyphs) -> Content:
    """The whole result in words."""
    said: list[Content] = []
    for number, line in enumerate(in_words(score).splitlines()):
        warning = line.startswith("! ")
        text = f"{glyphs.warning} {line[2:]}" if warning else line
        said.append(plain(text, "$text-warning" if warning else "bold" if number == 0 else ""))
    known = math.isfinite(score.length_bias)
    bias = (
        f"length bias {words.number(score.length_bias) if known else 'unknown'} (rank correlation of score and length)"
    )
    shorter = number_in(score.extra.get("d_acc_shorter_wins"))
    if math.isfinite(shorter):
        bias += f", 'the shorter wins' alone has d_acc {shorter:.3f}"
    said.append(plain(bias))
    took = duration(score.seconds.get("total"))
    said.append(
        plain(f"{score.tokens:,} tokens on {score.device} in {score.dtype}, {took}; set {score.fixed_set.path}; "
            f"{score.series}",
              "$foreground-muted")
    )  # fmt: skip
    where = f"saved: {score.path}" if score.path is not None else "not saved yet: kept in memory, and tried again"
    said.append(plain(where, "$foreground-muted" if score.path is not None else "$text-warning"))
    return lines(said)


def history(scores: Sequence[ScoreResult]) -> list[ScoreResult]:
    """Newest step first; of one step the newest first."""
    return sorted(scores, key=lambda s: s.step if s.step is not None else -1)[::-1]
