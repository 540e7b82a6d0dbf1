"""Foreign text: nothing that comes out of the door moves the cursor, hides, or turns around."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critictui.run.text import sanitise, sanitise_line

any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=300) | st.text(
    st.sampled_from("\x1b[]\x9b\x90\\PX^_;0m\x07\n\r\t\0a\u202e\u200b\ud800\u0301…+"), max_size=60
)


@given(any_text, st.integers(0, 80))
@pytest.mark.fault("L08")
def test_what_comes_out_is_safe_and_within_the_limit(text: str, limit: int) -> None:
    shown = sanitise(text, limit)
    assert len(shown) <= limit
    for character in shown:
        assert character in "\t\n" or unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.bidirectional(character) not in {
            "RLO",
            "LRO",
            "RLE",
            "LRE",
            "PDF",
            "RLI",
            "LRI",
            "FSI",
            "PDI",
        }


@given(any_text, st.integers(0, 80))
@pytest.mark.fault("L08")
def test_a_second_pass_changes_nothing(text: str, limit: int) -> None:
    once = sanitise(text, limit)
    assert sanitise(once, limit) == once


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100))
def test_plain_text_is_left_alone(text: str) -> None:
    assert sanitise(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]52;c;aGk=\x1b\\x", "x"),
        ("\x1bP+q544e\x1b\\x", "x"),
        ("\x9b2Jx", "x"),
        ("\x1b]8;;http://e.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b", ""),
        ("a\0b\x07", "a␀b␇"),
        ("a\rb\r\n", "a␍b␍\n"),
        ("\x7f\x85", "␡\\x85"),
        ("x\u202egpj.exe", "x\\u202egpj.exe"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("\ud800", "\ufffd"),
        ("a\u2028b", "a\\u2028b"),
        ("\U000e0041", "\\U000e0041"),
        ("中文 tab\there", "中文 tab\there"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 4),
        ("[link=file]", "[link=file]"),
    ],
)
@pytest.mark.fault("L08")
def test_each_kind_of_danger_is_shown_as_documented(text: str, shown: str) -> None:
    assert sanitise(text) == shown


@pytest.mark.fault("L09")
def test_what_is_cut_is_counted() -> None:
    shown = sanitise("x" * 1000, 100)
    kept, _, missing = shown.partition("…+")
    assert len(kept) + int(missing) == 1000
    assert len(shown) <= 100


def test_a_line_has_no_newline() -> None:
    assert sanitise_line("a\nb\tc") == "a␊b c"


@pytest.mark.parametrize("unit", ["\x1b]", "\x1b[", "\x1b[0", "\u0301", "\x1bP\x1b", "\u202e"])
@pytest.mark.fault("L09")
def test_the_cost_is_linear(unit: str) -> None:
    def cost(size: int) -> float:
        text = unit * size
        start = time.process_time()
        sanitise(text, 1 << 40)
        return time.process_time() - start

    small = min(cost(20_000) for _ in range(3))
    large = min(cost(160_000) for _ in range(3))
    assert large < 40 * small + 0.05
