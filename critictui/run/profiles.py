"""Trainers by what they log: how each spells the metrics, and by which tags or form of file it is recognised.

Sources: DOMAIN's table for GAD on verl and the report's fork of it; what TRL's RewardTrainer and DPO family, OpenRLHF's
reward model trainer, LLaMA-Factory and ms-swift write. Users add their own, `[profiles.NAME]` in the configuration.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from critictui.config import Known, ProfileSettings
from critictui.run import metrics as m
from critictui.run.tags import same_metric


@dataclass(frozen=True, slots=True)
class Profile:
    """One trainer."""

    name: str
    aliases: Mapping[str, str]
    """A tag as it is written to the canonical name that it means, the better stand-in first."""
    recognised_by: tuple[str, ...] = ()
    """Tags of which one is enough, without `train/` or `eval/` before them; `*` stands for any text."""
    by_user: bool = False


@dataclass(frozen=True, slots=True)
class Recognised:
    """The profile of a run and what speaks for it."""

    profile: Profile | None = None
    because: str = ""
    """A tag, `the form of its files`, or `the configuration`."""


_PAIRS = {
    "rewards/accuracies": m.D_ACC, "rewards/chosen": m.TEACHER_MEAN, "rewards/rejected": m.STUDENT_MEAN,
    "rewards/margins": m.SCORE_DIFF,
}  # fmt: skip
_TRAINER = {"loss": m.D_LOSS, "grad_norm": m.GRAD_NORM, "learning_rate": m.LEARNING_RATE, "epoch": m.EPOCH}
"""What every trainer on Hugging Face's writes."""

BUILT_IN: tuple[Profile, ...] = (
    Profile(
        "gad-fork",
        {
            "critic/accuracy": m.D_ACC, "critic/raw_score_diff": m.SCORE_DIFF, "critic/value_range": m.SCORE_RANGE,
            "critic/ranking_loss": m.D_LOSS,
        },
        (
            "critic/teacher_score_mean", "critic/student_score_mean", "critic/score_diff", "critic/raw_score_diff",
            "critic/teacher_score_std", "critic/student_score_std", "critic/ranking_loss",
        ),
    ),
    Profile(
        "gad",
        {
            "critic/teacher_value_mean": m.TEACHER_MEAN, "critic/student_value_mean": m.STUDENT_MEAN,
            "critic/teacher_value_std": m.TEACHER_STD, "critic/student_value_std": m.STUDENT_STD,
        },
        ("critic/d_acc", "critic/d_loss", "critic/teacher_value_mean", "critic/student_value_mean"),
    ),
    Profile(
        "verl",
        {
            "critic/vf_loss": m.D_LOSS, "critic/value_max": m.VALUE_MAX, "critic/values_max": m.VALUE_MAX,
            "critic/value_min": m.VALUE_MIN, "critic/values_min": m.VALUE_MIN, "response_length": m.RESPONSE_LENGTH,
        },
        ("timing_s/*", "actor/*", "perf/*", "timing_per_token_ms/*", "global_seqlen/*", "val-core/*"),
    ),
    Profile(
        "openrlhf",
        {
            "acc": m.D_ACC, "acc_mean": m.D_ACC, "chosen_reward": m.TEACHER_MEAN, "reject_reward": m.STUDENT_MEAN,
            "loss": m.D_LOSS, "lr": m.LEARNING_RATE,
        },
        ("chosen_reward", "reject_reward", "acc_mean"),
    ),
    Profile(
        "trl",
        {
            **_PAIRS, "accuracy": m.D_ACC, "accuracies": m.D_ACC, "chosen_rewards": m.TEACHER_MEAN,
            "rejected_reward": m.STUDENT_MEAN, "rejected_rewards": m.STUDENT_MEAN, "mean_reward": m.SCORE_MEAN,
            "margin": m.SCORE_DIFF, "margins": m.SCORE_DIFF, "reward_margin": m.SCORE_DIFF,
            "rewards/chosen_std": m.TEACHER_STD, "rewards/rejected_std": m.STUDENT_STD, **_TRAINER,
        },
        ("rewards/chosen", "rewards/margins", "rewards/accuracies", "margin", "mean_reward"),
    ),
    Profile("llama-factory", {**_PAIRS, "accuracy": m.D_ACC, **_TRAINER, "lr": m.LEARNING_RATE}),
    Profile("ms-swift", {**_PAIRS, "margin": m.SCORE_DIFF, **_TRAINER}),
)  # fmt: skip
"""A critic's own tags come before verl's: a fork of verl logs those too."""
KNOWN = Known((*m.NAMES, *m.VERL_NAMES), tuple(profile.name for profile in BUILT_IN))
"""What a configuration may name."""
_BY_FORM = ("llama-factory", "ms-swift")
"""Recognised by how their files look; both drive TRL's trainers, and their word wins over TRL's names."""


def profiles_of(user: Mapping[str, ProfileSettings]) -> dict[str, Profile]:
    """All profiles by name, the user's first. One that is named as a built-in adds to it."""
    own = {}
    built_in = {profile.name: profile for profile in BUILT_IN}
    for name, settings in user.items():
        known = built_in.pop(name, Profile(name, {}))
        own[name] = Profile(
            name, {**settings.aliases, **known.aliases}, (*settings.recognised_by, *known.recognised_by), by_user=True
        )
    return {**own, **built_in}


def recognise(
    tags: Collection[str], hints: Collection[str], profiles: Mapping[str, Profile], forced: str = "auto"
) -> Recognised:
    """The profile of a run: the one that is forced, else by its tags, else by what a source said of its form.

    hints: what each source says of itself, `''` for nothing.
    """
    if forced in profiles:
        return Recognised(profiles[forced], "the configuration")
    keys = {same_metric(tag).removeprefix("eval/"): tag for tag in tags}
    said = next((hint for hint in hints if hint in _BY_FORM), "")
    for profile in sorted(profiles.values(), key=lambda p: (not p.by_user, p.name == "verl")):
        mark = _mark(keys, profile.recognised_by)
        if mark is None or (profile.name == "verl" and said):
            continue
        if profile.name == "trl" and said:
            break
        return Recognised(profile, mark)
    form = said or ("verl" if "verl" in hints else "")
    return Recognised(profiles.get(form), "the form of its files") if form else Recognised()


def _mark(keys: Mapping[str, str], patterns: tuple[str, ...]) -> str | None:
    """The tag by which a profile is recognised."""
    for pattern in patterns:
        if "*" in pattern:
            found = next((tag for key, tag in keys.items() if fnmatchcase(key, pattern)), None)
        else:
            found = keys.get(pattern)
        if found is not None:
            return found
    return None
