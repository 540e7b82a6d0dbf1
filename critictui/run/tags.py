"""Tags as their writers spell them: on which pairs a metric was measured, and when two tags are one metric."""

from __future__ import annotations

TRAIN = ("train/", "train_")
HELD_OUT = ("eval/", "eval_", "val/", "validation/", "test/")


def side_of(tag: str) -> str:
    """`train`, `held-out`, or empty where a tag's name does not say on which pairs it was measured."""
    if tag.startswith(TRAIN):
        return "train"
    return "held-out" if tag.startswith(HELD_OUT) else ""


def same_metric(tag: str) -> str:
    """A key that is equal for the spellings of one metric in the files of one trainer.

    The Hugging Face trainer prints `loss` and `eval_loss` and writes `train/loss` and `eval/loss` for TensorBoard.
    """
    if tag.startswith("eval_"):
        return "eval/" + tag.removeprefix("eval_")
    return tag.removeprefix("train/")


def without_side(tag: str) -> str:
    """The tag without what its front says of the pairs: `train/loss`, `eval_loss` and `loss` are `loss`."""
    front = next((side for side in (*TRAIN, *HELD_OUT) if tag.startswith(side)), "")
    return tag.removeprefix(front)
