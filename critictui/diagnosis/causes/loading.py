"""Causes in what was loaded: a random head, damaged files, another tokenizer."""

# ruff: noqa: E501  (a message is one sentence on one line, so that it can be searched for)

from __future__ import annotations

import math

from critictui.diagnosis.case import Case
from critictui.diagnosis.causes.common import (
    AGREE,
    SCORE_IT,
    best_landing,
    cause_of,
    deciding,
    judged,
    without_simulation,
)
from critictui.diagnosis.finding import Cause
from critictui.scoring.fixed_set import FixedSet


def head_missing(case: Case) -> Cause:
    """Was a randomly initialised head scored?"""
    audit, script = case.audit, case.script
    problems = dict(audit.problems) if audit is not None else {}
    if "head-missing" in problems and audit is not None and audit.possible_heads:
        return cause_of("head-missing", "likely", f"the checkpoint has {problems['head-missing']}: a test that takes none of them scores a random head",
                      "name the head as its trainer does (score, v_head, value_head), then score the checkpoint")  # fmt: skip
    if "head-missing" in problems:
        return cause_of("head-missing", "proven", f"the checkpoint has no value head: {problems['head-missing']}",
                      "score the checkpoint that training wrote, before it was merged or converted")  # fmt: skip
    wrong = [f for f in script.findings if f.cause == "head-missing"] if script is not None else []
    best = best_landing(case, "head-missing")
    evidence: dict[str, object] = {}
    where = ""
    if wrong:
        where = f" Line {wrong[0].line} of the script does it: {wrong[0].message}."
        evidence["script"] = [f"{f.line}: {f.code}" for f in wrong]
    if best is None:
        return without_simulation(case, "head-missing", where, evidence)
    v, own = best.variant, case.own
    real = own.d_acc if own is not None else math.nan
    evidence |= {
        "random_d_acc": v.mean("d_acc"), "random_d_acc_std": v.std("d_acc"), "random_margin": v.mean("margin"),
        "random_margin_std": v.std("margin"), "real_d_acc": real, "seeds": len(v.stats), "z": dict(best.z),
    }  # fmt: skip
    sentence = (
        f"{v.label[0].upper()}{v.label[1:]} gives {v.mean('d_acc'):z.2f} ± {v.std('d_acc'):z.2f} on this checkpoint and a "
        f"margin of {v.mean('margin'):z.2f} ± {v.std('margin'):z.2f}; "
    )
    ending = f"the real head gives {real:z.3f}"
    if not case.claimed:
        return cause_of("head-missing", "ruled-out", f"{sentence}the test's number is the real head's, {real:z.3f}: critictui loads strictly.", **evidence)  # fmt: skip
    if case.real_lands:
        return cause_of("head-missing", "ruled-out", f"{sentence}your numbers are the real head's, {real:z.3f}.", **evidence)  # fmt: skip
    if case.nothing_to_explain:
        return cause_of("head-missing", "unlikely" if wrong else "ruled-out", f"{sentence}{AGREE}.{where}", **evidence)
    if not best.lands:
        return cause_of("head-missing", "ruled-out", f"{sentence}your numbers are not that; {ending}.", **evidence)
    verdict, fits = judged(case, best, in_script=bool(wrong))
    step = deciding(case, ["head-missing"]) if verdict == "likely" else ""
    return cause_of("head-missing", verdict, f"{sentence}{fits}; {ending}.{where}",
                  step or "load with `critictui score`, which refuses a head that is not the checkpoint's", **evidence)  # fmt: skip


def damaged(case: Case) -> tuple[Cause, ...]:
    """What the audit found wrong with the files, as causes of their own."""
    audit = case.audit
    if audit is None:
        return ()
    return tuple(
        cause_of(id_, "proven", message, "score another checkpoint, or copy this one again")
        for id_, message in audit.problems
        if id_ != "head-missing"
    )


def wrong_tokenizer(case: Case) -> Cause:
    """Do fixed set and checkpoint tokenise differently?"""
    score = case.score
    said = [w for w in score.warnings if "tokenizer" in w] if score is not None else []
    if said:
        return cause_of("wrong-tokenizer", "likely", said[0], "make the fixed set with the checkpoint's own tokenizer")
    made_with = str(case.fixed_set.header.get("tokenizer_sha256") or "") if case.fixed_set is not None else ""
    own = case.simulation.tokenizer if case.simulation is not None else ""
    if made_with and own and made_with != own:
        return cause_of("wrong-tokenizer", "likely", "the fixed set's tokens were made with another tokenizer than the checkpoint's",
                      "make the fixed set with the checkpoint's own tokenizer", checkpoint=own, fixed_set=made_with)  # fmt: skip
    if case.claimed:
        return cause_of("wrong-tokenizer", "untested", "which tokenizer your test used is not known: critictui's own set says nothing of it",
                      "compare its token ids of one prompt with the checkpoint's tokenizer's")  # fmt: skip
    if case.fixed_set is not None and not _has_ids(case.fixed_set):
        return cause_of(
            "wrong-tokenizer",
            "ruled-out",
            "the fixed set holds texts alone, which the checkpoint's own tokenizer tokenises",
        )
    if score is not None or (made_with and own):
        return cause_of("wrong-tokenizer", "ruled-out", "the fixed set was made with the checkpoint's tokenizer")
    return cause_of("wrong-tokenizer", "untested", "no fixed-set score of this checkpoint", SCORE_IT)


def _has_ids(fixed_set: FixedSet) -> bool:
    return any(r.ids is not None for p in fixed_set.prompts for r in (p.teacher, *p.students))
