"""Which trainer wrote a run: its tags go in, the name of a profile comes out."""

from __future__ import annotations

from collections.abc import Collection

from critictui.run.aliases import same_metric

_BY_TAG: tuple[tuple[str, frozenset[str]], ...] = (
    (
        "gad-fork",
        frozenset(
            {
                "critic/teacher_score_mean", "critic/student_score_mean", "critic/score_diff", "critic/raw_score_diff",
                "critic/teacher_score_std", "critic/student_score_std", "critic/ranking_loss",
            }
        ),
    ),
    ("gad", frozenset({"critic/d_acc", "critic/d_loss", "critic/teacher_value_mean", "critic/student_value_mean"})),
    ("openrlhf", frozenset({"chosen_reward", "reject_reward", "acc_mean"})),
    ("trl", frozenset({"rewards/chosen", "rewards/margins", "rewards/accuracies", "margin", "mean_reward"})),
)  # fmt: skip
_VERL_PREFIXES = ("timing_s/", "actor/", "perf/", "timing_per_token_ms/", "global_seqlen/", "val-core/")


def profile_of(tags: Collection[str], hints: Collection[str]) -> str:
    """The profile: what the tags say of a critic, then what a source recognised by its form, then verl, or ''.

    Tags of a critic come first: a fork of verl prints verl's lines, and LLaMA-Factory drives TRL's trainers; there
    the form of the file is the better witness, and it wins over TRL's names.
    """
    keys = {same_metric(tag).removeprefix("eval/") for tag in tags}
    said = next((hint for hint in hints if hint not in {"", "verl", "hf"}), "")
    for name, marks in _BY_TAG:
        if keys & marks:
            return said if name == "trl" and said else name
    if said:
        return said
    return "verl" if "verl" in hints or any(key.startswith(_VERL_PREFIXES) for key in keys) else ""
