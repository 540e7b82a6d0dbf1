"""The trainer lives as long as who started it, and no longer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import gone, wait_until

from critictui.demo.live import live_training, train_in_child
from critictui.demo.scenario import training_for
from critictui.errors import JobFailedError

pytestmark = pytest.mark.torch

PARENT = """
import sys, time
from pathlib import Path
from critictui.demo.live import LiveTraining
from critictui.demo.scenario import training_for
live = LiveTraining(training_for("healthy", Path(sys.argv[1]), steps=5000, batch=4))
while live.pid is None:
    time.sleep(0.01)
print(live.pid, flush=True)
live.wait()
"""


def test_leaving_the_block_ends_the_trainer(tmp_path: Path) -> None:
    with live_training(training_for("healthy", tmp_path / "run", steps=5000, batch=4)) as live:
        assert wait_until(lambda: live.pid is not None)
        pid = live.pid
        assert pid is not None
        assert os.getpgid(pid) == pid
    assert gone(pid)


def test_the_trainer_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(run)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert wait_until(lambda: "step:1 " in _text(run / "train.log"))
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: gone(pid), 10)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_trainer_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file where a directory should be")
    with pytest.raises(JobFailedError, match=r"status 1: FileExistsError"):
        train_in_child(training_for("healthy", tmp_path, steps=8, fixed_prompts=2))


def test_trl_writes_its_own_files_learns_the_same_task_and_unlearns_it_when_the_loss_is_inverted(
    tmp_path: Path, read_events: Callable[[Path], dict]
) -> None:
    pytest.importorskip("trl")
    settings = training_for(
        "inverted", tmp_path, steps=44, batch=16, fixed_prompts=40, save_every=22, student_steps=0, onset=23
    )
    train_in_child(settings, trainer="trl")
    state = json.loads((tmp_path / "checkpoint-44" / "trainer_state.json").read_text())
    logged = {row["step"]: row for row in state["log_history"] if "accuracy" in row}
    assert sorted(logged) == list(range(1, 45))
    before, after = (row for row in state["log_history"] if "eval_accuracy" in row)
    assert before["eval_accuracy"] > 0.55 > 0.45 > after["eval_accuracy"]
    assert before["eval_margin"] > 0 > after["eval_margin"]
    assert logged[44]["margin"] < 0
    assert (tmp_path / "checkpoint-22" / "model.safetensors").is_file()
    (file,) = (tmp_path / "runs").rglob("events.out.tfevents.*")
    series = read_events(file)
    assert series["train/accuracy"][1][-1] == pytest.approx(logged[44]["accuracy"])
    assert "{'loss': " in (tmp_path / "train.log").read_text()
