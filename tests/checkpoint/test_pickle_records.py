"""The pickle reader: what torch.save writes is read, whatever else is refused by name, and nothing ever runs."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.pickle_records import Record, load_records


def test_a_plain_dict_of_numbers_comes_back_as_it_was() -> None:
    value = {"a": [1, -2, 3.5, None, True], "b": (1, (2, 70_000)), "c": {"d": "text", "e": -(2**40)}}
    for protocol in (2, 3, 4, 5):
        assert load_records(pickle.dumps(value, protocol), "x") == value


def test_an_ordered_dict_is_read_as_a_dict() -> None:
    assert load_records(pickle.dumps(OrderedDict(a=1, b=2), 2), "x") == {"a": 1, "b": 2}


class _Runs:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.fault("C06")
def test_a_pickle_that_calls_os_system_is_refused_by_name_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(CheckpointError, match=r"posix\.system"):
        load_records(pickle.dumps({"w": _Runs(canary)}, protocol), "shard.pt")
    assert not canary.exists()


@pytest.mark.parametrize(
    "name",
    [b"builtins\neval", b"torch.hub\nload", b"torch\nload", b"torch.distributed.tensor.evil\nsystem", b"numpy\nload"],
)
def test_a_name_that_no_state_dict_needs_is_refused(name: bytes) -> None:
    with pytest.raises(CheckpointError, match="no state dict"):
        load_records(b"\x80\x02c" + name + b"\n.", "shard.pt")


@pytest.mark.parametrize("attribute", ["__class__", "load", "_init_from_local_shards"])
def test_getattr_gives_nothing_but_a_process_groups_state(attribute: str) -> None:
    owner = b"ctorch.distributed._shard.sharded_tensor.api\nShardedTensor\n"
    text = attribute.encode()
    call = owner + b"X" + struct.pack("<I", len(text)) + text + b"\x86R."
    with pytest.raises(CheckpointError, match="getattr"):
        load_records(b"\x80\x02c__builtin__\ngetattr\n" + call, "shard.pt")


@pytest.mark.fault("C08")
def test_a_memo_index_of_four_billion_allocates_nothing() -> None:
    tracemalloc.start()
    assert load_records(b"\x80\x02Nr\xff\xff\xff\xff.", "x") is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.fault("C08")
def test_a_string_longer_than_the_pickle_is_damage_and_not_an_allocation() -> None:
    for opcode in (b"X\xff\xff\xff\x7f", b"\x8d\xff\xff\xff\xff\xff\xff\x00\x00"):
        with pytest.raises(CheckpointError, match="damaged"):
            load_records(b"\x80\x02" + opcode + b"abc.", "x")


def test_a_size_made_of_a_long_string_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"torch\.Size"):
        load_records(b"\x80\x02ctorch\nSize\nX\x03\x00\x00\x00abc\x85R.", "x")


def test_opcodes_that_no_state_dict_needs_are_refused() -> None:
    for opcode in (b"i", b"o", b"P1\n", b"\x82\x01", b"\x92", b"\x97"):
        with pytest.raises(CheckpointError, match="opcode"):
            load_records(b"\x80\x02" + opcode + b".", "x")


@pytest.mark.fault("C08")
def test_a_pickle_nested_a_million_deep_neither_crashes_nor_recurses() -> None:
    value: object = load_records(b"\x80\x02)" + b"\x85" * 1_000_000 + b".", "x")
    for _ in range(1_000_000):
        assert isinstance(value, tuple)
        value = value[0] if value else value


_GOOD = pickle.dumps({"a": OrderedDict(b=(1, 2, "c")), "d": [1.5, None]}, 2)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, len(_GOOD) - 1), st.integers(0, 255))
def test_any_bytes_give_a_value_or_a_refusal(noise: bytes, at: int, byte: int) -> None:
    for data in (b"\x80\x02" + noise, _GOOD[:at] + bytes([byte]) + _GOOD[at + 1 :], _GOOD[:at], _GOOD[:at] + noise):
        try:
            value = load_records(data, "x")
        except CheckpointError as error:
            assert str(error).startswith("x: ")  # noqa: PT017 - a refusal is one of the two good ends
        else:
            assert not callable(value) or isinstance(value, Record)
