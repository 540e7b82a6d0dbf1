"""Scalars go in, bytes of a TensorBoard event file come out: just enough to replay a recording without torch.

TFRecord framing: u64 length, masked CRC-32C of it, payload, masked CRC-32C; the payload is an `Event` protobuf
(tensorflow/core/util/event.proto: wall_time = 1, step = 2, file_version = 3, summary = 5).
"""

from __future__ import annotations

import struct

import google_crc32c

_MASK = 0xA282EAD8


def version_record(wall_time: float) -> bytes:
    """The record that every event file begins with."""
    return _framed(struct.pack("<Bd", 0x09, wall_time) + _field(3, b"brain.Event:2"))


def scalar_record(tag: str, value: float, step: int, wall_time: float) -> bytes:
    """One `add_scalar`."""
    scalar = _field(1, tag.encode()) + struct.pack("<Bf", 0x15, value)
    event = struct.pack("<Bd", 0x09, wall_time) + b"\x10" + _varint(step) + _field(5, _field(1, scalar))
    return _framed(event)


def _framed(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + _masked_crc(length) + payload + _masked_crc(payload)


def _masked_crc(data: bytes) -> bytes:
    crc = int(google_crc32c.value(data))
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF)


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
