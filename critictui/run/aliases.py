"""What a tag means: the spellings of the trainers go in, the canonical name of the metric comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from critictui.run import metrics as m

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    m.D_ACC: ("critic/accuracy", "rewards/accuracies", "accuracy", "accuracies", "acc", "acc_mean"),
    m.TEACHER_MEAN: ("critic/teacher_value_mean", "rewards/chosen", "chosen_reward", "chosen_rewards"),
    m.STUDENT_MEAN: (
        "critic/student_value_mean", "rewards/rejected", "reject_reward", "rejected_reward", "rejected_rewards",
    ),
    m.SCORE_MEAN: ("mean_reward",),
    m.SCORE_DIFF: ("critic/raw_score_diff", "rewards/margins", "margin", "margins", "reward_margin"),
    m.TEACHER_STD: ("critic/teacher_value_std", "rewards/chosen_std"),
    m.STUDENT_STD: ("critic/student_value_std", "rewards/rejected_std"),
    m.SCORE_RANGE: ("critic/value_range",),
    m.D_LOSS: ("critic/ranking_loss", "critic/vf_loss", "loss"),
    m.GRAD_NORM: ("grad_norm",),
    m.LEARNING_RATE: ("learning_rate", "lr"),
    m.RESPONSE_LENGTH: ("response_length",),
    m.EPOCH: ("epoch",),
    m.VALUE_MAX: ("critic/value_max", "critic/values_max"),
    m.VALUE_MIN: ("critic/value_min", "critic/values_min"),
}  # fmt: skip
"""Canonical name to what else it is called, the better stand-in first. Sources: DOMAIN.md's table (GAD and verl, the
report's fork), TRL's RewardTrainer and DPO family, OpenRLHF's reward model trainer, LLaMA-Factory, ms-swift."""

_TRAIN = ("train/", "train_")
_HELD_OUT = ("eval/", "eval_", "val/", "validation/", "test/")
_RANK: dict[str, tuple[str, int]] = {
    spelling: (name, rank) for name, others in SPELLINGS.items() for rank, spelling in enumerate((name, *others))
}
_HELD_OUT_RANK = 1000
_USER_RANK = -1


def meaning(tag: str, user: Mapping[str, str]) -> tuple[str, int] | None:
    """The canonical name of a tag and how well it stands for it (lower is better), or None for no known spelling.

    The user's aliases come first. A prefix `train/` or `eval/` is looked through, `eval/` as the lesser one.
    """
    if tag in user:
        return user[tag], _USER_RANK
    if tag in _RANK:
        return _RANK[tag]
    for prefix in _TRAIN:
        if tag.startswith(prefix) and tag[len(prefix) :] in _RANK:
            return _RANK[tag[len(prefix) :]]
    for prefix in _HELD_OUT:
        if tag.startswith(prefix) and tag[len(prefix) :] in _RANK:
            name, rank = _RANK[tag[len(prefix) :]]
            return name, rank + _HELD_OUT_RANK
    return None


def side_of(tag: str) -> str:
    """`train`, `held-out`, or empty where a tag's name does not say on which pairs it was measured."""
    if tag.startswith(_TRAIN):
        return "train"
    return "held-out" if tag.startswith(_HELD_OUT) else ""


def canonical(tag: str, user: Mapping[str, str]) -> str:
    """The canonical name of a tag, or the tag itself."""
    found = meaning(tag, user)
    return tag if found is None else found[0]


def stand_ins(tags: Iterable[str], user: Mapping[str, str]) -> dict[str, str]:
    """Canonical name to the tag that stands for it: the best spelling, of equals the first."""
    best: dict[str, tuple[int, str]] = {}
    for tag in tags:
        found = meaning(tag, user)
        if found is not None and (found[0] not in best or found[1] < best[found[0]][0]):
            best[found[0]] = (found[1], tag)
    return {name: tag for name, (_, tag) in best.items()}


def same_metric(tag: str) -> str:
    """A key that is equal for the spellings of one metric in the files of one trainer.

    The Hugging Face trainer prints `loss` and `eval_loss` and writes `train/loss` and `eval/loss` for TensorBoard.
    """
    if tag.startswith("eval_"):
        return "eval/" + tag.removeprefix("eval_")
    return tag.removeprefix("train/")
