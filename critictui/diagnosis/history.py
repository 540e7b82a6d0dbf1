"""A checkpoint's score against those of the run's earlier checkpoints: the best of them, and the pairs lost since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from critictui.checkpoint.checkpoint import Audit
from critictui.diagnosis.conduct import finding
from critictui.diagnosis.finding import Finding
from critictui.diagnosis.logged import Logged
from critictui.scoring.comparison import difference_words, p_words
from critictui.scoring.recipe import ScoringError, recipe_from
from critictui.scoring.result import ScoreResult
from critictui.scoring.rows import read_rows
from critictui.scoring.statistics import PairedComparison, compare_paired, pairs_of

LoggedUpTo = Callable[[int], Logged]
"""What training logged up to a checkpoint's step."""

_LEVEL = 0.05
"""Of the comparison with the best of the earlier ones, times their number because the best was picked from them."""
_SURE = 0.01
"""The same for a warning: every checkpoint of a run is diagnosed, so that one in twenty would be doubtful by chance."""
_ROSE = 2.0
"""Standard deviations by which the logged d_acc must have risen."""


def history_findings(
    audit: Audit, scores: Sequence[ScoreResult], logged_up_to: LoggedUpTo | None = None
) -> Iterator[Finding]:
    """Whether an earlier checkpoint scored better on the same fixed set under the same recipe, beyond chance.

    Pair by pair (McNemar) where both scores' responses are on disk; else only where the two intervals do not meet. It
    is called memorised only where the log shows a second epoch and a d_acc that rose meanwhile; without a log (None) or
    within the first epoch nobody knows why. A difference that is barely significant is said, and is no doubt.
    """
    mine, others = _series(audit, scores)
    if mine is None or mine.step is None:
        return
    earlier = [s for s in others if s.step is not None and s.step < mine.step]
    best = max(earlier, key=lambda s: s.d_acc, default=None)
    if best is None or best.step is None or best.d_acc <= mine.d_acc:
        return
    numbers = f"step {best.step} scored {best.d_acc:.3f} on the same fixed set, this one {mine.d_acc:.3f}"
    evidence: dict[str, object] = {"best": best.d_acc, "best_step": best.step, "this": mine.d_acc}
    paired = _paired(mine, best)
    if paired is not None:
        p = min(1.0, paired.p_value * len(earlier))
        evidence |= {"gained": paired.gained, "lost": paired.lost, "p_value": paired.p_value, "compared": len(earlier)}
        if p > _LEVEL:
            return
        among = f", {p_words(p)} among {len(earlier)} comparisons" if len(earlier) > 1 else ""
        said = difference_words(
            paired.d_acc_difference, paired.d_acc_difference_ci, paired.p_value, paired.pairs, paired.prompts
        )
        numbers += f": {said} ({paired.lost} lost, {paired.gained} won){among}"
        if p > _SURE:
            text = f"{numbers}: chance gives so much now and then"
            yield finding("by-chance", "info", text, "score both on a larger fixed set to know", **evidence)
            return
    elif best.interval[0] > mine.interval[1]:
        numbers += ": the intervals do not meet"
    else:
        return
    learned = _by_heart(best.step, mine.step, logged_up_to) if mine.interval[0] > 0.5 else ""
    if learned:
        yield finding("memorised", "warning", f"{numbers}; {learned}", f"use step {best.step}", **evidence)
        return
    advice = f"use step {best.step}; see whether the logged d_acc fell between the two"
    yield finding("collapsed", "warning", f"{numbers}: it has lost some of what it could", advice, **evidence)


def _by_heart(best: int, step: int, logged_up_to: LoggedUpTo | None) -> str:
    """How the log shows that pairs are learned by heart, in words; empty where it does not."""
    if logged_up_to is None:
        return ""
    before, now = logged_up_to(best).d_acc, logged_up_to(step)
    if now.epoch_seam is None or now.d_acc is None or before is None:
        return ""
    if now.d_acc.mean <= before.mean or now.d_acc.differs(before.mean, before.error) <= _ROSE:
        return ""
    return (
        f"meanwhile the logged d_acc rose from {before.mean:.3f} to {now.d_acc.mean:.3f} (means of {before.steps} and "
        f"{now.d_acc.steps} steps), on pairs that are seen again since step {now.epoch_seam}: it learns them by heart"
    )


def scored_steps(audit: Audit, scores: Sequence[ScoreResult]) -> list[dict[str, object]]:
    """The curve that this checkpoint's score is a point of: d_acc with its interval, by step."""
    mine, others = _series(audit, scores)
    if mine is None:
        return []
    curve = sorted((*others, mine), key=lambda s: s.step if s.step is not None else -1)
    return [{"step": s.step, "d_acc": s.d_acc, "low": s.interval[0], "high": s.interval[1]} for s in curve]


def _series(audit: Audit, scores: Sequence[ScoreResult]) -> tuple[ScoreResult | None, list[ScoreResult]]:
    """The newest score of this checkpoint, and the newest of each other one on the same set under the same recipe.

    scores: the run's own; a trial of another set or recipe is none of them.
    """
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
        return compare_paired(pairs_of(read_rows(mine)), pairs_of(read_rows(best)), recipe_from(mine.recipe).ties)
    except ScoringError:
        return None
