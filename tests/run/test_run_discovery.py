from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from critictui.run import discovery
from critictui.run.discovery import Scanner
from critictui.run.grouping import FoundRun

EVENTS = "events.out.tfevents.1700000000.host.1.0"
LOG = "step:1 - critic/d_acc:0.5 - critic/score_diff:0.1\nstep:2 - critic/d_acc:0.6 - critic/score_diff:0.2\n"


def put(path: Path, data: bytes | str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def found(target: Path) -> dict[str, list[str]]:
    scanner = Scanner(target)
    scanner.finish()
    return {run.name: [str(f.path.relative_to(target)) for f in run.files] for run in scanner.runs}


@pytest.fixture
def events(wire) -> bytes:
    return wire.version() + wire.steps("a", [1, 2])


def test_a_parent_of_one_event_directory_a_log_and_checkpoints_is_one_run(tmp_path, events):
    put(tmp_path / "tensorboard_log" / "project" / "exp" / EVENTS, events)
    put(tmp_path / "logs" / "train.log", LOG)
    put(tmp_path / "checkpoints" / "global_step_10" / "critic" / "trap.log", LOG)
    assert found(tmp_path) == {tmp_path.name: ["logs/train.log", f"tensorboard_log/project/exp/{EVENTS}"]}


def test_a_log_of_another_run_beside_event_files_is_a_run_of_its_own(tmp_path, events):
    put(tmp_path / "warmup-v10" / "tensorboard" / EVENTS, events)
    put(tmp_path / "warmup-v10" / "train.log", LOG)
    put(tmp_path / "warmup-v11" / "train.log", LOG)
    assert found(tmp_path) == {
        "warmup-v10": [f"warmup-v10/tensorboard/{EVENTS}", "warmup-v10/train.log"],
        "warmup-v11": ["warmup-v11/train.log"],
    }


@pytest.mark.parametrize(("one", "other"), [("tb", "warmup-v10"), ("warmup-v10", "slurm_logs"), ("outputs", "x")])
def test_a_folder_that_is_called_after_what_lies_in_it_is_no_other_run(one, other, tmp_path, events):
    put(tmp_path / one / EVENTS, events)
    put(tmp_path / other / "train.log", LOG)
    assert list(found(tmp_path)) == [tmp_path.name]


def test_a_parent_of_many_runs_lists_each_with_what_lies_beside_it(tmp_path, events):
    for name in ("one", "two"):
        put(tmp_path / name / "tb" / EVENTS, events)
        put(tmp_path / name / "train.log", LOG)
    put(tmp_path / "logs" / "tb.log", LOG)
    assert found(tmp_path) == {
        "logs": ["logs/tb.log"],
        "one": [f"one/tb/{EVENTS}", "one/train.log"],
        "two": [f"two/tb/{EVENTS}", "two/train.log"],
    }


def test_files_named_after_an_experiment_belong_to_it(tmp_path, events):
    for name in ("alpha", "beta"):
        put(tmp_path / "tensorboard_log" / "p" / name / EVENTS, events)
        put(tmp_path / "metrics" / f"{name}.jsonl", json.dumps({"step": 1, "data": {"b": 1.0}}) + "\n")
    runs = found(tmp_path)
    assert runs["tensorboard_log/p/alpha"] == ["metrics/alpha.jsonl", f"tensorboard_log/p/alpha/{EVENTS}"]
    assert len(runs) == 2


def test_several_logs_in_one_directory_are_several_runs(tmp_path):
    for name in ("log-5.txt", "log-6.txt", "log-6.txt.1"):
        put(tmp_path / name, LOG)
    assert found(tmp_path) == {"log-5.txt": ["log-5.txt"], "log-6.txt": ["log-6.txt", "log-6.txt.1"]}


def test_one_file_is_a_run_whatever_its_name(tmp_path, events):
    path = put(tmp_path / "renamed", events)
    scanner = Scanner(path)
    scanner.finish()
    assert [(run.path, [f.kind for f in run.files]) for run in scanner.runs] == [(path, ["events"])]


def test_the_newest_trainer_state_stands_for_all_of_one_trainer(tmp_path):
    for step in (100, 900, 1000):
        put(tmp_path / f"checkpoint-{step}" / "trainer_state.json", '{"log_history": []}')
    assert found(tmp_path) == {tmp_path.name: ["checkpoint-1000/trainer_state.json"]}


@pytest.mark.fault("F18")
def test_look_alikes_special_files_and_loops_are_passed_over_and_counted(tmp_path, events):
    put(tmp_path / EVENTS, events)
    put(tmp_path / "events.out.tfevents.2.lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n")
    put(tmp_path / "events.out.tfevents.3.meta", "behaviors:\n  SoccerAgent:\n    trainer_type: poca\n")
    put(tmp_path / "events.out.tfevents.4.gz", b"\x1f\x8b\x08\x00" + bytes(200))
    put(tmp_path / "events.out.tfevents.5", b"")
    os.mkfifo(tmp_path / "train.log")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "loop").symlink_to(tmp_path)
    scanner = Scanner(tmp_path)
    scanner.finish()
    assert [f.path.name for f in scanner.runs[0].files] == [EVENTS, "events.out.tfevents.5"]
    assert scanner.passed_over == 5
    assert any("git-lfs" in notice for notice in scanner.notices)
    assert any("archive" in notice for notice in scanner.notices)


def test_our_own_folder_in_a_run_is_not_a_source(tmp_path, events):
    put(tmp_path / EVENTS, events)
    put(tmp_path / "critictui" / "alarms.jsonl", '{"step": 1, "data": {"x": 1}}\n')
    assert found(tmp_path) == {tmp_path.name: [EVENTS]}


def test_new_files_and_directories_are_found_later_and_a_log_once_it_shows_what_it_is(tmp_path, events):
    log = put(tmp_path / "train.txt", "loading\n")
    scanner = Scanner(tmp_path)
    scanner.finish()
    assert scanner.runs[0].files == ()
    put(log, LOG)
    put(tmp_path / "new" / EVENTS, events)
    scanner._next_look = 0.0
    scanner.step(10.0)
    assert [f.kind for f in scanner.runs[0].files] == ["events", "log"]


@pytest.mark.fault("F20")
def test_a_large_tree_is_searched_in_slices_and_runs_come_while_it_lasts(tmp_path, events):
    for k in range(60):
        put(tmp_path / f"run{k:03}" / EVENTS, events)
        for j in range(50):
            put(tmp_path / f"run{k:03}" / "data" / f"{j}.bin")
    scanner = Scanner(tmp_path)
    slices, seen, longest = 0, [], 0.0
    more = True
    while more:
        began = time.thread_time()
        more = scanner.step(0.001)
        longest = max(longest, time.thread_time() - began)
        slices += 1
        seen.append(len(scanner.runs))
    assert slices > 3
    assert longest < 0.25
    assert any(0 < n < 60 for n in seen)
    assert len(scanner.runs) == 60
    assert scanner.scanned == 60 * 52 + 60
    assert isinstance(scanner.runs[0], FoundRun)


class Clock:
    """Time that passes when it is told to, and a little at every look at it."""

    def __init__(self, tick: float) -> None:
        self.now, self.tick = 0.0, tick

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now


def test_a_search_that_cost_much_rests_long_but_where_metrics_lie_the_next_file_is_soon_found(
    tmp_path, events, monkeypatch
):
    clock = Clock(0.25)
    monkeypatch.setattr(discovery, "time", clock)
    put(tmp_path / "near" / EVENTS, events)
    (tmp_path / "deep" / "far").mkdir(parents=True)
    scanner = Scanner(tmp_path)
    scanner.finish()
    clock.now += 100.0
    scanner.step(1.0)  # what a search costs when nothing is new is known from here on
    put(tmp_path / "near" / "events.out.tfevents.1700000001.host.1.0", events)
    put(tmp_path / "deep" / "far" / EVENTS, events)
    clock.now += 100.0
    scanner.step(1.0)
    assert len(scanner.runs) == 1
    assert len(scanner.runs[0].files) == 2
    clock.now += 600.0
    scanner.step(1.0)
    assert len(scanner.runs) == 2


def test_a_missing_target_is_an_empty_run(tmp_path):
    assert found(tmp_path / "nowhere") == {"nowhere": []}
