"""A score against the newest earlier checkpoint of its series: results at hand go in, the comparison and its words out.

It depends on what has been scored by now: an older checkpoint may be, some day later. A result holds the one that was
true when it was made; shown is the one that is true now.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from critictui.scoring.recipe import ScoringError, recipe_from
from critictui.scoring.result import ResponseRow, ScoreResult
from critictui.scoring.rows import read_rows
from critictui.scoring.statistics import LEVEL, compare_paired, pairs_of

_KEY = "previous"
_Made = tuple[ScoreResult, ScoreResult | None, ScoreResult]
"""A result as it was read, the one before it, and the result with their comparison."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A result against the one before it on the same pairs (from the result's file, which is foreign text)."""

    step: int
    d_acc: float
    """Difference of d_acc; positive favours this result."""
    low: float
    high: float
    margin: float
    p_value: float
    smallest: float
    """The difference that is found on these pairs 80 % of the time."""
    pairs: int
    prompts: int

    @property
    def real(self) -> bool:
        """Whether chance is an unlikely explanation."""
        return self.p_value <= LEVEL


def compared(score: ScoreResult) -> Compared | None:
    """The comparison that a result carries, None where there is none or it is not one."""
    raw = score.extra.get(_KEY)
    if not isinstance(raw, Mapping) or not isinstance(raw.get("step"), int):
        return None
    low, high = pair_in(raw.get("d_acc_difference_ci"))
    pairs, prompts = raw.get("pairs"), raw.get("prompts")
    return Compared(
        step=raw["step"],
        d_acc=number_in(raw.get("d_acc_difference")),
        low=low,
        high=high,
        margin=number_in(raw.get("margin_difference")),
        p_value=number_in(raw.get("p_value")),
        smallest=number_in(raw.get("smallest_difference")),
        pairs=pairs if isinstance(pairs, int) else 0,
        prompts=prompts if isinstance(prompts, int) else 0,
    )


def with_comparison(result: ScoreResult, rows: Iterable[ResponseRow], results: Iterable[ScoreResult]) -> ScoreResult:
    """The result with its comparison with the one before it among `results`; as it is where there is none.

    rows: its own. One whose responses cannot be read is named in a warning instead.
    """
    series = result.series
    before = _before(result, (other for other in results if other.series == series))
    if before is None:
        return result
    try:
        return _with(result, _entry(result, rows, before))
    except ScoringError as error:
        return replace(result, warnings=(*result.warnings, f"not compared with step {before.step}: {error}"))


class Comparisons:
    """Keeps the comparisons of a run's results as they are true now; each is made once."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._seen: Sequence[ScoreResult] = ()
        self._shown: tuple[ScoreResult, ...] = ()
        self._made: dict[tuple[int, int], _Made] = {}

    def of(self, results: Sequence[ScoreResult]) -> tuple[ScoreResult, ...]:
        """Results, oldest step first, each with its comparison; one that holds it already stays itself."""
        if len(results) == len(self._seen) and all(a is b for a, b in zip(results, self._seen, strict=True)):
            return self._shown
        before: dict[str, list[ScoreResult]] = {}
        made: dict[tuple[int, int], _Made] = {}
        shown = []
        for result in results:
            line = before.setdefault(result.series, [])
            previous = _before(result, line)
            line.append(result)
            key = id(result), id(previous)  # both are held, so that no other object gets these numbers
            made[key] = self._made.get(key) or (result, previous, _as_of_now(result, previous))
            shown.append(made[key][2])
        self._seen, self._shown, self._made = results, tuple(shown), made
        return self._shown


def _as_of_now(result: ScoreResult, previous: ScoreResult | None) -> ScoreResult:
    held = result.extra.get(_KEY)
    if previous is None:
        return result if held is None else _with(result, None)
    # without prompts it is of a version whose test took pairs for independent
    known = isinstance(held, Mapping) and "prompts" in held
    if isinstance(held, Mapping) and known and all(held.get(k) == v for k, v in _whom(previous).items()):
        return result
    try:
        return _with(result, _entry(result, read_rows(result), previous))
    except ScoringError:
        return _with(result, _whom(previous))


def _before(result: ScoreResult, series: Iterable[ScoreResult]) -> ScoreResult | None:
    """The newest of an earlier step among the results of one series."""
    steps = [(r.step, r) for r in series if r.step is not None and result.step is not None and r.step < result.step]
    return max(steps, key=lambda entry: entry[0])[1] if steps else None


def _whom(previous: ScoreResult) -> dict[str, object]:
    return {"step": previous.step, "checkpoint_fingerprint": previous.checkpoint_fingerprint, "d_acc": previous.d_acc}


def _entry(result: ScoreResult, rows: Iterable[ResponseRow], previous: ScoreResult) -> dict[str, object]:
    ties = recipe_from(result.recipe).ties
    return {**_whom(previous), **compare_paired(pairs_of(rows), pairs_of(read_rows(previous)), ties).to_dict()}


def _with(result: ScoreResult, entry: dict[str, object] | None) -> ScoreResult:
    extra = {key: value for key, value in result.extra.items() if key != _KEY}
    return replace(result, extra=extra if entry is None else {**extra, _KEY: entry})


def number_in(value: object) -> float:
    """A number as a result's JSON holds it; NaN for anything else."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def pair_in(value: object) -> tuple[float, float]:
    """Two such numbers, as an interval; NaN twice for anything else."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return number_in(value[0]), number_in(value[1])
    return math.nan, math.nan


def points(share: float) -> str:
    """A difference of shares as `+2.1`."""
    return f"{share * 100:+.1f}" if math.isfinite(share) else "-"


def p_words(p: float) -> str:
    """`p = 0.18`, `p < 0.001`."""
    if not math.isfinite(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def difference_words(share: float, interval: tuple[float, float], p: float, pairs: int, prompts: int) -> str:
    """`d_acc -6.0 points (-12.4 to +0.4), McNemar by prompt p = 0.066, 199 pairs of 100 prompts`."""
    low, high = interval
    span = f" ({_bound(low)} to {_bound(high)})" if math.isfinite(low) else ""
    test = "McNemar by prompt" if prompts < pairs else "McNemar"
    return f"d_acc {points(share)} points{span}, {test} {p_words(p)}, {pairs} pairs of {prompts} prompts"


def _bound(share: float) -> str:
    """A bound of an interval: one that is near 0 is not written as 0, which it includes or not."""
    digits = next((n for n in (1, 2, 3) if share == 0 or round(abs(share) * 100, n) > 0), 3)
    return f"{share * 100:+.{digits}f}"


def comparison_words(score: ScoreResult) -> str:
    """The comparison as a sentence; empty where there is none."""
    found = compared(score)
    if found is None:
        return ""
    if not found.pairs:
        return f"not compared with step {found.step}: no pair of both could be read"
    verdict = "a real change" if found.real else "no change that could be told from chance"
    said = difference_words(found.d_acc, (found.low, found.high), found.p_value, found.pairs, found.prompts)
    return f"against step {found.step}: {said}: {verdict}"
