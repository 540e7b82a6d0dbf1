"""Labelled runs from a seed: a critic's warm-up with realistic noise, seams and gaps, and one fault at a known step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from critictui.run import metrics as m
from critictui.run.facts import RunSnapshot, Seam, Session
from critictui.run.pyramid import Pyramid
from critictui.run.series import Series

Array = NDArray[np.float64]
Fault = Literal[
    "none", "abrupt", "linear", "slow", "mild", "mild-accuracy", "memorise", "inversion", "variance-collapse",
    "variance-explosion", "divergence", "oscillation",
]  # fmt: skip
Noise = Literal["white", "ar", "heavy"]
HEALTHY: tuple[str, ...] = (
    "plain",
    "ar 0.8",
    "heavy tails",
    "upward trend",
    "restarts",
    "epoch seams",
    "rate steps",
    "gaps",
    "ar 0.8, trend",
    "ar 0.8, restarts",
    "ar 0.8, seams",
)
STEPS = 800


@dataclass(frozen=True, slots=True)
class Shape:
    """What a generated run is like, before noise."""

    seed: int
    fault: Fault = "none"
    steps: int = STEPS
    noise: Noise = "white"
    phi: float = 0.0
    trend: float = 0.0
    """Share by which the margin still grows from the end of the transient to the end of the run."""
    restarts: int = 0
    epoch_steps: int | None = None
    rate_steps: int = 0
    """How often the learning rate is cut to a third: the noise gets smaller and the level a little better."""
    gaps: int = 0
    """Stretches of up to 15 steps of which nothing was logged."""
    told: bool = True
    """The run says where its epochs begin."""


@dataclass(frozen=True, slots=True)
class LabelledRun:
    """A generated run and the truth about it."""

    shape: Shape
    run: RunSnapshot
    onset: int | None
    """The first step that the fault touches."""
    pairs: int
    values: Mapping[str, Array] = field(default_factory=dict)


def healthy(kind: str, seed: int) -> Shape:
    """A healthy run of one of the kinds in `HEALTHY`."""
    shapes: dict[str, Shape] = {
        "plain": Shape(seed),
        "ar 0.8": Shape(seed, noise="ar", phi=0.8),
        "heavy tails": Shape(seed, noise="heavy"),
        "upward trend": Shape(seed, trend=0.6),
        "restarts": Shape(seed, restarts=2),
        "epoch seams": Shape(seed, epoch_steps=310),
        "rate steps": Shape(seed, rate_steps=2),
        "gaps": Shape(seed, gaps=6),
        "ar 0.8, trend": Shape(seed, noise="ar", phi=0.8, trend=0.6),
        "ar 0.8, restarts": Shape(seed, noise="ar", phi=0.8, restarts=2),
        "ar 0.8, seams": Shape(seed, noise="ar", phi=0.8, epoch_steps=310),
    }
    return shapes[kind]


def faulty(fault: Fault, seed: int, noise: Noise = "white") -> Shape:
    """A run with a fault, under one kind of noise."""
    shape = Shape(seed, fault=fault, noise=noise, phi=0.8 if noise == "ar" else 0.0)
    return replace(shape, epoch_steps=310) if fault == "memorise" else shape


def generate(shape: Shape) -> LabelledRun:
    """The run that belongs to the shape; equal shapes give equal runs."""
    rng = np.random.default_rng([shape.seed, *shape.fault.encode(), *shape.noise.encode()])
    n = shape.steps
    step = np.arange(1, n + 1)
    pairs = int(rng.choice([128, 192, 256]))
    onset = _onset(shape, rng)
    margin, spread = _healthy_course(shape, step, rng)
    margin, spread, accuracy = _with_fault(shape, onset, step, margin, spread, rng)
    values = _logged(shape, rng, step, pairs, margin, spread, accuracy)
    if shape.fault == "divergence" and onset is not None:
        _diverge(values, onset)
    session, dropped = _sessions(shape, rng, n)
    keep = ~dropped
    columns = {name: column[keep] for name, column in values.items()}
    seams = _epochs(shape, n)
    run = snapshot_of(columns, step[keep], session[keep], seams=seams, name=f"{shape.fault}-{shape.seed}")
    return LabelledRun(shape, run, onset, pairs, columns)


def _onset(shape: Shape, rng: np.random.Generator) -> int | None:
    if shape.fault == "none":
        return None
    if shape.fault == "memorise":
        return (shape.epoch_steps or 310) + 1
    return int(rng.integers(shape.steps * 5 // 16, shape.steps * 3 // 4))


def _healthy_course(shape: Shape, step: NDArray[np.int64], rng: np.random.Generator) -> tuple[Array, Array]:
    """(margin, spread) without noise: an exponential learning transient to a level, perhaps still rising."""
    tau = rng.uniform(12, 45)
    ratio = rng.uniform(0.55, 0.80)
    """margin over the deviation of the difference of two scores: probit of the accuracy, 0.71 to 0.79"""
    learnt = 1 - np.exp(-step / tau)
    level = rng.uniform(1.8, 3.4)
    margin = level * learnt * (1 + shape.trend * np.clip((step - 100) / max(1, shape.steps - 100), 0, 1))
    spread = level / ratio / math.sqrt(2) * (0.25 + 0.75 * learnt)
    for i in range(shape.rate_steps):
        at = shape.steps * (i + 1) // (shape.rate_steps + 1)
        margin = margin * np.where(step > at, 1.04, 1.0)
    return margin, spread


def _with_fault(
    shape: Shape, onset: int | None, step: NDArray[np.int64], margin: Array, spread: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """(margin, spread, expected accuracy) once the fault has acted."""
    after = np.zeros(len(step)) if onset is None else (step >= onset).astype(float)
    since = np.zeros(len(step)) if onset is None else np.clip(step - onset + 1, 0, None).astype(float)
    normal = NormalDist()
    before = np.array([normal.cdf(z) for z in margin / spread / math.sqrt(2)])
    if shape.fault == "abrupt":
        margin = margin * (1 - after)
    elif shape.fault == "linear":
        margin = margin * (1 - np.clip(since / 150, 0, 1))
    elif shape.fault == "slow":
        margin = margin * (1 - np.clip(since / 400, 0, 1))
    elif shape.fault == "inversion":
        margin = margin * (1 - 1.7 * after)
    elif shape.fault == "mild":
        lower = np.array([normal.inv_cdf(p) for p in np.clip(before - 0.08 * after, 0.01, 0.99)])
        margin = np.where(after > 0, lower * spread * math.sqrt(2), margin)
    elif shape.fault == "memorise":
        margin = margin * (1 + rng.uniform(1.6, 2.6) * after)
    elif shape.fault == "oscillation":
        swing = np.sin(2 * np.pi * since / rng.uniform(8, 16)) * np.clip(since / 20, 0, 1)
        margin = margin * (1 + 0.8 * swing)
    expected = np.array([normal.cdf(z) for z in margin / spread / math.sqrt(2)])
    if shape.fault == "mild-accuracy":
        expected = expected - 0.08 * after
    elif shape.fault == "variance-collapse":
        factor = np.exp(-np.clip(since, 0, 120) / 30)
        margin, spread = margin * factor, spread * factor
    elif shape.fault == "variance-explosion":
        factor = np.exp(np.clip(since, 0, 80) / 40)
        margin, spread = margin * factor, spread * factor
    return margin, spread, expected


def _logged(
    shape: Shape, rng: np.random.Generator, step: NDArray[np.int64], pairs: int, margin: Array, spread: Array, p: Array
) -> dict[str, Array]:
    n = len(step)
    quiet = np.ones(n)
    rate = np.full(n, 1e-6)
    for i in range(shape.rate_steps):
        late = step > shape.steps * (i + 1) // (shape.rate_steps + 1)
        quiet, rate = np.where(late, quiet * 0.85, quiet), np.where(late, rate / 3, rate)
    common = _noise(shape, rng, n)  # a batch of hard prompts lowers accuracy and margin together
    own = math.sqrt(0.5)
    deviation = np.sqrt(p * (1 - p) / pairs) * quiet
    accuracy = np.clip(p + deviation * (own * common + own * _noise(shape, rng, n)), 0, 1)
    accuracy = np.round(accuracy * pairs) / pairs
    of_margin = spread * math.sqrt(2 / pairs) * quiet
    difference = margin + of_margin * (own * common + own * _noise(shape, rng, n))
    offset = rng.uniform(-0.5, 0.5) + 0.3 * np.sin(2 * np.pi * step / rng.uniform(300, 900) + rng.uniform(0, 6))
    centre = offset + spread / math.sqrt(2 * pairs) * _noise(shape, rng, n)
    few = 1 / math.sqrt(2 * pairs)
    teacher_std = spread * np.exp(few * _noise(shape, rng, n))
    student_std = spread * rng.uniform(0.9, 1.1) * np.exp(few * _noise(shape, rng, n))
    loss = np.log1p(np.exp(-difference)) + 0.25 * np.exp(-difference / 2) * np.abs(1 + 0.1 * _noise(shape, rng, n))
    return {
        m.D_ACC: accuracy,
        m.TEACHER_MEAN: centre + difference / 2,
        m.STUDENT_MEAN: centre - difference / 2,
        m.SCORE_DIFF: difference,
        m.TEACHER_STD: teacher_std,
        m.STUDENT_STD: student_std,
        m.SCORE_RANGE: 5.5 * spread * np.exp(0.08 * rng.standard_normal(n)) + difference,
        m.D_LOSS: loss,
        m.GRAD_NORM: rng.uniform(0.5, 3) * (1 + 2 * np.exp(-step / 30)) * np.exp(0.25 * rng.standard_normal(n)),
        m.LEARNING_RATE: rate,
        m.RESPONSE_LENGTH: rng.uniform(200, 900) * (1 + 0.03 * _noise(shape, rng, n)),
        "timing_s/step": rng.uniform(60, 180) * np.exp(0.06 * rng.standard_normal(n)),
    }


def _noise(shape: Shape, rng: np.random.Generator, n: int) -> Array:
    """(n,) of deviation 1: independent, AR(1), or Student's t with 3 degrees of freedom."""
    if shape.noise == "heavy":
        return rng.standard_t(3, n) / math.sqrt(3)
    if shape.noise == "white" or shape.phi == 0:
        return rng.standard_normal(n)
    shocks = rng.standard_normal(n) * math.sqrt(1 - shape.phi**2)
    out = np.empty(n)
    last = rng.standard_normal()
    for i in range(n):
        last = out[i] = shape.phi * last + shocks[i]
    return out


def _diverge(values: dict[str, Array], onset: int) -> None:
    """Loss and gradient grow for ten steps, then everything that the network computes is NaN."""
    grow = np.exp(0.5 * np.arange(10))
    i = onset - 1
    for name in (m.D_LOSS, m.GRAD_NORM):
        values[name][i : i + 10] *= grow[: len(values[name][i : i + 10])]
    for name in (m.D_LOSS, m.GRAD_NORM, m.SCORE_DIFF, m.TEACHER_MEAN, m.STUDENT_MEAN, m.TEACHER_STD, m.STUDENT_STD):
        values[name][i + 10 :] = math.nan


def _sessions(shape: Shape, rng: np.random.Generator, n: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(session, dropped) by step. Overlaps of a resumed run are not in a display, so a restart is a seam."""
    session = np.zeros(n, np.int64)
    for at in rng.integers(n // 5, n * 4 // 5, shape.restarts):
        session[at:] += 1
    dropped = np.zeros(n, np.bool_)
    for at in rng.integers(0, n - 20, shape.gaps):
        dropped[at : at + int(rng.integers(1, 16))] = True
    return session, dropped


def _epochs(shape: Shape, n: int) -> tuple[Seam, ...]:
    if shape.epoch_steps is None or not shape.told:
        return ()
    starts = range(shape.epoch_steps + 1, n + 1, shape.epoch_steps)
    return tuple(Seam(s, "epoch", f"epoch {i + 2}") for i, s in enumerate(starts))


def snapshot_of(
    columns: Mapping[str, Array],
    step: NDArray[np.int64],
    session: NDArray[np.int64] | None = None,
    *,
    seams: tuple[Seam, ...] = (),
    name: str = "generated",
    until: int | None = None,
) -> RunSnapshot:
    """A run snapshot of columns that all have a value at each step; `until` keeps only the first points."""
    session = np.zeros(len(step), np.int64) if session is None else session
    end = len(step) if until is None else until
    series = {
        tag: Series(tag, tag, "events", "events", step[:end], 120.0 * step[:end], value[:end], session[:end], Pyramid())
        for tag, value in columns.items()
    }
    numbers = [int(s) for s in np.unique(session[:end])]
    sessions = tuple(
        Session(s, int(step[:end][session[:end] == s][0]), int(step[:end][session[:end] == s][-1]), 0.0, "events")
        for s in numbers
    )
    last = int(step[end - 1]) if end else 0
    known = {value for key, value in vars(m).items() if key.isupper()}
    return RunSnapshot(
        path=Path(name), name=name, version=end, state="running" if end else "empty", series=series,
        metrics={tag: tag for tag in columns if tag in known}, sessions=sessions,
        seams=tuple(seam for seam in seams if seam.step <= last), sources=(), skipped=(), profile="gad-fork",
        step=last if end else None, total_steps=None, epoch_steps=None, pace=120.0, last_change=None, progress=1.0,
    )  # fmt: skip
