"""An open checkpoint: every tensor by its plain name, whatever files and shards hold it, and reads of its data."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np

from critictui.checkpoint.archive import LocalTensor, StateDict, open_state_dict
from critictui.checkpoint.checkpoint import AdapterError, Checkpoint, CheckpointError, VanishedError
from critictui.checkpoint.safetensors_header import read_header
from critictui.checkpoint.stored import ITEM_SIZE, Piece, StoredTensor, join_pieces
from critictui.checkpoint.zip_archive import ZipArchive

_WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
_PREFIXES = ("module.", "pretrained_model.")
_ADAPTED = (".lora_A.", ".lora_B.", ".lora_embedding_", ".base_layer.", ".modules_to_save.")
"""Parts of the names that PEFT gives to what it adds and to what it wraps."""
_SAMPLE = 1 << 16
"""Bytes compared in the first, middle and last place of copies without checksums; a head is compared whole."""
_NUMPY = {"float64": "<f8", "float32": "<f4", "float16": "<f2", "int64": "<i8", "int32": "<i4", "int16": "<i2"}


def plain_name(name: str) -> str:
    """A tensor's name without what FSDP, torch.compile, DDP and trl's wrapper put into it."""
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    changed = True
    while changed:
        changed = False
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                name, changed = name[len(prefix) :], True
    return name


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an OSError into a CheckpointError that names the file: VanishedError where it is gone."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE, errno.ENOTDIR, errno.ENODEV):
            raise VanishedError(f"{path}: checkpoint removed while it was read; choose a newer one") from error
        raise CheckpointError(f"{path}: {error.strerror}; check the permissions and the mount") from error


@dataclass(slots=True, eq=False)
class Weights:
    """Open weight files and the tensors in them. A context manager; `close` gives the descriptors back."""

    path: Path
    files: tuple[Path, ...]
    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    """Names in the state dict that are no tensors."""
    fds: list[int] = field(default_factory=list)
    archives: list[StateDict] = field(default_factory=list)

    def __enter__(self) -> Weights:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every file."""
        fds, self.fds = self.fds, []
        for fd in fds:
            os.close(fd)

    def check_small_entries(self, limit: int = 1 << 16) -> list[str]:
        """CRC errors in the archives' small entries (norms, biases, head), in words. Safetensors has no checksums."""
        problems: list[str] = []
        for state in self.archives:
            names = {t.entry for parts in state.tensors.values() for t in parts}
            for name in sorted(names):
                entry = state.archive.entries.get(name)
                if entry is None or entry.size > limit:
                    continue
                try:
                    with reading(state.archive.path):
                        state.archive.read(name, limit)
                except VanishedError:
                    raise
                except CheckpointError as error:
                    problems.append(str(error))
        return problems

    def unseen(self, limit: int = 1 << 16) -> str:
        """Which damage `check_small_entries` does not see, in words; empty where there is none."""
        if not self.archives:
            return "safetensors stores no checksums: damage that leaves finite numbers cannot be seen"
        sealed = [e for state in self.archives for e in state.archive.entries.values() if e.size > limit]
        if any(not e.crc for e in sealed):
            return "the checkpoint was written without checksums: damage that leaves finite numbers cannot be seen"
        return f"checksums of {len(sealed)} large entries are compared only when it is scored" if sealed else ""

    def read(self, tensor: StoredTensor, begin: int, end: int) -> np.ndarray:
        """Elements `begin:end` of the flattened tensor, as float32 (float64 and integers keep their type).

        Raises CheckpointError where the file ends before them, VanishedError where it is gone.
        """
        size = ITEM_SIZE[tensor.dtype]
        out = np.zeros((end - begin) * size, np.uint8)
        for piece, at, start, count in _runs(tensor, begin, end):
            with reading(self.files[piece.file]):
                data = os.pread(self.fds[piece.file], count * size, piece.offset + at * size)
            if len(data) < count * size:
                raise CheckpointError(f"{self.files[piece.file]}: cut short in {tensor.name}; copy the file again")
            out[(start - begin) * size : (start - begin + count) * size] = np.frombuffer(data, np.uint8)
        return as_numbers(out, tensor.dtype)


def as_numbers(raw: np.ndarray, dtype: str) -> np.ndarray:
    """Bytes as numbers: bfloat16 and float16 become float32, exactly."""
    if dtype == "bfloat16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype == "float16":
        return raw.view("<f2").astype(np.float32)
    return raw.view(_NUMPY.get(dtype, "u1"))


def _runs(tensor: StoredTensor, begin: int, end: int) -> Iterator[tuple[Piece, int, int, int]]:
    """(piece, element in the piece, element in the tensor, count) of each contiguous run that covers `begin:end`."""
    if end <= begin:
        return
    for piece in tensor.pieces:
        _, length, inner = tensor.split(piece.dim)
        block, row = length * inner, piece.length * inner
        for outer in range(begin // block, (end - 1) // block + 1):
            first = outer * block + piece.begin * inner
            low, high = max(begin, first), min(end, first + row)
            if low < high:
                yield piece, outer * row + low - first, low, high - low


def open_weights(checkpoint: Checkpoint) -> Weights:
    """Open a checkpoint's weight files and read where every tensor lies; no data is read.

    Raises CheckpointError for damaged, missing or contradictory files, VanishedError where they are gone.
    """
    if checkpoint.layout == "adapter":
        raise AdapterError(f"{checkpoint.path}: {checkpoint.reason}")
    weights = Weights(checkpoint.path, checkpoint.files)
    try:
        if checkpoint.layout == "verl-fsdp":
            _open_shards(weights)
        else:
            _open_whole(weights)
            _check_index(weights)
    except BaseException:
        weights.close()
        raise
    adapters = [name for name in weights.tensors if any(part in name for part in _ADAPTED)]
    if adapters:
        weights.close()
        raise AdapterError(
            f"{checkpoint.path}: holds a LoRA adapter that is not merged ({adapters[0]}); merge it with PEFT: "
            "model.merge_and_unload().save_pretrained(FOLDER)"
        )
    return weights


def _open_shards(weights: Weights) -> None:
    parts: dict[str, list[tuple[int, LocalTensor]]] = {}
    held: list[frozenset[str]] = []
    for rank, file in enumerate(weights.files):
        with reading(file):
            state = open_state_dict(file, rank)
        weights.fds.append(state.archive.fd)
        weights.archives.append(state)
        held.append(frozenset(state.tensors))
        for name, found in state.tensors.items():
            parts.setdefault(name, []).extend((rank, tensor) for tensor in found)
        weights.others = tuple(dict.fromkeys((*weights.others, *state.others)))
    for rank, names in enumerate(held):
        if names != held[0]:
            odd = min(names ^ held[0])
            raise CheckpointError(f"{weights.files[rank]}: shards disagree about {odd}; they are not of one step")
    _add(weights, {name: _joined(weights, name, found) for name, found in parts.items()})


def _joined(weights: Weights, name: str, parts: list[tuple[int, LocalTensor]]) -> StoredTensor:
    """One tensor of what every rank holds of it."""
    if not parts:
        raise CheckpointError(f"{weights.path}: no rank holds any of {name}; the checkpoint is not whole")
    first = parts[0][1]
    for rank, part in parts:
        if part.shape != first.shape or part.dtype != first.dtype:
            raise CheckpointError(
                f"{weights.files[rank]}: {name} is {part.dtype} {part.shape}, in rank 0 {first.dtype} {first.shape}"
            )
    if first.replicated:
        for rank, part in parts[1:]:
            _agree(weights, parts[0], (rank, part))
        whole = Piece(parts[0][0], first.offset, 0, 0, first.shape[0] if first.shape else 1)
        return StoredTensor(name, first.shape, first.dtype, (whole,))
    count = len({part.coordinate for _, part in parts})
    pieces: dict[tuple[int, int], Piece] = {}
    holders: dict[tuple[int, int], tuple[int, LocalTensor]] = {}
    for rank, part in parts:
        begin = part.begin
        length = part.local_shape[part.dim]
        if begin is None:
            begin = _begin(weights.files[rank], part, count)
        if (begin, length) in pieces:
            _agree(weights, holders[begin, length], (rank, part))
            continue
        holders[begin, length] = rank, part
        pieces[begin, length] = Piece(rank, part.offset, part.dim, begin, length)
    return join_pieces(name, first.shape, first.dtype, list(pieces.values()), where=str(weights.path))


def _agree(weights: Weights, one: tuple[int, LocalTensor], other: tuple[int, LocalTensor]) -> None:
    """Two ranks' copies of a piece must be equal: by the checksums of all of it, else by samples of its bytes.

    Raises CheckpointError where they are not: such ranks are not of one step.
    """
    size = math.prod(one[1].local_shape) * ITEM_SIZE[one[1].dtype]
    checksums = [_checksum(weights.archives[rank].archive, part, size) for rank, part in (one, other)]
    if all(checksums):
        same = checksums[0] == checksums[1]
    else:
        places = {at: min(_SAMPLE, size - at) for at in (0, max(0, size // 2 - _SAMPLE), max(0, size - _SAMPLE))}
        with reading(weights.files[other[0]]):
            same = all(
                os.pread(weights.fds[one[0]], count, one[1].offset + at)
                == os.pread(weights.fds[other[0]], count, other[1].offset + at)
                for at, count in places.items()
            )
    if not same:
        raise CheckpointError(
            f"{weights.files[other[0]]}: {one[1].name} is another than in {weights.files[one[0]].name}, which should "
            "be its copy; the ranks are not of one step"
        )


def _checksum(archive: ZipArchive, part: LocalTensor, size: int) -> int:
    """The stored CRC-32 of a piece that is all of its entry; 0 where there is none."""
    entry = archive.entries.get(part.entry)
    return entry.crc if entry is not None and entry.size == size else 0


def _begin(file: Path, part: LocalTensor, count: int) -> int:
    """First row of a DTensor's piece: torch.chunk gives a shard ceil(n / count) rows, the last ones fewer or none."""
    rows = part.shape[part.dim]
    step = -(-rows // count)
    assert part.coordinate is not None
    begin = part.coordinate * step
    expected = max(0, min(step, rows - begin))
    if part.local_shape[part.dim] != expected:
        raise CheckpointError(
            f"{file}: {part.name} has {part.local_shape[part.dim]} rows here, {expected} are due for shard"
            f" {part.coordinate} of {count}; shards are missing or of different runs"
        )
    return begin


def _open_whole(weights: Weights) -> None:
    for number, file in enumerate(weights.files):
        if file.suffix == ".safetensors":
            with reading(file):
                fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                weights.fds.append(fd)
                _add(weights, read_header(file, fd, number))
            continue
        with reading(file):
            state = open_state_dict(file)
        weights.fds.append(state.archive.fd)
        weights.archives.append(state)
        weights.others = (*weights.others, *state.others)
        found: dict[str, StoredTensor] = {}
        for name, parts in state.tensors.items():
            (part,) = parts
            if not part.replicated:
                raise CheckpointError(f"{file}: {name} is one shard of several; give the folder with all of them")
            piece = Piece(number, part.offset, 0, 0, part.shape[0] if part.shape else 1)
            found[name] = StoredTensor(name, part.shape, part.dtype, (piece,))
        _add(weights, found)


def _add(weights: Weights, found: dict[str, StoredTensor]) -> None:
    for name, tensor in found.items():
        plain = plain_name(name)
        if plain in weights.tensors:
            raise CheckpointError(f"{weights.path}: {plain} is stored twice; remove the files that are left over")
        weights.tensors[plain] = StoredTensor(plain, tensor.shape, tensor.dtype, tensor.pieces)


def _check_index(weights: Weights) -> None:
    """What the index promises must be there."""
    for index in weights.path.glob("*.index.json"):
        with reading(index):
            mapped = weight_map(index)
        for name, file in mapped.items():
            tensor = weights.tensors.get(plain_name(name))
            if tensor is None or weights.files[tensor.pieces[0].file].name != file:
                raise CheckpointError(f"{weights.path / file}: lacks {name}, which {index.name} promises")


def weight_map(index: Path) -> dict[str, str]:
    """Tensor name to file name of an index. Raises CheckpointError where it is damaged or leads out of its folder."""
    if index.stat().st_size > 64 << 20:
        raise CheckpointError(f"{index}: too large for an index; not read")
    mapped = parse_json(index).get("weight_map")
    if not isinstance(mapped, dict) or not mapped:
        raise CheckpointError(f"{index}: has no weight_map; save the checkpoint again")
    for file in set(map(str, mapped.values())):
        if "/" in file or "\0" in file or file in ("", ".", ".."):
            raise CheckpointError(f"{index}: names the file {file[:80]!r} outside its folder; not read")
    return {str(name): str(file) for name, file in mapped.items()}


def parse_json(path: Path) -> dict[str, object]:
    """A JSON object from a file. Raises CheckpointError where it is damaged, OSError where it cannot be read."""
    raw = path.read_bytes()
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is no JSON ({str(error)[:60]}); copy the file again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: is no JSON object; copy the file again")
    return value
