"""Finished scores as the rules see them; `usual_scores` says which of them are judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING

from critictui.health.alert import FixedScore

if TYPE_CHECKING:
    from critictui.scoring.result import ScoreResult


def fixed_scores(results: Iterable[ScoreResult]) -> tuple[FixedScore, ...]:
    """One entry a result whose step is known, oldest step first."""
    known = [result for result in results if result.step is not None]
    names = names_of_series(known)
    scores = [
        FixedScore(
            step=result.step,
            d_acc=result.d_acc,
            low=result.interval[0],
            high=result.interval[1],
            d_acc_soft=result.d_acc_soft,
            margin=result.score_diff,
            pairs=result.counted,
            length_bias=result.length_bias,
            series=result.series,
            name=names.get(result.series, ""),
        )
        for result in known
        if result.step is not None
    ]
    return tuple(sorted(scores, key=lambda score: score.step))


def names_of_series(results: Iterable[ScoreResult]) -> Mapping[str, str]:
    """What each series is called where there are several: its set's file, its recipe, whichever differs.

    Files of one name are told apart by the first digits of their hash.
    """
    first = {result.series: result for result in results}
    if len(first) < 2:
        return {}
    from critictui.scoring.recipe import preset_name, recipe_from

    files = {result.fixed_set.sha256: PurePath(result.fixed_set.path).name for result in first.values()}
    recipes = {series: recipe_from(result.recipe) for series, result in first.items()}
    names: dict[str, str] = {}
    for series, result in first.items():
        digest = result.fixed_set.sha256
        file = files[digest]
        said = [file if list(files.values()).count(file) == 1 else f"{file} {digest[:6]}"] if len(files) > 1 else []
        if len(set(recipes.values())) > 1:
            recipe = recipes[series]
            said.append(preset_name(recipe) or f"recipe {recipe.id}")
        names[series] = ", ".join(said)
    return names
