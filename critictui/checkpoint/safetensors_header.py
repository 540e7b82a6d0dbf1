"""A safetensors header in, its tensors out; every claim checked against the file before it is believed.

Format: u64 little-endian length, JSON of {name: {dtype, shape, data_offsets}}, then the data, with no holes and no
overlaps (https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.stored import ITEM_SIZE, MAX_TENSORS, Piece, StoredTensor, checked_shape
from critictui.checkpoint.zip_archive import TruncatedError

MAX_HEADER = 48 << 20
"""Half the format's own limit: 140,000 tensors take 25 MB."""
_SLACK = 20_000
"""Commas and colons that names and metadata may hold."""
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


def header_of(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file. Raises CheckpointError, OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return read_header(path, fd)
    finally:
        os.close(fd)


def read_header(path: Path, fd: int, file: int = 0) -> dict[str, StoredTensor]:
    """The tensors of an open safetensors file. `file` is the index that the pieces carry.

    Raises TruncatedError where the file is shorter than its header says, CheckpointError where the header is damaged.
    """
    size = os.fstat(fd).st_size
    head = os.pread(fd, 8, 0)
    length = int.from_bytes(head, "little")
    if len(head) < 8:
        raise TruncatedError(f"{path}: cut short or still being written ({size} bytes)")
    if length > MAX_HEADER:
        raise CheckpointError(f"{path}: claims a header of {length} bytes; it is damaged or no safetensors file")
    if 8 + length > size:
        raise TruncatedError(f"{path}: cut short inside its header ({size} bytes)")
    raw = os.pread(fd, length, 8)
    # JSON takes many times its size in memory: count before parsing
    entries = raw.count(b'"dtype"')
    commas, colons, lists = (raw.count(mark) for mark in (b",", b":", b"["))
    if entries > MAX_TENSORS or max(commas - 12 * entries, colons - 4 * entries, lists - 2 * entries) > _SLACK:
        raise CheckpointError(f"{path}: its header is damaged, or lists more tensors than any model has; not read")
    try:
        header = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its header is damaged ({str(error)[:60]}); copy the file again") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: its header is damaged (no object)")
    header.pop("__metadata__", None)
    start = 8 + length
    found = [_tensor(path, name, entry, start, file) for name, entry in header.items()]
    _check_cover(path, found, start, size)
    return {tensor.name: tensor for tensor, _ in found}


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in it")
    return made


def _tensor(path: Path, name: str, entry: object, start: int, file: int) -> tuple[StoredTensor, tuple[int, int]]:
    where = f"{path}: {name}"
    if not isinstance(entry, dict):
        raise CheckpointError(f"{where}: its header entry is damaged")
    dtype = _DTYPES.get(str(entry.get("dtype")))
    if dtype is None:
        raise CheckpointError(f"{where}: dtype {str(entry.get('dtype'))[:20]!r} is not read")
    shape = checked_shape(entry.get("shape"), where)
    offsets = checked_shape(entry.get("data_offsets"), where)
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * ITEM_SIZE[dtype]:
        raise CheckpointError(f"{where}: its bytes do not fit its shape {shape}; the header is damaged")
    rows = shape[0] if shape else 1
    piece = Piece(file, start + offsets[0], 0, 0, rows)
    return StoredTensor(name, shape, dtype, (piece,)), (offsets[0], offsets[1])


def _check_cover(path: Path, found: list[tuple[StoredTensor, tuple[int, int]]], start: int, size: int) -> None:
    at = 0
    for tensor, (begin, end) in sorted(found, key=lambda item: item[1]):
        if begin != at:
            what = "overlaps another tensor" if begin < at else "leaves a hole before it"
            raise CheckpointError(f"{path}: {tensor.name} {what}; the header is damaged")
        at = end
    if start + at > size:
        raise TruncatedError(f"{path}: cut short: {size} bytes of {start + at}")
    if start + at < size:
        raise CheckpointError(f"{path}: {size - start - at} bytes follow the last tensor; the file is damaged")
