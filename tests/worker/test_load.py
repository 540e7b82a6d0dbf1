"""Loading: every form of a critic gives the same values, and whatever would be random is refused by name."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra [score]")

import torch
from torch import Tensor

from critictui.checkpoint.checkpoint import CheckpointError, VanishedError
from critictui.checkpoint.find import resolve_target
from critictui.worker.load import load_critic
from critictui.worker.model import Critic

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tokens(vocabulary: int) -> Tensor:
    return torch.randint(0, vocabulary, (3, 40), generator=torch.Generator().manual_seed(7))


def values(critic: Critic, vocabulary: int = 101) -> Tensor:
    with torch.inference_mode():
        return critic.values(critic.backbone(input_ids=tokens(vocabulary)).last_hidden_state)


def by_hand(forms: ModuleType, folder: Path, kind: str, state: Any) -> Tensor:
    """What transformers' own token classifier says of these weights."""
    from transformers import AutoModelForTokenClassification

    forms.write_hf(folder, state, values=forms.config(kind, num_labels=1, classifier_dropout=0.0))
    model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits: Tensor = model(input_ids=tokens(101)).logits[..., 0]
    return logits


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
def test_every_form_of_the_same_weights_gives_the_values_of_transformers_own_model(
    tmp_path: Path, forms: ModuleType, kind: str
) -> None:
    state = forms.weights(kind)
    expected = by_hand(forms, tmp_path / "reference", kind, state)
    headed = forms.weights(kind, head="v_head.summary", lm_head=True)
    config = forms.config(kind)
    paths = [
        forms.write_verl(tmp_path / "fsdp1", 5, state, values=config),
        forms.write_verl(tmp_path / "three", 5, state, world=3, values=config),
        forms.write_verl(tmp_path / "fsdp2", 5, state, form="fsdp2", world=4, values=config),
        forms.write_verl(tmp_path / "sharded", 5, state, form="sharded", config_in="critic", values=config),
        forms.write_verl(tmp_path / "hybrid", 5, state, form="hybrid", world=4, values=config),
        forms.write_verl(tmp_path / "plain", 5, state, form="plain", world=1, values=config),
        forms.write_verl(tmp_path / "trl", 5, headed, form="fsdp2", values=config),
        forms.write_hf(tmp_path / "hf", state, shards=3, values=config),
        forms.write_hf(tmp_path / "bin", state, shards=2, binary=True, values=config),
        forms.write_hf(tmp_path / "trl_hf", headed, shards=2, values=config),
        forms.write_hf(tmp_path / "wrapped", {f"pretrained_model.{n}": t for n, t in headed.items()}, values=config),
        forms.write_hf(tmp_path / "bare", {n.removeprefix("model."): t for n, t in state.items()}, values=config),
    ]
    for path in paths:
        torch.testing.assert_close(values(load_critic(path)), expected, rtol=0, atol=1e-5, msg=str(path))


def test_every_tensor_is_bit_for_bit_the_stored_one(tmp_path: Path, forms: ModuleType) -> None:
    state = forms.weights()
    critic = load_critic(forms.write_verl(tmp_path, 5, state, form="fsdp2", world=3))
    loaded = critic.backbone.state_dict()
    assert {f"model.{n}" for n in loaded} == {n for n in state if n.startswith("model.")}
    assert all(torch.equal(loaded[n.removeprefix("model.")], t) for n, t in state.items() if n.startswith("model."))
    assert torch.equal(critic.head_weight, state["score.weight"][0])
    assert critic.parameters == sum(t.numel() for t in state.values()) == critic.audit.parameters
    assert not critic.backbone.training
    assert not any(p.requires_grad for p in critic.backbone.parameters())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_another_dtype_is_the_stored_weights_cast(tmp_path: Path, forms: ModuleType, dtype: Any) -> None:
    state = forms.weights()
    critic = load_critic(forms.write_verl(tmp_path, 5, state, form="fsdp2"), dtype=dtype)
    wanted = getattr(torch, dtype)
    for name, tensor in critic.backbone.state_dict().items():
        assert torch.equal(tensor, state[f"model.{name}"].to(wanted)), name
    assert critic.dtype == wanted
    assert values(critic).dtype == (torch.float64 if dtype == "float64" else torch.float32)


def test_nothing_depends_on_the_seed_and_the_callers_random_state_is_left_alone(
    tmp_path: Path, forms: ModuleType
) -> None:
    path = forms.write_hf(tmp_path, forms.weights())
    torch.manual_seed(3)
    first = values(load_critic(path, seed=0))
    after = torch.rand(1)
    torch.manual_seed(3)
    second = values(load_critic(path, seed=12345))
    assert torch.equal(first, second)
    assert torch.equal(after, torch.rand(1))


def test_a_tied_embedding_may_be_stored_under_the_heads_name(tmp_path: Path, forms: ModuleType) -> None:
    state = forms.weights()
    expected = values(load_critic(forms.write_hf(tmp_path / "a", state)))
    state["lm_head.weight"] = state.pop("model.embed_tokens.weight")
    with pytest.raises(CheckpointError, match=r"embed_tokens\.weight is not in the checkpoint"):
        load_critic(forms.write_hf(tmp_path / "b", state))
    tied = forms.write_hf(tmp_path / "c", state, values=forms.config(tie_word_embeddings=True))
    assert torch.equal(values(load_critic(tied)), expected)


# --- refusals ---


def test_a_headless_checkpoint_is_refused_and_the_naive_script_would_have_scored_noise(
    tmp_path: Path, forms: ModuleType
) -> None:
    path = forms.write_hf(tmp_path, forms.weights(head="", lm_head=True))
    with pytest.raises(CheckpointError, match=r"value head is missing.*\[head-missing\]"):
        load_critic(path)
    from transformers import AutoModelForTokenClassification

    scores = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        naive = AutoModelForTokenClassification.from_pretrained(path, num_labels=1).eval()
        with torch.inference_mode():
            scores.append(naive(input_ids=tokens(101)).logits.mean().item())
    assert all(math.isfinite(s) for s in scores)
    assert abs(scores[0] - scores[1]) > 1e-3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.pop("model.layers.1.mlp.up_proj.weight"), "layers.1.mlp.up_proj.weight is not in the checkpoint"),
        (lambda s: s.update({"model.layers.1.extra": torch.ones(3)}), "model.layers.1.extra is no part"),
        (lambda s: s.update({"v_head.weight": torch.ones(1, 32)}), "head-duplicated"),
        (lambda s: s.update({"score.weight": torch.ones(1, 16)}), "wrong-shape"),
        (lambda s: s.update({"model.norm.weight": torch.ones(16)}), "model.norm.weight has shape"),
        (lambda s: s["model.layers.0.mlp.up_proj.weight"].fill_(math.nan), "not finite"),
        (lambda s: s["score.weight"].fill_(math.inf), "not finite"),
        (lambda s: s.update({"model.norm.weight": torch.ones(32, dtype=torch.int8)}), "quantised"),
        (lambda s: s.update({"model.layers.0.mlp.up_proj.lora_A.weight": torch.ones(2, 32)}), "LoRA"),
        (lambda s: s.update({"norm.weight": torch.ones(32)}), "stored twice"),
    ],
)
@pytest.mark.parametrize("form", ["hf", "verl"])
def test_what_is_missing_unexpected_or_damaged_is_refused_by_name(
    tmp_path: Path, forms: ModuleType, change: Any, match: str, form: str
) -> None:
    state = forms.weights()
    change(state)
    path = forms.write_hf(tmp_path, state) if form == "hf" else forms.write_verl(tmp_path, 5, state)
    with pytest.raises(CheckpointError, match=match):
        load_critic(path)


def test_values_that_are_not_finite_are_found_outside_the_samples_too(tmp_path: Path, forms: ModuleType) -> None:
    state = forms.weights()
    big = torch.randn(4000, forms.HIDDEN)
    big[1000, 3] = math.nan
    state["model.embed_tokens.weight"] = big
    path = forms.write_hf(tmp_path, state, values=forms.config(vocab_size=4000))
    with pytest.raises(CheckpointError, match=r"embed_tokens\.weight: 1 values are not finite"):
        load_critic(path)


def test_a_shard_that_is_missing_or_cut_short_is_refused(tmp_path: Path, forms: ModuleType) -> None:
    critic = forms.write_verl(tmp_path, 5, forms.weights(), world=3)
    shard = critic / "model_world_size_3_rank_2.pt"
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"rank_2\.pt is cut short"):
        load_critic(critic)
    shard.unlink()
    with pytest.raises(CheckpointError, match="rank 2 of 3 is missing"):
        load_critic(critic)


@pytest.mark.parametrize(
    ("values_of", "match"),
    [
        ({"model_type": "my_own_model"}, "without remote code"),
        ({"hidden_size": 1 << 40}, "hidden size|hidden_size"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"num_attention_heads": "many"}, "cannot build"),
    ],
)
def test_a_config_that_cannot_be_is_refused(tmp_path: Path, forms: ModuleType, values_of: Any, match: str) -> None:
    path = forms.write_hf(tmp_path, forms.weights(), values=forms.config(**values_of))
    with pytest.raises(CheckpointError, match=match):
        load_critic(path)


@pytest.mark.fault("C06")
def test_code_in_the_checkpoint_is_never_run_however_the_config_asks_for_it(tmp_path: Path, forms: ModuleType) -> None:
    canary = tmp_path / "canary"
    trap = f"open({str(canary)!r}, 'w').close()\nclass X: pass\n"
    changes = {
        "auto_map": {"AutoModel": "trap.X", "AutoConfig": "trap.X", "AutoTokenizer": ["trap.X", "trap.X"]},
        "_attn_implementation_internal": "someone/kernel:run",
        "_attn_implementation": "someone/kernel",
        "attn_implementation": "someone/kernel",
        "trust_remote_code": True,
        "sub": {"auto_map": {"AutoModel": "trap.X"}, "_attn_implementation_internal": "someone/kernel"},
    }
    path = forms.write_hf(tmp_path / "x", forms.weights(), values=forms.config(**changes))
    (path / "trap.py").write_text(trap)
    forms.write_tokenizer(path)
    tokenizer_config = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(tokenizer_config | {"auto_map": changes["auto_map"]}))
    critic = load_critic(path)
    assert torch.isfinite(values(critic)).all()
    assert critic.tokenizer.encode("ab") == [65, 66]
    assert not canary.exists()
    assert critic.config._attn_implementation == "sdpa"
    assert os.environ["HF_HUB_OFFLINE"] == "1"


# --- tokenizer ---


def test_the_tokenizer_comes_from_beside_the_weights_and_is_taken_as_it_stands(
    tmp_path: Path, forms: ModuleType
) -> None:
    critic = forms.write_verl(tmp_path, 5, forms.weights())
    forms.write_tokenizer(critic / "huggingface")
    tokenizer = load_critic(critic).tokenizer
    assert tokenizer.encode("a b") == [65, 66]  # its own pre-tokenizer drops the blank; Qwen2's would keep it
    assert tokenizer.eos_token_id == 95
    assert tokenizer.chat_template == "x"


@pytest.mark.fault("C06")
def test_a_tokenizer_that_is_missing_broken_or_another_models_is_refused_by_its_file(
    tmp_path: Path, forms: ModuleType
) -> None:
    path = forms.write_hf(tmp_path / "x", forms.weights())
    critic = load_critic(path)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: the checkpoint has no tokenizer"):
        _ = critic.tokenizer
    (path / "tokenizer.json").write_text("{]")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        _ = critic.tokenizer
    forms.write_tokenizer(path)
    raw = json.loads((path / "tokenizer.json").read_text())
    raw["model"]["vocab"]["zzz"] = 5000
    (path / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match="ids up to 5000, the model knows 101"):
        _ = critic.tokenizer
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(CheckpointError, match="there is no tokenizer"):
        _ = load_critic(path, tokenizer_path=other).tokenizer
    forms.write_tokenizer(other)
    assert load_critic(path, tokenizer_path=other).tokenizer.encode("a") == [65]


# --- vanishing ---


def vanish(path: Path, at: str, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Do `act` when the loader reaches the function `at`."""
    import critictui.worker.load as module

    original = getattr(module, at)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        act()
        return original(*args, **kwargs)

    monkeypatch.setattr(module, at, wrapped)


@pytest.mark.parametrize(
    "at", ["audit_opened", "read_config", "build_backbone", "open_weights", "fill_tensors", "_head"]
)
@pytest.mark.fault("C02")
def test_a_checkpoint_that_is_removed_at_any_point_of_the_load_is_said_to_be(
    tmp_path: Path, forms: ModuleType, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    path = forms.write_verl(tmp_path, 5, forms.weights())
    vanish(path, at, monkeypatch, lambda: shutil.rmtree(path, ignore_errors=True))
    with pytest.raises(VanishedError, match="removed during") as caught:
        load_critic(resolve_target(path))
    assert caught.value.kind == "vanished"


@pytest.mark.parametrize("at", ["audit_opened", "build_backbone", "open_weights", "fill_tensors", "_head"])
@pytest.mark.fault("C02")
def test_a_checkpoint_that_is_replaced_during_the_load_is_never_mixed(
    tmp_path: Path, forms: ModuleType, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    path = forms.write_verl(tmp_path / "a", 5, forms.weights())
    other = forms.write_verl(tmp_path / "b", 5, forms.weights(seed=1))

    def replace() -> None:
        for file in other.glob("*.pt"):
            shutil.copy(file, path)

    vanish(path, at, monkeypatch, replace)
    with pytest.raises(VanishedError, match="replaced during loading"):
        load_critic(resolve_target(path))


@pytest.mark.fault("C03")
def test_a_file_truncated_while_it_is_read_is_a_message_and_not_a_signal(
    tmp_path: Path, forms: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = forms.write_hf(tmp_path, forms.weights())
    vanish(path, "fill_tensors", monkeypatch, lambda: os.truncate(path / "model.safetensors", 5000))
    with pytest.raises(VanishedError, match="replaced during loading"):
        load_critic(path)


def test_a_loaded_critic_knows_whether_its_files_are_still_there(tmp_path: Path, forms: ModuleType) -> None:
    path = forms.write_verl(tmp_path, 5, forms.weights())
    critic = load_critic(path)
    critic.verify()
    shutil.rmtree(path)
    with pytest.raises(VanishedError, match="removed during scoring"):
        critic.verify()


def test_progress_rises_to_one(tmp_path: Path, forms: ModuleType) -> None:
    seen: list[float] = []
    load_critic(forms.write_hf(tmp_path, forms.weights()), progress=seen.append)
    assert seen[-1] == 1.0
    assert all(0 < share <= 1 for share in seen)


def test_no_descriptor_is_left_open_by_loads_and_refusals(tmp_path: Path, forms: ModuleType) -> None:
    good = forms.write_verl(tmp_path / "a", 5, forms.weights(), world=4)
    bad = forms.write_verl(tmp_path / "b", 5, forms.weights(head=""), world=4)
    load_critic(good)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        load_critic(good)
        with pytest.raises(CheckpointError):
            load_critic(bad)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


# --- checkpoints written by verl and trl ---


@pytest.fixture(scope="module")
def data() -> Path:
    place = os.environ.get("CRITICTUI_DATA")
    if not place:
        pytest.skip("CRITICTUI_DATA is not set: the checkpoints written by verl are not here")
    return Path(place) / "checkpoints"


def test_with_critictui_data_fsdp1_fsdp2_and_the_merged_copies_agree(data: Path) -> None:
    for step in (50, 100):
        one, two = (values(load_critic(data / "verl" / f / f"global_step_{step}"), 512) for f in ("fsdp1", "fsdp2"))
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    for merged in ("merged_by_verl", "merged_mislabelled"):
        rounded = values(load_critic(data / merged), 512)
        assert (rounded - one).abs().mean() < 0.02 * one.std()
        cast = values(load_critic(data / "verl" / "fsdp1", dtype="bfloat16"), 512)
        torch.testing.assert_close(values(load_critic(data / merged, dtype="bfloat16"), 512), cast, rtol=0, atol=0.02)


def test_with_critictui_data_the_merged_weights_are_the_shards_rounded_to_bfloat16(data: Path) -> None:
    merged = load_critic(data / "merged_by_verl", dtype="bfloat16").backbone.state_dict()
    shards = load_critic(data / "verl" / "fsdp1", dtype="bfloat16").backbone.state_dict()
    assert merged.keys() == shards.keys()
    assert all(torch.equal(merged[n], shards[n]) for n in merged)


def test_with_critictui_data_the_same_weights_in_trl_form_and_sharded_score_the_same(
    data: Path, forms: ModuleType, tmp_path: Path
) -> None:
    critic = load_critic(data / "verl" / "fsdp1")
    state = {f"model.{n}": t.clone() for n, t in critic.backbone.state_dict().items()}
    assert critic.head_bias is not None
    config = json.loads((data / "verl/fsdp1/global_step_100/critic/huggingface/config.json").read_text())
    expected = values(critic, 512)
    for head, shards in (("v_head.summary", 1), ("v_head.summary", 4), ("score", 3)):
        named = state | {f"{head}.weight": critic.head_weight[None], f"{head}.bias": critic.head_bias[None]}
        path = forms.write_hf(tmp_path / f"{head}{shards}", named, shards=shards, values=config)
        torch.testing.assert_close(values(load_critic(path), 512), expected, rtol=0, atol=1e-5)


def test_with_critictui_data_trl_heads_load_and_the_headless_one_is_refused(data: Path) -> None:
    for name in ("verl_trl_head_global_step_50", "trl_sharded_with_head"):
        assert torch.isfinite(values(load_critic(data / name), 512)).all()
    with pytest.raises(CheckpointError, match="the value head is missing"):
        load_critic(data / "trl_sharded_without_head")


def test_with_critictui_data_verls_shards_equal_what_torch_itself_reads(data: Path) -> None:
    import torch.distributed.tensor  # registers DTensor for torch.load

    folder = data / "verl" / "fsdp1" / "global_step_100" / "critic"
    parts = [torch.load(folder / f"model_world_size_2_rank_{r}.pt", weights_only=False) for r in (0, 1)]
    loaded = load_critic(folder).backbone.state_dict()
    for name, tensor in loaded.items():
        pieces = [part[f"model.{name}"]._local_tensor for part in parts]
        assert torch.equal(tensor, torch.cat(pieces, 0)), name
