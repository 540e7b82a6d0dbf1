"""JSONL files of metrics: every trainer's shape, damage counted, and the same scalars however the bytes come."""

from __future__ import annotations

import json
import math
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critictui.run.json_records import flatten, objects, record
from critictui.run.jsonl import LONGEST, JsonLines, looks_like
from critictui.run.source import Budget, Reading


class Reader:
    """Polls a source and keeps what the store would keep."""

    def __init__(self, path: Path) -> None:
        self.source = JsonLines(path, path.name)
        self.points: list[tuple[str, int, float, int]] = []
        self.times: list[float] = []
        self.lost: dict[str, tuple[int, int]] = {}
        self.last: Reading | None = None

    def poll(self, budget: Budget | None = None) -> Reader:
        while True:
            reading = self.last = self.source.poll(budget or Budget(1 << 20, 5))
            if reading.reset:
                self.points, self.lost, self.times = [], {}, []
            for s in reading.scalars:
                rows = zip(s.tag.tolist(), s.step.tolist(), s.value.tolist(), s.position.tolist(), strict=True)
                self.points += [(s.tags[tag], step, value, at) for tag, step, value, at in rows]
                self.times += s.wall_time.tolist()
            for skipped in reading.skipped:
                records, size = self.lost.get(skipped.reason, (0, 0))
                self.lost[skipped.reason] = (records + skipped.records, size + skipped.bytes)
            if not reading.more:
                return self

    def values(self) -> list[tuple[str, int, float]]:
        return [(tag, step, value) for tag, step, value, _ in sorted(self.points, key=lambda p: p[3])]


def read(path: Path, *lines: object) -> Reader:
    path.write_bytes(b"".join((x if isinstance(x, bytes) else json.dumps(x).encode()) + b"\n" for x in lines))
    return Reader(path).poll()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"step": 3, "data": {"critic/d_acc": 0.6, "x": 3}}, [("critic/d_acc", 3, 0.6), ("x", 3, 3.0)]),
        ({"step": 1000, "train/return": 42.0, "episodes": 1}, [("train/return", 1000, 42.0), ("episodes", 1000, 1.0)]),
        ({"current_steps": 10, "total_steps": 500, "loss": 0.7, "elapsed_time": "0:01"}, [("loss", 10, 0.7)]),
        (
            {"_step": 4, "_timestamp": 1.7e9, "train": {"loss": 0.5, "deep": {"x": 1}}},
            [("train/loss", 4, 0.5), ("train/deep/x", 4, 1.0)],
        ),
        ({"iteration": 2.0, "ok": True, "name": "x", "list": [1], "a": 1}, [("a", 2, 1.0)]),
        (
            {"tag": "critic/d_acc", "step": 5, "wall_time": 1.7e9, "value": "nan", "source": "x", "session": 0},
            [("critic/d_acc", 5, math.nan)],
        ),
        (
            {"Loss/D": {"num": 8, "mean": 0.25, "std": 0.5}, "Progress/kimg": {"num": 1, "mean": 4.032, "std": 0.0}},
            [("Loss/D", 4, 0.25), ("Loss/D/num", 4, 8.0), ("Loss/D/std", 4, 0.5),
             ("Progress/kimg", 4, 4.032), ("Progress/kimg/num", 4, 1.0), ("Progress/kimg/std", 4, 0.0)],
        ),
        (
            {"results": {"fid50k_full": 7.5}, "metric": "fid50k_full", "snapshot_pkl": "network-snapshot-000040.pkl"},
            [("Metrics/fid50k_full", 40, 7.5)],
        ),
    ],
)  # fmt: skip
def test_each_trainers_line_is_read(file: Path, line: object, expected: list[tuple[str, int, float]]) -> None:
    assert list(map(repr, read(file, line).values())) == list(map(repr, expected))


def test_times_are_kept_where_there_are_any(file: Path) -> None:
    assert read(file, {"step": 1, "a": 1, "timestamp": 1.7e9}).times == [1.7e9]
    assert math.isnan(read(file, {"step": 1, "a": 1}).times[0])


def test_nan_and_infinity_tokens_are_read_and_null_is_counted(file: Path) -> None:
    reader = read(file, b'{"step": 1, "a": NaN, "b": Infinity, "c": -Infinity, "d": null}')
    values = [v for _, _, v in reader.values()]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]
    assert reader.lost == {"values that are not numbers": (1, 0)}


def test_the_length_of_the_run_and_its_end_are_known(file: Path) -> None:
    reader = read(file, {"current_steps": 499, "total_steps": 500, "loss": 1})
    assert reader.last is not None
    assert (reader.last.hints.total_steps, reader.last.hints.finished) == (500, False)
    reader = read(file, {"current_steps": 500, "total_steps": 500, "loss": 1})
    assert reader.last is not None
    assert reader.last.hints.finished
    assert reader.last.hints.profile == "llama-factory"


def test_lines_that_two_writers_glued_are_both_read_and_the_damage_counted(file: Path) -> None:
    one, two = b'{"step":1,"data":{"a":1.5}}', b'{"step":2,"data":{"a":2.5}}'
    reader = read(file, one + b"{" + two, two + one)
    assert reader.values() == [("a", 1, 1.5), ("a", 2, 2.5), ("a", 2, 2.5), ("a", 1, 1.5)]
    assert reader.lost == {"damaged JSON": (1, 1)}


def test_the_inside_of_a_broken_object_is_not_taken_for_one(file: Path) -> None:
    reader = read(file, b'{"step":1,"dat\xff"{"a": 1.5}}', b'{"a": 9}}{"b": 1}', {"step": 2, "a": 2})
    assert [p for p in reader.values() if p[1] == 2 or p[0] == "a"][-1] == ("a", 2, 2.0)
    assert ("b", 2, 1.0) not in reader.values()
    assert "damaged JSON" in reader.lost


def test_without_a_step_lines_are_counted_and_that_is_said(file: Path) -> None:
    reader = read(file, {"loss": 0.5}, {"loss": 0.4})
    assert reader.values() == [("loss", 1, 0.5), ("loss", 2, 0.4)]
    assert reader.last is not None
    assert "name no step" in reader.last.notices[0]


def test_a_bomb_of_brackets_is_damage_and_the_next_line_is_read(file: Path) -> None:
    bombs = [
        b'{"step":1,"a":' + b"[" * 100_000,
        b'{"a":' * 20_000,
        b"[" * 100_000,
        b'{"step":1,"a":' + b"9" * 5000 + b"}",
    ]
    reader = read(file, *bombs, {"step": 2, "a": 2})
    assert ("a", 2, 2.0) in reader.values()
    assert len(reader.values()) == 1
    assert reader.lost


def test_a_line_that_is_too_long_is_counted_whole_however_it_comes(tmp_path: Path) -> None:
    text = b'{"step":1,"a":1,"x":"' + b"y" * (LONGEST + 10) + b'"}\n{"step":2,"a":2}\n'
    batch = tmp_path / "a.jsonl"
    batch.write_bytes(text)
    pieces = Reader(tmp_path / "b.jsonl")
    with (tmp_path / "b.jsonl").open("wb", buffering=0) as out:
        for at in range(0, len(text), 50_000):
            out.write(text[at : at + 50_000])
            pieces.poll()
    whole = Reader(batch).poll()
    assert whole.values() == pieces.values() == [("a", 2, 2.0)]
    assert whole.lost == pieces.lost == {f"a line longer than {LONGEST >> 10} KiB": (1, text.index(b"\n") + 1)}


def test_fed_in_any_pieces_it_reads_the_same(tmp_path: Path) -> None:
    text = b"".join(json.dumps({"step": i, "data": {"a": i / 7, "b": None}}).encode() + b"\r\n" for i in range(40))
    text += b'{"step":40,"data":{"a":1}}{{"step":41,"data":{"a":2}}\n\n{"step": 42, "a": 1}'
    whole = tmp_path / "whole.jsonl"
    whole.write_bytes(text)
    expected = Reader(whole).poll()
    random.seed(3)
    for size in (1, 9, 200):
        path = tmp_path / f"{size}.jsonl"
        reader = Reader(path)
        with path.open("wb", buffering=0) as out:
            at = 0
            while at < len(text):
                step = random.randint(1, size)
                out.write(text[at : at + step])
                at += step
                reader.poll()
        assert reader.points == expected.points
        assert reader.lost == expected.lost


def test_with_hardly_any_time_each_poll_still_gets_on(file: Path) -> None:
    expected = read(file, *({"step": i, "a": i / 3} for i in range(200))).points
    reader = Reader(file).poll(Budget(bytes=512, seconds=0.0))
    assert reader.points == expected


def test_what_was_not_parsed_yet_does_not_count_as_read(file: Path) -> None:
    file.write_text("".join(json.dumps({"step": n, "loss": 0.1}) + "\n" for n in range(1, 200)))
    source = JsonLines(file, file.name)
    first = source.poll(Budget(1 << 20, 0.0))
    assert first.more
    assert first.facts.read < first.facts.size
    while source.poll(Budget(1 << 20, 5)).more:
        pass
    assert source.poll(Budget()).facts.read == file.stat().st_size


def test_the_end_of_a_large_file_comes_first(file: Path) -> None:
    file.write_bytes(b"".join(b'{"step":%d,"a":1,"x":"%s"}\n' % (i, b"x" * 9000) for i in range(2000)))
    source = JsonLines(file, "m")
    assert source.poll(Budget(1 << 20, 5)).scalars[0].step[0] > 1800
    assert [s for _, s, _ in Reader(file).poll().values()] == list(range(2000))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]":,ab019.eE-+ntrufalsestep\\', max_size=120))
def test_any_line_gives_objects_or_losses(line: str) -> None:
    for value, lost in objects(line):
        assert (value is None) == (lost > 0)
        if value is not None:
            record(value)


numbers = st.floats() | st.sampled_from([0, -7, 10**400, -(10**400), None, True, "x"])
trees = st.recursive(
    numbers, lambda x: st.lists(x, max_size=2) | st.dictionaries(st.sampled_from("ab/"), x), max_leaves=8
)


@given(st.dictionaries(st.text(max_size=3), trees, max_size=4))
def test_any_object_flattens_to_floats(value: dict[str, object]) -> None:
    pairs, refused = flatten(value)
    assert all(isinstance(tag, str) and isinstance(v, float) for tag, v in pairs)
    assert refused >= 0


def test_metrics_are_told_from_other_jsonl() -> None:
    assert looks_like(b'{"step": 1, "data": {}}\n', "x.jsonl")
    assert looks_like(b'\xef\xbb\xbf{"current_steps": 1, "loss": 1}\n', "trainer_log.jsonl")
    assert looks_like(b'{"Loss/D": {"num": 1}, "Progress/tick": {"num": 1}}\n', "stats.jsonl")
    assert not looks_like(b'{"prompt": "a", "teacher": {}}\n', "data.jsonl")
    assert not looks_like(b'{"step": 1, "input": "a"}\n', "rollout_1.jsonl")
    assert not looks_like(b"{'loss': 1}\n", "x.jsonl")
    assert not looks_like(b'{"step": 1}\n', "x.py")
    assert not looks_like(b'{\n "step": 1\n}', "config.json")
    assert not looks_like(b"", "x.jsonl")


def _real() -> list[Path]:
    root = os.environ.get("CRITICTUI_DATA")
    found = (Path(root) / "real").rglob("*.jsonl") if root else ()
    return sorted(path for path in found if path.parent.name != "critictui")


@pytest.mark.skipif(not _real(), reason="CRITICTUI_DATA is not set: the real files are not here")
@pytest.mark.parametrize("path", _real(), ids=lambda p: p.name[:50])
def test_every_line_of_the_real_files_is_read(path: Path) -> None:
    lines = [x for line in path.read_text().split("\n")[:-1] for x in line.replace("}}{{", "}}\n{").split("\n") if x]
    steps = []
    for value in map(json.loads, lines):
        if "step" in value:
            steps.append(value["step"])
        elif "Progress/kimg" in value:
            steps.append(math.floor(value["Progress/kimg"]["mean"]))
        else:
            steps.append(int(value["snapshot_pkl"].split("-")[-1].split(".")[0]))
    reader = Reader(path).poll(Budget())
    seen = dict.fromkeys((at, step) for _, step, _, at in sorted(reader.points, key=lambda p: p[3]))
    assert [step for _, step in seen] == steps
    glued = path.read_text().count("}}{{")
    assert reader.lost == ({"damaged JSON": (glued, glued)} if glued else {})
