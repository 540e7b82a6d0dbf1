"""How a critic behaves on a fixed set: what `critictui.diagnosis` judges, measured here in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from critictui.scoring import statistics
from critictui.scoring.fixed_set import FixedSet
from critictui.scoring.recipe import Recipe
from critictui.scoring.result import ResponseRow
from critictui.scoring.set_faults import echoed_share, garbled_share
from critictui.worker.forward import tree_values
from critictui.worker.model import Critic
from critictui.worker.score import pool, prepare_tokens, score_critic
from critictui.worker.tokenizer import template_hash, tokenizer_hash
from critictui.worker.tokens import Branch, Tokenised, Tree

Floats = NDArray[np.float64]
Report = Callable[[str, float, float], None]

_PARTS = 20
"""Points of the profile along a response."""
_LARGE = 10.0
_SHOWN = 200
_AGAIN = 16
"""Responses that the second load scores: a random head shows in the first."""


def measure(
    critic: Critic,
    fixed_set: FixedSet,
    recipe: Recipe,
    *,
    second_load: Callable[[], Critic] | None = None,
    progress: Report | None = None,
) -> dict[str, object]:
    """The fields of `critictui.diagnosis.behaviour.Behaviour` as JSON values; NaN as None.

    second_load: loads the same checkpoint once more under another seed; its scores must be the same.
    """
    tell = progress or (lambda *_: None)
    tell("score", 0, 3)
    whole = replace(recipe, eos="turn" if recipe.eos == "turn" else "include")
    made = prepare_tokens(critic, fixed_set, whole)
    values = tree_values(critic, made.trees)
    result, rows = score_critic(critic, fixed_set, recipe)
    tell("second load", 1, 3)
    difference = math.nan
    if second_load is not None:
        difference = _second(critic, second_load, made)
    tell("statistics", 2, 3)
    flat = [(number > 0, values[t][b], made.trees[t].branches[b]) for spots in made.places
            for number, (t, b) in enumerate(spots)]  # fmt: skip
    scored = [(student, v[1 : 1 + branch.count(recipe.eos)]) for student, v, branch in flat]
    tokens = np.concatenate([np.empty(0), *(v for _, v in scored)])
    finite = tokens[np.isfinite(tokens)]
    header = fixed_set.header
    low, high = result.interval
    out: dict[str, object] = {
        "teacher": _spread([r.score for r in rows if r.role == "teacher"]),
        "student": _spread([r.score for r in rows if r.role == "student"]),
        "values": _spread(finite),
        "above_10": float(np.mean(np.abs(finite) > _LARGE)) if len(finite) else math.nan,
        "profile_teacher": _profile([v for student, v in scored if not student]),
        "profile_student": _profile([v for student, v in scored if student]),
        "first_token_std": _std([float(v[0]) for _, v in scored if len(v)]),
        "last_token_std": _std([float(v[-1]) for _, v in scored if len(v)]),
        "d_acc": result.d_acc,
        "d_acc_low": low,
        "d_acc_high": high,
        "margin": result.score_diff,
        "tie_rate": result.tie_rate,
        "pairs": result.pairs,
        "prompts": result.prompts,
        "non_finite": sum(r.tokens > 0 and not math.isfinite(r.score) for r in rows),
        "truncated": sum(r.truncated for r in rows) / max(len(rows), 1),
        "echoed": echoed_share(fixed_set),
        "garbled": garbled_share(fixed_set),
        "eos_teacher": _share([branch.eos for student, _, branch in flat if not student]),
        "eos_student": _share([branch.eos for student, _, branch in flat if student]),
        "differing_ends": made.differing_ends,
        "eos_shift": _eos_shift([(v, branch) for _, v, branch in flat], recipe),
        "length_spearman": statistics.length_bias(
            [r.role == "teacher" for r in rows], [r.tokens for r in rows], [r.score for r in rows]
        ),
        "second_load": difference,
        "tokenizer": tokenizer_hash(critic.tokenizer),
        "fixed_set_tokenizer": str(header.get("tokenizer_sha256") or ""),
        "template": template_hash(critic.tokenizer, recipe.chat_template),
        "fixed_set_template": str(header.get("template_sha256") or ""),
        "samples": _samples(rows, made, scored),
        "recipe_eos": recipe.eos,
    }
    tell("done", 3, 3)
    cleaned = _clean(out)
    assert isinstance(cleaned, dict)
    return cleaned


def _second(critic: Critic, load: Callable[[], Critic], made: Tokenised) -> float:
    """Largest difference between the token values of two loads, over a few responses."""
    trees: list[Tree] = []
    for tree in made.trees:
        trees.append(tree)
        if sum(len(t.branches) for t in trees) >= _AGAIN:
            break
    before = tree_values(critic, trees)
    after = tree_values(load(), trees)
    gaps = [
        float(np.max(np.abs(x[1:] - y[1:]), initial=0.0))
        for a, b in zip(before, after, strict=True)
        for x, y in zip(a, b, strict=True)
    ]
    return max(gaps, default=math.nan)


def _profile(responses: Sequence[Floats]) -> list[float]:
    """Mean value in equal parts of the responses, first token to last."""
    sums, counts = np.zeros(_PARTS), np.zeros(_PARTS)
    for v in responses:
        if len(v):
            part = np.minimum(np.arange(len(v)) * _PARTS // len(v), _PARTS - 1)
            np.add.at(sums, part, v)
            np.add.at(counts, part, 1)
    with np.errstate(invalid="ignore"):
        return [float(x) for x in sums / counts]


def _eos_shift(values: Sequence[tuple[Floats, Branch]], recipe: Recipe) -> float:
    """Mean change of the score when EOS takes part, over the responses that end in it."""
    shifts = [
        pool(v[: 1 + branch.count("include")], recipe)[0] - pool(v[: 1 + branch.count("exclude")], recipe)[0]
        for v, branch in values
        if branch.closing and branch.count("exclude")
    ]
    return float(np.mean(shifts)) if shifts else math.nan


def _samples(rows: Sequence[ResponseRow], made: Tokenised, scored: Sequence[tuple[bool, Floats]]) -> list[object]:
    spots = [spot for prompt in made.places for spot in prompt]
    samples: list[object] = []
    for row, (t, b), (_, used) in zip(rows, spots, scored, strict=True):
        tree = made.trees[t]
        samples.append({
            "prompt_id": row.prompt_id,
            "role": row.role,
            "text_chars": len(row.text),
            "prompt_tokens": len(tree.prompt),
            "response_tokens": len(tree.branches[b].ids),
            "scored_tokens": len(used),
            "value_min": row.value_min,
            "value_max": row.value_max,
            "value_mean": row.value_mean,
            "score": row.score,
            "ends_in_eos": tree.branches[b].eos,
            "truncated": row.truncated,
            "text": row.text[:_SHOWN],
        })  # fmt: skip
    return samples


def _spread(numbers: Sequence[float] | Floats) -> dict[str, object]:
    array = np.asarray(numbers, np.float64)
    array = array[np.isfinite(array)]
    if not len(array):
        return {"mean": None, "std": None, "min": None, "max": None, "n": 0}
    std = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    return {
        "mean": float(array.mean()),
        "std": std,
        "min": float(array.min()),
        "max": float(array.max()),
        "n": len(array),
    }


def _std(numbers: Sequence[float]) -> float:
    return float(np.std(numbers, ddof=1)) if len(numbers) > 1 else math.nan


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else 0.0


def _clean(value: object) -> object:
    """NaN and infinities become None: JSON has no word for them."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_clean(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
