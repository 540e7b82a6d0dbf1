"""The audit: exactly one head, whole and healthy weights, the same facts whatever the form."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from critictui.checkpoint.audit import audit
from critictui.checkpoint.beside import tokenizer_folder
from critictui.checkpoint.checkpoint import VanishedError
from critictui.checkpoint.find import describe
from critictui.checkpoint.head import looks_initialised
from critictui.checkpoint.identity import identity, verify
from critictui.checkpoint.model_config import read_config

pytestmark = pytest.mark.torch


def problems(path: Path) -> list[str]:
    return [kind for kind, _ in audit(path).problems]


def data_dir() -> Path:
    place = os.environ.get("CRITICTUI_DATA")
    if not place:
        pytest.skip("CRITICTUI_DATA is not set: the checkpoints written by verl are not here")
    return Path(place) / "checkpoints"


@pytest.mark.parametrize(
    "head", ["score", "v_head.summary", "v_head", "value_head", "classifier", "pretrained_model.v_head.summary"]
)
def test_every_name_of_a_head_is_known(tmp_path: Path, forms: ModuleType, head: str) -> None:
    found = audit(forms.write_hf(tmp_path, forms.weights(head=head)))
    assert found.problems == ()
    assert found.head is not None
    assert found.head.weight_name == head.removeprefix("pretrained_model.") + ".weight"
    assert found.head.bias is not None
    assert found.scorable


def test_head_statistics_are_those_of_the_head(tmp_path: Path, forms: ModuleType) -> None:
    state = forms.weights()
    head = audit(forms.write_hf(tmp_path, state)).head
    weight = state["score.weight"].double().numpy().ravel()
    assert head is not None
    assert math.isclose(head.mean, weight.mean())
    assert math.isclose(head.std, weight.std())
    assert math.isclose(head.norm, float(np.linalg.norm(weight)))
    assert head.bias == float(state["score.bias"])
    assert (head.non_finite, head.zero, head.shape) == (0, False, (1, forms.HIDDEN))


def test_the_same_weights_have_the_same_fingerprint_and_head_hash_in_every_form(
    tmp_path: Path, forms: ModuleType
) -> None:
    state = forms.weights()
    forms_of_it = [
        forms.write_verl(tmp_path / "a", 1, state, form="fsdp1"),
        forms.write_verl(tmp_path / "b", 1, state, form="fsdp2", world=4),
        forms.write_verl(tmp_path / "c", 1, state, form="sharded", world=3, config_in="critic"),
        forms.write_verl(tmp_path / "d", 1, state, form="hybrid", world=4),
        forms.write_hf(tmp_path / "e", state, shards=3),
        forms.write_hf(tmp_path / "f", state, binary=True),
    ]
    audits = [audit(path) for path in forms_of_it]
    assert {a.problems for a in audits} == {()}
    assert len({a.fingerprint for a in audits}) == 1
    assert len({a.head.sha256 for a in audits if a.head}) == 1
    assert {a.parameters for a in audits} == {sum(t.numel() for t in state.values())}


def test_other_weights_have_another_fingerprint_even_where_only_one_sampled_value_differs(
    tmp_path: Path, forms: ModuleType
) -> None:
    state = forms.weights()
    first = audit(forms.write_hf(tmp_path / "a", state))
    state["model.layers.1.mlp.up_proj.weight"][5, 7] += 1e-6
    second = audit(forms.write_hf(tmp_path / "b", state))
    assert first.fingerprint != second.fingerprint
    assert first.head == second.head


def changed_config(**values: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return change


BESIDE: dict[str, Callable[[Path], object]] = {
    "rope_theta in the config": changed_config(rope_theta=31.0),
    "the chat template": lambda folder: (folder / "chat_template.jinja").write_text("{{ messages }}"),
    "the tokenizer": lambda folder: (folder / "tokenizer.json").write_text("{}"),
    "the tokenizer's special tokens": lambda folder: (folder / "tokenizer_config.json").write_text("{}"),
    "what ends a generation": lambda folder: (folder / "generation_config.json").write_text('{"eos_token_id": 3}'),
}


@pytest.mark.parametrize("what", BESIDE)
def test_what_lies_beside_the_weights_and_takes_part_in_a_score_is_part_of_fingerprint_and_identity(
    tmp_path: Path, forms: ModuleType, what: str
) -> None:
    path = forms.write_hf(tmp_path / "a", forms.weights())
    forms.write_tokenizer(path)
    checkpoint = describe(path)
    first, before = audit(checkpoint), identity(checkpoint)
    BESIDE[what](path)
    second = audit(checkpoint)
    assert (first.weights, first.head) == (second.weights, second.head)
    assert first.fingerprint != second.fingerprint
    with pytest.raises(VanishedError, match="changed or replaced during scoring"):
        verify(checkpoint, before)


def test_what_a_config_claims_about_architecture_and_version_is_no_part_of_the_fingerprint(
    tmp_path: Path, forms: ModuleType
) -> None:
    path = forms.write_hf(tmp_path / "a", forms.weights())
    first = audit(path)
    changed_config(architectures=["Qwen2ForCausalLM"], transformers_version="4.1", torch_dtype="float16")(path)
    assert audit(path).fingerprint == first.fingerprint


def test_a_tokenizer_from_elsewhere_takes_the_place_of_the_checkpoints_own(tmp_path: Path, forms: ModuleType) -> None:
    path = forms.write_hf(tmp_path / "a", forms.weights())
    other = forms.fresh(tmp_path / "other")
    forms.write_tokenizer(other)
    without, given = audit(path), audit(path, other)
    assert without.fingerprint != given.fingerprint
    forms.write_tokenizer(path)
    assert audit(path).fingerprint == given.fingerprint
    (path / "tokenizer.json").write_text("{}")
    assert audit(path, other).fingerprint == given.fingerprint


def test_a_missing_head_is_named_although_the_architecture_claims_one(tmp_path: Path, forms: ModuleType) -> None:
    values = forms.config(architectures=["Qwen2ForTokenClassification"])
    found = audit(forms.write_hf(tmp_path, forms.weights(head="", lm_head=True), values=values))
    assert [kind for kind, _ in found.problems] == ["head-missing"]
    assert "value head is missing" in found.problems[0][1]
    assert (found.scorable, found.head, found.heads) == (False, None, ())


def test_two_heads_are_one_too_many(tmp_path: Path, forms: ModuleType) -> None:
    state = forms.weights() | {"v_head.summary.weight": forms.weights()["score.weight"]}
    found = audit(forms.write_hf(tmp_path, state))
    assert [kind for kind, _ in found.problems] == ["head-duplicated"]
    assert set(found.heads) == {"score.weight", "score.bias", "v_head.summary.weight"}


def test_a_head_in_a_file_of_its_own_is_read_and_one_more_in_the_model_is_refused(
    tmp_path: Path, forms: ModuleType
) -> None:
    from safetensors.torch import save_file

    state = forms.weights(head="v_head.summary")
    head = {n: state.pop(n) for n in list(state) if n.startswith("v_head")}
    folder = forms.write_hf(tmp_path, state, shards=2)
    assert problems(folder) == ["head-missing"]
    save_file(head, folder / "value_head.safetensors")
    found = audit(folder)
    assert found.problems == ()
    assert describe(folder).layout == "trl"
    forms.write_hf(forms.fresh(folder), state | {"score.weight": head["v_head.summary.weight"]})
    save_file(head, folder / "value_head.safetensors")
    assert problems(folder) == ["head-duplicated"]


@pytest.mark.parametrize(
    ("shape", "match"), [((2, 32), "one value a token"), ((1, 16), "hidden size 32"), ((32,), "one")]
)
def test_a_head_of_another_shape_is_refused(tmp_path: Path, forms: ModuleType, shape: Any, match: str) -> None:
    import torch

    found = audit(forms.write_hf(tmp_path, forms.weights(bias=False) | {"score.weight": torch.ones(shape)}))
    assert found.problems[0][0] == "wrong-shape"
    assert match in found.problems[0][1]


def test_a_head_of_several_layers_is_refused(tmp_path: Path, forms: ModuleType) -> None:
    state = forms.weights(head="score.0") | forms.weights(head="score.2")
    assert problems(forms.write_hf(tmp_path, state)) == ["wrong-shape"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_in_head_or_sample_are_damage(
    tmp_path: Path, forms: ModuleType, value: float
) -> None:
    state = forms.weights()
    state["score.weight"][0, 3] = value
    found = audit(forms.write_hf(tmp_path / "a", state))
    assert {kind for kind, _ in found.problems} == {"weights-damaged"}
    assert found.head is not None
    assert found.head.non_finite == 1
    state = forms.weights()
    state["model.norm.weight"][-1] = value
    assert problems(forms.write_hf(tmp_path / "b", state)) == ["weights-damaged"]


def test_a_hole_of_zeros_is_damage_and_a_zero_bias_is_not(tmp_path: Path, forms: ModuleType) -> None:
    state = forms.weights()
    state["model.layers.0.self_attn.q_proj.bias"].zero_()
    assert problems(forms.write_hf(tmp_path / "a", state)) == []
    state["model.layers.0.self_attn.o_proj.weight"].zero_()
    assert problems(forms.write_hf(tmp_path / "b", state)) == ["weights-damaged"]
    state = forms.weights()
    state["score.weight"].zero_()
    assert "weights-damaged" in problems(forms.write_hf(tmp_path / "c", state))


def test_a_flipped_bit_in_a_small_tensor_of_a_shard_fails_its_crc(tmp_path: Path, forms: ModuleType) -> None:
    critic = forms.write_verl(tmp_path, 1, forms.weights())
    found = next(t for t in audit(critic).tensors if t.name == "model.norm.weight")
    shard = critic / found.file
    raw = bytearray(shard.read_bytes())
    from critictui.checkpoint.archive import open_state_dict

    state = open_state_dict(shard)
    raw[state.tensors["model.norm.weight"][0].offset + 2] ^= 1
    state.close()
    shard.write_bytes(raw)
    (problem,) = audit(critic).problems
    assert problem[0] == "weights-damaged"
    assert "CRC" in problem[1]


@pytest.mark.fault("C02")
def test_shards_of_two_runs_in_one_folder_are_found_out(tmp_path: Path, forms: ModuleType) -> None:
    one = forms.write_verl(tmp_path / "a", 1, forms.weights())
    other = forms.weights(head="v_head.summary")
    two = forms.write_verl(tmp_path / "b", 1, other)
    shutil.copy(two / "model_world_size_2_rank_1.pt", one)
    (problem,) = audit(one).problems
    assert problem[0] == "weights-damaged"
    assert "shards disagree" in problem[1]


def test_a_shard_of_another_rank_under_this_ranks_name_is_found_out(tmp_path: Path, forms: ModuleType) -> None:
    critic = forms.write_verl(tmp_path, 1, forms.weights())
    shutil.copy(critic / "model_world_size_2_rank_0.pt", critic / "model_world_size_2_rank_1.pt")
    (problem,) = audit(critic).problems
    assert problem[0] == "weights-damaged"


def test_a_hostile_shard_is_damage_and_runs_nothing(tmp_path: Path, forms: ModuleType) -> None:
    import pickle
    import zipfile

    canary = tmp_path / "canary"

    class Runs:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {canary}",)

    critic = forms.write_verl(tmp_path, 1, forms.weights())
    with zipfile.ZipFile(critic / "model_world_size_2_rank_1.pt", "w") as made:
        made.writestr("a/data.pkl", pickle.dumps({"score.weight": Runs()}, 2))
    (problem,) = audit(critic).problems
    assert "system" in problem[1]
    assert not canary.exists()


def test_an_incomplete_checkpoint_and_a_missing_layer_say_so(tmp_path: Path, forms: ModuleType) -> None:
    critic = forms.write_verl(tmp_path, 1, forms.weights(), finished="none")
    assert audit(critic).problems[0][0] == "incomplete"
    found = audit(forms.write_hf(tmp_path / "hf", forms.weights(), values=forms.config(num_hidden_layers=4)))
    assert [kind for kind, _ in found.problems] == ["incomplete"]
    assert "layer 2 of 4" in found.problems[0][1]
    (tmp_path / "hf" / "config.json").unlink()
    assert "incomplete" in problems(tmp_path / "hf")


def test_something_in_the_state_dict_that_is_no_tensor_is_named(tmp_path: Path, forms: ModuleType) -> None:
    import torch

    torch.save(forms.weights() | {"step": 7}, tmp_path / "pytorch_model.bin")
    forms.write_config(tmp_path)
    assert audit(tmp_path).problems[0][0] == "weights-damaged"


@pytest.mark.fault("C02")
def test_an_audit_of_a_deleted_checkpoint_is_a_vanished_error(tmp_path: Path, forms: ModuleType) -> None:
    checkpoint = describe(forms.write_verl(tmp_path, 1, forms.weights()))
    before = identity(checkpoint)
    verify(checkpoint, before)
    shard = checkpoint.files[1]
    content = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(content)
    with pytest.raises(VanishedError, match="replaced during scoring"):
        verify(checkpoint, before)
    shutil.rmtree(tmp_path)
    with pytest.raises(VanishedError, match="removed during scoring"):
        verify(checkpoint, before)
    with pytest.raises(VanishedError):
        audit(checkpoint)


def test_a_config_that_is_no_json_is_named(tmp_path: Path, forms: ModuleType) -> None:
    folder = forms.write_hf(tmp_path, forms.weights())
    (folder / "config.json").write_text("{" * 5000)
    found = audit(folder)
    assert any("config.json" in message for _, message in found.problems)


# --- has training touched the head? ---


def draws(kind: str, d: int, seed: int) -> tuple[np.ndarray, float]:
    generator = np.random.default_rng(seed)
    if kind == "hf":
        return generator.normal(0, 0.02, d).astype(np.float32), 0.0
    bound = 1 / math.sqrt(d)
    return generator.uniform(-bound, bound, d).astype(np.float32), float(generator.uniform(-bound, bound))


@pytest.mark.parametrize("kind", ["hf", "trl"])
@pytest.mark.parametrize("d", [896, 4096])
def test_an_untouched_head_is_called_touched_hardly_ever(kind: str, d: int) -> None:
    answers = [looks_initialised(*draws(kind, d, seed)) for seed in range(400)]
    wrong = sum(a != kind for a in answers)
    assert wrong <= 4, answers  # at the stated 1 in 1000, five of 400 would be seen once in 10,000 such tests


def test_a_bfloat16_copy_of_an_untouched_head_is_still_recognised() -> None:
    for kind in ("hf", "trl"):
        weight, bias = draws(kind, 3584, 1)
        rounded = ((weight.view(np.uint32) + 0x8000) & 0xFFFF0000).view(np.float32)
        assert looks_initialised(rounded, bias) == kind


@pytest.mark.parametrize("d", [2048, 3584])
def test_a_spread_that_grew_by_ten_per_cent_is_told_from_an_initial_one(d: int) -> None:
    touched = sum(looks_initialised(draws("hf", d, s)[0] * np.float32(1.1), 0.0) == "no" for s in range(100))
    assert touched >= 90, touched


def test_a_bias_that_left_zero_and_a_weight_beyond_the_bound_mean_training() -> None:
    weight, _ = draws("hf", 2048, 3)
    assert looks_initialised(weight, 1e-5) == "no"
    assert looks_initialised(weight, None) == "hf"
    weight, bias = draws("trl", 2048, 3)
    weight[7] = 1.02 / math.sqrt(2048)
    assert looks_initialised(weight, bias) == "no"


def test_a_tiny_head_that_fits_is_undecided() -> None:
    assert looks_initialised(*draws("hf", 64, 5)) == "undecided"
    assert looks_initialised(draws("hf", 64, 5)[0] * 10, 0.0) == "no"


# --- checkpoints written by verl and trl ---


def test_with_critictui_data_fsdp1_and_fsdp2_have_equal_heads_and_fingerprints() -> None:
    base = data_dir() / "verl"
    for step in (50, 100):
        one, two = (audit(base / f / f"global_step_{step}" / "critic") for f in ("fsdp1", "fsdp2"))
        assert one.problems == two.problems == ()
        assert one.head is not None
        assert two.head is not None
        assert one.head.sha256 == two.head.sha256
        assert one.fingerprint == two.fingerprint
        assert [(t.name, t.shape) for t in one.tensors] == [(t.name, t.shape) for t in two.tensors]
    merged = audit(data_dir() / "merged_by_verl")
    assert merged.weights == audit(data_dir() / "merged_mislabelled").weights != one.weights


def test_with_critictui_data_the_headless_one_is_refused_and_the_others_are_not() -> None:
    base = data_dir()
    assert problems(base / "trl_sharded_without_head") == ["head-missing"]
    assert problems(base / "trl_sharded_with_head") == []
    head = audit(base / "trl_sharded_with_head").head
    assert head is not None
    assert head.weight_name == "v_head.summary.weight"
    checkpoint = describe(base / "verl_trl_head_global_step_50")
    checkpoint = describe(base / "verl_trl_head_global_step_50", checkpoint)
    assert audit(checkpoint).problems == ()


def test_with_critictui_data_an_audit_takes_milliseconds() -> None:
    checkpoint = describe(data_dir() / "verl" / "fsdp1" / "global_step_100")
    best = math.inf
    for _ in range(5):
        begin = time.perf_counter()
        audit(checkpoint)
        best = min(best, time.perf_counter() - begin)
    assert best < 0.2


def test_with_critictui_data_the_audit_is_free_of_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from critictui.checkpoint.audit import audit; "
        f"assert audit(Path({str(data_dir() / 'merged_by_verl')!r})).head; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_index_that_promises_what_no_file_holds_is_damage(tmp_path: Path, forms: ModuleType) -> None:
    folder = forms.write_hf(tmp_path, forms.weights(), shards=2)
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["model.layers.9.extra"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(content))
    assert problems(folder) == ["weights-damaged"]


def two_configs(tmp_path: Path, forms: ModuleType, **changes: object) -> Path:
    """Weights with their config beside them, and another in `huggingface/`."""
    path: Path = forms.write_hf(tmp_path, forms.weights())
    forms.write_config(path / "huggingface", forms.config(**changes))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 8, "num_key_value_heads": 4},
        {"rope_theta": 1e6},
        {"rope_theta": None, "rope_parameters": {"rope_theta": 1e6}},
        {"rope_parameters": {"rope_theta": 1e6}, "rms_norm_eps": 1e-5},
    ],
)
def test_two_configs_that_contradict_each_other_are_refused(
    tmp_path: Path, forms: ModuleType, changes: dict[str, object]
) -> None:
    values = {k: v for k, v in changes.items() if v is not None}
    path = two_configs(tmp_path, forms, **values)
    if changes.get("rope_theta", 1) is None:
        other = path / "huggingface" / "config.json"
        other.write_text(json.dumps({k: v for k, v in json.loads(other.read_text()).items() if k != "rope_theta"}))
    facts = audit(path)
    assert not facts.scorable
    ((kind, message),) = facts.problems
    assert (kind, f"{path / 'config.json'}: contradicts huggingface/config.json in " in message) == ("incomplete", True)


def test_two_configs_that_say_the_same_to_a_score_are_one_and_the_nearer_is_read(
    tmp_path: Path, forms: ModuleType
) -> None:
    path = two_configs(
        tmp_path,
        forms,
        architectures=["Other"],
        dtype="bfloat16",
        pad_token_id=3,
        attention_dropout=0.1,
        sliding_window=1,
    )
    assert audit(path).problems == ()
    assert read_config(path).path == path / "config.json"
    (path / "config.json").unlink()
    assert read_config(path).path == path / "huggingface" / "config.json"


def test_the_tokenizer_beside_the_weights_comes_before_one_in_a_folder_below(tmp_path: Path, forms: ModuleType) -> None:
    path = two_configs(tmp_path, forms)
    forms.write_tokenizer(path / "huggingface")
    assert tokenizer_folder(path) == path / "huggingface"
    forms.write_tokenizer(path)
    assert tokenizer_folder(path) == path


@pytest.mark.parametrize(
    "name", ["reward_head", "model.score", "critic.score", "base_model.model.score.original", "rm.head.0"]
)
def test_a_head_under_another_name_is_pointed_to_and_not_called_missing(
    tmp_path: Path, forms: ModuleType, name: str
) -> None:
    facts = audit(forms.write_hf(tmp_path, forms.weights(head=name)))
    assert facts.possible_heads == (f"{name}.weight",)
    assert not facts.scorable
    message = dict(facts.problems)["head-missing"]
    assert f"no value head under a name that is known; {name}.weight (1x{forms.HIDDEN}) may be one" in message


def test_what_lies_in_a_layer_is_no_possible_head(tmp_path: Path, forms: ModuleType) -> None:
    import torch

    state = forms.weights(head="")
    state["model.layers.0.mlp.shared_expert_gate.weight"] = torch.ones(1, forms.HIDDEN)
    facts = audit(forms.write_hf(tmp_path, state))
    assert facts.possible_heads == ()
    assert "the value head is missing" in dict(facts.problems)["head-missing"]
    assert audit(forms.write_hf(tmp_path / "b", forms.weights())).possible_heads == ()
