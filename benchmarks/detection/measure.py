"""Generated runs go through the judge and through its peers; rates with intervals and delays come out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median

from benchmarks.detection.generator import Shape, generate
from critictui.config import Config
from critictui.health.judge import judge_all
from critictui.health.statistics import wilson
from critictui.run.metrics import D_ACC

EXPECTED: dict[str, frozenset[str]] = {
    "abrupt": frozenset({"margin-collapse", "chance-accuracy", "decline"}),
    "linear": frozenset({"margin-collapse", "chance-accuracy", "decline", "drift"}),
    "slow": frozenset({"margin-collapse", "chance-accuracy", "decline", "drift"}),
    "mild": frozenset({"decline", "drift"}),
    "mild-accuracy": frozenset({"decline"}),
    "memorise": frozenset({"step-change"}),
    "inversion": frozenset({"inverted"}),
    "variance-collapse": frozenset({"spread-collapse"}),
    "variance-explosion": frozenset({"spread-explosion"}),
    "divergence": frozenset({"non-finite", "gradient-spike"}),
    "oscillation": frozenset({"instability"}),
}
"""The rules that name a fault rightly."""


@dataclass(frozen=True, slots=True)
class Fired:
    """One alert of a run, as far as the tables need it."""

    rule: str
    severity: str
    since: int
    step: int
    critical: int | None
    """The step from which on it was critical."""
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was said of one run."""

    shape: Shape
    onset: int | None
    fired: tuple[Fired, ...]
    peers: dict[str, list[int]]

    def alarmed(self, severities: Sequence[str]) -> bool:
        """Any alert of these severities, at any time."""
        return any(alert.severity in severities for alert in self.fired)

    def before(self) -> tuple[Fired, ...]:
        """Warnings and worse that fired before the fault: false ones."""
        return tuple(f for f in self.fired if f.severity != "info" and (self.onset is None or f.step < self.onset))

    def delay(self, rules: Iterable[str]) -> int | None:
        """Steps from the onset to the first warning of these rules; None if there was none."""
        assert self.onset is not None
        steps = [f.step for f in self.fired if f.rule in rules and f.severity != "info" and f.step >= self.onset]
        return min(steps) - self.onset if steps else None


def outcome(shape: Shape, with_peers: bool = True) -> Outcome:
    """Generate, judge, compare."""
    labelled = generate(shape)
    fired = []
    for alert in judge_all(labelled.run, Config()).alerts:
        if alert.fired_step is None:
            continue
        critical = dict(alert.evidence).get("critical since step")
        fired.append(
            Fired(alert.rule, alert.severity, alert.since_step, alert.fired_step,
                  None if critical is None else int(critical), alert.message)
        )  # fmt: skip
    peers = {}
    if with_peers:
        from benchmarks.detection.peers import PEERS

        series = labelled.run.series[D_ACC]
        values, steps = series.value.tolist(), series.step.tolist()
        finite = [(v, s) for v, s in zip(values, steps, strict=True) if math.isfinite(v)]
        peers = {name: detect([v for v, _ in finite], [s for _, s in finite]) for name, detect in PEERS.items()}
    return Outcome(shape, labelled.onset, tuple(fired), peers)


def _bare(shape: Shape) -> Outcome:
    return outcome(shape, with_peers=False)


def outcomes(shapes: Sequence[Shape], *, processes: int = 2, with_peers: bool = True) -> list[Outcome]:
    """All of them, in the order of the shapes."""
    work = outcome if with_peers else _bare
    if processes == 1:
        return [work(shape) for shape in shapes]
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(work, shapes, chunksize=8))


def rate(hits: int, n: int) -> str:
    """'1.2 % (0.5-2.6)': a share and its 95 % Wilson interval."""
    low, high = wilson(hits / n, n) if n else (0.0, 1.0)
    return f"{100 * hits / max(1, n):.1f} % ({100 * max(0.0, low):.1f}-{100 * high:.1f})"


def middle(delays: Sequence[int]) -> str:
    """'4 (9)': the median delay and the 90th percentile; a dash for none."""
    if not delays:
        return "-"
    ordered = sorted(delays)
    return f"{median(ordered):.0f} ({ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]})"
