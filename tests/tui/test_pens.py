"""Fewer colour codes for the same screen: an emulator shows what it would have shown."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critictui.tui.pens import fewer_codes

COLUMNS, LINES = 20, 5
colours = st.sampled_from(["38;2;1;2;3", "38;2;9;9;9", "38;5;200", "31", "97", "39"])
papers = st.sampled_from(["48;2;4;5;6", "48;2;8;8;8", "48;5;17", "44", "103", "49"])
attributes = st.sampled_from(["1", "3", "4", "7", "9", "0", "22", "01", "", "38;2;1", "58;5;1"])
codes = st.lists(colours | papers | attributes, min_size=1, max_size=4).map(lambda some: f"\x1b[{';'.join(some)}m")
words = st.text("ab é▁⠿", min_size=1, max_size=4)
moves = st.sampled_from(["\x1b[H", "\x1b[2;3H", "\x1b[K", "\x1b[2J", "\r\n", "\x1b[?2026h", "\x1b[?2026l"])
texts = st.lists(codes | words | moves | st.just("\x1b[0m"), max_size=30).map("".join)


def seen(cell: pyte.screens.Char) -> pyte.screens.Char:
    """Of a blank nothing is seen but its background and what runs through it."""
    if cell.data != " " or cell.underscore or cell.strikethrough or cell.reverse:
        return cell
    return cell._replace(fg="default", bold=False, italics=False, blink=False)


def shown(*texts: str) -> tuple[object, ...]:
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.Stream(screen)
    for text in texts:
        stream.feed(text)
    cells = tuple(tuple(seen(screen.buffer[y][x]) for x in range(COLUMNS)) for y in range(LINES))
    return (cells, screen.cursor.attrs._replace(data=" "))


@given(texts, texts)
@settings(max_examples=300, deadline=None)
def test_the_screen_and_the_pen_are_the_same(first: str, second: str) -> None:
    assert shown(fewer_codes(first), fewer_codes(second)) == shown(first, second)
    assert len(fewer_codes("\x1b[0m" + first)) <= len("\x1b[0m" + first) + 8


@pytest.mark.parametrize(
    ("text", "fewer"),
    [
        ("plain", "plain"),
        ("\x1b[1;38;2;1;2;3;48;2;4;5;6mab\x1b[0m", "\x1b[1;38;2;1;2;3;48;2;4;5;6mab\x1b[m"),
        (
            "\x1b[0m\x1b[38;2;1;2;3;48;2;4;5;6ma\x1b[0m\x1b[38;2;9;9;9;48;2;4;5;6mb\x1b[0m",
            "\x1b[0;38;2;1;2;3;48;2;4;5;6ma\x1b[38;2;9;9;9mb\x1b[m",
        ),
        ("\x1b[0;31ma\x1b[0m\n\x1b[2;1H\x1b[0;32m  \x1b[0;31mb\x1b[0m", "\x1b[0;31ma\n\x1b[2;1H  b\x1b[m"),
        ("\x1b[0;31ma\x1b[0;4;32m  \x1b[0m", "\x1b[0;31ma\x1b[4;32m  \x1b[m"),
        ("\x1b[0m\x1b[1ma\x1b[0mb", "\x1b[0;1ma\x1b[mb"),
        ("\x1b[0ma\x1b[53mb\x1b[0mc", "\x1b[ma\x1b[53mb\x1b[mc"),
    ],
)
def test_only_what_changes_is_said(text: str, fewer: str) -> None:
    assert fewer_codes(text) == fewer
