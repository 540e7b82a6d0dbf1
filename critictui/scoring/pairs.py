"""Teacher against student, pair by pair: a score's responses in, pairs sorted by margin and filtered out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from critictui.scoring.result import ResponseRow


@dataclass(frozen=True, slots=True)
class Pair:
    """One teacher response and one student response to a prompt."""

    teacher: ResponseRow
    student: ResponseRow

    @property
    def margin(self) -> float:
        """Teacher minus student; NaN where either has no finite score."""
        difference = self.teacher.score - self.student.score
        return difference if math.isfinite(difference) else math.nan

    @property
    def verdict(self) -> str:
        """right, wrong, tie, or no score."""
        margin = self.margin
        if math.isnan(margin):
            return "no score"
        return "right" if margin > 0 else "wrong" if margin < 0 else "tie"


def pairs_of_rows(rows: Sequence[ResponseRow]) -> list[Pair]:
    """Every student with its prompt's teacher, worst margin first; those without a score come last."""
    teachers = {row.prompt_id: row for row in rows if row.role == "teacher"}
    found = [Pair(teachers[row.prompt_id], row) for row in rows if row.role == "student" and row.prompt_id in teachers]
    found.sort(key=lambda pair: (math.isnan(pair.margin), pair.margin, pair.student.prompt_id, pair.student.index))
    return found


def chosen_pairs(
    pairs: Sequence[Pair], *, wrong_only: bool, best_first: bool, matches: Callable[[str], bool]
) -> list[Pair]:
    """Those that the filter takes, in the order wanted; `matches` is asked of prompt id, prompt and both answers."""
    found = [
        pair
        for pair in pairs
        if not (wrong_only and pair.verdict == "right")
        and any(
            matches(text)
            for text in (pair.teacher.prompt_id, pair.teacher.prompt, pair.teacher.text, pair.student.text)
        )
    ]
    if best_first:
        found.sort(key=lambda pair: (math.isnan(pair.margin), -pair.margin))
    return found
