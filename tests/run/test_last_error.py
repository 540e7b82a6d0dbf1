"""A log that ends in an error says so, in its own words; one that goes on does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from critictui.config import Config
from critictui.run.facts import RunSnapshot
from critictui.run.judging import died_of
from critictui.run.last_error import WINDOW
from critictui.run.reader import RunReader
from critictui.run.source import Budget

STEPS = "".join(f"step:{k} - critic/d_acc:0.7{k}\n" for k in range(1, 6))
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    raise X\n'
WHOLE = Budget(bytes=1 << 30, seconds=60)


def read(folder: Path) -> RunSnapshot:
    reader = RunReader(folder, Config())
    snapshot = reader.read_all()
    reader.close()
    return snapshot


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (
            f"{TRACEBACK}TypeError: f() got 'llm'\n\nSet HYDRA_FULL_ERROR=1 for a stack trace.\n",
            "TypeError: f() got 'llm'",
        ),
        (f"{TRACEBACK}torch.OutOfMemoryError: CUDA out of memory.", "torch.OutOfMemoryError: CUDA out of memory."),
        (f"{TRACEBACK}AssertionError\n", "AssertionError"),
        (
            "\x1b[36m(WorkerDict pid=12)\x1b[0m ray.exceptions.RayTaskError(ValueError): ray::f()\n",
            "ray.exceptions.RayTaskError(ValueError): ray::f()",
        ),
        ("node1:7:9 [0] NCCL error: unhandled system error\n", "node1:7:9 [0] NCCL error: unhandled system error"),
        (
            "run.sh: line 107: 834 Aborted       (core dumped) python3 -m x\n",
            "run.sh: line 107: 834 Aborted (core dumped)",
        ),
        ("Killed\n", "Killed"),
        ("run.sh: line 3: 77 Killed    python train.py\n", "run.sh: line 3: 77 Killed python train.py"),
        (
            "slurmstepd: error: *** JOB 9 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***\n",
            "slurmstepd: error: *** JOB 9 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***",
        ),
        ("RuntimeError: a bad \x1b[31m\x07thing" + " in it" * 10, "RuntimeError: a bad ␇thing" + " in it" * 10),
    ],
)
@pytest.mark.parametrize("before", ["", STEPS])
def test_the_error_that_a_log_ends_in_is_quoted_with_its_file(tmp_path: Path, before: str, end: str, said: str) -> None:
    path = tmp_path / "train.log"
    path.write_text(before + end)
    assert read(tmp_path).error == f"train.log: {said}"
    with path.open("a") as file:
        file.write("\nstep:6 - critic/d_acc:0.7\n")
    assert read(tmp_path).error == ""


@pytest.mark.parametrize(
    "end",
    [
        "(RewardLoopWorker pid=8) exec failed | score=-0.5 | NameError: name 'board' is not defined\n",
        "def f(): raise ValueError: no\n  ValueErrors are fine\n",
        "The hero was Killed by a dragon\n",
        "TypeError: old\n" + "x\n" * WINDOW,
        "TypeError: old\nTotal training steps: 40\n",
    ],
)
def test_what_only_speaks_of_errors_is_none(tmp_path: Path, end: str) -> None:
    (tmp_path / "train.log").write_text(STEPS + end)
    assert read(tmp_path).error == ""


def test_it_comes_and_goes_as_the_log_grows(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(STEPS)
    reader = RunReader(tmp_path, Config())
    seen = []
    for text in ("", f"{TRACEBACK}KeyError: 'x'\n", "retrying\n", "step:6 - critic/d_acc:0.7\n"):
        with path.open("a") as file:
            file.write(text)
        seen.append(reader.poll(WHOLE).error)
    reader.close()
    assert seen == ["", "train.log: KeyError: 'x'", "train.log: KeyError: 'x'", ""]


@pytest.mark.parametrize(
    ("ends", "changed", "said"),
    [
        ({"try9.log": "KeyError", "try10.log": ""}, {"try9.log": 100.0, "try10.log": 100.0}, ""),
        ({"try9.log": "KeyError", "try8.log": ""}, {"try9.log": 100.0, "try8.log": 100.0}, "try9.log: KeyError"),
        ({"try9.log": "KeyError", "try8.log": ""}, {"try9.log": 100.0, "try8.log": 400.0}, ""),
        ({"a.log": "KeyError"}, {"a.log": 100.0, "events.out.tfevents.1": 130.0}, "a.log: KeyError"),
        ({"a.log": "KeyError"}, {"a.log": 100.0, "events.out.tfevents.1": 400.0}, ""),
        ({}, {}, ""),
    ],
)
def test_what_was_written_later_shows_that_the_run_went_on(
    ends: dict[str, str], changed: dict[str, float], said: str
) -> None:
    assert died_of(ends, changed) == said


def test_a_job_says_its_errors_beside_its_steps(tmp_path: Path) -> None:
    (tmp_path / "slurm-7.out").write_text(STEPS)
    (tmp_path / "slurm-7.err").write_text(f"{TRACEBACK}KeyError: 'x'\n")
    assert read(tmp_path).error == "slurm-7.err: KeyError: 'x'"


def test_a_run_that_is_through_died_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(f"Total training steps: 5\n{STEPS}RuntimeError: teardown\n")
    snapshot = read(tmp_path)
    assert (snapshot.state, snapshot.error) == ("finished", "")
