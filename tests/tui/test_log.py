"""The log pane on real files: nothing of a long line is lost, and wrapped lines are walked by rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from critictui.monitor.snapshot import Snapshot
from critictui.run.facts import SourceFacts
from critictui.tui.app import CriticApp
from critictui.tui.screens.log import LogScreen
from critictui.tui.text import folded

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]
TextOf = Callable[[CriticApp], str]
CaseOf = Callable[[str], Snapshot]


@pytest.fixture
def case_of(tmp_path: Path, snapshot_with: Callable[..., Snapshot]) -> CaseOf:
    """The case of the domain with this text as its log."""

    def made(text: str) -> Snapshot:
        (tmp_path / "train.log").write_text(text, encoding="utf-8")
        case = snapshot_with()
        run = dataclasses.replace(
            case.watched[0].run, path=tmp_path, sources=(SourceFacts("train.log", "log", 1, 1, 1, "live"),)
        )
        return dataclasses.replace(case, watched=(dataclasses.replace(case.watched[0], run=run),))

    return made


def pane(text: str) -> list[str]:
    """The rows of the log, between its title and the last line."""
    return [line[1:].rstrip() for line in text.splitlines()[2:-1]]


async def open_log(pilot: Pilot[None], settle: Settle, *keys: str) -> LogScreen:
    for key in ("l", *keys):
        await pilot.press(key)
        await settle(pilot)
    assert isinstance(pilot.app.screen, LogScreen)
    return pilot.app.screen


async def test_a_line_of_four_thousand_bytes_is_read_to_its_end(
    case_of: CaseOf, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    line = "step:12 - " + " - ".join(f"timing/part_{n:03d}:{n}.5" for n in range(160)) + " - THE END"
    async with showing(case_of(f"before\n{line}\n"), (80, 24)) as pilot:
        await open_log(pilot, settle, "w")
        shown = pane(text_of(pilot.app))  # type: ignore[arg-type]
        assert shown[-1] == folded(line, 78)[-1].rstrip()
        await pilot.press("home")
        await settle(pilot)
        rows = ["before", *folded(line, 78)]
        seen = pane(text_of(pilot.app))  # type: ignore[arg-type]
        assert seen == [row.rstrip() for row in rows[: len(seen)]]


async def test_what_is_missing_of_three_megabytes_is_counted_once(
    case_of: CaseOf, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    size = 3_000_000
    async with showing(case_of("x" * size + "\n"), (80, 24)) as pilot:
        await open_log(pilot, settle, "w")
        kept, _, missing = "".join(pane(text_of(pilot.app))).partition("…+")  # type: ignore[arg-type]
        assert set(kept) == {"x"}
        screen = pilot.app.screen
        assert isinstance(screen, LogScreen)
        assert screen._page is not None
        whole = screen._page.lines[0].partition("…+")[0]
        assert len(whole) + int(missing) == size


@pytest.mark.parametrize("wrapped", [False, True], ids=["cut", "wrapped"])
async def test_pages_up_and_down_show_every_row_once(
    wrapped: bool, case_of: CaseOf, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    text = [f"line {n:03d} " + "word " * (n * 7 % 150) + "日本" * (n % 5) for n in range(60)]
    rows = [row.rstrip() for line in text for row in (folded(line, 58) if wrapped else [line])]
    async with showing(case_of("\n".join(text) + "\n"), (60, 20)) as pilot:
        screen = await open_log(pilot, settle, *(["w"] if wrapped else []))

        def at(row: int, shown: list[str]) -> bool:
            pairs = zip(rows[row : row + len(shown)], shown, strict=True)
            return all(
                seen == line or (not wrapped and line.startswith(seen.removesuffix("…"))) for line, seen in pairs
            )

        place = len(rows) - 17
        assert screen.following
        for by in (-16,) * 4 + (16,) * 2 + (-1,) * 3 + (1, 1):
            await pilot.press({-16: "pageup", 16: "pagedown", -1: "up", 1: "down"}[by])
            await settle(pilot)
            place = max(place + by, 0)
            assert not screen.following
            assert at(place, pane(text_of(pilot.app))), (by, place)  # type: ignore[arg-type]
        for _ in range(60):
            await pilot.press("pagedown")
            await settle(pilot)
        assert screen.following
        assert at(len(rows) - 17, pane(text_of(pilot.app)))  # type: ignore[arg-type]


async def test_the_wheel_moves_by_rows_however_fast_it_turns(
    case_of: CaseOf, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(case_of("".join(f"line {n:03d}\n" for n in range(400))), (60, 20)) as pilot:
        screen = await open_log(pilot, settle)
        for _ in range(10):
            screen.post_message(events.MouseScrollUp(screen, 1, 1, 0, 0, 0, shift=False, meta=False, ctrl=False))
        await settle(pilot)
        assert pane(text_of(pilot.app))[0] == f"line {400 - 17 - 30:03d}"  # type: ignore[arg-type]
        for _ in range(2):
            screen.post_message(events.MouseScrollDown(screen, 1, 1, 0, 0, 0, shift=False, meta=False, ctrl=False))
        await settle(pilot)
        assert pane(text_of(pilot.app))[0] == f"line {400 - 17 - 24:03d}"  # type: ignore[arg-type]


async def test_holding_the_end_keeps_the_rows_where_they_are(
    case_of: CaseOf, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(case_of("".join(f"{n:02d} " + "word " * 40 + "\n" for n in range(30))), (60, 20)) as pilot:
        screen = await open_log(pilot, settle, "w")
        before = pane(text_of(pilot.app))  # type: ignore[arg-type]
        await pilot.press("f")
        await settle(pilot)
        assert not screen.following
        assert pane(text_of(pilot.app)) == before  # type: ignore[arg-type]
