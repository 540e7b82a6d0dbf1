"""The metric filter."""

from __future__ import annotations

import time

import pytest

from critictui.tui.filter import FilterError, group_of, kind_of, matcher

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
        ("d_*", ["critic/d_acc"]),
        ("?_acc", ["critic/d_acc"]),
        ("score_*", ["critic/score_diff"]),
        ("critic/d_*", ["critic/d_acc"]),
        ("c*", TAGS[:3]),
        ("/d_*", []),
        ("nothing", []),
    ],
)
def test_a_filter_is_a_part_of_a_name_a_glob_or_a_regular_expression(text: str, found: list[str]) -> None:
    assert [tag for tag in TAGS if matcher(text)(tag)] == found


def test_a_glob_without_a_slash_looks_at_the_last_part_and_not_at_one_in_between() -> None:
    tags = ["val/d_x/other", "val/d_x", "d_x/val"]
    assert [tag for tag in tags if matcher("d_*")(tag)] == ["val/d_x", "d_x/val"]


def test_a_broken_expression_says_so_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FilterError, match="no regular expression"):
        matcher("(unclosed")
    assert capfd.readouterr().err == ""


def test_a_broken_expression_says_why_in_words_not_in_bytes() -> None:
    with pytest.raises(FilterError) as caught:
        matcher("([a")
    assert str(caught.value) == "no regular expression: missing ]: [a"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("score_[ts]", "a part of a name"), ("d_acc", "a part of a name"), ("", "a part of a name"),
        ("critic/*", "a glob over the whole name"), ("?.b", "a glob over the last part of a name"),
        ("score_(t|s)", "a regular expression"), ("d.*acc", "a regular expression"),
    ],
)  # fmt: skip
def test_what_a_filter_is_taken_as_can_be_said(text: str, kind: str) -> None:
    assert kind_of(text) == kind


@pytest.mark.fault("S11")
def test_an_expression_that_explodes_elsewhere_takes_linear_time_here() -> None:
    test = matcher("(a+)+$")
    start = time.perf_counter()
    assert not test("a" * 5000 + "b")
    assert time.perf_counter() - start < 0.5


@pytest.mark.fault("S11")
def test_a_megabyte_of_filter_is_cut() -> None:
    assert not matcher("x" * 1_000_000)("critic/d_acc")


def test_a_tag_without_a_prefix_has_a_group_too() -> None:
    assert [group_of(t) for t in ("critic/d_acc", "loss", "/x", "")] == ["critic", "other", "other", "other"]
