"""All points of a run: readings of its sources go in, the series that are shown come out, equal to a batch read.

One metric appears once: where several kinds of source have it, the first of `PREFERRED` stands alone and is not
extended by the others. Event files hold exact floats with checksums; a log holds rounded ones, and a line in it may be
text that the model wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from critictui.run.agreement import Compared, said_of
from critictui.run.aliases import Table, canonical
from critictui.run.facts import Session, Skipped, SourceFacts
from critictui.run.lanes import Group, Lane, Shown, sessions_of
from critictui.run.metrics import NAMES
from critictui.run.series import Series, SourceKind
from critictui.run.source import Reading, RunHints
from critictui.run.streams import RawScalars
from critictui.run.tags import same_metric

PREFERRED: tuple[SourceKind, ...] = ("events", "jsonl", "trainer-state", "log")
_MOST_SKIPPED = 1000
"""Losses of one source that are listed one by one."""
_REPEATS = 1 << 40


@dataclass(slots=True, eq=False)
class _Told:
    """What one source said beside scalars."""

    facts: SourceFacts
    hints: RunHints
    skipped: list[Skipped]
    notices: tuple[str, ...]


class Store:
    """Takes readings, gives series. Cheap to ask: what did not change is the same object as before."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._groups: dict[SourceKind, Group] = {kind: Group(kind) for kind in PREFERRED}
        self._told: dict[str, _Told] = {}
        self._made: dict[str, tuple[Shown, int, int, Series]] = {}
        self._sessions_of: dict[int, NDArray[np.int64]] = {}
        self._sessions: tuple[tuple[SourceKind, int], tuple[Session, ...]] = (("events", -1), ())
        self._shape: tuple[object, ...] = ()
        self._lanes: list[tuple[Lane, SourceKind]] = []
        self._labels: list[dict[str, str]] = []
        self._out: dict[str, Series] = {}
        self._doubled: list[tuple[str, Lane, str, Lane, str]] = []
        """(canonical name, lane, tag, lane, tag) of metrics in a file that is shown and in one that is not."""
        self._compared: list[Compared] = []
        self.labelled: tuple[str, ...] = ()
        """Files whose series carry their name, because they were written at the same time as others."""

    def take(self, name: str, reading: Reading) -> bool:
        """Take what one poll of the source `name` brought; True if anything is new."""
        facts = reading.facts
        told = self._told.get(name)
        if told is None or reading.reset:
            self._told[name] = told = _Told(facts, reading.hints, [], ())
            new = True
        else:
            new = told.facts != facts or told.hints != reading.hints
        group = self._groups[facts.kind]
        if reading.reset:
            group.drop(name)
        told.facts, told.hints = facts, reading.hints
        for skipped in reading.skipped:
            _add_skipped(told.skipped, skipped)
        if reading.notices:
            told.notices = tuple(dict.fromkeys((*told.notices, *reading.notices)))
        filling = facts.state == "filling"
        for batch in reading.scalars:
            if len(batch.step):
                group.add(name, batch, filling=filling)
        if not filling:
            group.settle(name)
        return new or bool(reading.scalars or reading.skipped or reading.notices)

    def rename(self, table: Table) -> None:
        """From now on series have the names that this table gives their tags."""
        self._table = table
        self._made, self._shape = {}, ()

    def forget(self, name: str) -> None:
        """A source does not belong to the run any more."""
        told = self._told.pop(name, None)
        if told is not None:
            self._groups[told.facts.kind].drop(name)

    @property
    def facts(self) -> tuple[SourceFacts, ...]:
        """Of each source, by name."""
        return tuple(self._told[name].facts for name in sorted(self._told))

    @property
    def hints(self) -> tuple[RunHints, ...]:
        """Of each source, by name."""
        return tuple(self._told[name].hints for name in sorted(self._told))

    @property
    def errors(self) -> dict[str, str]:
        """What each log ends in, by its name; '' where that is no error."""
        return {name: told.hints.error for name, told in self._told.items() if told.facts.kind == "log"}

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All losses, by source; also what cannot be read, and the torn end of an event file that nobody writes now."""
        out: list[Skipped] = []
        for name in sorted(self._told):
            out += self._told[name].skipped
            facts = self._told[name].facts
            if facts.kind == "events" and facts.state == "quiet" and facts.read < facts.size:
                out.append(Skipped(name, facts.read, facts.size - facts.read, 1, "cut short at the end of the file"))
            elif facts.state == "error" and facts.read < facts.size:
                out.append(Skipped(name, facts.read, facts.size - facts.read, 0, f"not read: {facts.message}"))
        return tuple(out)

    @property
    def stamps(self) -> tuple[float, float, float]:
        """Earliest and latest wall time that any source wrote, infinite without any, and the largest step back."""
        streams = [stream for group in self._groups.values() for stream in group.streams]
        return (
            min((stream.wall[0] for stream in streams), default=np.inf),
            max((stream.wall[1] for stream in streams), default=-np.inf),
            max((stream.fell for stream in streams), default=0.0),
        )

    @property
    def newest_stamps(self) -> dict[str, float]:
        """The latest wall time that each source wrote, by its name; none of a source without times."""
        newest: dict[str, float] = {}
        for stream in (stream for group in self._groups.values() for stream in group.streams):
            newest[stream.source] = max(stream.wall[1], newest.get(stream.source, -np.inf))
        return newest

    @property
    def notices(self) -> tuple[str, ...]:
        """What the sources wish the user to know, and where they disagree."""
        told = dict.fromkeys(text for name in sorted(self._told) for text in self._told[name].notices)
        return (*told, *self._disagreements())

    def _disagreements(self) -> tuple[str, ...]:
        """Of the metrics that two kinds of source have: the better one is shown, the other compared with it."""
        known, self._compared = self._compared, []
        held = {(one.name, id(one.shown), id(one.other)): one for one in known}
        for name, lane, tag, other_lane, other_tag in self._doubled:
            shown, other = lane.shown.get(tag), other_lane.shown.get(other_tag)
            if shown is not None and other is not None:
                one = held.get((name, id(shown), id(other))) or Compared(name, shown, other)
                one.go_on()
                self._compared.append(one)
        return said_of(self._compared)

    @property
    def _main(self) -> Group | None:
        return next((group for group in self._groups.values() if group.lanes), None)

    def series(self) -> dict[str, Series]:
        """The series that are shown, by tag."""
        for group in self._groups.values():
            if group.streams or group.lanes:
                group.refresh()
        main = self._main
        sessions = main.sessions if main is not None else 0
        shape = (sessions, *((group.version, group.shown) for group in self._groups.values()))
        if shape != self._shape:
            self._shape = shape
            self._label()
        out, known = self._out, bool(self._out)
        for number, (lane, kind) in enumerate(self._lanes):
            labels = self._labels[number]
            for tag in lane.touched if known else labels:
                if tag in labels:
                    out[labels[tag]] = self._series(labels[tag], lane.shown[tag], kind, sessions - lane.sessions)
            lane.touched.clear()
        if len(self._made) > len(out):
            self._made = {label: self._made[label] for label in out}
        return dict(out)

    def _label(self) -> None:
        """Decide under which name what is shown appears, and what does not because a better source has it."""
        self._lanes = [(lane, group.kind) for group in self._groups.values() for lane in group.lanes]
        self._labels, self._out = [], {}
        taken: set[str] = set()
        used: set[str] = set()
        labelled: dict[str, None] = {}
        first: dict[str, tuple[Lane, str]] = {}
        self._doubled = []
        for group in self._groups.values():
            mine: set[str] = set()
            for lane in group.lanes:
                labels: dict[str, str] = {}
                for tag, shown in lane.shown.items():
                    key = same_metric(tag)
                    if key in taken:
                        name = canonical(tag, self._table)
                        if name in NAMES and len(group.lanes) == 1:
                            self._doubled.append((name, *first[key], lane, tag))
                        continue
                    label = tag
                    if tag in used:
                        label = _labelled(tag, lane, shown, used)
                        labelled[shown.sources[-1]] = None
                    mine.add(key)
                    first.setdefault(key, (lane, tag))
                    used.add(label)
                    labels[tag] = label
                self._labels.append(labels)
            taken |= mine
        self.labelled = tuple(labelled)

    def raw(self) -> Iterator[RawScalars]:
        """Every point that was read, writer by writer, by the name of the source."""
        self.series()
        main = self._main
        sessions = main.sessions if main is not None else 0
        streams = [
            (stream.source, stream.span[0], stream, max(first + sessions - lane.sessions, 0))
            for group in self._groups.values()
            for lane in group.lanes
            for stream, first in zip(lane.streams, lane.first, strict=True)
        ]
        for _, _, stream, first in sorted(streams, key=lambda found: found[:2]):
            yield stream.raw(first)

    def sessions(self) -> tuple[Session, ...]:
        """The sessions of the run: those of its first writer, in the source that is preferred."""
        main = self._main
        if main is None:
            return ()
        lane = main.lanes[0]
        if self._sessions[0] != (main.kind, main.version):
            self._sessions = ((main.kind, main.version), sessions_of(lane))
        past = self._sessions[1]
        if not past:
            return ()
        current = [s.columns.last_step for s in lane.shown.values() if s.session == lane.sessions - 1]
        return (*past[:-1], replace(past[-1], last_step=max(current, default=past[-1].last_step)))

    def _series(self, label: str, shown: Shown, kind: SourceKind, shift: int) -> Series:
        before = self._made.get(label)
        columns, n = shown.columns, shown.n
        if before is not None and before[0] is shown and before[1] == n and before[2] == shift:
            return before[3]
        if shown.merged:
            session = np.maximum(columns.position + shift, 0) if shift else columns.position
        else:
            session = self._repeated(max(shown.session + shift, 0))[:n]
        series = Series(
            label,
            before[3].name if before is not None else canonical(shown.tag, self._table),
            kind,
            ", ".join(shown.sources),
            columns.step[:n],
            columns.wall[:n],
            columns.value[:n],
            session,
            shown.pyramid,
            shown.superseded,
            shown.duplicates,
        )
        self._made[label] = (shown, n, shift, series)
        return series

    def _repeated(self, session: int) -> NDArray[np.int64]:
        """One number as a column of any length, at no cost."""
        if session not in self._sessions_of:
            self._sessions_of[session] = np.broadcast_to(np.int64(session), (_REPEATS,))
        return self._sessions_of[session]


def _labelled(tag: str, lane: Lane, shown: Shown, taken: Set[str]) -> str:
    writer = shown.stream.writer or PurePath(lane.streams[0].source).name
    label = f"{tag} [{writer}]"
    return label if label not in taken else f"{tag} [{lane.streams[0].source} {writer}]"


def _add_skipped(held: list[Skipped], new: Skipped) -> None:
    """Keep a loss; past a thousand of one source, those of one reason are counted together."""
    if len(held) >= _MOST_SKIPPED:
        for k in range(len(held) - 1, -1, -1):
            if held[k].reason == new.reason:
                old = held[k]
                held[k] = Skipped(old.file, old.offset, old.bytes + new.bytes, old.records + new.records, old.reason)
                return
    held.append(new)
