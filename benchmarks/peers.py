"""Peers that are programs of their own: where `make peers` put them, and what a whole tree of processes takes."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

PYTHON = Path(__file__).parents[1] / ".peers" / "bin" / "python"
"""The interpreter of the peers' environment."""
_TICKS = os.sysconf("SC_CLK_TCK")


def version(distribution: str, python: Path = PYTHON) -> str | None:
    """The version of a peer that is installed there; None where it is not."""
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def missing(*distributions: str) -> str:
    """One sentence about what is not installed; '' when all of them are there."""
    absent = [name for name in distributions if version(name) is None]
    return f"not installed: {', '.join(absent)}. Nothing is measured; `make peers` installs them." if absent else ""


def tree(process: int) -> list[int]:
    """The process and all that descend from it, as far as they live."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents.setdefault(int(_stat(int(folder.name))[1]), []).append(int(folder.name))
    found = [process]
    for one in found:
        found += parents.get(one, [])
    return found


def cpu_seconds(process: int) -> float:
    """User and system time of the whole tree, with that of the children that ended and were waited for."""
    total = 0
    for one in tree(process):
        with contextlib.suppress(OSError):
            total += sum(map(int, _stat(one)[11:15]))
    return total / _TICKS


def memory(process: int) -> float:
    """Resident MiB of the whole tree; what its processes share counts in each."""
    pages = 0
    for one in tree(process):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, all but the first to the right."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _stat(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on."""
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
