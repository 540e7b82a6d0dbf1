"""Damage that leaves finite numbers is found by the checksums that archives store, from the disk and from the cache."""

from __future__ import annotations

import os
import random
import zlib
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from critictui.checkpoint.audit import audit
from critictui.checkpoint.checkpoint import CheckpointError, VanishedError
from critictui.checkpoint.checksum import Sealed, Strip, combined, joined
from critictui.checkpoint.find import resolve_target
from critictui.checkpoint.weights import open_weights
from critictui.checkpoint.zip_archive import open_archive
from critictui.worker import fill
from critictui.worker.load import load_critic

pytestmark = [pytest.mark.torch, pytest.mark.fault("C13")]


def large(forms: ModuleType) -> tuple[Any, dict[str, Any]]:
    """Weights of which some entries are far larger than what an audit reads, and their config."""
    state = forms.weights()
    for i in range(forms.LAYERS):
        at = f"model.layers.{i}.mlp."
        for name, shape in (("gate", (4096, 32)), ("up", (4096, 32)), ("down", (32, 4096))):
            state[f"{at}{name}_proj.weight"] = torch.randn(*shape, generator=torch.Generator().manual_seed(i))
    return state, forms.config(intermediate_size=4096)


def damage(file: Path) -> str:
    """Overwrite a tenth of the largest entry with other finite numbers; its name."""
    archive = open_archive(file)
    entry = max(archive.entries.values(), key=lambda e: e.size)
    at = archive.start(entry.name) + entry.size // 4
    archive.close()
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(b"\x3c" * (entry.size // 10))
    return entry.name


def written(tmp_path: Path, forms: ModuleType, form: str) -> tuple[Path, Path]:
    """A checkpoint, and the file of it that is to be damaged."""
    state, values = large(forms)
    if form == "bin":
        folder = forms.write_hf(tmp_path / "hf", state, binary=True, values=values)
        return folder, folder / "pytorch_model.bin"
    folder = forms.write_verl(tmp_path, 1, state, form=form, values=values)
    return folder, folder / "model_world_size_2_rank_1.pt"


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("form", ["fsdp1", "fsdp2", "sharded", "bin"])
def test_an_entry_whose_bytes_do_not_have_its_checksum_is_refused_by_name(
    tmp_path: Path, forms: ModuleType, monkeypatch: pytest.MonkeyPatch, form: str, *, cold: bool
) -> None:
    monkeypatch.setattr(fill, "is_cold", lambda _: cold)
    monkeypatch.setattr(fill, "CHUNK", 1 << 15)  # many strips an entry, by several threads
    folder, file = written(tmp_path, forms, form)
    load_critic(folder).verify()
    entry = damage(file)
    assert audit(folder).problems == ()  # which reads only samples
    with pytest.raises(CheckpointError, match=rf"{file.name}: entry '{entry}' is damaged \(CRC differs\)"):
        load_critic(folder).verify()


def test_a_file_that_is_replaced_while_it_is_checked_is_reported_as_that(tmp_path: Path, forms: ModuleType) -> None:
    folder, file = written(tmp_path, forms, "fsdp1")
    damage(file)
    critic = load_critic(folder)
    file.write_bytes(file.read_bytes())
    with pytest.raises(VanishedError, match="replaced"):
        critic.verify()


@pytest.mark.parametrize("cold", [False, True])
def test_an_archive_without_checksums_is_no_damage(
    tmp_path: Path, forms: ModuleType, monkeypatch: pytest.MonkeyPatch, *, cold: bool
) -> None:
    monkeypatch.setattr(fill, "is_cold", lambda _: cold)
    torch.serialization.set_crc32_options(False)
    try:
        folder, file = written(tmp_path, forms, "fsdp1")
    finally:
        torch.serialization.set_crc32_options(True)
    archive = open_archive(file)
    assert {e.crc for e in archive.entries.values() if "/data/" in e.name} == {0}
    archive.close()
    load_critic(folder).verify()


def test_the_audit_says_what_it_leaves_to_the_score(tmp_path: Path, forms: ModuleType) -> None:
    folder, _ = written(tmp_path, forms, "fsdp1")
    assert any("checksums" in words and "when it is scored" in words for words in audit(folder).unseen)
    state, values = large(forms)
    whole = forms.write_hf(tmp_path / "hf", state, values=values)
    assert any("safetensors stores no checksums" in words for words in audit(whole).unseen)


def test_entries_that_strips_do_not_cover_are_read_for_it(
    tmp_path: Path, forms: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tensors that are views of one storage, with a gap between them."""
    monkeypatch.setattr(fill, "is_cold", lambda _: True)
    state, values = large(forms)
    storage = torch.randn(3 * 4096 * 32)
    for i in range(2):
        begin = 2 * i * 4096 * 32
        state[f"model.layers.{i}.mlp.up_proj.weight"] = storage[begin : begin + 4096 * 32].view(4096, 32)
    folder = forms.write_hf(tmp_path / "hf", state, binary=True, values=values)
    load_critic(folder).verify()
    damage(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="CRC differs"):
        load_critic(folder).verify()


def test_checksums_of_strips_in_any_order_are_those_of_the_whole() -> None:
    generator = random.Random(0)
    data = generator.randbytes(100_003)
    for at in (0, 1, 7, 4096, 99_999, 100_003):
        assert combined(zlib.crc32(data[:at]), zlib.crc32(data[at:]), len(data) - at) == zlib.crc32(data)
    entry = Sealed(Path("x"), 3, "x/data/0", 500, len(data), zlib.crc32(data))
    cuts = [0, *sorted(generator.sample(range(len(data)), 20)), len(data)]
    strips = [Strip(500 + a, b - a, zlib.crc32(data[a:b])) for a, b in pairwise(cuts)]
    generator.shuffle(strips)
    assert joined(entry, strips) == entry.crc
    assert joined(entry, strips[1:]) is None
    assert joined(entry, [*strips, strips[0]]) is None
    assert joined(entry, []) is None


def test_every_archive_that_verl_wrote_has_checksums_by_critictui_data() -> None:
    place = os.environ.get("CRITICTUI_DATA")
    if not place:
        pytest.skip("CRITICTUI_DATA is not set: the checkpoints written by verl are not here")
    for folder in sorted((Path(place) / "checkpoints").glob("**/critic")):
        with open_weights(resolve_target(folder)) as weights:
            entries = [e for s in weights.archives for e in s.archive.entries.values() if e.size]
            assert entries
            assert all(e.crc for e in entries)
