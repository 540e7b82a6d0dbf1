"""Token values become scores, and the scores of a fixed set a ScoreResult."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from critictui.scoring.fixed_set import FixedPrompt, FixedSet
from critictui.scoring.recipe import Recipe
from critictui.scoring.result import TEMPLATE, TOKENIZER, FixedSetRef, ResponseRow, ScoreResult
from critictui.scoring.summary import summarise
from critictui.worker.forward import Report, Values, can_pack, tree_values
from critictui.worker.model import Critic
from critictui.worker.tokenizer import DATE, end_ids, template_hash, tokenizer_hash, writes_date
from critictui.worker.tokens import Tokenised, tokenise


def pool(values: Values, recipe: Recipe) -> tuple[float, Values]:
    """(score, the token values behind it) of one branch's (n + 1,) values; NaN for a response without tokens."""
    used = values[1:] if recipe.alignment == "token" else values[:-1]
    if not len(used):
        return math.nan, used
    if recipe.pooling == "last":
        return float(used[-1]), used
    return float(used.mean() if recipe.pooling == "mean" else used.sum()), used


def score_critic(
    critic: Critic,
    fixed_set: FixedSet,
    recipe: Recipe,
    *,
    tokenised: Tokenised | None = None,
    budget: int | None = None,
    progress: Report | None = None,
) -> tuple[ScoreResult, list[ResponseRow]]:
    """Score a fixed set with a loaded critic. A pure function of its arguments, timings aside.

    tokenised: what `prepare_tokens` gave for the same set and recipe, if it was made while the critic was loading.
    Raises ScoringError (tokenizer, template, ids), OutOfMemoryError.
    """
    start = time.monotonic()
    made = tokenised if tokenised is not None else prepare_tokens(critic, fixed_set, recipe)
    values = tree_values(critic, made.trees, budget=budget, progress=progress)
    rows: list[ResponseRow] = []
    used: list[Values] = []
    for item, spots in zip(fixed_set.prompts, made.places, strict=True):
        for number, (tree, branch) in enumerate(spots):
            score, behind = pool(values[tree][branch], recipe)
            rows.append(_row(item, number, score, behind, truncated=made.trees[tree].branches[branch].truncated))
            used.append(behind)
    seconds = time.monotonic() - start
    flat = np.concatenate([np.empty(0), *used])
    warnings = [*made.warnings, *_length_warning(critic, made), *_set_warnings(fixed_set)]
    tokens = sum(tree.tokens for tree in made.trees)
    result = summarise(
        rows,
        recipe=recipe,
        fixed_set=FixedSetRef(fixed_set.path, fixed_set.sha256, len(fixed_set.prompts), fixed_set.pairs),
        step=critic.checkpoint.step,
        checkpoint=str(critic.checkpoint.path),
        fingerprint=critic.audit.fingerprint,
        values=_statistics(flat),
        tokens=tokens,
        seconds={"load": critic.load_seconds, "score": seconds, "total": critic.load_seconds + seconds},
        device=str(critic.device),
        dtype=str(critic.dtype).removeprefix("torch."),
        versions=versions(),
        warnings=warnings,
        extra={
            "packed": can_pack(critic, made.trees),
            TOKENIZER: made.tokenizer_sha256,
            TEMPLATE: made.template_sha256,
            "weights_fingerprint": critic.audit.weights,
        },
    )
    return result, rows


def prepare_tokens(critic: Critic, fixed_set: FixedSet, recipe: Recipe) -> Tokenised:
    """Tokenise a set with the critic's tokenizer. Stored ids of another tokenizer are not used: the text is."""
    return tokenise_for(critic.tokenizer, critic.config, critic.checkpoint.path, fixed_set, recipe)


def tokenise_for(tokenizer: Any, config: Any, path: Path, fixed_set: FixedSet, recipe: Recipe) -> Tokenised:
    """The same for a tokenizer whose critic is still loading; `path` is the checkpoint."""
    from dataclasses import replace

    stored, own = fixed_set.header.get(TOKENIZER), tokenizer_hash(tokenizer)
    template = "" if recipe.tokens == "text" else template_hash(tokenizer, recipe.chat_template)
    notes: tuple[str, ...] = ()
    has_ids = any(r.ids is not None for p in fixed_set.prompts for r in (p.teacher, *p.students))
    if has_ids and stored and stored != own:
        notes = ("the fixed set's token ids are of another tokenizer than the critic's: its texts were tokenised anew",)
        prompts = tuple(
            replace(p, teacher=replace(p.teacher, ids=None), students=tuple(replace(s, ids=None) for s in p.students))
            for p in fixed_set.prompts
        )
        fixed_set = replace(fixed_set, prompts=prompts)
    if template and fixed_set.header.get(TEMPLATE) not in (None, "", template):
        notes += ("the fixed set was made with another chat template: its students answered other prompts",)
    if template and writes_date(tokenizer, recipe.chat_template):
        notes += (
            f"the chat template writes the day's date: all is rendered as of {DATE:%d %b %Y}, whatever day it is",
        )
    made = tokenise(fixed_set, tokenizer, recipe, eos_ids=end_ids(tokenizer, config, path), where=str(path))
    return replace(made, warnings=(*notes, *made.warnings), tokenizer_sha256=own, template_sha256=template)


def _row(item: FixedPrompt, number: int, score: float, values: Values, *, truncated: bool) -> ResponseRow:
    response = (item.teacher, *item.students)[number]
    shown = item.prompt if isinstance(item.prompt, str) else "\n\n".join(f"{m.role}: {m.content}" for m in item.prompt)
    spread = _statistics(values)
    return ResponseRow(
        prompt_id=item.id,
        prompt=shown,
        role="student" if number else "teacher",
        index=max(0, number - 1),
        text=response.text,
        score=score,
        tokens=len(values),
        value_mean=spread["mean"],
        value_std=spread["std"],
        value_min=spread["min"],
        value_max=spread["max"],
        truncated=truncated,
        finish_reason=response.finish_reason,
    )


def _statistics(values: Values) -> dict[str, float]:
    """mean, std (sample, NaN for one value), min, max of the finite values."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return dict.fromkeys(("mean", "std", "min", "max"), math.nan)
    std = float(finite.std(ddof=1)) if len(finite) > 1 else math.nan
    return {"mean": float(finite.mean()), "std": std, "min": float(finite.min()), "max": float(finite.max())}


def _length_warning(critic: Critic, made: Tokenised) -> list[str]:
    limit = getattr(critic.config, "max_position_embeddings", None)
    longest = max((len(t.prompt) + max((len(b.ids) for b in t.branches), default=0) for t in made.trees), default=0)
    if isinstance(limit, int) and longest > limit:
        return [f"the longest sequence has {longest} tokens, the critic was made for {limit}"]
    return []


def _set_warnings(fixed_set: FixedSet) -> list[str]:
    count = fixed_set.bad_rows
    return [f"{count} rows of the fixed set could not be used, for example: {fixed_set.problems[0]}"] if count else []


def versions() -> dict[str, str]:
    """What a score depends on beside its inputs."""
    import platform

    import transformers

    from critictui import __version__

    return {
        "critictui": __version__,
        "torch": str(torch.__version__),
        "transformers": str(transformers.__version__),
        "python": platform.python_version(),
    }
