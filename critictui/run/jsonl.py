"""A JSONL file of metrics as a source: one object a line, from any of the trainers that write such files."""

from __future__ import annotations

import re
import time
from collections import deque
from pathlib import Path

from critictui.run.gathering import Gathered, Losses
from critictui.run.json_records import STEP_KEYS, Record, objects, record
from critictui.run.series import SourceKind
from critictui.run.source import Budget, Reading, RunHints
from critictui.run.tailing import Block, Lines, LineTail

LONGEST = 256 << 10
"""Bytes of one object; metrics need a hundredth."""
_TAIL = 1 << 20
"""A larger file is read from its last megabyte on: four hundred steps of sixty metrics."""

_STEPS = re.compile(rb'"(?:' + b"|".join(k.encode() for k in STEP_KEYS) + rb')"\s*:\s*[0-9.eE+-]+')
_OTHERS = re.compile(rb'"(?:Progress/tick|metric)"\s*:|"loss"\s*:')
_NOT_METRICS = re.compile(r"fixed_?set|rollout|dataset|(?:^|/)alarms\.jsonl$")


def looks_like(head: bytes, name: str) -> bool:
    """Whether a file with this beginning and name holds metrics, an object a line, with a step or a known shape."""
    if not name.lower().endswith((".jsonl", ".ndjson", ".json", ".log", ".txt")):
        return False
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not first.startswith(b'{"') or _NOT_METRICS.search(name.lower()):
        return False
    line = first.split(b"\n", 1)[0]
    if not name.lower().endswith((".jsonl", ".ndjson")) and b"}" not in line:
        return False  # a JSON document over several lines
    return _STEPS.search(line) is not None or _OTHERS.search(line) is not None


class JsonLines:
    """One JSONL file of metrics. Where no object names a step, lines are counted instead, said in a notice."""

    kind: SourceKind = "jsonl"

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._tail = LineTail(path, tail=_TAIL, cap=LONGEST)
        self._losses = Losses(name)
        self._forget()

    def _forget(self) -> None:
        self._scalars = 0
        self._lines = 0
        self._total: int | None = None
        self._last = -1
        self._profile = ""
        self._notices: set[str] = set()
        self._blocks: deque[Block] = deque()

    def close(self) -> None:
        """Give the file descriptor back."""
        self._tail.close()

    def poll(self, budget: Budget) -> Reading:
        """The scalars of lines that were completed since the last poll."""
        deadline = time.monotonic() + budget.seconds
        lines = self._tail.poll(budget) if not self._blocks else Lines("same", more=True)
        if lines.touched == "reset":
            self._forget()
            self._losses.take()
        self._blocks.extend(lines.blocks)
        gathered = Gathered()
        while self._blocks:
            rest, ordered = self._block(self._blocks.popleft(), gathered, deadline)
            if not ordered:
                return self._in_order()
            if rest is not None:
                self._blocks.appendleft(rest)
                break
        more = lines.more or bool(self._blocks)
        for offset, size in lines.holes:
            self._losses.add(offset, size, "NUL bytes: a hole in the file")
        return Reading(
            facts=self._tail.facts(self.name, self.kind, self._scalars, more=more, waiting=self._blocks),
            scalars=(gathered.scalars(),) if len(gathered) else (),
            skipped=self._losses.take(),
            more=more,
            reset=lines.touched == "reset",
            hints=RunHints(self._total, None, self._total is not None and self._last >= self._total, self._profile),
            notices=tuple(sorted(self._notices)),
        )

    def _in_order(self) -> Reading:
        """Lines without steps can only be counted from the beginning: start again there."""
        self._forget()
        self._losses.take()
        self._tail.start_over(tail=1 << 62)
        return Reading(facts=self._tail.facts(self.name, self.kind, 0, more=True), more=True, reset=True)

    def _block(self, block: Block, gathered: Gathered, deadline: float) -> tuple[Block | None, bool]:
        """What there was no time for, and whether the lines can be read in this order at all."""
        if block.cut:
            self._long(block.offset, len(block.data) + block.cut)
            return None, True
        data, at = block.data, 0
        while at < len(data):
            end = data.index(b"\n", at)
            line = data[at:end]
            if line.strip() and not self._line(line, block.offset + at, gathered):
                return None, False
            at = end + 1
            if time.monotonic() > deadline and at < len(data):
                return Block(block.offset + at, data[at:]), True
        return None, True

    def _long(self, offset: int, size: int) -> None:
        self._lines += 1
        self._losses.add(offset, size, f"a line longer than {LONGEST >> 10} KiB")

    def _line(self, line: bytes, offset: int, gathered: Gathered) -> bool:
        if len(line) > LONGEST:
            self._long(offset, len(line) + 1)
            return True
        self._lines += 1
        text = line.decode("utf-8", "replace").removeprefix("\ufeff")
        for value, lost in objects(text):
            if value is None:
                self._losses.add(offset, lost, "damaged JSON")
                continue
            found = record(value)
            if found.step is None and found.pairs:
                if self._tail.filling:
                    return False
                self._notices.add(f"{self.name}: its lines name no step; they are numbered in the order of the file")
            self._take(found, offset, gathered)
        return True

    def _take(self, found: Record, offset: int, gathered: Gathered) -> None:
        if found.refused:
            self._losses.add(offset, 0, "values that are not numbers", found.refused)
        step = self._lines if found.step is None else found.step
        self._scalars += gathered.add(offset, step, found.pairs, found.wall_time)
        self._profile = self._profile or found.profile
        self._last = max(self._last, step)
        if found.total_steps is not None:
            self._total = found.total_steps
