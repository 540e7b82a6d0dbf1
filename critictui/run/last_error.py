"""How a log ends: its last lines go in as they are read, the error that it ended in comes out, if it did.

A process that dies says so in its last lines: the last line of a traceback, CUDA and NCCL, the shell (`Killed`,
`Aborted (core dumped)`), the scheduler (slurm's `DUE TO TIME LIMIT`). A step after that means that it was survived.
"""

from __future__ import annotations

import re

from critictui.run.log_lines import plain, split_prefix
from critictui.run.tailing import Block
from critictui.run.text import sanitise_line

WINDOW = 64 << 10
"""An error with more than this after it is not what the log ends in."""
_MARKS = (
    b"Error", b"Exception", b"Interrupt", b"out of memory", b"error", b"core dumped", b"Killed", b"fault", b"timeout",
    b"DUE TO", b"oom",
)  # fmt: skip
"""A line that is one has one of these in it; found at the speed of memory."""
_LINES_A_MARK = 8
_LINE = 4096
_LIMIT = 160
_FATAL = re.compile(
    rb"(?:[A-Za-z_]\w*\.)*+[A-Z]\w*(?:Error|Exception|Interrupt)(?:\([\w.]+\))?(?::.*)?$"
    rb"|.*(?:CUDA out of memory|CUDA error: |NCCL error|nccl\w*Error|Watchdog caught collective operation timeout)"
    rb"|.*\(core dumped\)"
    rb"|(?:.*(?: line [0-9]+: +[0-9]+|task [0-9, -]+:) *)?(?:Killed|Segmentation fault|Bus error)\b"
    rb"|slurmstepd: error: |.* DUE TO [A-Z]|.*oom[_-]kill",
    re.DOTALL,
)


class LastError:
    """The last error in a log that is read from its end and as it grows."""

    def __init__(self) -> None:
        self._at, self._text = -1, ""
        self._alive = -1

    def look(self, block: Block, end: int) -> None:
        """See lines; `end` is where the log ends now. Of many lines, the last."""
        if block.offset + len(block.data) <= max(end - WINDOW, self._at):
            return
        data = block.data[-WINDOW:]
        offset = block.offset + len(block.data) - len(data)
        for mark in _MARKS:
            at, stop = data.rfind(mark), 0
            while at >= 0 and stop < _LINES_A_MARK and offset + at > self._at:
                start = data.rfind(b"\n", 0, at) + 1
                said = _error_in(data[start : start + _LINE].partition(b"\n")[0])
                if said:
                    self._at, self._text = offset + start, said
                    break
                at, stop = data.rfind(mark, 0, start), stop + 1

    def survived(self, position: int) -> None:
        """A line at this position shows that the run lives."""
        self._alive = max(self._alive, position)

    def text(self, end: int, unfinished: bytes) -> str:
        """The error that a log ends in, on one line and safe to show; '' where it does not.

        unfinished: what stands after its last whole line, at `end`.
        """
        said = _error_in(unfinished[:_LINE])
        return said or (self._text if self._at > self._alive and self._at >= end - WINDOW else "")


def _error_in(line: bytes) -> str:
    """What a line says, if it is the end of a process."""
    content = split_prefix(plain(line.rpartition(b"\r")[2] or line.rstrip(b"\r"))).content.strip()
    found = _FATAL.match(content)
    if found is None:
        return ""
    told = content[: found.end()] if b"(core dumped)" in found.group() else content
    return sanitise_line(" ".join(told.decode("utf-8", "replace").split()), _LIMIT)
