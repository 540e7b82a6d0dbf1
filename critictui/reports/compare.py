"""Runs side by side: their curves at the same step, their scores on the same fixed set, what was set differently.

Runs go in, the first of them being what the others are held against; a Comparison comes out, as JSON or as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from critictui.config import Config
from critictui.errors import InputError
from critictui.run.facts import RunSnapshot, directory_of
from critictui.run.read_once import read_once, refuse_empty
from critictui.run.series import Series
from critictui.run.training_config import TrainingConfig, find_training_config
from critictui.scoring.recipe import ScoringError, recipe_from
from critictui.scoring.result import TEMPLATE, TOKENIZER, ScoreResult, step_or_first
from critictui.scoring.results import ResultsFolder
from critictui.scoring.rows import read_rows
from critictui.scoring.statistics import PairedComparison, compare_paired, pairs_of
from critictui.scoring.usual_scores import set_and_recipe, usual_scores

WINDOW = 20
"""Points up to the common step that a number is the mean of: one step's batch says little."""
MOST = 26
"""Runs: each has a letter."""


class CompareError(InputError):
    """Nothing to compare; the message says what to give."""


@dataclass(frozen=True, slots=True)
class Level:
    """A metric at the common step."""

    tag: str
    step: int
    """The newest step that is in it."""
    mean: float
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One run of a comparison."""

    letter: str
    run: RunSnapshot
    levels: Mapping[str, Level]
    """By canonical name."""
    scores: tuple[ScoreResult, ...]
    """Oldest step first: those of another set or recipe too."""
    own_scores: tuple[ScoreResult, ...]
    """Those among them by the run's own recipe on its usual set."""
    settings: TrainingConfig | None

    @property
    def path(self) -> Path:
        """The run directory."""
        return directory_of(self.run)

    @property
    def newest(self) -> ScoreResult | None:
        """Its own score of the newest step."""
        return self.own_scores[-1] if self.own_scores else None


@dataclass(frozen=True, slots=True, eq=False)
class OnTheSet:
    """Two runs on the same pairs, by scores of one recipe; or why that cannot be."""

    letters: tuple[str, str]
    """The run, and the first one, against which it is held."""
    steps: tuple[int | None, int | None] = (None, None)
    found: PairedComparison | None = None
    reason: str = ""
    on: str = ""
    """Set and recipe, where they are not both runs' own."""
    unlike: tuple[str, ...] = ()
    """What beside the weights is not the same: tokenizer, chat template, precision."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Runs side by side."""

    step: int | None
    """The newest step that all of them have reached; None where one has no step yet."""
    sides: tuple[Side, ...]
    on_the_set: tuple[OnTheSet, ...]
    differs: Mapping[str, tuple[object, ...]]
    """Settings of the training that are not the same everywhere, a value a run; None where a run does not say."""


def compare(targets: Sequence[Path], config: Config) -> Comparison:
    """Read the runs and compare them. Raises CompareError, RunError."""
    if not 2 <= len(targets) <= MOST:
        raise CompareError(f"{len(targets)} run{'' if len(targets) == 1 else 's'} given: give 2 to {MOST}")
    runs = [_read(target, config) for target in targets]
    steps = [run.step for run in runs]
    known = [step for step in steps if step is not None]
    common = min(known) if len(known) == len(steps) else None
    sides = tuple(_side(chr(ord("A") + number), run, common, config) for number, run in enumerate(runs))
    return Comparison(common, sides, tuple(_on_the_set(side, sides[0]) for side in sides[1:]), _differs(sides))


def _read(target: Path, config: Config) -> RunSnapshot:
    run = read_once(target, config)
    refuse_empty(target, run)
    return run


def _side(letter: str, run: RunSnapshot, common: int | None, config: Config) -> Side:
    run_dir = directory_of(run)
    scores = tuple(sorted(ResultsFolder(run_dir).poll(), key=step_or_first))
    own = tuple(usual_scores(scores, run_dir, config))
    return Side(letter, run, _levels(run, common), scores, own, find_training_config(run_dir))


def _levels(run: RunSnapshot, step: int | None) -> dict[str, Level]:
    found = {name: _level(series, step) for name in run.metrics if (series := run.metric(name)) is not None}
    return {name: level for name, level in found.items() if level is not None}


def _level(series: Series, step: int | None) -> Level | None:
    end = len(series) if step is None else int(np.searchsorted(series.step, step, "right"))
    values = series.value[max(0, end - WINDOW) : end]
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    return Level(series.tag, int(series.step[end - 1]), float(finite.mean()), len(finite))


def _on_the_set(side: Side, first: Side) -> OnTheSet:
    """By the newest step that each has on a set and by a recipe that both have: the runs' own, else one that is one's
    own, else any; among those the run's newest score decides.
    """
    letters = (side.letter, first.letter)
    theirs: dict[tuple[str, str], list[ScoreResult]] = {}
    for score in first.scores:
        theirs.setdefault(_set_and_recipe(score), []).append(score)
    own = Counter(key for run in (side, first) for key in {_set_and_recipe(score) for score in run.own_scores})
    ours = [score for score in reversed(side.scores) if _set_and_recipe(score) in theirs]
    if not ours:
        return OnTheSet(letters, reason=_why_not(side, first))
    this = max(ours, key=lambda score: own[_set_and_recipe(score)])  # the first of the largest: the newest
    key = _set_and_recipe(this)
    alike, on = theirs[key], "" if own[key] == 2 else set_and_recipe(this)
    other = next((score for score in reversed(alike) if score.series == this.series), alike[-1])
    steps, unlike = (this.step, other.step), _unlike(this, other)
    try:
        found = compare_paired(pairs_of(read_rows(this)), pairs_of(read_rows(other)), recipe_from(this.recipe).ties)
    except ScoringError as error:
        return OnTheSet(letters, steps, reason=str(error), on=on)
    if not found.pairs:
        return OnTheSet(letters, steps, reason="they share no pair", on=on)
    return OnTheSet(letters, steps, found, on=on, unlike=unlike)


def _set_and_recipe(score: ScoreResult) -> tuple[str, str]:
    return score.fixed_set.sha256, recipe_from(score.recipe).id


def _unlike(this: ScoreResult, other: ScoreResult) -> tuple[str, ...]:
    """What else defines a score and is not the same: runs may be of different models."""
    facts = [
        ("tokenizer", this.extra.get(TOKENIZER), other.extra.get(TOKENIZER)),
        ("chat template", this.extra.get(TEMPLATE), other.extra.get(TEMPLATE)),
        ("precision", this.dtype, other.dtype),
    ]
    return tuple(name for name, one, two in facts if one != two)


def _why_not(side: Side, first: Side) -> str:
    without = [s.letter for s in (first, side) if not s.scores]
    if without:
        return (
            f"{' and '.join(without)} {'has' if len(without) == 1 else 'have'} no score; make one: critictui score RUN"
        )
    sets = {score.fixed_set.sha256 for score in side.scores}
    if sets.isdisjoint(score.fixed_set.sha256 for score in first.scores):
        return "they were scored on different fixed sets; score one on the other's: --fixed-set"
    return "they were scored by different recipes; score one by the other's: --recipe"


def _differs(sides: Sequence[Side]) -> dict[str, tuple[object, ...]]:
    names = [f.name for f in fields(TrainingConfig) if f.name != "source"]
    rows = {name: tuple(getattr(s.settings, name) if s.settings else None for s in sides) for name in names}
    said = {name: {str(value) for value in row if value not in (None, ())} for name, row in rows.items()}
    return {name: tuple(v if v != () else None for v in row) for name, row in rows.items() if len(said[name]) > 1}
