"""What must hold of every run: growing equals batch, a shift and an order of tags mean nothing, NaN never raises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.detection.generator import Fault, Shape, generate, snapshot_of
from critictui.config import Config
from critictui.health.alert import Judgement
from critictui.health.judge import Judge, judge_all
from critictui.run import metrics as m
from critictui.run.facts import RunSnapshot, Seam
from critictui.run.series import Series

QUICK = settings(
    max_examples=5, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
FAULTS: tuple[Fault, ...] = ("none", "abrupt", "linear", "memorise", "inversion", "divergence", "oscillation")
SEEDS = st.integers(0, 2**32 - 1)


def any_run(seed: int, steps: int = 220) -> RunSnapshot:
    """A generated run of any kind, with holes, restarts and values that are no numbers."""
    rng = np.random.default_rng(seed)
    shape = Shape(
        seed=seed,
        fault=FAULTS[rng.integers(len(FAULTS))],
        steps=steps,
        noise=("white", "ar", "heavy")[rng.integers(3)],  # type: ignore[arg-type]
        phi=0.8,
        restarts=int(rng.integers(3)),
        epoch_steps=(None, 35, 80)[rng.integers(3)],
        gaps=int(rng.integers(3)),
    )
    run = generate(shape).run
    series = dict(run.series)
    for tag in rng.choice(sorted(series), int(rng.integers(4)), replace=False):
        value = series[tag].value.copy()
        value[rng.integers(0, len(value), 4)] = rng.choice([np.nan, np.inf, -np.inf, 1e300])
        series[tag] = replace(series[tag], value=value)
    for tag in rng.choice(sorted(series), int(rng.integers(3)), replace=False):
        series[tag] = _part(series[tag], np.flatnonzero(rng.random(len(series[tag])) < 0.7))
    return replace(run, series=series)


def told(judgement: Judgement) -> list[str]:
    """Everything a judgement says, as text: a NaN equals a NaN."""
    return [judgement.verdict, *map(repr, judgement.alerts), *map(repr, judgement.waiting)]


def _part(series: Series, at: np.ndarray) -> Series:
    return replace(
        series,
        step=series.step[at], wall_time=series.wall_time[at], value=series.value[at], session=series.session[at],
    )  # fmt: skip


def _early(run: RunSnapshot, rng: np.random.Generator, low: int, high: int) -> RunSnapshot:
    """The run when only steps from `low` to `high` were read; each tag a little ahead of or behind the others."""
    series = {}
    for tag, whole in run.series.items():
        edge = high if rng.random() < 0.5 else high - int(rng.integers(0, 4))
        part = _part(whole, np.flatnonzero((whole.step >= low) & (whole.step <= edge)))
        if len(part):
            series[tag] = part
    sessions = tuple(s for s in run.sessions if s.first_step <= high)
    seams = tuple(seam for seam in run.seams if low <= seam.step <= high)
    metrics = {name: tag for name, tag in run.metrics.items() if tag in series}
    return replace(run, series=series, metrics=metrics, sessions=sessions, seams=seams)


@QUICK
@given(SEEDS, st.integers(2, 12))
def test_judging_as_it_grows_equals_judging_at_once(seed: int, chunks: int) -> None:
    run = any_run(seed)
    rng = np.random.default_rng(seed)
    judge = Judge(Config())
    for high in sorted(rng.integers(1, 221, chunks).tolist()):
        early = _early(run, rng, 0, high)
        assert told(judge.update(early)) == told(judge_all(early, Config()))
    assert told(judge.update(run)) == told(judge_all(run, Config()))


@QUICK
@given(SEEDS)
def test_judging_every_single_step_equals_judging_at_once(seed: int) -> None:
    run = any_run(seed, steps=150)
    judge, rng = Judge(Config()), np.random.default_rng(seed)
    for high in range(1, 151):
        judge.update(_early(run, rng, 0, high))
    assert told(judge.update(run)) == told(judge_all(run, Config()))


@QUICK
@given(SEEDS, st.integers(2, 8))
def test_a_tail_read_first_and_a_history_filled_in_equal_a_full_read(seed: int, chunks: int) -> None:
    run = any_run(seed)
    rng = np.random.default_rng(seed)
    judge = Judge(Config())
    for low in sorted(rng.integers(1, 221, chunks).tolist(), reverse=True):
        early = _early(run, rng, low, 220)
        assert told(judge.update(early)) == told(judge_all(early, Config()))
    assert told(judge.update(run)) == told(judge_all(run, Config()))


@QUICK
@given(SEEDS, st.integers(20, 200), st.integers(1, 40))
def test_a_restart_that_overlaps_equals_a_full_read(seed: int, died: int, overlap: int) -> None:
    run = any_run(seed)
    judge = Judge(Config())
    old = _early(run, np.random.default_rng(0), 0, died)
    judge.update(old)
    resumed = {}
    for tag, whole in run.series.items():
        later = whole.step > died - overlap
        value = np.where(later, whole.value + 0.01, whole.value)
        resumed[tag] = replace(
            whole, value=value, session=whole.session + later, superseded=int(np.sum(later & (whole.step <= died)))
        )
    new = replace(run, series=resumed)
    assert told(judge.update(new)) == told(judge_all(new, Config()))


@QUICK
@given(SEEDS, st.sampled_from([-3.0, -0.5, 0.25, 40.0]))
def test_a_constant_added_to_both_scores_changes_only_the_score_scale(seed: int, constant: float) -> None:
    run = any_run(seed)
    series = dict(run.series)
    for name in (m.TEACHER_MEAN, m.STUDENT_MEAN):
        rounded = np.round(series[name].value * 2**20) / 2**20
        series[name] = replace(series[name], value=rounded)
    plain = replace(run, series=series)
    moved = {
        tag: replace(s, value=s.value + constant) if tag in {m.TEACHER_MEAN, m.STUDENT_MEAN} else s
        for tag, s in series.items()
    }
    before, after = judge_all(plain, Config()), judge_all(replace(plain, series=moved), Config())

    def onsets(judgement: Judgement) -> list[tuple[object, ...]]:
        return sorted(
            (a.rule, a.severity, a.state, a.metric, a.since_step, a.fired_step or -1, a.resolved_step or -1)
            for a in judgement.alerts
            if a.rule != "score-scale"
        )

    assert onsets(before) == onsets(after)


@QUICK
@given(SEEDS)
def test_the_order_of_tags_changes_nothing(seed: int) -> None:
    run, rng = any_run(seed), np.random.default_rng(seed)
    tags = [str(tag) for tag in rng.permutation(list(run.series))]
    names = [str(name) for name in rng.permutation(list(run.metrics))]
    shuffled = replace(run, series={t: run.series[t] for t in tags}, metrics={n: run.metrics[n] for n in names})
    assert told(judge_all(shuffled, Config())) == told(judge_all(run, Config()))


VALUES = st.floats(width=64, allow_nan=True, allow_infinity=True)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), min_size=1, max_size=130), st.integers(1, 10**15))
def test_no_values_raise(rows: list[tuple[float, ...]], first: int) -> None:
    table = np.array(rows, dtype=np.float64)
    names = (m.D_ACC, m.TEACHER_MEAN, m.STUDENT_MEAN, m.TEACHER_STD)
    columns = {name: table[:, i].copy() for i, name in enumerate(names)}
    columns |= {m.GRAD_NORM: table[:, 0].copy(), m.D_LOSS: table[:, 1].copy(), "timing_s/step": table[:, 2].copy()}
    step = np.arange(first, first + len(table))
    run = snapshot_of(columns, step, seams=(Seam(first + 70, "epoch", "epoch 2"),))
    with np.errstate(all="ignore"):
        assert judge_all(run, Config()).verdict in {"healthy", "warning", "critical", "unknown"}


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_next_to_no_data_is_unknown_and_says_what_is_missing(n: int) -> None:
    run = generate(Shape(1, steps=100)).run
    early = _early(run, np.random.default_rng(0), 0, n)
    judgement = judge_all(early, Config())
    assert judgement.verdict == "unknown"
    if n >= 3:
        assert any("more steps" in missing.needs for missing in judgement.waiting)
