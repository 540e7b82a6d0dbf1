"""Safetensors headers: each claim is checked against the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.safetensors_header import read_header
from critictui.checkpoint.stored import StoredTensor
from critictui.checkpoint.zip_archive import TruncatedError


def _objects(values: Any) -> Any:
    return st.dictionaries(st.text(), values)


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def written(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + data)
    return path


def read(path: Path) -> dict[str, StoredTensor]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return read_header(path, fd)
    finally:
        os.close(fd)


def test_names_shapes_and_places_are_read(tmp_path: Path) -> None:
    header = {"__metadata__": {"format": "pt"}, "b": entry(8, 12, [2], "BF16"), "a": entry(0, 8, [1, 2])}
    path = written(tmp_path / "x", header, bytes(range(12)))
    found = read(path)
    start = path.stat().st_size - 12
    assert (found["a"].shape, found["a"].dtype, found["a"].pieces[0].offset) == ((1, 2), "float32", start)
    assert (found["b"].dtype, found["b"].pieces[0].offset) == ("bfloat16", start + 8)


@pytest.mark.parametrize(
    ("header", "size", "match"),
    [
        ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, 12, "overlaps"),
        ({"a": entry(0, 8, [2]), "b": entry(12, 20, [2])}, 20, "hole"),
        ({"a": entry(0, 8, [2])}, 16, "follow the last"),
        ({"a": entry(0, 8, [3])}, 8, "do not fit"),
        ({"a": entry(0, 8, [1 << 60])}, 8, "shape"),
        ({"a": entry(0, 8, [-2])}, 8, "shape"),
        ({"a": entry(0, 8, [2], "F4")}, 8, "dtype"),
        ({"a": "nonsense"}, 8, "damaged"),
        (b'{"a":%s,"a":%s}' % ((b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}',) * 2), 4, "twice"),
        (b"[" * 100_000, 0, "damaged"),
        (b"\xff\xfe{}", 0, "damaged"),
        (b"[]", 0, "no object"),
    ],
)  # fmt: skip
def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path, header: Any, size: int, match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        read(written(tmp_path / "x", header, b"\0" * size))


@pytest.mark.fault("C08")
def test_a_header_of_a_terabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="claims a header"):
        read(written(tmp_path / "x", b"{}", length=1 << 40))


@pytest.mark.fault("C08")
def test_a_million_tensors_are_refused_before_they_are_parsed(tmp_path: Path) -> None:
    many = b"{" + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(250_000)) + b"}"
    with pytest.raises(CheckpointError, match="more tensors"):
        read(written(tmp_path / "x", many))


def test_a_file_cut_at_any_byte_is_called_cut_short(tmp_path: Path) -> None:
    whole = written(tmp_path / "x", {"a": entry(0, 8, [2])}, b"12345678").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(TruncatedError):
            read(tmp_path / "cut")


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=4), lambda c: st.lists(c) | st.dictionaries(st.text(), c))
)
def test_any_json_gives_tensors_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, header: Any) -> None:
    path = written(tmp_path_factory.getbasetemp() / "fuzz", header)
    try:
        assert isinstance(read(path), dict)
    except CheckpointError as error:
        assert "fuzz" in str(error)  # noqa: PT017 - a refusal is one of the two good ends
