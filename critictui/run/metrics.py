"""The canonical names of what a critic run logs; how others spell them is in `run.profiles`."""

from __future__ import annotations

D_ACC = "critic/d_acc"
TEACHER_MEAN = "critic/teacher_score_mean"
STUDENT_MEAN = "critic/student_score_mean"
SCORE_MEAN = "critic/score_mean"
"""Over both sides, which have as many scores."""
SCORE_DIFF = "critic/score_diff"
TEACHER_STD = "critic/teacher_score_std"
STUDENT_STD = "critic/student_score_std"
SCORE_RANGE = "critic/score_range"
D_LOSS = "critic/d_loss"
GRAD_NORM = "critic/grad_norm"
LEARNING_RATE = "critic/lr"
RESPONSE_LENGTH = "response_length/mean"
EPOCH = "training/epoch"
VALUE_MAX = "critic/values/max"
VALUE_MIN = "critic/values/min"

NAMES: tuple[str, ...] = (
    D_ACC, TEACHER_MEAN, STUDENT_MEAN, SCORE_MEAN, SCORE_DIFF, TEACHER_STD, STUDENT_STD, SCORE_RANGE, D_LOSS, GRAD_NORM,
    LEARNING_RATE, RESPONSE_LENGTH, EPOCH, VALUE_MAX, VALUE_MIN,
)  # fmt: skip
"""All of them."""

VERL_NAMES: tuple[str, ...] = (
    "critic/score/mean", "critic/score/max", "critic/score/min", "timing_s/step", "critic/ranking_loss",
    "actor/pg_loss", "actor/grad_norm", "actor/entropy_loss", "actor/entropy",
)  # fmt: skip
"""Names of verl's that rules read too: an alias may lead to them."""
