"""Scores that training recorded against scores recomputed from the same responses: which recipe reproduces them?

The worker recomputes (job `replay`); here its numbers are judged, without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from critictui.scoring.recipe import Recipe, preset_name, recipe_from

Relation = Literal["equal", "shifted", "scaled", "correlated", "unrelated"]

_TOLERANCE = {"float64": 1e-6, "float32": 1e-4, "bfloat16": 3e-2, "float16": 5e-3}
"""Largest difference, relative to the spread of the scores, that rounding alone explains: measured on tiny critics as
twice the largest error between two orders of summation, and for 16-bit types between a 16-bit and a 32-bit run."""
_CORRELATED = 0.9
_ONE_STEP = 0.98
"""Correlation above which the weights may be those of one update later."""
_LEAST = 4
"""Fewer responses than this cannot tell a recipe."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How n recomputed scores relate to the n recorded ones."""

    relation: Relation
    max_error: float
    """Largest absolute difference."""
    shift: float
    """Median difference, recomputed minus recorded."""
    scale: float
    """Slope of recomputed over recorded (least squares)."""
    correlation: float
    """Pearson; 0 where one side is constant."""
    responses: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way of scoring that was tried."""

    recipe: Recipe
    comparison: Comparison
    detail: str = ""
    """What the recipe does not hold: no generation prompt, another dtype."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The judgement over all candidates."""

    asked: Candidate
    found: Candidate | None
    """The candidate that reproduces the recorded scores; None when none does."""
    alike: tuple[Candidate, ...]
    """Others that reproduce them equally on these responses."""
    nearest: Candidate
    step: int | None
    recorded_d_acc: float | None
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def reproduced(self) -> bool:
        """The recipe that was asked for gives the recorded scores."""
        return self.asked.comparison.relation == "equal"


def compare(recorded: NDArray[np.float64], again: NDArray[np.float64], dtype: str = "float32") -> Comparison:
    """Judge two vectors of n scores; entries that are not finite on either side are left out."""
    both = np.isfinite(recorded) & np.isfinite(again)
    x, y = recorded[both], again[both]
    n = len(x)
    if n < _LEAST:
        return Comparison("unrelated", math.inf, 0.0, 0.0, 0.0, n)
    spread = max(float(np.std(x)), 1e-12)
    tolerance = _TOLERANCE.get(dtype, 1e-4) * max(spread, 0.05 * float(np.max(np.abs(x))))
    difference = y - x
    shift = float(np.median(difference))
    moving = float(np.std(x)) > 0 and float(np.std(y)) > 0
    correlation = float(np.corrcoef(x, y)[0, 1]) if moving else 0.0
    scale = float(np.dot(x - x.mean(), y - y.mean()) / np.dot(x - x.mean(), x - x.mean())) if moving else 0.0
    residual = y - y.mean() - scale * (x - x.mean())
    relation: Relation = "unrelated"
    if float(np.max(np.abs(difference))) <= tolerance:
        relation = "equal"
    elif float(np.max(np.abs(difference - shift))) <= tolerance:
        relation = "shifted"
    elif moving and float(np.max(np.abs(residual))) <= tolerance * max(abs(scale), 1e-12):
        relation = "scaled"
    elif correlation >= _CORRELATED:
        relation = "correlated"
    return Comparison(relation, float(np.max(np.abs(difference))), shift, scale, correlation, n)


def judge_replay(result: Mapping[str, object]) -> Replay:
    """The worker's JSON to a judgement.

    `result` holds `recorded` (n scores), `candidates` (each with `recipe`, `dtype`, `detail` and n `scores`, the one
    that was asked for first), `step` and `recorded_d_acc`.
    """
    recorded = _vector(result["recorded"])
    candidates = [
        Candidate(
            recipe_from(cast("Mapping[str, object]", c["recipe"])),
            compare(recorded, _vector(c["scores"]), str(c.get("dtype", "float32"))),
            str(c.get("detail", "")),
        )
        for c in cast("Sequence[Mapping[str, object]]", result["candidates"])
    ]
    equal = [c for c in candidates if c.comparison.relation == "equal"]
    asked = candidates[0]
    found = asked if asked in equal else min(equal, key=lambda c: c.comparison.max_error, default=None)
    if found is not None and found is not asked:
        # Of candidates that cannot be told apart on these responses the least unusual one is named: the first.
        best = found.comparison.max_error
        found = next(c for c in equal if c.comparison.max_error <= max(2 * best, 1e-9))
    step, d_acc = result.get("step"), result.get("recorded_d_acc")
    return Replay(
        asked=asked,
        found=found,
        alike=tuple(c for c in equal if c is not found),
        nearest=max(candidates, key=lambda c: (c.comparison.relation == "equal", c.comparison.correlation)),
        step=int(step) if isinstance(step, int) else None,
        recorded_d_acc=float(d_acc) if isinstance(d_acc, int | float) else None,
        facts={"responses": asked.comparison.responses, "candidates": len(candidates)},
    )


def _vector(values: object) -> NDArray[np.float64]:
    return np.array([math.nan if v is None else v for v in cast("Sequence[float | None]", values)], dtype=np.float64)


_SAYS = {
    "pooling": {"mean": "the mean over the response", "last": "the last token", "sum": "the sum over the response"},
    "eos": {"exclude": "without EOS", "include": "with EOS", "turn": "at the very end of the chat"},
    "alignment": {"token": "the value at each token", "previous": "the value before each token"},
    "tokens": {
        "concat": "prompt and response tokens as training saw them",
        "template": "one chat text, tokenised",
        "text": "one plain text, tokenised",
    },
}


def difference_in_words(trained: Recipe, tested: Recipe) -> str:
    """'Your training scored the last token with EOS; your fixed set is scored by the mean over the response ...'."""
    mine: list[str] = []
    yours: list[str] = []
    for name, words in _SAYS.items():
        a, b = getattr(trained, name), getattr(tested, name)
        if a != b:
            mine.append(words[a])
            yours.append(words[b])
    for name in ("max_prompt_tokens", "max_response_tokens"):
        a, b = getattr(trained, name), getattr(tested, name)
        if a != b:
            mine.append(f"{name.replace('_', ' ')} {a or 'unlimited'}")
            yours.append(f"{b or 'unlimited'}")
    if trained.chat_template != tested.chat_template:
        mine.append("another chat template")
        yours.append("the checkpoint's own")
    if not mine:
        return "training and fixed set are scored alike"
    preset = preset_name(replace(trained, dtype="auto"))
    name = f" (recipe {preset})" if preset else ""
    return f"your training scored {', '.join(mine)}{name}; your fixed set is scored by {', '.join(yours)}"


def in_words(replay: Replay) -> str:
    """The judgement as one sentence with its numbers."""
    n = replay.asked.comparison.responses
    if n < _LEAST:
        return f"only {n} responses have a finite score on both sides: too few to tell a recipe"
    if replay.reproduced:
        error = replay.asked.comparison.max_error
        name = preset_name(replace(replay.asked.recipe, dtype="auto"))
        which = f"{name} ({_named(replay.asked)})" if name else _named(replay.asked)
        return f"the recipe {which} reproduces the {n} recorded scores (largest difference {error:.2g}){_alike(replay)}"
    if replay.found is not None:
        words = difference_in_words(replay.found.recipe, replay.asked.recipe)
        detail = f" ({replay.found.detail})" if replay.found.detail else ""
        error = replay.found.comparison.max_error
        return (
            f"{words}{detail}: that reproduces the {n} recorded scores (largest difference {error:.2g}){_alike(replay)}"
        )
    c = replay.asked.comparison
    how = {
        "shifted": f"they are shifted by {c.shift:+.4g}, the same for every response",
        "scaled": f"they are {'' if c.scale > 0 else 'negated and '}scaled by {abs(c.scale):.4g}",
        "correlated": f"they follow the recorded ones loosely (r = {c.correlation:.3f})",
        "unrelated": f"they have little to do with the recorded ones (r = {c.correlation:.3f})",
    }[c.relation]
    text = f"none of {replay.facts['candidates']} recipes reproduces the {n} recorded scores: {how}"
    near = replay.nearest
    if near is not replay.asked and near.comparison.correlation > max(_CORRELATED, c.correlation + 0.01):
        words = difference_in_words(near.recipe, replay.asked.recipe)
        text += f". Nearest (r = {near.comparison.correlation:.4f}): {words}"
    if c.relation == "scaled" and c.scale < 0:
        return f"{text}. Every order is reversed, and d_acc is 1 less the recorded one: a sign or the sides are swapped"
    if c.relation in {"shifted", "scaled"}:
        return f"{text}. Every order is the same, so d_acc is too"
    if near.comparison.correlation > _ONE_STEP:
        return f"{text}. So near a miss is what scores recorded before the step's update give"
    return f"{text}. These are not the weights that recorded them"


def _alike(replay: Replay) -> str:
    if not replay.alike:
        return ""
    others = "; ".join(_named(c) for c in replay.alike[:3])
    count = "1 other recipe does" if len(replay.alike) == 1 else f"{len(replay.alike)} other recipes do"
    return f". On these responses {count} so too ({others})"


def _named(candidate: Candidate) -> str:
    r = candidate.recipe
    parts = [f"{r.pooling}, eos {r.eos}, alignment {r.alignment}"]
    parts += [
        f"{n.replace('_', ' ')} {getattr(r, n)}" for n in ("max_prompt_tokens", "max_response_tokens") if getattr(r, n)
    ]
    if r.tokens != "concat":
        parts.append(f"tokens {r.tokens}")
    return ", ".join([*parts, *([candidate.detail] if candidate.detail else [])])


def replay_json(replay: Replay) -> dict[str, object]:
    """The object of `replay --json`."""
    return {
        "schema": 1,
        "reproduced": replay.reproduced,
        "message": in_words(replay),
        "asked": _candidate_json(replay.asked),
        "found": _candidate_json(replay.found) if replay.found is not None else None,
        "alike": [_candidate_json(c) for c in replay.alike],
        "step": replay.step,
        "recorded_d_acc": replay.recorded_d_acc,
    }


def _candidate_json(candidate: Candidate) -> dict[str, object]:
    c = candidate.comparison
    return {
        "recipe": candidate.recipe.to_dict(),
        "detail": candidate.detail,
        "relation": c.relation,
        "max_error": c.max_error if math.isfinite(c.max_error) else None,
        "shift": c.shift,
        "scale": c.scale,
        "correlation": c.correlation,
        "responses": c.responses,
    }
