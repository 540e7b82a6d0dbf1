"""Is this checkpoint sound? Its audit, its neighbours and its behaviour go in; findings, worst first, come out."""
# ruff: noqa: E501  (a message is one sentence on one line, so that it can be searched for)

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from critictui.checkpoint.checkpoint import Audit, Checkpoint
from critictui.diagnosis.behaviour import Behaviour, Spread
from critictui.diagnosis.conduct import behaviour_findings, finding
from critictui.diagnosis.finding import Diagnosis, Finding, FindingSeverity
from critictui.diagnosis.history import LoggedUpTo, history_findings, scored_steps
from critictui.scoring.result import ScoreResult

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
    logged_up_to: LoggedUpTo | None = None,
    problem: str = "",
) -> Diagnosis:
    """Every finding about one checkpoint, worst first.

    `audit` is None when the files could not even be read; `behaviour` is None when no fixed set was given or when the
    audit forbids a score. `scores` are the run's own, of any checkpoint. logged_up_to: asked only where an
    earlier checkpoint scored better. problem: why there is no audit.
    """
    findings = [
        *_files(checkpoint, audit, problem),
        *(_head(audit) if audit is not None else ()),
        *(_neighbours(checkpoint.step, audit, neighbours) if audit is not None else ()),
        *(behaviour_findings(behaviour) if behaviour is not None else ()),
        *(history_findings(audit, scores, logged_up_to) if audit is not None else ()),
    ]
    findings = _once(findings)
    findings.sort(key=lambda f: _SEVERITIES.index(f.severity))
    worst = findings[0].severity if findings else "info"
    verdict = {"critical": "broken", "warning": "doubtful", "info": "sound"}[worst]
    return Diagnosis(verdict, tuple(findings), _facts(checkpoint, audit, behaviour, scores))  # type: ignore[arg-type]


def _once(findings: Sequence[Finding]) -> list[Finding]:
    """One finding an id and severity: the others of its kind stand in its evidence."""
    first: dict[tuple[str, str], Finding] = {}
    more: dict[tuple[str, str], list[str]] = {}
    for f in findings:
        key = (f.id, f.severity)
        if key in first:
            more.setdefault(key, []).append(f.message)
        else:
            first[key] = f
    return [replace(f, evidence={**f.evidence, "also": more[key]}) if key in more else f for key, f in first.items()]


# --- what was loaded


def _files(checkpoint: Checkpoint, audit: Audit | None, problem: str) -> Iterator[Finding]:
    whole = checkpoint.state == "complete"
    if not whole:
        yield finding(
            "incomplete",
            "critical",
            f"{checkpoint.path.name}: {checkpoint.reason or checkpoint.state}",
            "do as it says, or take another step"
            if checkpoint.state == "unreadable"
            else "wait until it is whole, or take the step before",
            files=[message for _, message in audit.problems] if audit is not None else [problem],
        )
    if audit is None:
        if problem:
            yield finding("weights-damaged", "critical", problem, "copy the checkpoint again, or take another step")
        return
    zero = audit.head is not None and audit.head.zero
    for id_, message in audit.problems:
        if zero and id_ == "weights-damaged" and message.endswith("every weight is 0"):
            continue  # said of the head below, where it has a name of its own
        if whole or id_ not in {"incomplete", "weights-damaged"}:  # what is not whole cannot be read either
            yield finding(
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
        yield finding(
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
        yield finding(
            "head-not-trained",
            "warning",
            f"{head.weight_name} looks as it was initialised ({origin}; std {head.std:.4f}): training may never have moved it",
            "compare it with a later step's head; if equal, the optimiser does not hold it",
            **evidence,
        )
    if head.bias is not None and abs(head.bias) > max(3 * head.std, 1 / math.sqrt(max(head.shape[-1], 1))) * 1.05:
        yield finding(
            "head-not-trained",
            "info",
            f"the head's bias is {head.bias:.3f}: a pairwise loss does not move a bias, so another loss or an initialisation put it there",
            **evidence,
        )


def _neighbours(step: int | None, audit: Audit, neighbours: Sequence[Neighbour]) -> Iterator[Finding]:
    head = audit.head
    for other in neighbours:
        if other.audit.path == audit.path or step is None or other.checkpoint.step in {None, step}:
            continue  # a merged or copied form of one step has the same weights rightly
        name = f"step {other.checkpoint.step}"
        if other.audit.weights == audit.weights:
            yield finding(
                "head-identical",
                "warning",
                f"all weights are those of {name}: nothing was trained in between",
                "check the learning rate and that the optimiser steps",
                other=str(other.checkpoint.path),
            )
            return
        if head is not None and other.audit.head is not None and head.sha256 == other.audit.head.sha256:
            yield finding(
                "head-identical",
                "warning",
                f"the value head is that of {name}, bit for bit, while other weights moved",
                "check that the optimiser holds the head",
                other=str(other.checkpoint.path),
            )
            return


def _facts(
    checkpoint: Checkpoint, audit: Audit | None, behaviour: Behaviour | None, scores: Sequence[ScoreResult]
) -> dict[str, object]:
    facts: dict[str, object] = {
        "checkpoint": str(checkpoint.path),
        "step": checkpoint.step,
        "layout": checkpoint.layout,
    }
    facts["measured"] = behaviour is not None
    if audit is not None:
        facts |= {"parameters": audit.parameters, "dtypes": list(audit.dtypes), "fingerprint": audit.fingerprint}
        if audit.head is not None:
            facts["head"] = asdict(audit.head)
        facts["scored_steps"] = scored_steps(audit, scores)
    if behaviour is not None:
        for name, value in asdict(behaviour).items():
            facts[name] = asdict(value) if isinstance(value, Spread) else value
    return facts
