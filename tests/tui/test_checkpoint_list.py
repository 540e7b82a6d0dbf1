"""The checkpoint list as text: what lies where, what may be trusted, and why not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from textual.pilot import Pilot

from critictui.checkpoint.checkpoint import Audit, Checkpoint
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.tui.glyphs import UNICODE
from critictui.tui.widgets.checkpoints import checkpoint_line, places_of, scores_of

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
TextOf = Callable[..., str]
With = Callable[..., Snapshot]
RUN = Path("/runs/warmup-v10")


def checkpoint(folder: str, step: int | None) -> Checkpoint:
    return Checkpoint(RUN / folder, step, "verl-fsdp", "complete", "", 460_000, (), 0.0)


def damaged(path: Path) -> Audit:
    names = ["embed", "embed", "embed", *(f"layers.{k}" for k in range(20))]
    problems = tuple(("weights-damaged", f"{path}: {name}: 64 of 64 values are not finite") for name in names)
    return Audit(path, "f", "w", 1000, ("float32",), (), None, (), "", problems)


def lines_of(watched: WatchedRun, width: int = 90) -> list[str]:
    places = places_of(watched)
    return [checkpoint_line(watched, k, places, width, UNICODE).plain for k in range(len(watched.checkpoints))]


def test_equal_steps_of_different_folders_and_names_stand_in_one_column(snapshot_with: With) -> None:
    found = (
        checkpoint("fsdp1/global_step_100/critic", 100), checkpoint("fsdp2/global_step_100/critic", 100),
        checkpoint("fsdp1/global_step_50/critic", 50), checkpoint("merged_by_verl", None),
    )  # fmt: skip
    lines = lines_of(snapshot_with(checkpoints=found, scores=(), own_scores=()).watched[0])
    assert [line.split()[:2] for line in lines] == [
        ["100", "fsdp1"], ["100", "fsdp2"], ["50", "fsdp1"], ["–", "merged_by_verl"]
    ]  # fmt: skip
    assert len({line.index("complete") for line in lines}) == 1


def test_where_steps_tell_them_apart_no_folder_is_shown(snapshot_with: With) -> None:
    found = (checkpoint("global_step_100/critic", 100), checkpoint("global_step_50/critic", 50))
    assert places_of(snapshot_with(checkpoints=found).watched[0]) == ()


def test_a_score_belongs_to_the_checkpoint_that_was_scored_and_not_to_another_of_its_step(
    snapshot_with: With,
) -> None:
    one, two = checkpoint("fsdp1/global_step_100/critic", 100), checkpoint("fsdp2/global_step_100/critic", 100)
    watched = snapshot_with(checkpoints=(one, two)).watched[0]
    score = dataclasses.replace(watched.scores[0], step=100, checkpoint=str(one.path))
    watched = dataclasses.replace(watched, scores=(score,), own_scores=(score,))
    assert scores_of(watched, one) == [score]
    assert scores_of(watched, two) == []
    elsewhere = (dataclasses.replace(score, checkpoint="/elsewhere"),)
    moved = dataclasses.replace(watched, scores=elsewhere, own_scores=elsewhere)
    assert len(scores_of(moved, two)) == 1


def test_the_score_in_the_list_is_the_runs_own_and_others_are_counted(snapshot_with: With) -> None:
    found = checkpoint("global_step_100/critic", 100)
    watched = snapshot_with(checkpoints=(found,)).watched[0]
    own = dataclasses.replace(watched.scores[0], step=100, checkpoint=str(found.path), d_acc=0.75)
    trial = dataclasses.replace(own, d_acc=0.6, recipe={"pooling": "last"})
    (line,) = lines_of(dataclasses.replace(watched, scores=(own, trial), own_scores=(own,)))
    assert "scored 0.750" in line
    (line,) = lines_of(dataclasses.replace(watched, scores=(trial,), own_scores=()), 120)
    assert "0.600" not in line
    assert "not scored on the run's own set by its own recipe; 1 other score" in line


def test_a_damaged_checkpoint_is_in_doubt_and_the_reason_comes_without_its_path(snapshot_with: With) -> None:
    found = checkpoint("global_step_240/critic", 240)
    watched = snapshot_with(checkpoints=(found,), audits={found.path: damaged(found.path)}).watched[0]
    (line,) = lines_of(watched)
    assert "in doubt" in line
    assert "complete" not in line
    assert "21 problems: embed: 64 of 64 values are not finite" in line
    assert "/runs" not in line


async def test_its_facts_say_each_problem_once_and_how_many_more_there_are(
    showing: Showing, text_of: TextOf, snapshot_with: With
) -> None:
    found = checkpoint("global_step_240/critic", 240)
    snapshot = snapshot_with(checkpoints=(found,), audits={found.path: damaged(found.path)})
    async with showing(snapshot, (100, 30)) as pilot:
        await pilot.press("c")
        facts = text_of(pilot.app).partition("─ step 240 ")[2]
        assert facts.count("weights-damaged: embed:") == 1
        assert "and 15 more of the kind" in facts
