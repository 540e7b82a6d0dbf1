"""A recorded run plays without torch, and holds what the training wrote."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from critictui.config import Config
from critictui.demo.command import live_run, missing_packages
from critictui.demo.recording import LiveReplay, load_recording, play
from critictui.demo.scenario import SCENARIOS, DemoError, training_for
from critictui.demo.tfrecord import scalar_record, version_record
from critictui.run.demo_mark import demo_kind, mark_demo
from critictui.run.reader import RunReader

WITHOUT_TORCH = """
import json, sys
for name in ("torch", "transformers", "tokenizers", "tensorboard", "pyarrow"):
    sys.modules[name] = None
from pathlib import Path
from critictui.demo.command import run_demo
said = []
status = run_demo("collapse", Path(sys.argv[1]), watch=None, say=said.append, speed=100000.0)
print(json.dumps([status, said]))
"""


def test_without_the_extra_the_demo_says_so_in_one_line_and_replays(
    tmp_path: Path, read_events: Callable[[Path], dict]
) -> None:
    run = tmp_path / "run"
    out = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(run)], capture_output=True, text=True, check=True, timeout=60
    )
    status, said = json.loads(out.stdout)
    assert status == 0
    assert "torch" in said[0]
    assert "pip install 'critictui[score]'" in said[0]
    assert "\n" not in said[0]
    (file,) = (run / "tensorboard").iterdir()
    assert read_events(file)["critic/d_acc"][0].tolist() == list(range(1, 241))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_has_a_recording_that_plays_back_exactly(
    scenario: str, recorded_run: Callable[..., Path], read_events: Callable[[Path], dict]
) -> None:
    recording = load_recording(scenario)
    run = recorded_run(scenario)
    files = sorted((run / "tensorboard").iterdir(), key=lambda path: int(path.name.rsplit(".", 1)[1]))
    assert len(files) == len(recording.sessions)
    for file, session in zip(files, recording.sessions, strict=True):
        series = read_events(file)
        assert set(series) == set(session.values)
        for tag, (steps, values) in series.items():
            assert steps.tolist() == list(session.steps)
            np.testing.assert_array_equal(values, np.array(session.values[tag], np.float32))
    lines = [line for line in (run / "train.log").read_text().splitlines() if "\x1b[0m step:" in line]
    assert len(lines) == sum(len(session.steps) for session in recording.sessions)


def test_the_recordings_are_small() -> None:
    folder = Path(sys.modules["critictui.demo.recording"].__file__ or "").parent / "recordings"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000


def test_our_records_are_byte_for_byte_what_tensorboard_writes(tmp_path: Path) -> None:
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2")
    summary_pb2 = pytest.importorskip("tensorboard.compat.proto.summary_pb2")
    writer = pytest.importorskip("tensorboard.summary.writer.record_writer")
    value = summary_pb2.Summary.Value(tag="critic/d_acc", simple_value=0.75)
    event = event_pb2.Event(wall_time=12.5, step=300, summary=summary_pb2.Summary(value=[value]))
    version = event_pb2.Event(wall_time=12.5, file_version="brain.Event:2")
    with (tmp_path / "theirs").open("wb") as handle:
        records = writer.RecordWriter(handle)
        records.write(version.SerializeToString())
        records.write(event.SerializeToString())
        handle.flush()
    ours = version_record(12.5) + scalar_record("critic/d_acc", 0.75, 300, 12.5)
    assert ours == (tmp_path / "theirs").read_bytes()


def test_a_replay_stops_when_it_is_told_to(tmp_path: Path) -> None:
    replay = LiveReplay(load_recording("healthy"), tmp_path, speed=0.001, steps=None)
    replay.stop()
    assert replay.wait(0)


def test_steps_limit_a_replay(tmp_path: Path) -> None:
    play(load_recording("healthy"), tmp_path, speed=0, steps=5, stopping=threading.Event())
    assert sum("\x1b[0m step:" in line for line in (tmp_path / "train.log").read_text().splitlines()) == 5


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(DemoError, match="not an empty directory"), live_run(directory=tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_an_unknown_scenario_is_named_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="healthy, collapse"):
        training_for("nope", tmp_path)


def test_a_pooling_is_refused_where_there_is_no_choice_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(DemoError, match="--trainer verl"),
        live_run(directory=tmp_path / "a", trainer="trl", pooling="last"),
    ):
        pass
    monkeypatch.setattr("critictui.demo.command.missing_packages", lambda _: ["torch"])
    with (
        pytest.raises(DemoError, match="nothing of it is recorded"),
        live_run(directory=tmp_path / "b", pooling="last"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_nothing_is_missing_where_the_extra_is_installed() -> None:
    pytest.importorskip("torch")
    assert missing_packages("verl") == []


def test_a_demo_says_in_its_run_directory_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critictui.demo.command.missing_packages", lambda _: ["torch"])
    with live_run("healthy", tmp_path / "run", steps=8):
        assert demo_kind(tmp_path / "run") == "recording"
    assert demo_kind(tmp_path) == ""
    (tmp_path / "critictui-demo.json").write_text('{"kind": ["live"]}')
    assert demo_kind(tmp_path) == ""
    mark_demo(tmp_path, "live", "healthy")
    reader = RunReader(tmp_path, Config())
    assert reader.read_all().demo == "live"
    reader.close()
