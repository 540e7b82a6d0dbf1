"""A finished score, as `score --json` prints it and as its file in the run directory holds it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

SCHEMA = 1
TOKENIZER, TEMPLATE = "tokenizer_sha256", "template_sha256"
"""Keys of `extra`, called as in a fixed set's header."""


@dataclass(frozen=True, slots=True)
class FixedSetRef:
    """Which fixed set a score was made on."""

    path: str
    sha256: str
    prompts: int
    pairs: int


@dataclass(frozen=True, slots=True, eq=False)
class ScoreResult:
    """One checkpoint scored on one fixed set under one recipe. Field names are those of the JSON contract."""

    step: int | None
    checkpoint: str
    checkpoint_fingerprint: str
    fixed_set: FixedSetRef
    recipe: Mapping[str, object]
    d_acc: float
    """Share of pairs where the teacher scores above the student; ties by the recipe (report: they are left out)."""
    d_acc_ci: tuple[float, float]
    """95 %, as it is told and judged everywhere (`told_interval`)."""
    d_acc_soft: float
    """Mean of sigmoid(teacher - student)."""
    d_acc_ties_win: float
    tie_rate: float
    pairs: int
    """Pairs with two finite scores."""
    prompts: int
    teacher_score_mean: float
    student_score_mean: float
    teacher_score_std: float
    student_score_std: float
    score_diff: float
    score_range: float
    auc: float
    length_bias: float
    values: Mapping[str, float]
    """Token values: mean, std, min, max."""
    warnings: tuple[str, ...]
    tokens: int
    seconds: Mapping[str, float]
    """load, score, total."""
    device: str
    dtype: str
    versions: Mapping[str, str]
    extra: Mapping[str, object]
    """Additions to the contract: more intervals, and the hashes of tokenizer and chat template that were in effect."""
    path: Path | None = None
    """The JSON file it was read from or saved to."""

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of d_acc; there is no other."""
        return self.d_acc_ci

    @property
    def ties(self) -> int:
        """Pairs with two equal scores."""
        return round(self.tie_rate * self.pairs) if math.isfinite(self.tie_rate) else 0

    @property
    def counted(self) -> int:
        """Pairs that d_acc is a share of: the recipe may leave ties out."""
        return self.pairs - (self.ties if self.recipe.get("ties", "report") == "report" else 0)

    @property
    def counted_words(self) -> str:
        """`199 pairs of 100 prompts (1 tie left out)`, or what became of the ties else."""
        ties, rule = self.ties, str(self.recipe.get("ties", "report"))
        fate = {"report": "left out", "win": "won", "lose": "lost", "half": "half won"}.get(rule, rule)
        said = f"{self.counted} pairs of {self.prompts} prompts"
        return f"{said} ({ties} {'tie' if ties == 1 else 'ties'} {fate})" if ties else said

    @property
    def score_diff_interval(self) -> tuple[float, float]:
        """The 95 % interval of the margin; the margin itself twice where the result holds none."""
        return _two_numbers(self.extra.get("score_diff_ci")) or (self.score_diff, self.score_diff)

    @property
    def definition(self) -> str:
        """Ten hex digits over all that defines the score in effect: recipe, tokenizer, chat template and precision.

        A result of a version that kept no hashes is compared with others of that version alone.
        """
        from critictui.scoring.recipe import recipe_from

        hashes = [str(self.extra.get(name, "")) for name in (TOKENIZER, TEMPLATE)]
        return sha256("\0".join([recipe_from(self.recipe).id, self.dtype, *hashes]).encode()).hexdigest()[:10]

    @property
    def series(self) -> str:
        """Scores share a curve, and are compared, only if fixed set and definition are the same."""
        return f"{self.fixed_set.sha256[:10]}-{self.definition}"


def step_or_first(score: ScoreResult) -> int:
    """Sorts results by step; those whose step is unknown come first, so that the last one is the newest known."""
    return -1 if score.step is None else score.step


def told_interval(over_pairs: tuple[float, float], by_prompt: object) -> tuple[float, float]:
    """Wilson's interval over pairs, or what reaches beyond it of the bootstrap that draws prompts.

    by_prompt: `d_acc_ci_cluster` of a result's `extra`, from a file perhaps; what is no interval counts as none.
    """
    found = _two_numbers(by_prompt)
    if found is None or not all(map(math.isfinite, found)):
        return over_pairs
    return min(over_pairs[0], found[0]), max(over_pairs[1], found[1])


def _two_numbers(value: object) -> tuple[float, float] | None:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None
    low, high = value
    return (float(low), float(high)) if isinstance(low, (int, float)) and isinstance(high, (int, float)) else None


@dataclass(frozen=True, slots=True)
class ResponseRow:
    """One scored response: a row of the result's parquet file."""

    prompt_id: str
    prompt: str
    role: str
    """teacher or student."""
    index: int
    """0 for the teacher, else the student's number within the prompt."""
    text: str
    score: float
    tokens: int
    """Response tokens that were scored."""
    value_mean: float
    value_std: float
    value_min: float
    value_max: float
    truncated: bool
    finish_reason: str
