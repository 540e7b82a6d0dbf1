"""A run without a curve: the screen says what goes on, what was found and what is missing, and gives it the room."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.health.alert import SCORE_ONE, Judgement, NotEnoughData
from critictui.monitor.snapshot import Snapshot
from critictui.tui.messages import SnapshotTaken

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
TextOf = Callable[..., str]
With = Callable[..., Snapshot]

EMPTY = {
    "series": {}, "metrics": {}, "sources": (), "step": None, "state": "empty", "last_change": None,
    "total_steps": None, "pace": None, "checkpoints": (), "judgement": Judgement("unknown"), "scores": (),
}  # fmt: skip


def checkpoints(n: int) -> tuple[Checkpoint, ...]:
    return tuple(
        Checkpoint(Path(f"/runs/warmup-v10/global_step_{k}/critic"), k, "verl-fsdp", "complete", "", 1 << 30, (), 0.0)
        for k in range(n, 0, -1)
    )


async def test_while_it_searches_it_says_so_and_how_far_it_is(
    showing: Showing, text_of: TextOf, snapshot_with: With
) -> None:
    snapshot = dataclasses.replace(snapshot_with(**EMPTY), scanning=True, scanned=12_300)
    async with showing(snapshot) as pilot:
        said = text_of(pilot.app)
        assert "searching, 12,300 entries" in said
        assert "Searching /runs/warmup-v10: 12,300 entries so far" in said
        assert "not enough data" not in said


@pytest.mark.parametrize("size", [(80, 24), (160, 40), (60, 16)])
async def test_a_directory_of_checkpoints_alone_shows_them_all_and_says_what_is_missing(
    size: tuple[int, int], showing: Showing, text_of: TextOf, snapshot_with: With
) -> None:
    async with showing(snapshot_with(**{**EMPTY, "checkpoints": checkpoints(7)}), size) as pilot:
        said = text_of(pilot.app)
        assert "7 checkpoints, no event files or logs found below /runs/warmup-v10" in " ".join(said.split())
        shown = [line for line in said.splitlines() if "complete" in line and "1.0 G" in line]
        assert len(shown) == 7 if size[1] > 20 else len(shown) > 2
        assert not any(chart.display and chart.region.height for chart in pilot.app.screen.query(".panel"))


async def test_the_charts_come_with_the_first_value(
    showing: Showing, text_of: TextOf, snapshot_with: With, made_of: With, settle: Callable[..., object]
) -> None:
    async with showing(snapshot_with(**{**EMPTY, "checkpoints": checkpoints(2)})) as pilot:
        assert pilot.app.focused is not None
        assert pilot.app.focused.id == "checkpoints"
        pilot.app.post_message(SnapshotTaken(made_of(version=2)))
        await settle(pilot)  # type: ignore[misc]
        assert "score mean" in text_of(pilot.app)
        assert pilot.app.focused.id == "chart-1"
        assert not pilot.app.screen.query_one("#nothing").display


async def test_a_demo_that_starts_and_a_recording_say_what_they_are(
    showing: Showing, text_of: TextOf, snapshot_with: With
) -> None:
    async with showing(snapshot_with(**{**EMPTY, "demo": "live"})) as pilot:
        assert "the demo's critic is starting" in text_of(pilot.app)
    async with showing(snapshot_with(demo="recording", checkpoints=())) as pilot:
        assert text_of(pilot.app).splitlines()[0].startswith(" warmup-v10  recording  step 310/800")
        await pilot.press("c")
        said = text_of(pilot.app)
        assert "a recording of curves alone" in said
        assert "when training saves" not in said


async def test_healthy_is_said_so_far_while_rules_wait_for_data(
    showing: Showing, text_of: TextOf, snapshot_with: With
) -> None:
    waiting = tuple(NotEnoughData(rule, "", "needs 40 more steps") for rule in ("decline", "drift"))
    async with showing(snapshot_with(judgement=Judgement("healthy", (), waiting))) as pilot:
        said = text_of(pilot.app)
        assert "✓ healthy so far" in said.splitlines()[0]
        assert "healthy so far: no rule has anything to say, 2 rules wait for data" in said
    async with showing(snapshot_with(judgement=Judgement("healthy"))) as pilot:
        assert "so far" not in text_of(pilot.app)


async def test_what_no_rule_can_judge_is_said_without_an_empty_name(
    showing: Showing, text_of: TextOf, snapshot_with: With
) -> None:
    hint = NotEnoughData("", "", "no metric of a critic is logged; name them under [aliases]")
    async with showing(snapshot_with(judgement=Judgement("unknown", (), (hint,))), (120, 36)) as pilot:
        said = text_of(pilot.app)
        assert "not judged: no metric of a critic is logged" in said
        assert "no verdict: no metric of a critic is logged" in said
        assert "? no critic" in said.splitlines()[0]


async def test_what_a_score_would_tell_is_no_lack_of_data(
    showing: Showing, text_of: TextOf, snapshot_with: With
) -> None:
    rules = tuple(NotEnoughData(rule, "", SCORE_ONE) for rule in ("generalisation-gap", "length-bias"))
    waiting = (*rules, NotEnoughData("decline", "", "needs 40 more steps"))
    async with showing(snapshot_with(judgement=Judgement("healthy", (), waiting)), (120, 36)) as pilot:
        said = text_of(pilot.app)
        assert "not judged: generalisation-gap, length-bias: score a checkpoint (e)" in said
        assert "not enough data yet: decline (needs 40 more steps)" in said
        assert "1 rule waits for data" in said


async def test_a_log_that_ends_in_an_error_is_quoted_and_its_text_is_no_code(
    showing: Showing, text_of: TextOf, snapshot_with: With
) -> None:
    error = "train.log: TypeError: [bold]f()[/] got 'llm'"
    async with showing(snapshot_with(error=error), (80, 24)) as pilot:
        said = text_of(pilot.app)
        assert "ends in an error" in said.splitlines()[0]
        assert f"▲ an error, and no step after it: {error}"[:70] in said
    empty = snapshot_with(error=error, step=None, state="empty", series={}, metrics={})
    async with showing(empty, (120, 36)) as pilot:
        said = text_of(pilot.app).splitlines()[0]
        assert "ends in an error" in said
        assert "waiting" not in said
