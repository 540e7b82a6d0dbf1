"""A checkpoint's score against those of the run's other checkpoints: best, trend, and the pairs lost since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from critictui.checkpoint.checkpoint import Audit
from critictui.diagnosis.conduct import finding
from critictui.diagnosis.finding import Finding
from critictui.scoring.recipe import ScoringError
from critictui.scoring.result import ScoreResult
from critictui.scoring.rows import read_rows
from critictui.scoring.statistics import PairedComparison, compare_paired, pairs_of

_LEVEL = 0.05
"""Of the comparison with the best of the others, divided by their number because the best was picked from them."""


def history_findings(audit: Audit, scores: Sequence[ScoreResult]) -> Iterator[Finding]:
    """Whether another checkpoint scored better on the same fixed set under the same recipe, beyond chance.

    Pair by pair (McNemar) where both scores' responses are on disk; else only where the two intervals do not meet.
    """
    mine, others = _series(audit, scores)
    if mine is None:
        return
    best = max(others, key=lambda s: s.d_acc, default=None)
    if best is None or best.d_acc <= mine.d_acc:
        return
    numbers = f"step {best.step} scored {best.d_acc:.3f} on the same fixed set, this one {mine.d_acc:.3f}"
    evidence: dict[str, object] = {"best": best.d_acc, "best_step": best.step, "this": mine.d_acc}
    paired = _paired(mine, best)
    if paired is not None:
        evidence |= {"gained": paired.gained, "lost": paired.lost, "p_value": paired.p_value}
        if paired.p_value * len(others) > _LEVEL:
            return
        numbers += f": {paired.lost} pairs lost, {paired.gained} won (McNemar p = {paired.p_value:.2g})"
    elif best.interval[0] > mine.interval[1]:
        numbers += ": the intervals do not meet"
    else:
        return
    if mine.interval[0] <= 0.5:
        yield finding(
            "collapsed", "warning", numbers, f"use step {best.step}; see where the logged d_acc fell", **evidence
        )
        return
    yield finding(
        "memorised",
        "warning",
        f"{numbers}; a critic that goes on to learn its training pairs by heart does that",
        f"use step {best.step}; if the logged d_acc rose meanwhile, it is of pairs seen before",
        **evidence,
    )


def scored_steps(audit: Audit, scores: Sequence[ScoreResult]) -> list[dict[str, object]]:
    """The curve that this checkpoint's score is a point of: d_acc with its interval, by step."""
    mine, others = _series(audit, scores)
    if mine is None:
        return []
    curve = sorted((*others, mine), key=lambda s: s.step if s.step is not None else -1)
    return [{"step": s.step, "d_acc": s.d_acc, "low": s.interval[0], "high": s.interval[1]} for s in curve]


def _series(audit: Audit, scores: Sequence[ScoreResult]) -> tuple[ScoreResult | None, list[ScoreResult]]:
    """The newest score of this checkpoint, and the newest of each other one on the same set under the same recipe."""
    own = [s for s in scores if s.checkpoint_fingerprint == audit.fingerprint]
    if not own:
        return None, []
    mine = own[-1]
    others = {
        s.checkpoint_fingerprint: s
        for s in scores
        if s.series == mine.series and s.step is not None and s.checkpoint_fingerprint != mine.checkpoint_fingerprint
    }
    return mine, list(others.values())


def _paired(mine: ScoreResult, best: ScoreResult) -> PairedComparison | None:
    """None where one of the two has no readable responses on disk."""
    try:
        return compare_paired(pairs_of(read_rows(mine)), pairs_of(read_rows(best)))
    except ScoringError:
        return None
