"""An adapter is no critic by itself, nor is the base beside it: neither is scored, both are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from critictui.checkpoint.audit import audit
from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.find import describe, find_checkpoints, resolve_target

pytestmark = pytest.mark.torch

MERGE = r"merge_and_unload\(\)\.save_pretrained"


def write_adapter(folder: Path, forms: ModuleType, *, binary: bool = False, head: bool = True) -> Path:
    """LoRA on q_proj and a trained head, as PEFT's `save_pretrained` leaves them."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    at = "base_model.model.model.layers.0.self_attn.q_proj."
    state = {at + "lora_A.weight": torch.ones(2, forms.HIDDEN), at + "lora_B.weight": torch.ones(forms.HIDDEN, 2)}
    if head:
        state["base_model.model.score.weight"] = torch.ones(1, forms.HIDDEN)
    if binary:
        torch.save(state, folder / "adapter_model.bin")
    else:
        save_file(state, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "modules_to_save": ["score"]}))
    return folder


@pytest.fixture(scope="module")
def state(forms: ModuleType) -> Any:
    return forms.weights()


@pytest.mark.fault("C12")
@pytest.mark.parametrize("binary", [False, True])
def test_a_base_with_an_adapter_beside_it_is_refused(
    tmp_path: Path, forms: ModuleType, state: Any, *, binary: bool
) -> None:
    folder = forms.write_hf(tmp_path / "checkpoint-5", state)
    assert resolve_target(folder).state == "complete"
    write_adapter(folder, forms, binary=binary)
    with pytest.raises(CheckpointError, match=rf"adapter_model\.{'bin' if binary else 'safetensors'} is an.*{MERGE}"):
        resolve_target(folder)
    facts = audit(folder)
    assert not facts.scorable
    assert [kind for kind, _ in facts.problems] == ["incomplete"]
    assert [(c.step, c.state) for c in find_checkpoints(tmp_path)] == [(5, "unreadable")]


def test_a_checkpoint_that_was_complete_is_in_doubt_once_an_adapter_comes(
    tmp_path: Path, forms: ModuleType, state: Any
) -> None:
    folder = forms.write_hf(tmp_path / "checkpoint-5", state)
    before = find_checkpoints(tmp_path)
    write_adapter(folder, forms)
    assert [c.state for c in find_checkpoints(tmp_path, previous=before)] == ["unreadable"]


def test_the_adapter_that_verl_puts_in_a_folder_of_its_own_counts_as_beside(
    tmp_path: Path, forms: ModuleType, state: Any
) -> None:
    merged = forms.write_hf(tmp_path / "global_step_5" / "critic", state)
    write_adapter(merged / "lora_adapter", forms)
    found = find_checkpoints(tmp_path)
    assert [(c.path, c.state) for c in found] == [(merged, "unreadable")]
    with pytest.raises(CheckpointError, match=r"lora_adapter/adapter_model\.safetensors"):
        resolve_target(merged)
    shards = forms.write_verl(tmp_path / "fsdp", 7, state)
    write_adapter(shards / "lora_adapter", forms)
    with pytest.raises(CheckpointError, match=r"lora_adapter/adapter_model\.safetensors"):
        resolve_target(shards)


def test_an_adapter_alone_is_a_checkpoint_that_cannot_be_read(tmp_path: Path, forms: ModuleType) -> None:
    folder = write_adapter(tmp_path / "checkpoint-50", forms)
    (found,) = find_checkpoints(tmp_path)
    assert (found.step, found.layout, found.state) == (50, "adapter", "unreadable")
    assert found.size == (folder / "adapter_model.safetensors").stat().st_size
    for target in (folder, tmp_path, folder / "adapter_model.safetensors"):
        with pytest.raises(CheckpointError, match=rf"without its base.*{MERGE}"):
            resolve_target(target)
    assert [kind for kind, _ in audit(describe(folder)).problems] == ["incomplete", "incomplete"]


def test_a_base_above_the_adapters_of_a_run_is_not_scored_in_their_place(
    tmp_path: Path, forms: ModuleType, state: Any
) -> None:
    forms.write_hf(tmp_path, state)
    write_adapter(tmp_path / "checkpoint-50", forms)
    with pytest.raises(CheckpointError, match=rf"checkpoint-50 is an adapter of these weights.*{MERGE}"):
        resolve_target(tmp_path)
    assert [(c.step, c.state) for c in find_checkpoints(tmp_path)] == [(50, "unreadable"), (None, "unreadable")]


@pytest.mark.parametrize("older", ["checkpoint-40", "base_reward_model"])
def test_an_older_checkpoint_is_not_scored_for_a_run_whose_newest_one_is_an_adapter(
    tmp_path: Path, forms: ModuleType, state: Any, older: str
) -> None:
    base = forms.write_hf(tmp_path / older, state)
    write_adapter(tmp_path / "checkpoint-50", forms)
    with pytest.raises(CheckpointError, match=rf"checkpoint-50: adapter_model.*{MERGE}.*{older}"):
        resolve_target(tmp_path)
    assert resolve_target(base).path == base
    newer = forms.write_hf(tmp_path / "checkpoint-60", state)
    assert resolve_target(tmp_path).path == newer
    shutil.rmtree(newer)
    before = find_checkpoints(tmp_path)
    shutil.rmtree(tmp_path / "checkpoint-50")
    assert [c.state for c in find_checkpoints(tmp_path, previous=before)] == ["deleted", "complete"]
    assert resolve_target(tmp_path).path == base


def test_adapters_of_other_models_do_not_count(tmp_path: Path, forms: ModuleType, state: Any) -> None:
    forms.write_hf(tmp_path / "checkpoint-40", state)
    write_adapter(tmp_path / "student", forms, head=False)
    write_adapter(tmp_path / "actor" / "lora_adapter", forms)
    assert [c.step for c in find_checkpoints(tmp_path)] == [40]
    write_adapter(tmp_path / "final", forms)
    assert [(c.step, c.layout) for c in find_checkpoints(tmp_path)] == [(40, "hf"), (None, "adapter")]
