"""Which recipe a checkpoint is scored by: what was asked for, else what it shows of its trainer, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from critictui.checkpoint.origin import TRL_REWARD, has_chat_template, trainer_of
from critictui.scoring.recipe import AUTO, PRESETS, Recipe, recipe_from, with_template_read


@dataclass(frozen=True, slots=True)
class Chosen:
    """A recipe and why it is this one."""

    recipe: Recipe
    reason: str
    """In words; empty where it was asked for, or is the usual one."""


def choose_recipe(spec: str | Mapping[str, object] | None, checkpoint: Path) -> Chosen:
    """The recipe that `spec` asks for; with `auto`, TRL's for what TRL's RewardTrainer wrote, else `gad-fork`.

    checkpoint: the folder that holds the weights. Only the class of the saved arguments is proof: a head named
    `score.weight` is verl's too, and other trainers log under TRL's names. Raises ScoringError for a bad spec, a chat
    template that cannot be read among them.
    """
    if spec is not None and spec != AUTO:
        return Chosen(with_template_read(recipe_from(spec)), "")
    if trainer_of(checkpoint) != TRL_REWARD:
        return Chosen(recipe_from(AUTO), "")
    seen = "training_args.bin is of TRL's RewardTrainer"
    if has_chat_template(checkpoint) is False:
        return Chosen(PRESETS["trl-text"], f"recipe trl-text: {seen}, and its tokenizer has no chat template")
    return Chosen(PRESETS["trl"], f"recipe trl: {seen} (pairs of plain text: --recipe trl-text)")
