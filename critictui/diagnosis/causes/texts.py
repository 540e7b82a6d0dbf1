"""Causes in the texts: an echoed or garbled prompt, other sampling, lengths."""

# ruff: noqa: E501  (a message is one sentence on one line, so that it can be searched for)

from __future__ import annotations

import math
from collections.abc import Mapping

from critictui.diagnosis.case import FAR, Case
from critictui.diagnosis.causes.common import SCORE_IT, cause_of, simulated
from critictui.diagnosis.conduct import LENGTH_BIAS
from critictui.diagnosis.finding import Cause
from critictui.scoring.set_faults import echoed_share, garbled_share


def sampling_mismatch(case: Case) -> Cause:
    """Were the test's student responses sampled in another way than training's?"""
    claim, teacher = case.claim, case.logged.teacher
    trained = _training_sampling(case)
    tested = _test_sampling(case)
    differing = {
        k: (trained[k], tested[k]) for k in trained.keys() & tested.keys() if not math.isclose(trained[k], tested[k])
    }
    words = ", ".join(f"{k} {a:g} in training, {b:g} in the test" for k, (a, b) in sorted(differing.items()))
    evidence: dict[str, object] = {"training": trained, "test": tested}
    known = claim is not None and claim.teacher is not None and teacher is not None and math.isfinite(teacher.error)
    if known and (case.claimed or not case.nothing_to_explain):
        assert claim is not None and claim.teacher is not None and teacher is not None  # noqa: PT018
        spread = case.logged.teacher_std or 1.0
        error = spread / math.sqrt(claim.pairs or 100)
        z = teacher.differs(claim.teacher, error)
        if z > FAR and abs(claim.teacher - teacher.mean) > spread / 2:
            return cause_of(
                "sampling-mismatch", "ruled-out",
                f"the teacher's texts are not sampled, yet their mean is {claim.teacher:z.2f} in the test and was {teacher:z.2f} in training: "
                f"no change of the student's sampling can do that" + (f" ({words})" if words else ""), z=z, **evidence,
            )  # fmt: skip
    if case.claimed and case.real_lands is False and any(x.lands for x in case.ranked()):
        return cause_of("sampling-mismatch", "unlikely", "a mistake in the scoring may account for the numbers" + (f" ({words})" if words else ""), **evidence)  # fmt: skip
    if words and case.agrees:
        return cause_of(
            "sampling-mismatch",
            "unlikely",
            f"responses were sampled differently ({words}), but the numbers agree",
            **evidence,
        )
    if words:
        return cause_of("sampling-mismatch", "likely", f"responses were sampled differently: {words}",
                      "make the fixed set with the training's parameters", **evidence)  # fmt: skip
    if trained and tested:
        return cause_of("sampling-mismatch", "ruled-out", "training and test sample alike", **evidence)
    missing = "the training's" if not trained else "the test's"
    return cause_of("sampling-mismatch", "untested", f"{missing} sampling parameters are not known",
                  "point critictui at the directory that holds the log or .hydra/config.yaml", **evidence)  # fmt: skip


def _training_sampling(case: Case) -> dict[str, float]:
    config = case.training
    if config is None:
        return {}
    found = {"temperature": config.temperature, "top_p": config.top_p}
    return {k: float(v) for k, v in found.items() if v is not None}


def _test_sampling(case: Case) -> dict[str, float]:
    if case.script is not None and case.script.sampling:
        return {k: v for k, v in case.script.sampling.items() if k in {"temperature", "top_p"}}
    if case.claimed or case.fixed_set is None:
        return {}
    parameters = case.fixed_set.header.get("generation")
    if not isinstance(parameters, Mapping):
        return {}
    return {k: float(v) for k, v in parameters.items() if k in {"temperature", "top_p"} and isinstance(v, int | float)}


def prompt_echo(case: Case) -> Cause:
    """Does the student's text repeat the prompt?"""
    echoed = echoed_share(case.fixed_set) if case.fixed_set is not None else 0.0
    if echoed > 0.5:
        return cause_of("prompt-echo", "proven", f"{echoed:.0%} of the fixed set's student responses begin with their prompt: the critic separates formats, not answers",
                      "make the fixed set again with `critictui prepare`: it decodes new tokens only", share=echoed)  # fmt: skip
    return simulated(case, "prompt-echo", "The student's text repeats the prompt.", "decode the new tokens only")


def prompt_garbled(case: Case) -> Cause:
    """Is the prompt Python's repr of a chat?"""
    garbled = garbled_share(case.fixed_set) if case.fixed_set is not None else 0.0
    if garbled > 0.5:
        return cause_of("prompt-garbled", "proven", f"{garbled:.0%} of the fixed set's prompts are Python's repr of a chat, not its text",
                      "keep the messages as messages; `critictui prepare` does", share=garbled)  # fmt: skip
    return simulated(
        case,
        "prompt-garbled",
        "The prompt is the repr of a list of messages.",
        "pass the messages to the chat template",
    )


def length_bias(case: Case) -> Cause:
    """Does the score follow the response's length?"""
    r = case.score.length_bias if case.score is not None else None
    if r is None and case.simulation is not None:
        r = case.simulation.length_bias
    if r is None or not math.isfinite(r):
        return cause_of("length-bias", "untested", "no fixed-set score of this checkpoint", SCORE_IT)
    if abs(r) > LENGTH_BIAS and (case.agrees or case.real_lands is False):
        why = "but the numbers agree" if case.agrees else "but the test's numbers are not the real head's"
        return cause_of("length-bias", "unlikely", f"score follows length (Spearman {r:+.2f}), {why}", spearman=r)
    if abs(r) > LENGTH_BIAS:
        return cause_of("length-bias", "likely", f"score follows length (Spearman {r:+.2f}): a test with other lengths gives another d_acc",
                      "balance lengths in the training pairs, or compare within length bands", spearman=r)  # fmt: skip
    return cause_of("length-bias", "ruled-out", f"score hardly follows length (Spearman {r:+.2f})", spearman=r)
