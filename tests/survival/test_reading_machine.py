"""Real event files live through everything at once, while one reader follows them; in the end it knows what a new
reader knows, and on the way it shows nothing that was not written."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from unittest import mock

import pytest
from event_bytes import Wire, content_of, read_plainly
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from critictui.config import Config
from critictui.run import discovery, events, followed, judging, reader, tailing, witness
from critictui.run.reader import RunReader
from critictui.run.source import Budget

LONG = bool(os.environ.get("CRITICTUI_LONG"))
WIRE = Wire()
TAGS = ("critic/d_acc", "critic/score_diff", "extra")

DISASTERS = (
    "rotate", "copy_and_truncate", "truncate", "replace", "delete", "delete_the_directory_and_make_it_again", "forbid",
)  # fmt: skip


class Clock:
    """The machine's clocks, moved on by hand as well."""

    def __init__(self) -> None:
        self.offset = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.offset

    def time(self) -> float:
        return time.time() + self.offset

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)


class File:
    """One event file, and what its writer has yet to write."""

    def __init__(self, path: Path, first_step: int, wall: float) -> None:
        self.path = path
        self.records = [WIRE.version(wall)]
        self.facts: set[tuple[str, int, float]] = set()
        for step in range(first_step, first_step + 40):
            for number, tag in enumerate(TAGS):
                value = float((step * 7 + number * 3 + int(wall)) % 97)
                self.records.append(WIRE.scalar(tag, value, step, wall + 60 * step))
                self.facts.add((tag, step, value))
        self.stream = b"".join(self.records)
        self.written = 0
        self.holes: list[tuple[int, bytes]] = []
        self.deleted: bytes | None = None

    @property
    def data(self) -> bytes:
        return self.path.read_bytes()


class Reading(RuleBasedStateMachine):
    """`RunReader` on a directory whose writers, administrators and disks do what they do."""

    @initialize(tail_first=st.sampled_from([1 << 40, 600]))
    def begin(self, tail_first: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="reading"))
        self.clock = Clock()
        self.patches = [
            mock.patch.object(module, "time", self.clock)
            for module in (discovery, events, followed, judging, reader, tailing, witness)
            if hasattr(module, "time")
        ]
        self.patches.append(mock.patch.object(events, "TAIL_FIRST_FROM", tail_first))
        self.patches.append(mock.patch.object(witness, "_ALL_AT_ONCE", 1 << 18 if tail_first > 600 else 0))
        for patch in self.patches:
            patch.start()
        self.steps = 0
        self.facts: set[tuple[str, int, float]] = set()
        self.files = [self.opened(0, 1)]
        self.reader = RunReader(self.folder, Config())
        self.descriptors = len(list(Path("/proc/self/fd").iterdir()))

    def opened(self, number: int, first_step: int) -> File:
        began = 1_700_000_000 + 100_000 * number
        file = File(self.folder / f"events.out.tfevents.{began}.host.{number}.0", first_step, float(began))
        file.path.touch()
        self.facts |= file.facts
        return file

    @property
    def file(self) -> File:
        return self.files[-1]

    def append(self, data: bytes) -> None:
        with self.file.path.open("ab") as out:
            out.write(data)

    here = precondition(lambda self: self.file.deleted is None)

    @here
    @rule(size=st.integers(1, 300))
    def append_a_part(self, size: int) -> None:
        part = self.file.stream[self.file.written : self.file.written + size]
        self.append(part)
        self.file.written += len(part)

    @here
    @rule()
    def finish_the_record(self) -> None:
        end = 0
        for record in self.file.records:
            end += len(record)
            if end > self.file.written:
                break
        self.append(self.file.stream[self.file.written : end])
        self.file.written = max(self.file.written, end)

    @here
    @rule(size=st.integers(1, 200))
    def leave_a_hole(self, size: int) -> None:
        part = self.file.stream[self.file.written : self.file.written + size]
        self.file.holes.append((len(self.file.data), part))
        self.append(bytes(len(part)))
        self.file.written += len(part)

    @here
    @rule()
    def fill_a_hole(self) -> None:
        if not self.file.holes:
            return
        at, part = self.file.holes.pop()
        if at + len(part) <= len(self.file.data):
            with self.file.path.open("r+b") as out:
                out.seek(at)
                out.write(part)

    @here
    @rule(at=st.integers(0, 5000), bit=st.integers(0, 7))
    def flip_a_bit(self, at: int, bit: int) -> None:
        data = bytearray(self.file.data)
        if data:
            data[at % len(data)] ^= 1 << bit
            with self.file.path.open("r+b") as out:
                out.write(data)

    @here
    @rule(data=st.binary(min_size=1, max_size=40))
    def write_garbage(self, data: bytes) -> None:
        if self.file.data:
            self.append(data)

    def truncate(self) -> None:
        os.truncate(self.file.path, len(self.file.data) * 2 // 3)

    def rotate(self) -> None:
        """Moved away under another name, and begun anew: what was written lies in the old one."""
        old = self.file.path.with_name(f"{self.file.path.name}.old{len(list(self.folder.iterdir()))}")
        self.file.path.rename(old)
        self.file.path.touch()
        self.file.holes.clear()

    def copy_and_truncate(self) -> None:
        copy = self.file.path.with_name(f"{self.file.path.name}.copy{len(list(self.folder.iterdir()))}")
        shutil.copyfile(self.file.path, copy)
        os.truncate(self.file.path, 0)
        self.file.holes.clear()

    def replace(self) -> None:
        keep = self.file.written // 2
        other = self.folder / "other.tmp"
        other.write_bytes(self.file.stream[:keep])
        other.replace(self.file.path)
        self.file.holes.clear()
        self.file.written = keep

    def delete(self) -> None:
        self.file.deleted = self.file.data
        self.file.path.unlink()

    def delete_the_directory_and_make_it_again(self) -> None:
        for file in self.files:
            file.deleted = file.deleted if file.deleted is not None else file.data
        kept = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        for name, data in kept.items():
            if not any(file.path.name == name for file in self.files):
                (self.folder / name).write_bytes(data)

    @here
    @rule(what=st.sampled_from(DISASTERS))
    def meet_a_disaster(self, what: str) -> None:
        getattr(self, what)()

    @precondition(lambda self: self.file.deleted is not None)
    @rule()
    def bring_back(self) -> None:
        for file in self.files:
            if file.deleted is not None:
                file.path.write_bytes(file.deleted)
                file.deleted = None

    @here
    @rule(back=st.integers(0, 30))
    def restart_with_a_new_file(self, back: int) -> None:
        if len(self.files) < 4:
            self.files.append(self.opened(len(self.files), max(1, 40 * len(self.files) - back)))

    def forbid(self) -> None:
        if os.geteuid() != 0:
            self.file.path.chmod(0)
            self.poll(1 << 20)
            self.file.path.chmod(0o644)

    @rule(budget=st.sampled_from([1, 200, 5000, 1 << 20]))
    def poll(self, budget: int) -> None:
        before = {path: path.read_bytes() for path in self.folder.iterdir() if os.access(path, os.R_OK)}
        snapshot = self.reader.poll(Budget(budget, 5.0))
        assert {path: path.read_bytes() for path in before} == before, "hands off"
        for series in snapshot.series.values():
            tag = series.tag.split(" [")[0]
            for step, value in zip(series.step.tolist(), series.value.tolist(), strict=True):
                assert (tag, step, value) in self.facts, "no invention"

    @rule(seconds=st.sampled_from([0.3, 2.5, 30.0, 700.0]))
    def move_the_clock(self, seconds: float) -> None:
        self.clock.offset += seconds

    @invariant()
    def looked_at_now_and_then(self) -> None:
        if hasattr(self, "steps"):
            self.steps += 1
            if self.steps % 2:
                self.poll((1, 5000, 1 << 20)[self.steps % 3])

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "descriptors"):
            assert len(list(Path("/proc/self/fd").iterdir())) <= self.descriptors

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            self.converge()
        finally:
            self.reader.close()
            for patch in self.patches:
                patch.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def converge(self) -> None:
        """The fault is over: what is known equals what a new reader finds."""
        self.bring_back()
        self.clock.offset += 700
        self.poll(1 << 20)
        for path in self.folder.iterdir():
            os.utime(path, (self.clock.time(), self.clock.time()))
        for _ in range(6):
            self.clock.offset += 5
            snapshot = self.reader.poll(Budget(1 << 24, 10.0))
            while self.reader.more:
                snapshot = self.reader.poll(Budget(1 << 24, 10.0))
        assert content_of(snapshot) == content_of(read_plainly(self.folder))


@pytest.mark.fault("F01", "F03", "F04", "F09", "F13")
def test_whatever_happens_to_event_files_a_follower_ends_where_a_new_reader_does() -> None:
    run_state_machine_as_test(
        Reading,
        settings=settings(
            max_examples=1500 if LONG else 40,
            stateful_step_count=50 if LONG else 25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.fault("F01")
def test_bytes_that_are_damaged_again_after_they_were_passed_over_are_lost_once(tmp_path: Path) -> None:
    file = File(tmp_path / "events.out.tfevents.1700000000.host.0.0", 1, 1_700_000_000.0)
    ends = [sum(map(len, file.records[: n + 1])) for n in range(4)]
    data = bytearray(file.stream)
    data[ends[0] + 20] ^= 1  # in the payload of the second record
    file.path.write_bytes(data)
    reader = RunReader(tmp_path, Config())
    snapshot = reader.poll(Budget(1 << 20, 10.0))
    assert [(loss.offset, loss.bytes) for loss in snapshot.skipped] == [(ends[0], ends[1] - ends[0])]
    data[ends[1] + 3] ^= 1  # in the length of the third
    data += file.records[1]
    file.path.write_bytes(data)
    snapshot = reader.poll(Budget(1 << 20, 10.0))
    assert content_of(snapshot) == content_of(read_plainly(tmp_path))
    reader.close()
