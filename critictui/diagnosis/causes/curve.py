"""Causes that the logged curve speaks of: chance, averages, collapse, memorised pairs."""

# ruff: noqa: E501  (a message is one sentence on one line, so that it can be searched for)

from __future__ import annotations

import math

from critictui.diagnosis.case import AGREEMENT, FAR, NEAR, Case
from critictui.diagnosis.causes.common import NO_TEST, SCORE_IT, cause_of
from critictui.diagnosis.finding import Cause, CauseVerdict
from critictui.diagnosis.logged import WINDOW

AT_CHANCE = 0.55
"""A critic whose d_acc was above this and is now within reach of 0.5 has lost something."""
STEP_CHANGE = 0.05
"""A change of d_acc that is worth a word: the noise of one window of steps is below 0.02."""


def by_chance(case: Case) -> Cause:
    """Could the test's pairs, being few, give its d_acc although the critic is as good as logged?"""
    claim, logged = case.claim, case.logged.d_acc
    if claim is None or claim.d_acc is None or logged is None:
        return _no_d_acc("by-chance", case)
    interval = case.interval
    if not claim.pairs or interval is None:
        return cause_of("by-chance", "untested", "how many pairs stand behind the test's d_acc is not known",
                      "pass --pairs N")  # fmt: skip
    (low, high), z = interval, case.distance
    evidence = {"test": claim.d_acc, "low": low, "high": high, "logged": logged.mean, "pairs": claim.pairs, "z": z}
    numbers = (
        f"{claim.d_acc:.3f} on {claim.pairs} pairs has a 95 % interval of {low:.3f} to {high:.3f}; "
        f"logged was {logged:.3f}"
    )
    if case.agrees:
        return cause_of("by-chance", "ruled-out", f"{numbers}: they agree, there is nothing to explain", **evidence)
    if low <= logged.mean <= high or z <= NEAR:
        return cause_of("by-chance", "likely", f"{numbers}: so few pairs can give this by chance",
                      "score more pairs: 1000 find a 5-point change 98 % of the time", **evidence)  # fmt: skip
    verdict: CauseVerdict = "ruled-out" if z > FAR else "unlikely"
    return cause_of("by-chance", verdict, f"{numbers}: {z:.1f} standard deviations apart", **evidence)


def _no_d_acc(id_: str, case: Case) -> Cause:
    """Untested, where the test gave other numbers, none, or where training logged none."""
    if case.claim is None:
        return cause_of(id_, "untested", NO_TEST, SCORE_IT)
    if case.claim.d_acc is None:
        return cause_of(id_, "untested", "the test gave no d_acc", "pass --claim d_acc=...")
    return cause_of(id_, "untested", "no logged d_acc to compare with")


def train_average(case: Case) -> Cause:
    """Was the training number an average over steps, and does the last step say what the test says?"""
    last, run, claim = case.logged.d_acc, case.logged.d_acc_run, case.claim
    if claim is None or claim.d_acc is None:
        return _no_d_acc("train-average", case)
    if last is None or run is None:
        return cause_of("train-average", "untested", "no logged d_acc curve to compare an average with")
    evidence = {"last": last.mean, "run": run.mean, "test": claim.d_acc, "step": case.logged.step}
    if _fell(case):
        return cause_of(
            "train-average", "unlikely", f"the curve itself fell, to {last:.3f} at the last steps", **evidence
        )
    gap = abs(run.mean - last.mean)
    flatters = gap > STEP_CHANGE and run.mean - claim.d_acc >= AGREEMENT
    if case.claimed and case.agrees and flatters:  # who asks why compares with another number than the last steps'
        return cause_of(
            "train-average", "proven",
            f"the mean over the run is {run.mean:.3f}, but at the last steps d_acc is {last:.3f}: "
            f"the test's {claim.d_acc:.3f} is the last steps', not the average's",
            "compare the test with the logged value of the same step", **evidence,
        )  # fmt: skip
    said = "the test agrees with the last steps" if case.agrees else "the difference is not that of an average"
    message = f"logged d_acc is {last:.3f}; {run.mean:.3f} is the mean over the run: {said}"
    later = case.logged.later_d_acc
    if later is not None and later.differs(last.mean, last.error) > FAR and abs(later.mean - last.mean) > STEP_CHANGE:
        message += f". The run went on after this step, to {later:.3f}: that number is of another critic"
        evidence["later"] = later.mean
    return cause_of("train-average", "ruled-out", message, **evidence)


def collapsed(case: Case) -> Cause:
    """Did the critic lose what it had learned?"""
    last, best, own = case.logged.d_acc, case.logged.d_acc_best, case.own
    evidence: dict[str, object] = {}
    if own is not None:
        evidence |= {"fixed": own.d_acc, "low": own.low, "high": own.high}
        here = f"the checkpoint's own head gives {own.d_acc:.3f} ({own.low:.3f} to {own.high:.3f}) on the fixed set"
    if last is not None and best is not None:
        evidence |= {"last": last.mean, "best": best}
        if _fell(case):
            also_here = own is not None and own.low <= 0.5
            text = (
                f"logged d_acc fell from {best:.3f}, its best mean of so many steps, to {last:.3f}{_margins(case)}"
                + (f", and {here}" if also_here else "")
            )
            advice = "go back to the checkpoint before the fall; lower the learning rate"
            return cause_of("collapsed", "proven" if also_here else "likely", text, advice, **evidence)
    if own is not None:
        if own.low > 0.5:
            return cause_of("collapsed", "ruled-out", f"{here}: it tells them apart", **evidence)
        if last is None or last.mean <= AT_CHANCE:
            return cause_of("collapsed", "likely", f"{here}: no better than chance", **evidence)
    if last is not None:
        text = f"logged d_acc is {last:.3f}: no fall in the curve"
        return cause_of("collapsed", "ruled-out", text, **evidence)
    return cause_of("collapsed", "untested", "no logged d_acc and no fixed-set score", SCORE_IT)


def _fell(case: Case) -> bool:
    """The logged d_acc was above chance once, by more than the best of many noisy windows is, and is near it now."""
    last, best = case.logged.d_acc, case.logged.d_acc_best
    if last is None or best is None:
        return False
    error = last.error if math.isfinite(last.error) else 0.05
    fall, noise = best - last.mean, case.logged.d_acc_noise / math.sqrt(last.steps)
    at_chance = last.mean - NEAR * error <= 0.52 and best > AT_CHANCE
    return at_chance and fall > max(2 * STEP_CHANGE, (FAR + NEAR) * noise)


def _margins(case: Case) -> str:
    margin, best = case.logged.margin, case.logged.margin_best
    return f", the margin from {best:z.2f} to {margin:z.2f}" if margin is not None and best is not None else ""


def memorised(case: Case) -> Cause:
    """Did d_acc jump where an epoch began, so that the logged number is about pairs seen before?"""
    logged, seam = case.logged, case.logged.epoch_seam
    if logged.d_acc is None:
        return cause_of("memorised", "untested", "no logged d_acc")
    if seam is None and not logged.epochs_known:
        noise = logged.d_acc_noise * math.sqrt(2 / WINDOW) if math.isfinite(logged.d_acc_noise) else 0.0
        text = "the run does not say where its epochs begin"
        if logged.d_acc_rise <= STEP_CHANGE + FAR * noise:
            return cause_of("memorised", "ruled-out", f"d_acc never rose at once, wherever epochs begin ({text})", rise=logged.d_acc_rise)  # fmt: skip
        return cause_of("memorised", "untested", f"{text}, and d_acc once rose by {logged.d_acc_rise:.2f} within {2 * WINDOW} steps",
                      "if that is where an epoch begins, judge by the values before it", rise=logged.d_acc_rise)  # fmt: skip
    if seam is None or logged.d_acc_before_epoch is None:
        return cause_of(
            "memorised",
            "ruled-out",
            f"every step up to {logged.step} is within the first epoch: no pair was seen twice",
        )
    before, after = logged.d_acc_before_epoch, logged.d_acc
    jump = after.mean - before.mean
    evidence: dict[str, object] = {"before": before.mean, "after": after.mean, "epoch_step": seam}
    jumped = jump > STEP_CHANGE and after.differs(before.mean, before.error) > FAR
    test = case.claim.d_acc if case.claim is not None else None
    text = f"an epoch began at step {seam}: before it d_acc was {before:.3f}; now it is {after:.3f}"
    if not jumped:
        return cause_of("memorised", "ruled-out", f"{text}: no jump", **evidence)
    advice = f"judge by the logged values before step {seam}, or by a fixed set of prompts that were not trained on"
    if test is not None and case.agrees:
        return cause_of("memorised", "unlikely", f"{text}, and the test agrees with that", advice, **evidence)
    if case.real_lands is False:
        return cause_of(
            "memorised", "unlikely", f"{text}, but the test's numbers are not the real head's", advice, **evidence
        )
    if test is not None and abs(test - before.mean) < abs(test - after.mean):
        if before.differs(test, case.test_error(before.mean)) <= FAR:
            verdict: CauseVerdict = "proven" if case.real_lands else "likely"
            return cause_of("memorised", verdict, f"{text}; the test's {test:.3f} is what was logged before it", advice, test=test, **evidence)  # fmt: skip
        if test < before.mean - AGREEMENT:
            return cause_of("memorised", "unlikely", f"{text}; but the test's {test:.3f} is far below both", advice, test=test, **evidence)  # fmt: skip
    return cause_of("memorised", "likely", text, advice, **evidence)
