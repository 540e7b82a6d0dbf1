"""Why do training and test disagree? The case goes in, the ranked causes under one headline come out."""

from __future__ import annotations

import math

from critictui.diagnosis.case import Case
from critictui.diagnosis.causes import judge_all
from critictui.diagnosis.causes.common import deciding
from critictui.diagnosis.claims import Claim
from critictui.diagnosis.finding import Cause, CauseVerdict, Explanation

_ORDER: tuple[CauseVerdict, ...] = ("proven", "likely", "unlikely", "untested", "ruled-out")


_SCALES_APART = 3.0
"""Margins of one critic on two sets of prompts differ by less than this factor."""


def explain(case: Case) -> Explanation:
    """Judge every cause and rank them: by verdict, then by how well the simulation of it fits, then structure first.

    One number alone is fitted by many a simulation, by a narrow one no better than by chance: then structure is first.
    """
    causes = judge_all(case)
    landed = [] if case.one_number else [x for x in case.ranked() if x.lands]
    density = {x.variant.cause: x.log_density for x in reversed(landed)}
    ranked = sorted(
        enumerate(causes), key=lambda item: (_ORDER.index(item[1].verdict), -density.get(item[1].id, -1e9), item[0])
    )
    ordered = tuple(cause for _, cause in ranked)
    return Explanation(_headline(case, ordered), ordered, _facts(case))


def _headline(case: Case, causes: tuple[Cause, ...]) -> str:
    claim = case.claim
    if claim is None or not claim:
        return "There is no test to compare with: score this checkpoint on a fixed set, or pass --claim d_acc=..."
    if claim.d_acc is None:
        return _by_margin(case, claim, causes)
    if case.logged.d_acc is None:
        return f"The test says d_acc {claim.d_acc:.3f}; this run logs no d_acc to compare it with."
    gap = f"Training logged d_acc {case.logged.d_acc:.3f}, the test says {claim.d_acc:.3f}"
    if case.interval is not None:
        gap += f" ({case.interval[0]:.3f} to {case.interval[1]:.3f})"
    named = [c for c in causes if c.verdict in {"proven", "likely"}]
    if case.nothing_to_explain:
        beside = f" But {named[0].id}: {named[0].message.rstrip('.')}." if named else ""
        return f"{gap}: they agree.{_margins_apart(case)}{beside}"
    if named:
        return f"{gap}: {_named(case, claim, named)}"
    untested = [c for c in causes if c.verdict == "untested" and c.next_step]
    step = f" Next: {untested[0].next_step}." if untested else ""
    known = claim.pairs and math.isfinite(case.distance)
    apart = f"{case.distance:.1f} standard deviations apart, and " if known else ""
    return f"{gap}: {apart}no cause is proven or likely yet.{step}"


def _by_margin(case: Case, claim: Claim, causes: tuple[Cause, ...]) -> str:
    margin = claim.margin_or_difference
    trained = f"Training logged a margin of {case.logged.margin:z.2f}, the" if case.logged.margin else "The"
    text = f"{trained} test says {margin:z.2f}"
    named = [c for c in causes if c.verdict in {"proven", "likely"}]
    if named:
        return f"{text}: {_named(case, claim, named)}"
    return f"{text}: no cause is proven or likely yet. Next: pass --claim d_acc=... too."


def _named(case: Case, claim: Claim, named: list[Cause]) -> str:
    """Which cause it is; where one number fits several, all of them and what would tell them apart."""
    first = named[0]
    if first.verdict == "proven":
        return f"it is {first.id}. {first.message}{_others(claim, named)}"
    simulated = {x.variant.cause for x in case.ranked() if x.lands}
    fitting = [c.id for c in named if c.id in simulated]
    if first.id not in fitting or not case.one_number:
        return f"most likely {first.id}. {first.message}{_others(claim, named)}"
    step = deciding(case, fitting)
    if len(fitting) == 1:
        return f"most likely {first.id}. {first.message} To be sure, {step}."
    either, fits = f"{', '.join(fitting[:-1])} or {fitting[-1]}", "both" if len(fitting) == 2 else "them all"
    return f"most likely {either}: one number fits {fits}. {first.message} To tell them apart, {step}."


def _others(claim: Claim, named: list[Cause]) -> str:
    """What else it may be, and which numbers would tell."""
    others = [c.id for c in named[1:]]
    if not others:
        return ""
    missing = claim.margin_or_difference is None or claim.level is None or claim.pairs is None
    tell = " --claim teacher=..., --claim student=... and --pairs would tell them apart." if missing else ""
    return f" It may also be {', '.join(others)}.{tell}"


def _margins_apart(case: Case) -> str:
    """A d_acc that agrees hides another scale: the same order under another definition of the score."""
    logged, claim = case.logged.margin, case.claim
    margin = claim.margin_or_difference if claim is not None else None
    if logged is None or margin is None or min(abs(logged.mean), abs(margin)) == 0:
        return ""
    ratio = abs(margin / logged.mean)
    if 1 / _SCALES_APART <= ratio <= _SCALES_APART:
        return ""
    return (
        f" But their margins do not: {logged:.3g} in training, {margin:.3g} in the test. The score may be defined "
        "differently; `critictui replay` with saved responses tells."
    )


def _facts(case: Case) -> dict[str, object]:
    facts: dict[str, object] = {"step": case.logged.step}
    if case.logged.d_acc is not None:
        facts["logged_d_acc_last_step"] = case.logged.d_acc.last
    for name in ("d_acc", "d_acc_run", "d_acc_before_epoch", "margin", "margin_run", "teacher", "student"):
        window = getattr(case.logged, name)
        if window is not None:
            facts[f"logged_{name}"] = window.mean
            facts[f"logged_{name}_steps"] = window.steps
    if case.claim is not None:
        for name in ("d_acc", "margin", "teacher", "student", "pairs"):
            value = getattr(case.claim, name)
            if value is not None:
                facts[f"test_{name}"] = value
    ranked = case.ranked()
    if ranked:
        facts["simulated"] = [
            {
                "way": x.variant.id,
                "cause": x.variant.cause,
                "d_acc": x.variant.mean("d_acc"),
                "d_acc_std": x.variant.std("d_acc"),
                "margin": x.variant.mean("margin"),
                "margin_std": x.variant.std("margin"),
                "seeds": len(x.variant.stats),
                "lands": x.lands,
            }
            for x in ranked
        ]
    return facts
