"""What scores say and how surely: scored rows go in; accuracy, margin, intervals and tests come out.

A pair is one student response beside the teacher's response to the same prompt; only pairs with two finite scores
take part. Pairs of one prompt share a teacher and are not independent, so every bootstrap here draws prompts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from critictui.scoring.result import ResponseRow

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ties = Literal["report", "win", "lose", "half"]

RESAMPLES = 2000
"""Bootstrap resamples: the Monte Carlo error of a 95 % limit is about a tenth of the interval's half width."""
FEW_PROMPTS = 40
"""Prompts below which an interval over prompts is widened for their number."""
LEVEL = 0.05
"""A difference whose p-value is at most this is called real."""
TYPICAL_DISCORDANCE = 0.155
"""Share of pairs that two neighbouring checkpoints order differently; used until a comparison measures it."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Columns of n pairs with finite scores, in the order of the rows."""

    prompt: Ints
    """(n,) which prompt, 0 .. number of prompts - 1."""
    teacher: Floats
    student: Floats
    teacher_tokens: Ints
    student_tokens: Ints
    keys: tuple[tuple[str, int], ...]
    """(prompt id, student's number): what joins the pairs of two results."""
    dropped: int
    """Pairs left out because a score is not finite."""

    @property
    def n(self) -> int:
        """How many pairs."""
        return len(self.keys)

    @property
    def difference(self) -> Floats:
        """(n,) teacher minus student."""
        return self.teacher - self.student


def pairs_of(rows: Iterable[ResponseRow]) -> Pairs:
    """The pairs that rows form: each student with the teacher of its prompt. A prompt is its text, whatever its id."""
    rows = list(rows)
    teachers = {row.prompt_id: row for row in rows if row.role == "teacher"}
    texts = {prompt_id: row.prompt or prompt_id for prompt_id, row in teachers.items()}
    places = {text: i for i, text in enumerate(dict.fromkeys(texts.values()))}
    numbers = {prompt_id: places[text] for prompt_id, text in texts.items()}
    kept: list[tuple[ResponseRow, ResponseRow]] = []
    dropped = 0
    for row in rows:
        if row.role == "teacher" or row.prompt_id not in teachers:
            continue
        teacher = teachers[row.prompt_id]
        if math.isfinite(row.score) and math.isfinite(teacher.score):
            kept.append((teacher, row))
        else:
            dropped += 1
    return Pairs(
        prompt=np.array([numbers[s.prompt_id] for _, s in kept], np.int64),
        teacher=np.array([t.score for t, _ in kept], np.float64),
        student=np.array([s.score for _, s in kept], np.float64),
        teacher_tokens=np.array([t.tokens for t, _ in kept], np.int64),
        student_tokens=np.array([s.tokens for _, s in kept], np.int64),
        keys=tuple((s.prompt_id, s.index) for _, s in kept),
        dropped=dropped,
    )


# accuracy


def accuracy(pairs: Pairs, ties: Ties = "report") -> tuple[float, float, int]:
    """(d_acc, wins, n): the share of pairs where the teacher scores above the student, and what it is a share of.

    Ties: `report` leaves them out, `win` and `lose` count them so, `half` counts a half each. NaN without pairs.
    """
    above = int(np.count_nonzero(pairs.teacher > pairs.student))
    equal = int(np.count_nonzero(pairs.teacher == pairs.student))
    n = pairs.n - (equal if ties == "report" else 0)
    wins = above + {"report": 0.0, "lose": 0.0, "win": 1.0, "half": 0.5}[ties] * equal
    return (wins / n if n else math.nan), wins, n


def soft_accuracy(pairs: Pairs) -> float:
    """Mean of sigmoid(teacher - student): what some forks log as accuracy."""
    if not pairs.n:
        return math.nan
    half = np.clip(pairs.difference / 2, -350, 350)
    return float(np.mean(0.5 * (1 + np.tanh(half))))


def tie_rate(pairs: Pairs) -> float:
    """Share of pairs with two equal scores."""
    return float(np.mean(pairs.teacher == pairs.student)) if pairs.n else math.nan


def wilson(wins: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927, JASA 22:209); (NaN, NaN) for n = 0. `wins` may hold halves."""
    if n <= 0:
        return math.nan, math.nan
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = wins / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def auc(teacher: Sequence[float] | Floats, student: Sequence[float] | Floats) -> float:
    """The chance that any teacher response scores above any student response, ties a half (Mann-Whitney U / nm)."""
    above = np.asarray(teacher, np.float64)
    below = np.asarray(student, np.float64)
    above, below = above[np.isfinite(above)], np.sort(below[np.isfinite(below)])
    if not len(above) or not len(below):
        return math.nan
    left = np.searchsorted(below, above, "left")
    right = np.searchsorted(below, above, "right")
    return float(np.mean((left + right) / 2) / len(below))


# intervals by resampling prompts


def cluster_bootstrap(
    numerator: Floats,
    denominator: Floats,
    cluster: Ints,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of sum(numerator) / sum(denominator) when whole clusters are drawn with replacement.

    Davison & Hinkley 1997, section 3.8 (strategy 1). (NaN, NaN) with fewer than two clusters.
    """
    draws = _cluster_draws(numerator, denominator, cluster, resamples, seed)
    if draws is None:
        return math.nan, math.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _cluster_draws(numerator: Floats, denominator: Floats, cluster: Ints, resamples: int, seed: int) -> Floats | None:
    names, index = np.unique(cluster, return_inverse=True)
    count = len(names)
    if count < 2:
        return None
    top = np.bincount(index, weights=numerator, minlength=count)
    bottom = np.bincount(index, weights=denominator, minlength=count)
    generator = np.random.Generator(np.random.PCG64(seed))
    ratios: list[Floats] = []
    for start in range(0, resamples, 256):
        chosen = generator.integers(0, count, size=(min(256, resamples - start), count))
        below = bottom[chosen].sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios.append(top[chosen].sum(axis=1) / below)
    draws = np.concatenate(ratios)
    draws = draws[np.isfinite(draws)]
    return draws if len(draws) else None


def accuracy_interval(pairs: Pairs, ties: Ties = "report", *, seed: int = 0) -> tuple[float, float]:
    """d_acc's 95 % interval with prompts drawn anew: the honest one where a prompt has several students.

    All there is, 0 to 1, where several pairs are of one prompt: it says nothing about others.
    """
    outcome, counts = _outcomes(pairs, ties)
    if counts.sum() > 1 and len(np.unique(pairs.prompt)) == 1:
        return 0.0, 1.0
    low, high = cluster_bootstrap(outcome, counts, pairs.prompt, seed=seed)
    low, high = _for_few((low, high), accuracy(pairs, ties)[0], pairs.prompt)
    return max(low, 0.0), min(high, 1.0)


def margin_interval(pairs: Pairs, *, seed: int = 0) -> tuple[float, float]:
    """The mean margin's 95 % interval with prompts drawn anew."""
    interval = cluster_bootstrap(pairs.difference, np.ones(pairs.n), pairs.prompt, seed=seed)
    return _for_few(interval, float(np.mean(pairs.difference)) if pairs.n else math.nan, pairs.prompt)


def _for_few(interval: tuple[float, float], estimate: float, cluster: Ints) -> tuple[float, float]:
    """A bootstrap interval over few clusters, as much wider as theory has it: sqrt(k / (k - 1)) because draws of k
    clusters vary less than k clusters do, and Student's quantile with k - 1 degrees of freedom instead of the normal.
    """
    count = len(np.unique(cluster))
    if not 2 <= count < FEW_PROMPTS:
        return interval
    from scipy.stats import t

    wider = float(t.ppf(0.975, count - 1)) / NormalDist().inv_cdf(0.975) * math.sqrt(count / (count - 1))
    return tuple(estimate + (bound - estimate) * wider for bound in interval)  # type: ignore[return-value]


def _outcomes(pairs: Pairs, ties: Ties) -> tuple[Floats, Floats]:
    """(n,) what a pair adds to the wins, and what it adds to the count."""
    equal = pairs.teacher == pairs.student
    outcome = (pairs.teacher > pairs.student).astype(np.float64)
    outcome[equal] = {"report": 0.0, "lose": 0.0, "win": 1.0, "half": 0.5}[ties]
    counts = np.where(equal, 0.0, 1.0) if ties == "report" else np.ones(pairs.n)
    return outcome, counts


def design_effect(pairs: Pairs, ties: Ties = "report") -> float:
    """How many times the variance of d_acc is that of as many independent pairs (Kish 1965), at least 1.

    By linearisation over prompts; NaN with fewer than two prompts, 1 where all pairs agree.
    """
    return _inflation(*_outcomes(pairs, ties), pairs.prompt)


def _inflation(values: Floats, counts: Floats, cluster: Ints) -> float:
    """The design effect of sum(values) / sum(counts)."""
    n = float(counts.sum())
    names, index = np.unique(cluster, return_inverse=True)
    if len(names) < 2 or n == 0:
        return math.nan
    residual = values - float(values.sum()) / n * counts
    clustered = len(names) / (len(names) - 1) * float(np.sum(np.bincount(index, weights=residual) ** 2))
    simple = float(np.sum(residual**2))
    return max(1.0, clustered / simple) if simple > 0 else 1.0


# length


def spearman(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> float:
    """Rank correlation (Spearman 1904, midranks) over entries finite in both; NaN where either is constant."""
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    if len(first) < 3 or np.all(first == first[0]) or np.all(second == second[0]):
        return math.nan
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


def length_bias(teacher: Sequence[bool], tokens: Sequence[int], scores: Sequence[float]) -> float:
    """Mean over the two sides of the rank correlation of score and length within a side; NaN where neither has one.

    Over both sides at once longer teachers would look like a bias, where the score follows no length on either side,
    and shorter ones would hide one (Simpson 1951).
    """
    within = []
    for side in (True, False):
        mine = [k for k, this in enumerate(teacher) if this == side]
        within.append(spearman([tokens[k] for k in mine], [scores[k] for k in mine]))
    known = [r for r in within if math.isfinite(r)]
    return sum(known) / len(known) if known else math.nan


def is_length_bias(r: float, pairs: int, limit: float) -> bool:
    """Whether a rank correlation is beyond `limit`, and clear of half of it by its own error."""
    error = 1 / math.sqrt(max(1, 2 * pairs - 3))  # of a correlation near zero, two responses a pair
    return abs(r) > limit and abs(r) - 1.96 * error >= 0.5 * limit


def shorter_wins(pairs: Pairs) -> float:
    """The d_acc of a rule that knows nothing but length: the shorter response is the teacher's (ties left out).

    Near 0 or 1, length alone tells teacher from student on this set, whatever the critic does.
    """
    unequal = pairs.teacher_tokens != pairs.student_tokens
    if not np.any(unequal):
        return math.nan
    return float(np.mean((pairs.teacher_tokens < pairs.student_tokens)[unequal]))


# comparison of two checkpoints on the same pairs


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """This result against another on the pairs that both scored; positive differences favour this one."""

    pairs: int
    """Those that both count: under `report`, a tie in either takes no part."""
    prompts: int
    d_acc_difference: float
    d_acc_difference_ci: tuple[float, float]
    """95 %, within -1 and 1: every change that the test behind `p_value` does not reject; NaN with fewer than two
    prompts."""
    margin_difference: float
    margin_difference_ci: tuple[float, float]
    """Bootstrap over prompts, 95 %."""
    gained: int
    """Pairs that only this result orders rightly."""
    lost: int
    p_value: float
    """Exact, two-sided, prompt by prompt (`by_prompt`); with one pair a prompt it is McNemar's."""
    smallest_difference: float
    """Of d_acc, found 80 % of the time at the 5 % level with this many pairs, as far as those of one prompt tell
    different things, and this much disagreement."""

    def to_dict(self) -> dict[str, object]:
        """As the result file holds it."""
        return {name: getattr(self, name) for name in self.__slots__}


def by_prompt(change: Floats, counts: Floats, cluster: Ints) -> tuple[float, tuple[float, float]]:
    """(p, interval) of sum(change) / sum(counts): would it be as large if each cluster had either sign as easily?

    change: (n,) multiples of a half. p: exact, two-sided, over all signs of the clusters' totals (Fisher 1935, section
    21); pairs of one cluster may depend on each other in any way. With one pair a cluster it is McNemar's exact test,
    else its form for clusters (Durkalski et al. 2003, Statistics in Medicine 22:2417) without the normal approximation.

    Interval: 95 %, those d for which |sum(change - d counts)| is at most c times the root of the sum over clusters of
    (change - d counts) squared, cut at -1 and 1 (a score interval, as Tango's 1998, Statistics in Medicine 17:891). c,
    about 1.96, is from the distribution that p is from: the interval leaves 0 out exactly where p is at most LEVEL.
    (1, (NaN, NaN)) with fewer than two clusters.
    """
    names, index = np.unique(cluster, return_inverse=True)
    moved = np.bincount(index, weights=change, minlength=len(names))
    many = np.bincount(index, weights=counts, minlength=len(names))
    if len(names) < 2:
        return 1.0, (math.nan, math.nan)
    total, squares = float(moved.sum()), float((moved**2).sum())
    # in halves, so that they are whole numbers
    reached, chance, mass = _sign_flips(np.rint(2 * np.abs(moved)).astype(np.int64))
    p = float(chance[np.searchsorted(reached, round(2 * abs(total)))])
    kept, beyond = reached[chance > LEVEL], reached[(chance <= LEVEL) & (mass > 0)]
    edge = float(kept[-1] + (beyond[0] if len(beyond) else kept[-1] + 4)) / 4
    c = edge / math.sqrt(squares) if squares else NormalDist().inv_cdf(1 - LEVEL / 2)
    # (total - d n)^2 = c^2 sum (moved - d many)^2, solved for d
    n = float(many.sum())
    a = n * n - c * c * float((many**2).sum())
    b = -2 * (n * total - c * c * float((moved * many).sum()))
    if a <= 0:
        return p, (-1.0, 1.0)
    half = math.sqrt(max(0.0, b * b - 4 * a * (total**2 - c * c * squares)))
    return p, (max(-1.0, (-b - half) / (2 * a)), min(1.0, (-b + half) / (2 * a)))


def _sign_flips(sizes: Ints) -> tuple[Ints, Floats, Floats]:
    """(t, the chance that |sum(+-sizes)| is at least t, the chance that it is t), t ascending, all signs being even."""
    unit = max(int(np.gcd.reduce(sizes)), 1)
    mass = np.ones(1)  # of each sum of those with a plus, in units
    for size, times in zip(*np.unique(sizes[sizes > 0] // unit, return_counts=True), strict=True):
        spread = np.zeros(size * times + 1)
        spread[::size] = _even_throws(int(times))
        mass = np.convolve(mass, spread)
    largest = len(mass) - 1
    upper = mass[(largest + 1) // 2 :].copy()
    reached = (2 * np.arange((largest + 1) // 2, largest + 1) - largest) * unit
    upper[reached > 0] *= 2
    return reached, np.minimum(np.cumsum(upper[::-1])[::-1], 1.0), upper


def _even_throws(n: int) -> Floats:
    """(n + 1,) the chances of 0 to n heads in n throws of a fair coin."""
    steps = np.log(np.arange(1, n + 1, dtype=np.float64))
    factorial = np.concatenate([[0.0], np.cumsum(steps)])
    found: Floats = np.exp(factorial[n] - factorial - factorial[::-1] - n * math.log(2))
    return found


def compare_paired(this: Pairs, other: Pairs, ties: Ties = "report", *, seed: int = 0) -> PairedComparison:
    """Compare two results pair by pair, ties as `accuracy` counts them; pairs that only one of them counts are out."""
    where = {key: i for i, key in enumerate(other.keys)}
    mine = np.array([i for i, key in enumerate(this.keys) if key in where], np.int64)
    theirs = np.array([where[key] for key in this.keys if key in where], np.int64)
    (won, counted), (had_won, was_counted) = _outcomes(this, ties), _outcomes(other, ties)
    both = (counted[mine] > 0) & (was_counted[theirs] > 0)
    mine, theirs = mine[both], theirs[both]
    n = len(mine)
    change = won[mine] - had_won[theirs]
    margin = this.difference[mine] - other.difference[theirs]
    ones, prompt = np.ones(n), this.prompt[mine]
    gained, lost = int(np.count_nonzero(change > 0)), int(np.count_nonzero(change < 0))
    discordance = (gained + lost) / n if n else math.nan
    effect = _inflation(change, ones, prompt)
    p, interval = by_prompt(change, ones, prompt)
    return PairedComparison(
        pairs=n,
        prompts=len(np.unique(prompt)),
        d_acc_difference=float(np.mean(change)) if n else math.nan,
        d_acc_difference_ci=interval,
        margin_difference=float(np.mean(margin)) if n else math.nan,
        margin_difference_ci=cluster_bootstrap(margin, ones, prompt, seed=seed),
        gained=gained,
        lost=lost,
        p_value=p,
        smallest_difference=smallest_difference(
            n / effect if effect >= 1 else n, max(discordance, 1 / n) if n else math.nan
        ),
    )


def smallest_difference(
    pairs: float, discordance: float = TYPICAL_DISCORDANCE, *, level: float = 0.05, power: float = 0.8
) -> float:
    """The change of d_acc that a paired test finds with this power (Connor 1987, Biometrics 43:207).

    pairs: how many independent ones (divide by `design_effect` where prompts have several students). discordance: the
    share of pairs that the two checkpoints order differently. NaN when no change could be found: it cannot exceed the
    discordance.
    """
    if not (pairs > 0 and discordance > 0):
        return math.nan
    z_level, z_power = NormalDist().inv_cdf(1 - level / 2), NormalDist().inv_cdf(power)
    # n d^2 = (z_level sqrt(psi) + z_power sqrt(psi - d^2))^2, solved for d by squaring once
    root = math.sqrt(discordance)
    a = pairs + z_power**2
    b = -2 * math.sqrt(pairs) * z_level * root
    c = (z_level**2 - z_power**2) * discordance
    disc = b * b - 4 * a * c
    found = (-b + math.sqrt(disc)) / (2 * a) if disc >= 0 else math.nan
    return found if found <= discordance else math.nan
