"""A `.pt` file in, its tensors out: names, global shapes, placements, and where each local piece lies in the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.pickle_records import MAX_BYTES, Name, Record, StorageRef, load_records
from critictui.checkpoint.stored import ITEM_SIZE, MAX_TENSORS, checked_shape
from critictui.checkpoint.zip_archive import ZipArchive, open_archive


@dataclass(frozen=True, slots=True)
class LocalTensor:
    """What one file holds of a tensor."""

    name: str
    shape: tuple[int, ...]
    """Of the whole tensor."""
    dtype: str
    offset: int
    """Of the first byte of the local piece; 0 if the piece is empty."""
    local_shape: tuple[int, ...]
    dim: int
    """The dimension it is sharded on; 0 if it is not."""
    begin: int | None
    """First row along `dim`; None where only `coordinate` is known (DTensor)."""
    coordinate: int | None
    """Which shard of the mesh this is (DTensor), None for ShardedTensor and plain tensors."""
    replicated: bool
    """The whole tensor is here."""
    entry: str
    """The archive's entry, for checking its CRC."""


@dataclass(slots=True, eq=False)
class StateDict:
    """An open `.pt` file and its tensors; values that are no tensors are listed by name."""

    archive: ZipArchive
    tensors: dict[str, list[LocalTensor]]
    others: tuple[str, ...]

    def close(self) -> None:
        """Close the file."""
        self.archive.close()


def open_state_dict(path: Path, rank: int = 0) -> StateDict:
    """Read the names and places of all tensors in a `torch.save`d state dict; no code from it can run.

    rank: from the file's name, used where a device mesh does not record the coordinate.
    Raises CheckpointError for anything but a whole archive of plain tensors, DTensors and ShardedTensors, OSError.
    """
    archive = open_archive(path)
    try:
        pickle = archive.read(archive.prefix + "data.pkl", MAX_BYTES)
        return _state_dict(archive, load_records(pickle, str(path)), rank)
    except BaseException:
        archive.close()
        raise


def _state_dict(archive: ZipArchive, records: object, rank: int) -> StateDict:
    path = archive.path
    if not isinstance(records, dict):
        raise CheckpointError(f"{path}: it holds no state dict of tensors")
    if len(records) > MAX_TENSORS:
        raise CheckpointError(f"{path}: {len(records)} tensors, more than any model has; not read")
    tensors: dict[str, list[LocalTensor]] = {}
    others: list[str] = []
    for name, value in records.items():
        found = _tensors(archive, str(name), value, rank)
        if found is None:
            others.append(str(name))
        else:
            tensors[str(name)] = found
    return StateDict(archive, tensors, tuple(others))


def _tensors(archive: ZipArchive, name: str, value: object, rank: int) -> list[LocalTensor] | None:
    if not isinstance(value, Record):
        return None
    where = f"{archive.path}: {name}"
    try:
        if value.last in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
            return [_plain(archive, name, value)]
        if value.last in ("_rebuild_from_type_v2", "_rebuild_from_type"):
            return _subclass(archive, name, value, rank)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{where}: its description is damaged ({type(error).__name__})") from error
    return None


def _subclass(archive: ZipArchive, name: str, value: Record, rank: int) -> list[LocalTensor]:
    where = f"{archive.path}: {name}"
    function, cls, arguments, state = _tuple(value.args)[:4]
    kind = cls.last if isinstance(cls, Name) else ""
    if kind in ("Parameter", "Tensor") and isinstance(function, Name):
        inner = _tensors(archive, name, Record(function.path, arguments), rank)
        if inner is None:
            raise CheckpointError(f"{where}: made by {function.path}, which is not read")
        return inner
    shape = checked_shape(_tuple(arguments)[2], where)
    if kind == "DTensor":
        slots = _tuple(state)[1]
        assert isinstance(slots, dict)
        return [_dtensor(archive, name, shape, slots, rank=rank)]
    if kind == "ShardedTensor":
        return _sharded(archive, name, shape, _tuple(state)[0])
    raise CheckpointError(f"{where}: a {kind or 'value'} is not read; merge the checkpoint with verl's model merger")


def _plain(archive: ZipArchive, name: str, value: object) -> LocalTensor:
    """A tensor of its own storage: checked to be contiguous and to lie inside its entry."""
    where = f"{archive.path}: {name}"
    if not isinstance(value, Record):
        raise CheckpointError(f"{where}: its local tensor is damaged")
    args = _tuple(value.args)
    storage, start = args[0], args[1]
    shape, stride = checked_shape(args[2], where), checked_shape(args[3], where)
    if not isinstance(storage, StorageRef) or not isinstance(start, int) or start < 0 or len(shape) != len(stride):
        raise CheckpointError(f"{where}: its storage is damaged")
    dtype = storage.dtype
    if value.last == "_rebuild_tensor_v3" and isinstance(args[6], Name):
        dtype = args[6].last
    if dtype not in ITEM_SIZE:
        raise CheckpointError(f"{where}: dtype {dtype} is not read")
    count = math.prod(shape)
    entry = f"{archive.prefix}data/{storage.key}"
    if count == 0:
        return LocalTensor(name, shape, dtype, 0, shape, 0, 0, None, True, entry)
    step = 1
    for length, have in zip(reversed(shape), reversed(stride), strict=True):
        if length != 1 and have != step:
            raise CheckpointError(f"{where}: stored with strides {stride}; save it again from contiguous tensors")
        step *= length
    known = archive.entries.get(entry)
    size = ITEM_SIZE[dtype]
    if known is None or (start + count) * size > known.size:
        stored = 0 if known is None else known.size
        raise CheckpointError(f"{where}: claims {(start + count) * size} bytes, its storage has {stored}; not read")
    return LocalTensor(name, shape, dtype, archive.start(entry) + start * size, shape, 0, 0, None, True, entry)


def _dtensor(
    archive: ZipArchive, name: str, shape: tuple[int, ...], slots: dict[object, object], *, rank: int
) -> LocalTensor:
    where = f"{archive.path}: {name}"
    piece = _plain(archive, name, slots["_local_tensor"])
    state = _state(slots["_spec"])
    placements = _tuple(state["placements"])
    sharded = [i for i, p in enumerate(placements) if isinstance(p, Record) and p.last == "Shard"]
    kinds = [p.last if isinstance(p, Record) else str(p) for p in placements]
    if any(kind not in ("Shard", "Replicate") for kind in kinds) or len(sharded) > 1:
        raise CheckpointError(f"{where}: placed as {kinds} on its mesh; merge the checkpoint with verl's model merger")
    base = (name, shape, piece.dtype, piece.offset, piece.local_shape)
    if not sharded:
        if piece.local_shape != shape:
            raise CheckpointError(f"{where}: replicated as {piece.local_shape}, but the tensor is {shape}")
        return LocalTensor(*base, 0, 0, None, True, piece.entry)
    axis = sharded[0]
    placement = placements[axis]
    assert isinstance(placement, Record)
    dim = _state(placement)["dim"] if placement.state is not None else _tuple(placement.args)[0]
    if not isinstance(dim, int) or not -len(shape) <= dim < len(shape) or len(piece.local_shape) != len(shape):
        raise CheckpointError(f"{where}: sharded on dimension {dim} of {shape}; it is damaged")
    dim %= len(shape)
    if any(a != b for i, (a, b) in enumerate(zip(piece.local_shape, shape, strict=True)) if i != dim):
        raise CheckpointError(f"{where}: its piece {piece.local_shape} does not fit {shape}; it is damaged")
    coordinate = _coordinate(_state(state["mesh"]), axis, len(placements), rank, where)
    return LocalTensor(*base, dim, None, coordinate, False, piece.entry)


def _coordinate(mesh: dict[object, object], axis: int, axes: int, rank: int, where: str) -> int:
    """This rank's place on the mesh's axis: recorded in the mesh, else from the rank in a row-major mesh."""
    recorded = mesh.get("_coordinate_on_dim")
    if isinstance(recorded, tuple | list) and len(recorded) == axes:
        return int(recorded[axis])
    if axes == 1:
        return rank
    ranks = mesh.get("mesh")
    if not isinstance(ranks, Record):
        raise CheckpointError(f"{where}: its device mesh does not say which part this is; merge it with verl's merger")
    shape = checked_shape(_tuple(ranks.args)[2], where)
    return rank // math.prod(shape[axis + 1 :]) % shape[axis]


def _sharded(archive: ZipArchive, name: str, shape: tuple[int, ...], shards: object) -> list[LocalTensor]:
    """ShardedTensor: each local shard says where it begins."""
    where = f"{archive.path}: {name}"
    found: list[LocalTensor] = []
    assert isinstance(shards, list)
    for shard in shards:
        slots = _state(shard)
        piece = _plain(archive, name, slots["tensor"])
        offsets = checked_shape(_state(slots["metadata"])["shard_offsets"], where)
        local = piece.local_shape
        if len(offsets) != len(shape) or len(local) != len(shape):
            raise CheckpointError(f"{where}: its piece {local} does not fit {shape}; it is damaged")
        cut = [i for i, (a, b) in enumerate(zip(local, shape, strict=True)) if a != b]
        if len(cut) > 1:
            raise CheckpointError(f"{where}: sharded on {len(cut)} dimensions; merge it with verl's model merger")
        dim = cut[0] if cut else 0
        begin = offsets[dim] if offsets else 0
        base = (name, shape, piece.dtype, piece.offset, local)
        found.append(LocalTensor(*base, dim, begin, None, not cut, piece.entry))
    return found


def _tuple(value: object) -> tuple[object, ...]:
    if not isinstance(value, tuple | list):
        raise TypeError
    return tuple(value)


def _state(value: object) -> dict[object, object]:
    """An object's attributes: its state is a dict, or (None, dict) where the class has slots."""
    state = value.state if isinstance(value, Record) else None
    if isinstance(state, tuple) and len(state) == 2:
        merged = dict(state[0]) if isinstance(state[0], dict) else {}
        state = merged | (state[1] if isinstance(state[1], dict) else {})
    if not isinstance(state, dict):
        raise TypeError
    return state
