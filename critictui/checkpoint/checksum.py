"""CRC-32 of an archive's entries: where each entry with one lies, and its checksum from strips read in any order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.weights import Weights

_POLYNOMIAL = 0xEDB88320


@dataclass(frozen=True, slots=True)
class Sealed:
    """An entry whose writer stored a checksum of it."""

    path: Path
    fd: int
    name: str
    start: int
    """Of its first byte in the file."""
    size: int
    crc: int

    def damaged(self) -> CheckpointError:
        """What is raised where its bytes do not have its checksum."""
        return CheckpointError(f"{self.path}: entry {self.name!r} is damaged (CRC differs); copy the file again")


@dataclass(frozen=True, slots=True)
class Strip:
    """A stretch of a file that was read, and the CRC-32 of its bytes."""

    begin: int
    length: int
    crc: int


class Seals:
    """Every entry of a checkpoint's archives that has a checksum, by place. Safetensors has none; 0 is none."""

    def __init__(self, weights: Weights) -> None:
        self._sealed: dict[int, list[Sealed]] = {}
        for archive in (state.archive for state in weights.archives):
            sealed = [
                Sealed(archive.path, archive.fd, entry.name, archive.start(entry.name), entry.size, entry.crc)
                for entry in archive.entries.values()
                if entry.crc and entry.size
            ]
            self._sealed[archive.fd] = sorted(sealed, key=lambda entry: entry.start)
        self._starts = {fd: [entry.start for entry in sealed] for fd, sealed in self._sealed.items()}

    def at(self, fd: int, offset: int) -> Sealed | None:
        """The entry that holds a byte, None where it has no checksum."""
        number = bisect_right(self._starts.get(fd, []), offset) - 1
        if number < 0:
            return None
        entry = self._sealed[fd][number]
        return entry if offset < entry.start + entry.size else None


def joined(entry: Sealed, strips: Sequence[Strip]) -> int | None:
    """The CRC-32 of an entry from strips of it; None where they do not cover it exactly once."""
    at, crc = entry.start, 0
    for strip in sorted(strips, key=lambda strip: strip.begin):
        if strip.begin != at:
            return None
        crc = combined(crc, strip.crc, strip.length)
        at += strip.length
    return crc if at == entry.start + entry.size else None


def combined(first: int, second: int, length: int) -> int:
    """The CRC-32 of two stretches in a row from those of each; `length` bytes are in the second.

    Appending n bytes multiplies by x^(8n) modulo the polynomial (zlib's crc32_combine, which Python does not offer).
    """
    return _times(_shift(length), first) ^ second


def _times(a: int, b: int) -> int:
    """Product of two polynomials over GF(2), the highest power in the lowest bit, modulo CRC-32's."""
    product, bit = 0, 1 << 31
    while a:
        if a & bit:
            product ^= b
            a ^= bit
        bit >>= 1
        b = b >> 1 ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


@lru_cache(maxsize=1024)
def _shift(length: int) -> int:
    """x^(8 * length)."""
    power, square = 1 << 31, 1 << 23  # x^0 and x^8
    while length:
        if length & 1:
            power = _times(square, power)
        square = _times(square, square)
        length >>= 1
    return power
