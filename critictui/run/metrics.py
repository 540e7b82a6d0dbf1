"""The canonical names of what a critic run logs, and the spellings of others that mean the same."""

from __future__ import annotations

D_ACC = "critic/d_acc"
TEACHER_MEAN = "critic/teacher_score_mean"
STUDENT_MEAN = "critic/student_score_mean"
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
