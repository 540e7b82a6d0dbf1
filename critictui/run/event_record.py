"""One record's payload, a protobuf `Event`, decoded as far as scalars go: bytes in, wall time, step and values out.

Fields are read by number and wire type as tensorboard's event.proto, summary.proto and tensor.proto define them;
nothing is allocated by a length that the bytes claim, and nothing recurses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TOO_LONG_A_VARINT = 70
_U64 = (1 << 64) - 1

_Field = tuple[int, int, int, bytes]
"""Field number, wire type, the number of a varint or 0, the bytes of any other wire type or none."""


class MalformedError(ValueError):
    """The bytes are no protobuf message, or a field lacks its end."""


@dataclass(slots=True)
class Record:
    """What one event holds of scalars."""

    wall_time: float = 0.0
    step: int = 0
    scalars: list[tuple[bytes, float]] | None = None
    """Tag bytes and value, in the order of the record."""
    others: int = 0
    """Values that are no scalar: histograms, images, text, tensors with a shape."""


def decode(payload: bytes) -> Record:
    """Decode one `Event`. Raises MalformedError."""
    record = Record()
    for number, wire, integer, content in _fields(payload):
        if number == 1 and wire == _FIXED64:
            record.wall_time = _DOUBLE.unpack(content)[0]
        elif number == 2 and wire == _VARINT:
            record.step = _signed(integer)
        elif number == 5 and wire == _BYTES:
            _decode_summary(content, record)
    return record


def _decode_summary(content: bytes, record: Record) -> None:
    for number, wire, _, value in _fields(content):
        if number != 1 or wire != _BYTES:
            continue
        tag, scalar = _decode_value(value)
        if scalar is None:
            record.others += 1
        else:
            record.scalars = record.scalars or []
            record.scalars.append((tag, scalar))


def _decode_value(content: bytes) -> tuple[bytes, float | None]:
    """Tag and scalar of a `Summary.Value`; of the alternatives in its oneof the last one written counts."""
    tag, node = b"", b""
    scalar: float | None = None
    for number, wire, _, field in _fields(content):
        if number == 1 and wire == _BYTES:
            tag = field
        elif number == 7 and wire == _BYTES:
            node = field
        elif number == 2 and wire == _FIXED32:
            scalar = _FLOAT.unpack(field)[0]
        elif number == 8 and wire == _BYTES:
            scalar = _decode_tensor(field)
        elif number in {3, 4, 5, 6} and wire == _BYTES:
            scalar = None
    return tag or node, scalar


# DataType numbers of tensorflow/core/framework/types.proto, with the numpy type of their bytes in `tensor_content`.
_BFLOAT16 = 14
_CONTENT = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 14: "<u2", 17: "<u2"}
_CONTENT |= {19: "<f2", 22: "<u4", 23: "<u8"}
# The field of TensorProto that holds the values of each of them.
_HALF, _FLOATS, _DOUBLES, _INTS, _INT64S, _BOOLS, _UINT32S, _UINT64S = 13, 5, 6, 7, 10, 11, 16, 17
_LISTS = {1: _FLOATS, 2: _DOUBLES, 3: _INTS, 4: _INTS, 5: _INTS, 6: _INTS, 9: _INT64S, 10: _BOOLS, 14: _HALF}
_LISTS |= {17: _INTS, 19: _HALF, 22: _UINT32S, 23: _UINT64S}


def _decode_tensor(content: bytes) -> float | None:
    """The number in a tensor of rank 0, or None for any other tensor."""
    dtype, raw = 0, b""
    lists: dict[int, tuple[int, int, bytes]] = {}
    for number, wire, integer, field in _fields(content):
        if number == 1 and wire == _VARINT:
            dtype = integer
        elif number == 2 and wire == _BYTES:
            if any(inner in {2, 3} for inner, _, _, _ in _fields(field)):
                return None
        elif number == 4 and wire == _BYTES:
            raw = field
        elif number in _LISTS.values():
            lists[number] = (wire, integer, field)
    kind = _CONTENT.get(dtype)
    if kind is None:
        return None
    if raw:
        return _number(dtype, np.frombuffer(raw, kind)[0]) if len(raw) == np.dtype(kind).itemsize else None
    stored = lists.get(_LISTS[dtype])
    return None if stored is None else _from_list(dtype, *stored)


def _from_list(dtype: int, wire: int, integer: int, field: bytes) -> float | None:
    """The one element of a list that is packed or not."""
    if dtype in {1, 2}:
        width = _FLOAT if dtype == 1 else _DOUBLE
        return float(width.unpack(field)[0]) if len(field) == width.size else None
    if wire == _BYTES:
        integer, end = _varint(field, 0)
        if end != len(field):
            return None
    elif wire != _VARINT:
        return None
    if dtype in {_BFLOAT16, 19}:
        return _number(dtype, np.array([integer & 0xFFFF], np.uint16).view(_CONTENT[dtype])[0])
    return float(integer if dtype in {22, 23} else _signed(integer))


def _number(dtype: int, value: np.number[Any]) -> float:
    if dtype == _BFLOAT16:  # the upper half of a float32
        return float((np.array([value], np.uint32) << np.uint32(16)).view(np.float32)[0])
    return float(value)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _fields(content: bytes) -> Iterator[_Field]:
    """The fields of a message: number, wire type, and the varint or the bytes."""
    at, size = 0, len(content)
    while at < size:
        key, at = _varint(content, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise MalformedError("field number 0")
        if wire == _VARINT:
            value, at = _varint(content, at)
            yield number, wire, value, b""
            continue
        if wire == _BYTES:
            length, at = _varint(content, at)
        elif wire in {_FIXED64, _FIXED32}:
            length = 8 if wire == _FIXED64 else 4
        else:
            raise MalformedError(f"wire type {wire}")
        if at + length > size:
            raise MalformedError("a field lacks its end")
        yield number, wire, 0, content[at : at + length]
        at += length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while True:
            octet = content[at]
            at += 1
            value |= (octet & 0x7F) << shift
            if octet < 0x80:
                return value & _U64, at
            shift += 7
            if shift >= _TOO_LONG_A_VARINT:
                raise MalformedError("a varint without end")
    except IndexError:
        raise MalformedError("a varint lacks its end") from None
