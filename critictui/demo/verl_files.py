"""What verl leaves on disk while it trains, the log aside: the event file and sharded checkpoints; bytes go out here.

Formats follow verl 0.7: `_TensorboardAdapter`, `FSDPCheckpointManager.save_checkpoint` and
`RayPPOTrainer._save_checkpoint`, in their order of writing.
"""

from __future__ import annotations

import json
import random
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from critictui.demo.critic import Learner

WORLD_SIZE = 2


class Events:
    """verl's TensorBoard adapter: one `add_scalar` a metric, and no `purge_step` on a resume."""

    def __init__(self, directory: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        directory.mkdir(parents=True, exist_ok=True)
        self._writer = SummaryWriter(str(directory))

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes every metric of a step and hands it to the disk at once."""
        for key, value in metrics.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes."""
        self._writer.close()


def save_checkpoint(root: Path, step: int, learner: Learner, tokenizer: Any) -> Path:
    """Writes `global_step_N/critic`, then `data.pt`, then the tracker; returns the critic's directory."""
    directory = root / f"global_step_{step}" / "critic"
    directory.mkdir(parents=True, exist_ok=True)
    model = learner.model
    weights = model.state_dict()
    placements = {name: _placement(tensor) for name, tensor in weights.items()}
    moments = learner.optimizer.state_dict()
    dims = [placements[name] for name, _ in model.named_parameters()]
    rng = {"cpu": torch.get_rng_state(), "numpy": np.random.get_state(), "random": random.getstate()}  # noqa: NPY002
    for rank in range(WORLD_SIZE):
        mesh = _start_rank(rank)
        try:
            shards = OrderedDict((name, _shard(t, placements[name], rank, mesh)) for name, t in weights.items())
            _save(shards, directory / f"model_world_size_{WORLD_SIZE}_rank_{rank}.pt")
            state = {
                index: {k: _shard(v, dims[index], rank, mesh) if v.dim() else v for k, v in entry.items()}
                for index, entry in moments["state"].items()
            }
            optim = {"state": state, "param_groups": moments["param_groups"]}
            _save(optim, directory / f"optim_world_size_{WORLD_SIZE}_rank_{rank}.pt")
            extra = {"lr_scheduler": learner.scheduler.state_dict(), "rng": rng}
            _save(extra, directory / f"extra_state_world_size_{WORLD_SIZE}_rank_{rank}.pt")
        finally:
            dist.destroy_process_group()
    (directory / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": WORLD_SIZE}, indent=4))
    model.config.save_pretrained(directory / "huggingface")
    tokenizer.save_pretrained(directory / "huggingface")
    _save({"_snapshot": {"_snapshot_step": step}}, root / f"global_step_{step}" / "data.pt")
    (root / "latest_checkpointed_iteration.txt").write_text(str(step))
    return directory


def load_checkpoint(root: Path, learner: Learner) -> int:
    """Restores the checkpoint that the tracker names, random state included; returns its step."""
    step = int((root / "latest_checkpointed_iteration.txt").read_text())
    directory = root / f"global_step_{step}" / "critic"

    def read(kind: str) -> list[Any]:
        files = [directory / f"{kind}_world_size_{WORLD_SIZE}_rank_{rank}.pt" for rank in range(WORLD_SIZE)]
        # our own files from a moment ago; the random state of numpy and random is no plain tensor data
        return [torch.load(file, weights_only=False) for file in files]

    models, optims, extras = read("model"), read("optim"), read("extra_state")
    learner.model.load_state_dict({name: _whole([shards[name] for shards in models]) for name in models[0]})
    state = {
        index: {k: _whole([o["state"][index][k] for o in optims]) for k in entry}
        for index, entry in optims[0]["state"].items()
    }
    learner.optimizer.load_state_dict({"state": state, "param_groups": optims[0]["param_groups"]})
    learner.scheduler.load_state_dict(extras[0]["lr_scheduler"])
    torch.set_rng_state(extras[0]["rng"]["cpu"])
    np.random.set_state(extras[0]["rng"]["numpy"])  # noqa: NPY002
    random.setstate(extras[0]["rng"]["random"])
    return step


def read_weights(critic: Path) -> dict[str, Tensor]:
    """The whole tensors of a `global_step_N/critic` directory written here, by name."""
    shards = [
        torch.load(critic / f"model_world_size_{WORLD_SIZE}_rank_{rank}.pt", weights_only=False)
        for rank in range(WORLD_SIZE)
    ]
    return {name: _whole([part[name] for part in shards]) for name in shards[0]}


def _placement(tensor: Tensor) -> Shard:
    """FSDP2 in verl shards a one-row matrix (the head) by columns, everything else by rows."""
    columns = tensor.dim() > 1 and tensor.shape[0] < WORLD_SIZE
    return Shard(1 if columns else 0)


def _start_rank(rank: int) -> DeviceMesh:
    """A process group in which this process is one rank of two and talks to nobody: enough to make a rank's shards."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=rank, world_size=WORLD_SIZE, store=FakeStore())
    return init_device_mesh("cpu", (WORLD_SIZE,), mesh_dim_names=("fsdp",))


def _shard(tensor: Tensor, placement: Shard, rank: int, mesh: DeviceMesh) -> DTensor:
    dim = placement.dim
    rows = -(-tensor.shape[dim] // WORLD_SIZE)
    start = min(rank * rows, tensor.shape[dim])
    stop = min(start + rows, tensor.shape[dim])
    local = tensor.detach().narrow(dim, start, stop - start).clone().contiguous()
    return DTensor.from_local(
        local, mesh, [placement], run_check=False, shape=tensor.shape, stride=tensor.contiguous().stride()
    )


def _whole(parts: list[Any]) -> Tensor:
    if not isinstance(parts[0], DTensor):
        return parts[0]  # type: ignore[no-any-return]
    placement = parts[0].placements[0]
    assert isinstance(placement, Shard)
    return torch.cat([part.to_local() for part in parts], dim=placement.dim)


def _save(value: object, path: Path) -> None:
    """Straight to the final name, as verl does."""
    torch.save(value, path)


def load_critic(critic: Path) -> Any:
    """The model of a `global_step_N/critic` directory written here: float32, eval mode, all weights from the shards."""
    from transformers import AutoConfig, Qwen2ForTokenClassification

    model = Qwen2ForTokenClassification(AutoConfig.from_pretrained(str(critic / "huggingface")))
    model.load_state_dict(read_weights(critic), strict=True)
    return model.eval()
