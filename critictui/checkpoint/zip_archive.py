"""A zip archive as `torch.save` writes it: its entries and where their bytes lie, from the central directory alone.

Everything an entry claims is checked against the file's size before it is believed; only stored (uncompressed) entries
are accepted, so that a small archive cannot become a large one. Format: PKWARE APPNOTE 4.3, with zip64.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from critictui.checkpoint.checkpoint import CheckpointError

MAX_DIRECTORY = 64 << 20
MAX_ENTRIES = 400_000
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")


class TruncatedError(CheckpointError):
    """The archive has no whole central directory: it is cut short or still being written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored file of the archive."""

    name: str
    header: int
    """Offset of its local header."""
    size: int
    crc: int
    """CRC-32, 0 where the writer left it out (torch.serialization.set_crc32_options(False))."""


@dataclass(slots=True, eq=False)
class ZipArchive:
    """An open archive: descriptor, entries by name."""

    path: Path
    fd: int
    size: int
    prefix: str
    """The folder in the archive that holds `data.pkl`, with its slash."""
    entries: dict[str, Entry]
    _starts: dict[str, int] = field(default_factory=dict)

    def start(self, name: str) -> int:
        """Offset of an entry's first byte, from its local header; CheckpointError if the two headers disagree."""
        known = self._starts.get(name)
        if known is not None:
            return known
        entry = self.entries.get(name)
        if entry is None:
            raise CheckpointError(f"{self.path}: the archive lacks its entry {name!r}; copy the file again")
        raw = os.pread(self.fd, _LOCAL.size + len(name.encode()), entry.header)
        if len(raw) < _LOCAL.size:
            raise TruncatedError(f"{self.path}: cut short at byte {entry.header + len(raw)}")
        fields = _LOCAL.unpack_from(raw)
        at: int = entry.header + _LOCAL.size + fields[9] + fields[10]
        if fields[0] != b"PK\x03\x04" or raw[_LOCAL.size :] != name.encode() or at + entry.size > self.size:
            raise CheckpointError(f"{self.path}: the header of entry {name!r} is damaged; copy the file again")
        self._starts[name] = at
        return at

    def read(self, name: str, limit: int) -> bytes:
        """A small entry's bytes, its CRC verified. Raises CheckpointError beyond `limit` or on a mismatch."""
        start = self.start(name)
        entry = self.entries[name]
        if entry.size > limit:
            raise CheckpointError(f"{self.path}: entry {name!r} has {entry.size} bytes, more than {limit}; not read")
        data = os.pread(self.fd, entry.size, start)
        if len(data) < entry.size:
            raise TruncatedError(f"{self.path}: cut short in entry {name!r}")
        if entry.crc and zlib.crc32(data) != entry.crc:
            raise CheckpointError(f"{self.path}: entry {name!r} is damaged (CRC differs); copy the file again")
        return data

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


def is_whole(path: Path) -> str:
    """Why a `.pt` file is not a whole archive, in words; empty if it is one. Reads its last bytes only.

    Raises OSError where it cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = os.fstat(fd).st_size
        _directory(path, fd, size)
    except TruncatedError:
        return f"{path.name} is cut short ({size} bytes so far)"
    except CheckpointError as error:
        return str(error)
    finally:
        os.close(fd)
    return ""


def open_archive(path: Path) -> ZipArchive:
    """Open an archive and read its directory. Raises CheckpointError (TruncatedError) or OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = os.fstat(fd).st_size
        entries = _entries(path, fd, size)
        archive = ZipArchive(path, fd, size, _prefix(path, entries), entries)
        _check_byte_order(archive)
    except BaseException:
        os.close(fd)
        raise
    return archive


def _prefix(path: Path, entries: dict[str, Entry]) -> str:
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise CheckpointError(f"{path}: {len(pickles)} entries named data.pkl instead of one; not a torch.save file")
    return pickles[0].removesuffix("data.pkl")


def _check_byte_order(archive: ZipArchive) -> None:
    order = archive.prefix + "byteorder"
    if order in archive.entries and archive.read(order, 16).strip() != b"little":
        raise CheckpointError(f"{archive.path}: written on a big-endian machine; convert it there")


def _directory(path: Path, fd: int, size: int) -> tuple[int, int, int]:
    """Offset, length and number of entries of the central directory, checked against the file's size."""
    tail_at = max(0, size - 65_557)
    tail = os.pread(fd, size - tail_at, tail_at)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or found + _END.size > len(tail):
        if os.pread(fd, 2, 0) == b"\x80\x02":
            raise CheckpointError(f"{path}: torch's format from before 1.6; load it and save it again with torch.save")
        raise TruncatedError(f"{path}: cut short or still being written (no central directory at its end)")
    end_at = tail_at + found
    _, _, _, _, count, length, start, comment = _END.unpack_from(tail, found)
    if end_at + _END.size + comment != size:
        raise TruncatedError(f"{path}: bytes follow the end of the archive; it is damaged or being rewritten")
    limit = end_at
    if count == 0xFFFF or 0xFFFFFFFF in (length, start):
        raw = os.pread(fd, _LOCATOR.size, max(0, end_at - _LOCATOR.size))
        locator = _LOCATOR.unpack(raw) if len(raw) == _LOCATOR.size else (b"", 0, 0, 0)
        raw = os.pread(fd, _END64.size, locator[2]) if locator[0] == b"PK\x06\x07" and locator[2] < size else b""
        if len(raw) < _END64.size or not raw.startswith(b"PK\x06\x06"):
            raise CheckpointError(f"{path}: its zip64 directory is damaged; copy the file again")
        count, length, start = _END64.unpack(raw)[7:10]
        limit = locator[2]
    if start + length > limit or length > MAX_DIRECTORY or count > MAX_ENTRIES or count * _CENTRAL.size > length:
        raise CheckpointError(f"{path}: its zip directory claims {count} entries in {length} bytes; it is damaged")
    return start, length, count


def _entries(path: Path, fd: int, size: int) -> dict[str, Entry]:
    start, length, count = _directory(path, fd, size)
    raw = os.pread(fd, length, start)
    entries: dict[str, Entry] = {}
    pos = 0
    for _ in range(count):
        if pos + _CENTRAL.size > len(raw):
            raise CheckpointError(f"{path}: its zip directory is damaged; copy the file again")
        f = _CENTRAL.unpack_from(raw, pos)
        magic, flags, method, crc, packed, plain = f[0], f[3], f[4], f[7], f[8], f[9]
        name_size, extra_size, comment_size, header = f[10], f[11], f[12], f[16]
        name_raw = raw[pos + _CENTRAL.size : pos + _CENTRAL.size + name_size]
        extra = raw[pos + _CENTRAL.size + name_size : pos + _CENTRAL.size + name_size + extra_size]
        pos += _CENTRAL.size + name_size + extra_size + comment_size
        plain, packed, header = _zip64(extra, plain, packed, header)
        name = name_raw.decode("utf-8", "replace")
        if magic != b"PK\x01\x02" or name in entries:
            raise CheckpointError(f"{path}: its zip directory is damaged; copy the file again")
        if method != 0 or flags & 1 or packed != plain:
            raise CheckpointError(f"{path}: entry {name[:80]!r} is compressed or encrypted; torch.save never does that")
        if header + _LOCAL.size + plain > start:
            raise CheckpointError(f"{path}: entry {name[:80]!r} claims {plain} bytes beyond the file; it is damaged")
        entries[name] = Entry(name, header, plain, crc)
    _check_overlap(path, entries)
    return entries


def _zip64(extra: bytes, plain: int, packed: int, header: int) -> tuple[int, int, int]:
    """Sizes and offset with those replaced that stand in the zip64 extra field (APPNOTE 4.5.3)."""
    pos = 0
    while pos + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, pos)
        body = extra[pos + 4 : pos + 4 + size]
        pos += 4 + size
        if kind != 1:
            continue
        numbers = list(struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8]))
        if plain == 0xFFFFFFFF and numbers:
            plain = numbers.pop(0)
        if packed == 0xFFFFFFFF and numbers:
            packed = numbers.pop(0)
        if header == 0xFFFFFFFF and numbers:
            header = numbers.pop(0)
    return plain, packed, header


def _check_overlap(path: Path, entries: dict[str, Entry]) -> None:
    end = 0
    for entry in sorted(entries.values(), key=lambda e: e.header):
        if entry.header < end:
            raise CheckpointError(f"{path}: entries of the archive overlap at {entry.name[:80]!r}; not read")
        end = entry.header + _LOCAL.size + len(entry.name.encode()) + entry.size
