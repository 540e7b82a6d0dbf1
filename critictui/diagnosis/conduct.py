"""What a checkpoint does on a fixed set goes in, findings about scores, values, texts and tokens come out."""
# ruff: noqa: E501  (a message is one sentence on one line, so that it can be searched for)

from __future__ import annotations

import math
from collections.abc import Iterator

from critictui.diagnosis.behaviour import Behaviour
from critictui.diagnosis.finding import Finding, FindingSeverity
from critictui.scoring.statistics import is_length_bias

LARGE_MEAN = 5.0
LARGE_STD = 5.0
SMALL_STD = 0.1
LARGE_VALUE = 10.0
"""The report's thresholds for scores (mean 5, standard deviation 0.1 and 5) and token values (10)."""
LENGTH_BIAS = 0.3
WEAK = 0.55
"""A d_acc whose interval reaches down to here is little to train against: the report's healthy range begins at 0.7."""
FEW_PAIRS = 50
"""Below this a d_acc of 0.6 cannot be told from chance (Wilson, 95 %)."""
_DEAD = 0.05
"""A token's place whose values are spread by less than this share of all values' spread is saturated there."""
_SAME_LOAD = 1e-3
"""Two loads of one checkpoint differ by less, relative to the spread, whatever the order of summation."""


def finding(id_: str, severity: FindingSeverity, message: str, advice: str = "", /, **evidence: object) -> Finding:
    """A finding with its evidence as keywords."""
    return Finding(id_, severity, message, evidence, advice)


def behaviour_findings(b: Behaviour) -> Iterator[Finding]:
    """What the scores and token values say, texts and tokens last."""
    spread = max(b.teacher.std, b.student.std, 1e-9)
    if b.second_load > _SAME_LOAD * spread and not math.isnan(b.second_load):
        yield finding(
            "head-missing",
            "critical",
            f"a second load gives other scores (up to {b.second_load:.3g} apart): something in it is random",
            "some tensor is newly initialised at every load",
            difference=b.second_load,
        )
    if b.non_finite:
        yield finding(
            "weights-damaged",
            "critical",
            f"{b.non_finite} responses have a score that is not finite",
            "training diverged before this checkpoint; go back",
            responses=b.non_finite,
        )
    yield from _levels(b)
    if b.above_10 > 0:
        worst = max(abs(b.values.min), abs(b.values.max))
        yield finding(
            "value-outliers",
            "warning",
            f"{b.above_10:.1%} of the token values are beyond ±{LARGE_VALUE:g} (largest {worst:.1f})",
            "look at the samples that hold them; clip or lower the learning rate",
            share=b.above_10,
            largest=worst,
        )
    dead, orders = b.values.std < SMALL_STD, b.d_acc_low > 0.5 or b.d_acc_high < 0.5
    if dead or (orders and min(b.teacher.std, b.student.std) < SMALL_STD):
        yield _spread(b)
    if not dead or orders:
        yield from _discrimination(b)
    for where, std in (("first", b.first_token_std), ("last", b.last_token_std)):
        if std < _DEAD * b.values.std:
            yield finding(
                "value-collapse",
                "info",
                f"values at the {where} token hardly differ between responses (std {std:.3g}; over all tokens {b.values.std:.3g}): do not score by that token alone",
                std=std,
            )
    if (
        is_length_bias(b.length_spearman, b.pairs, LENGTH_BIAS) and b.echoed <= 0.5
    ):  # a repeated prompt makes students long: no bias
        yield finding(
            "length-bias",
            "warning",
            f"score follows length (Spearman {b.length_spearman:+.2f})",
            "balance lengths in the pairs that it is trained on",
            spearman=b.length_spearman,
        )
    yield from _texts(b)


def _spread(b: Behaviour) -> Finding:
    """Values or scores that lie close together: dead where they no longer tell the sides apart, else only small."""
    numbers = f"token values have a std of {b.values.std:.3g}, scores one of {b.teacher.std:.3g} (teacher) and {b.student.std:.3g} (student)"
    evidence = {"std": b.values.std, "teacher_std": b.teacher.std, "student_std": b.student.std}
    if b.d_acc_low > 0.5:
        text = f"{numbers}, under {SMALL_STD:g}; their order still tells teacher from student (d_acc {b.d_acc:.3f})"
        return finding(
            "value-collapse", "warning", text, "a reward this flat teaches little: watch the spread", **evidence
        )
    text = f"{numbers}: the critic gives everything the same"
    return finding("value-collapse", "critical", text, "go back to a checkpoint with spread", **evidence)


def _levels(b: Behaviour) -> Iterator[Finding]:
    for role, s in (("teacher", b.teacher), ("student", b.student)):
        if abs(s.mean) > LARGE_MEAN:
            yield finding(
                "value-outliers",
                "info",
                f"the {role} mean is {s.mean:z.2f}, beyond ±{LARGE_MEAN:g}: a pairwise loss leaves the level free, so this alone is no fault",
                role=role,
                mean=s.mean,
            )
        if s.std > LARGE_STD:
            yield finding(
                "value-outliers",
                "warning",
                f"the {role} scores are spread widely (std {s.std:.2f}, above {LARGE_STD:g})",
                "scores this wide make an unstable reward",
                role=role,
                std=s.std,
            )


def _discrimination(b: Behaviour) -> Iterator[Finding]:
    if b.pairs and b.tie_rate > 0.5:
        yield finding(
            "collapsed",
            "critical",
            f"{b.tie_rate:.0%} of the pairs are ties",
            "teacher and student texts may be the same, or the head is dead",
            tie_rate=b.tie_rate,
        )
    elif b.d_acc_low <= 0.5 <= b.d_acc_high:
        numbers = f"d_acc {b.d_acc:.3f} ({b.d_acc_low:.3f} to {b.d_acc_high:.3f}) on {b.pairs} pairs"
        if b.pairs < FEW_PAIRS:
            yield finding(
                "by-chance",
                "info",
                f"{numbers}: too few pairs to tell",
                "score more pairs",
                d_acc=b.d_acc,
                margin=b.margin,
            )
        else:
            yield finding(
                "collapsed",
                "critical",
                f"{numbers}: it does not tell teacher from student",
                "look at the logged curve: where it is high, ask why with `explain`; else go back to the best checkpoint",
                d_acc=b.d_acc,
                margin=b.margin,
            )
    elif 0.5 < b.d_acc_low <= WEAK and b.pairs >= FEW_PAIRS:
        yield finding(
            "collapsed",
            "warning",
            f"d_acc {b.d_acc:.3f} ({b.d_acc_low:.3f} to {b.d_acc_high:.3f}) on {b.pairs} pairs, margin {b.margin:z.2f}: hardly better than chance",
            "fine for a critic that has just begun; otherwise look where the logged curve fell",
            d_acc=b.d_acc,
            margin=b.margin,
        )
    elif b.d_acc_high < 0.5:
        yield finding(
            "collapsed",
            "critical",
            f"d_acc {b.d_acc:.3f} ({b.d_acc_low:.3f} to {b.d_acc_high:.3f}): it prefers the student",
            "where the log says the same, labels or signs are swapped; where it does not, ask why with `explain`",
            d_acc=b.d_acc,
        )


def _texts(b: Behaviour) -> Iterator[Finding]:
    if b.tokenizer and b.fixed_set_tokenizer and b.tokenizer != b.fixed_set_tokenizer:
        yield finding(
            "wrong-tokenizer",
            "critical",
            "the fixed set's tokens were made with another tokenizer than the checkpoint's",
            "make the fixed set with the checkpoint's own tokenizer",
            checkpoint=b.tokenizer,
            fixed_set=b.fixed_set_tokenizer,
        )
    if b.template and b.fixed_set_template and b.template != b.fixed_set_template:
        yield finding(
            "wrong-tokenizer",
            "warning",
            "the fixed set was made with another chat template than the checkpoint's",
            "make the fixed set again, or set the recipe's chat_template",
            checkpoint=b.template,
            fixed_set=b.fixed_set_template,
        )
    if b.echoed > 0.5:
        yield finding(
            "prompt-echo",
            "critical",
            f"{b.echoed:.0%} of the student responses begin with their prompt: formats are told apart, not answers",
            "make the fixed set with `critictui prepare`: it decodes new tokens only",
            share=b.echoed,
        )
    if b.garbled > 0.5:
        yield finding(
            "prompt-garbled",
            "critical",
            f"{b.garbled:.0%} of the prompts are Python's repr of a chat",
            "keep messages as messages",
            share=b.garbled,
        )
    one_sided = abs(b.eos_teacher - b.eos_student) > 0.5
    if one_sided or b.differing_ends:
        numbers = (
            f"{b.eos_teacher:.0%} of the teacher's and {b.eos_student:.0%} of the students' responses end in EOS"
            if one_sided
            else f"responses end in different tokens ({b.differing_ends})"
        )
        if b.recipe_eos != "exclude":
            yield finding(
                "eos-mismatch",
                "critical",
                f"{numbers} and the recipe scores it",
                "use a recipe with eos=exclude",
                shift=b.eos_shift,
            )
        else:
            yield finding("eos-mismatch", "info", f"{numbers}; the recipe leaves EOS out", shift=b.eos_shift)
    if b.truncated > 0.1:
        yield finding(
            "truncation",
            "warning",
            f"{b.truncated:.0%} of the responses are cut",
            "raise max_response_tokens, or generate with more new tokens",
            share=b.truncated,
        )
