"""Rows and results made from plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from critictui.scoring.recipe import Recipe
from critictui.scoring.result import FixedSetRef, ResponseRow, ScoreResult
from critictui.scoring.summary import summarise


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., list[ResponseRow]]:
    """`make_rows([(teacher, [student, ...]), ...])`; `lengths` gives the responses' tokens in the same shape."""

    def make(
        groups: Sequence[tuple[float, Sequence[float]]], lengths: Sequence[tuple[int, Sequence[int]]] | None = None
    ) -> list[ResponseRow]:
        rows = []
        for number, (teacher, students) in enumerate(groups):
            counts = [10] * (1 + len(students)) if lengths is None else [lengths[number][0], *lengths[number][1]]
            for index, value in enumerate([teacher, *students]):
                rows.append(
                    ResponseRow(
                        prompt_id=f"p{number}",
                        prompt=f"prompt {number}",
                        role="student" if index else "teacher",
                        index=max(0, index - 1),
                        text=f"text {number} {index}",
                        score=float(value),
                        tokens=counts[index],
                        value_mean=float(value),
                        value_std=1.0,
                        value_min=float(value) - 1,
                        value_max=float(value) + 1,
                        truncated=False,
                        finish_reason="stop",
                    )
                )
        return rows

    return make


@pytest.fixture(scope="session")
def make_result(make_rows: Callable[..., list[ResponseRow]]) -> Callable[..., tuple[ScoreResult, list[ResponseRow]]]:
    """A summarised result with its rows; keyword arguments go to `summarise`."""

    def make(
        groups: Sequence[tuple[float, Sequence[float]]] = ((1.0, [0.0, 2.0]), (3.0, [1.0, 1.5])), **changes: Any
    ) -> tuple[ScoreResult, list[ResponseRow]]:
        rows = make_rows(groups)
        pairs = sum(len(students) for _, students in groups)
        settings: dict[str, Any] = {
            "recipe": Recipe(),
            "fixed_set": FixedSetRef("/sets/set.jsonl", "cd" * 32, len(groups), pairs),
            "step": 310,
            "checkpoint": "/runs/a/global_step_310/critic",
            "fingerprint": "ab" * 16,
            "values": {"mean": 0.5, "std": 1.5, "min": -4.0, "max": 5.0},
            "tokens": 1234,
            "seconds": {"load": 1.0, "score": 2.0, "total": 3.0},
            "device": "cpu",
            "dtype": "float32",
            "versions": {"torch": "2"},
        }
        return summarise(rows, **(settings | changes)), rows

    return make
