"""Which of a run's scores are the run's own: those by its own recipe, on its usual fixed set.

Anybody may try another recipe, a shorter limit or another set; such a score says something of the trial and nothing of
the run. It is judged by nobody, it is no point of the run's curve, and it is shown only where set and recipe are named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from critictui.config import Config

if TYPE_CHECKING:
    from critictui.scoring.recipe import Recipe
    from critictui.scoring.result import ScoreResult


def usual_scores(results: Sequence[ScoreResult], run_dir: Path, config: Config) -> list[ScoreResult]:
    """The run's own among its results, in their order: what rules judge, curves show and runs are compared by.

    run_dir: where the run's own set lies. config: may name another set or recipe. The recipe is the configured one,
    else the one that the checkpoint shows (`choose_recipe`); the set is the configured one, else the one that lies in
    the run, else the one that most of these scores are on. They may still be of several `series`, where tokenizer, chat
    template or precision differ. Never raises: a configuration that cannot be used counts as none. Reads the fixed
    set's bytes once, for its hash, and again where it has changed.
    """
    if not results:
        return []
    from critictui.scoring.recipe import recipe_from

    own = {checkpoint: _recipes(config, Path(checkpoint)) for checkpoint in {result.checkpoint for result in results}}
    made = [result for result in results if recipe_from(result.recipe) in own[result.checkpoint]]
    usual = _usual_set(made, run_dir, config)
    return [result for result in made if result.fixed_set.sha256 == usual]


def set_and_recipe(result: ScoreResult) -> str:
    """`fixed_set.jsonl, gad-fork`: what a score is named by where it is not the run's own. A recipe without a name has
    the first digits of its hash.
    """
    from critictui.scoring.recipe import preset_name, recipe_from

    recipe = replace(recipe_from(result.recipe), dtype="auto")
    return f"{PurePath(result.fixed_set.path).name}, {preset_name(recipe) or f'recipe {recipe.id[:6]}'}"


def _recipes(config: Config, checkpoint: Path) -> list[Recipe]:
    """The recipe that this checkpoint is scored by unless somebody asks for another; all that it may have been where it
    is gone, and with it what showed its trainer."""
    from critictui.scoring.recipe import AUTO, PRESETS, ScoringError
    from critictui.scoring.recipe_choice import choose_recipe

    try:
        chosen = choose_recipe(config.recipe, checkpoint).recipe
    except ScoringError:
        chosen = choose_recipe(AUTO, checkpoint).recipe
    if config.recipe == AUTO and not checkpoint.exists():
        return [chosen, PRESETS["trl"], PRESETS["trl-text"]]
    return [chosen]


def _usual_set(results: Sequence[ScoreResult], run_dir: Path, config: Config) -> str:
    """The hash of the set that is configured or lies in the run; without one, of the set that most scores are on."""
    from critictui.scoring.order import usual_fixed_set

    path = usual_fixed_set(run_dir, config, ())
    made = Counter(result.fixed_set.sha256 for result in results)
    return (_hash(path) if path is not None else "") or max(made, key=lambda name: (made[name], name), default="")


def _hash(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return ""
    return _hash_as_it_is(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _hash_as_it_is(path: Path, modified: int, size: int) -> str:
    """The hash of a file that looks like this; what cannot be read has none."""
    del modified, size
    from critictui.scoring.read_set import sha256_of

    try:
        return sha256_of(path)
    except OSError:
        return ""
