"""The evidence of one disagreement, gathered: what training logged, what a test measured, and all that bears on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from critictui.diagnosis.claims import Claim
from critictui.diagnosis.logged import Logged
from critictui.diagnosis.script import ScriptReading
from critictui.diagnosis.simulation import CLEARLY, Landing, Simulation, landings
from critictui.scoring.statistics import Ties, wilson

if TYPE_CHECKING:
    from critictui.checkpoint.checkpoint import Audit
    from critictui.diagnosis.replay import Replay
    from critictui.run.training_config import TrainingConfig
    from critictui.scoring.fixed_set import FixedSet
    from critictui.scoring.result import ScoreResult

FAR = 3.0
"""Standard deviations beyond which two numbers are not the same one: 0.3 % by chance."""
NEAR = 2.0
AGREEMENT = 0.1
"""Two d_acc that are this near and within sampling error are no disagreement."""
_UNKNOWN_ERROR = 0.02
"""Of a test's d_acc whose pairs are not known: that of 400."""


@dataclass(frozen=True, slots=True)
class OwnScore:
    """What the checkpoint's own head really gives on the fixed set, with its 95 % interval."""

    d_acc: float
    low: float
    high: float
    soft: float
    margin: float
    teacher: float
    student: float
    pairs: int
    """Those that d_acc is a share of: ties are none of them where the recipe leaves them out."""


def own_score(score: ScoreResult | None, simulation: Simulation | None, ties: Ties = "report") -> OwnScore | None:
    """critictui's own measurement: the stored score, or else the simulation's right way, ties as the recipe has."""
    if score is not None:
        means = score.teacher_score_mean, score.student_score_mean
        return OwnScore(score.d_acc, *score.interval, score.d_acc_soft, score.score_diff, *means, score.counted)
    if simulation is None or not math.isfinite(simulation.real.mean("d_acc")):
        return None
    real = simulation.real.stats[0]
    n = real.pairs - (round(real.tie_rate * real.pairs) if ties == "report" else 0)
    won = {"win": real.d_acc_ties_win, "half": (real.d_acc + real.d_acc_ties_win) / 2}.get(
        ties, real.d_acc
    ) * real.pairs
    share = won / n if n else math.nan
    return OwnScore(share, *wilson(won, n), real.d_acc_soft, real.margin, real.teacher, real.student, n)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Everything at hand; what is missing is None, and the causes that need it stay untested."""

    logged: Logged
    claim: Claim | None
    """The test's numbers: claimed ones, else those of the fixed-set score of this checkpoint."""
    claimed: bool
    """The numbers are somebody's own, not critictui's."""
    score: ScoreResult | None
    """critictui's own score of this checkpoint, strictly loaded."""
    audit: Audit | None = None
    fixed_set: FixedSet | None = None
    simulation: Simulation | None = None
    replay: Replay | None = None
    script: ScriptReading | None = None
    training: TrainingConfig | None = None
    ties: Ties = "report"
    """How the recipe counts them."""

    def ranked(self) -> tuple[Landing, ...]:
        """The simulated ways of scoring, best first; empty without claim or simulation."""
        if self.simulation is None or self.claim is None or not self.claim:
            return ()
        return landings(self.simulation, self.claim)

    @property
    def own(self) -> OwnScore | None:
        """What critictui measures on this checkpoint itself."""
        return own_score(self.score, self.simulation, self.ties)

    @property
    def one_number(self) -> bool:
        """The test gave one number alone: more than one way of scoring may give it."""
        claim = self.claim if self.claimed else None
        return claim is not None and [claim.d_acc, claim.margin_or_difference, claim.level].count(None) == 2

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the test's d_acc: the score's own, Wilson's of a claim; None without its pairs."""
        if not self.claimed and self.own is not None:
            return self.own.low, self.own.high
        if self.claim is None or self.claim.d_acc is None or not self.claim.pairs:
            return None
        return wilson(self.claim.d_acc * self.claim.pairs, self.claim.pairs)

    def test_error(self, share: float) -> float:
        """Standard deviation of the test's d_acc if `share` is true, wider where pairs of a prompt are alike."""
        claim, interval = self.claim, self.interval
        if claim is None or claim.d_acc is None or not claim.pairs or interval is None:
            return _UNKNOWN_ERROR
        low, high = wilson(claim.d_acc * claim.pairs, claim.pairs)
        wider = max(1.0, (interval[1] - interval[0]) / (high - low))
        return wider * math.sqrt(max(share * (1 - share), 1e-12) / claim.pairs)

    @property
    def distance(self) -> float:
        """Standard deviations between the test's d_acc and the logged one; infinite where the scatter is not known."""
        claim, logged = self.claim, self.logged.d_acc
        if claim is None or claim.d_acc is None or logged is None or not math.isfinite(logged.error):
            return math.inf
        return logged.differs(claim.d_acc, self.test_error(logged.mean))

    @property
    def agrees(self) -> bool:
        """Whether the test's d_acc is what training logged here: near, and within the sampling error of both."""
        claim, logged = self.claim, self.logged.d_acc
        if claim is None or claim.d_acc is None or logged is None:
            return False
        gap = abs(logged.mean - claim.d_acc)
        if gap < AGREEMENT / 4:
            return True
        if not claim.pairs or self.interval is None or gap >= AGREEMENT:
            return False
        low, high = self.interval
        return low <= logged.mean <= high or self.distance <= NEAR

    @property
    def nothing_to_explain(self) -> bool:
        """Training and test agree, and no other number of the test speaks against it: no cause is needed."""
        return self.agrees and (self.one_number or self.real_lands is not False)

    @property
    def real_lands(self) -> bool | None:
        """Whether the real way of scoring explains the test's numbers, and no mistaken way does so clearly better.

        None when that was not simulated.
        """
        if not self.claimed and self.own is not None:
            return True
        ranked = self.ranked()
        real = next((x for x in ranked if x.variant.id == "real"), None)
        if real is None:
            return None
        return real.lands and all(x.log_density <= real.log_density + CLEARLY for x in ranked if x.lands)
