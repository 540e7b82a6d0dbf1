"""Every form in which a critic lies on disk, written from one set of weights; torch is imported when it is needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HIDDEN, LAYERS, HEADS, KV, INNER, VOCAB = 32, 2, 4, 2, 48, 101


def config(kind: str = "qwen2", **changes: Any) -> dict[str, Any]:
    """A small decoder's config."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": kind,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "head_dim": HIDDEN // HEADS,
        "intermediate_size": INNER,
        "vocab_size": VOCAB,
        "max_position_embeddings": 256,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "initializer_range": 0.02,
        "dtype": "float32",
    } | changes


def weights(
    kind: str = "qwen2", *, head: str = "score", bias: bool = True, lm_head: bool = False, seed: int = 0
) -> Any:
    """Random weights by their stored names; the same for a seed whatever the head is called."""
    import torch

    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator) * 0.3

    size = HIDDEN // HEADS
    made = {"model.embed_tokens.weight": draw(VOCAB, HIDDEN)}
    for i in range(LAYERS):
        at = f"model.layers.{i}."
        made[at + "input_layernorm.weight"] = 1 + draw(HIDDEN)
        made[at + "post_attention_layernorm.weight"] = 1 + draw(HIDDEN)
        for name, rows in (("q", HEADS * size), ("k", KV * size), ("v", KV * size)):
            made[at + f"self_attn.{name}_proj.weight"] = draw(rows, HIDDEN)
            if kind == "qwen2":
                made[at + f"self_attn.{name}_proj.bias"] = draw(rows)
        made[at + "self_attn.o_proj.weight"] = draw(HIDDEN, HEADS * size)
        if kind == "qwen3":
            made[at + "self_attn.q_norm.weight"] = 1 + draw(size)
            made[at + "self_attn.k_norm.weight"] = 1 + draw(size)
        made[at + "mlp.gate_proj.weight"] = draw(INNER, HIDDEN)
        made[at + "mlp.up_proj.weight"] = draw(INNER, HIDDEN)
        made[at + "mlp.down_proj.weight"] = draw(HIDDEN, INNER)
    made["model.norm.weight"] = 1 + draw(HIDDEN)
    head_weight, head_bias = draw(1, HIDDEN), draw(1)
    if head:
        made[head + ".weight"] = head_weight
        if bias:
            made[head + ".bias"] = head_bias
    if lm_head:
        made["lm_head.weight"] = draw(VOCAB, HIDDEN)
    return made


def write_config(folder: Path, values: Mapping[str, Any] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values or config()))


def write_hf(folder: Path, state: Any, *, shards: int = 1, binary: bool = False, values: Any = None) -> Path:
    """A Hugging Face directory: one file or several with an index, safetensors or torch.save."""
    import torch
    from safetensors.torch import save_file

    write_config(folder, values)
    stem, suffix = ("pytorch_model", "bin") if binary else ("model", "safetensors")
    names = sorted(state)
    mapped = {}
    for i in range(shards):
        file = f"{stem}.{suffix}" if shards == 1 else f"{stem}-{i + 1:05d}-of-{shards:05d}.{suffix}"
        part = {n: state[n].contiguous() for n in names[i::shards]}
        mapped |= dict.fromkeys(part, file)
        if binary:
            torch.save(part, folder / file)
        else:
            save_file(part, folder / file, metadata={"format": "pt"})
    if shards > 1:
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": mapped}))
    return folder


@contextmanager
def one_of(world: int, rank: int) -> Iterator[None]:
    """This process as one rank of a group that does not exist: DTensors can be made and saved in it."""
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)
    try:
        yield
    finally:
        dist.destroy_process_group()


def write_verl(
    run: Path,
    step: int,
    state: Any,
    *,
    world: int = 2,
    form: str = "fsdp1",
    config_in: str = "huggingface",
    finished: str = "both",
    values: Any = None,
) -> Path:
    """`global_step_N/critic` as verl leaves it. form: fsdp1, fsdp2, sharded (ShardedTensor), plain, hybrid (replicas).

    finished: both, data, tracker or none of the two marks that a step is done.
    """
    import torch

    critic = run / f"global_step_{step}" / "critic"
    write_config(critic / "huggingface" if config_in == "huggingface" else critic, values)
    for rank in range(world):
        with one_of(world, rank):
            torch.save(_shards(state, world, rank, form), critic / f"model_world_size_{world}_rank_{rank}.pt")
    (critic / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 1, "world_size": world}))
    if finished in ("both", "data"):
        (critic.parent / "data.pt").write_bytes(b"a dataloader's state")
    if finished in ("both", "tracker"):
        (run / "latest_checkpointed_iteration.txt").write_text(str(step))
    return critic


def _shards(state: Any, world: int, rank: int, form: str) -> Any:
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, Shard

    if form == "plain":
        return dict(state)
    if form == "sharded":
        return {name: _sharded_tensor(t, world, rank) for name, t in state.items()}
    if form == "hybrid":
        mesh = init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("ddp", "fsdp"))
    else:
        mesh = init_device_mesh("cpu", (world,), mesh_dim_names=("fsdp",))
    count = world // 2 if form == "hybrid" else world
    made = {}
    for name, tensor in state.items():
        # verl shards FSDP2 weights on the first dimension that the world size divides
        dims = [d for d in range(tensor.ndim) if tensor.shape[d] % count == 0]
        dim = dims[0] if form == "fsdp2" and dims else 0
        parts = list(torch.chunk(tensor, count, dim))
        index = rank % count
        local = parts[index] if index < len(parts) else tensor.narrow(dim, 0, 0)
        placed = [Replicate(), Shard(dim)] if form == "hybrid" else [Shard(dim)]
        made[name] = DTensor.from_local(
            local.clone().contiguous(), mesh, placed, shape=tensor.shape, stride=tensor.stride(), run_check=False
        )
    return made


def _sharded_tensor(tensor: Any, world: int, rank: int) -> Any:
    import torch
    from torch.distributed._shard.metadata import ShardMetadata
    from torch.distributed._shard.sharded_tensor import Shard, ShardedTensor
    from torch.distributed._shard.sharded_tensor.metadata import ShardedTensorMetadata, TensorProperties

    parts = list(torch.chunk(tensor, world, 0))
    metas, at = [], 0
    for i, part in enumerate(parts):
        offsets = [at] + [0] * (tensor.ndim - 1)
        metas.append(ShardMetadata(offsets, list(part.shape), placement=f"rank:{i}/cpu"))
        at += part.shape[0]
    properties = TensorProperties(dtype=tensor.dtype)
    metadata = ShardedTensorMetadata(shards_metadata=metas, size=tensor.size(), tensor_properties=properties)
    local = [Shard(parts[rank].clone(), metas[rank])] if rank < len(parts) else []
    return ShardedTensor._init_from_local_shards_and_global_metadata(local, metadata)


def write_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer of 100 tokens with a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = {chr(c): c - 32 for c in range(32, 127)} | {"<|end|>": 95}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "chat_template": "x"}))


def fresh(folder: Path) -> Path:
    """An empty folder in the place of one that may be there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
