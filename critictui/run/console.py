"""A trainer's console log as a source: verl's step lines and Hugging Face's dict lines in, scalars out, as it grows."""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from critictui.run.gathering import Gathered, Losses
from critictui.run.last_error import LastError
from critictui.run.log_lines import (
    StepLine,
    bar_alone,
    bars_only,
    dict_line,
    holds_another,
    plain,
    split_prefix,
    step_line,
)
from critictui.run.series import SourceKind
from critictui.run.source import Budget, Reading, RunHints, Scalars
from critictui.run.tailing import LINE_CAP, TAIL, Block, Lines, LineTail

_MARKERS = (b"step:", b"epoch':", b"step':", b'epoch":', b'step":')
"""Bytes that every line of metrics has in it: trainers' dicts name an epoch or a step."""
_ANNOUNCED = (b"Total training steps: ", b"Size of train dataloader: ")
_ANNOUNCED_WITHIN = 32 << 20
"""Trainers say how long they will run before their first step."""
_TOTAL = re.compile(rb"Total training steps: ([0-9]{1,15})\b")
_EPOCH = re.compile(rb"Size of train dataloader: ([0-9]{1,15})\b")
_BAR_LABEL = b"Training Progress"
_MOST_WRITERS = 64
_MIXED = "written by another process into the middle of a line"
_SIGNS = re.compile(
    rb"(?:^|[\r\n])(?:\x1b\[[0-9;]*m)*\((?:[\w.:-]+ )?pid=[0-9]+"
    rb"|(?:^|[\s\]])step:[0-9]+ - "
    rb"|(?:^|[\r\n])\s*\{'[^'\r\n]*(?:loss|epoch|reward)[^'\r\n]*': "
    rb"|[0-9]+%\|.{0,400}\| *[0-9]+/[0-9]+ \["
    rb"|Total training steps: [0-9]|verl\.trainer|RewardTrainer|train_runtime"
)
_LOG_NAMES = re.compile(
    r"(?:\.(?:log|out|err)(?:\.\d+)?$)|(?:^|[._-])(?:log|logs|stdout|stderr|console|nohup)(?:[._-]|$)"
)


def looks_like(head: bytes, name: str) -> bool:
    """Whether a file with this beginning and name is a console log: text with a trainer's marks, or a log by name."""
    if b"\0" in head[:4096] and not _mostly_text(head[:4096]):
        return False
    if not head or head.lstrip()[:1] in b"{[<":
        text_dict = head.lstrip().startswith(b"{'")
        if not text_dict:
            return False
    if _SIGNS.search(head[: 1 << 20]):
        return True
    return _LOG_NAMES.search(name.lower()) is not None and _mostly_text(head[:4096])


def _mostly_text(head: bytes) -> bool:
    odd = sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in head)
    return odd * 50 <= len(head)


def _shorten(line: bytes) -> bytes:
    """A line of progress bars that hardly ever ends, without the bars before its last carriage return."""
    first, _, last = line.rpartition(b"\r")
    if not first:
        return line
    pieces = first.split(b"\r")
    kept = [pieces[0] if len(pieces[0]) <= 512 or not bars_only(pieces[0]) else b""]
    kept += [piece for piece in pieces[1:] if not bars_only(piece)]
    return b"\r".join([*kept, last])


@dataclass(slots=True)
class _Found:
    """What the lines of one poll gave."""

    columns: dict[str, Gathered] = field(default_factory=dict)

    def of(self, writer: str) -> Gathered:
        return self.columns.setdefault(writer, Gathered(writer))

    def scalars(self) -> tuple[Scalars, ...]:
        return tuple(c.scalars() for c in self.columns.values() if len(c))


class ConsoleLog:
    """One console log.

    The step of a dict line that names none is the number on the training bar drawn right after it (tqdm draws the bar
    anew when a line is printed), else on the last bar before it, else the count of dict lines, with a notice. Several
    processes that print step lines by turns become several writers, keyed by pid; a pid that only follows another is
    a restart.
    """

    kind: SourceKind = "log"

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._tail = LineTail(path, shorten=_shorten)
        self._losses = Losses(name)
        self._split = False
        self._forget()

    def _forget(self) -> None:
        self._scalars = 0
        self._total: int | None = None
        self._epoch: int | None = None
        self._style = ""
        self._finished = False
        self._bar: tuple[int, int] | None = None
        self._bar_at = -1
        self._dicts = 0
        self._by_bar: bool | None = None
        self._pids: dict[str, tuple[int, int]] = {}
        self._sequential = False
        self._notices: set[str] = set()
        self._blocks: deque[Block] = deque()
        self._last_block = True
        self._error = LastError()

    def close(self) -> None:
        """Give the file descriptor back."""
        self._tail.close()

    def poll(self, budget: Budget) -> Reading:
        """The scalars of lines that were completed since the last poll."""
        deadline = time.monotonic() + budget.seconds
        lines = self._tail.poll(budget) if not self._blocks else Lines("same", more=True)
        reset = lines.touched == "reset"
        if reset:
            self._forget()
            self._split = False
            self._losses.take()
        self._blocks.extend(lines.blocks)
        end = self._tail.live.line_start
        for block in lines.blocks:
            self._error.look(block, end)
        found = _Found()
        self._parse_until(deadline, found)
        more = lines.more or bool(self._blocks)
        for offset, size in lines.holes:
            self._losses.add(offset, size, "NUL bytes: a hole in the file")
        if self._must_restart():
            return self._restart()
        return Reading(
            facts=self._tail.facts(self.name, self.kind, self._scalars, more=more, waiting=self._blocks),
            scalars=found.scalars(),
            skipped=self._losses.take(),
            more=more,
            reset=reset,
            hints=RunHints(
                self._total,
                self._epoch,
                self._finished,
                self._profile(),
                "" if more else self._error.text(end, self._tail.live.carry),
            ),
            notices=tuple(sorted(self._notices)),
        )

    def _parse_until(self, deadline: float, found: _Found) -> None:
        """Take what the blocks say; what time does not allow for stays for the next poll."""
        blocks = self._blocks
        while blocks:
            block = blocks.popleft()
            self._last_block = not blocks
            rest, late = self._block(block, found, deadline)
            if rest is None:
                continue
            if late:
                blocks.appendleft(rest)
                return
            if not blocks:
                self._tail.hold(rest)
                return
            after = blocks.popleft()
            blocks.appendleft(Block(rest.offset, rest.data + after.data, after.cut))

    def _profile(self) -> str:
        return {"verl": "verl", "hf": "", "ms-swift": "ms-swift"}.get(self._style, "")

    def _must_restart(self) -> bool:
        """Whether what was assumed so far turned out wrong: one writer, or that order does not matter."""
        ordered = self._style == "hf" and self._tail.filling and not self._sequential
        spans = sorted(self._pids.values())
        overlap = any(a[1] > b[0] for a, b in pairwise(spans))
        return ordered or (overlap and not self._split)

    def _restart(self) -> Reading:
        ordered = self._style == "hf" and self._tail.filling
        split = self._split or len(self._pids) > 1
        self._forget()
        self._split = split
        self._losses.take()
        self._sequential = ordered
        self._tail.start_over(tail=1 << 62 if ordered else TAIL)
        return Reading(facts=self._tail.facts(self.name, self.kind, 0, more=True), more=True, reset=True)

    def _block(self, block: Block, found: _Found, deadline: float) -> tuple[Block | None, bool]:
        """Look only at lines with a marker in them: finding bytes costs a hundredth of splitting every line.

        Gives back what was not taken: the last line when it cannot be understood before the next one is there, or,
        with True, all that there was no time for.
        """
        data = block.data
        markers = _MARKERS + _ANNOUNCED if block.offset < _ANNOUNCED_WITHIN else _MARKERS
        ahead = {marker: data.find(marker) for marker in markers}
        at = 0
        if self._bar is None:
            self._bar_line(block, data.find(b"%|"))
        while True:
            for marker, position in ahead.items():
                if 0 <= position < at:
                    ahead[marker] = data.find(marker, at)
            hits = [p for p in ahead.values() if p >= 0]
            if not hits:
                break
            hit = min(hits)
            start = data.rfind(b"\n", 0, hit) + 1
            end = data.find(b"\n", hit)
            end = len(data) if end < 0 else end
            if not self._line(block, start, end, found):
                return Block(block.offset + start, data[start:], block.cut), False
            at = end + 1
            if time.monotonic() > deadline and at < len(data):
                return Block(block.offset + at, data[at:], block.cut), True
        self._bar_line(block, data.rfind(b"%|"))
        return None, False

    def _bar_line(self, block: Block, at: int) -> None:
        """Look at the pieces of the line with a bar at `at`; bars fill most of a log, so only a few are looked at."""
        if at < 0:
            return
        data = block.data
        start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
        for segment in data[max(start, at - 4096) : end if end >= 0 else len(data)][: 2 * LINE_CAP].split(b"\r"):
            prefix = split_prefix(plain(segment))
            if prefix.bar:
                self._seen_bar(prefix.bar, segment, block.offset + at)

    def _line(self, block: Block, start: int, end: int, found: _Found) -> bool:
        """Take what the line says; False when its step is only known once the next line is there."""
        raw = block.data[start:end]
        if len(raw) > LINE_CAP:
            raw = _shorten(raw)
        cut = (block.cut if end + 1 >= len(block.data) else 0) + max(0, len(raw) - LINE_CAP)
        raw = raw[:LINE_CAP]
        position = block.offset + start
        clean = True
        pid = ""
        for segment in raw.split(b"\r"):
            prefix = split_prefix(plain(segment))
            pid = prefix.pid or pid
            if prefix.bar:
                self._seen_bar(prefix.bar, segment, position)
            if not prefix.content:
                continue
            if clean:
                self._hints(prefix.content, position)
            line = self._parse(prefix.content, cut=bool(cut)) if clean else None
            if line is None:
                if clean and prefix.content.startswith(b"{'") and holds_another(prefix.content):
                    self._losses.add(position, len(segment), _MIXED)
                clean = False
                continue
            clean = False
            if line.foreign:
                self._losses.add(position, line.foreign, _MIXED)
            if cut:
                self._losses.add(position, cut, "the end of a line longer than 64 KiB")
            if line.style == "hf" and line.step is None:
                line = self._with_step(line, block, end)
                if line is None:
                    return False
            self._take(line, position, pid, len(segment), found)
        return True

    def _parse(self, content: bytes, *, cut: bool) -> StepLine | None:
        if content.startswith(b"step:"):
            return step_line(content, cut=cut)
        return dict_line(content) if content.startswith(b"{") and not cut else None

    def _hints(self, content: bytes, position: int) -> None:
        """A trainer announces at the start of a line; a sample text that says the same in its middle does not."""
        total, epoch = _TOTAL.match(content), _EPOCH.match(content)
        if total:
            self._total = int(total.group(1))
            self._error.survived(position)
        if epoch:
            self._epoch = int(epoch.group(1)) or None

    def _seen_bar(self, bar: tuple[int, int], segment: bytes, position: int) -> None:
        if position < self._bar_at:
            return  # history, read after the end of the file
        done, total = bar
        labelled = _BAR_LABEL in segment
        if not labelled and b":" in plain(segment).split(b"%|")[0]:
            return
        if not labelled and self._by_bar and self._bar is not None and self._bar[1] != total:
            return  # an evaluation's bar, inside the training's
        self._bar, self._bar_at = bar, position
        if labelled or self._style in {"hf", "ms-swift"}:
            self._total = total
            self._finished = done >= total > 0

    def _with_step(self, line: StepLine, block: Block, end: int) -> StepLine | None:
        """The line with its step from a bar; None when the bar that follows may still be coming."""
        if self._by_bar is None:
            # A trainer draws its bar before its first line; one that comes later belongs to something else. Decided
            # once, so that the same bytes give the same steps however they arrive.
            self._look_back(block, end)
            self._by_bar = self._bar is not None and self._bar_at <= block.offset + end
        if not self._by_bar:
            self._dicts += 1
            self._notices.add(f"{self.name}: its lines name no step; they are numbered in the order of the log")
            return _at_step(line, self._dicts)
        assert self._bar is not None
        rest = block.data[end + 1 : end + 4097]
        at_end = not rest
        if at_end and not self._last_block:
            return None
        if at_end:
            rest = self._tail.live.carry[:4096]
        bar = bar_alone(rest.split(b"\n")[0])
        if bar is not None and bar[1] == self._bar[1]:
            self._bar = bar
            self._finished = bar[0] >= bar[1] > 0
        elif at_end and b"\n" not in rest and not self._tail.filling:
            return None
        else:
            self._look_back(block, end)
        self._total = self._bar[1]
        return _at_step(line, self._bar[0])

    def _look_back(self, block: Block, end: int) -> None:
        """See the last bars before the line that ends at `end`."""
        found: list[int] = []
        at = block.data.rfind(b"%|", 0, end)
        while at >= 0 and len(found) < 4:
            found.append(at)
            at = block.data.rfind(b"%|", 0, at)
        for before in reversed(found):
            self._bar_line(block, before)

    def _take(self, line: StepLine, position: int, pid: str, size: int, found: _Found) -> None:
        if line.repeated:
            self._losses.add(position, size, "a line that Ray marks as repeated")
            return
        if line.refused:
            self._losses.add(position, 0, "fields whose value is not a number", line.refused)
        self._style = line.style
        if line.total_steps:
            self._total = line.total_steps
        if line.step is None:
            return
        self._error.survived(position)
        if pid and (pid in self._pids or len(self._pids) < _MOST_WRITERS):
            low, high = self._pids.get(pid, (position, position))
            self._pids[pid] = (min(low, position), max(high, position))
        writer = f"pid {pid}" if pid and self._split else ""
        self._scalars += found.of(writer).add(position, line.step, line.pairs)


def _at_step(line: StepLine, step: int) -> StepLine:
    return StepLine(step, line.pairs, line.refused, line.style, line.total_steps)
