"""How much of this machine's memory may be taken: figures of the kernel and of control groups in, bytes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60
"""A control group without a limit says `max`, or (version 1) a number near 2**63."""


@dataclass(frozen=True, slots=True)
class HostReading:
    """The host's memory at one moment, bytes."""

    total: int
    """What we may ever use: the machine's, or the control group's limit where that is lower."""
    free: int
    """What can be taken without anything being pushed out but the page cache."""
    limit: str = ""
    """What sets the limit where it is not the machine: `control group`."""


def read_host(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> HostReading | None:
    """MemAvailable, or what our control group leaves where that is less; None where the kernel tells nothing."""
    known = _numbers(proc / "meminfo", unit=1024)
    if "MemAvailable" not in known:
        return None
    found = HostReading(known.get("MemTotal", known["MemAvailable"]), known["MemAvailable"])
    for folder in _groups(proc, groups):
        limit, used = _limit(folder)
        if limit is not None and limit < found.total:
            found = HostReading(limit, found.free, "control group")
        if limit is not None and limit - used < found.free:
            found = HostReading(found.total, max(limit - used, 0), "control group")
    return found


def _groups(proc: Path, groups: Path) -> list[Path]:
    """The folders of our control group and of those above it. Inside a container its path may not be visible."""
    try:
        lines = (proc / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" or "memory" in controllers.split(","):
            top = groups if number == "0" else groups / "memory"
            below = Path(path.lstrip("/"))
            found += [top / folder for folder in (below, *below.parents) if ".." not in folder.parts]
    return list(dict.fromkeys(found))


def _limit(folder: Path) -> tuple[int | None, int]:
    """(limit, bytes in use that cannot be given up) of one group; version 2's names, then version 1's."""
    for limit_name, used_name in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None and used is not None and limit < _UNLIMITED:
            stat = _numbers(folder / "memory.stat")
            # pages of files are counted as used, and given up when anybody needs them
            cache = sum(stat.get(f"total_{n}", stat.get(n, 0)) for n in ("active_file", "inactive_file"))
            return limit, max(used - cache, 0)
    return None, 0


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _numbers(path: Path, unit: int = 1) -> dict[str, int]:
    """Lines of `name value` or `name: value kB`; what is no number is left out."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.replace(":", " ").split() for line in lines)
    return {words[0]: int(words[1]) * unit for words in pairs if len(words) > 1 and words[1].isdigit()}
