"""What the diagnosis tests share: fixed sets of the demo's task, and naive scoring written apart from the project's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from critictui.diagnosis.claims import Claim


@pytest.fixture(scope="session")
def write_set() -> Callable[..., Path]:
    """`write_set(path, pairs)`: the demo's pairs as a fixed set, texts only."""

    def write(path: Path, pairs: Sequence[object], **header: object) -> Path:
        generation = {"temperature": 1.0, "top_p": 1.0}
        first = {"schema": 1, "kind": "critictui-fixed-set", "provenance": {}, "generation": generation}
        rows: list[object] = [first | header]
        for number, pair in enumerate(pairs):
            students = [{"text": t, "finish_reason": "stop", "seed": i} for i, t in enumerate(pair.students)]
            row = {"id": str(number), "prompt": pair.prompt, "teacher": {"text": pair.teacher}, "students": students}
            rows.append(row)
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
        return path

    return write


@pytest.fixture(scope="session")
def naive_claim() -> Callable[..., Claim]:
    """`naive_claim(score, pairs)`: what a script with the scoring function `score(prompt, response, student)` measures."""

    def measure(score: Callable[[str, str, bool], float], pairs: Sequence[object]) -> Claim:
        teacher, student = [], []
        for pair in pairs:
            first = score(pair.prompt, pair.teacher, False)
            for response in pair.students:
                teacher.append(first)
                student.append(score(pair.prompt, response, True))
        t, s = np.array(teacher), np.array(student)
        return Claim(float((t > s).mean()), float((t - s).mean()), float(t.mean()), float(s.mean()), len(t))

    return measure
