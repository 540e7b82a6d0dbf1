"""Where training and test agree nothing is to be explained; a number that is near another by chance is no match."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from critictui.config import Config
from critictui.diagnosis.case import Case
from critictui.diagnosis.claims import Claim
from critictui.diagnosis.explain import explain
from critictui.diagnosis.finding import Cause, Explanation
from critictui.diagnosis.inquiry import Question, case_of, read_run
from critictui.diagnosis.logged import share_of
from critictui.diagnosis.render import looked_at
from critictui.diagnosis.script import ScriptFinding, ScriptReading
from critictui.diagnosis.simulation import Simulation, Variant, VariantStats

BATCH = 32
WRAPPED = ScriptFinding("head-missing", "wrapped-backbone", 7, "wrap(base)", "a random head is scored")
SLICED = ScriptFinding("score-definition", "template-slice", 9, "v[-n:]", "the slice is off")


def way(
    id_: str, cause: str, d_acc: float, margin: float, *, heads: float = 0.0, soft: float = 0.7, ties: int = 0
) -> Variant:
    """A way of scoring 200 pairs of 200 prompts; with `heads` its seeds scatter by so much."""
    spread = (-1.2, -0.6, 0.0, 0.6, 1.2) if heads else (0.0,)
    stats = [
        VariantStats(d_acc + heads * x, d_acc + heads * x + ties / 200, soft, ties / 200, margin + heads / 8 * x, 1.5,
                     margin / 2, -margin / 2, 1.0, 200, 200)
        for x in spread
    ]  # fmt: skip
    return Variant(id_, cause, f"the {id_} way", tuple(stats))


REAL = way("real", "", 0.8, 1.2)
RANDOM = way("random", "head-missing", 0.45, 0.0, heads=0.2)
LAST = way("last", "score-definition", 0.42, 0.2)
SIMULATED = Simulation(REAL, (RANDOM, LAST, way("echo", "prompt-echo", 0.95, 0.6)), 0.0)


def shares(rng: np.random.Generator, p: Sequence[float] | np.ndarray) -> np.ndarray:
    return rng.binomial(BATCH, p) / BATCH


def case(
    path: Path, d_acc: Sequence[float] | np.ndarray, claim: Claim | None = None, *,
    simulation: Simulation | None = SIMULATED, epochs: int = 0, **changes: Any,
) -> Case:  # fmt: skip
    """What training logged beside a test; without a claim it is the simulation's right way."""
    lines = [
        f"step:{i} - {f'training/epoch:{int(i > epochs)} - ' if epochs else ''}critic/d_acc:{a:.6f} "
        f"- critic/score_diff:{1.2 if i < len(d_acc) else 1.0}"
        for i, a in enumerate(d_acc, 1)
    ]
    (path / "train.log").write_text("\n".join(lines) + "\n")
    return replace(case_of(read_run(path, Config()), None, Question(claim), simulation, None), **changes)


def cause(said: Explanation, id_: str) -> Cause:
    return next(c for c in said.causes if c.id == id_)


def named(said: Explanation) -> list[str]:
    return [c.id for c in said.causes if c.verdict in {"proven", "likely"}]


RISING = np.concatenate([np.linspace(0.5, 0.8, 60), np.full(60, 0.8)])


def test_an_average_that_is_apart_is_no_cause_where_the_test_agrees_with_the_last_steps(tmp_path):
    said = explain(case(tmp_path, RISING + 0.01 * np.sin(range(120))))
    assert named(said) == []
    assert "they agree" in said.headline
    assert cause(said, "train-average").verdict == "ruled-out"


def test_whoever_brings_a_number_and_compares_it_with_the_average_is_told_so(tmp_path):
    curve = np.linspace(0.95, 0.6, 120) + 0.005 * np.sin(range(120))
    said = explain(case(tmp_path, curve, Claim(d_acc=0.61, pairs=400), simulation=None))
    assert named(said) == ["train-average"]
    assert "they agree. But train-average" in said.headline


def test_healthy_checkpoints_have_no_cause(tmp_path):
    """40 healthy runs at a step of their curve, each scored on 200 pairs: nothing is named that is not there."""
    rng = np.random.default_rng(5)
    wrong: list[str] = []
    for _ in range(40):
        curve = shares(rng, RISING)
        right = rng.binomial(200, 0.8) / 200
        simulation = replace(SIMULATED, real=way("real", "", right, 1.2))
        wrong += [c for c in named(explain(case(tmp_path, curve, simulation=simulation))) if c != "by-chance"]
    assert wrong == []


def test_shares_of_a_batch_are_no_soft_accuracy(tmp_path):
    """0.859 won on the fixed set, 0.703 its soft accuracy, 0.747 logged: near the soft one by chance."""
    rng = np.random.default_rng(11)
    curve = shares(rng, np.full(120, 0.75))
    curve[-10:] = np.array([24, 23, 24, 25, 22, 24, 23, 25, 24, 23]) / BATCH
    hard = case(tmp_path, curve, simulation=replace(SIMULATED, real=way("real", "", 0.87, 1.2, soft=0.72)))
    assert hard.logged.d_acc_share_of == BATCH
    assert "accuracy-definition" not in named(explain(hard))
    soft = replace(hard, logged=replace(hard.logged, d_acc_share_of=None))
    assert named(explain(soft)) == ["accuracy-definition"], "the same numbers, were they no shares"


def test_a_soft_accuracy_that_fits_no_better_than_the_hard_one_is_none(tmp_path):
    """Logged 0.793 lies three standard deviations from 0.87, the hard one, and one and a half from the soft one."""
    curve = 0.793 + 0.037 * np.sin(np.arange(120) * 1.7)
    said = explain(case(tmp_path, curve, simulation=replace(SIMULATED, real=way("real", "", 0.87, 1.2, soft=0.755))))
    assert "accuracy-definition" not in named(said)


@pytest.mark.parametrize("digits", [3, 5, 9])
@pytest.mark.parametrize("n", [12, 32, 128])
def test_shares_are_known_however_they_are_written(n, digits):
    rng = np.random.default_rng(n)
    assert share_of(np.round(rng.binomial(n, 0.75, 200) / n, digits).astype(np.float32)) == n
    assert share_of(np.round(0.72 + rng.normal(0, 0.05, 200), digits)) is None


def test_few_values_tell_no_share():
    assert share_of(np.array([0.75])) is None
    assert share_of(np.array([])) is None
    assert share_of(np.array([0.7031, 0.7122])) is None


@pytest.mark.parametrize("found", [WRAPPED, SLICED])
@pytest.mark.parametrize("simulation", [SIMULATED, None])
def test_a_mistake_in_the_script_is_no_cause_where_the_numbers_agree(tmp_path, found, simulation):
    claim = Claim(d_acc=0.79, pairs=400)
    said = explain(case(tmp_path, RISING, claim, simulation=simulation, script=ScriptReading("s.py", (found,))))
    assert named(said) == []
    assert cause(said, found.cause).verdict in {"unlikely", "ruled-out"}
    if simulation is None:
        assert f"Line {found.line} of the script does it" in cause(said, found.cause).message


def test_a_jump_with_which_the_test_agrees_is_no_cause(tmp_path):
    curve = np.concatenate([np.full(60, 0.7), np.full(60, 0.8)]) + 0.005 * np.sin(range(120))
    said = explain(case(tmp_path, curve, epochs=60))
    assert named(said) == []
    assert cause(said, "memorised").verdict == "unlikely"


@pytest.mark.parametrize(
    ("test", "verdict"), [(0.77, "likely"), (0.85, "likely"), (0.46, "unlikely"), (0.98, "unlikely")]
)
def test_pairs_seen_before_explain_a_test_that_says_what_was_logged_before(tmp_path, test, verdict):
    curve = np.concatenate([np.full(60, 0.76), np.full(60, 0.99)]) + 0.005 * np.sin(range(120))
    said = explain(case(tmp_path, curve, Claim(d_acc=test, pairs=400), simulation=None, epochs=60))
    assert cause(said, "memorised").verdict == verdict


def test_the_best_of_many_noisy_windows_is_no_height_to_fall_from(tmp_path):
    """40 critics that never learned, 12 pairs a step: the best ten of 300 steps are at 0.6 and more by chance."""
    rng = np.random.default_rng(1)
    runs = [rng.binomial(12, 0.5, 300) / 12 for _ in range(40)]
    said = [explain(case(tmp_path, curve, Claim(d_acc=0.5, pairs=400), simulation=None)) for curve in runs]
    assert sum(cause(e, "collapsed").verdict != "ruled-out" for e in said) <= 1


def test_a_critic_that_fell_is_said_to_have_collapsed_though_the_test_agrees(tmp_path):
    rng = np.random.default_rng(1)
    curve = rng.binomial(12, np.concatenate([np.full(150, 0.8), np.full(150, 0.5)])) / 12
    said = explain(case(tmp_path, curve, Claim(d_acc=0.5, pairs=400), simulation=None))
    assert named(said) == ["collapsed"]


# --- every number is what it is said to be


def test_a_mean_of_steps_is_not_said_to_be_what_a_step_logged(tmp_path):
    curve = [0.75] * 110 + [0.8] * 9 + [0.75]
    said = explain(case(tmp_path, curve))
    assert "d_acc 0.795, the mean of the last 10 steps (step 120 itself: 0.750)" in said.headline
    assert "0.795, the mean of the last 10 steps (step 120 itself: 0.750)" in cause(said, "by-chance").message
    margin = explain(case(tmp_path, curve, Claim(margin=5.0)))
    assert "a margin of 1.18, the mean of the last 10 steps (step 120 itself: 1.00)" in margin.headline
    assert said.facts["logged_d_acc_last_step"] == 0.75
    assert said.facts["logged_d_acc_steps"] == 10


@pytest.mark.parametrize("claimed", [True, False])
def test_a_level_that_moved_speaks_against_sampling_in_a_claim_alone(tmp_path, claimed):
    """The level is free and drifts within ten steps: of critictui's own score that agrees it says nothing."""
    own = Claim(0.8, 1.2, 4.0, 2.8, 400)
    known = case(tmp_path, RISING, own if claimed else None, simulation=None)
    teacher = replace(known.logged.d_acc, mean=0.6, error=0.01)  # type: ignore[type-var]
    moved = replace(known, claim=own, logged=replace(known.logged, teacher=teacher, teacher_std=0.7))
    assert cause(explain(moved), "sampling-mismatch").verdict == ("ruled-out" if claimed else "untested")


def test_one_step_is_called_one(tmp_path):
    assert "d_acc 0.750 at step 1, the test says" in explain(case(tmp_path, [0.75])).headline


@pytest.mark.parametrize(
    ("ties", "d_acc", "pairs"),
    [("report", 115 / 199, 199), ("lose", 0.575, 200), ("win", 0.58, 200), ("half", 0.5775, 200)],
)
def test_a_tie_is_counted_before_scoring_as_the_recipe_counts_it_after(tmp_path, ties, d_acc, pairs):
    simulation = Simulation(way("real", "", 0.575, 0.3, ties=1), (RANDOM,))
    own = case(tmp_path, [0.57] * 20, simulation=simulation, ties=ties).own
    assert own is not None
    assert own.d_acc == pytest.approx(d_acc)
    assert own.pairs == pairs
    untold = case(tmp_path, [0.57] * 20, simulation=simulation)
    assert untold.claim is not None
    assert untold.claim.d_acc == pytest.approx(115 / 199)


def test_one_tie_in_200_pairs_is_not_none():
    facts = {"d_acc": 0.799, "d_acc_low": 0.735, "d_acc_high": 0.855, "pairs": 200, "margin": 1.18, "tie_rate": 0.005}
    assert "0.5% ties" in dict(looked_at(facts))["d_acc"]


# --- one number


@pytest.mark.parametrize(
    ("claim", "asked", "gives"),
    [
        (Claim(d_acc=0.4575), "--claim score_diff=...", "0.00 ± 0.02 if head-missing, 0.20 if score-definition"),
        (Claim(d_acc=0.4575, pairs=400), "--claim score_diff=...", "0.00 ± 0.02 if head-missing"),
        (Claim(margin=0.1), "--claim d_acc=...", "0.45 ± 0.19 if head-missing, 0.42 if score-definition"),
    ],
)
def test_one_number_that_fits_two_mistakes_asks_for_the_one_that_decides(tmp_path, claim, asked, gives):
    heads = way("random", "head-missing", 0.45, 0.0, heads=0.2)
    simulation = Simulation(REAL, (LAST, heads))
    said = explain(case(tmp_path, RISING, claim, simulation=simulation))
    assert [c.id for c in said.causes[:2]] == ["head-missing", "score-definition"]
    assert named(said) == ["head-missing", "score-definition"]
    assert "most likely head-missing or score-definition" in said.headline
    assert asked in said.headline
    assert gives in said.headline
    assert "--script" in said.headline
    assert asked in said.causes[0].next_step


def test_the_number_that_was_asked_for_decides(tmp_path):
    said = explain(case(tmp_path, RISING, Claim(0.4575, 0.0, 0.0, 0.0, 400)))
    assert named(said)[0] == "head-missing"
    assert "or score-definition" not in said.headline


def test_no_answer_says_unlikely_and_that_it_is_that(tmp_path):
    two = Claim(d_acc=0.42, margin=0.2)
    script = ScriptReading("s.py", ())
    for changes in ({}, {"script": script}):
        for c in explain(case(tmp_path, RISING, two, **changes)).causes:
            assert "numbers are that" not in c.message
            if c.verdict == "unlikely" and c.id in {"head-missing", "score-definition"}:
                assert "fits them better" in c.message or "shows no trace of it" in c.message
    assert not math.isnan(two.d_acc or 0)


def test_without_known_epochs_a_rise_is_untested_and_none_is_ruled_out(tmp_path):
    flat = 0.76 + 0.005 * np.sin(range(120))
    rises = np.concatenate([np.full(60, 0.76), np.full(60, 0.99)]) + 0.005 * np.sin(range(120))
    for curve, verdict in ((flat, "ruled-out"), (rises, "untested")):
        said = explain(case(tmp_path, curve, Claim(d_acc=0.46, pairs=400), simulation=None))
        assert cause(said, "memorised").verdict == verdict
