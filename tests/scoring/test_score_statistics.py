"""Every number of a score against brute force, and against what is known of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critictui.monitor.fixed_scores import fixed_scores
from critictui.scoring import statistics
from critictui.scoring.recipe import recipe_from
from critictui.scoring.result import ResponseRow, ScoreResult
from critictui.scoring.result_json import result_from_json, result_to_json
from critictui.scoring.summary import in_words

scores = st.integers(-3, 3).map(float) | st.just(math.nan) | st.just(math.inf)
groups = st.lists(st.tuples(scores, st.lists(scores, min_size=1, max_size=4)), min_size=1, max_size=6)


@given(groups)
@settings(max_examples=60, deadline=None)
@pytest.mark.fault("C11")
def test_accuracy_counts_what_a_loop_counts(make_rows: Callable[..., list[ResponseRow]], made: list) -> None:
    pairs = statistics.pairs_of(make_rows(made))
    every = [(t, s) for t, students in made for s in students if math.isfinite(t) and math.isfinite(s)]
    won, tied = sum(t > s for t, s in every), sum(t == s for t, s in every)
    n = len(every)
    assert pairs.n == n
    assert pairs.dropped == sum(len(students) for _, students in made) - n
    expected = {
        "win": (won + tied, n),
        "lose": (won, n),
        "half": (won + tied / 2, n),
        "report": (won, n - tied),
    }
    for ties, (wins, count) in expected.items():
        found, _, of = statistics.accuracy(pairs, ties)  # type: ignore[arg-type]
        assert of == count
        assert found == pytest.approx(wins / count) if count else math.isnan(found)
    if n:
        assert statistics.soft_accuracy(pairs) == pytest.approx(np.mean([1 / (1 + math.exp(s - t)) for t, s in every]))
        assert statistics.tie_rate(pairs) == pytest.approx(tied / n)


@given(groups, st.floats(-50, 50))
@settings(max_examples=40, deadline=None)
def test_a_shift_of_all_scores_changes_no_accuracy(
    make_rows: Callable[..., list[ResponseRow]], made: list, shift: float
) -> None:
    shift = round(shift)
    plain = statistics.pairs_of(make_rows(made))
    moved = statistics.pairs_of(make_rows([(t + shift, [s + shift for s in students]) for t, students in made]))
    assert statistics.accuracy(plain)[1:] == statistics.accuracy(moved)[1:]
    assert statistics.accuracy_interval(plain) == pytest.approx(statistics.accuracy_interval(moved), nan_ok=True)


def test_wilson_is_the_interval_of_the_case_that_started_this() -> None:
    low, high = statistics.wilson(183, 400)
    assert (round(low, 3), round(high, 3)) == (0.409, 0.506)


@given(st.integers(1, 60), st.data())
@settings(max_examples=60, deadline=None)
def test_wilson_solves_the_equation_it_is_defined_by(n: int, data: st.DataObject) -> None:
    wins = data.draw(st.integers(0, n))
    z = 1.959963984540054
    for limit in statistics.wilson(wins, n):
        assert 0 <= limit <= 1
        assert (wins / n - limit) ** 2 == pytest.approx(z * z * limit * (1 - limit) / n, abs=1e-9)


def test_wilson_without_pairs_is_nothing() -> None:
    assert all(math.isnan(x) for x in statistics.wilson(0, 0))


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=12), st.lists(st.integers(-4, 4), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_auc_is_the_share_of_all_couples(teacher: list[int], student: list[int]) -> None:
    brute = np.mean([(t > s) + (t == s) / 2 for t, s in itertools.product(teacher, student)])
    assert statistics.auc([float(t) for t in teacher], [float(s) for s in student]) == pytest.approx(brute)
    assert math.isnan(statistics.auc([], [1.0]))


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=15))
@settings(max_examples=60, deadline=None)
def test_spearman_is_the_correlation_of_midranks(points: list[tuple[int, int]]) -> None:
    x, y = ([float(p[i]) for p in points] for i in (0, 1))

    def ranks(values: list[float]) -> list[float]:
        return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]

    found = statistics.spearman(x, y)
    if len(set(x)) < 2 or len(set(y)) < 2:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(np.corrcoef(ranks(x), ranks(y))[0, 1])


@given(st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_with_one_pair_a_prompt_the_test_is_mcnemars_exact_one(gained: int, lost: int) -> None:
    n = gained + lost
    mass = [Fraction(math.comb(n, k), 2**n) for k in range(n + 1)]
    expected = sum(p for p in mass if p <= mass[gained])
    change = np.array([1.0] * gained + [-1.0] * lost + [0.0] * 5)
    p, _ = statistics.by_prompt(change, np.ones(len(change)), np.arange(len(change)))
    assert p == pytest.approx(float(expected))


@given(st.lists(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=3), min_size=2, max_size=9))
@settings(max_examples=60, deadline=None)
def test_the_test_by_prompt_counts_all_signs_that_prompts_could_have(prompts: list[list[float]]) -> None:
    change = np.array([value for prompt in prompts for value in prompt])
    cluster = np.repeat(np.arange(len(prompts)), [len(prompt) for prompt in prompts])
    totals = [sum(prompt) for prompt in prompts]
    flipped = [abs(sum(map(operator.mul, signs, totals))) for signs in itertools.product((-1, 1), repeat=len(totals))]
    p, _ = statistics.by_prompt(change, np.ones(len(change)), cluster)
    assert p == pytest.approx(np.mean([total >= abs(sum(totals)) for total in flipped]))


@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 4), st.floats(0.0, 0.4))
@settings(max_examples=150, deadline=None)
def test_the_interval_of_a_change_leaves_zero_out_exactly_where_the_test_rejects(
    seed: int, prompts: int, students: int, shift: float
) -> None:
    generator = np.random.default_rng(seed)
    mean = generator.normal(shift, 0.5, (prompts, 1))
    change = np.clip(np.rint(generator.normal(mean, 0.3, (prompts, students))), -1, 1).ravel()
    p, (low, high) = statistics.by_prompt(change, np.ones(len(change)), np.repeat(np.arange(prompts), students))
    assert low <= np.mean(change) <= high
    assert (p <= statistics.LEVEL) == (not low <= 0 <= high)


def test_a_change_by_chance_is_called_real_as_rarely_as_said_where_students_of_a_prompt_agree() -> None:
    """McNemar's test over pairs, which takes them for independent, does so in 14 of 100."""
    generator = np.random.default_rng(7)
    cluster = np.repeat(np.arange(100), 4)
    called, covered = 0, 0
    for _ in range(300):
        latent = math.sqrt(0.6) * generator.normal(size=(100, 1)) + math.sqrt(0.4) * generator.normal(size=(100, 4))
        change = np.where(np.abs(latent) > 1.44, np.sign(latent), 0.0).ravel()  # 15 % of the pairs
        p, (low, high) = statistics.by_prompt(change, np.ones(400), cluster)
        called += p <= statistics.LEVEL
        covered += low <= 0 <= high
    assert called <= 0.08 * 300
    assert covered == 300 - called


def test_more_prompts_than_a_float_can_tell_chances_of_are_compared() -> None:
    change = np.ones(5000)
    p, (low, high) = statistics.by_prompt(change, change, np.arange(5000))
    assert p == 0
    assert 0.9 < low <= high <= 1


def test_ties_take_the_part_in_a_comparison_that_the_recipe_gives_them(
    make_rows: Callable[..., list[ResponseRow]],
) -> None:
    before = statistics.pairs_of(make_rows([(1, [0]), (1, [0]), (1, [1]), (0, [1])]))
    after = statistics.pairs_of(make_rows([(1, [0]), (1, [1]), (1, [0]), (0, [1])]))
    found = {ties: statistics.compare_paired(after, before, ties) for ties in ("report", "win", "lose", "half")}
    assert {ties: one.pairs for ties, one in found.items()} == {"report": 2, "win": 4, "lose": 4, "half": 4}
    assert {ties: (one.gained, one.lost) for ties, one in found.items()} == {
        "report": (0, 0), "win": (0, 0), "lose": (1, 1), "half": (1, 1),
    }  # fmt: skip
    for ties, one in found.items():
        if ties != "report":
            told = statistics.accuracy(after, ties)[0] - statistics.accuracy(before, ties)[0]
            assert one.d_acc_difference == pytest.approx(told)


def test_a_paired_comparison_counts_gains_and_losses_on_common_pairs(
    make_rows: Callable[..., list[ResponseRow]],
) -> None:
    before = statistics.pairs_of(make_rows([(0, [1, 1, -1, math.nan]), (0, [1, -1, 0, 1]), (5, [0, 0, 0, 0])]))
    after = statistics.pairs_of(make_rows([(0, [-1, 1, 1, -1]), (0, [-1, -1, -1, 1]), (5, [9, 0, 0, 0])]))
    found = statistics.compare_paired(after, before)
    assert (found.pairs, found.prompts) == (10, 3)  # one had no score before, one was a tie
    assert (found.gained, found.lost) == (2, 2)
    assert found.d_acc_difference == 0
    assert found.d_acc_difference_ci[0] <= 0 <= found.d_acc_difference_ci[1]
    assert found.p_value == pytest.approx(1.0)
    same = statistics.compare_paired(after, after)
    assert (same.d_acc_difference, same.p_value, same.margin_difference) == (0, 1, 0)


def test_the_bootstrap_is_the_same_each_time_and_wider_when_pairs_share_a_prompt() -> None:
    generator = np.random.default_rng(0)
    outcome = generator.integers(0, 2, 50).astype(float)
    ones, repeated = np.ones(200), np.repeat(outcome, 4)
    clusters, singles = np.repeat(np.arange(50), 4), np.arange(200)
    first = statistics.cluster_bootstrap(repeated, ones, clusters)
    assert first == statistics.cluster_bootstrap(repeated, ones, clusters)
    naive = statistics.cluster_bootstrap(repeated, ones, singles)
    assert 1.7 < (first[1] - first[0]) / (naive[1] - naive[0]) < 2.3  # four copies of a pair are one pair
    assert all(math.isnan(x) for x in statistics.cluster_bootstrap(outcome[:1], outcome[:1], clusters[:1]))


def test_the_cluster_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        rate = np.clip(generator.normal(0.7, 0.2, 80), 0.02, 0.98)
        outcome = (generator.random((80, 4)) < rate[:, None]).astype(float).ravel()
        low, high = statistics.cluster_bootstrap(
            outcome, np.ones(320), np.repeat(np.arange(80), 4), resamples=400, seed=trial
        )
        truth = 0.6955  # the mean of the clipped normal, by numerical integration
        covered += low <= truth <= high
    assert 0.90 <= covered / 200 <= 0.985


def test_the_design_effect_of_copies_is_their_number(make_rows: Callable[..., list[ResponseRow]]) -> None:
    generator = np.random.default_rng(2)
    copies = [(0.0, [float(x)] * 4) for x in generator.choice([-1, 1], 300)]
    singles = [(0.0, [float(x)]) for x in generator.choice([-1, 1], 300)]
    assert statistics.design_effect(statistics.pairs_of(make_rows(copies))) == pytest.approx(4, rel=0.02)
    assert statistics.design_effect(statistics.pairs_of(make_rows(singles))) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize(("pairs", "power"), [(400, 0.72), (1000, 0.98)])
def test_the_smallest_difference_agrees_with_the_known_power_of_a_five_point_change(pairs: int, power: float) -> None:
    assert statistics.smallest_difference(pairs, power=power) == pytest.approx(0.05, abs=0.0025)


@given(st.integers(30, 5000), st.floats(0.02, 0.5))
@settings(max_examples=60, deadline=None)
def test_the_smallest_difference_solves_its_formula(pairs: int, discordance: float) -> None:
    d = statistics.smallest_difference(pairs, discordance)
    if not math.isnan(d):
        needed = 1.959964 * math.sqrt(discordance) + 0.841621 * math.sqrt(discordance - d * d)
        assert math.sqrt(pairs) * d == pytest.approx(needed, rel=1e-4)


def test_pairs_that_tell_the_same_make_a_change_harder_to_see(
    make_rows: Callable[..., list[ResponseRow]],
) -> None:
    before = make_rows([(1.0, [0.0] * 4)] * 100 + [(0.0, [1.0] * 4)] * 100)
    after = make_rows([(1.0, [0.0] * 4)] * 130 + [(0.0, [1.0] * 4)] * 70)
    copies = statistics.compare_paired(*map(statistics.pairs_of, (after, before)))
    single = [row for rows in (after, before) for row in [[r for r in rows if r.role == "teacher" or r.index == 0]]]
    once = statistics.compare_paired(*map(statistics.pairs_of, single))
    assert (copies.pairs, once.pairs) == (800, 200)
    assert copies.smallest_difference == pytest.approx(once.smallest_difference, rel=0.05)


def test_shorter_wins_knows_nothing_but_length(make_rows: Callable[..., list[ResponseRow]]) -> None:
    rows = make_rows([(0, [1, 1, 1])], lengths=[(10, [12, 10, 3])])
    assert statistics.shorter_wins(statistics.pairs_of(rows)) == 0.5
    assert math.isnan(statistics.shorter_wins(statistics.pairs_of(make_rows([(0, [1])]))))


@pytest.mark.fault("C11")
def test_a_summary_weighs_pairs_and_says_what_is_in_doubt(
    make_result: Callable[..., tuple[ScoreResult, list[ResponseRow]]],
) -> None:
    result, _ = make_result([(1.0, [0.0, 2.0]), (3.0, [1.0]), (math.nan, [0.0])])
    assert result.pairs == 3
    assert result.prompts == 2
    assert result.d_acc == pytest.approx(2 / 3)
    assert result.score_diff == pytest.approx((1 - 1 + 2) / 3)
    assert result.teacher_score_mean - result.student_score_mean == pytest.approx(result.score_diff)
    assert result.teacher_score_std == pytest.approx(np.std([1, 3], ddof=1))
    assert result.score_range == 3
    assert any("not finite" in w for w in result.warnings)
    low, high = result.extra["d_acc_ci_cluster"]  # type: ignore[misc]
    assert low <= result.d_acc <= high


def test_one_interval_of_accuracy_is_shown_and_judged_everywhere(
    make_result: Callable[..., tuple[ScoreResult, list[ResponseRow]]],
) -> None:
    """Six students that are copies tell as much as one: Wilson's interval would say that chance is ruled out."""
    result, _ = make_result([(1.0, [0.0] * 6)] * 15 + [(0.0, [1.0] * 6)] * 9)
    wilson, by_prompt = result.extra["d_acc_ci_wilson"], result.extra["d_acc_ci_cluster"]
    assert isinstance(wilson, list)
    assert wilson[0] > 0.5
    low, high = result.interval
    assert low < 0.5 < wilson[1] < high
    assert [low, high] == by_prompt
    told = result_to_json(result)
    assert told["d_acc_ci"] == [low, high]
    [judged] = fixed_scores([result])
    assert (judged.low, judged.high) == (low, high)
    assert f"({low:.1%} to {high:.1%}): not told from chance" in in_words(result)
    assert result_from_json(told).interval == (low, high)


@pytest.mark.parametrize(
    ("over_pairs", "by_prompt", "told"),
    [
        ([0.51, 0.64], [0.5, 0.66], (0.5, 0.66)),
        ([0.1, 0.9], [0.5, 0.66], (0.1, 0.9)),
        ([0.51, 0.64], [None, 1], (0.51, 0.64)),
        ([0.51, 0.64], [None, None], (0.51, 0.64)),
        ([0.51, 0.64], None, (0.51, 0.64)),
    ],
)
def test_a_file_that_holds_wilsons_interval_is_told_as_any_other(
    make_result: Callable[..., tuple[ScoreResult, list[ResponseRow]]],
    over_pairs: list[float], by_prompt: object, told: tuple[float, float],
) -> None:  # fmt: skip
    """Earlier versions wrote that of independent pairs under `d_acc_ci`, and told the wider of the two."""
    older = result_to_json(make_result()[0]) | {"d_acc_ci": over_pairs, "extra": {"d_acc_ci_cluster": by_prompt}}
    read = result_from_json(older)
    assert read.d_acc_ci == read.interval == told
    assert result_to_json(read)["d_acc_ci"] == list(told)


@pytest.mark.parametrize(
    ("ties", "counted", "said"),
    [("report", 3, "(1 tie left out)"), ("win", 4, "(1 tie won)"), ("lose", 4, "lost"), ("half", 4, "half won")],
)
def test_what_d_acc_is_a_share_of_is_told_with_it(
    make_result: Callable[..., tuple[ScoreResult, list[ResponseRow]]], ties: str, counted: int, said: str
) -> None:
    recipe = recipe_from({"ties": ties})
    result, rows = make_result([(1.0, [0.0, 1.0]), (3.0, [1.0, 4.0])], recipe=recipe)
    assert (result.pairs, result.ties, result.counted) == (4, 1, counted)
    assert statistics.accuracy(statistics.pairs_of(rows), recipe.ties)[::2] == (result.d_acc, counted)
    assert result.counted_words.startswith(f"{counted} pairs of 2 prompts (1 tie ")
    assert said in result.counted_words
    assert result.counted_words in in_words(result)
    assert fixed_scores([result])[0].pairs == counted
    assert "tie" not in make_result([(1.0, [0.0])])[0].counted_words


def test_values_out_of_their_range_are_warned_of(
    make_result: Callable[..., tuple[ScoreResult, list[ResponseRow]]],
) -> None:
    wild, _ = make_result(values={"mean": 0, "std": 6.0, "min": -12.0, "max": 3.0})
    assert any("reach 12.0" in w for w in wild.warnings)
    assert any("vary widely" in w for w in wild.warnings)
    flat, _ = make_result(values={"mean": 0, "std": 0.01, "min": 0, "max": 0.1})
    assert any("hardly vary" in w for w in flat.warnings)


def test_the_words_tell_chance_from_inversion_and_from_skill(
    make_result: Callable[..., tuple[ScoreResult, list[ResponseRow]]],
) -> None:
    def said(right: int, wrong: int) -> str:
        result, _ = make_result([(1.0, [0.0])] * right + [(0.0, [1.0])] * wrong)
        return in_words(result).splitlines()[0]

    assert "not told from chance" in said(46, 54)
    assert "inverted" in said(20, 80)
    assert "step 310: d_acc 80.0%" in said(80, 20)
    assert "chance" not in said(80, 20)
    ties, _ = make_result([(1.0, [0.0]), (0.0, [1.0, 1.0]), (2.0, [2.0])])
    assert in_words(ties).splitlines()[0].endswith(", 3 pairs of 3 prompts (1 tie left out)")
    empty, _ = make_result([(math.nan, [1.0])])
    assert "no accuracy" in in_words(empty)


@pytest.mark.parametrize(("prompts", "students"), [(20, 8), (10, 16), (5, 40), (3, 60), (2, 50)])
def test_few_prompts_with_many_students_have_an_interval_that_holds(prompts: int, students: int) -> None:
    rng = np.random.default_rng(7)
    easy, luck = rng.normal(1.4, 1.2, 200_000), rng.logistic(0, 1, 200_000)
    truth = float(np.mean(easy + luck > 0))
    held = 0
    for _ in range(150):
        won = rng.normal(1.4, 1.2, (prompts, 1)) + rng.logistic(0, 1, (prompts, students)) > 0
        n = prompts * students
        pairs = statistics.Pairs(
            prompt=np.repeat(np.arange(prompts), students), teacher=won.ravel().astype(float), student=np.full(n, 0.5),
            teacher_tokens=np.ones(n, int), student_tokens=np.ones(n, int),
            keys=tuple((str(k), 0) for k in range(n)), dropped=0,
        )  # fmt: skip
        low, high = statistics.accuracy_interval(pairs)
        held += low <= truth <= high
    assert held / 150 >= 0.87, "43 to 92 % without"


def test_a_prompt_is_its_text_whatever_its_id_and_one_says_nothing_of_others(
    make_rows: Callable[..., list[ResponseRow]], make_result: Callable[..., tuple[ScoreResult, list[ResponseRow]]]
) -> None:
    rows = make_rows([(1.0, [0.0]), (2.0, [3.0]), (2.0, [1.0])])
    assert len(set(statistics.pairs_of(rows).prompt.tolist())) == 3
    pairs = statistics.pairs_of(dataclasses.replace(row, prompt="the same") for row in rows)
    assert len(set(pairs.prompt.tolist())) == 1
    assert statistics.accuracy_interval(pairs) == (0.0, 1.0)
    result, _ = make_result([(1.0, [0.0, 3.0, 0.5])])
    assert (result.pairs, result.prompts, result.d_acc_ci) == (3, 1, (0.0, 1.0))
    assert any("one prompt" in said for said in result.warnings)


def test_length_is_a_bias_only_within_a_side() -> None:
    rng = np.random.default_rng(3)
    sides = [True] * 200 + [False] * 200
    tokens = [*rng.integers(100, 200, 200).tolist(), *rng.integers(10, 60, 200).tolist()]
    blind = [*rng.normal(2, 1, 200).tolist(), *rng.normal(-2, 1, 200).tolist()]
    assert abs(statistics.length_bias(sides, tokens, blind)) < 0.1
    assert statistics.spearman(tokens, blind) > 0.6
    follows = [n / 20 - (5 if side else 0) for n, side in zip(tokens, sides, strict=True)]
    assert statistics.length_bias(sides, tokens, follows) == pytest.approx(1.0)
    assert math.isnan(statistics.length_bias([True, False], [3, 3], [1.0, 2.0]))
