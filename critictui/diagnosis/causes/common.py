"""What the judges of causes share: verdicts of simulated mistakes, words, the shape of an answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from critictui.diagnosis.case import Case
from critictui.diagnosis.finding import Cause, CauseVerdict
from critictui.diagnosis.simulation import Landing

OWN = "the test's number is critictui's own: loaded strictly, scored as the recipe says"
AGREE = "training and test agree: no cause is needed"
NO_TEST = "there is no test to compare with"
SCORE_IT = "score this checkpoint on a fixed set: `critictui score`, or key e"
_OWN_WAY = {"template-slice": "template-slice", "padded-slice": "right-padding"}
"""Mistakes in a script that are simulated as such: where a script makes one, no other way of that cause is its."""
_ALIKE = 0.5
"""Difference of log densities within which two ways account for numbers alike."""


def cause_of(id_: str, verdict: CauseVerdict, message: str, next_step: str = "", /, **evidence: object) -> Cause:
    """A cause with its evidence as keywords."""
    return Cause(id_, verdict, message, evidence, next_step)


def best_landing(case: Case, cause: str, mistakes: Collection[str] = ()) -> Landing | None:
    """The simulated way that speaks for `cause` and fits the test's numbers best.

    mistakes: those of the script, by name; where each of them has a simulation of its own, only these are looked at.
    """
    own = {_OWN_WAY[name] for name in mistakes} if mistakes and all(name in _OWN_WAY for name in mistakes) else None
    return next((x for x in case.ranked() if x.variant.cause == cause and (own is None or x.variant.id in own)), None)


def judged(case: Case, best: Landing, *, in_script: bool) -> tuple[CauseVerdict, str]:
    """The verdict on a mistake that lands on the test's numbers, and in words how they fit it.

    One number alone decides nothing between ways that all land on it: a random head may give nearly any. What tells
    them apart is asked for (`deciding`).
    """
    numbers = numbers_in_words(case)
    if in_script:
        return "proven", f"{numbers} within its error"
    if case.script is not None:
        return "unlikely", f"{numbers} within its error, but the script shows no trace of it"
    if case.one_number:
        return "likely", f"{numbers} within its error"
    others = [x for x in case.ranked() if x.lands and x.variant.cause != best.variant.cause]
    better = next((x for x in others if x.log_density > best.log_density + _ALIKE), None)
    if better is not None:
        return "unlikely", f"{numbers} within its error, but {better.variant.label.rstrip(',')} fits them better"
    return "likely", f"{numbers} within its error"


def numbers_in_words(case: Case) -> str:
    """`your numbers are`, or `your d_acc of 0.460 is` where there is no other."""
    claim = case.claim
    if claim is None or not case.one_number:
        return "your numbers are"
    if claim.d_acc is not None:
        return f"your d_acc of {claim.d_acc:.3f} is"
    return f"your margin of {claim.margin_or_difference:z.2f} is"


def deciding(case: Case, causes: Sequence[str]) -> str:
    """What would tell the simulated mistakes of these causes apart, and what each gives; empty where all is known."""
    if not case.one_number or case.claim is None:
        return ""
    name, option = ("d_acc", "d_acc") if case.claim.d_acc is None else ("margin", "score_diff")
    found = [(c, best.variant) for c in causes for best in (best_landing(case, c),) if best is not None]
    gives = ", ".join(f"{v.mean(name):z.2f}{f' ± {v.std(name):.2f}' if v.std(name) else ''} if {c}" for c, v in found)
    return f"pass --claim {option}=... ({gives}), or the script itself with --script"


def without_simulation(case: Case, cause: str, where: str, evidence: Mapping[str, object]) -> Cause:
    """The verdict where nothing was simulated: by the script alone, or by whose number it is."""
    if where and case.nothing_to_explain:
        return cause_of(cause, "unlikely", f"{AGREE}.{where}", **evidence)
    if where:
        return cause_of(cause, "likely", f"The script can produce it.{where}",
                      "pass the measured numbers with --claim, to see whether they are that", **evidence)  # fmt: skip
    if case.claim is None:
        return cause_of(cause, "untested", NO_TEST, SCORE_IT)
    if not case.claimed:
        return cause_of(cause, "ruled-out", OWN)
    if case.audit is None:
        return cause_of(cause, "untested", "there is no checkpoint to simulate the mistake on",
                        "pass the checkpoint that was tested (--checkpoint) and a fixed set (--fixed-set)")  # fmt: skip
    return cause_of(
        cause, "untested", "the mistake was not simulated", "give a fixed set (--fixed-set) to simulate it on"
    )


def simulated(case: Case, cause: str, what: str, remedy: str) -> Cause:
    """A cause that is judged by simulated variants and by the script's source."""
    wrong = [f for f in case.script.findings if f.cause == cause] if case.script is not None else []
    evidence: dict[str, object] = {}
    where = ""
    if wrong:
        where = f" Line {wrong[0].line} of the script does it: {wrong[0].message}."
        evidence["script"] = [f"{f.line}: {f.code}" for f in wrong]
    best = best_landing(case, cause, [f.mistake for f in wrong])
    if best is None:
        return without_simulation(case, cause, where, evidence)
    v = best.variant
    evidence |= {"variant": v.id, "d_acc": v.mean("d_acc"), "margin": v.mean("margin"), "z": dict(best.z)}
    sentence = (
        f"{v.label[0].upper()}{v.label[1:]} gives {v.mean('d_acc'):z.2f} and a margin of {v.mean('margin'):z.2f} here"
    )
    if case.real_lands and wrong and best.lands:
        return cause_of(cause, "unlikely", f"{sentence}: here it changes little.{where}", remedy, **evidence)
    if not case.claimed:
        return cause_of(cause, "ruled-out", f"{sentence}; {OWN}.", **evidence)
    if case.real_lands:
        return cause_of(cause, "ruled-out", f"{sentence}; your numbers are those of the right way.", **evidence)
    if case.nothing_to_explain:
        return cause_of(cause, "unlikely" if wrong else "ruled-out", f"{sentence}; {AGREE}.{where}", **evidence)
    if not best.lands:
        return cause_of(cause, "ruled-out", f"{sentence}; your numbers are not that.", **evidence)
    verdict, fits = judged(case, best, in_script=bool(wrong))
    step = deciding(case, [cause]) if verdict == "likely" else ""
    return cause_of(cause, verdict, f"{sentence}: {fits}. {what}{where}", step or remedy, **evidence)
