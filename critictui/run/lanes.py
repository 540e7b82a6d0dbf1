"""The streams of one kind of source: which wrote at once, which are lives of one process, what of it is shown.

In a lane a later session covers an earlier one from its first step on, tag by tag. What is shown of a tag is nearly
always the column as it was read, and growing it costs nothing but the append. Only where points came twice, late, or
from several lives, a merged copy is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np

from critictui.run.clocks import is_date
from critictui.run.columns import Columns
from critictui.run.facts import Session
from critictui.run.merging import Piece, merge
from critictui.run.pyramid import Pyramid
from critictui.run.series import SourceKind
from critictui.run.sessions import AT_ONCE, lanes, overlap
from critictui.run.source import Scalars
from critictui.run.streams import Stream

_REFILL = 1.3
"""While history is filling in, a merged copy is made anew when there are this many times as many points."""


@dataclass(slots=True, eq=False)
class Shown:
    """What is shown of one tag in one lane."""

    tag: str
    stream: Stream
    """The last stream that has the tag: new points come from there."""
    columns: Columns
    """That stream's own rows, or a merged copy whose `position` holds session numbers."""
    merged: bool
    session: int
    """The session of the newest piece; of all points, where they are the stream's own rows."""
    sources: tuple[str, ...]
    taken: int
    """How many rows of the stream are in it."""
    superseded: int = 0
    duplicates: int = 0
    pyramid: Pyramid = field(default_factory=Pyramid)

    @property
    def n(self) -> int:
        """How many points are shown; a stream's own rows may go on with points that do not belong at the end."""
        return self.columns.n if self.merged else self.taken

    def grow(self, rows: Columns) -> bool:
        """Take the new rows of the stream, which rise; False if they do not belong at the end."""
        if self.merged:
            new = slice(self.taken, rows.n)
            step = rows.step[new]
            if step[0] <= self.columns.last_step:
                return False
            self.columns.append(step, rows.wall[new], rows.value[new], np.full(len(step), self.session))
        elif rows is not self.columns:
            return False
        self.taken = rows.n
        return True


@dataclass(slots=True, eq=False)
class Lane:
    """Streams that wrote one after the other."""

    streams: tuple[Stream, ...]
    first: tuple[int, ...] = ()
    """The session in which each stream begins."""
    sessions: int = 0
    made_of: tuple[tuple[int, tuple[int, ...], bool], ...] = ()
    """Session, beginnings and flatness of each stream when the sessions were counted."""
    shown: dict[str, Shown] = field(default_factory=dict)
    stale: dict[str, None] = field(default_factory=dict)
    """Tags that must be merged anew, in the order in which they were met."""
    touched: dict[str, None] = field(default_factory=dict)
    """Tags of which more, or something else, is shown than when that was last asked."""

    def __post_init__(self) -> None:
        first: list[int] = []
        current = 0
        reached: dict[str, int] = {}
        for stream in self.streams:
            ends = stream.reach(0)
            if any(low <= reached[tag] for tag, (low, _) in ends.items() if tag in reached):
                current, reached = current + 1, {}
            first.append(current)
            if stream.starts:
                current, reached, ends = current + len(stream.starts), {}, stream.reach(len(stream.starts))
            for tag, (_, high) in ends.items():
                reached[tag] = max(high, reached.get(tag, high))
        self.first, self.sessions = tuple(first), current + 1
        self.made_of = tuple(
            (first, stream.starts, stream.flat) for first, stream in zip(first, self.streams, strict=True)
        )
        self.stale = {tag: None for stream in self.streams for tag in stream.rows}

    def take(self, stream: Stream, grown: list[str], irregular: list[str]) -> None:
        """Note that tags of a stream grew: what is shown grows with them, or must be merged anew."""
        bad = set(irregular)
        session = self.first[self.streams.index(stream)] + len(stream.starts)
        for tag in grown:
            self.touched[tag] = None
            if tag in self.stale:
                continue
            shown = self.shown.get(tag)
            # a tag may fall silent before a restart that others show, and speak again after it
            same = shown is not None and shown.stream is stream and shown.session == session
            if shown is None or not same or tag in bad or not shown.grow(stream.rows[tag].columns):
                self.stale[tag] = None

    def refresh(self) -> None:
        """Make anew what is stale."""
        for tag in self.stale:
            self.shown[tag] = self._made(tag)
            self.touched[tag] = None
        self.stale.clear()

    def _made(self, tag: str) -> Shown:
        pieces = [
            (stream, first + life, columns, rows)
            for stream, first in zip(self.streams, self.first, strict=True)
            for life, columns, rows in stream.pieces(tag)
        ]
        stream, session, columns, _ = pieces[-1]
        sources = tuple(dict.fromkeys(piece[0].source for piece in pieces))
        if len(pieces) == 1 and stream.simple(tag):
            return Shown(tag, stream, columns, False, session, sources, columns.n)
        merged = merge([Piece(n, s.steps(c, r), c.wall[r], c.value[r]) for s, n, c, r in pieces])
        return Shown(
            tag, stream, merged.columns, True, session, sources, columns.n, merged.superseded, merged.duplicates
        )


@dataclass(slots=True, eq=False)
class Group:
    """All streams of one kind of source."""

    kind: SourceKind
    streams: list[Stream] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    version: int = 0
    """Grows when lanes, lives or sessions change."""
    _settled: bool = False
    """The lanes are those of the present streams."""
    _filled: int = 0

    @property
    def count(self) -> int:
        """Points read."""
        return sum(stream.count for stream in self.streams)

    @property
    def shown(self) -> int:
        """How many tags are shown, over all lanes."""
        return sum(len(lane.shown) for lane in self.lanes)

    @property
    def sessions(self) -> int:
        """Sessions in the first lane."""
        return self.lanes[0].sessions if self.lanes else 0

    def add(self, source: str, batch: Scalars, *, filling: bool = False) -> None:
        """Take a batch of one source; `filling` while more of its history is to come."""
        stream = self._stream(source, batch.writer)
        stream.filling = stream.filling or filling
        was_flat, tags = stream.flat, len(stream.rows)
        grown, irregular = stream.add(batch)
        more_tags = len(stream.rows) != tags
        anew = bool(irregular) and not stream.filling and stream.begin_lives()
        among_others = len(self.streams) > 1 and (irregular or more_tags or not self._last(stream))
        if anew or among_others or stream.flat != was_flat:
            self._settled = False
        self.version += bool(irregular) or more_tags
        if stream.flat and any(stream.rows[tag].columns.n > 1 for tag in grown):
            irregular = grown
        for lane in self.lanes:
            if stream in lane.streams:
                lane.take(stream, grown, irregular)

    def drop(self, source: str) -> None:
        """Forget what a source gave."""
        self.streams = [stream for stream in self.streams if stream.source != source]
        self._settled = False

    def settle(self, source: str) -> None:
        """The history of a source was read: put its points into file order and look for its lives."""
        for stream in self.streams:
            if stream.source == source and stream.filling:
                stream.filling = False
                moved, anew = stream.settle(), stream.begin_lives()
                if moved or anew:
                    self._settled, self.lanes = False, []

    def refresh(self) -> bool:
        """Bring what is shown up to date. False where that was put off, because history is still filling in."""
        if any(stream.filling for stream in self.streams):
            if self.count < self._filled * _REFILL:
                return False
            self._filled = self.count
            for stream in self.streams:
                stream.begin_lives()
            self._settled = False
        if not self._settled or len(self.streams) > 1:
            self._arrange()
        for lane in self.lanes:
            lane.refresh()
        return True

    def _arrange(self) -> None:
        """Sort the streams into lanes; those lanes that stay as they were keep what they show."""
        self.streams.sort(key=_age)
        places = lanes(len(self.streams), lambda i, j: _at_once(self.streams[i], self.streams[j]))
        held = [
            tuple(s for s, p in zip(self.streams, places, strict=True) if p == k)
            for k in range(max(places, default=-1) + 1)
        ]
        if self._settled and held == [lane.streams for lane in self.lanes]:
            return
        old = {lane.streams: lane for lane in self.lanes}
        self.lanes = []
        for streams in held:
            lane, before = Lane(streams), old.get(streams)
            self.lanes.append(before if before is not None and before.made_of == lane.made_of else lane)
        self._settled = True
        self.version += 1

    def _last(self, stream: Stream) -> bool:
        return any(lane.streams[-1] is stream for lane in self.lanes)

    def _stream(self, source: str, writer: str) -> Stream:
        for stream in self.streams:
            if stream.source == source and stream.writer == writer:
                return stream
        stream = Stream(source, writer, self.kind)
        self.streams.append(stream)
        self._settled = False
        return stream


def sessions_of(lane: Lane) -> tuple[Session, ...]:
    """The sessions of a lane, with the steps that each went through."""
    out: list[Session] = []
    for stream, first in zip(lane.streams, lane.first, strict=True):
        for life in range(len(stream.starts) + 1):
            ends = stream.reach(life).values()
            if not ends:
                continue
            low, high = min(end[0] for end in ends), max(end[1] for end in ends)
            if out and out[-1].number == first + life:
                before = out.pop()
                low, high = min(low, before.first_step), max(high, before.last_step)
                out.append(Session(first + life, low, high, before.started, before.source))
            else:
                out.append(Session(first + life, low, high, stream.started(life), stream.source))
    return tuple(out)


def _at_once(one: Stream, other: Stream) -> bool:
    if one.source == other.source:
        return overlap(one.span, other.span) >= AT_ONCE
    return overlap(_times(one), _times(other)) >= AT_ONCE


def _times(stream: Stream) -> tuple[float, float]:
    """When a stream was written. Stamps that are no dates count from the file's beginning, which its name may tell;

    without that, nothing is known of when it was written, and it overlaps nothing.
    """
    first, last = stream.wall
    if is_date(first) or first > last:
        return first, last
    began = _name_time(stream)
    return (began + first, began + last) if began else (first, first)


def _name_time(stream: Stream) -> float:
    """The time in the name of an event file, seconds since the epoch; 0 where there is none."""
    stamp = _EVENT_TIME.search(PurePath(stream.source).name) if stream.kind == "events" else None
    return float(stamp.group(1)) if stamp else 0.0


_EVENT_TIME = re.compile(r"tfevents\.(\d{9,11})\b")
_ROTATED = re.compile(r"\.(\d{1,3})$")


def _age(stream: Stream) -> tuple[float, tuple[object, ...], int]:
    """Older streams first: by the time in the name of an event file, then by name, `x.log.2` before `x.log.1`."""
    name = PurePath(stream.source).name
    rotated = _ROTATED.search(name) if stream.kind != "events" else None
    number = -int(rotated.group(1)) if rotated else 0
    stem = name[: rotated.start()] if rotated else name
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", stem))
    return (_name_time(stream), (*parts, number, stream.source), stream.span[0])
