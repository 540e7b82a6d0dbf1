"""Ranks of two steps are refused where anything shows it; where nothing does, the audit says so."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from critictui.checkpoint.audit import audit
from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.find import resolve_target
from critictui.checkpoint.weights import open_weights

pytestmark = [pytest.mark.torch, pytest.mark.fault("C14")]


def mixed(tmp_path: Path, forms: ModuleType, form: str, ranks: tuple[int, ...], world: int = 4) -> Path:
    """Step 200, the given ranks of which are step 100's."""
    old = forms.write_verl(tmp_path, 100, forms.weights(seed=1), world=world, form=form)
    new: Path = forms.write_verl(tmp_path, 200, forms.weights(seed=2), world=world, form=form)
    assert audit(new).problems == ()
    for rank in ranks:
        shutil.copy(old / f"model_world_size_{world}_rank_{rank}.pt", new)
    return new


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize(("form", "ranks"), [("hybrid", (0, 1)), ("hybrid", (2, 3)), ("plain", (3,))])
def test_copies_that_contradict_each_other_are_refused(
    tmp_path: Path, forms: ModuleType, form: str, ranks: tuple[int, ...], *, checksums: bool
) -> None:
    import torch

    torch.serialization.set_crc32_options(checksums)
    try:
        path = mixed(tmp_path, forms, form, ranks)
    finally:
        torch.serialization.set_crc32_options(True)
    with pytest.raises(CheckpointError, match=r"rank_\d\.pt: .* is another than in .*; the ranks are not of one step"):
        open_weights(resolve_target(path))
    assert [kind for kind, _ in audit(path).problems] == ["weights-damaged"]


@pytest.mark.parametrize("checksums", [True, False])
def test_one_value_of_the_head_is_enough(tmp_path: Path, forms: ModuleType, *, checksums: bool) -> None:
    import torch

    torch.serialization.set_crc32_options(checksums)
    try:
        path = forms.write_verl(tmp_path, 100, forms.weights(), world=4, form="hybrid")
        state = forms.weights()
        state["score.weight"][0, 17] += 1e-6
        other = forms.write_verl(tmp_path / "other", 100, state, world=4, form="hybrid")
    finally:
        torch.serialization.set_crc32_options(True)
    for rank in (2, 3):
        shutil.copy(other / f"model_world_size_4_rank_{rank}.pt", path)
    with pytest.raises(CheckpointError, match=r"score\.weight is another"):
        open_weights(resolve_target(path))


def extra_state(path: Path, rank: int, step: int) -> None:
    """What verl's checkpoint manager saves beside a shard, random numbers aside."""
    import torch

    schedule = {"last_epoch": step, "_step_count": step + 1, "base_lrs": [1e-6]}
    torch.save({"lr_scheduler": schedule, "rng": {}}, path / f"extra_state_world_size_2_rank_{rank}.pt")


def test_ranks_whose_schedules_are_at_different_steps_are_refused(tmp_path: Path, forms: ModuleType) -> None:
    path = forms.write_verl(tmp_path, 200, forms.weights())
    extra_state(path, 0, 200)
    extra_state(path, 1, 200)
    assert audit(path).problems == ()
    extra_state(path, 1, 100)
    ((kind, message),) = audit(path).problems
    assert (kind, "rank_1.pt is of update 100, extra_state_world_size_2_rank_0.pt of update 200" in message) == (
        "incomplete",
        True,
    )


def test_what_no_file_shows_is_said(tmp_path: Path, forms: ModuleType) -> None:
    path = mixed(tmp_path, forms, "fsdp1", (1,), world=2)
    facts = audit(path)
    assert facts.problems == ()
    assert any("nothing in the 2 weight files shows that they are of one step" in words for words in facts.unseen)
    assert not any("minutes apart" in words for words in facts.unseen)
    os.utime(path / "model_world_size_2_rank_1.pt", (1e9, 1e9))
    assert any("minutes apart" in words for words in audit(path).unseen)
    whole = forms.write_hf(tmp_path / "hf", forms.weights())
    assert not any("one step" in words for words in audit(whole).unseen)


def test_what_verl_wrote_is_of_one_step_by_critictui_data() -> None:
    from critictui.checkpoint.one_save import scheduled_steps

    place = os.environ.get("CRITICTUI_DATA")
    if not place:
        pytest.skip("CRITICTUI_DATA is not set: the checkpoints written by verl are not here")
    steps = scheduled_steps(resolve_target(Path(place) / "checkpoints" / "verl" / "fsdp1" / "global_step_50"))
    assert len(steps) == 2
    assert len(set(steps.values())) == 1
