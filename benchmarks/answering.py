"""A pseudo-terminal that answers what programs ask of a terminal, as a present-day xterm in dark colours does.

Without an answer a program waits until it gives up, and its start would look slower than it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import peers
from benchmarks.terminal import PtySession

_QUESTIONS = re.compile(
    rb"\x1b\[(?P<csi>[?>=]?[0-9;]*(?:\$p|[cnqut]))"
    rb"|\x1b\](?P<colour>1[0-2]|4;[0-9]+);\?(?:\x07|\x1b\\)"
    rb"|\x1bP\+q(?P<capability>[0-9A-Fa-f;]*)\x1b\\"
)
_COLOURS = {b"10": b"d0d0/d0d0/d0d0", b"11": b"1e1e/1e1e/2e2e", b"12": b"ffff/ffff/ffff"}
_SETTLED = {b"2026": b"2", b"2004": b"2", b"1004": b"2", b"1006": b"2", b"25": b"1"}
"""Private modes that the terminal has, and whether they are set (1) or not (2)."""


class AnsweringSession(PtySession):
    """A session whose terminal answers. `arrived`: for each piece of `sent` its end in it, and when it came."""

    def __init__(
        self, command: Sequence[str], columns: int, lines: int, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self.arrived: list[tuple[int, float]] = []
        self._rest = b""
        super().__init__(command, columns, lines, env, cwd)

    def take(self, data: bytes) -> None:
        """Keep what was sent, and answer the questions in it."""
        super().take(data)
        self.arrived.append((len(self.sent), time.monotonic()))
        new, end = self._rest + data, 0
        for question in _QUESTIONS.finditer(new):
            end = question.end()
            os.write(self.fd, reply(question))
        self._rest = new[max(end, len(new) - 64) :]

    def close(self) -> None:
        """End the command and all its processes: LEET goes on where its terminal and its parent have gone."""
        descendants = peers.tree(self.pid)[1:] if self.status is None else []
        super().close()
        for process in descendants:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def reply(question: re.Match[bytes]) -> bytes:
    """What the terminal says; empty for what is no question or one that xterm leaves unanswered."""
    csi, colour = question["csi"], question["colour"]
    if colour is not None:
        return b"\x1b]%s;rgb:%s\x1b\\" % (colour, _COLOURS.get(colour, b"8080/8080/8080"))
    if csi is None:
        return b"\x1bP0+r%s\x1b\\" % question["capability"]
    if csi.endswith(b"$p"):
        mode = csi.strip(b"?$p")
        return b"\x1b[?%s;%s$y" % (mode, _SETTLED.get(mode, b"0"))
    answers = {
        b"c": b"\x1b[?64;1;2;6;9;15;18;21;22c",
        b"0c": b"\x1b[?64;1;2;6;9;15;18;21;22c",
        b">c": b"\x1b[>41;390;0c",
        b">0c": b"\x1b[>41;390;0c",
        b"5n": b"\x1b[0n",
        b"6n": b"\x1b[1;1R",
        b"?6n": b"\x1b[?1;1R",
        b"?996n": b"\x1b[?997;1n",
        b">q": b"\x1bP>|XTerm(390)\x1b\\",
        b">0q": b"\x1bP>|XTerm(390)\x1b\\",
        b"18t": b"\x1b[8;36;120t",
        b"14t": b"\x1b[4;576;960t",
        b"16t": b"\x1b[6;16;8t",
    }
    return answers.get(csi, b"")
