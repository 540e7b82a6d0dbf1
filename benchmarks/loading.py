"""How fast a critic's shards become a model, and in how much memory: `python -m benchmarks.loading [--gigabytes 4]`.

Writes FSDP shards (fp32, two ranks) and a safetensors copy of a random critic into a temporary directory, and compares,
in one run and from the page cache, each load with a plain read of the same bytes into one buffer, and with the usual
way (torch.load of every shard, torch.cat, load_state_dict). `read-kept` reads the same bytes into fresh memory of their
size and keeps them, which every load must do at least. With `--cold` also with nothing of the files in the page cache:
those read from the disk, and their ratio is to a cold plain read.

Each way is gone twice in a process of its own and measured the second time, in memory that the first time gave back: a
virtual machine whose host takes free pages away pays for getting them again, at a tenth of the speed of a read, and
that is not what is measured (`--fresh` measures the first time). The baseline of the peak is what the process takes
with torch, transformers and the empty backbone.
"""

from __future__ import annotations

import argparse
import gc
import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

GOAL_RATE, GOAL_MEMORY = 0.8, 1.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="also from the disk, with nothing in the page cache")
    parser.add_argument("--device", default="cpu", help="where the model goes: cpu, cuda:0 ...")
    parser.add_argument("--fresh", action="store_true", help="measure with memory that the host may have to give anew")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measure(options.one, Path(options.folder), options.device, settled=not options.fresh)))
        return
    with tempfile.TemporaryDirectory(prefix="critictui-loading-") as name:
        folder = Path(name)
        passed = [f"--device={options.device}", *(["--fresh"] if options.fresh else [])]
        written = _child("write:" + str(options.gigabytes), folder, passed)
        print(
            f"a random critic of {written['bytes'] / 1e9:.2f} GB in float32, two shards, to {options.device}; medians"
        )
        header = (
            f"{'way':26} {'GB/s':>6} {'of plain read':>14} {'of read-kept':>13} {'peak / model':>13} {'seconds':>8}"
        )
        print(header)
        ways = ("read", "read-kept", "shards-float32", "shards-bfloat16", "safetensors-float32", "torch-merge-float32")
        if options.cold:
            ways += tuple(f"{w}-cold" for w in ways if not w.startswith("safetensors"))
        results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(options.repeats):  # interleaved: a busy moment of the machine hits every way
            for way in ways:
                results[way].append(_child(way, folder, passed))
        for way in ways:
            rate = statistics.median(r["rate"] for r in results[way])
            cold = "-cold" if way.endswith("-cold") else ""
            ratio, kept = (_ratio(results[way], results[f"{base}{cold}"]) for base in ("read", "read-kept"))
            peak = statistics.median(r["peak"] for r in results[way])
            seconds = statistics.median(r["seconds"] for r in results[way])
            print(f"{way:26} {rate:6.2f} {ratio:13.2f}x {kept:12.2f}x {peak:13.2f} {seconds:8.2f}")
        print(f"goals: at least {GOAL_RATE} of the plain read, at most {GOAL_MEMORY} of the model in host memory")


def _ratio(these: list[dict[str, float]], base: list[dict[str, float]]) -> float:
    return statistics.median(r["rate"] / p["rate"] for r, p in zip(these, base, strict=True))


def _child(way: str, folder: Path, passed: list[str]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.loading", "--one", way, "--folder", str(folder), *passed]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _measure(way: str, folder: Path, device: str, *, settled: bool) -> dict[str, float]:
    kind, _, detail = way.removesuffix("-cold").partition(":")
    if kind == "write":
        return _write(folder, float(detail))
    found: dict[str, float] = {}
    for _ in range(2 if settled else 1):
        if way.endswith("-cold"):
            _drop(folder)
        found = _once(kind, folder, device)
        gc.collect()  # a model holds itself
    return found


def _once(kind: str, folder: Path, device: str) -> dict[str, float]:
    if kind == "read":
        return _read(folder)
    if kind == "read-kept":
        return _read_kept(folder)
    if kind == "torch-merge-float32":
        return _torch(folder)
    return _load(folder, kind, device)


def _write(folder: Path, gigabytes: float) -> dict[str, float]:
    import torch

    hidden, inner, vocabulary = 1024, 2816, 32_000
    per_layer = 4 * hidden * hidden + 3 * hidden * inner + 2 * hidden
    layers = max(1, round((gigabytes * 1e9 / 4 - vocabulary * hidden) / per_layer))
    config = {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "vocab_size": vocabulary,
        "tie_word_embeddings": False,
    }
    torch.manual_seed(0)
    state = {"model.embed_tokens.weight": torch.randn(vocabulary, hidden) * 0.02}
    for i in range(layers):
        at = f"model.layers.{i}."
        for name in ("q", "k", "v", "o"):
            state[f"{at}self_attn.{name}_proj.weight"] = torch.randn(hidden, hidden) * 0.02
        state[at + "mlp.gate_proj.weight"] = torch.randn(inner, hidden) * 0.02
        state[at + "mlp.up_proj.weight"] = torch.randn(inner, hidden) * 0.02
        state[at + "mlp.down_proj.weight"] = torch.randn(hidden, inner) * 0.02
        state[at + "input_layernorm.weight"] = torch.ones(hidden)
        state[at + "post_attention_layernorm.weight"] = torch.ones(hidden)
    state |= {"model.norm.weight": torch.ones(hidden), "score.weight": torch.randn(1, hidden)}
    _write_shards(folder / "global_step_1" / "critic", state, config)
    from safetensors.torch import save_file

    (folder / "merged").mkdir()
    (folder / "merged" / "config.json").write_text(json.dumps(config))
    save_file(state, folder / "merged" / "model.safetensors")
    return {"bytes": float(sum(t.nbytes for t in state.values()))}


def _write_shards(critic: Path, state: dict[str, Any], config: dict[str, Any]) -> None:
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard
    from torch.testing._internal.distributed.fake_pg import FakeStore

    (critic / "huggingface").mkdir(parents=True)
    (critic / "huggingface" / "config.json").write_text(json.dumps(config))
    for rank in (0, 1):
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=2)
        mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("fsdp",))
        shard = {}
        for name, tensor in state.items():
            parts = torch.chunk(tensor, 2, 0)
            local = parts[rank].clone() if rank < len(parts) else tensor[:0].clone()
            placed = [Shard(0)]
            shard[name] = DTensor.from_local(
                local, mesh, placed, shape=tensor.shape, stride=tensor.stride(), run_check=False
            )
        torch.save(shard, critic / f"model_world_size_2_rank_{rank}.pt")
        dist.destroy_process_group()
    (critic.parent / "data.pt").write_bytes(b"x")


def _shards(folder: Path) -> list[Path]:
    return sorted((folder / "global_step_1" / "critic").glob("model_*.pt"))


def _drop(folder: Path) -> None:
    """Take the shards out of the page cache; they have been on the disk since they were written."""
    for file in _shards(folder):
        with file.open("rb") as stream:
            os.fdatasync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read(folder: Path) -> dict[str, float]:
    """The shards' bytes into one buffer that is used again and again: what `cat` to /dev/null costs."""
    buffer = bytearray(4 << 20)
    total = 0
    begin = time.perf_counter()
    for file in _shards(folder):
        with file.open("rb", buffering=0) as stream:
            while got := stream.readinto(buffer):
                total += got
    seconds = time.perf_counter() - begin
    return {"rate": total / seconds / 1e9, "seconds": seconds, "peak": 0.0}


def _read_kept(folder: Path) -> dict[str, float]:
    """The shards' bytes into fresh memory of their size, one thread, huge pages where there are any."""
    files = _shards(folder)
    total = sum(file.stat().st_size for file in files)
    begin = time.perf_counter()
    block = mmap.mmap(-1, total, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block.madvise(mmap.MADV_HUGEPAGE)
    view, at = memoryview(block), 0
    for file in files:
        with file.open("rb", buffering=0) as stream:
            while got := stream.readinto(view[at : at + (4 << 20)]):
                at += got
    seconds = time.perf_counter() - begin
    return {"rate": total / seconds / 1e9, "seconds": seconds, "peak": 1.0}


def _load(folder: Path, kind: str, device: str) -> dict[str, float]:
    import torch

    from critictui.checkpoint.find import resolve_target
    from critictui.checkpoint.model_config import read_config
    from critictui.worker.backbone import build_backbone
    from critictui.worker.load import load_critic

    form, _, dtype = kind.partition("-")
    found = resolve_target(folder / ("merged" if form == "safetensors" else "global_step_1"))
    build_backbone(read_config(found.path), "sdpa")  # imports are not what is measured
    torch.zeros(1, device=device)  # nor is the start of the driver
    with _Peak() as peak:
        begin = time.perf_counter()
        critic = load_critic(found, device=device, dtype=dtype)  # type: ignore[arg-type]
        seconds = time.perf_counter() - begin
    model = critic.parameters * getattr(torch, dtype).itemsize
    return {"rate": found.size / seconds / 1e9, "seconds": seconds, "peak": peak.bytes / model}


def _torch(folder: Path) -> dict[str, float]:
    """torch.load of every shard, torch.cat, load_state_dict(assign=True)."""
    import torch
    import torch.distributed.tensor  # registers DTensor for torch.load

    from critictui.checkpoint.model_config import read_config
    from critictui.worker.backbone import build_backbone

    files = _shards(folder)
    backbone, _ = build_backbone(read_config(files[0].parent), "sdpa")
    with _Peak() as peak:
        begin = time.perf_counter()
        parts = [torch.load(file, weights_only=False) for file in files]
        merged = {name: torch.cat([part[name].to_local() for part in parts], 0) for name in parts[0]}
        backbone.load_state_dict(
            {n.removeprefix("model."): t for n, t in merged.items() if n.startswith("model.")}, assign=True
        )
        seconds = time.perf_counter() - begin
    size = sum(file.stat().st_size for file in files)
    return {"rate": size / seconds / 1e9, "seconds": seconds, "peak": peak.bytes / size}


class _Peak:
    """Growth of this process's peak resident memory, from the kernel's own high-water mark."""

    bytes = 0

    def __enter__(self) -> _Peak:
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM to the present size
        self._before = self._high()
        return self

    def __exit__(self, *error: object) -> None:
        self.bytes = self._high() - self._before

    def _high(self) -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    main()
