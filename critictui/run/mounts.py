"""Where a path lives: file systems over a network neither ring inotify's bell nor keep sizes and data in step."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_REMOTE = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "coda", "ceph", "lustre", "gpfs", "beegfs",
        "glusterfs", "pvfs2", "orangefs", "wekafs", "pancfs", "virtiofs", "vboxsf", "autofs",
    }
)  # fmt: skip
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount point and the kind of file system on it."""

    point: str
    kind: str

    @property
    def remote(self) -> bool:
        """Changes made elsewhere may come without an event, and attributes may lag behind the data."""
        return self.kind in _REMOTE or self.kind == "fuse" or self.kind.startswith("fuse.")


def mounts(text: str) -> tuple[Mount, ...]:
    """The mounts that `/proc/self/mountinfo` lists, in its order (later ones cover earlier ones)."""
    found = []
    for line in text.split("\n"):
        left, separator, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")[0]
        if separator and len(fields) > 4 and kind:
            point = _OCTAL.sub(lambda m: chr(int(m.group(1), 8)), fields[4])
            found.append(Mount(point, kind))
    return tuple(found)


def mount_of(path: Path, table: tuple[Mount, ...]) -> Mount | None:
    """The mount that holds `path`: the longest matching mount point, the last one of equals."""
    best: Mount | None = None
    text = str(path)
    for mount in table:
        inside = text == mount.point or text.startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


@lru_cache(maxsize=256)
def _remote_device(device: int, path: str) -> bool:
    # Keyed by device, so that something mounted over the same path later is looked up anew.
    del device
    try:
        table = mounts(Path("/proc/self/mountinfo").read_text(errors="replace"))
    except OSError:
        return False
    mount = mount_of(Path(path), table)
    return mount is not None and mount.remote


def is_remote(path: Path) -> bool:
    """Whether `path` lies on NFS, FUSE, Lustre and their like. False where that cannot be found out."""
    folder = path if path.is_dir() else path.parent
    try:
        real = os.path.realpath(folder)
        return _remote_device(Path(real).stat().st_dev, real)
    except OSError:
        return False
