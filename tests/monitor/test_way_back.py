"""Advice names the checkpoint to go back to, in `check`, on the screen and in what is sent alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.config import Config
from critictui.monitor import check as checking
from critictui.monitor.side import SideFacts
from critictui.monitor.watch import Watch
from critictui.run.source import Budget

NAMED = "go back to global_step_80;"
BEGIN = "begin anew (no complete checkpoint is older than that);"
PLAIN = "go back to the last checkpoint before it;"


@pytest.fixture(autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


def checkpoint(step: int | None, state: str = "complete") -> Checkpoint:
    path = Path("/runs/r") / f"global_step_{step}" / "critic"
    return Checkpoint(path, step, "hf", state, "", 10, (), 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("checkpoints", "said"),
    [
        ((checkpoint(160), checkpoint(120), checkpoint(100, "writing"), checkpoint(80), checkpoint(40)), NAMED),
        ((checkpoint(160), checkpoint(128)), BEGIN),
        ((checkpoint(None), checkpoint(80, "incomplete")), BEGIN),
        ((), PLAIN),
    ],
)
def test_the_newest_complete_one_before_the_onset_is_named_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: tuple[Checkpoint, ...], said: str
) -> None:
    lines = [f"step:{k} - critic/d_acc:{'nan' if k >= 120 else 0.7}\n" for k in range(1, 130)]
    (tmp_path / "train.log").write_text("".join(lines))
    monkeypatch.setattr(checking, "find_checkpoints", lambda _: list(checkpoints))
    report = checking.check(tmp_path, Config())
    assert [said in str(alert["advice"]) for alert in report["alerts"]] == [True]  # type: ignore[attr-defined]

    watch = Watch(tmp_path, Config())
    side = SideFacts(checkpoints=checkpoints)
    while watch.poll(Budget(1 << 30, 60), side) or watch.filling:
        pass
    watch.close()
    assert [said in alert.advice for alert in watch.judgement.alerts] == [True]
    assert [said in news.alert.advice for news in watch.news] == [True]


def test_advice_that_goes_nowhere_looks_for_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.log").write_text("step:1 - critic/d_acc:0.7\n")
    monkeypatch.setattr(checking, "find_checkpoints", lambda _: pytest.fail("the directory was searched"))
    assert checking.check(tmp_path, Config())["alerts"] == []
