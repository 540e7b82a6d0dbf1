"""From scored rows to a ScoreResult: every number of the contract, and a warning for every number in doubt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from critictui.scoring import statistics
from critictui.scoring.comparison import compared, comparison_words
from critictui.scoring.recipe import Recipe
from critictui.scoring.result import FixedSetRef, ResponseRow, ScoreResult, told_interval
from critictui.scoring.statistics import Pairs

LARGE_VALUE = 10.0
SMALL_SPREAD = 0.1
LARGE_SPREAD = 5.0
"""The report's thresholds for token values."""
LENGTH_BIAS = 0.3
MANY_PROMPTS = 10
"""Prompts below which a result says that it has few."""


def summarise(
    rows: Sequence[ResponseRow],
    *,
    recipe: Recipe,
    fixed_set: FixedSetRef,
    step: int | None,
    checkpoint: str,
    fingerprint: str,
    values: Mapping[str, float],
    tokens: int,
    seconds: Mapping[str, float],
    device: str,
    dtype: str,
    versions: Mapping[str, str],
    warnings: Sequence[str] = (),
    extra: Mapping[str, object] | None = None,
    seed: int = 0,
) -> ScoreResult:
    """The result of one scoring. Means weigh each pair once, as a training batch does; spreads, each response once.

    values: token values' mean, std, min, max. extra: additions to the contract, kept beside those made here.
    """
    pairs = statistics.pairs_of(rows)
    teachers = _finite(row.score for row in rows if row.role == "teacher")
    students = _finite(row.score for row in rows if row.role == "student")
    both = np.concatenate([teachers, students])
    d_acc, wins, n = statistics.accuracy(pairs, recipe.ties)
    wilson, by_prompt = statistics.wilson(wins, n), statistics.accuracy_interval(pairs, recipe.ties, seed=seed)
    intervals = {"d_acc_ci_wilson": list(wilson), "d_acc_ci_cluster": list(by_prompt)}
    sides = [row.role == "teacher" for row in rows]
    bias = statistics.length_bias(sides, [row.tokens for row in rows], [row.score for row in rows])
    return ScoreResult(
        step=step,
        checkpoint=checkpoint,
        checkpoint_fingerprint=fingerprint,
        fixed_set=fixed_set,
        recipe=recipe.to_dict(),
        d_acc=d_acc,
        d_acc_ci=told_interval(wilson, by_prompt),
        d_acc_soft=statistics.soft_accuracy(pairs),
        d_acc_ties_win=statistics.accuracy(pairs, "win")[0],
        tie_rate=statistics.tie_rate(pairs),
        pairs=pairs.n,
        prompts=len(set(pairs.prompt.tolist())),
        teacher_score_mean=_mean(pairs.teacher),
        student_score_mean=_mean(pairs.student),
        teacher_score_std=_std(teachers),
        student_score_std=_std(students),
        score_diff=_mean(pairs.difference),
        score_range=float(np.ptp(both)) if len(both) else math.nan,
        auc=statistics.auc(teachers, students),
        length_bias=bias,
        values=dict(values),
        warnings=(*warnings, *_warnings(rows, pairs, both, values, bias)),
        tokens=tokens,
        seconds=dict(seconds),
        device=device,
        dtype=dtype,
        versions=dict(versions),
        extra={**intervals, **_additions(rows, pairs, recipe, seed), **(extra or {})},
    )


def _additions(rows: Sequence[ResponseRow], pairs: Pairs, recipe: Recipe, seed: int) -> dict[str, object]:
    effect = statistics.design_effect(pairs, recipe.ties)
    by_role = {role: [row for row in rows if row.role == role] for role in ("teacher", "student")}
    return {
        "d_acc_ties_lose": statistics.accuracy(pairs, "lose")[0],
        "d_acc_ties_half": statistics.accuracy(pairs, "half")[0],
        "d_acc_ties_left_out": statistics.accuracy(pairs, "report")[0],
        "score_diff_ci": list(statistics.margin_interval(pairs, seed=seed)),
        "design_effect": effect,
        "smallest_difference": statistics.smallest_difference(pairs.n / effect if effect >= 1 else pairs.n),
        "d_acc_shorter_wins": statistics.shorter_wins(pairs),
        "length_bias_pooled": _length_bias(rows),
        "length_bias_teacher": _length_bias(by_role["teacher"]),
        "length_bias_student": _length_bias(by_role["student"]),
        "pairs_dropped": pairs.dropped,
        "truncated": sum(row.truncated for row in rows),
        "responses": len(rows),
    }


def _warnings(
    rows: Sequence[ResponseRow], pairs: Pairs, scores: np.ndarray, values: Mapping[str, float], bias: float
) -> list[str]:
    said: list[str] = []
    lost = sum(not math.isfinite(row.score) for row in rows)
    empty = sum(row.tokens == 0 for row in rows)
    cut = sum(row.truncated for row in rows)
    if empty:
        said.append(f"{empty} of {len(rows)} responses have no token to score and are left out")
    if lost > empty:
        said.append(f"{lost - empty} of {len(rows)} scores are not finite and are left out")
    said += _few(pairs)
    if pairs.dropped:
        said.append(f"{pairs.dropped} {'pair is' if pairs.dropped == 1 else 'pairs are'} left out; {pairs.n} remain")
    if not pairs.n:
        said.append("no pair with two finite scores: there is no accuracy")
    if cut:
        said.append(f"{cut} of {len(rows)} responses or their prompts were cut at the recipe's length")
    if len(scores) > 1 and np.ptp(scores) == 0:
        said.append("all scores are equal: this critic tells nothing apart")
    elif pairs.n and statistics.tie_rate(pairs) > 0:
        said.append(f"{statistics.tie_rate(pairs):.1%} of the pairs are ties")
    same = sum(rate for rate in _same_text(rows))
    if same:
        said.append(f"{same} student {'response is' if same == 1 else 'responses are'} word for word their teacher's")
    largest = max(abs(values.get("min", math.nan)), abs(values.get("max", math.nan)))
    if largest > LARGE_VALUE:
        said.append(f"token values reach {largest:.1f} in magnitude (above {LARGE_VALUE:g})")
    spread = values.get("std", math.nan)
    if spread < SMALL_SPREAD:
        said.append(f"token values hardly vary (std {spread:.3g}, below {SMALL_SPREAD:g})")
    elif spread > LARGE_SPREAD:
        said.append(f"token values vary widely (std {spread:.3g}, above {LARGE_SPREAD:g})")
    if statistics.is_length_bias(bias, pairs.n, LENGTH_BIAS):
        said.append(f"scores follow response length (rank correlation within a side {bias:+.2f})")
    return said


def _few(pairs: Pairs) -> list[str]:
    prompts = len(set(pairs.prompt.tolist()))
    if pairs.n > 1 and prompts == 1:
        return ["all pairs are of one prompt: what they say of others is not known"]
    if 1 < prompts < MANY_PROMPTS:
        return [f"only {prompts} prompts: every interval over them is wide, and rough"]
    return []


def _same_text(rows: Sequence[ResponseRow]) -> list[bool]:
    teachers = {row.prompt_id: row.text for row in rows if row.role == "teacher"}
    return [row.text == teachers.get(row.prompt_id) for row in rows if row.role == "student"]


def _length_bias(rows: Sequence[ResponseRow]) -> float:
    return statistics.spearman([row.tokens for row in rows], [row.score for row in rows])


def _finite(scores: object) -> np.ndarray:
    array = np.fromiter(scores, np.float64)  # type: ignore[call-overload]
    return np.asarray(array[np.isfinite(array)])


def _mean(x: np.ndarray) -> float:
    return float(np.mean(x)) if len(x) else math.nan


def _std(x: np.ndarray) -> float:
    """Sample standard deviation, as torch's `std` logs it."""
    return float(np.std(x, ddof=1)) if len(x) > 1 else math.nan


def in_words(result: ScoreResult) -> str:
    """The result as a person reads it: a verdict on chance, the numbers, the doubts. Several lines, plain text."""
    low, high = result.interval
    if not math.isfinite(result.d_acc):
        first = "no accuracy: no pair could be judged"
    elif low <= 0.5 <= high:
        first = f"d_acc {result.d_acc:.1%} ({low:.1%} to {high:.1%}): not told from chance"
    elif result.d_acc < 0.5:
        first = f"d_acc {result.d_acc:.1%} ({low:.1%} to {high:.1%}): inverted, the student is preferred"
    else:
        first = f"d_acc {result.d_acc:.1%} ({low:.1%} to {high:.1%})"
    step = "step ?" if result.step is None else f"step {result.step}"
    spread = {name: result.values.get(name, math.nan) for name in ("mean", "std", "min", "max")}
    teacher = f"teacher {result.teacher_score_mean:.3f} (std {result.teacher_score_std:.3f})"
    student = f"student {result.student_score_mean:.3f} (std {result.student_score_std:.3f})"
    lines = [
        f"{step}: {first}, {result.counted_words}",
        f"margin {result.score_diff:.3f}, {teacher}, {student}, AUC {result.auc:.3f}",
        "token values mean {mean:.3f}, std {std:.3f}, {min:.3f} to {max:.3f}".format(**spread),
    ]
    lines += [words for words in (comparison_words(result),) if words]
    found, smallest = compared(result), result.extra.get("smallest_difference")
    if found is not None and math.isfinite(found.smallest):
        smallest = found.smallest  # what two checkpoints really disagreed in says more than what is usual
    if isinstance(smallest, float) and math.isfinite(smallest):
        lines.append(
            f"on this set a change of d_acc is found in about 4 of 5 cases from {smallest * 100:.1f} points up, "
            "a smaller one less often"
        )
    lines += [f"! {warning}" for warning in result.warnings]
    return "\n".join(lines)
