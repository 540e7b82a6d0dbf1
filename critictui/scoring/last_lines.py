"""What a process printed goes in; its last lines come out, without anything that a terminal would obey."""

from __future__ import annotations

import re

TAIL_BYTES = 16 << 10
"""As much of an output is kept, or read, for its last lines."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)")


def last_lines(printed: bytes | str, count: int = 8, width: int = 300) -> str:
    """The last `count` lines that are not empty, each at most `width` characters."""
    text = printed.decode("utf-8", "replace") if isinstance(printed, bytes) else printed
    lines = [line for line in re.split(r"[\r\n]+", _ESCAPES.sub("", text)) if line.strip()]
    return "\n".join("".join(c if c.isprintable() else " " for c in line)[:width] for line in lines[-count:])
