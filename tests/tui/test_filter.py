"""The metric filter."""

from __future__ import annotations

import time

import pytest

from critictui.tui.filter import FilterError, group_of, matcher

TAGS = ["critic/d_acc", "critic/score_diff", "critic/teacher_score_std", "actor/entropy", "we[ird", "a.b"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", TAGS),
        ("D_ACC", ["critic/d_acc"]),
        ("critic/*", TAGS[:3]),
        ("*std", ["critic/teacher_score_std"]),
        ("score_(diff|std)$", ["critic/score_diff", "critic/teacher_score_std"]),
        ("^actor", ["actor/entropy"]),
        ("[", ["we[ird"]),
        ("a.b", ["a.b"]),
        ("?.b", ["a.b"]),
        ("nothing", []),
    ],
)
def test_a_filter_is_a_part_of_a_name_a_glob_or_a_regular_expression(text: str, found: list[str]) -> None:
    assert [tag for tag in TAGS if matcher(text)(tag)] == found


def test_a_broken_expression_says_so_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FilterError, match="no regular expression"):
        matcher("(unclosed")
    assert capfd.readouterr().err == ""


def test_an_expression_that_explodes_elsewhere_takes_linear_time_here() -> None:
    test = matcher("(a+)+$")
    start = time.perf_counter()
    assert not test("a" * 5000 + "b")
    assert time.perf_counter() - start < 0.5


def test_a_megabyte_of_filter_is_cut() -> None:
    assert not matcher("x" * 1_000_000)("critic/d_acc")


def test_a_tag_without_a_prefix_has_a_group_too() -> None:
    assert [group_of(t) for t in ("critic/d_acc", "loss", "/x", "")] == ["critic", "other", "other", "other"]
