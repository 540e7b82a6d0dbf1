"""Checkpoints are found in every layout, in the order of their steps, each with its state and the reason."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from critictui.checkpoint.checkpoint import CheckpointError, VanishedError
from critictui.checkpoint.completeness import step_of
from critictui.checkpoint.find import MAX_DEPTH, describe, find_checkpoints, resolve_target, scan

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def state(forms: ModuleType) -> Any:
    return forms.weights()


@pytest.fixture(scope="module")
def pristine(forms: ModuleType, state: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One verl step, to be copied."""
    return Path(forms.write_verl(tmp_path_factory.mktemp("pristine"), 1, state)).parent


def step(run: Path, number: int, pristine: Path, *, data: bool = True) -> Path:
    target = run / f"global_step_{number}"
    shutil.copytree(pristine, target)
    if not data:
        (target / "data.pt").unlink()
    return target / "critic"


def test_steps_are_ordered_by_number_and_not_as_text_or_by_time(tmp_path: Path, pristine: Path) -> None:
    for number in (100, 9, 10, 310):
        step(tmp_path, number, pristine)
    os.utime(tmp_path / "global_step_9" / "critic" / "model_world_size_2_rank_0.pt", (4e9, 4e9))
    found = find_checkpoints(tmp_path)
    assert [c.step for c in found] == [310, 100, 10, 9]
    assert {c.state for c in found} == {"complete"}
    assert found[0].world_size == 2
    assert found[0].size == sum(f.stat().st_size for f in found[0].files)


@pytest.mark.parametrize(
    ("place", "step"),
    [
        ("run/global_step_310/critic", 310),
        ("run/global_step_310/critic/huggingface", 310),
        ("run/global_step_310/critic/merged", 310),
        ("run/checkpoint-300", 300),
        ("run/step_50", 50),
        ("run/iter_0000120/model", 120),
        ("run/_actor/global_step100_hf", 100),
        ("ckpt-7", 7),
        ("warmup-iter2/merged_critic", None),
        ("warmup-iter2/critic", None),
        ("exp_step3", None),
        ("ppo-checkpoint-7/critic_final/hf", None),
        ("checkpoint-7/critic_final/hf", None),
        ("step_3/run/critic", None),
        ("checkpoint-300-best", None),
        ("critic", None),
    ],
)
def test_a_step_is_the_whole_name_of_the_folder_that_is_the_checkpoint_s_own(place: str, step: int | None) -> None:
    assert step_of(Path("/data") / place) == step


def test_the_tracker_is_as_good_as_data_pt(tmp_path: Path, pristine: Path) -> None:
    step(tmp_path, 20, pristine, data=False)
    step(tmp_path, 30, pristine, data=False)
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("20")
    states = {c.step: c.state for c in find_checkpoints(tmp_path)}
    assert states == {20: "complete", 30: "writing"}


def test_without_any_mark_a_checkpoint_is_complete_at_the_second_look_if_it_stood_still(
    tmp_path: Path, pristine: Path
) -> None:
    critic = step(tmp_path, 20, pristine, data=False)
    first = find_checkpoints(tmp_path)
    assert (first[0].state, "data.pt" in first[0].reason) == ("writing", True)
    with (critic / "model_world_size_2_rank_1.pt").open("ab") as file:
        file.write(b"more")
    second = find_checkpoints(tmp_path, previous=first)
    assert second[0].state == "writing"
    shutil.copy(pristine / "critic" / "model_world_size_2_rank_1.pt", critic)
    third = find_checkpoints(tmp_path, previous=second)
    assert third[0].state == "writing"
    assert find_checkpoints(tmp_path, previous=third)[0].state == "complete"


def test_a_missing_or_short_shard_is_being_written_while_its_step_is_the_last_and_lost_after_that(
    tmp_path: Path, pristine: Path
) -> None:
    short = step(tmp_path, 20, pristine, data=False) / "model_world_size_2_rank_1.pt"
    short.write_bytes(short.read_bytes()[:-100])
    found = find_checkpoints(tmp_path)
    assert (found[0].state, "rank_1.pt is cut short" in found[0].reason) == ("writing", True)
    short.unlink()
    found = find_checkpoints(tmp_path)
    assert (found[0].state, found[0].reason) == ("writing", "rank 1 of 2 is missing")
    step(tmp_path, 30, pristine)
    assert find_checkpoints(tmp_path)[1].state == "incomplete"


def test_a_step_that_is_marked_as_done_but_lacks_a_shard_is_incomplete(tmp_path: Path, pristine: Path) -> None:
    (step(tmp_path, 20, pristine) / "model_world_size_2_rank_0.pt").unlink()
    (found,) = find_checkpoints(tmp_path)
    assert (found.state, found.reason) == ("incomplete", "rank 0 of 2 is missing")


@pytest.mark.fault("C02")
def test_shards_of_two_world_sizes_are_never_mixed(tmp_path: Path, pristine: Path) -> None:
    critic = step(tmp_path, 20, pristine)
    shutil.copy(critic / "model_world_size_2_rank_0.pt", critic / "model_world_size_4_rank_0.pt")
    (found,) = find_checkpoints(tmp_path)
    assert (found.state, "2 and 4" in found.reason) == ("unreadable", True)


@pytest.mark.fault("C02")
def test_a_deleted_checkpoint_is_remembered(tmp_path: Path, pristine: Path) -> None:
    for number in (10, 20):
        step(tmp_path, number, pristine)
    before = find_checkpoints(tmp_path)
    shutil.rmtree(tmp_path / "global_step_10")
    after = find_checkpoints(tmp_path, previous=before)
    assert [(c.step, c.state) for c in after] == [(20, "complete"), (10, "deleted")]
    assert find_checkpoints(tmp_path, previous=after)[1].state == "deleted"


def test_a_pruned_critic_folder_is_a_deleted_checkpoint(tmp_path: Path, pristine: Path) -> None:
    for number in (10, 20):
        step(tmp_path, number, pristine)
    shutil.rmtree(tmp_path / "global_step_10" / "critic")
    assert [(c.step, c.state) for c in find_checkpoints(tmp_path)] == [(20, "complete"), (10, "deleted")]


def test_an_actor_is_no_critic(tmp_path: Path, pristine: Path) -> None:
    shutil.copytree(pristine / "critic", tmp_path / "global_step_10" / "actor")
    assert find_checkpoints(tmp_path) == []


def test_other_models_in_a_run_are_no_critics_unless_they_have_a_value_head(
    tmp_path: Path, forms: ModuleType, state: Any
) -> None:
    headless = {name: tensor for name, tensor in state.items() if not name.startswith("score")}
    for place in ("data/student", "teacher", "checkpoint-7", "critic_merged", "run/critic/final"):
        forms.write_hf(tmp_path / place, headless)
    forms.write_hf(tmp_path / "reward_model", state)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "model.safetensors").write_bytes(bytes(50))
    found = {str(c.path.relative_to(tmp_path)) for c in find_checkpoints(tmp_path)}
    assert found == {"checkpoint-7", "critic_merged", "run/critic/final", "reward_model"}
    # what is pointed at is what is meant
    assert [c.path for c in find_checkpoints(tmp_path / "data" / "student")] == [tmp_path / "data" / "student"]
    assert resolve_target(tmp_path / "data" / "student").path == tmp_path / "data" / "student"


def test_hugging_face_trl_and_checkpoint_n_directories_are_found(tmp_path: Path, forms: ModuleType, state: Any) -> None:
    forms.write_hf(tmp_path / "checkpoint-9", state)
    forms.write_hf(tmp_path / "checkpoint-100", state, shards=3)
    forms.write_hf(tmp_path / "merged", state)
    forms.write_hf(tmp_path / "old" / "step_50", state, binary=True, shards=2)
    forms.write_hf(tmp_path / "trl" / "checkpoint-70", forms.weights(head="v_head.summary"), shards=2)
    found = find_checkpoints(tmp_path)
    assert [(c.step, c.layout, len(c.files)) for c in found] == [
        (100, "hf", 3),
        (70, "trl", 2),
        (50, "hf", 2),
        (9, "hf", 1),
        (None, "hf", 1),
    ]
    assert {c.state for c in found} == {"complete"}


def test_a_shard_that_the_index_names_and_nobody_has_makes_it_incomplete(
    tmp_path: Path, forms: ModuleType, state: Any
) -> None:
    folder = forms.write_hf(tmp_path / "checkpoint-5", state, shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    forms.write_hf(tmp_path / "checkpoint-6", state)
    found = find_checkpoints(tmp_path)[1]
    assert (found.state, found.reason) == ("incomplete", "model-00002-of-00003.safetensors is missing")


def test_two_saves_in_one_folder_are_not_guessed_at(tmp_path: Path, forms: ModuleType, state: Any) -> None:
    forms.write_hf(tmp_path, state, shards=2)
    forms.write_hf(tmp_path, state)
    assert "both model.safetensors and shards" in describe(tmp_path).reason


def test_an_index_that_leads_out_of_its_folder_is_not_followed(tmp_path: Path, forms: ModuleType, state: Any) -> None:
    folder = forms.write_hf(tmp_path / "x", state, shards=2)
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00001-of-00002.safetensors", "../../etc/passwd"))
    assert (describe(folder).state, "outside its folder" in describe(folder).reason) == ("unreadable", True)


def test_a_loop_of_links_a_deep_tree_and_special_files_do_not_hurt(tmp_path: Path, pristine: Path) -> None:
    critic = step(tmp_path, 10, pristine)
    (tmp_path / "latest").symlink_to(tmp_path / "global_step_10", target_is_directory=True)
    (tmp_path / "global_step_10" / "loop").symlink_to(tmp_path, target_is_directory=True)
    deep = tmp_path.joinpath(*["d"] * (MAX_DEPTH + 3))
    deep.mkdir(parents=True)
    fifo = tmp_path / "global_step_20" / "critic"
    fifo.mkdir(parents=True)
    os.mkfifo(fifo / "model_world_size_1_rank_0.pt")
    result = scan(tmp_path)
    assert [(c.step, c.state) for c in result.checkpoints] == [(20, "writing"), (10, "complete")]
    assert result.truncated
    assert result.checkpoints[1].path == critic


def test_an_unchanged_checkpoint_is_not_opened_again(
    tmp_path: Path, pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step(tmp_path, 10, pristine)
    first = find_checkpoints(tmp_path)

    def opened(path: Path) -> str:
        raise AssertionError(path)

    monkeypatch.setattr("critictui.checkpoint.completeness.is_whole", opened)
    assert find_checkpoints(tmp_path, previous=first) == first


@pytest.mark.parametrize("point", ["global_step_20/critic", "global_step_20", "global_step_20/critic/huggingface", "."])
def test_whatever_a_person_points_to_the_same_checkpoint_is_meant(tmp_path: Path, pristine: Path, point: str) -> None:
    step(tmp_path, 10, pristine)
    critic = step(tmp_path, 20, pristine)
    assert resolve_target(tmp_path / point).path == critic
    assert resolve_target(critic / "model_world_size_2_rank_0.pt").path == critic


def test_a_target_without_marks_is_looked_at_twice(tmp_path: Path, pristine: Path) -> None:
    critic = step(tmp_path, 20, pristine, data=False)
    assert resolve_target(critic, settle_seconds=0.01).state == "complete"
    with pytest.raises(CheckpointError, match=r"writing: no data\.pt"):
        resolve_target(critic, settle_seconds=0)
    assert resolve_target(tmp_path, settle_seconds=0.01).path == critic


def test_the_newest_complete_one_is_taken_past_one_that_is_not(tmp_path: Path, pristine: Path) -> None:
    step(tmp_path, 20, pristine)
    (step(tmp_path, 30, pristine, data=False) / "model_world_size_2_rank_1.pt").unlink()
    assert resolve_target(tmp_path, settle_seconds=0.01).step == 20


def test_targets_that_are_none_say_what_to_give(tmp_path: Path, pristine: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint found; give"):
        resolve_target(tmp_path)
    with pytest.raises(VanishedError, match="check the path"):
        resolve_target(tmp_path / "absent")
    (step(tmp_path, 30, pristine) / "model_world_size_2_rank_1.pt").unlink()
    with pytest.raises(CheckpointError, match="rank 1 of 2 is missing"):
        resolve_target(tmp_path)
