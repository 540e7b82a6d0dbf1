"""Known mistakes, simulated on this very checkpoint and fixed set: do they land on the numbers that were measured?

The worker computes the statistics (job `simulate`); here they are read and judged, without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import cast

from critictui.diagnosis.claims import Claim


@dataclass(frozen=True, slots=True)
class VariantStats:
    """One scoring of the fixed set in one (possibly mistaken) way."""

    d_acc: float
    """Hard, ties counted as losses."""
    d_acc_ties_win: float
    d_acc_soft: float
    tie_rate: float
    margin: float
    margin_std: float
    """Standard deviation of the margin over pairs."""
    teacher: float
    student: float
    level_std: float
    """Standard deviation over pairs of (teacher + student) / 2."""
    pairs: int
    prompts: int


@dataclass(frozen=True, slots=True)
class Variant:
    """One known mistake with the statistics of each of its seeds (one, where nothing is random)."""

    id: str
    """real, random-head-hf, random-head-trl, template-slice, right-padding, prompt-echo, ... """
    cause: str
    """The cause id that it speaks for; empty for the real way."""
    label: str
    """What was done, as part of a sentence: 'a randomly initialised head'."""
    stats: tuple[VariantStats, ...]

    def mean(self, name: str) -> float:
        """Mean over the seeds of one field of the statistics."""
        return math.fsum(getattr(s, name) for s in self.stats) / len(self.stats)

    def std(self, name: str) -> float:
        """Sample standard deviation over the seeds; 0 where there is one."""
        if len(self.stats) < 2:
            return 0.0
        mean = self.mean(name)
        return math.sqrt(math.fsum((getattr(s, name) - mean) ** 2 for s in self.stats) / (len(self.stats) - 1))


@dataclass(frozen=True, slots=True)
class Simulation:
    """The real way and every mistaken one on the same checkpoint and fixed set."""

    real: Variant
    variants: tuple[Variant, ...]
    length_bias: float | None = None
    """Spearman of score and length, the right way; None where it was not computed."""
    tokenizer: str = ""
    """Hash of the checkpoint's tokenizer; empty where unknown."""


@dataclass(frozen=True, slots=True)
class Landing:
    """How well one variant explains a claim."""

    variant: Variant
    z: Mapping[str, float]
    """Per claimed number, its distance from the variant in standard deviations."""
    lands: bool
    """The claim lies within sampling error of this variant (chi-square over the claimed numbers, 1 %)."""
    log_density: float
    """Log density of the claim under the variant: ranks those that land."""


_CHI_SQUARE_99 = {1: 6.635, 2: 9.210, 3: 11.345}
"""99th percentiles of chi-square with 1, 2 and 3 degrees of freedom."""
CLEARLY = 4.0
"""Difference of log densities beyond which one simulated way is the better account. Under the right way the best of
the others exceeds it in less than one case in twenty (its chi-square over three numbers must be above 8)."""
_LEAST_SHARE = 0.005
_ROUNDING = 0.005
"""Claims are written with two decimals: half of the last one is no disagreement."""


def simulation_from(result: Mapping[str, object]) -> Simulation:
    """The `simulate` job's JSON back into dataclasses."""
    variants = tuple(_variant(v) for v in cast("Sequence[Mapping[str, object]]", result["variants"]))
    real = next(v for v in variants if v.id == "real")
    bias = result.get("length_bias")
    return Simulation(
        real,
        tuple(v for v in variants if v.id != "real"),
        float(bias) if isinstance(bias, int | float) and math.isfinite(bias) else None,
        str(result.get("tokenizer") or ""),
    )


def _variant(value: Mapping[str, object]) -> Variant:
    names = [f.name for f in fields(VariantStats)]
    stats = tuple(
        VariantStats(**{n: s[n] for n in names})  # type: ignore[arg-type]
        for s in cast("Sequence[Mapping[str, float]]", value["stats"])
    )
    return Variant(str(value["id"]), str(value["cause"]), str(value["label"]), stats)


def landing(variant: Variant, claim: Claim) -> Landing:
    """Judge a claim against one variant.

    Every claimed number is compared with the variant's mean over seeds. Its variance is the seeds' variance, plus the
    sampling variance of the claim's own pairs, plus that of ours; both samples count prompts, not pairs, where a prompt
    has several students, because their responses are not independent.
    """
    stats = variant.stats[0]
    ours = max(stats.prompts, 1)
    per_prompt = max(stats.pairs / ours, 1.0)
    theirs = max((claim.pairs or stats.pairs) / per_prompt, 1.0)
    sampling = 1 / ours + 1 / theirs
    z: dict[str, float] = {}
    log_density = 0.0
    share = min(max(variant.mean("d_acc"), _LEAST_SHARE), 1 - _LEAST_SHARE)
    margin_std, level_std = variant.mean("margin_std"), variant.mean("level_std")
    margin_variance = variant.std("margin") ** 2 + margin_std**2 * sampling
    expected: list[tuple[str, float | None, float, float]] = [
        ("d_acc", claim.d_acc, variant.mean("d_acc"), variant.std("d_acc") ** 2 + share * (1 - share) * sampling),
        ("margin", claim.margin_or_difference, variant.mean("margin"), margin_variance),
        ("level", claim.level, _mean_level(variant), _level_variance(variant) + level_std**2 * sampling),
    ]
    for name, value, mean, variance in expected:
        if value is None:
            continue
        sigma = math.sqrt(variance + _ROUNDING**2)
        z[name] = (value - mean) / sigma
        log_density += -0.5 * z[name] ** 2 - math.log(sigma)
    distance = math.fsum(v * v for v in z.values())
    return Landing(variant, z, bool(z) and distance <= _CHI_SQUARE_99[len(z)], log_density)


def _levels(variant: Variant) -> list[float]:
    return [(s.teacher + s.student) / 2 for s in variant.stats]


def _mean_level(variant: Variant) -> float:
    return math.fsum(_levels(variant)) / len(variant.stats)


def _level_variance(variant: Variant) -> float:
    if len(variant.stats) < 2:
        return 0.0
    mean = _mean_level(variant)
    return math.fsum((x - mean) ** 2 for x in _levels(variant)) / (len(variant.stats) - 1)


def landings(simulation: Simulation, claim: Claim) -> tuple[Landing, ...]:
    """Every variant, the real way included, those that land first and the densest of them at the top."""
    judged = [landing(v, claim) for v in (simulation.real, *simulation.variants)]
    return tuple(sorted(judged, key=lambda x: (not x.lands, -x.log_density)))
