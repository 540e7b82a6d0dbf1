"""Event files as disks, networks and writers leave them: F01 to F24 where no test of `tests/run` holds them already."""

from __future__ import annotations

import math
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from event_bytes import Wire, content_of, read_plainly
from processes import wait_until

from critictui.config import Config
from critictui.monitor.check import check
from critictui.run import events, followed, mounts, witness
from critictui.run.events import EventFile
from critictui.run.facts import RunSnapshot
from critictui.run.mounts import is_remote, magic_of
from critictui.run.reader import RunReader
from critictui.run.source import Budget

LONG = bool(os.environ.get("CRITICTUI_LONG"))
WIRE = Wire()
EVENTS = "events.out.tfevents.1700000000.host.1.0"
WHOLE = Budget(bytes=1 << 30, seconds=60)
SLICE = Budget(bytes=4 << 20, seconds=0.010)


def values(snapshot: RunSnapshot, tag: str = "a") -> dict[int, float]:
    series = snapshot.series.get(tag)
    return {} if series is None else dict(zip(series.step.tolist(), series.value.tolist(), strict=True))


def followed_to_the_end(reader: RunReader) -> RunSnapshot:
    snapshot = reader.poll(WHOLE)
    while reader.more:
        snapshot = reader.poll(WHOLE)
    return snapshot


@pytest.mark.fault("F02")
@pytest.mark.parametrize("data", [b"", b"\x18\0\0", WIRE.version()[:12], WIRE.version()])
def test_a_file_with_nothing_in_it_yet_waits_without_a_warning(tmp_path: Path, data: bytes) -> None:
    (tmp_path / EVENTS).write_bytes(data)
    snapshot = read_plainly(tmp_path)
    assert [f.state for f in snapshot.sources] == ["waiting"]
    assert snapshot.state == "empty"
    assert (snapshot.skipped, snapshot.notices) == ((), ())


@pytest.mark.fault("F03")
@pytest.mark.parametrize("place", ["length", "length checksum", "payload", "payload checksum"])
def test_each_class_of_bit_of_a_middle_record_costs_that_record_and_is_counted(tmp_path: Path, place: str) -> None:
    records = [WIRE.scalar("a", float(step), step) for step in range(1, 40)]
    size = len(records[20])
    first, end = {"length": (0, 8), "length checksum": (8, 12), "payload": (12, size - 4)}.get(place, (size - 4, size))
    for at in range(first, end):
        damaged = bytearray(b"".join(records))
        damaged[sum(map(len, records[:20])) + at] ^= 1 << (at % 8)
        (tmp_path / EVENTS).write_bytes(damaged)
        snapshot = read_plainly(tmp_path)
        assert values(snapshot) == {step: float(step) for step in range(1, 40) if step != 21}
        assert [(s.bytes, s.records) for s in snapshot.skipped] == [(size, 1)]


@pytest.mark.fault("F04")
def test_a_file_full_of_places_where_a_record_might_begin_is_searched_in_slices(tmp_path: Path) -> None:
    """Each header is intact and claims megabytes whose checksum is wrong: every one has to be looked into."""
    header = struct.pack("<Q", 1 << 20)
    header += WIRE.masked(header)
    hostile = b"\x01" + header * (400_000 if LONG else 60_000)
    path = tmp_path / EVENTS
    path.write_bytes(WIRE.steps("a", [1, 2]) + hostile)
    file = EventFile(path, EVENTS, 1 << 40)
    longest = 0.0
    for _ in range(40):
        began = time.thread_time()
        reading = file.poll(SLICE)
        longest = max(longest, time.thread_time() - began)
    assert reading.facts.scalars == 2
    assert longest < 1.0


@pytest.mark.fault("F04")
def test_a_search_behind_damage_comes_to_its_end_however_small_the_slices_are(tmp_path: Path) -> None:
    """A place near the end where a record may begin, whose end is still to come, does not hold the search up."""
    noise = random.Random(1).randbytes(1 << 20)
    torn = WIRE.record(bytes(100))[:60]
    path = tmp_path / EVENTS
    path.write_bytes(WIRE.steps("a", [1]) + b"\x01" * 13 + torn + noise)
    file = EventFile(path, EVENTS, 1 << 40)
    polls = 0
    while file.poll(Budget(1, 0.0)).more:
        polls += 1
        assert polls < 100
    with path.open("ab") as out:
        out.write(WIRE.steps("a", [2]))
    while file.poll(Budget(1, 0.0)).more:
        polls += 1
        assert polls < 200
    assert values(read_plainly(tmp_path)) == {1: 1.0, 2: 2.0}


@pytest.mark.fault("F03", "F04")
def test_what_showed_that_bytes_are_damaged_is_watched_as_well(tmp_path: Path) -> None:
    """Damage was stepped over because a record followed; then that record is damaged before it was read."""
    path = tmp_path / EVENTS
    whole = WIRE.scalar("a", 1.0, 1)
    path.write_bytes(b"\x01" + whole)
    file = EventFile(path, EVENTS, 1 << 40)
    reading = file.poll(Budget(1, 0.0))
    assert [s.bytes for s in reading.skipped] == [1]
    data = bytearray(path.read_bytes())
    data[2] ^= 1
    path.write_bytes(data)
    assert file.poll(WHOLE).reset


@pytest.mark.fault("F04")
def test_a_record_that_was_half_there_far_behind_damage_is_found_when_its_rest_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind much damage nothing is searched twice but the places where a record may have begun."""
    monkeypatch.setattr(events, "_RESCAN_ALL", 64)
    path = tmp_path / EVENTS
    late = WIRE.scalar("a", 2.0, 2)
    path.write_bytes(WIRE.steps("a", [1]) + b"\x07" * 500 + late[:20])
    file = EventFile(path, EVENTS, 1 << 40)
    assert file.poll(WHOLE).facts.scalars == 1
    with path.open("ab") as out:
        out.write(late[20:])
    assert file.poll(WHOLE).facts.scalars == 2


@pytest.mark.fault("F04")
def test_a_hole_that_is_filled_behind_garbage_is_found_though_nothing_grew(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    good, late, garbage = WIRE.steps("a", [1]), WIRE.steps("a", [2]), b"\x07" * 20
    path.write_bytes(good + garbage + bytes(len(late)))
    reader = RunReader(tmp_path, Config())
    assert values(reader.poll(WHOLE)) == {1: 1.0}
    with path.open("r+b") as out:
        out.seek(len(good) + len(garbage))
        out.write(late)
    assert wait_until(lambda: values(reader.poll(WHOLE)) == {1: 1.0, 2: 2.0})
    assert [s.bytes for s in reader.poll(WHOLE).skipped] == [len(garbage)]
    reader.close()


@pytest.mark.fault("F07")
def test_a_record_too_large_for_scalars_is_counted_by_name_and_not_decoded(tmp_path: Path) -> None:
    one = WIRE.value("a", b"\x15" + struct.pack("<f", 2.0))
    vast = WIRE.record(WIRE.event(one * 900_000, 1, 1.0))
    (tmp_path / EVENTS).write_bytes(WIRE.steps("b", [1]) + vast + WIRE.steps("b", [2]))
    began = time.thread_time()
    snapshot = read_plainly(tmp_path)
    assert time.thread_time() - began < 5
    assert values(snapshot, "b") == {1: 1.0, 2: 2.0}
    assert [(s.bytes, "not decoded" in s.reason) for s in snapshot.skipped] == [(len(vast), True)]


@pytest.mark.fault("F11")
def test_writers_that_write_by_turns_never_share_a_series_and_the_follower_agrees_with_a_new_reader(
    tmp_path: Path,
) -> None:
    names = [f"events.out.tfevents.{1_700_000_000 + k}.host.{k}.0" for k in range(3)]
    reader = RunReader(tmp_path, Config())
    for step in range(1, 30):
        for k, name in enumerate(names):
            with (tmp_path / name).open("ab") as out:
                out.write(WIRE.scalar("a", float(k), step, 1.7e9 + 10 * step + k))
        reader._scanner._next_look = 0.0
        snapshot = followed_to_the_end(reader)
        for series in snapshot.series.values():
            if step > 2:  # from the second point on it is seen that they write at once
                assert len(set(series.value.tolist())) == 1
        assert content_of(snapshot) == content_of(read_plainly(tmp_path))
    assert len(snapshot.series) == 3
    assert any("3 writers" in notice for notice in snapshot.notices)
    reader.close()


@pytest.mark.fault("F12")
@pytest.mark.parametrize("wall", [-1.0, math.nan, 4e9, 1e9, math.inf])
@pytest.mark.parametrize("stamp", [1.0, 4e9])
def test_liveness_is_what_was_seen_to_change_whatever_the_clocks_say(tmp_path: Path, wall: float, stamp: float) -> None:
    path = tmp_path / EVENTS
    path.write_bytes(WIRE.scalar("a", 1.0, 1, wall))
    os.utime(path, (stamp, stamp))
    reader = RunReader(tmp_path, Config())
    reader.poll(WHOLE)
    with path.open("ab") as out:
        out.write(WIRE.scalar("a", 2.0, 2, wall))
    os.utime(path, (stamp, stamp))
    snapshot = reader.poll(WHOLE)
    assert (snapshot.state, snapshot.step) == ("running", 2)
    assert snapshot.last_change == pytest.approx(time.time(), abs=120)
    assert [f.state for f in snapshot.sources] == ["live"]
    reader.close()


@pytest.mark.fault("F13", "F14")
@pytest.mark.parametrize("scale", [1, 2**63 - 100, -(2**63)])
def test_shuffled_and_double_steps_of_any_size_end_sorted_with_the_last_write(tmp_path: Path, scale: int) -> None:
    steps = [scale + k for k in (0, 3, 1, 2, 5, 4, 5, 7, 6, 8)]
    (tmp_path / EVENTS).write_bytes(b"".join(WIRE.scalar("critic/d_acc", float(k), s) for k, s in enumerate(steps)))
    snapshot = read_plainly(tmp_path)
    series = snapshot.series["critic/d_acc"]
    assert series.step.tolist() == sorted(set(steps))
    assert series.value[5] == 6.0
    assert series.duplicates == 1
    assert snapshot.step == max(steps)
    report = check(tmp_path, Config())
    assert report["step"] == max(steps)


@pytest.mark.fault("F14")
def test_steps_of_both_ends_of_the_range_in_one_file_break_nothing(tmp_path: Path) -> None:
    steps = (2**63 - 1, -(2**63), 0, -5, 7)
    (tmp_path / EVENTS).write_bytes(
        b"".join(WIRE.scalar(tag, 1.0, s) for s in steps for tag in ("critic/d_acc", "training/epoch"))
    )
    with np.errstate(all="raise"):
        snapshot = read_plainly(tmp_path)
        assert snapshot.series
        assert check(tmp_path, Config())["verdict"]


@pytest.mark.fault("F15")
def test_a_tag_that_changes_its_type_keeps_the_points_that_are_numbers(tmp_path: Path) -> None:
    half = b"\x08\x13" + b"\x6a\x02\x80\x70"
    histogram = WIRE.record(WIRE.event(WIRE.value("a", WIRE.message(5, b"\x09" + bytes(8))), 3, 1.0))
    text = WIRE.tensor("a", b"\x08\x07\x42\x02hi", 4)
    vector = WIRE.tensor("a", b"\x08\x01\x12\x04\x12\x02\x08\x02\x2a\x08" + struct.pack("<ff", 1, 2), 5)
    (tmp_path / EVENTS).write_bytes(
        WIRE.scalar("a", 1.0, 1) + WIRE.tensor("a", half, 2) + histogram + text + vector + WIRE.scalar("a", 6.0, 6)
    )
    snapshot = read_plainly(tmp_path)
    assert values(snapshot) == {1: 1.0, 2: 0.5, 6: 6.0}
    assert "3 values are not scalar" in snapshot.sources[0].message
    assert snapshot.skipped == ()


@pytest.mark.fault("F17")
def test_a_hundred_thousand_tags_and_hostile_ones_are_held_in_bounded_memory(tmp_path: Path) -> None:
    many = 100_000 if LONG else 10_000
    hostile = [b"x" * 65536, b"", b"///", b"a\nb", "\u202egnp".encode(), b"[/x]", b"\x1b[2J", "层/损失".encode()]
    (tmp_path / EVENTS).write_bytes(
        b"".join(WIRE.scalar(f"layer{k}/norm", 1.0, 1) for k in range(many))
        + b"".join(WIRE.scalar(tag, 1.0, 1) for tag in hostile)
    )
    code = (
        "import sys, resource; from pathlib import Path; from critictui.config import Config\n"
        "from critictui.run.reader import RunReader\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "s = RunReader(Path(sys.argv[1]), Config()).read_all()\n"
        "print(len(s.series), max(map(len, s.series)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        "bad = set(range(32)) | {127, 0x202e}\n"
        "assert not any(bad & set(map(ord, tag)) for tag in s.series)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300, check=True
    )
    count, longest, grown_kb = map(int, done.stdout.split())
    assert count == many + len(hostile)
    assert longest < 600
    assert grown_kb < 40_000 + 6 * many, "six kilobytes a tag"


@pytest.mark.fault("F18")
@pytest.mark.parametrize("magic", [b"\x1f\x8b\x08", b"\x78\x9c", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"])
def test_a_compressed_event_file_is_named_and_what_to_do_is_said(tmp_path: Path, magic: bytes) -> None:
    (tmp_path / f"{EVENTS}.gz").write_bytes(magic + bytes(range(256)))
    snapshot = read_plainly(tmp_path)
    assert snapshot.sources == ()
    assert any(f"{EVENTS}.gz" in notice and "unpack" in notice for notice in snapshot.notices)


@pytest.mark.fault("F18")
def test_five_gigabytes_of_nothing_are_read_in_slices(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    size = (5 << 30) if LONG else (256 << 20)
    path.write_bytes(WIRE.steps("a", [1, 2]))
    try:
        os.truncate(path, size)
    except OSError:
        pytest.skip("no sparse files here")
    with path.open("ab") as out:
        out.write(WIRE.steps("a", [3, 4]))
    reader = RunReader(tmp_path, Config())
    longest, first = 0.0, None
    snapshot = None
    while snapshot is None or reader.more:
        began = time.thread_time()
        snapshot = reader.poll(SLICE)
        longest = max(longest, time.thread_time() - began)
        first = first or values(snapshot)
    assert set(first or ()) & {3, 4} or values(snapshot)
    assert values(snapshot) == {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}
    assert longest < 0.5
    assert sum(s.bytes for s in snapshot.skipped) == size - len(WIRE.steps("a", [1, 2]))
    reader.close()


@pytest.mark.fault("F18")
def test_a_file_that_grows_faster_than_a_slice_is_caught_up_with(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    block = b"".join(WIRE.scalar(f"t{k}", 1.0, 1) for k in range(60))
    path.touch()
    reader = RunReader(tmp_path, Config())
    for _ in range(10):
        with path.open("ab") as out:
            out.write(block * 300)
        reader.poll(SLICE)
    snapshot = followed_to_the_end(reader)
    assert snapshot.progress == 1
    assert snapshot.sources[0].scalars == 10 * 300 * 60
    reader.close()


def large(path: Path, steps: int) -> None:
    path.write_bytes(b"".join(WIRE.scalar(f"t{k}", float(s), s, 1e9 + s) for s in range(steps) for k in range(20)))


@pytest.mark.fault("F03")
def test_a_large_file_that_is_rewritten_deep_inside_while_it_grows_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness, "_EVERY", 0.0)
    path = tmp_path / EVENTS
    large(path, 2000)
    reader = RunReader(tmp_path, Config())
    followed_to_the_end(reader)
    record = WIRE.scalar("t0", -1.0, 200, 1e9 + 200)
    with path.open("r+b") as out:
        out.seek(sum(len(WIRE.scalar(f"t{k}", 0.0, s)) for s in range(200) for k in range(20)))
        out.write(record)
        out.seek(0, os.SEEK_END)
        out.write(WIRE.steps("late", [5000]))
    assert wait_until(lambda: values(reader.poll(SLICE), "t0").get(200) == -1.0)
    snapshot = followed_to_the_end(reader)
    assert content_of(snapshot) == content_of(read_plainly(tmp_path))
    reader.close()


@pytest.mark.fault("F03")
def test_a_large_file_that_is_rewritten_in_place_is_found_out_in_slices(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    large(path, 4000)
    reader = RunReader(tmp_path, Config())
    followed_to_the_end(reader)
    os.utime(path, (1e9, 1e9))
    longest = 0.0
    reader.poll(WHOLE)
    with path.open("r+b") as out:
        out.seek(30)
        out.write(b"\xff" * 20)
    seen = False
    deadline = time.monotonic() + 60
    while not seen and time.monotonic() < deadline:
        began = time.thread_time()
        seen = bool(reader.poll(SLICE).skipped)
        longest = max(longest, time.thread_time() - began)
    assert content_of(followed_to_the_end(reader)) == content_of(read_plainly(tmp_path))
    assert longest < 0.5
    reader.close()


@pytest.mark.fault("F24")
@pytest.mark.parametrize("lag", ["size", "data"])
def test_where_attributes_lag_the_file_is_opened_anew_and_the_data_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lag: str
) -> None:
    monkeypatch.setattr(followed, "is_remote", lambda path: True)
    path = tmp_path / EVENTS
    path.write_bytes(WIRE.steps("a", [1, 2]))
    reader = RunReader(path, Config())
    assert reader.poll(WHOLE).step == 2
    late = WIRE.steps("a", [3])
    if lag == "size":
        old, stat, fstat = path.stat(), Path.stat, os.fstat
        with path.open("ab") as out:
            out.write(late)
        monkeypatch.setattr(Path, "stat", lambda self, **kw: old if self == path else stat(self, **kw))
        monkeypatch.setattr(followed.os, "fstat", lambda d: old if fstat(d).st_ino == old.st_ino else fstat(d))
    else:
        os.truncate(path, path.stat().st_size + len(late))
        stamp = path.stat().st_mtime_ns
        assert reader.poll(WHOLE).step == 2
        with path.open("r+b") as out:
            out.seek(-len(late), os.SEEK_END)
            out.write(late)
        os.utime(path, ns=(stamp, stamp))
        monkeypatch.setattr(followed, "_UNSETTLED", 0.0)
    assert reader.poll(WHOLE).step == 3
    reader.close()


@pytest.mark.fault("F24")
def test_the_kind_of_file_system_is_told_by_its_magic_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "linux":
        assert magic_of(tmp_path) != 0
    for magic, remote in ((0x6969, True), (0x65735546, True), (0x0BD00BD0, True), (0xFF534D42, True), (0xEF53, False)):
        monkeypatch.setattr(mounts, "magic_of", lambda path, magic=magic: magic)
        if remote or not mounts._mounted_from_afar(tmp_path.stat().st_dev, magic, str(tmp_path)):
            assert is_remote(tmp_path) is remote


_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>
/* Attributes of the file LAGGING as they were first seen, for as long as the file LAG exists; and NFS everywhere. */
static long first = -1;
static void lag(struct stat *s, ino_t wanted) {
  if (s->st_ino != wanted || access(getenv("LAG"), F_OK)) return;
  if (first < 0) first = s->st_size;
  s->st_size = first; s->st_mtim.tv_sec = 1700000000; s->st_mtim.tv_nsec = 0;
}
static ino_t wanted(void) { return (ino_t)strtoull(getenv("LAGGING"), 0, 10); }
int fstat(int d, struct stat *s) {
  int r = ((int (*)(int, struct stat *))dlsym(RTLD_NEXT, "fstat"))(d, s);
  if (!r) lag(s, wanted());
  return r;
}
int stat(const char *p, struct stat *s) {
  int r = ((int (*)(const char *, struct stat *))dlsym(RTLD_NEXT, "stat"))(p, s);
  if (!r) lag(s, wanted());
  return r;
}
int fstat64(int d, struct stat64 *s) { return fstat(d, (struct stat *)s); }
int stat64(const char *p, struct stat64 *s) { return stat(p, (struct stat *)s); }
int statfs(const char *p, struct statfs *s) { memset(s, 0, sizeof *s); s->f_type = 0x6969; return 0; }
"""


@pytest.mark.fault("F24")
def test_a_process_whose_attributes_lag_sees_the_data_all_the_same(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here, to make attributes lag")
    (tmp_path / "shim.c").write_text(_SHIM)
    shim = tmp_path / "shim.so"
    made = subprocess.run(
        [compiler, "-shared", "-fPIC", "-w", "-o", shim, tmp_path / "shim.c", "-ldl"], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("the C compiler makes no library here")
    run = tmp_path / "run"
    run.mkdir()
    path, lagging = run / EVENTS, tmp_path / "lag"
    path.write_bytes(WIRE.steps("a", [1, 2]))
    lagging.touch()
    code = (
        "import sys,time,os; from pathlib import Path; from critictui.config import Config\n"
        "from critictui.run.reader import RunReader; from critictui.run.source import Budget\n"
        "path = Path(sys.argv[1]); reader = RunReader(path, Config()); whole = Budget(1 << 30, 60)\n"
        "steps = [reader.poll(whole).step]; size = path.stat().st_size\n"
        "with path.open('ab') as out: out.write(Path(sys.argv[2]).read_bytes())\n"
        "lagged = os.stat(path).st_size == size\n"
        "end = time.monotonic() + 30\n"
        "while reader.poll(whole).step != 3 and time.monotonic() < end: time.sleep(0.1)\n"
        "print(steps, reader.poll(whole).step, lagged)\n"
    )
    (tmp_path / "late").write_bytes(WIRE.steps("a", [3]))
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "late")],
        env={**os.environ, "LD_PRELOAD": str(shim), "LAG": str(lagging), "LAGGING": str(path.stat().st_ino)},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    if not done.stdout.strip().endswith("True"):
        pytest.skip("this C library does not let attributes be changed")
    assert done.stdout.split()[:2] == ["[2]", "3"]


@pytest.mark.fault("F09")
def test_a_file_that_is_gone_says_since_when(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    path.write_bytes(WIRE.steps("a", [1, 2]))
    reader = RunReader(tmp_path, Config())
    reader.poll(WHOLE)
    path.unlink()
    snapshot = reader.poll(WHOLE)
    assert snapshot.sources[0].message.startswith("gone since ")
    assert reader.poll(WHOLE) is snapshot, "said once"
    assert values(snapshot) == {1: 1.0, 2: 2.0}
    reader.close()


@pytest.mark.fault("F22")
def test_a_disk_on_which_every_read_outlasts_a_slice_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    large(path, 500)
    file = EventFile(path, EVENTS, 1 << 40)
    polls, scalars = 0, 0
    more = True
    while more:
        path.touch()
        reading = file.poll(Budget(4 << 20, 0.0))
        more, scalars = reading.more, reading.facts.scalars
        polls += 1
        assert polls < 100
    assert scalars == 10_000
