"""Alarms of a run watched through faults are those of one batch read of its final bytes: the oracle `alarms`."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection.generator import Fault, Shape, generate
from critictui.config import Config
from critictui.demo.tfrecord import scalar_record
from critictui.health.alert import Alert
from critictui.health.judge import judge_all
from critictui.monitor import watch as watch_module
from critictui.monitor.alarm_line import WITHDRAWN, alert_in
from critictui.monitor.alarm_log import AlarmLog
from critictui.monitor.clock import AwakeClock
from critictui.monitor.side import SideFacts
from critictui.monitor.watch import Watch
from critictui.run.facts import RunSnapshot
from critictui.run.reader import RunReader
from critictui.run.source import Budget

SEEDS = range(150) if os.environ.get("CRITICTUI_LONG") else range(6)
FORMS = {"jsonl": "metrics.jsonl", "log": "train.log", "events": "events.out.tfevents.1700000000.host.1.0"}
FAULTS: tuple[Fault, ...] = ("none", "abrupt", "linear", "memorise", "inversion", "divergence", "oscillation")
BUDGET = Budget(1 << 30, 60.0)
SIDE = SideFacts()


class Clocks:
    """The machine's two clocks, in our hand."""

    def __init__(self) -> None:
        self.wall, self.monotonic = time.time(), time.monotonic()

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clocks:
    held = Clocks()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(time, "time", lambda: held.wall)
    monkeypatch.setattr(time, "monotonic", lambda: held.monotonic)
    monkeypatch.setattr(watch_module, "AwakeClock", lambda: AwakeClock(lambda: held.wall, lambda: held.monotonic))
    return held


def rows_of(seed: int) -> list[tuple[int, dict[str, float]]]:
    """Steps of a run of any kind: gaps, a tag that is missing for a while, NaN, double and late steps, a restart."""
    rng = np.random.default_rng(seed)
    run = generate(Shape(
        seed=seed, fault=FAULTS[rng.integers(len(FAULTS))], steps=150, restarts=int(rng.integers(2)),
        epoch_steps=(None, 40)[rng.integers(2)], gaps=int(rng.integers(3)),
    )).run  # fmt: skip
    rows: dict[int, dict[str, float]] = {}
    for tag, one in run.series.items():
        missing = range(*sorted(rng.integers(0, 150, 2).tolist())) if rng.random() < 0.2 else range(0)
        for step, value in zip(one.step.tolist(), one.value.tolist(), strict=True):
            if step not in missing:
                rows.setdefault(step, {})[tag] = value
    steps = sorted(rows)
    broken = int(rng.integers(20, 150)) if rng.random() < 0.4 else None
    if broken is not None:  # all at once, and for good or for a moment: what a diverging run writes
        for step in steps[broken : broken + int(rng.integers(1, 30))]:
            rows[step] = {tag: value if "lr" in tag else float("nan") for tag, value in rows[step].items()}
    order = steps
    if rng.random() < 0.4:
        died = int(rng.integers(30, len(steps) - 5))
        order = steps[:died] + steps[max(0, died - int(rng.integers(1, 25))) :]
    if rng.random() < 0.3:
        at = int(rng.integers(1, len(order) - 1))
        order = [*order[:at], order[at - 1], *order[at:]]
    return [(step, rows[step]) for step in order]


def record(form: str, step: int, values: dict[str, float]) -> bytes:
    if form == "jsonl":
        return json.dumps({"step": step, "data": values}).encode() + b"\n"
    if form == "log":
        return f"step:{step} - {' - '.join(f'{tag}:{value!r}' for tag, value in values.items())}\n".encode()
    return b"".join(scalar_record(tag, value, step, 1.7e9 + step) for tag, value in values.items())


@dataclass
class Life:
    """A file that is written, faults that pass, and a monitor that looks on and is started again."""

    run_dir: Path
    path: Path
    clocks: Clocks
    config: Config
    watch: Watch
    whole: bytes = b""
    """What the file should hold by now."""

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.clocks.sleep(1.0)
            self.watch.poll(BUDGET, SIDE)

    def append(self, data: bytes) -> None:
        self.whole += data
        with self.path.open("ab") as file:
            file.write(data)
        self.stamp()

    def stamp(self) -> None:
        """Give the file the time of our clock."""
        os.utime(self.path, (self.clocks.wall, self.clocks.wall))

    def put(self, data: bytes, at: int) -> None:
        with self.path.open("r+b") as file:
            file.seek(at)
            file.write(data)

    def restart(self) -> None:
        self.watch.close()
        self.watch = Watch(self.run_dir, self.config)

    def fault(self, rng: np.random.Generator) -> None:
        """One fault, looked at for a while, and gone again."""
        size = len(self.whole)
        at = int(rng.integers(0, max(1, size - 400)))
        seconds = int(rng.integers(1, 12))
        match int(rng.integers(7)):
            case 0:
                self.put(b"\0" * min(200, size - at), at)
                self.look(seconds)
                self.put(self.whole[at : at + 200], at)
            case 1:
                self.put(bytes([self.whole[at] ^ 1 << int(rng.integers(8))]), at)
                self.look(seconds)
                self.put(self.whole[at : at + 1], at)
            case 2:
                self.path.unlink()
                self.look(seconds)
                self.path.write_bytes(self.whole)
                self.stamp()
            case 3:  # copied anew, slowly
                self.path.write_bytes(self.whole[: size // 2])
                self.look(seconds)
                self.path.write_bytes(self.whole)
                self.stamp()
            case 4:
                self.clocks.wall += float(rng.choice([172800.0, -86400.0, 3600.0]))
            case 5:
                self.restart()
            case 6:
                self.clocks.sleep(float(rng.choice([300.0, 40000.0])))
        self.look()


def lines(run_dir: Path) -> list[dict[str, object]]:
    path = run_dir / "critictui" / "alarms.jsonl"
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line] if path.exists() else []


def standing(log: list[dict[str, object]]) -> dict[str, tuple[object, object]]:
    """How each alarm stands at the end, without those that were withdrawn; nothing may be written twice."""
    now: dict[str, tuple[object, object]] = {}
    said: set[tuple[object, ...]] = set()
    for line in log:
        key, change = str(line["key"]), (line["key"], line["state"], line["severity"])
        assert change not in said, f"doubled: {change}"
        said.add(change)
        now[key] = (line["state"], line["severity"])
        if line["state"] == WITHDRAWN:
            del now[key]
            said = {one for one in said if one[0] != key}
    return now


def batch(path: Path) -> tuple[RunSnapshot, dict[str, tuple[object, object]]]:
    reader = RunReader(path, Config())
    run = reader.read_all()
    reader.close()
    alerts = judge_all(run, Config()).alerts
    return run, {alert.key: (alert.state, alert.severity) for alert in alerts if alert.state != "pending"}


@pytest.mark.fault("S12")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_alarms_of_a_run_watched_through_faults_are_those_of_a_batch_replay(
    seed: int, form: str, clocks: Clocks, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed + 1000)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    life = Life(run_dir, run_dir / FORMS[form], clocks, Config(), Watch(run_dir, Config()))
    data = b"".join(record(form, step, values) for step, values in rows_of(seed))
    edges = sorted({*rng.integers(1, len(data), 40).tolist(), len(data)})
    done = 0
    for edge in edges:
        life.append(data[done:edge])
        done = edge
        life.look(int(rng.integers(1, 4)))
        if rng.random() < 0.2:
            life.fault(rng)
    life.look(40)
    life.watch.close()
    assert life.path.read_bytes() == data
    run, expected = batch(life.path)
    assert sum(len(series) for series in run.series.values()) > 500
    assert standing(lines(run_dir)) == expected


@pytest.mark.fault("S12")
def test_a_nan_in_all_metrics_of_a_step_that_is_written_in_pieces_is_one_alarm(clocks: Clocks, tmp_path: Path) -> None:
    tags = ["critic/teacher_score_mean", "critic/student_score_mean", "critic/d_acc", "critic/d_loss"]
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    path = run_dir / FORMS["events"]
    path.write_bytes(b"".join(scalar_record(tag, 0.5 + step / 1e3, step, 1.7e9) for step in range(60) for tag in tags))
    life = Life(run_dir, path, clocks, Config(), Watch(run_dir, Config()), path.read_bytes())
    life.look(3)
    for tag in tags:
        life.append(scalar_record(tag, float("nan"), 60, 1.7e9))
        life.look(4)
    life.look(2)
    assert [line["rule"] for line in lines(run_dir)] == ["non-finite"]
    assert standing(lines(run_dir)) == batch(path)[1]


@pytest.mark.fault("S12")
def test_a_step_that_stays_half_written_is_judged_all_the_same(clocks: Clocks, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    path = run_dir / FORMS["events"]
    tags = ["critic/d_acc", "critic/d_loss"]
    path.write_bytes(b"".join(scalar_record(tag, 0.7, step, 1.7e9) for step in range(60) for tag in tags))
    life = Life(run_dir, path, clocks, Config(), Watch(run_dir, Config()))
    life.look(3)
    life.append(scalar_record("critic/d_acc", float("nan"), 60, 1.7e9))
    life.look(10)
    assert lines(run_dir) == []
    life.look(30)
    assert [line["rule"] for line in lines(run_dir)] == ["non-finite"]


def collapse(first: int, last: int, *, from_step: int) -> bytes:
    """Steps of a run that turns to NaN."""
    return b"".join(
        json.dumps({"step": s, "critic/d_acc": 0.75 if s < from_step else float("nan")}).encode() + b"\n"
        for s in range(first, last + 1)
    )


@pytest.mark.fault("S12")
def test_an_alarm_whose_steps_a_restart_wrote_again_is_withdrawn_also_by_a_monitor_started_since(
    clocks: Clocks, tmp_path: Path
) -> None:
    for between in (lambda life: None, Life.restart):
        run_dir = tmp_path / f"run-{between.__name__}"
        run_dir.mkdir()
        path = run_dir / FORMS["jsonl"]
        life = Life(run_dir, path, clocks, Config(), Watch(run_dir, Config()))
        life.append(collapse(1, 60, from_step=55))
        life.look(3)
        assert [line["state"] for line in lines(run_dir)] == ["firing"]
        between(life)
        life.append(collapse(40, 80, from_step=1000))
        life.look(3)
        assert [line["state"] for line in lines(run_dir)] == ["firing"]
        life.look(40)
        assert [line["state"] for line in lines(run_dir)] == ["firing", WITHDRAWN]
        assert standing(lines(run_dir)) == batch(path)[1] == {}
        life.watch.close()


@pytest.mark.fault("S12")
def test_a_file_that_is_away_for_a_moment_neither_ends_an_alarm_nor_fires_it_anew(
    clocks: Clocks, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    path = run_dir / FORMS["jsonl"]
    life = Life(run_dir, path, clocks, Config(), Watch(run_dir, Config()))
    life.append(collapse(1, 60, from_step=55))
    life.look(3)
    before = lines(run_dir)
    for size in (0, 300, len(life.whole)):
        path.write_bytes(life.whole[:size])
        life.look(8)
    assert lines(run_dir) == before
    assert len(before) == 1


@pytest.mark.fault("S12")
def test_a_run_that_was_silent_and_goes_on_is_stalled_and_then_is_not(clocks: Clocks, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    life = Life(run_dir, run_dir / FORMS["jsonl"], clocks, Config(), Watch(run_dir, Config()))
    life.append(collapse(1, 50, from_step=1000))
    life.look(700)
    life.look(2000)
    life.append(collapse(51, 60, from_step=1000))
    life.look(10)
    assert [(line["rule"], line["state"]) for line in lines(run_dir)] == [
        ("stalled", "firing"),
        ("stalled", "resolved"),
    ]


@pytest.mark.fault("S12")
def test_too_little_data_is_said_and_no_alarm(clocks: Clocks, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    life = Life(run_dir, run_dir / FORMS["jsonl"], clocks, Config(), Watch(run_dir, Config()))
    for last in range(1, 12):
        life.append(json.dumps({"step": last, "critic/d_acc": 0.5}).encode() + b"\n")
        life.look(3)
        assert life.watch.judgement.verdict == "unknown"
        assert life.watch.judgement.waiting
    assert lines(run_dir) == []


@pytest.mark.fault("S12")
@pytest.mark.parametrize("period", [1, 2, 3, 5, 9])
def test_a_metric_that_flaps_rings_a_few_times_and_not_at_every_turn(
    clocks: Clocks, tmp_path: Path, period: int
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    path = run_dir / FORMS["jsonl"]
    life = Life(run_dir, path, clocks, Config(), Watch(run_dir, Config()))
    rng = np.random.default_rng(period)
    for step in range(1, 301):
        low = step > 80 and step // period % 2 == 0
        noise = rng.normal(0, 0.01, 2)
        values = {"critic/d_acc": 0.76 - 0.16 * low + noise[0], "critic/score_diff": 3.0 - 2.5 * low + 5 * noise[1]}
        life.append(json.dumps({"step": step, "data": values}).encode() + b"\n")
        life.look()
    life.look(40)
    fired = [line for line in lines(run_dir) if line["state"] == "firing"]
    assert 1 <= len(fired) <= 8, [(line["rule"], line["fired_step"]) for line in fired]
    assert standing(lines(run_dir)) == batch(path)[1]


def alarm(number: int = 1) -> Alert:
    return Alert("drift", "warning", "firing", f"m/{number}", 3, 5, None, 6, 0.1, 1.0, "it drifts", "look")


@pytest.mark.fault("S12")
def test_an_alarm_that_comes_back_after_it_was_withdrawn_is_written_again(clocks: Clocks, tmp_path: Path) -> None:
    log = AlarmLog(tmp_path)
    assert log.record([alarm()]) == [alarm()]
    assert log.record([]) == []
    clocks.sleep(31)
    assert [(one.key, one.state) for one in log.record([])] == [(alarm().key, "resolved")]
    assert log.record([]) == []
    assert log.record([alarm()]) == [alarm()]
    assert AlarmLog(tmp_path).record([alarm()]) == []
    assert [line["state"] for line in lines(tmp_path)] == ["firing", WITHDRAWN, "firing"]


@pytest.mark.fault("S12")
@pytest.mark.parametrize(("mine", "theirs"), [("", "0123456789"), ("0123456789", ""), ("0123456789", "9876543210")])
def test_who_judges_by_other_thresholds_does_not_withdraw_what_was_written(
    clocks: Clocks, tmp_path: Path, mine: str, theirs: str
) -> None:
    AlarmLog(tmp_path, thresholds=theirs).record([alarm()], (0, 6))
    for started_later, withdrawn in ((mine, []), (theirs, [WITHDRAWN])):
        log = AlarmLog(tmp_path, thresholds=started_later)
        log.record([], (0, 9))
        clocks.sleep(31)
        log.record([], (0, 10))
        assert [line["state"] for line in lines(tmp_path)] == ["firing", *withdrawn]


@pytest.mark.fault("S12")
def test_two_monitors_of_which_one_lags_withdraw_nothing_of_the_other(clocks: Clocks, tmp_path: Path) -> None:
    ahead, behind = AlarmLog(tmp_path), AlarmLog(tmp_path)
    ahead.record([alarm()], (0, 6))
    for _ in range(5):
        clocks.sleep(20)
        behind.record([alarm(2)], (0, 4))
        ahead.record([alarm(), alarm(2)], (0, 6))
    assert WITHDRAWN not in {line["state"] for line in lines(tmp_path)}
    assert behind.record([alarm(), alarm(2)], (0, 6)) == []


@pytest.mark.parametrize("spoil", [
    {"key": "0:drift:m/1:6"}, {"severity": "dire"}, {"state": "pending"}, {"fired_step": True}, {"fired_step": 1 << 70},
    {"rule": 3}, {"key": "x:drift:m/1:5"}, {"message": None},
])  # fmt: skip
def test_a_line_that_is_no_alarm_of_ours_is_not_taken_for_one(spoil: dict[str, object]) -> None:
    line = {"key": alarm().key, **alarm().to_json()}
    assert alert_in(line) == alarm()
    assert alert_in({**line, **spoil}) is None


@pytest.mark.fault("S12")
def test_a_pipe_in_the_place_of_the_alarm_log_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "critictui").mkdir()
    os.mkfifo(tmp_path / "critictui" / "alarms.jsonl")
    log = AlarmLog(tmp_path)
    assert log.record([alarm()]) == [alarm()]
    assert log.path.is_relative_to(tmp_path / "state")
    assert log.notice == ""


@pytest.mark.fault("S12")
def test_of_an_alarm_log_that_is_too_large_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "critictui" / "alarms.jsonl"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(3 << 30)
        file.seek(0, 2)
        file.write(b"\n" + json.dumps({"key": alarm().key, **alarm().to_json()}).encode() + b"\n")
    log = AlarmLog(tmp_path)
    assert log.record([alarm()]) == []
    assert path.stat().st_size > 3 << 30
