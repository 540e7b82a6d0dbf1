"""Causes in how a response is scored: which tokens are pooled, how accuracy is counted, what is cut off."""

# ruff: noqa: E501  (a message is one sentence on one line, so that it can be searched for)

from __future__ import annotations

import math
from dataclasses import replace

from critictui.diagnosis.case import FAR, NEAR, Case
from critictui.diagnosis.causes.common import cause_of, simulated
from critictui.diagnosis.finding import Cause
from critictui.diagnosis.replay import difference_in_words, in_words
from critictui.diagnosis.simulation import CLEARLY


def score_definition(case: Case) -> Cause:
    """Does the test pool other tokens than training?"""
    replay = case.replay
    if replay is not None and replay.found is not None and not replay.reproduced:
        words = difference_in_words(replay.found.recipe, replay.asked.recipe)
        return cause_of("score-definition", "proven", f"Replayed from saved responses: {words}.",
                      "save the recipe with `critictui replay ... --save-recipe` and score again",
                      recipe=replay.found.recipe.to_dict())  # fmt: skip
    cause = simulated(case, "score-definition", "The test scores other tokens than training did.",
                       "score prompt ids plus raw response ids, and pool the response's own positions")  # fmt: skip
    if cause.verdict == "untested" and replay is not None and replay.reproduced:
        return cause_of("score-definition", "ruled-out", "the recipe reproduces the scores that training recorded")
    if replay is not None and replay.found is None:
        said = in_words(replay)
        return replace(cause, message=f"{cause.message.rstrip('.')}. {said[0].upper()}{said[1:]}.")
    return cause


def accuracy_definition(case: Case) -> Cause:
    """Soft against hard, ties as wins or losses: in the test, or in what training logs."""
    logged_soft = _logged_soft(case)
    if logged_soft is not None:
        return logged_soft
    return simulated(case, "accuracy-definition", "The accuracy is defined differently.",
                      "count teacher > student, and report ties beside it")  # fmt: skip


def _logged_soft(case: Case) -> Cause | None:
    """Some forks log mean sigmoid(T - S) as d_acc: then the logged curve is this checkpoint's soft accuracy.

    Never where the logged values are shares of a step's pairs: those are hard. And only where the soft accuracy accounts
    for them clearly better than the hard one, which is near it by chance in one of so many checkpoints.
    """
    own, logged = case.own, case.logged.d_acc
    if own is None or logged is None or not math.isfinite(logged.error) or case.real_lands is False:
        return None
    if case.logged.d_acc_share_of is not None or case.nothing_to_explain:
        return None
    error = math.sqrt(max(own.d_acc * (1 - own.d_acc), 1e-6) / max(own.pairs, 1))
    hard, soft = logged.differs(own.d_acc, error), logged.differs(own.soft, error)
    margin = case.logged.margin
    same_margin = margin is None or not own.margin or 0.8 < margin.mean / own.margin < 1.25
    if hard <= FAR or soft > NEAR or (hard**2 - soft**2) / 2 <= CLEARLY or not same_margin:
        return None
    return cause_of(
        "accuracy-definition", "likely",
        f"Training logs {logged:.3f}: that is this checkpoint's soft accuracy, mean sigmoid(T - S), {own.soft:.3f} on the fixed set, and no share of a step's pairs; the share of pairs won is {own.d_acc:.3f}.",
        "compare the logged curve with the score's d_acc_soft, or log teacher > student",
        logged=logged.mean, soft=own.soft, hard=own.d_acc,
    )  # fmt: skip


def eos_mismatch(case: Case) -> Cause:
    """EOS on one side only."""
    sides = _eos_sides(case)
    cause = simulated(case, "eos-mismatch", "One side's tokens end in EOS and the other's do not.",
                       "score without EOS (recipe eos=exclude), or give both sides one")  # fmt: skip
    if sides is not None and cause.verdict in {"untested", "ruled-out"} and not case.claimed:
        teacher, student = sides
        recipe = case.score.recipe if case.score is not None else {}
        one_sided = abs(teacher - student) > 0.5 and recipe.get("eos") == "include"
        if one_sided and not case.nothing_to_explain:
            return cause_of("eos-mismatch", "likely",
                          f"{teacher:.0%} of the teacher's and {student:.0%} of the students' responses end in EOS, and the recipe scores it",
                          "use a recipe with eos=exclude", teacher=teacher, student=student)  # fmt: skip
    return cause


def _eos_sides(case: Case) -> tuple[float, float] | None:
    """Shares of teacher and student responses whose ids end in the tokenizer's EOS, as the fixed set stores them."""
    if case.fixed_set is None:
        return None
    eos = case.fixed_set.header.get("eos_token_id")
    if not isinstance(eos, int):
        return None
    teacher = [p.teacher.ids[-1] == eos for p in case.fixed_set.prompts if p.teacher.ids]
    student = [s.ids[-1] == eos for p in case.fixed_set.prompts for s in p.students if s.ids]
    if not teacher or not student:
        return None
    return sum(teacher) / len(teacher), sum(student) / len(student)


def truncation(case: Case) -> Cause:
    """Are responses cut before they are scored?"""
    return simulated(case, "truncation", "Texts are cut before the response is scored whole.",
                      "raise the length limit, and let it count new tokens only")  # fmt: skip
