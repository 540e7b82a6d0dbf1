"""Every screen as text at three sizes, in Unicode and ASCII, and as a picture in three themes."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from critictui.monitor.snapshot import Snapshot
from critictui.run.facts import SourceFacts
from critictui.tui.app import CriticApp
from critictui.tui.messages import SnapshotTaken

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]

KEYS = {
    "dashboard": (),
    "metrics": ("m",),
    "chart": ("2",),
    "alert": ("a", "enter"),
    "alerts": ("a",),
    "checkpoints": ("c",),
    "facts": ("i",),
    "runs": ("r",),
    "log": ("l",),
    "help": ("question_mark",),
}
SIZES = [(80, 24), (120, 36), (200, 50)]
THEMES = ["critic-dark", "critic-light", "high-contrast"]


@pytest.fixture
def case(tmp_path: Path, made_of: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """The case of the domain, with a log that lies on disk; the doors to evaluation have tests of their own."""
    monkeypatch.setattr("critictui.tui.navigation.can_evaluate", lambda what: False)
    monkeypatch.setattr("critictui.tui.screens.checkpoints.can_evaluate", lambda what: False)
    lines = [f"(TaskRunner pid=1) step:{n} - critic/d_acc:0.{700 + n} - critic/score_diff:5.{n}" for n in range(1, 61)]
    monkeypatch.chdir(tmp_path)
    folder = Path("warmup-v10")
    folder.mkdir()
    (folder / "train.log").write_text("\n".join([*lines, "a [bold]rollout[/] with \x1b[31mcolour\x1b[0m", ""]))
    snapshot = made_of(rows=9)
    run = dataclasses.replace(snapshot.watched[0].run, path=folder, sources=(_source("train.log"),))
    shown = dataclasses.replace(run, sources=(*snapshot.watched[0].run.sources[:1], _source("train.log")))
    watched = dataclasses.replace(snapshot.watched[0], run=shown)
    return dataclasses.replace(snapshot, watched=(watched,))


def _source(path: str) -> SourceFacts:
    return SourceFacts(path, "log", 2_500_000, 2_500_000, 12_710, "live")


async def go_to(screen: str, pilot: Pilot[None], settle: Settle) -> None:
    """From the run list, which a folder of several runs opens with, to the screen."""
    await pilot.press("escape")
    await settle(pilot)
    for key in KEYS[screen]:
        await pilot.press(key)
    await settle(pilot)


@pytest.mark.parametrize("ascii_only", [False, True], ids=["unicode", "ascii"])
@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("screen", KEYS)
async def test_a_screen_reads_as_it_did(
    screen: str,
    size: tuple[int, int],
    ascii_only: bool,
    case: Snapshot,
    showing: Showing,
    settle: Settle,
    text_of: Callable[[CriticApp], str],
    tmp_path: Path,
    snapshot: SnapshotAssertion,
) -> None:
    async with showing(case, size, ascii=ascii_only) as pilot:
        assert isinstance(pilot.app, CriticApp)
        await go_to(screen, pilot, settle)
        text = text_of(pilot.app).replace(str(tmp_path), "<run>")
    if ascii_only:
        assert text.isascii()
    if screen == "facts":
        text = "\n".join(line for line in text.splitlines() if "  path  " not in line)
    assert text == snapshot


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("screen", KEYS)
def test_a_screen_looks_as_it_did(
    screen: str,
    theme: str,
    size: tuple[int, int],
    case: Snapshot,
    make_app: Callable[..., CriticApp],
    settle: Settle,
    snap_compare: Callable[..., bool],
) -> None:
    app = make_app(theme=theme)

    async def show(pilot: Pilot[None]) -> None:
        app.post_message(SnapshotTaken(case))
        await settle(pilot)
        await go_to(screen, pilot, settle)

    assert snap_compare(app, run_before=show, terminal_size=size)
