"""The case goes in, one verdict with its numbers a cause comes out."""

from __future__ import annotations

from collections.abc import Callable

from critictui.diagnosis.case import Case
from critictui.diagnosis.causes.curve import by_chance, collapsed, memorised, train_average
from critictui.diagnosis.causes.loading import damaged, head_missing, wrong_tokenizer
from critictui.diagnosis.causes.scoring import accuracy_definition, eos_mismatch, score_definition, truncation
from critictui.diagnosis.causes.texts import length_bias, prompt_echo, prompt_garbled, sampling_mismatch
from critictui.diagnosis.finding import Cause

Judge = Callable[[Case], Cause]

JUDGES: tuple[Judge, ...] = (
    head_missing, score_definition, accuracy_definition, prompt_echo, prompt_garbled, truncation, eos_mismatch,
    memorised, collapsed, train_average, sampling_mismatch, wrong_tokenizer, length_bias, by_chance,
)  # fmt: skip
"""In the order in which equals are ranked: the structural causes first."""


def judge_all(case: Case) -> tuple[Cause, ...]:
    """Every cause, judged; those of damaged files first."""
    return (*damaged(case), *(judge(case) for judge in JUDGES))
