"""What the judges of causes share: verdicts of simulated mistakes, thresholds, the shape of an answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from critictui.diagnosis.case import Case
from critictui.diagnosis.finding import Cause, CauseVerdict
from critictui.diagnosis.simulation import Landing

FAR = 3.0
"""Standard deviations beyond which two numbers are not the same one: 0.3 % by chance."""
NEAR = 2.0
OWN = "the test's number is critictui's own: loaded strictly, scored as the recipe says"
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


def accounts_best(case: Case, best: Landing) -> bool:
    """No way that speaks for another cause accounts for the numbers better."""
    others = [x for x in case.ranked() if x.lands and x.variant.cause != best.variant.cause]
    return all(x.log_density <= best.log_density + _ALIKE for x in others)


def without_simulation(case: Case, cause: str, where: str, evidence: Mapping[str, object]) -> Cause:
    """The verdict where nothing was simulated: by the script alone, or by whose number it is."""
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
    if not best.lands:
        return cause_of(cause, "ruled-out", f"{sentence}; your numbers are not that.", **evidence)
    verdict: CauseVerdict = "proven" if wrong else "likely"
    if not wrong and (not accounts_best(case, best) or case.script is not None):
        verdict = "unlikely"
    return cause_of(cause, verdict, f"{sentence}: your numbers are that. {what}{where}", remedy, **evidence)
