"""Each scenario shows its signature in what was really measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Curves = dict[str, np.ndarray]

pytestmark = pytest.mark.torch


@pytest.fixture
def curves(demo_run: Callable[..., Path], read_events: Callable[[Path], dict]) -> Callable[[str], Curves]:
    def read(scenario: str) -> Curves:
        (file,) = (demo_run(scenario) / "tensorboard").iterdir()
        return {tag: values for tag, (_, values) in read_events(file).items()}

    return read


def test_healthy_rises_from_chance_to_a_plateau(curves: Callable[[str], Curves]) -> None:
    run = curves("healthy")
    assert 0.35 < run["critic/d_acc"][:6].mean() < 0.68
    assert 0.72 < run["critic/d_acc"][-20:].mean() < 0.9
    assert run["critic/score_diff"][-20:].mean() > 0.8
    assert run["critic/d_loss"][:3].mean() == pytest.approx(np.log(2), abs=0.05)
    assert all(np.isfinite(values).all() for values in run.values())
    assert set(run["training/epoch"]) == {0}


def test_collapse_loses_accuracy_and_margin_after_its_onset(curves: Callable[[str], Curves]) -> None:
    run = curves("collapse")
    half = len(run["critic/d_acc"]) // 2
    assert run["critic/d_acc"][half - 12 : half - 1].mean() > 0.65
    assert abs(run["critic/d_acc"][-20:].mean() - 0.5) < 0.13
    assert abs(run["critic/score_diff"][-20:].mean()) < 0.1
    assert run["critic/d_loss"][-20:].mean() == pytest.approx(np.log(2), abs=0.06)


def test_memorise_jumps_where_the_second_epoch_begins(curves: Callable[[str], Curves]) -> None:
    run = curves("memorise")
    seam = int(np.flatnonzero(np.diff(run["training/epoch"]))[0]) + 1
    before, after = run["critic/d_acc"][seam - 10 : seam], run["critic/d_acc"][seam : seam + 10]
    assert after.mean() - before.mean() > 0.15
    assert after.mean() > 0.9


def test_drift_moves_both_means_together_and_keeps_their_order(curves: Callable[[str], Curves]) -> None:
    run = curves("drift")
    half = len(run["critic/d_acc"]) // 2
    for side in ("teacher", "student"):
        assert run[f"critic/{side}_score_mean"][-1] - run[f"critic/{side}_score_mean"][half - 1] > 5
    assert run["critic/d_acc"][-20:].mean() > 0.7
    assert run["critic/score_diff"][-20:].mean() > 0.5


def test_inverted_prefers_the_student(curves: Callable[[str], Curves]) -> None:
    run = curves("inverted")
    assert run["critic/d_acc"][-20:].mean() < 0.3
    assert run["critic/score_diff"][-20:].mean() < -0.5
    assert run["critic/d_loss"][-20:].mean() < 0.6


def test_nan_ends_in_values_that_are_no_numbers(curves: Callable[[str], Curves]) -> None:
    run = curves("nan")
    half = len(run["critic/d_acc"]) // 2
    assert np.isfinite(run["critic/values/mean"][: half - 1]).all()
    assert np.isnan(run["critic/values/mean"][-1])
    assert np.isnan(run["critic/d_loss"][-1])
    assert np.nanmax(run["critic/grad_norm"]) > 100 * np.median(run["critic/grad_norm"][:half])


def test_restart_overlaps_in_a_second_file_and_repeats_what_the_first_one_said(
    demo_run: Callable[..., Path], read_events: Callable[[Path], dict]
) -> None:
    first, second = (read_events(file) for file in sorted((demo_run("restart") / "tensorboard").iterdir()))
    steps, resumed = first["critic/d_acc"][0], second["critic/d_acc"][0]
    overlap = np.intersect1d(steps, resumed)
    assert resumed[0] > 1
    assert len(overlap) >= 2
    assert (demo_run("restart") / f"global_step_{resumed[0] - 1}").is_dir()
    for tag in ("critic/d_acc", "critic/teacher_score_mean", "critic/grad_norm"):
        again = second[tag][1][: len(overlap)]
        np.testing.assert_allclose(first[tag][1][np.isin(steps, overlap)], again, rtol=1e-4)
    log = (demo_run("restart") / "train.log").read_text()
    assert f"Setting global step to {resumed[0] - 1}" in log
