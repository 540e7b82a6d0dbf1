"""The run facts in words, and what the screen said that went away again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from textual.pilot import Pilot
from textual.widgets._toast import Toast

from critictui.monitor.snapshot import Snapshot
from critictui.run.facts import Seam, Session
from critictui.tui.app import CriticApp
from critictui.tui.glyphs import UNICODE
from critictui.tui.said import Said
from critictui.tui.screens.facts import fact_lines

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]
TextOf = Callable[[CriticApp], str]
Made = Callable[..., Snapshot]
NOW = 1_800_000_000.0


def facts(snapshot: Snapshot, width: int = 78, heard: tuple[Said, ...] = ()) -> list[str]:
    assert snapshot.main is not None
    return [line.plain for line in fact_lines(snapshot, snapshot.main, width, UNICODE, NOW, heard=heard)]


def test_a_notice_of_both_the_search_and_the_run_is_told_once(snapshot_with: Made) -> None:
    case = dataclasses.replace(snapshot_with(notices=("one", "two")), notices=("one",))
    said = facts(case)
    assert [line for line in said if line.strip() == "one"] == ["  one"]
    assert "notices (2)" in said


def test_seams_say_what_they_are_once(snapshot_with: Made) -> None:
    said = facts(snapshot_with(seams=(Seam(4, "epoch", "epoch 2"), Seam(9, "restart", "restart 1"))))
    assert "  epoch 2 from step 4" in said
    assert "  restart 1 from step 9" in said


@pytest.mark.parametrize(
    ("epoch_steps", "epochs", "words"),
    [
        (300, 1, "300 steps each, 1 epoch so far"), (300, 2, "300 steps each, 2 epochs so far"),
        (None, 14, "14 epochs so far"), (None, 1, "unknown"),
    ],
)  # fmt: skip
def test_epochs_that_are_listed_below_are_not_unknown(
    epoch_steps: int | None, epochs: int, words: str, snapshot_with: Made
) -> None:
    seams = tuple(Seam(n * 300, "epoch", f"epoch {n}") for n in range(2, epochs + 1))
    said = "\n".join(facts(snapshot_with(seams=seams, epoch_steps=epoch_steps)))
    assert f"epoch  {words}" in said


@pytest.mark.parametrize("width", [40, 78, 200])
def test_no_fact_is_cut(width: int, snapshot_with: Made) -> None:
    case = snapshot_with(
        metrics={f"critic/canonical_{n}": f"some/other/tag_{n}" for n in range(20)}, notices=("a notice " * 20,)
    )
    said = facts(case, width)
    text = " ".join(" ".join(said).split())
    assert "critic/canonical_19 = some/other/tag_19" in text or width < 78
    assert text.count("a notice") == 20
    known = said[next(i for i, line in enumerate(said) if "known as" in line) :]
    assert max(map(len, known[:8])) <= width


def test_the_table_of_sources_has_heads_and_nothing_begins_at_an_unknown_time(snapshot_with: Made) -> None:
    case = snapshot_with(sessions=(Session(0, 1, 310, math.nan, "events.1"),))
    said = facts(dataclasses.replace(case, scanned=1, passed_over=9))
    place = next(i for i, line in enumerate(said) if line.startswith("sources"))
    assert said[place + 1].split() == ["file", "kind", "state", "read", "values"]
    assert "  1: steps 1 to 310, events.1" in said
    assert any("1 entry; 9 passed over: " in line for line in said)


async def test_warnings_and_errors_are_kept_under_i(showing: Showing, settle: Settle, text_of: TextOf) -> None:
    async with showing(size=(120, 50)) as pilot:
        app = pilot.app
        assert isinstance(app, CriticApp)
        app.say("a word in passing")
        app.say("the disk is full", "error")
        await pilot.press("i")
        await settle(pilot)
        assert "the disk is full" in text_of(app)
        assert "said on this screen (1)" in text_of(app)
        assert "a word in passing" not in text_of(app)


@pytest.mark.parametrize("count", [1, 5])
async def test_many_notices_at_the_start_are_one_toast_and_all_are_kept(
    count: int, showing: Showing, settle: Settle, text_of: TextOf, make_app: Callable[..., CriticApp]
) -> None:
    notices = tuple(f"config.toml: wrong_{n} is no setting" for n in range(count))
    async with showing(app=make_app(notices=notices), size=(120, 60)) as pilot:
        app = pilot.app
        assert isinstance(app, CriticApp)
        assert len(app._notifications) == 1
        assert [said.text for said in app.said] == list(notices)
        await pilot.press("i")
        await settle(pilot)
        assert [n for n in notices if n not in text_of(app)] == []


@pytest.mark.parametrize("key", ["2", "l", "c"])
async def test_a_toast_lies_above_the_keys_and_covers_one_line(
    key: str, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(size=(80, 24)) as pilot:
        app = pilot.app
        assert isinstance(app, CriticApp)
        app._disable_notifications = False
        await pilot.press(key)
        await settle(pilot)
        before = text_of(app).splitlines()
        app.say("saved: /a/file/somewhere", "warning")
        for _ in range(200):
            await settle(pilot)
            if app.screen.query(Toast):
                break
            await pilot.pause(0.01)
        await settle(pilot)
        after = text_of(app).splitlines()
        assert "● saved: /a/file/somewhere" in after[-2]
        assert (after[:-2], after[-1]) == (before[:-2], before[-1])
