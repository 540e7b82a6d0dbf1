"""Where a path lives: file systems over a network neither ring inotify's bell nor keep sizes and data in step."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_REMOTE = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "coda", "ceph", "lustre", "gpfs", "beegfs",
        "glusterfs", "pvfs2", "orangefs", "wekafs", "pancfs", "virtiofs", "vboxsf", "autofs",
    }
)  # fmt: skip
_REMOTE_MAGICS = frozenset(
    {
        0x6969, 0x517B, 0xFF534D42, 0xFE534D42, 0x65735546, 0x0BD00BD0, 0x47504653, 0x19830326, 0x00C36400,
        0x5346414F, 0x6B414653, 0x73757245, 0x01021997, 0x564C, 0xAAD7AAEA, 0x786F4256, 0x20030528, 0xBEEFDEAD,
    }
)  # fmt: skip
"""NFS, SMB, CIFS, SMB2, FUSE, Lustre, GPFS, BeeGFS, Ceph, AFS (two), Coda, 9P, NCP, PanFS, vboxsf, OrangeFS, StorNext;
statfs(2), linux/magic.h and the clients' own sources."""
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
def _mounted_from_afar(device: int, magic: int, folder: str) -> bool:
    # Keyed by what is mounted there, so that something mounted over the same path later is looked up anew.
    del device, magic
    try:
        table = mounts(Path("/proc/self/mountinfo").read_text(errors="replace"))
    except OSError:
        return False
    mount = mount_of(Path(os.path.realpath(folder)), table)
    return mount is not None and mount.remote


def magic_of(path: Path) -> int:
    """The number by which statfs(2) names the kind of file system; 0 where that cannot be found out."""
    if sys.platform != "linux":
        return 0
    import ctypes

    room = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None).statfs(os.fsencode(path), room) != 0:
        return 0
    kind: int = ctypes.c_long.from_buffer(room).value
    return kind & 0xFFFFFFFF


def is_remote(path: Path) -> bool:
    """Whether `path` lies on NFS, FUSE, Lustre and their like. False where that cannot be found out."""
    magic = magic_of(path)
    if magic in _REMOTE_MAGICS:
        return True
    folder = path if path.is_dir() else path.parent
    try:
        return _mounted_from_afar(folder.stat().st_dev, magic, str(folder))
    except OSError:
        return False
