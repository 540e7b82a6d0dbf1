"""TFRecord framing: bytes go in, the places of intact records come out, and where the next one is after damage.

A record is a u64 length, the masked CRC32C of those 8 bytes, the payload, and the masked CRC32C of the payload
(tensorflow/core/lib/io/record_writer.h). A length that a file claims is never allocated.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from critictui.run.dtypes import IntArray

HEADER = 12
FOOTER = 4
LARGEST = 1 << 30
"""Longer payloads are taken for damage: protobuf itself ends at 2 GiB, and a scalar needs a hundred bytes."""

_MASK_DELTA = 0xA282EAD8
_LENGTH_AND_CRC = struct.Struct("<QI")
_REMEMBERED_HEADERS = 1 << 16
_UNKNOWN, _BAD = -1, -2
_headers: dict[bytes, int] = {}


def mask(crc: int) -> int:
    """A checksum, rotated and shifted as TFRecord stores it."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def masked_crc(data: bytes) -> int:
    """The CRC32C of `data` as TFRecord stores it."""
    return mask(google_crc32c.value(data))


def payload_length(header: bytes) -> int | None:
    """The length that 12 header bytes give, or None where their checksum is wrong or the length absurd."""
    length = _headers.get(header, _UNKNOWN)
    if length == _UNKNOWN:
        claimed, crc = _LENGTH_AND_CRC.unpack(header)
        length = claimed if masked_crc(header[:8]) == crc and claimed <= LARGEST else _BAD
        if len(_headers) >= _REMEMBERED_HEADERS:
            _headers.clear()
        _headers[header] = length
    return None if length == _BAD else length


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """k records that stand one after the other in a buffer."""

    payload: IntArray
    """(k,) offset of each payload."""
    length: IntArray
    """(k,) bytes in each payload."""
    intact: NDArray[np.bool_]
    """(k,) whether the payload's checksum holds."""
    end: int
    """Offset after the last whole record."""
    stop: Literal["end", "torn", "damaged"]
    """Why there is no more: nothing is left, the next record is not all there, or its header is wrong."""


def frames(buffer: bytes, at: int = 0) -> Frames:
    """Walk the records of `buffer` from offset `at`, which must be a boundary."""
    starts: list[int] = []
    lengths: list[int] = []
    found: list[int] = []
    value, known, size = google_crc32c.value, _headers, len(buffer)
    stop: Literal["end", "torn", "damaged"] = "end"
    while at < size:
        header = buffer[at : at + HEADER]
        length = known.get(header, _UNKNOWN)
        if length < 0:
            checked = payload_length(header) if len(header) == HEADER else None
            if checked is None:
                stop = "damaged" if len(header) == HEADER else "torn"
                break
            length = checked
        start = at + HEADER
        end = start + length
        if end + FOOTER > size:
            stop = "torn"
            break
        starts.append(start)
        lengths.append(length)
        found.append(value(buffer[start:end]))
        at = end + FOOTER
    payload, sizes = np.array(starts, np.int64), np.array(lengths, np.int64)
    return Frames(payload, sizes, _masked(found) == _words(buffer, payload + sizes), at, stop)


def _masked(crcs: list[int]) -> NDArray[np.uint32]:
    crc = np.array(crcs, np.uint32)
    with np.errstate(over="ignore"):
        return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(_MASK_DELTA)


def _words(buffer: bytes, at: IntArray) -> NDArray[np.uint32]:
    """The little-endian u32 at each offset of `at`."""
    octets = np.frombuffer(buffer, np.uint8)
    return octets[at[:, None] + np.arange(4)].reshape(-1, 4).view("<u4")[:, 0] if len(at) else np.empty(0, np.uint32)


def candidates(buffer: bytes, at: int = 0) -> Iterator[tuple[int, int]]:
    """Places from `at` on where a record may begin, because the checksum of a length holds: (offset, payload length).

    Only places whose length is below `LARGEST` and whose checksum word is not zero are looked at, which a run of
    NULs is not; so a megabyte of garbage costs milliseconds.
    """
    octets = np.frombuffer(buffer, np.uint8)[at:]
    places = len(octets) - HEADER + 1
    if places <= 0:
        return
    likely = (octets[7 : places + 7] | octets[6 : places + 6] | octets[5 : places + 5] | octets[4 : places + 4]) == 0
    likely &= octets[3 : places + 3] <= LARGEST >> 24
    likely &= (octets[8 : places + 8] | octets[9 : places + 9] | octets[10 : places + 10]) != 0
    for place in np.flatnonzero(likely).tolist():
        header = buffer[at + place : at + place + HEADER]
        length = _headers.get(header, _UNKNOWN)
        if length == _UNKNOWN and masked_crc(header[:8]) == int.from_bytes(header[8:], "little"):
            length = payload_length(header) or 0
        if length >= 0:
            yield at + place, length
