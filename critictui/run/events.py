"""A TensorBoard event file as it grows: appended bytes in, columns of scalars out, every loss counted.

What is read depends on the bytes alone, never on when they were looked at: whatever the order of appends, damage,
repairs and polls, the scalars are those of one plain read of the final file.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import google_crc32c
import numpy as np

from critictui.run.event_batch import Tags, decode_batch
from critictui.run.facts import Skipped, SourceFacts
from critictui.run.followed import FollowedFile, Look
from critictui.run.framing import FOOTER, HEADER, Frames, candidates, frames, mask, payload_length
from critictui.run.series import SourceKind
from critictui.run.source import Budget, Reading, Scalars
from critictui.run.text import sanitise_line
from critictui.run.witness import Digest, Witness

_CHUNK = 1 << 18
_TAIL = 1 << 20
TAIL_FIRST_FROM = 4 << 20
"""Files larger than this give their last megabyte first."""
_BIG_RECORD = 8 << 20
"""A longer record holds images or text: it is checked in pieces, counted and not decoded, nor sought behind damage."""
_RESCAN_ALL = 4 << 20
"""As many bytes behind damage are searched again when the file changes,"""
_SEARCH_AGAIN = 1.0
"""if they are more than a chunk no sooner than after so many seconds: a file that always grows would never be searched
to its end."""
_QUIET_AFTER = 600.0


@dataclass(slots=True)
class _Span:
    """A stretch of the file that is read forwards."""

    at: int
    """Everything before is dealt with; a record begins here, or will."""
    digest: Digest
    scanned: int = 0
    """How far a search behind damage at `at` has come."""
    torn: int | None = None
    """The first place that it met where a record may begin whose end is still to come."""
    stale: bool = False
    """The file changed since the search began: what lies behind may be repaired."""
    began: float = -math.inf

    def begin_anew(self) -> None:
        """Search again from the damage on."""
        self.scanned, self.torn, self.stale, self.began = 0, None, False, time.monotonic()


@dataclass(slots=True)
class _Work:
    """What one poll may do, and what it has brought."""

    bytes: int
    deadline: float
    scalars: list[Scalars] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return self.bytes <= 0 or time.monotonic() >= self.deadline


class EventFile:
    """A `Source` for one event file.

    A record that is cut off waits for its rest. A record whose payload is damaged is passed over once a record
    follows it. After a damaged length the next place is sought where both checksums hold; until there is one, nothing
    is stepped over, because the gap may yet be filled. Bytes that change after they were read start the file anew.
    """

    kind: SourceKind = "events"

    def __init__(self, path: Path, name: str, tail_first_from: int = TAIL_FIRST_FROM) -> None:
        self.path = path
        self._name = name
        self._file = FollowedFile(path)
        self._tail_first_from = tail_first_from
        self._facts: SourceFacts | None = None
        self._forget()

    def _forget(self) -> None:
        self._witness = Witness()
        self._front = _Span(0, self._witness.stretch(0))
        self._tail: _Span | None = None
        self._tags = Tags()
        self._names: tuple[str, ...] = ()
        self._known: set[str] = set()
        self._count = 0
        self._others = 0
        self._more = False
        self._begun = False
        self._stray = False

    def poll(self, budget: Budget) -> Reading:
        """Read what is new, within the budget; see `Source`."""
        look = self._file.look()
        if look in {"gone", "error"}:
            self._more = False
            return Reading(self._said(look))
        if look == "same" and self._facts is not None and self._nothing_to_do:
            self._file.close()
            return Reading(self._said(look))
        work = _Work(budget.bytes, time.monotonic() + budget.seconds)
        reset = False
        try:
            reset = self._begun and not self._witness.still_holds(self._file, look, work.deadline)
            if look != "same" or reset:
                self._changed(reset=reset)
            self._read(work)
            if self._stray:
                reset = True
                self._changed(reset=True)
                self._tail_first_from = sys.maxsize
                work.scalars.clear()
                work.skipped.clear()
                self._read(work)
            self._more |= self._witness.busy
            self._file.succeeded()
        except OSError as error:
            self._file.failed(error)
            self._more = False
            look = "error"
        finally:
            self._file.close()
        return Reading(self._said(look), tuple(work.scalars), tuple(work.skipped), more=self._more, reset=reset)

    @property
    def _nothing_to_do(self) -> bool:
        lagging = self._file.remote and self._read_to < self._file.size  # its data may come before its attributes
        stale = any(span is not None and span.scanned and span.stale for span in (self._front, self._tail))
        return not (self._more or lagging or stale or self._witness.waits)

    def close(self) -> None:
        """Nothing stays open between polls."""
        self._file.close()

    def _said(self, look: Look) -> SourceFacts:
        state: Literal["live", "quiet", "filling", "waiting", "gone", "error"]
        if look in {"gone", "error"}:
            state = "gone" if look == "gone" else "error"
        elif self._more:
            state = "filling"
        elif not self._count:
            state = "waiting"
        else:
            state = "live" if time.monotonic() - self._file.changed_at < _QUIET_AFTER else "quiet"
        read = self._read_to
        size = max(self._file.size, read)
        message = self._file.message or self._remark(size - read)
        facts = SourceFacts(self._name, self.kind, size, read, self._count, state, message)
        if facts != self._facts:
            self._facts = facts
        return self._facts or facts

    @property
    def _read_to(self) -> int:
        """Bytes that were dealt with."""
        tail = self._tail
        return self._front.at + (tail.at - tail.digest.start if tail is not None else 0)

    def _remark(self, left: int) -> str:
        remarks = []
        if left and not self._more:
            remarks.append(f"the last {left:,} bytes are no whole record yet")
        if self._others:
            remarks.append(f"{self._others:,} values are not scalar")
        return "; ".join(remarks)

    # What became of the bytes that were read.

    def _changed(self, *, reset: bool) -> None:
        if reset:
            self._forget()
        for span in (self._front, self._tail):
            if span is not None and self._file.size - span.at <= _RESCAN_ALL:
                span.stale = True

    # Reading.

    def _read(self, work: _Work) -> None:
        if not self._begun:
            self._begun = True
            self._begin(work)
        if self._tail is None:
            self._more = self._advance(self._front, work, None)
            return
        start = self._tail.digest.start
        behind = self._advance(self._tail, work, None)
        filling = self._advance(self._front, work, start)
        self._more = behind or filling
        self._stray = self._front.at > start
        if self._front.at == start:
            self._front, self._tail = self._tail, None
            self._more = behind

    def _begin(self, work: _Work) -> None:
        """Of a large file, find where the records of its last megabyte begin."""
        if self._file.size <= self._tail_first_from:
            return
        wanted = min(_TAIL, self._tail_first_from // 2)
        start = self._file.size - wanted
        data = self._file.read(start, wanted)
        work.bytes -= len(data)
        for place, length in candidates(data):
            if work.over:
                return
            work.bytes -= length
            if self._holds(start + place, length):
                self._tail = _Span(start + place, self._witness.stretch(start + place))
                return

    def _advance(self, span: _Span, work: _Work, stop: int | None) -> bool:
        """Read records from `span.at` on, to the end of the file or to `stop`; True if the budget ended it.

        One chunk at least: where each read takes longer than a slice, as on a slow disk, it goes on all the same.
        """
        while stop is None or span.at < stop:
            if not self._step(span, work, stop):
                return False
            if work.over:
                return stop is None or span.at < stop
        return False

    def _step(self, span: _Span, work: _Work, stop: int | None) -> bool:
        """Deal with a chunk of records; False if the file has nothing more to give for now."""
        data = self._file.read(span.at, _CHUNK)
        work.bytes -= len(data)
        found = frames(data)
        used = len(found.payload)
        if used and not found.intact[-1]:
            if _headed(data, found.end):
                self._witness.note(span.at + found.end, data[found.end : found.end + HEADER])
            else:
                used -= 1
        if stop is not None:
            used = min(used, int(np.searchsorted(found.payload + (span.at - HEADER), stop)))
        if used:
            self._take(span, data, found, used, work)
            return True
        length = payload_length(data[:HEADER]) if len(data) >= HEADER else None
        if length is not None:
            return self._single(span, length, work)
        return self._search(span, work) if len(data) >= HEADER else False

    def _take(self, span: _Span, data: bytes, found: Frames, used: int, work: _Work) -> None:
        """The first `used` records of a chunk: scalars, and losses."""
        payload, length, intact = found.payload[:used], found.length[:used], found.intact[:used]
        end = int(payload[-1] + length[-1]) + FOOTER
        batch = decode_batch(data, payload[intact], length[intact], self._tags)
        if len(self._names) < len(self._tags.raw):
            self._names += tuple(self._name_of(raw) for raw in self._tags.raw[len(self._names) :])
        if len(batch.step):
            position = batch.position + (span.at - HEADER)
            work.scalars.append(Scalars(self._names, batch.tag, batch.step, batch.wall_time, batch.value, position))
            self._count += len(batch.step)
        self._others += batch.others
        lost = [(k, "the payload's checksum is wrong") for k in payload[~intact].tolist()]
        lost += [(k, "not an Event message") for k in batch.malformed]
        for start, reason in sorted(lost):
            size = int(length[np.searchsorted(payload, start)]) + HEADER + FOOTER
            first = start - HEADER
            work.skipped.append(Skipped(self._name, span.at + first, size, 1, reason))
            self._witness.note(span.at + first, data[first : first + size])
        self._move(span, data[:end])

    def _name_of(self, raw: bytes) -> str:
        """A tag as text that is safe to show, and that no other tag of the file has."""
        safe = name = sanitise_line(raw.decode("utf-8", "replace"))
        again = 2
        while name in self._known:
            name, again = f"{safe} ~{again}", again + 1
        self._known.add(name)
        return name

    def _single(self, span: _Span, length: int, work: _Work) -> bool:
        """One record that a chunk does not settle: it is large, or damaged with nothing behind it in the chunk."""
        whole = HEADER + length + FOOTER
        if span.at + whole > self._file.size:
            return False
        if self._holds(span.at, length):
            if length <= _BIG_RECORD:
                data = self._file.read(span.at, whole)
                self._take(span, data, frames(data), 1, work)
            else:
                reason = f"a record of {whole >> 20} MiB, larger than any of scalars: not decoded"
                work.skipped.append(Skipped(self._name, span.at, whole, 1, reason))
                self._move_over(span, whole, work)
            return True
        behind = self._file.read(span.at + whole, HEADER)
        if len(behind) < HEADER:
            return False  # nothing follows it: it may yet be written again
        if payload_length(behind) is None:
            return self._search(span, work)
        self._witness.note(span.at + whole, behind)
        reason = "the payload's checksum is wrong"
        work.skipped.append(Skipped(self._name, span.at, whole, 1, reason))
        self._move_over(span, whole, work, hole=True)
        return True

    def _search(self, span: _Span, work: _Work) -> bool:
        """Look behind damage for the next intact record; False if there is none yet."""
        little = self._file.size - span.at <= _CHUNK
        if span.stale and (little or time.monotonic() >= span.began + _SEARCH_AGAIN):
            span.begin_anew()
        start, at_once = max(span.at + 1, span.scanned), False
        while True:  # one chunk at least, however little the budget is
            data = self._file.read(start, _CHUNK)
            work.bytes -= len(data)
            found = self._found(span, start, data, work, at_once=at_once)
            if found is not None and span.stale:
                # the damage before it may be repaired by now: all of it, which is little, is searched in one go
                span.begin_anew()
                start, at_once = span.at + 1, True
                continue
            if found is not None:
                offset, size = found
                lost = offset - span.at
                work.skipped.append(Skipped(self._name, span.at, lost, 1, "damaged up to the next intact record"))
                self._witness.note(offset, self._file.read(offset, size))
                self._move_over(span, lost, work, hole=True)
                return True
            if work.over and span.scanned > start and not at_once:
                return True
            if len(data) < _CHUNK:
                span.scanned = span.torn or max(span.at + 1, start + len(data) - HEADER + 1)
                span.torn = None
                return False
            start += len(data) - HEADER + 1
            span.scanned = start
            if work.over and not at_once:
                return True

    def _found(self, span: _Span, start: int, data: bytes, work: _Work, *, at_once: bool) -> tuple[int, int] | None:
        """The first intact record in a chunk, offset and size; if the budget ends before, `span.scanned` says where."""
        for place, length in candidates(data):
            offset, size = start + place, HEADER + length + FOOTER
            if length > _BIG_RECORD:
                continue
            if offset + size > self._file.size:
                span.torn = offset if span.torn is None else span.torn
                continue
            work.bytes -= length
            if self._holds(offset, length):
                return offset, size
            if work.over and not at_once:
                span.scanned = offset + 1
                return None
        return None

    def _holds(self, offset: int, length: int) -> bool:
        """Whether the payload of the record at `offset` is whole and matches its checksum; read in pieces."""
        at, end, crc = offset + HEADER, offset + HEADER + length, 0
        while at < end:
            data = self._file.read(at, min(_CHUNK, end - at))
            if not data:
                return False
            crc = google_crc32c.extend(crc, data)
            at += len(data)
        return mask(crc).to_bytes(FOOTER, "little") == self._file.read(end, FOOTER)

    def _move(self, span: _Span, data: bytes) -> None:
        span.digest.update(data)
        span.at += len(data)
        span.scanned, span.torn, span.stale = 0, None, False

    def _move_over(self, span: _Span, length: int, work: _Work, *, hole: bool = False) -> None:
        """Step over bytes that hold nothing, or nothing intact."""
        start, end = span.at, span.at + length
        while span.at < end:
            data = self._file.read(span.at, min(_CHUNK, end - span.at))
            if not data:
                raise OSError("the file became shorter while it was read")
            if hole and (span.at == start or span.at + len(data) == end):
                self._witness.note(span.at, data)
            work.bytes -= len(data)
            self._move(span, data)


def _headed(data: bytes, at: int) -> bool:
    """Whether an intact header stands at `at`."""
    header = data[at : at + HEADER]
    return len(header) == HEADER and payload_length(header) is not None
