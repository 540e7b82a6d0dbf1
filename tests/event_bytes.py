"""Event files byte by byte, and runs compared by content: what the tests of reading share."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import google_crc32c
import numpy as np

from critictui.config import Config
from critictui.run.facts import RunSnapshot, Skipped
from critictui.run.reader import RunReader


class Wire:
    """Event files as TensorBoard's writers make them; written from the formats' definitions, not from our reader."""

    def masked(self, data: bytes) -> bytes:
        crc = google_crc32c.value(data)
        return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)

    def record(self, payload: bytes) -> bytes:
        length = struct.pack("<Q", len(payload))
        return length + self.masked(length) + payload + self.masked(payload)

    def varint(self, number: int) -> bytes:
        number &= (1 << 64) - 1
        out = bytearray()
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        return bytes([*out, number])

    def message(self, number: int, content: bytes) -> bytes:
        return self.varint(number << 3 | 2) + self.varint(len(content)) + content

    def event(self, summary: bytes, step: int, wall: float) -> bytes:
        stepped = b"\x10" + self.varint(step) if step else b""
        return b"\x09" + struct.pack("<d", wall) + stepped + self.message(5, summary)

    def value(self, tag: str | bytes, content: bytes) -> bytes:
        name = tag.encode() if isinstance(tag, str) else tag
        return self.message(1, self.message(1, name) + content)

    def scalar(self, tag: str | bytes, value: float, step: int, wall: float = 1.7e9) -> bytes:
        return self.record(self.event(self.value(tag, b"\x15" + struct.pack("<f", value)), step, wall))

    def tensor(self, tag: str, tensor: bytes, step: int, wall: float = 1.7e9) -> bytes:
        return self.record(self.event(self.value(tag, self.message(8, tensor)), step, wall))

    def version(self, wall: float = 1.7e9) -> bytes:
        return self.record(b"\x09" + struct.pack("<d", wall) + self.message(3, b"brain.Event:2"))

    def steps(self, tag: str, steps: list[int], wall: float = 1.7e9, pace: float = 2.0) -> bytes:
        """One record a step, with the step as its value, `pace` seconds apart."""
        return b"".join(self.scalar(tag, float(s), s, wall + pace * k) for k, s in enumerate(steps))


Content = dict[str, tuple[object, ...]]


def content_of(snapshot: RunSnapshot) -> Content:
    """All that a snapshot says of the points, comparable with ==."""
    out: Content = {}
    for tag, series in snapshot.series.items():
        columns = (series.step, series.wall_time, series.value, series.session)
        assert all(len(column) == len(series) for column in columns)
        counts = (series.superseded, series.duplicates, series.name, series.kind, series.source)
        out[tag] = (*(np.array(column).tobytes() for column in columns), *counts)
    sessions = tuple((s.number, s.first_step, s.last_step, repr(s.started), s.source) for s in snapshot.sessions)
    lost = lost_bytes(snapshot.skipped)
    out[""] = (sessions, snapshot.seams, lost, snapshot.step, tuple(sorted(snapshot.metrics.items())))
    return out


def lost_bytes(skipped: Iterable[Skipped]) -> tuple[tuple[str, int, int], ...]:
    """(file, first byte, byte behind the last) of what was lost. Bytes that were damaged again after they were passed
    over are told in two parts, by who was there, and in one by who was not.
    """
    found: list[tuple[str, int, int]] = []
    for loss in sorted(skipped, key=lambda loss: (loss.file, loss.offset)):
        if found and found[-1][0] == loss.file and found[-1][2] == loss.offset:
            found[-1] = (loss.file, found[-1][1], loss.offset + loss.bytes)
        else:
            found.append((loss.file, loss.offset, loss.offset + loss.bytes))
    return tuple(found)


def read_plainly(path: Path) -> RunSnapshot:
    """A plain read of everything."""
    reader = RunReader(path, Config())
    try:
        return reader.read_all()
    finally:
        reader.close()
