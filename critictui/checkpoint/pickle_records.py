"""A pickle's opcodes in, inert records out: a reader for `torch.save` state dicts in which no code can run.

Not a subclass of `pickle.Unpickler`: its C form allocates by indices that the file claims (a five-byte `LONG_BINPUT`
asks for 32 GB) and can call what it finds. Here each opcode is one small step of our own, names are only ever names,
and whatever a state dict of tensors does not need is refused by name.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from critictui.checkpoint.checkpoint import CheckpointError

MAX_BYTES = 64 << 20
"""Of one pickle: a 7B model's is under 0.5 MB."""
MAX_OPCODES = 6_000_000
"""About five seconds; 35,000 sharded tensors."""
_MOST_WAITING = 300_000
"""Values on the stacks at once: pickle hands items over in batches of a thousand."""
_LOOK = 1 << 16
"""Steps from one look at the stacks to the next."""

_TENSOR_FUNCTIONS = frozenset(
    {
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch._utils._rebuild_wrapper_subclass",
        "torch._tensor._rebuild_from_type",
        "torch._tensor._rebuild_from_type_v2",
        "torch._tensor._rebuild_wrapper_subclass",
    }
)
_PLAIN = frozenset(
    {
        "collections.OrderedDict",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch.storage.TypedStorage",
        "torch.storage.UntypedStorage",
        "torch.distributed.remote_device._remote_device",
        "torch.distributed.device_mesh.DeviceMesh",
        "torch.distributed._mesh_layout._MeshLayout",
        "torch.distributed._mesh_layout._FlatLayout",
    }
)
_DISTRIBUTED = ("torch.distributed.tensor.", "torch.distributed._tensor.", "torch.distributed._shard.")
_DISTRIBUTED_NAMES = frozenset(
    {
        "DTensor",
        "DTensorSpec",
        "TensorMeta",
        "Shard",
        "Replicate",
        "Partial",
        "_Partial",
        "_StridedShard",
        "ShardOrderEntry",
        "ShardedTensor",
        "ShardMetadata",
        "ShardedTensorMetadata",
        "TensorProperties",
        "MEM_FORMAT_ENCODING",
        "ChunkShardingSpec",
        "EnumerableShardingSpec",
    }
)
STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
_TORCH_NAMES = frozenset(STORAGE_DTYPES) | frozenset(
    (
        *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"),
        *("float8_e4m3fn", "float8_e5m2", "strided", "contiguous_format", "preserve_format"),
    )
)


@dataclass(frozen=True, slots=True)
class Name:
    """A global that the pickle mentions; it is never imported."""

    path: str

    @property
    def last(self) -> str:
        """The name without its module."""
        return self.path.rpartition(".")[2]


@dataclass(slots=True, eq=False)
class Record:
    """What a call or an object would have become: its name, arguments and state."""

    name: str
    args: object = ()
    state: object = None

    @property
    def last(self) -> str:
        """The class without its module."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """Stands for a value that nobody needs (a process group's state, a memory format)."""


@dataclass(frozen=True, slots=True, eq=False)
class StorageRef:
    """A storage: which entry of the archive, and how its bytes are to be read."""

    key: str
    dtype: str
    count: int


@dataclass(slots=True, eq=False)
class _Machine:
    where: str
    stack: list[object] = field(default_factory=list)
    marks: list[list[object]] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)

    def refuse(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.where}: {what}; not read. Save it again with torch.save of a plain state dict")

    def to_mark(self) -> list[object]:
        if not self.marks:
            raise self.refuse("its pickle is damaged (no mark)")
        items = self.stack
        self.stack = self.marks.pop()
        return items


def load_records(data: bytes, where: str) -> object:
    """The object that a pickle describes, made of dicts, lists, tuples, numbers, strings and `Record`s.

    `where` names the file in messages. Raises CheckpointError for anything beyond a state dict, naming it.
    """
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"{where}: its pickle has {len(data)} bytes, more than any state dict; not read")
    machine = _Machine(where)
    try:
        return _run(machine, data)
    except (IndexError, struct.error, UnicodeDecodeError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise machine.refuse(f"its pickle is damaged ({type(error).__name__})") from error
    except RecursionError as error:
        raise machine.refuse("its pickle is nested too deeply") from error


_u16 = struct.Struct("<H").unpack_from
_i32 = struct.Struct("<i").unpack_from
_u32 = struct.Struct("<I").unpack_from
_u64 = struct.Struct("<Q").unpack_from
_f64 = struct.Struct(">d").unpack_from


def _run(m: _Machine, data: bytes) -> object:  # noqa: C901 - one opcode a branch, the commonest first
    pos = 0
    memo = m.memo
    for step in range(MAX_OPCODES):
        if step % _LOOK == 0 and len(m.stack) + len(m.marks) + sum(map(len, m.marks)) > _MOST_WAITING:
            raise m.refuse("its pickle piles up more values than any state dict")
        op = data[pos]
        pos += 1
        stack = m.stack
        if op == 0x71:  # BINPUT
            memo[data[pos]] = stack[-1]
            pos += 1
        elif op == 0x72:  # LONG_BINPUT
            memo[_u32(data, pos)[0]] = stack[-1]
            pos += 4
        elif op == 0x68:  # BINGET
            stack.append(memo[data[pos]])
            pos += 1
        elif op == 0x6A:  # LONG_BINGET
            stack.append(memo[_u32(data, pos)[0]])
            pos += 4
        elif op == 0x4B:  # BININT1
            stack.append(data[pos])
            pos += 1
        elif op == 0x4D:  # BININT2
            stack.append(_u16(data, pos)[0])
            pos += 2
        elif op == 0x4A:  # BININT
            stack.append(_i32(data, pos)[0])
            pos += 4
        elif op == 0x28:  # MARK
            m.marks.append(stack)
            m.stack = []
        elif op == 0x86:  # TUPLE2
            stack[-2:] = [(stack[-2], stack[-1])]
        elif op == 0x85:  # TUPLE1
            stack[-1] = (stack[-1],)
        elif op == 0x87:  # TUPLE3
            stack[-3:] = [(stack[-3], stack[-2], stack[-1])]
        elif op == 0x74:  # TUPLE
            items = m.to_mark()
            m.stack.append(tuple(items))
        elif op == 0x58:  # BINUNICODE
            size = _u32(data, pos)[0]
            text, pos = _text(data, pos + 4, size)
            stack.append(text)
        elif op == 0x52:  # REDUCE
            args = stack.pop()
            stack[-1] = _call(m, stack[-1], args)
        elif op == 0x81:  # NEWOBJ
            args = stack.pop()
            stack[-1] = _new(m, stack[-1], args)
        elif op == 0x62:  # BUILD
            state = stack.pop()
            _build(m, stack[-1], state)
        elif op == 0x7D:  # EMPTY_DICT
            stack.append({})
        elif op == 0x5D:  # EMPTY_LIST
            stack.append([])
        elif op == 0x29:  # EMPTY_TUPLE
            stack.append(())
        elif op == 0x73:  # SETITEM
            value = stack.pop()
            key = stack.pop()
            _set_items(m, stack[-1], [key, value])
        elif op == 0x75:  # SETITEMS
            items = m.to_mark()
            _set_items(m, m.stack[-1], items)
        elif op in (0x61, 0x65):  # APPEND, APPENDS
            items = [stack.pop()] if op == 0x61 else m.to_mark()
            target = m.stack[-1]
            if not isinstance(target, list):
                raise m.refuse("its pickle appends to something that is no list")
            target.extend(items)
        elif op == 0x4E:  # NONE
            stack.append(None)
        elif op in (0x88, 0x89):  # NEWTRUE, NEWFALSE
            stack.append(op == 0x88)
        elif op == 0x51:  # BINPERSID
            stack[-1] = _storage(m, stack[-1])
        elif op == 0x8A:  # LONG1
            size = data[pos]
            stack.append(int.from_bytes(data[pos + 1 : pos + 1 + size], "little", signed=True))
            pos += 1 + size
        elif op == 0x47:  # BINFLOAT
            stack.append(_f64(data, pos)[0])
            pos += 8
        elif op == 0x63:  # GLOBAL
            end = data.index(b"\n", pos, pos + 300)
            end2 = data.index(b"\n", end + 1, end + 301)
            stack.append(_name(m, data[pos:end].decode(), data[end + 1 : end2].decode()))
            pos = end2 + 1
        elif op == 0x93:  # STACK_GLOBAL
            name = stack.pop()
            stack[-1] = _name(m, str(stack[-1]), str(name))
        elif op == 0x8C:  # SHORT_BINUNICODE
            text, pos = _text(data, pos + 1, data[pos])
            stack.append(text)
        elif op == 0x8D:  # BINUNICODE8
            text, pos = _text(data, pos + 8, _u64(data, pos)[0])
            stack.append(text)
        elif op == 0x94:  # MEMOIZE
            memo[len(memo)] = stack[-1]
        elif op == 0x80:  # PROTO
            if data[pos] > 5:
                raise m.refuse(f"its pickle has protocol {data[pos]}")
            pos += 1
        elif op == 0x95:  # FRAME: only a hint for buffering
            pos += 8
        elif op == 0x2E:  # STOP
            return stack.pop()
        else:
            raise m.refuse(f"its pickle uses opcode 0x{op:02x}, which no state dict needs")
    raise m.refuse(f"its pickle has more than {MAX_OPCODES} steps")


def _text(data: bytes, pos: int, size: int) -> tuple[str, int]:
    end = pos + size
    if end > len(data):
        raise IndexError
    return data[pos:end].decode("utf-8", "surrogatepass"), end


def _name(m: _Machine, module: str, name: str) -> Name:
    path = f"{module}.{name}"
    allowed = (
        path in _TENSOR_FUNCTIONS
        or path in _PLAIN
        or (module == "torch" and name in _TORCH_NAMES)
        or (path.startswith(_DISTRIBUTED) and name in _DISTRIBUTED_NAMES)
        or path in ("__builtin__.getattr", "builtins.getattr")  # ShardedTensor's ProcessGroupState; see `_call`
    )
    if not allowed:
        raise m.refuse(f"its pickle asks for {path[:200]!r}, which no state dict of tensors needs")
    return Name(path)


def _call(m: _Machine, function: object, args: object) -> object:
    if not isinstance(function, Name) or not isinstance(args, tuple):
        raise m.refuse("its pickle calls something that is no function")
    path = function.path
    if path == "collections.OrderedDict":
        if args:  # torch fills it item by item; a list from the memo, copied each time, would be a memory bomb
            raise m.refuse("its pickle makes an OrderedDict in an unusual way")
        return {}
    if path == "torch.Size":
        (size,) = args
        if not isinstance(size, tuple | list) or len(size) > 64:
            raise m.refuse("its pickle has a torch.Size of something else")
        return tuple(size)
    if path.endswith(".getattr"):
        owner, attribute = args
        if isinstance(owner, Name) and owner.last == "ShardedTensor" and attribute == "ProcessGroupState":
            return Name("torch.distributed._shard.sharded_tensor.api.ShardedTensor.ProcessGroupState")
        raise m.refuse(f"its pickle calls getattr for {str(attribute)[:80]!r}")
    if path in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
        return args[0]
    if path in ("torch.serialization._get_layout", "torch.device") or function.last == "MEM_FORMAT_ENCODING":
        return Opaque()
    return Record(path, args)


def _new(m: _Machine, cls: object, args: object) -> object:
    if not isinstance(cls, Name) or not isinstance(args, tuple):
        raise m.refuse("its pickle makes an object of something that is no class")
    if cls.path == "collections.OrderedDict":
        return {}
    return Record(cls.path, args)


def _build(m: _Machine, target: object, state: object) -> None:
    if isinstance(target, Record):
        target.state = state
    elif not isinstance(target, dict | Opaque):  # a state dict's _metadata: which module had which version
        raise m.refuse("its pickle sets the state of something that has none")


def _set_items(m: _Machine, target: object, items: list[object]) -> None:
    if not isinstance(target, dict) or len(items) % 2:
        raise m.refuse("its pickle sets items of something that is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | int | float | bool | None):
            raise m.refuse(f"its pickle has a key of type {type(key).__name__}")
        target[key] = value


def _storage(m: _Machine, pid: object) -> StorageRef:
    if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], Name)):
        raise m.refuse("its pickle refers to something that is no storage")
    dtype = STORAGE_DTYPES.get(pid[1].last)
    key, count = pid[2], pid[4]
    if dtype is None or not isinstance(key, str) or not isinstance(count, int) or count < 0:
        raise m.refuse("its pickle refers to a storage of unknown kind")
    return StorageRef(key, dtype, count)
