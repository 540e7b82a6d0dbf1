"""What is typed or pasted into the filter and the search: markup, bombs, a megabyte. Nothing breaks, all is bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from critictui.run.log_view import LogView
from critictui.tui.filter import LONGEST, FilterError, matcher

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]

HOSTILE = [
    "[", "[/]", "[bold]x", "[@click=app.quit]x[/]", "(", "(?", "\\", "*" * 900, "(a+)+$", "(a{1000}){1000}", "(" * 900,
    "x{0,100000}", "\\p{Greek}", "\x1b[2J\x1b]0;x\x07", "\ud800", "\0", "\u202e", "?*?*?*", "(?i:((((a*)*)*)*)*)b",
]  # fmt: skip


@pytest.mark.fault("S11")
@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_is_a_filter_or_an_error_in_words_and_never_slow(text: str) -> None:
    try:
        fits = matcher(text)
    except FilterError as error:
        said = str(error)
    else:
        said = f"no regular expression: {fits('a' * 20_000 + '!')}"
    assert said.startswith("no regular expression: ")


@pytest.mark.fault("S11")
@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_can_be_searched_for_in_a_log(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"a" * 50_000 + b"!\n" + text.encode("utf-8", "replace") + b"\nthe end\n")
    hit = LogView(path).search(text, after=0)
    assert hit.offset is None or 0 <= hit.offset < path.stat().st_size
    assert LogView(path).search(text, before=path.stat().st_size).reached is not None


@pytest.mark.fault("S11")
async def test_whatever_is_pasted_into_the_filter_the_screen_goes_on(showing: Showing, settle: Settle) -> None:
    async with showing() as pilot:
        await pilot.press("slash")
        await settle(pilot)
        entry = pilot.app.screen.query_one("#filter", Input)
        for text in ("(a+)+$" * 200_000, "[/]\x1b[2J\ud800\u202e", "one\ntwo\nthree", *HOSTILE[:6]):
            entry.post_message(events.Paste(text))
            await settle(pilot)
            assert len(entry.value) <= LONGEST
            entry.value = ""
        for text in HOSTILE:
            entry.value = text
            await settle(pilot)
        entry.value = "d_acc"
        await settle(pilot)
        assert entry.value == "d_acc"
        await pilot.press("escape")
        assert pilot.app.is_running
