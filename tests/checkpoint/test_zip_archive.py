"""Archives: whole or not, and nothing they claim is believed unchecked."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from critictui.checkpoint.archive import open_state_dict
from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.zip_archive import TruncatedError, is_whole, open_archive


def archive(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return path


ENTRIES = {"a/data.pkl": b"\x80\x02}.", "a/byteorder": b"little", "a/data/0": bytes(range(200))}


def test_entries_are_found_where_they_lie(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.pt", ENTRIES)
    opened = open_archive(path)
    start = opened.start("a/data/0")
    assert path.read_bytes()[start : start + 200] == ENTRIES["a/data/0"]
    assert opened.read("a/data.pkl", 100) == ENTRIES["a/data.pkl"]
    opened.close()


def test_a_file_cut_at_any_byte_is_not_whole(tmp_path: Path) -> None:
    whole = archive(tmp_path / "x.pt", ENTRIES).read_bytes()
    assert is_whole(tmp_path / "x.pt") == ""
    cut = tmp_path / "cut.pt"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        assert is_whole(cut) != "", length
        with pytest.raises(CheckpointError):
            open_archive(cut)


def test_bytes_after_the_end_are_noticed(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.pt", ENTRIES)
    path.write_bytes(path.read_bytes() + b"\0" * 4096)
    with pytest.raises(TruncatedError, match="follow the end"):
        open_archive(path)


@pytest.mark.fault("C08")
def test_a_zip_bomb_is_refused_because_it_is_compressed(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.pt", ENTRIES | {"a/data/1": b"\0" * 50_000_000}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="compressed"):
        open_archive(path)


@pytest.mark.fault("C08")
def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.pt", ENTRIES | {"a/data/1": b"1" * 50})
    raw = bytearray(path.read_bytes())
    central = [i for i in range(len(raw)) if raw[i : i + 4] == b"PK\x01\x02"]
    raw[central[3] + 42 : central[3] + 46] = raw[central[2] + 42 : central[2] + 46]
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match="overlap"):
        open_archive(path)


@pytest.mark.fault("C08")
def test_an_entry_larger_than_the_file_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.pt", ENTRIES)
    raw = bytearray(path.read_bytes())
    last = raw.rfind(b"PK\x01\x02")
    raw[last + 20 : last + 28] = struct.pack("<II", 1 << 31, 1 << 31)
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match="beyond the file"):
        open_archive(path)


def test_a_flipped_bit_in_a_small_entry_fails_its_crc(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.pt", ENTRIES)
    opened = open_archive(path)
    start = opened.start("a/data/0")
    raw = bytearray(path.read_bytes())
    raw[start + 100] ^= 4
    opened.close()
    path.write_bytes(raw)
    opened = open_archive(path)
    with pytest.raises(CheckpointError, match="CRC"):
        opened.read("a/data/0", 1000)
    opened.close()


def test_a_big_endian_archive_and_two_pickles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="big-endian"):
        open_archive(archive(tmp_path / "x.pt", ENTRIES | {"a/byteorder": b"big"}))
    with pytest.raises(CheckpointError, match=r"data\.pkl"):
        open_archive(archive(tmp_path / "y.pt", ENTRIES | {"b/data.pkl": b"N."}))


def test_torchs_old_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"x" * 200)
    with pytest.raises(CheckpointError, match=r"before 1\.6"):
        open_archive(tmp_path / "x.pt")


@pytest.mark.fault("C08")
def test_a_tensor_of_two_to_the_sixty_elements_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(2, 3)}, buffer)
    with zipfile.ZipFile(buffer) as source:
        entries = {n: source.read(n) for n in source.namelist()}
    (pickled,) = [n for n in entries if n.endswith("data.pkl")]
    for shape in (b"\x8a\x06\x00\x00\x00\x00\x00\x01", b"J\x00\x00\x00\x7f"):  # 2^40 and 2^31 rows
        bomb = entries[pickled].replace(b"K\x02K\x03\x86", shape + b"K\x03\x86", 1)
        assert bomb != entries[pickled]
        path = archive(tmp_path / "x.pt", entries | {pickled: bomb})
        with pytest.raises(CheckpointError, match="claims"):
            open_state_dict(path)


def test_a_transposed_tensor_is_refused_and_not_read_in_the_wrong_order(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.arange(6.0).view(2, 3).T}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="strides"):
        open_state_dict(tmp_path / "x.pt")


def test_an_archive_without_checksums_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(3)}, tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    state = open_state_dict(tmp_path / "x.pt")
    assert state.tensors["w"][0].shape == (3,)
    state.close()
