"""Numbers that someone measured with a script of their own: `--claim d_acc=0.4575 --pairs 400` becomes a Claim."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from critictui.diagnosis.script import DiagnosisError

_SPELLINGS = {
    "d_acc": "d_acc",
    "accuracy": "d_acc",
    "score_diff": "margin",
    "margin": "margin",
    "teacher": "teacher",
    "teacher_score_mean": "teacher",
    "student": "student",
    "student_score_mean": "student",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a test measured; None where nothing was said. d_acc is a share between 0 and 1."""

    d_acc: float | None = None
    margin: float | None = None
    teacher: float | None = None
    student: float | None = None
    pairs: int | None = None
    source: str = "claimed"
    """`claimed`, or the result file that the numbers were taken from."""

    @property
    def margin_or_difference(self) -> float | None:
        """The margin, from the two means where it was not given itself."""
        if self.margin is not None:
            return self.margin
        if self.teacher is not None and self.student is not None:
            return self.teacher - self.student
        return None

    @property
    def level(self) -> float | None:
        """The middle of the two means: what a pairwise loss leaves free and an initialisation pins near 0."""
        if self.teacher is None or self.student is None:
            return None
        return (self.teacher + self.student) / 2

    def __bool__(self) -> bool:
        return any(v is not None for v in (self.d_acc, self.margin_or_difference))


def parse_claims(texts: Iterable[str], pairs: int | None) -> Claim | None:
    """`name=value` texts to a Claim, None without any.

    `d_acc` may be written as a share (0.4575) or with a per cent sign (45.75%). Raises DiagnosisError naming the text.
    """
    values: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.partition("=")
        key = _SPELLINGS.get(name.strip().removeprefix("critic/"))
        if not equals or key is None:
            raise DiagnosisError(f"--claim {text}: write name=value with one of {', '.join(_SPELLINGS)}")
        value = _number(text, number.strip(), share=key == "d_acc")
        if key == "d_acc" and not 0 <= value <= 1:
            raise DiagnosisError(f"--claim {text}: d_acc is a share between 0 and 1; write 0.4575, or 45.75%")
        values[key] = value
    if pairs is not None and pairs < 1:
        raise DiagnosisError(f"--pairs {pairs}: the number of pairs behind the claim must be above 0")
    if not values:
        if pairs is not None:
            raise DiagnosisError(f"--pairs {pairs}: says how many pairs stand behind a --claim, and there is none")
        return None
    return Claim(values.get("d_acc"), values.get("margin"), values.get("teacher"), values.get("student"), pairs)


def _number(text: str, number: str, *, share: bool) -> float:
    percent = share and number.endswith("%")
    try:
        value = float(number.removesuffix("%") if percent else number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DiagnosisError(f"--claim {text}: the value is no finite number")
    return value / 100 if percent else value
