"""Numbers and times in words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critictui.durations import duration
from critictui.tui import words


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.769, "0.769"), (-3.08, "-3.08"), (5.85, "5.85"), (0.0, "0"), (1e-5, "1.0e-5"), (math.nan, "nan"),
        (math.inf, "inf"), (-math.inf, "-inf"), (None, "-"), (123.456, "123"), (1234567.0, "1.23M"), (0.5, "0.500"),
        (1.0, "1.00"), (0.0031, "0.00310"), (9.999, "10.0"), (9999.6, "10.0k"), (12345.6, "12.3k"), (2e6, "2.00M"),
        (-0.0, "0"), (999_950.0, "1.00M"), (2e-308, "2.0e-308"), (1.5e300, "1.5e300"),
    ],
)  # fmt: skip
def test_a_number_is_short_and_keeps_its_meaning(value: float | None, said: str) -> None:
    assert words.number(value) == said
    assert len(words.number(value)) <= 8


def test_a_share_always_has_three_decimals() -> None:
    assert [words.share(v) for v in (1.0, 0.75, 0.0, 0.0678, math.nan, None)] == [
        "1.000",
        "0.750",
        "0.000",
        "0.068",
        "nan",
        "-",
    ]


@given(st.floats(-1e300, 1e300))
def test_every_number_is_short_and_says_the_same(value: float) -> None:
    text = words.number(value)
    assert len(text) <= 9
    assert text.isascii()
    if not text[-1].isalpha():
        assert float(text) == pytest.approx(value, rel=0.06, abs=1e-320)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.84, "0.8s"),
        (0.00044, "0.44ms"),
        (0.035, "35ms"),
        (12, "12s"),
        (59.6, "1m00s"),
        (132, "2m12s"),
        (11100, "3h05m"),
        (190000, "2d04h"),
        (None, "-"),
        (-1, "-"),
    ],
)
def test_a_duration_is_read_at_a_glance(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


def test_an_age_changes_a_dozen_times_and_says_when_next() -> None:
    seconds, changes, last = 0.0, 0, words.age(0)
    while (wait := words.next_age_change(seconds)) is not None:
        assert words.age(seconds + wait - 1e-6) == last
        seconds += wait
        changes += 1
        assert words.age(seconds) != last
        last = words.age(seconds)
    assert changes == 11
    assert words.age(30) == "just now"


@pytest.mark.parametrize("when", [None, math.nan, math.inf, -5.0, 1e300])
def test_a_clock_time_that_no_clock_shows_is_a_dash(when: float | None) -> None:
    assert words.clock(when) == "-"


def test_bytes_have_a_unit_that_fits() -> None:
    assert [words.size(n) for n in (0, 512, 1536, 29_500_000_000, 1 << 50)] == [
        "0 B",
        "512 B",
        "1.5 K",
        "27.5 G",
        "1024.0 T",
    ]
