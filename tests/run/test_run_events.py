from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from critictui.run.events import EventFile
from critictui.run.source import Budget, Reading

Point = tuple[str, int, float, float]
WHOLE = Budget(bytes=1 << 30, seconds=60)


class Follower:
    """What a store would hold of one event file: points by position, forgotten at a reset."""

    def __init__(self, path: Path, tail_first_from: int = 4 << 20) -> None:
        self.file = EventFile(path, path.name, tail_first_from)
        self.points: list[tuple[int, Point]] = []
        self.lost: list[tuple[int, int, str]] = []
        self.last: Reading | None = None

    def poll(self, budget: Budget = WHOLE) -> Reading:
        reading = self.last = self.file.poll(budget)
        if reading.reset:
            self.points, self.lost = [], []
        for s in reading.scalars:
            for tag, step, wall, value, position in zip(s.tag, s.step, s.wall_time, s.value, s.position, strict=True):
                self.points.append((int(position), (s.tags[tag], int(step), float(wall), float(value))))
        self.lost += [(k.offset, k.bytes, k.reason) for k in reading.skipped]
        return reading

    def read(self, budget: Budget = WHOLE) -> Follower:
        while self.poll(budget).more:
            pass
        self.file.close()
        return self

    @property
    def state(self) -> tuple[list[str], list[tuple[int, int, str]]]:
        """Comparable with ==, NaN included."""
        return [repr(point) for point in sorted(self.points, key=lambda p: p[0])], sorted(self.lost)


def plain(path: Path) -> Follower:
    return Follower(path, 1 << 40).read()


@pytest.fixture
def three(wire) -> bytes:
    return wire.version() + b"".join(wire.scalar("critic/d_acc", v, s) for s, v in ((1, 0.5), (2, 0.75), (3, 1.0)))


@pytest.mark.fault("F01")
def test_a_file_cut_at_every_byte_gives_the_points_before_the_cut_and_then_all(tmp_path, three, wire):
    path = tmp_path / "events.out.tfevents.1"
    ends = np.cumsum([len(wire.version())] + [len(wire.scalar("critic/d_acc", 1.0, s)) for s in (1, 2, 3)])
    for cut in range(len(three) + 1):
        path.write_bytes(three[:cut])
        follower = Follower(path)
        reading = follower.poll()
        whole = int(np.searchsorted(ends, cut, side="right"))
        assert len(follower.points) == max(0, whole - 1)
        assert reading.skipped == ()
        assert reading.facts.state in {"waiting", "live"}
        with path.open("ab") as file:
            file.write(three[cut:])
        follower.poll()
        assert follower.state == plain(path).state
        assert [p[1][3] for p in follower.points] == [0.5, 0.75, 1.0]


@pytest.mark.fault("F03")
def test_a_damaged_payload_loses_exactly_its_record_and_is_counted(tmp_path, wire):
    records = [wire.version(), *(wire.scalar("a", float(s), s) for s in range(1, 60))]
    middle = sum(map(len, records[:30]))
    for byte in range(12, len(records[30])):
        damaged = bytearray(b"".join(records))
        damaged[middle + byte] ^= 0x10
        path = tmp_path / "events.out.tfevents.1"
        path.write_bytes(damaged)
        follower = plain(path)
        assert [p[1][1] for p in follower.points] == [s for s in range(1, 60) if s != 30]
        assert [(offset, size) for offset, size, _ in follower.lost] == [(middle, len(records[30]))]


@pytest.mark.fault("F04")
def test_garbage_in_the_middle_is_stepped_over_to_the_next_record_whose_checksums_hold(tmp_path, wire):
    first, rest = wire.version() + wire.steps("a", [1, 2, 3]), wire.steps("a", [4, 5, 6])
    for length in (1, 7, 16, 4096, 700_000):
        garbage = np.random.default_rng(length).bytes(length)
        path = tmp_path / "events.out.tfevents.1"
        path.write_bytes(first + garbage + rest)
        follower = plain(path)
        assert [p[1][1] for p in follower.points] == [1, 2, 3, 4, 5, 6]
        assert [(offset, size) for offset, size, _ in follower.lost] == [(len(first), length)]


def test_nothing_is_stepped_over_at_the_end_because_it_may_yet_be_filled(tmp_path, wire):
    path = tmp_path / "events.out.tfevents.1"
    good, late = wire.version() + wire.steps("a", [1, 2]), wire.steps("a", [3])
    path.write_bytes(good + bytes(len(late)))
    follower = Follower(path)
    reading = follower.poll()
    assert [p[1][1] for p in follower.points] == [1, 2]
    assert reading.skipped == ()
    assert "no whole record yet" in reading.facts.message
    with path.open("r+b") as file:
        file.seek(len(good))
        file.write(late)
    follower.poll()
    assert [p[1][1] for p in follower.points] == [1, 2, 3]
    assert follower.lost == []


def test_a_hole_between_records_is_counted_and_taken_back_when_it_is_filled(tmp_path, wire):
    path = tmp_path / "events.out.tfevents.1"
    good, late, after = wire.version() + wire.steps("a", [1, 2]), wire.steps("a", [3]), wire.steps("a", [4])
    path.write_bytes(good + bytes(len(late)) + after)
    follower = Follower(path)
    follower.poll()
    assert [p[1][1] for p in follower.points] == [1, 2, 4]
    assert len(follower.lost) == 1
    with path.open("r+b") as file:
        file.seek(len(good))
        file.write(late)
    follower.poll()
    assert [p[1][1] for p in follower.points] == [1, 2, 3, 4]
    assert follower.lost == []


@pytest.mark.fault("F04")
def test_a_claimed_length_is_never_allocated(tmp_path, wire):
    for claimed in (1 << 60, (1 << 64) - 1, 1 << 31, 1 << 29):
        length = struct.pack("<Q", claimed)
        path = tmp_path / "events.out.tfevents.1"
        path.write_bytes(wire.version() + wire.steps("a", [1]) + length + wire.masked(length) + wire.steps("a", [2]))
        follower = plain(path)
        steps = [p[1][1] for p in follower.points]
        assert steps == ([1, 2] if claimed > 1 << 30 else [1]), "a believable length is waited for"


def test_a_replaced_a_truncated_and_a_rewritten_file_are_read_anew(tmp_path, wire):
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(wire.version() + wire.steps("a", [1, 2, 3]))
    follower = Follower(path)
    follower.poll()
    other = tmp_path / "new"
    other.write_bytes(wire.version() + wire.steps("b", [7, 8, 9, 10]))
    other.replace(path)
    assert follower.poll().reset
    assert [p[1][:2] for p in follower.points] == [("b", 7), ("b", 8), ("b", 9), ("b", 10)]
    os.truncate(path, len(wire.version()))
    assert follower.poll().reset
    assert follower.points == []
    path.write_bytes(wire.version() + wire.steps("c", [1, 2, 3, 4, 5]))
    follower.poll()
    assert [p[1][0] for p in follower.points] == ["c"] * 5


@pytest.mark.fault("F09")
def test_a_deleted_file_keeps_its_data_and_is_read_on_when_it_returns(tmp_path, wire):
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(wire.version() + wire.steps("a", [1, 2, 3]))
    follower = Follower(path)
    follower.poll()
    data = path.read_bytes()
    path.unlink()
    reading = follower.poll()
    assert reading.facts.state == "gone"
    assert reading.facts.scalars == 3
    assert not reading.reset
    path.write_bytes(data + wire.steps("a", [4]))
    follower.poll()
    assert follower.state == plain(path).state


@pytest.mark.fault("F18")
def test_the_end_of_a_large_file_comes_first_and_the_rest_joins_it(tmp_path, wire):
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(wire.version() + b"".join(wire.scalar(f"t{s % 7}", s / 3, s) for s in range(80_000)))
    follower = Follower(path, tail_first_from=1 << 20)
    slices = 0
    follower.poll(Budget(bytes=1 << 20, seconds=30))
    assert follower.points[0][1][1] > 10_000, "the last megabyte came first"
    while follower.poll(Budget(bytes=1 << 18, seconds=30)).more:
        slices += 1
        if slices == 2:
            with path.open("ab") as file:
                file.write(wire.steps("late", [80_001, 80_002]))
    assert slices > 3
    assert follower.state == plain(path).state
    assert len(follower.points) == 80_002


def test_a_record_that_holds_another_file_does_not_mislead_the_search_for_the_end(tmp_path, wire):
    """Records inside of a record's payload look like records; the plain walk never sees them."""
    inner = b"".join(wire.scalar("inner", 1.0, s) for s in range(30_000))
    path = tmp_path / "events.out.tfevents.1"
    outer = wire.record(b"\x09" + bytes(8) + wire.message(99, inner))
    path.write_bytes(wire.version() + wire.steps("a", [1, 2]) + outer + wire.steps("a", [3]))
    follower = Follower(path, tail_first_from=1 << 20).read(Budget(bytes=1 << 18, seconds=30))
    assert follower.state == plain(path).state
    assert [p[1][:2] for p in follower.points] == [("a", 1), ("a", 2), ("a", 3)]


@pytest.mark.fault("F14")
def test_wall_times_and_steps_at_the_edge_survive(tmp_path, wire):
    walls = (math.nan, -1.0, 4e9, math.inf, 0.0)
    steps = (2**63 - 1, -5, 0, -(2**63), 1)
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"".join(wire.scalar("a", 0.1, s, w) for s, w in zip(steps * 6, walls * 6, strict=True)))
    points = [p[1] for p in plain(path).points]
    assert [p[1] for p in points] == list(steps) * 6
    assert [repr(p[2]) for p in points] == [repr(w) for w in walls] * 6
    assert {p[3] for p in points} == {float(np.float32(0.1))}


_TENSORS: tuple[tuple[str, int, bytes, float | None], ...] = (
    ("float_val packed", 1, b"\x2a\x04" + struct.pack("<f", 0.5), 0.5),
    ("float_val bare", 1, b"\x2d" + struct.pack("<f", 0.5), 0.5),
    ("double_val", 2, b"\x32\x08" + struct.pack("<d", 0.1), 0.1),
    ("half_val", 19, b"\x6a\x02\x80\x70", 0.5),
    ("bfloat16 half_val", 14, b"\x6a\x03\x80\xfe\x00", 0.5),
    ("int_val", 3, b"\x3a\x0a" + b"\xff" * 9 + b"\x01", -1.0),
    ("int64_val", 9, b"\x52\x01\x07", 7.0),
    ("uint64_val", 23, b"\x8a\x01\x0a" + b"\xff" * 9 + b"\x01", float(2**64 - 1)),
    ("bool_val", 10, b"\x5a\x01\x01", 1.0),
    ("content float", 1, b"\x22\x04" + struct.pack("<f", 0.25), 0.25),
    ("content half", 19, b"\x22\x02" + struct.pack("<e", 0.25), 0.25),
    ("content bfloat16", 14, b"\x22\x02\x00\x3f", 0.5),
    ("content int8", 6, b"\x22\x01\xfe", -2.0),
    ("two floats", 1, b"\x2a\x08" + struct.pack("<ff", 1, 2), None),
    ("shape [1]", 1, b"\x12\x04\x12\x02\x08\x01" + b"\x2a\x04" + struct.pack("<f", 0.5), None),
    ("string", 7, b"\x42\x02hi", None),
    ("content too long", 1, b"\x22\x08" + bytes(8), None),
    ("no value", 1, b"", None),
)


@pytest.mark.parametrize(("what", "dtype", "body", "expected"), _TENSORS, ids=[t[0] for t in _TENSORS])
@pytest.mark.fault("F15")
def test_tensors_of_rank_zero_are_scalars_and_others_are_counted(tmp_path, wire, what, dtype, body, expected):
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(wire.scalar("other", 1.0, 3) + wire.tensor("t", b"\x08" + bytes([dtype]) + body, 3))
    follower = plain(path)
    assert [p[1] for p in follower.points if p[1][0] == "t"] == (
        [] if expected is None else [("t", 3, 1.7e9, expected)]
    )
    assert ("1 values are not scalar" in follower.last.facts.message) == (expected is None)
    assert follower.lost == []


@pytest.mark.fault("F07")
def test_a_record_that_is_no_event_is_counted_and_unknown_fields_are_not(tmp_path, wire):
    event = wire.event(wire.value("a", b"\x15" + struct.pack("<f", 2.0)), 1, 1.0)
    unknown = b"\xa0\x06\x01" + wire.message(77, b"x" * 300)
    nested = b""
    for _ in range(64):
        nested = wire.message(5, nested)
    path = tmp_path / "events.out.tfevents.1"
    broken = (b"\x09\x00", b"\xff" * 30, b"\x0b" + event, b"\x2a\x7fabc")
    good = (event + unknown, unknown + event, event)
    path.write_bytes(b"".join(map(wire.record, (*broken, nested, *good))))
    follower = plain(path)
    assert [p[1][3] for p in follower.points] == [2.0] * 3
    assert len(follower.lost) >= 4


@pytest.mark.fault("F07")
def test_a_million_values_in_one_event_are_read_in_bounded_time(tmp_path, wire):
    one = wire.value("a", b"\x15" + struct.pack("<f", 2.0))
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(wire.record(wire.event(one * 100_000, 1, 1.0)) + wire.steps("b", [1]))
    assert len(plain(path).points) == 100_001


def test_records_of_all_forms_in_one_file_keep_their_order(tmp_path, wire):
    rng = np.random.default_rng(1)
    parts, expected = [], []
    for s in range(400):
        tag = ("short", "x" * 126, "y" * 200, "", "ü/ß", "a/b")[rng.integers(6)]
        form = rng.integers(4)
        wall = 1e9 + s
        if form == 3:
            parts.append(wire.record(wire.event(wire.value("p", b"\x15\0\0\x80\x3f") * 2, s, wall)))
            expected += [("p", s, wall, 1.0)] * 2
        else:
            parts.append(wire.scalar(tag, float(s), s, wall))
            expected.append((tag, s, wall, float(s)))
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"".join(parts))
    assert [p[1] for p in plain(path).points] == expected


@pytest.mark.fault("F17")
def test_hostile_tags_are_made_safe_and_stay_apart(tmp_path, wire):
    tags = [b"\x1b[31mred", b"[/x]", b"a\nb", b"\xff\xfe", b"/", "\u202eevil".encode(), b"x" * 65536, b""]
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"".join(wire.scalar(tag, 1.0, k) for k, tag in enumerate(tags)))
    names = [p[1][0] for p in plain(path).points]
    assert len(set(names)) == len(tags)
    assert all("\x1b" not in name and "\n" not in name and "\u202e" not in name for name in names)


class Script:
    """A file's life: appended to in pieces, damaged, repaired, polled in between."""

    moves = st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 200)),
            st.tuples(st.just("poll"), st.sampled_from([64, 1 << 12, 1 << 30])),
            st.tuples(st.just("flip"), st.integers(0, 2000)),
            st.tuples(st.just("hole"), st.integers(1, 120)),
            st.tuples(st.just("fill"), st.just(0)),
            st.tuples(st.just("garbage"), st.integers(1, 60)),
            st.tuples(st.just("truncate"), st.integers(0, 1500)),
            st.tuples(st.just("replace"), st.integers(0, 1500)),
            st.tuples(st.just("delete"), st.just(0)),
        ),
        max_size=30,
    )


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=Script.moves, tail_first=st.sampled_from([1 << 40, 300]))
@example(moves=[("append", 200), ("hole", 60), ("append", 200), ("poll", 1 << 30), ("fill", 0)], tail_first=1 << 40)
@example(moves=[("append", 1), ("hole", 44), ("poll", 64), ("delete", 0), ("append", 73)], tail_first=1 << 40)
@example(moves=[("garbage", 1), ("append", 40), ("poll", 64), ("flip", 1)], tail_first=1 << 40)
@example(moves=[("append", 200), ("poll", 1 << 30), ("flip", 100), ("poll", 1 << 30)], tail_first=1 << 40)
def test_whatever_happens_to_a_file_following_it_ends_where_a_plain_read_does(
    tmp_path_factory, wire, moves, tail_first
):
    path = tmp_path_factory.mktemp("followed") / "events.out.tfevents.1"
    stream = wire.version() + b"".join(wire.scalar(f"t{s % 3}", s * 0.5, s, 1e9 + s) for s in range(120))
    written, holes = 0, []
    follower = Follower(path, tail_first)
    for move, amount in moves:
        data = path.read_bytes() if path.exists() else b""
        if move == "append":
            with path.open("ab") as file:
                file.write(stream[written : written + amount])
            written += amount
        elif move == "hole":
            holes.append((len(data), stream[written : written + amount]))
            with path.open("ab") as file:
                file.write(bytes(len(stream[written : written + amount])))
            written += amount
        elif move == "fill" and holes:
            at, lost = holes.pop()
            if at + len(lost) <= len(data):
                with path.open("r+b") as file:
                    file.seek(at)
                    file.write(lost)
        elif move == "garbage":
            with path.open("ab") as file:
                file.write(bytes(range(1, amount + 1)))
        elif move == "flip" and data:
            with path.open("r+b") as file:
                file.seek(amount % len(data))
                file.write(bytes([data[amount % len(data)] ^ 4]))
        elif move == "truncate" and data:
            os.truncate(path, min(amount, len(data)))
        elif move == "replace":
            other = path.with_name("other")
            other.write_bytes(data[: len(data) - amount] + stream[:amount])
            other.replace(path)
        elif move == "delete" and data:
            path.unlink()
        elif move == "poll":
            follower.poll(Budget(bytes=amount, seconds=30))
    path.touch()
    while follower.poll().more:
        pass
    follower.file.close()
    if moves and moves[-1][0] == "delete":
        return
    assert follower.state == plain(path).state


def test_an_idle_file_costs_microseconds_and_no_descriptor_leaks(tmp_path, wire):
    before = len(list(Path("/proc/self/fd").iterdir()))
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(wire.version() + wire.steps("a", list(range(1, 100))))
    os.utime(path, (1e9, 1e9))
    follower = Follower(path)
    follower.poll()
    reading = follower.poll()
    assert reading.scalars == ()
    assert reading.facts.state == "quiet"
    follower.file.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.fault("F22")
def test_a_read_error_is_a_state_and_the_file_is_tried_again(tmp_path, wire, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(wire.version() + wire.steps("a", [1, 2]))
    follower = Follower(path)
    now = [100.0]
    monkeypatch.setattr("critictui.run.followed.time.monotonic", lambda: now[0])
    real: Callable[..., bytes] = os.pread

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("critictui.run.followed.os.pread", fail)
    reading = follower.poll()
    assert reading.facts.state == "error"
    assert "Input/output error" in reading.facts.message
    monkeypatch.setattr("critictui.run.followed.os.pread", real)
    assert follower.poll().facts.state == "error", "it waits before it tries again"
    now[0] += 5
    follower.read()
    assert follower.state == plain(path).state
