"""Is this checkpoint sound? Its audit, its neighbours and its behaviour go in; findings, worst first, come out."""
# ruff: noqa: E501  (a message is one sentence on one line, so that it can be searched for)

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from critictui.checkpoint.checkpoint import Audit, Checkpoint
from critictui.diagnosis.behaviour import Behaviour, Spread
from critictui.diagnosis.finding import Diagnosis, Finding, FindingSeverity
from critictui.scoring.result import ScoreResult

LARGE_MEAN = 5.0
LARGE_STD = 5.0
SMALL_STD = 0.1
LARGE_VALUE = 10.0
"""The report's thresholds for scores (mean 5, standard deviation 0.1 and 5) and token values (10)."""
LENGTH_BIAS = 0.3
_SAME_LOAD = 1e-3
"""Two loads of one checkpoint differ by less, relative to the spread, whatever the order of summation."""
_SEVERITIES: tuple[FindingSeverity, ...] = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True, eq=False)
class Neighbour:
    """Another checkpoint of the same run, as far as its files were read."""

    checkpoint: Checkpoint
    audit: Audit


def diagnose(
    checkpoint: Checkpoint,
    audit: Audit | None,
    behaviour: Behaviour | None,
    neighbours: Sequence[Neighbour] = (),
    scores: Sequence[ScoreResult] = (),
    *,
    problem: str = "",
) -> Diagnosis:
    """Every finding about one checkpoint, worst first.

    `audit` is None when the files could not even be read; `behaviour` is None when no fixed set was given or when the
    audit forbids a score. `scores` are those of the run, of any checkpoint. problem: why there is no audit.
    """
    findings = [
        *_files(checkpoint, audit, problem),
        *(_head(audit) if audit is not None else ()),
        *(_neighbours(audit, neighbours) if audit is not None else ()),
        *(_behaviour(behaviour) if behaviour is not None else ()),
        *(_texts(behaviour) if behaviour is not None else ()),
        *(_history(checkpoint, audit, behaviour, scores)),
    ]
    findings.sort(key=lambda f: _SEVERITIES.index(f.severity))
    worst = findings[0].severity if findings else "info"
    verdict = {"critical": "broken", "warning": "doubtful", "info": "sound"}[worst]
    return Diagnosis(verdict, tuple(findings), _facts(checkpoint, audit, behaviour))  # type: ignore[arg-type]


def _finding(id_: str, severity: FindingSeverity, message: str, advice: str = "", /, **evidence: object) -> Finding:
    return Finding(id_, severity, message, evidence, advice)


# --- what was loaded


def _files(checkpoint: Checkpoint, audit: Audit | None, problem: str) -> Iterator[Finding]:
    if checkpoint.state != "complete":
        yield _finding(
            "incomplete",
            "critical",
            f"{checkpoint.path.name}: {checkpoint.reason or checkpoint.state}",
            "wait until it is whole, or take the step before",
        )
    if audit is None:
        if problem:
            yield _finding("weights-damaged", "critical", problem, "copy the checkpoint again, or take another step")
        return
    for id_, message in audit.problems:
        if id_ != "incomplete" or checkpoint.state == "complete":
            yield _finding(
                id_,
                "critical",
                message,
                "no score of this checkpoint can be believed; copy it again or take another step",
            )


def _head(audit: Audit) -> Iterator[Finding]:
    head = audit.head
    if head is None:
        return
    evidence = {"name": head.weight_name, "mean": head.mean, "std": head.std, "norm": head.norm, "bias": head.bias}
    if head.zero:
        yield _finding(
            "head-not-trained",
            "critical",
            f"{head.weight_name} is zero everywhere: every response scores the same",
            "take a checkpoint that training wrote after its first step",
            **evidence,
        )
    elif head.looks_initialised in {"hf", "trl"}:
        origin = (
            "normal with standard deviation 0.02, as Hugging Face initialises"
            if head.looks_initialised == "hf"
            else "uniform within 1/sqrt(d), as trl initialises"
        )
        yield _finding(
            "head-not-trained",
            "warning",
            f"{head.weight_name} looks as it was initialised ({origin}; std {head.std:.4f}): training may never have moved it",
            "compare it with a later step's head; if equal, the optimiser does not hold it",
            **evidence,
        )
    if head.bias is not None and abs(head.bias) > max(3 * head.std, 1 / math.sqrt(max(head.shape[-1], 1))) * 1.05:
        yield _finding(
            "head-not-trained",
            "info",
            f"the head's bias is {head.bias:.3f}: a pairwise loss does not move a bias, so another loss or an initialisation put it there",
            **evidence,
        )


def _neighbours(audit: Audit, neighbours: Sequence[Neighbour]) -> Iterator[Finding]:
    head = audit.head
    for other in neighbours:
        if other.audit.path == audit.path:
            continue
        name = f"step {other.checkpoint.step}" if other.checkpoint.step is not None else other.checkpoint.path.name
        if other.audit.fingerprint == audit.fingerprint:
            yield _finding(
                "head-identical",
                "warning",
                f"all weights are those of {name}: nothing was trained in between",
                "check the learning rate and that the optimiser steps",
                other=str(other.checkpoint.path),
            )
            return
        if head is not None and other.audit.head is not None and head.sha256 == other.audit.head.sha256:
            yield _finding(
                "head-identical",
                "warning",
                f"the value head is that of {name}, bit for bit, while other weights moved",
                "check that the optimiser holds the head",
                other=str(other.checkpoint.path),
            )
            return


# --- what it does


def _behaviour(b: Behaviour) -> Iterator[Finding]:
    spread = max(b.teacher.std, b.student.std, 1e-9)
    if b.second_load > _SAME_LOAD * spread and not math.isnan(b.second_load):
        yield _finding(
            "head-missing",
            "critical",
            f"a second load gives other scores (up to {b.second_load:.3g} apart): something in it is random",
            "some tensor is newly initialised at every load",
            difference=b.second_load,
        )
    if b.non_finite:
        yield _finding(
            "weights-damaged",
            "critical",
            f"{b.non_finite} responses have a score that is not finite",
            "training diverged before this checkpoint; go back",
            responses=b.non_finite,
        )
    yield from _levels(b)
    if b.above_10 > 0:
        worst = max(abs(b.values.min), abs(b.values.max))
        yield _finding(
            "value-outliers",
            "warning",
            f"{b.above_10:.1%} of the token values are beyond ±{LARGE_VALUE:g} (largest {worst:.1f})",
            "look at the samples that hold them; clip or lower the learning rate",
            share=b.above_10,
            largest=worst,
        )
    if b.values.std < SMALL_STD:
        yield _finding(
            "value-collapse",
            "critical",
            f"token values hardly differ (std {b.values.std:.3g}): the critic gives everything the same value",
            "go back to a checkpoint with spread",
            std=b.values.std,
        )
    else:
        yield from _discrimination(b)
    if abs(b.length_spearman) > LENGTH_BIAS:
        yield _finding(
            "length-bias",
            "warning",
            f"score follows length (Spearman {b.length_spearman:+.2f})",
            "balance lengths in the pairs that it is trained on",
            spearman=b.length_spearman,
        )


def _levels(b: Behaviour) -> Iterator[Finding]:
    for role, s in (("teacher", b.teacher), ("student", b.student)):
        if abs(s.mean) > LARGE_MEAN:
            yield _finding(
                "value-outliers",
                "info",
                f"the {role} mean is {s.mean:.2f}, beyond ±{LARGE_MEAN:g}: a pairwise loss leaves the level free, so this alone is no fault",
                role=role,
                mean=s.mean,
            )
    if b.teacher.std > LARGE_STD:
        yield _finding(
            "value-outliers",
            "warning",
            f"teacher scores are spread widely (std {b.teacher.std:.2f})",
            "scores this wide make an unstable reward",
            std=b.teacher.std,
        )


def _discrimination(b: Behaviour) -> Iterator[Finding]:
    if b.pairs and b.tie_rate > 0.5:
        yield _finding(
            "collapsed",
            "critical",
            f"{b.tie_rate:.0%} of the pairs are ties",
            "teacher and student texts may be the same, or the head is dead",
            tie_rate=b.tie_rate,
        )
    elif b.d_acc_low <= 0.5 <= b.d_acc_high:
        numbers = f"d_acc {b.d_acc:.3f} ({b.d_acc_low:.3f} to {b.d_acc_high:.3f}) on {b.pairs} pairs"
        if b.pairs < 50:
            yield _finding(
                "by-chance",
                "info",
                f"{numbers}: too few pairs to tell",
                "score more pairs",
                d_acc=b.d_acc,
                margin=b.margin,
            )
        else:
            yield _finding(
                "collapsed",
                "critical",
                f"{numbers}: it does not tell teacher from student",
                "look at the logged curve; go back to the best checkpoint",
                d_acc=b.d_acc,
                margin=b.margin,
            )
    elif b.d_acc_high < 0.5:
        yield _finding(
            "collapsed",
            "critical",
            f"d_acc {b.d_acc:.3f}: it prefers the student",
            "labels or signs are swapped somewhere",
            d_acc=b.d_acc,
        )


def _texts(b: Behaviour) -> Iterator[Finding]:
    if b.tokenizer and b.fixed_set_tokenizer and b.tokenizer != b.fixed_set_tokenizer:
        yield _finding(
            "wrong-tokenizer",
            "critical",
            "the fixed set's tokens were made with another tokenizer than the checkpoint's",
            "make the fixed set with the checkpoint's own tokenizer",
            checkpoint=b.tokenizer,
            fixed_set=b.fixed_set_tokenizer,
        )
    if b.template and b.fixed_set_template and b.template != b.fixed_set_template:
        yield _finding(
            "wrong-tokenizer",
            "warning",
            "the fixed set was made with another chat template than the checkpoint's",
            "make the fixed set again, or set the recipe's chat_template",
            checkpoint=b.template,
            fixed_set=b.fixed_set_template,
        )
    if b.echoed > 0.5:
        yield _finding(
            "prompt-echo",
            "critical",
            f"{b.echoed:.0%} of the student responses begin with their prompt: formats are told apart, not answers",
            "make the fixed set with `critictui prepare`: it decodes new tokens only",
            share=b.echoed,
        )
    if b.garbled > 0.5:
        yield _finding(
            "prompt-garbled",
            "critical",
            f"{b.garbled:.0%} of the prompts are Python's repr of a chat",
            "keep messages as messages",
            share=b.garbled,
        )
    if abs(b.eos_teacher - b.eos_student) > 0.5:
        numbers = f"{b.eos_teacher:.0%} of the teacher's and {b.eos_student:.0%} of the students' responses end in EOS"
        if b.recipe_eos == "include":
            yield _finding(
                "eos-mismatch",
                "critical",
                f"{numbers} and the recipe scores it",
                "use a recipe with eos=exclude",
                shift=b.eos_shift,
            )
        else:
            yield _finding("eos-mismatch", "info", f"{numbers}; the recipe leaves EOS out", shift=b.eos_shift)
    if b.truncated > 0.1:
        yield _finding(
            "truncation",
            "warning",
            f"{b.truncated:.0%} of the responses are cut",
            "raise max_response_tokens, or generate with more new tokens",
            share=b.truncated,
        )


def _history(
    checkpoint: Checkpoint, audit: Audit | None, behaviour: Behaviour | None, scores: Sequence[ScoreResult]
) -> Iterator[Finding]:
    own = [s for s in scores if audit is not None and s.checkpoint_fingerprint == audit.fingerprint]
    if not own:
        return
    mine = own[-1]
    others = [s for s in scores if s.series == mine.series and s.step is not None and s is not mine]
    best = max(others, key=lambda s: s.d_acc, default=None)
    if best is None or best.d_acc <= mine.d_acc:
        return
    if best.d_acc_ci[0] > mine.d_acc_ci[1]:
        text = f"step {best.step} scored {best.d_acc:.3f} on the same fixed set, this one {mine.d_acc:.3f}: the intervals do not meet"
        yield _finding(
            "collapsed" if mine.d_acc_ci[0] <= 0.5 else "memorised",
            "warning",
            text,
            f"use step {best.step}",
            best=best.d_acc,
            this=mine.d_acc,
        )


def _facts(checkpoint: Checkpoint, audit: Audit | None, behaviour: Behaviour | None) -> dict[str, object]:
    facts: dict[str, object] = {
        "checkpoint": str(checkpoint.path),
        "step": checkpoint.step,
        "layout": checkpoint.layout,
    }
    if audit is not None:
        facts |= {"parameters": audit.parameters, "dtypes": list(audit.dtypes), "fingerprint": audit.fingerprint}
        if audit.head is not None:
            facts["head"] = asdict(audit.head)
    if behaviour is not None:
        for name, value in asdict(behaviour).items():
            facts[name] = asdict(value) if isinstance(value, Spread) else value
    return facts
