"""A line that a user typed goes in, a Question comes out."""

from __future__ import annotations

import shlex
from pathlib import Path

from critictui.diagnosis.claims import parse_claims
from critictui.diagnosis.inquiry import Question
from critictui.diagnosis.script import DiagnosisError, read_script
from critictui.places import expanded


def question_from(text: str) -> Question:
    """`d_acc=0.4575 margin=0.01 pairs=400 script=score.py samples=x.pt`, or a script alone. Raises DiagnosisError."""
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise DiagnosisError(f"{text}: {error}; write name=value, a path with blanks in quotes") from None
    claims: list[str] = []
    pairs: int | None = None
    script: Path | None = None
    samples: Path | None = None
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals and part.endswith(".py"):
            name, value = "script", part
        if name == "pairs":
            pairs = _whole(part, value)
        elif name == "script":
            script = expanded(value)
        elif name == "samples":
            samples = expanded(value)
        else:
            claims.append(part)
    if samples is not None and not samples.is_file():
        raise DiagnosisError(f"{samples}: no such file; give what training saved")
    try:
        claim = parse_claims(claims, pairs)
    except DiagnosisError as error:  # worded for the command line
        raise DiagnosisError(str(error).replace("--claim ", "").replace("--pairs ", "pairs=")) from None
    if claim is None and pairs is not None:
        raise DiagnosisError("pairs alone say nothing: write d_acc=..., margin=..., teacher=..., student=... as well")
    return Question(claim, read_script(script) if script is not None else None, samples)


def _whole(text: str, number: str) -> int:
    if not (number.isascii() and number.isdigit()):
        raise DiagnosisError(f"{text}: the number of pairs is a whole number")
    return int(number)
