"""Tensors as they lie on disk: global shape, dtype, and the pieces of files that hold them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from critictui.checkpoint.checkpoint import CheckpointError

ITEM_SIZE = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
}
MAX_DIMENSIONS = 8
MAX_TENSORS = 200_000
"""In one checkpoint; a mixture of 512 experts in 90 layers has 140,000."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A contiguous stretch of a file that holds the rows `begin:begin+length` along `dim` of a tensor."""

    file: int
    """Index into the checkpoint's files."""
    offset: int
    """Of its first byte in the file."""
    dim: int
    begin: int
    length: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor and where it lies; its pieces are disjoint and cover it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    pieces: tuple[Piece, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return self.numel * ITEM_SIZE[self.dtype]

    def split(self, dim: int) -> tuple[int, int, int]:
        """The shape seen as (elements before `dim`, length of `dim`, elements after it)."""
        if not self.shape:
            return 1, 1, 1
        return math.prod(self.shape[:dim]), self.shape[dim], math.prod(self.shape[dim + 1 :])


def checked_shape(shape: object, where: str) -> tuple[int, ...]:
    """A shape from a file: a short tuple of sizes that are not negative. Raises CheckpointError."""
    if not isinstance(shape, tuple | list) or len(shape) > MAX_DIMENSIONS:
        raise CheckpointError(f"{where}: its shape is damaged")
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 48 for n in shape):
        raise CheckpointError(f"{where}: its shape {str(shape)[:60]} is damaged")
    return tuple(shape)


def join_pieces(name: str, shape: tuple[int, ...], dtype: str, pieces: list[Piece], *, where: str) -> StoredTensor:
    """A tensor of the pieces that the ranks hold, after checking that they cover it exactly once.

    Raises CheckpointError that names the tensor and the rows that are missing or held twice.
    """
    held = sorted((p for p in pieces if p.length), key=lambda p: p.begin)
    if not shape or math.prod(shape) == 0:
        return StoredTensor(name, shape, dtype, tuple(held[:1]))
    if not held:
        raise CheckpointError(f"{where}: no rank holds any of {name}; the checkpoint is not whole")
    dim, at = held[0].dim, 0
    for piece in held:
        if piece.dim != dim:
            raise CheckpointError(f"{where}: {name} is sharded on different dimensions by different ranks")
        if piece.begin != at:
            what = "is missing" if piece.begin > at else "is held twice"
            row = min(at, piece.begin)
            raise CheckpointError(
                f"{where}: row {row} of dimension {dim} of {name} {what}; shards are missing or mixed"
            )
        at += piece.length
    if at != shape[dim]:
        raise CheckpointError(f"{where}: {name} ends at row {at} of {shape[dim]}; shards are missing")
    return StoredTensor(name, shape, dtype, tuple(held))
