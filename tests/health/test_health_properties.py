"""What must hold of every run: growing equals batch, a shift and an order of tags mean nothing, NaN never raises."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.detection.generator import Fault, Shape, generate, snapshot_of
from critictui.config import Config
from critictui.health.alert import Judgement
from critictui.health.judge import Judge, judge_all
from critictui.run import metrics as m
from critictui.run.columns import Columns
from critictui.run.facts import RunSnapshot, Seam
from critictui.run.reader import RunReader
from critictui.run.series import Series
from critictui.run.source import Budget

EXAMPLES = int(os.environ.get("CRITICTUI_EXAMPLES", "5"))
"""A few every day; `CRITICTUI_EXAMPLES=200` before a change of the rules is believed."""
QUICK = settings(
    max_examples=EXAMPLES, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate),
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
@pytest.mark.fault("S12")
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
@pytest.mark.fault("S12")
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
@pytest.mark.fault("S12")
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


def _in_columns(run: RunSnapshot) -> tuple[dict[str, Columns], list[int]]:
    """The run's points in columns as the store keeps them, empty yet, and the steps in their order."""
    return {tag: Columns() for tag in run.series}, sorted({s for one in run.series.values() for s in one.step.tolist()})


def _grown(run: RunSnapshot, columns: dict[str, Columns], high: int) -> RunSnapshot:
    """The run up to a step: views of columns to which only what is new was appended."""
    series = {}
    for tag, whole in run.series.items():
        mine, n = columns[tag], int(np.searchsorted(whole.step, high, side="right"))
        for i in range(mine.n, n):
            mine.append_one(*(column.item(i) for column in (whole.step, whole.wall_time, whole.value, whole.session)))
        if n:
            series[tag] = replace(
                whole, step=mine.step, wall_time=mine.wall, value=mine.value, session=mine.position
            )  # fmt: skip
    seams = tuple(seam for seam in run.seams if seam.step <= high)
    sessions = tuple(s for s in run.sessions if s.first_step <= high)
    metrics = {name: tag for name, tag in run.metrics.items() if tag in series}
    return replace(run, series=series, metrics=metrics, sessions=sessions, seams=seams)


@QUICK
@given(SEEDS, st.integers(1, 9))
def test_columns_that_grow_in_place_equal_columns_that_are_read_anew(seed: int, stride: int) -> None:
    run = any_run(seed, steps=150)
    columns, steps = _in_columns(run)
    judge = Judge(Config())
    for i, high in enumerate(steps[::stride]):
        grown = _grown(run, columns, high)
        said = judge.update(grown)
        if i % 7 == 0:
            assert told(said) == told(judge_all(grown, Config()))
    assert told(judge.update(_grown(run, columns, steps[-1]))) == told(judge_all(run, Config()))


@QUICK
@given(SEEDS, st.integers(30, 140), st.sampled_from([m.D_ACC, m.SCORE_DIFF, m.D_LOSS]))
def test_a_past_that_was_rewritten_is_noticed_wherever_its_columns_lie(seed: int, at: int, name: str) -> None:
    run = generate(Shape(seed, fault="abrupt", steps=200)).run
    columns, steps = _in_columns(run)
    judge = Judge(Config())
    judge.update(_grown(run, columns, steps[150]))
    value = run.series[name].value.copy()
    value[at] = np.nan
    rewritten = replace(run, series={**run.series, name: replace(run.series[name], value=value)})
    fresh, _ = _in_columns(run)
    for high in (steps[150], steps[-1]):
        now = _grown(rewritten, fresh, high)
        assert told(judge.update(now)) == told(judge_all(now, Config()))
    assert any(alert.rule == "non-finite" for alert in judge.update(now).alerts)


def _lines(run: RunSnapshot, rng: np.random.Generator) -> Iterator[str]:
    """The run as verl's file logger writes it, died and resumed once or twice some steps back."""
    rows: dict[int, dict[str, float]] = {}
    for tag, one in run.series.items():
        for step, value in zip(one.step.tolist(), one.value.tolist(), strict=True):
            rows.setdefault(step, {})[tag] = value
    steps = sorted(rows)
    for died in sorted(rng.integers(20, len(steps) - 20, int(rng.integers(1, 3))).tolist()):
        yield from (json.dumps({"step": s, "data": rows[s]}) for s in steps[max(0, died - 25) : died])
    yield from (json.dumps({"step": s, "data": rows[s]}) for s in steps[int(rng.integers(0, 15)) :])


@QUICK
@given(SEEDS)
@pytest.mark.fault("S12")
def test_a_file_that_grows_in_pieces_equals_the_whole_file(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = "\n".join(_lines(any_run(seed, steps=150), rng)).encode() + b"\n"
    with TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        reader, judge = RunReader(path.parent, Config()), Judge(Config())
        edges = [0, *sorted(rng.integers(1, len(data), 12).tolist()), len(data)]
        for low, high in pairwise(edges):
            with path.open("ab") as file:
                file.write(data[low:high])
            run = reader.poll(Budget(1 << 30, 60.0))
            while reader.more:
                run = reader.poll(Budget(1 << 30, 60.0))
            said = judge.update(run)
            assert told(said) == told(judge_all(run, Config()))
        assert len(run.series) > 8
        assert len(run.sessions) > 1
        whole = RunReader(path.parent, Config())
        assert told(said) == told(judge_all(whole.read_all(), Config()))
        reader.close()
        whole.close()


def _onsets(judgement: Judgement) -> list[tuple[object, ...]]:
    """Everything but the figures, and but the one rule that looks at the level of the scores."""
    return sorted(
        (a.rule, a.severity, a.state, a.metric, a.since_step, a.fired_step or -1, a.resolved_step or -1)
        for a in judgement.alerts
        if a.rule != "score-scale"
    )


@QUICK
@given(SEEDS, st.integers(-(2**14), 2**14), st.booleans())
def test_a_constant_added_to_both_scores_changes_only_the_score_scale(seed: int, eighths: int, derived: bool) -> None:
    run = any_run(seed)
    series = {tag: one for tag, one in run.series.items() if not (derived and tag == m.SCORE_DIFF)}
    for name in (m.TEACHER_MEAN, m.STUDENT_MEAN):  # so that nothing is lost to rounding when the constant is added
        series[name] = replace(series[name], value=np.round(series[name].value * 2**20) / 2**20)
    metrics = {name: tag for name, tag in run.metrics.items() if tag in series}
    plain = replace(run, series=series, metrics=metrics)
    moved = {
        tag: replace(one, value=one.value + eighths / 8) if tag in {m.TEACHER_MEAN, m.STUDENT_MEAN} else one
        for tag, one in series.items()
    }
    before, after = judge_all(plain, Config()), judge_all(replace(plain, series=moved), Config())
    assert _onsets(before) == _onsets(after)
    assert before.waiting == after.waiting


@QUICK
@given(SEEDS, st.integers(1, 4))
def test_the_order_of_tags_changes_nothing(seed: int, chunks: int) -> None:
    run, rng = any_run(seed), np.random.default_rng(seed)
    judge = Judge(Config())
    for high in [*sorted(rng.integers(1, 221, chunks).tolist()), 220]:
        early = _early(run, np.random.default_rng(seed), 0, high)
        tags = [str(tag) for tag in rng.permutation(list(early.series))]
        names = [str(name) for name in rng.permutation(list(early.metrics))]
        shuffled = replace(
            early, series={t: early.series[t] for t in tags}, metrics={n: early.metrics[n] for n in names}
        )  # fmt: skip
        assert told(judge.update(shuffled)) == told(judge_all(early, Config()))


@QUICK
@given(SEEDS, st.floats(0, 1))
@pytest.mark.fault("S12")
def test_nan_and_infinity_anywhere_never_raise_and_change_nothing_of_incremental(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    run = any_run(seed, steps=150)
    series = {}
    for tag, one in run.series.items():
        kind = rng.integers(4)
        holes = rng.random(len(one)) < share if kind else np.arange(len(one)) >= int(rng.integers(0, 150))
        value = np.where(holes, rng.choice([np.nan, np.inf, -np.inf], len(one)), one.value)
        series[tag] = replace(one, value=value)
    broken = replace(run, series=series)
    judge = Judge(Config())
    with np.errstate(all="ignore"):
        for high in (*sorted(rng.integers(1, 150, 3).tolist()), 150):
            early = _early(broken, np.random.default_rng(seed), 0, high)
            assert told(judge.update(early)) == told(judge_all(early, Config()))
    for alert in judge.update(early).alerts:
        json.dumps(alert.to_json(), allow_nan=False)


VALUES = st.floats(width=64, allow_nan=True, allow_infinity=True)


@settings(max_examples=5 * EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
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
@pytest.mark.fault("S12")
def test_next_to_no_data_is_unknown_and_says_what_is_missing(n: int) -> None:
    run = generate(Shape(1, steps=100)).run
    early = _early(run, np.random.default_rng(0), 0, n)
    judgement = judge_all(early, Config())
    assert judgement.verdict == "unknown"
    if n >= 3:
        assert any("more steps" in missing.needs for missing in judgement.waiting)
