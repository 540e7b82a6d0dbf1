"""Why do training and test disagree? The case goes in, the ranked causes under one headline come out."""

from __future__ import annotations

from critictui.diagnosis.case import Case
from critictui.diagnosis.causes import judge_all
from critictui.diagnosis.causes.curve import agrees
from critictui.diagnosis.claims import Claim
from critictui.diagnosis.finding import Cause, CauseVerdict, Explanation

_ORDER: tuple[CauseVerdict, ...] = ("proven", "likely", "unlikely", "untested", "ruled-out")


_SCALES_APART = 3.0
"""Margins of one critic on two sets of prompts differ by less than this factor."""


def explain(case: Case) -> Explanation:
    """Judge every cause and rank them: by verdict, then by how well the simulation of it fits, then structure first."""
    causes = judge_all(case)
    density = {x.variant.cause: x.log_density for x in reversed(case.ranked()) if x.lands}
    ranked = sorted(
        enumerate(causes), key=lambda item: (_ORDER.index(item[1].verdict), -density.get(item[1].id, -1e9), item[0])
    )
    ordered = tuple(cause for _, cause in ranked)
    return Explanation(_headline(case, ordered), ordered, _facts(case))


def _headline(case: Case, causes: tuple[Cause, ...]) -> str:
    logged, claim = case.logged.d_acc, case.claim
    if claim is not None and claim.d_acc is None and claim:
        return _by_margin(case, claim, causes)
    if claim is None or claim.d_acc is None:
        return "There is no test to compare with: score this checkpoint on a fixed set, or pass --claim d_acc=..."
    if logged is None:
        return f"The test says d_acc {claim.d_acc:.3f}; this run logs no d_acc to compare it with."
    gap = f"Training logged d_acc {logged.mean:.3f} at step {case.logged.step}, the test says {claim.d_acc:.3f}"
    named = [c for c in causes if c.verdict in {"proven", "likely"}]
    if named:
        sure = "it is" if named[0].verdict == "proven" else "most likely"
        return f"{gap}: {sure} {named[0].id}. {named[0].message}{_others(claim, named)}"
    if agrees(case):
        return f"{gap}: they agree.{_margins_apart(case)}"
    untested = [c for c in causes if c.verdict == "untested" and c.next_step]
    step = f" Next: {untested[0].next_step}." if untested else ""
    return f"{gap}: no cause is proven or likely yet.{step}"


def _others(claim: Claim, named: list[Cause]) -> str:
    """What else it may be, and which numbers would tell."""
    others = [c.id for c in named[1:]]
    if not others:
        return ""
    missing = claim.margin_or_difference is None or claim.level is None or claim.pairs is None
    tell = " --claim teacher=..., --claim student=... and --pairs would tell them apart." if missing else ""
    return f" It may also be {', '.join(others)}.{tell}"


def _by_margin(case: Case, claim: Claim, causes: tuple[Cause, ...]) -> str:
    margin = claim.margin_or_difference
    logged = case.logged.margin
    trained = f"Training logged a margin of {logged.mean:z.2f} at step {case.logged.step}, the" if logged else "The"
    text = f"{trained} test says {margin:z.2f}"
    named = [c for c in causes if c.verdict in {"proven", "likely"}]
    if not named:
        return f"{text}: no cause is proven or likely yet. Next: pass --claim d_acc=... too."
    sure = "it is" if named[0].verdict == "proven" else "most likely"
    return f"{text}: {sure} {named[0].id}. {named[0].message}"


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
        f" But their margins do not: {logged.mean:.3g} logged, {margin:.3g} in the test. The score may be defined "
        "differently; `critictui replay` with saved responses tells."
    )


def _facts(case: Case) -> dict[str, object]:
    facts: dict[str, object] = {"step": case.logged.step}
    for name in ("d_acc", "d_acc_run", "d_acc_before_epoch", "margin", "margin_run", "teacher", "student"):
        window = getattr(case.logged, name)
        if window is not None:
            facts[f"logged_{name}"] = window.mean
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
