from __future__ import annotations

import json
import math
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from critictui.config import Config, ProfileSettings
from critictui.health.judge import judge_all
from critictui.health.rules.pace import silence
from critictui.health.settings import Settings
from critictui.run import metrics
from critictui.run.facts import RunSnapshot
from critictui.run.reader import RunReader
from critictui.run.source import Budget, RunError

WHOLE = Budget(bytes=1 << 30, seconds=60)
FIRST, SECOND = "events.out.tfevents.1700000000.a.1.0", "events.out.tfevents.1700009000.a.2.0"


def steps_of(snapshot: RunSnapshot, tag: str = "a") -> list[int]:
    return snapshot.series[tag].step.tolist()


def values_of(snapshot: RunSnapshot, tag: str = "a") -> list[float]:
    return snapshot.series[tag].value.tolist()


def test_a_new_file_that_reaches_back_is_a_new_session_from_its_first_step_on(tmp_path, wire, read):
    (tmp_path / FIRST).write_bytes(wire.version() + wire.steps("a", list(range(1, 11)), 1e9))
    second = b"".join(wire.scalar("a", 100.0 + s, s, 2e9 + s) for s in (6, 7, 8))
    (tmp_path / SECOND).write_bytes(wire.version() + second)
    snapshot = read(tmp_path)
    a = snapshot.series["a"]
    assert steps_of(snapshot) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert values_of(snapshot) == [1, 2, 3, 4, 5, 106, 107, 108]
    assert a.session.tolist() == [0] * 5 + [1] * 3
    assert a.superseded == 5
    assert [(s.number, s.first_step, s.last_step, s.source) for s in snapshot.sessions] == [
        (0, 1, 10, FIRST),
        (1, 6, 8, SECOND),
    ]
    assert [(s.step, s.kind) for s in snapshot.seams] == [(6, "restart")]
    assert snapshot.step == 8


def test_a_new_file_that_goes_on_where_the_old_one_ended_is_the_same_session(tmp_path, wire, read):
    (tmp_path / FIRST).write_bytes(wire.version() + wire.steps("a", [1, 2, 3], 1e9))
    (tmp_path / SECOND).write_bytes(wire.version() + wire.steps("a", [4, 5, 6], 2e9))
    snapshot = read(tmp_path)
    assert steps_of(snapshot) == [1, 2, 3, 4, 5, 6]
    assert [s.number for s in snapshot.sessions] == [0]
    assert snapshot.sessions[0].last_step == 6
    assert snapshot.seams == ()


def test_files_are_ordered_by_the_time_in_their_names_and_not_by_mtime(tmp_path, wire, read):
    (tmp_path / SECOND).write_bytes(wire.version() + b"".join(wire.scalar("a", 9.0, s, 2e9 + s) for s in (2, 3)))
    (tmp_path / FIRST).write_bytes(wire.version() + wire.steps("a", [1, 2, 3, 4], 1e9))
    os.utime(tmp_path / SECOND, (1, 1))
    assert values_of(read(tmp_path)) == [1, 9, 9]


@pytest.mark.fault("L06")
def test_a_step_that_goes_back_in_one_file_is_a_restart_for_all_its_tags(tmp_path, wire, read):
    data = b"".join(wire.scalar(t, float(s), s) for s in range(1, 11) for t in "ab")
    data += b"".join(wire.scalar(t, 50.0 + s, s) for s in (7, 8) for t in "ab")
    (tmp_path / FIRST).write_bytes(wire.version() + data)
    snapshot = read(tmp_path)
    for tag in "ab":
        assert values_of(snapshot, tag) == [1, 2, 3, 4, 5, 6, 57, 58]
        assert snapshot.series[tag].superseded == 4
        assert snapshot.series[tag].session.tolist() == [0] * 6 + [1] * 2
    assert [(s.step, s.kind) for s in snapshot.seams] == [(7, "restart")]


@pytest.mark.fault("L06")
def test_a_tag_that_falls_silent_before_a_restart_and_speaks_after_it_is_of_both_sessions(tmp_path, wire, read):
    path = tmp_path / "events.out.tfevents.1700000000.host.1.0"
    path.write_bytes(wire.version() + b"".join(wire.scalar(tag, 1.0, s) for s in range(5) for tag in ("a", "b")))
    reader = RunReader(tmp_path, Config())
    reader.poll(Budget())
    for part in (wire.steps("a", list(range(5, 30))), wire.steps("a", list(range(20, 40))), wire.steps("b", [41, 42])):
        with path.open("ab") as file:
            file.write(part)
        grown = reader.poll(Budget())
    reader.close()
    assert grown.series["b"].session.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert grown.series["b"].session.tolist() == read(tmp_path).series["b"].session.tolist()


@pytest.mark.fault("F13")
def test_late_and_double_points_are_no_restart_and_the_last_write_stands(tmp_path, wire, read):
    order = [1, 2, 4, 3, 5, 5, 8, 6, 7, 9, 4, 10]
    (tmp_path / FIRST).write_bytes(b"".join(wire.scalar("a", float(k), s) for k, s in enumerate(order)))
    snapshot = read(tmp_path)
    a = snapshot.series["a"]
    assert steps_of(snapshot) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert values_of(snapshot) == [0, 1, 3, 10, 5, 7, 8, 6, 9, 11]
    assert (a.duplicates, a.superseded) == (2, 0)
    assert len(snapshot.sessions) == 1


@pytest.mark.fault("F14")
def test_a_writer_that_counts_no_steps_is_shown_by_index(tmp_path, wire, read):
    (tmp_path / FIRST).write_bytes(b"".join(wire.scalar("a", float(k), 0) for k in range(7)))
    snapshot = read(tmp_path)
    assert steps_of(snapshot) == list(range(7))
    assert values_of(snapshot) == list(range(7))
    (tmp_path / FIRST).write_bytes(b"".join(wire.scalar("a", float(k), k // 6) for k in range(7)))
    assert steps_of(read(tmp_path)) == [0, 1], "with one real step, the others are duplicates of step 0"


@pytest.mark.fault("F11")
def test_two_live_writers_stay_apart_and_the_user_is_told(tmp_path, wire):
    one, two = tmp_path / "events.out.tfevents.1700000000.a.1.0", tmp_path / "events.out.tfevents.1700000001.b.2.0"
    reader = RunReader(tmp_path, Config())
    for s in range(1, 20):
        for path, wall, value in ((one, 1.7e9, 1.0), (two, 1.7e9 + 0.5, 2.0)):
            with path.open("ab") as file:
                file.write(
                    wire.scalar("a", value, s, wall + 10 * s) + (wire.scalar("only", 0.0, s) if path == two else b"")
                )
        reader.poll(WHOLE)
    reader = RunReader(tmp_path, Config())
    snapshot = reader.read_all()
    assert set(snapshot.series) == {"a", f"a [{two.name}]", "only"}
    assert values_of(snapshot) == [1.0] * 19
    assert values_of(snapshot, f"a [{two.name}]") == [2.0] * 19
    assert len(snapshot.sessions) == 1
    assert any("2 writers" in notice and two.name in notice for notice in snapshot.notices)


def test_a_late_flush_of_the_old_process_does_not_bring_superseded_points_back(tmp_path, wire):
    (tmp_path / FIRST).write_bytes(wire.version() + wire.steps("a", list(range(1, 11)), 1e9, 60))
    reader = RunReader(tmp_path, Config())
    reader.read_all()
    (tmp_path / SECOND).write_bytes(b"".join(wire.scalar("a", 70.0 + s, s, 2e9 + s) for s in (8, 9)))
    reader = RunReader(tmp_path, Config())
    reader.read_all()
    with (tmp_path / FIRST).open("ab") as file:
        file.write(wire.scalar("a", 11.0, 11, 1e9 + 660) + wire.scalar("a", 12.0, 12, 1e9 + 720))
    snapshot = reader.poll(WHOLE)
    assert values_of(snapshot) == [1, 2, 3, 4, 5, 6, 7, 78, 79]
    assert snapshot.series["a"].superseded == 5


@pytest.mark.fault("L10")
def test_a_metric_of_several_sources_appears_once_from_the_best_of_them(tmp_path, wire, read):
    (tmp_path / FIRST).write_bytes(b"".join(wire.scalar("critic/d_acc", 0.123456, s) for s in (1, 2)))
    lines = "".join(f"step:{s} - critic/d_acc:0.123 - critic/only_log:{s}.0\n" for s in (1, 2, 3, 999))
    (tmp_path / "train.log").write_text(lines)
    data = "".join(json.dumps({"step": s, "data": {"critic/d_acc": 0.5, "critic/only_json": s}}) + "\n" for s in (1, 2))
    (tmp_path / "metrics.jsonl").write_text(data)
    snapshot = read(tmp_path)
    assert snapshot.series["critic/d_acc"].kind == "events"
    assert steps_of(snapshot, "critic/d_acc") == [1, 2], "a step that only the log has is not added"
    assert snapshot.series["critic/only_log"].kind == "log"
    assert snapshot.series["critic/only_json"].kind == "jsonl"
    assert snapshot.series["critic/only_log"].source == "train.log"
    assert len(snapshot.series) == 3


def test_the_spellings_of_the_hugging_face_trainer_are_one_metric(tmp_path, wire, read):
    (tmp_path / FIRST).write_bytes(wire.steps("train/loss", [10, 20]) + wire.scalar("eval/accuracy", 0.7, 20))
    state = {
        "log_history": [{"loss": 0.5, "step": 10}, {"eval_accuracy": 0.7, "step": 20}],
        "max_steps": 20,
        "global_step": 20,
    }
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    snapshot = read(tmp_path)
    assert set(snapshot.series) == {"train/loss", "eval/accuracy"}
    assert snapshot.metrics == {metrics.D_LOSS: "train/loss", metrics.D_ACC: "eval/accuracy"}
    assert snapshot.state == "finished"
    assert snapshot.total_steps == 20


def test_the_margin_is_derived_where_both_means_exist_and_grows_with_them(tmp_path, wire):
    path = tmp_path / FIRST
    teacher, student = "critic/teacher_value_mean", "critic/student_value_mean"
    path.write_bytes(b"".join(wire.scalar(teacher, 2.0 * s, s) + wire.scalar(student, 0.5 * s, s) for s in (1, 2)))
    reader = RunReader(tmp_path, Config())
    margin = reader.read_all().metric(metrics.SCORE_DIFF)
    assert margin is not None
    assert (margin.kind, margin.source) == ("derived", f"{teacher} - {student}")
    assert margin.value.tolist() == [1.5, 3.0]
    for data, expected in (
        (wire.scalar(teacher, 6.0, 3), [1.5, 3.0]),
        (wire.scalar(student, 1.0, 3), [1.5, 3.0, 5.0]),
        (wire.scalar(student, math.nan, 4) + wire.scalar(teacher, 1.0, 4), [1.5, 3.0, 5.0, math.nan]),
    ):
        with path.open("ab") as file:
            file.write(data)
        grown = reader.poll(WHOLE).metric(metrics.SCORE_DIFF)
        assert grown is not None
        assert repr(grown.value.tolist()) == repr(expected)
    assert margin.value.tolist() == [1.5, 3.0], "an earlier snapshot stays as it was"


def test_a_logged_margin_is_not_derived_again(tmp_path, wire, read):
    tags = {"rewards/chosen": 2.0, "rewards/rejected": 1.0, "rewards/margins": 7.0}
    (tmp_path / FIRST).write_bytes(b"".join(wire.scalar(f"train/{t}", v, 1) for t, v in tags.items()))
    snapshot = read(tmp_path)
    assert snapshot.metrics[metrics.SCORE_DIFF] == "train/rewards/margins"
    assert snapshot.profile == "trl"
    assert set(snapshot.series) == {f"train/{t}" for t in tags}


def test_the_user_s_aliases_come_first(tmp_path, wire):
    (tmp_path / FIRST).write_bytes(wire.steps("my/acc", [1]) + wire.steps("critic/d_acc", [1]))
    snapshot = RunReader(tmp_path, Config(aliases={"my/acc": metrics.D_ACC})).read_all()
    assert snapshot.metrics[metrics.D_ACC] == "my/acc"
    assert snapshot.series["my/acc"].name == metrics.D_ACC


def test_nothing_new_is_the_same_object_and_something_new_is_another(tmp_path, wire):
    path = tmp_path / FIRST
    path.write_bytes(wire.steps("a", [1, 2]) + wire.steps("b", [1, 2]))
    reader = RunReader(tmp_path, Config())
    first = reader.read_all()
    first = reader.poll(WHOLE)
    assert reader.poll(WHOLE) is first
    with path.open("ab") as file:
        file.write(wire.steps("a", [3]))
    second = reader.poll(WHOLE)
    assert second is not first
    assert second.version > first.version
    assert second.series["b"] is first.series["b"]
    assert steps_of(first) == [1, 2]
    assert steps_of(second) == [1, 2, 3]


@pytest.mark.parametrize(("age", "state"), [(0, "running"), (700, "stalled"), (30 * 86400, "finished")])
def test_a_run_opened_late_is_judged_by_its_newest_mtime_and_never_by_event_time(tmp_path, wire, read, age, state):
    path = tmp_path / FIRST
    path.write_bytes(wire.steps("a", list(range(1, 20)), 9e9, 10.0))
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    snapshot = read(tmp_path)
    assert snapshot.state == state
    assert snapshot.pace == pytest.approx(10.0)


def test_a_slow_run_is_given_five_of_its_paces(tmp_path, wire, read):
    path = tmp_path / FIRST
    then = time.time() - 2000
    path.write_bytes(wire.steps("a", list(range(1, 20)), then - 18 * 600, 600.0))
    os.utime(path, (then, then))
    assert read(tmp_path).state == "running"


@pytest.mark.parametrize("log", [False, True])
def test_a_copy_is_as_old_as_its_newest_record(tmp_path, wire, read, log):
    ended = time.time() - 5 * 365 * 86400
    (tmp_path / FIRST).write_bytes(wire.steps("a", list(range(1, 20)), ended - 180, 10.0))
    if log:
        (tmp_path / "train.log").write_text("Total training steps: 500\nstep:19 - a:1.0\n")
    snapshot = read(tmp_path)
    assert snapshot.last_change == pytest.approx(ended, abs=1)
    assert snapshot.state == ("stalled" if log else "finished")
    assert snapshot.old
    assert silence(snapshot, Settings({}), time.time() + 3600) == []


@pytest.mark.fault("F12")
@pytest.mark.parametrize("behind", [-3000.0, 0.0, 3000.0])
def test_a_clock_that_differs_by_less_than_an_hour_makes_no_copy_of_a_live_run(tmp_path, wire, read, behind):
    (tmp_path / FIRST).write_bytes(wire.steps("a", list(range(1, 20)), time.time() - behind - 180, 10.0))
    snapshot = read(tmp_path)
    assert snapshot.last_change == pytest.approx(time.time(), abs=60)
    assert (snapshot.state, snapshot.old) == ("running", False)


@pytest.mark.parametrize(
    ("age", "timed", "old"),
    [(7200, True, False), (2 * 86400, True, True), (7200, False, True), (300, False, False)],
)
def test_silence_rings_where_a_run_fell_silent_today_and_not_where_that_is_old(tmp_path, wire, read, age, timed, old):
    then = time.time() - age
    path = tmp_path / (FIRST if timed else "train.log")
    lines = "Total training steps: 500\n" + "".join(f"step:{k} - timing_s/step:20.0\n" for k in range(1, 9))
    path.write_bytes(wire.steps("a", list(range(1, 9)), then - 140, 20.0) if timed else lines.encode())
    os.utime(path, (then, then))
    snapshot = read(tmp_path)
    assert snapshot.old is old
    assert bool(silence(snapshot, Settings({}), time.time() + 700)) is (not old and snapshot.state != "finished")


@pytest.mark.fault("F12")
def test_a_copy_that_grows_is_live(tmp_path, wire):
    path = tmp_path / FIRST
    path.write_bytes(wire.steps("a", [1, 2], 1.5e9))
    reader = RunReader(tmp_path, Config())
    assert reader.poll(Budget()).old
    with path.open("ab") as file:
        file.write(wire.scalar("a", 3.0, 3, 1.5e9))
    snapshot = reader.poll(Budget())
    reader.close()
    assert (snapshot.state, snapshot.old) == ("running", False)
    assert len(silence(snapshot, Settings({}), time.time() + 7200)) == 1


def test_nonsense_in_wall_times_leaves_the_pace_alone(tmp_path, wire, read):
    walls = [1e9 + 10 * s for s in range(40)]
    walls[10], walls[20], walls[30] = math.nan, -5.0, 9e12
    (tmp_path / FIRST).write_bytes(b"".join(wire.scalar("a", 1.0, s, w) for s, w in enumerate(walls, 1)))
    assert read(tmp_path).pace == pytest.approx(10.0)


@pytest.mark.fault("F12")
def test_time_stamps_in_the_future_are_said_to_be_so(tmp_path, wire, read):
    (tmp_path / FIRST).write_bytes(wire.steps("a", [1, 2, 3], time.time() + 2 * 86400))
    assert any("in the future" in notice for notice in read(tmp_path).notices)
    (tmp_path / FIRST).write_bytes(wire.steps("a", [1, 2, 3], time.time() - 60))
    assert read(tmp_path).notices == ()


def test_a_profile_of_the_users_names_the_series_of_a_run_that_it_recognises(tmp_path, wire):
    (tmp_path / FIRST).write_bytes(wire.steps("lab/hits", [1, 2, 3]) + wire.steps("lab/gap", [1, 2, 3]))
    mine = ProfileSettings({"lab/hits": metrics.D_ACC, "lab/gap": metrics.SCORE_DIFF}, ("lab/*",))
    reader = RunReader(tmp_path, Config(profiles={"lab": mine}))
    snapshot = reader.read_all()
    reader.close()
    assert (snapshot.profile, snapshot.profile_by) == ("lab", "lab/hits")
    assert snapshot.metrics == {metrics.D_ACC: "lab/hits", metrics.SCORE_DIFF: "lab/gap"}
    assert snapshot.series["lab/hits"].name == metrics.D_ACC


@pytest.mark.parametrize(
    ("walls", "said"),
    [
        ([0.5, 60.0, 120.0], "no dates"),
        ([-5.0, 1.7e9], "no dates"),
        ([1.7e9, 1.7e9 + 60, 1.7e9 - 7200, 1.7e9 - 7100], "jump back by 2.0 hours"),
        ([1.7e9, math.nan, 1.7e9 + 60], ""),
        ([1.7e9, 1.7e9 - 60, 1.7e9 + 60], ""),
    ],
)
@pytest.mark.fault("F12")
def test_stamps_that_are_no_time_of_day_are_a_clock_skew_and_change_no_order(tmp_path, wire, read, walls, said):
    (tmp_path / FIRST).write_bytes(b"".join(wire.scalar("a", float(s), s, w) for s, w in enumerate(walls, 1)))
    snapshot = read(tmp_path)
    assert snapshot.series["a"].step.tolist() == list(range(1, len(walls) + 1))
    assert [said in notice and "clock skew" in notice for notice in snapshot.notices] == ([True] if said else [])
    assert len(snapshot.sessions) == 1


@pytest.mark.fault("F12")
def test_a_run_that_grows_with_stamps_of_the_past_has_a_skewed_clock_and_lives(tmp_path, wire):
    path = tmp_path / FIRST
    path.write_bytes(wire.steps("a", [1, 2], time.time() - 2 * 86400))
    reader = RunReader(tmp_path, Config())
    assert reader.poll(Budget()).notices == ()
    with path.open("ab") as file:
        file.write(wire.scalar("a", 3.0, 3, time.time() - 2 * 86400))
    snapshot = reader.poll(Budget())
    reader.close()
    assert snapshot.step == 3
    assert any("clock skew: time stamps 2 days in the past" in notice for notice in snapshot.notices)
    assert snapshot.state == "running"
    assert snapshot.last_change == pytest.approx(time.time(), abs=60)


def test_files_stamped_from_their_own_start_are_lives_of_one_run_by_the_time_in_their_names(tmp_path, wire, read):
    for began, steps in ((1_700_000_000, range(1, 21)), (1_700_000_100, range(15, 31))):
        name = f"events.out.tfevents.{began}.host.1.0"
        (tmp_path / name).write_bytes(wire.steps("a", list(steps), 1.0, 2.0))
    snapshot = read(tmp_path)
    assert list(snapshot.series) == ["a"]
    assert [(s.first_step, s.last_step) for s in snapshot.sessions] == [(1, 20), (15, 30)]
    assert all(math.isnan(s.started) for s in snapshot.sessions)
    assert not any("writers" in notice for notice in snapshot.notices)


def test_the_torn_end_of_a_file_that_is_not_written_any_more_is_counted_as_a_loss(tmp_path, wire, read):
    path = tmp_path / FIRST
    data = wire.steps("a", [1, 2, 3])
    path.write_bytes(data[:-5])
    assert read(tmp_path).skipped == ()
    os.utime(path, (1e9, 1e9))
    whole = len(wire.steps("a", [1, 2]))
    assert [(s.offset, s.bytes, s.records) for s in read(tmp_path).skipped] == [(whole, len(data) - 5 - whole, 1)]


def test_epochs_are_seams(tmp_path, wire, read):
    data = b"".join(wire.scalar("training/epoch", s // 10, s) for s in range(1, 31))
    (tmp_path / FIRST).write_bytes(data)
    assert [(s.step, s.label) for s in read(tmp_path).seams] == [(10, "epoch 2"), (20, "epoch 3"), (30, "epoch 4")]


def test_both_means_follow_from_what_trl_logs(tmp_path, wire, read):
    """The mean over both sides and the margin, on the same pairs: those of an evaluation are others."""
    data = wire.steps("train/mean_reward", [1, 2, 3]) + wire.steps("eval/mean_reward", [2])
    data += b"".join(wire.scalar(tag, value, step) for tag, value, step in (
        ("train/margin", 1.0, 1), ("train/margin", 2.0, 3), ("eval/margin", 9.0, 2)))  # fmt: skip
    (tmp_path / FIRST).write_bytes(data)
    run = read(tmp_path)
    mean = run.series["train/mean_reward"]
    teacher, student = run.metric("critic/teacher_score_mean"), run.metric("critic/student_score_mean")
    assert (teacher.kind, teacher.step.tolist()) == ("derived", [1, 3])
    assert teacher.value.tolist() == pytest.approx([mean.value[0] + 0.5, mean.value[2] + 1])
    assert student.value.tolist() == pytest.approx([mean.value[0] - 0.5, mean.value[2] - 1])
    assert student.source == "train/mean_reward - train/margin / 2"


def test_no_mean_is_made_of_training_and_evaluation(tmp_path, wire, read):
    (tmp_path / FIRST).write_bytes(wire.steps("train/margin", [1, 2]) + wire.steps("eval/mean_reward", [1, 2]))
    assert read(tmp_path).metric("critic/teacher_score_mean") is None


def test_a_share_of_epochs_done_makes_the_seam_where_the_next_one_begins(tmp_path, wire, read):
    """Hugging Face's trainers log it after the step: 1.0 is the last step of the first epoch, or of the run."""
    data = b"".join(wire.scalar("train/epoch", step / 12, step) for step in range(1, 25))
    (tmp_path / FIRST).write_bytes(data)
    assert [(s.step, s.label) for s in read(tmp_path).seams] == [(13, "epoch 2")]


def test_an_empty_directory_waits_and_finds_what_comes(tmp_path, wire):
    reader = RunReader(tmp_path, Config())
    assert reader.read_all().state == "empty"
    assert reader.poll(WHOLE).step is None
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / FIRST).write_bytes(wire.steps("a", [1, 2]))
    reader._scanner._next_look = 0.0
    assert steps_of(reader.poll(WHOLE)) == [1, 2]


def test_several_runs_are_refused_in_words(tmp_path, wire):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / FIRST).write_bytes(wire.steps("a", [1]))
    reader = RunReader(tmp_path, Config())
    with pytest.raises(RunError, match="2 runs"):
        reader.read_all()
    assert any("choose" in notice for notice in reader.poll(WHOLE).notices)


def _restarting_run(wire, seed: int) -> dict[str, bytes]:
    """Two event files, a log and a JSONL file of a run with a restart, double points and a late one."""
    rng = random.Random(seed)
    tags = ("critic/d_acc", "critic/teacher_score_mean", "critic/student_score_mean", "training/epoch")
    first, second, lines, objects = wire.version(), wire.version(), "", ""
    for s in range(1, 25):
        for tag in tags:
            first += wire.scalar(tag, rng.random(), s, 1.7e9 + 60 * s)
        if s == 9:
            first += wire.scalar(tags[0], 0.5, s - 3, 1.7e9 + 60 * s)
        lines += f"(TaskRunner pid=7) step:{s} - critic/d_acc:{rng.random():.3f} - perf/time:{rng.random()}\n"
        objects += json.dumps({"step": s, "data": {"extra": rng.random()}}) + "\n"
    for s in (*range(15, 24), 22, 23, 24, 25):
        for tag in tags:
            second += wire.scalar(tag, rng.random(), s, 1.7e9 + 9000 + 60 * s)
    return {FIRST: first, SECOND: second, "train.log": lines.encode(), "metrics.jsonl": objects.encode()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 3),
    moves=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 900), st.booleans()), max_size=40),
)
def test_however_the_files_grow_the_snapshot_equals_a_plain_read(tmp_path_factory, wire, content, read, seed, moves):
    folder = tmp_path_factory.mktemp("grown")
    parts = _restarting_run(wire, seed)
    at = dict.fromkeys(parts, 0)
    reader = RunReader(folder, Config())
    for number, amount, polled in moves:
        name = list(parts)[number]
        with (folder / name).open("ab") as file:
            file.write(parts[name][at[name] : at[name] + amount])
        at[name] += amount
        reader._scanner._next_look = 0.0
        if polled:
            reader.poll(Budget(bytes=500, seconds=10))
    snapshot = reader.poll(WHOLE)
    while reader.more:
        snapshot = reader.poll(WHOLE)
    reader.close()
    assert content(snapshot) == content(read(folder))


def test_a_large_file_fills_in_behind_its_end_and_ends_as_a_plain_read_does(tmp_path, wire, content, monkeypatch):
    path = tmp_path / FIRST
    data = b"".join(wire.scalar(f"t{k}", s * 0.1, s, 1e9 + s) for s in range(1, 10_500) for k in range(10))
    restart = b"".join(wire.scalar(f"t{k}", -1.0, s, 2e9 + s) for s in range(9000, 9100) for k in range(10))
    path.write_bytes(data + restart)
    assert path.stat().st_size > 4 << 20
    reader = RunReader(tmp_path, Config())
    first = reader.poll(Budget(bytes=1 << 21, seconds=10))
    assert first.progress < 1
    assert first.sources[0].state == "filling"
    newest = first.series["t0"].last()
    assert newest is not None
    snapshot = first
    progress = [first.progress]
    while reader.more:
        snapshot = reader.poll(Budget(bytes=1 << 19, seconds=10))
        progress.append(snapshot.progress)
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    monkeypatch.setattr("critictui.run.events.TAIL_FIRST_FROM", 1 << 60)
    plain = RunReader(tmp_path, Config()).read_all()
    assert content(snapshot) == content(plain)
    assert [s.first_step for s in snapshot.sessions] == [1, 9000]


@pytest.mark.fault("F17")
def test_tens_of_thousands_of_tags_are_read(tmp_path, wire, read):
    (tmp_path / FIRST).write_bytes(b"".join(wire.scalar(f"tag/{k}", 1.0, 1) for k in range(20_000)))
    assert len(read(tmp_path).series) == 20_000


REAL = Path(os.environ.get("CRITICTUI_DATA", "")) / "real"
PAIRS = (
    ("logs/verl/log-6.txt", "verl_grpo_example_gsm8k_math/trtllm-qwen2-7b-tp4-8gpus", "1772808730"),
    (
        "logs/verl/examples/grpo_trainer/2048_log_20260309_152521.txt",
        "verl_grpo_game2048/trtllm-qwen2-7b-game2048-tp4-8gpus",
        "1773070328",
    ),
)


@pytest.mark.skipif(not REAL.is_dir(), reason="CRITICTUI_DATA does not name the folder with the real runs")
@pytest.mark.parametrize(("log", "folder", "stamp"), PAIRS, ids=[p[2] for p in PAIRS])
@pytest.mark.fault("L03")
def test_a_real_log_and_the_event_file_of_its_run_agree_at_every_step(read, log, folder, stamp):
    """CRITICTUI_DATA. The log prints the double that the event file holds as float32: they differ by half a bit."""
    events = next((REAL / "events/verl/tensorboard_log" / folder).glob(f"*tfevents.{stamp}*"))
    exact, printed = read(events), read(REAL / log)
    assert set(exact.series) == set(printed.series)
    assert printed.step is not None
    compared = 0
    for tag, ours in exact.series.items():
        theirs = printed.series[tag]
        logged = ours.step <= printed.step  # a log may end before the events do
        assert theirs.step.tolist() == ours.step[logged].tolist()
        np.testing.assert_allclose(ours.value[logged], theirs.value, rtol=6e-8)
        compared += len(theirs)
    assert compared > 4000


def test_a_step_costs_the_same_whatever_is_loaded(tmp_path):
    """Calls and bytes, not seconds: `benchmarks.reading` has those."""
    from benchmarks.reading import read_ours, step_bytes

    def calls(path: Path, steps: int) -> int:
        path.write_bytes(b"".join(map(step_bytes, range(1, steps + 1))))
        reader = read_ours(path)
        made = []
        for k in range(1, 9):
            with path.open("ab") as file:
                file.write(step_bytes(steps + k))
            count = 0

            def seen(_frame: object, event: str, _value: object) -> None:
                nonlocal count
                count += event in {"call", "c_call"}

            sys.setprofile(seen)
            reader.poll(WHOLE)
            sys.setprofile(None)
            made.append(count)
        return sorted(made)[len(made) // 2]

    few, many = (calls(tmp_path / f"events.out.tfevents.{steps}", steps) for steps in (50, 5_000))
    assert many < 1.5 * few


def test_an_accuracy_in_per_cent_is_named_and_judged_as_none(tmp_path, read):
    lines = "".join(
        f"step:{n} - critic/d_acc:{49.0 + n % 3} - critic/score_diff:0.01 - critic/grad_norm:1.0\n"
        for n in range(1, 60)
    )
    (tmp_path / "train.log").write_text(lines)
    snapshot = read(tmp_path)
    assert metrics.D_ACC not in snapshot.metrics
    assert "critic/d_acc" in snapshot.series
    assert [said for said in snapshot.notices if "no share between 0 and 1" in said]
    rules = {alert.rule for alert in judge_all(snapshot, Config()).alerts}
    assert "saturation" not in rules
    (tmp_path / "train.log").write_text(lines.replace("d_acc:49.0", "d_acc:0.50").replace("d_acc:5", "d_acc:0.5"))
    assert metrics.D_ACC in read(tmp_path).metrics


def test_one_value_beyond_one_makes_no_accuracy_a_percentage(tmp_path, read):
    values = [0.7, 1.5, *[0.75] * 40]
    (tmp_path / "train.log").write_text("".join(f"step:{n} - critic/d_acc:{v}\n" for n, v in enumerate(values)))
    assert metrics.D_ACC in read(tmp_path).metrics
