"""Finished scores as the rules see them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from critictui.health.alert import FixedScore

if TYPE_CHECKING:
    from critictui.scoring.result import ScoreResult


def fixed_scores(results: Iterable[ScoreResult]) -> tuple[FixedScore, ...]:
    """One entry a result whose step is known, oldest step first."""
    scores = [
        FixedScore(
            step=result.step,
            d_acc=result.d_acc,
            low=result.d_acc_ci[0],
            high=result.d_acc_ci[1],
            d_acc_soft=result.d_acc_soft,
            margin=result.score_diff,
            pairs=result.pairs,
            length_bias=result.length_bias,
            series=result.series,
        )
        for result in results
        if result.step is not None
    ]
    return tuple(sorted(scores, key=lambda score: score.step))
