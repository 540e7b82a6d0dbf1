"""From a checkpoint on disk to a critic in memory: every tensor from the checkpoint, or a refusal that names it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from critictui.checkpoint.audit import audit, audit_opened
from critictui.checkpoint.checkpoint import Audit, Checkpoint, CheckpointError, VanishedError
from critictui.checkpoint.find import resolve_target
from critictui.checkpoint.head import is_head
from critictui.checkpoint.identity import identity, verify
from critictui.checkpoint.model_config import read_config
from critictui.checkpoint.stored import StoredTensor
from critictui.checkpoint.weights import Weights, open_weights
from critictui.worker.backbone import build_backbone
from critictui.worker.checking import Checking
from critictui.worker.fill import Fill, allocate, fill_tensors
from critictui.worker.model import Critic
from critictui.worker.tokenizer import open_tokenizer

Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64"]
_TURN_SECONDS = 0.0002
_FLOATS = ("float64", "float32", "float16", "bfloat16")


def load_critic(
    checkpoint: Checkpoint | Path,
    *,
    device: str | Callable[[Audit], str] = "cpu",
    dtype: Dtype = "auto",
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    tokenizer_path: Path | None = None,
    attention: str = "sdpa",
) -> Critic:
    """Load a critic from FSDP shards, a Hugging Face directory or a trl checkpoint.

    device: where to, or a function of the audit that says so. dtype: `auto` is bfloat16 on a GPU and float32 on a CPU.
    seed: takes no part in the result (nothing is initialised at random); it is there so that a test can show so.
    progress: called with 0..1, also from other threads than the caller's. tokenizer_path: a directory to take the
    tokenizer from instead of the checkpoint's own. attention: the `attn_implementation` that transformers is given.

    Raises CheckpointError where the checkpoint is not fit to be scored (no head, two heads, a missing, unexpected,
    mis-shaped or non-finite tensor, damaged files), VanishedError where it went away or was replaced meanwhile,
    MemoryError where the host has no room. Checksums of what was in the page cache are compared beside the scoring:
    `Critic.verify` waits for them. Host memory: one copy of the model in the target dtype and a few buffers.
    """
    started = time.perf_counter()
    found = checkpoint if isinstance(checkpoint, Checkpoint) else resolve_target(checkpoint)
    before = identity(found, tokenizer_path)
    try:
        with _open(found, tokenizer_path) as weights:
            facts = _sound(audit_opened(found, weights, tokenizer_path))
            place = torch.device(device if isinstance(device, str) else device(facts))
            kind = _dtype(dtype, place)
            wanted = read_config(found.path)
            with _Filling(weights, place, kind, progress or (lambda _: None)) as filling:
                # its code is imported while its weights are read
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed)
                    backbone, config = build_backbone(wanted, attention)
                sources = match_names(backbone, weights, tied=bool(getattr(config, "tie_word_embeddings", False)))
                made, checking = filling.tensors()
                _assign_all(backbone, sources, made, place, weights)
                head, bias = _head(weights, facts, place, kind)
    except VanishedError as error:
        raise VanishedError(f"{found.path}: checkpoint removed during loading; choose a newer one") from error
    except CheckpointError:
        verify(found, before, "loading", tokenizer_path)  # damage that a replacement explains is reported as that
        raise
    verify(found, before, "loading", tokenizer_path)
    config.dtype = kind
    rows = backbone.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    return Critic(
        checkpoint=found,
        audit=facts,
        config=config,
        backbone=backbone,
        head_weight=head,
        head_bias=bias,
        device=place,
        dtype=kind,
        load_seconds=time.perf_counter() - started,
        identity=before,
        checking=checking,
        tokenizer_path=tokenizer_path,
        open_tokenizer=lambda: open_tokenizer(found, rows, tokenizer_path),
    )


def _dtype(name: Dtype, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found


def _open(checkpoint: Checkpoint, tokenizer: Path | None) -> Weights:
    """Its weights, open. Raises CheckpointError in the audit's words where they cannot be read."""
    try:
        return open_weights(checkpoint)
    except VanishedError:
        raise
    except CheckpointError:
        _sound(audit(checkpoint, tokenizer))
        raise


def _sound(facts: Audit) -> Audit:
    """The audit, if nothing is wrong in it. Raises CheckpointError with its first problem."""
    if facts.scorable:
        return facts
    kind, message = facts.problems[0]
    raise CheckpointError(f"{message} [{kind}]; it is not scored")


class _Filling:
    """Every stored tensor that may be the backbone's, on its way into memory by a thread; a context manager.

    Leaving it early, with an exception, ends the reading. Meanwhile Python's threads take turns quickly: the readers
    need its lock for a moment after every chunk, and would wait 5 ms for it each time that something is imported.
    """

    def __init__(
        self, weights: Weights, device: torch.device, dtype: torch.dtype, progress: Callable[[float], None]
    ) -> None:
        stored = list(_candidates(weights))
        self._weights, self._progress = weights, progress
        sizes = [(t.shape, dtype if t.dtype in _FLOATS else getattr(torch, t.dtype)) for t in stored]
        self._fills = [Fill(t, made) for t, made in zip(stored, allocate(sizes, device), strict=True)]
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, "fill")

    def __enter__(self) -> _Filling:
        self._turn = sys.getswitchinterval()
        sys.setswitchinterval(_TURN_SECONDS)
        self._reading = self._pool.submit(
            fill_tensors, self._weights, self._fills, self._progress, stop=self._stop.is_set
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True)
        sys.setswitchinterval(self._turn)

    def tensors(self) -> tuple[dict[str, Tensor], Checking]:
        """Wait for all of them: stored name to tensor, and the check of checksums that goes on.

        Raises what the reading raised.
        """
        checking = self._reading.result()
        return {fill.stored.name: fill.target for fill in self._fills}, checking


def _candidates(weights: Weights) -> Iterator[StoredTensor]:
    """What the backbone may need: all but the value head, and `lm_head` only where it stands for the embedding."""
    embedded = any(name.endswith("embed_tokens.weight") for name in weights.tensors)
    for name, stored in weights.tensors.items():
        spare = is_head(name) or name.endswith("rotary_emb.inv_freq") or (embedded and name.startswith("lm_head."))
        if not spare and not stored.dtype.startswith("float8"):
            yield stored


def _assign_all(
    backbone: nn.Module,
    sources: dict[str, StoredTensor],
    made: dict[str, Tensor],
    device: torch.device,
    weights: Weights,
) -> None:
    """Give every parameter and stored buffer of the backbone its tensor."""
    current = backbone.state_dict()
    for name, stored in sources.items():
        value = made[stored.name]
        _assign(backbone, name, value if current[name].is_floating_point() else value.to(current[name].dtype))
    for module in backbone.modules():  # buffers that no checkpoint stores: rotary frequencies
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))
    left = [n for n, t in (*backbone.named_parameters(), *backbone.named_buffers()) if t.device.type == "meta"]
    if left:
        raise CheckpointError(f"{weights.path}: {left[0]} is not in the checkpoint; it would be random")


def match_names(backbone: nn.Module, weights: Weights, *, tied: bool) -> dict[str, StoredTensor]:
    """Which stored tensor each of the backbone's names is. Strict both ways, `lm_head` and the value head aside.

    tied: the checkpoint may hold the embedding under `lm_head`'s name. Raises CheckpointError that names the first
    tensor that is missing, unexpected, of another shape or no floating-point number.
    """
    current = backbone.state_dict()
    prefix = f"{getattr(backbone, 'base_model_prefix', '') or 'model'}."
    sources: dict[str, StoredTensor] = {}
    for name, stored in weights.tensors.items():
        if is_head(name) or name.startswith("lm_head.") or name.endswith("rotary_emb.inv_freq"):
            continue
        own = name if name in current else name.removeprefix(prefix)
        if own not in current:
            raise CheckpointError(
                f"{weights.path}: {name} is no part of the model in its config; wrong config.json, or an unknown layer?"
            )
        if own in sources:
            raise CheckpointError(f"{weights.path}: {own} is stored twice, also as {name}; remove one")
        sources[own] = stored
    if tied and "embed_tokens.weight" not in sources and "lm_head.weight" in weights.tensors:
        sources["embed_tokens.weight"] = weights.tensors["lm_head.weight"]
    missing = [name for name in current if name not in sources]
    if missing:
        raise CheckpointError(
            f"{weights.path}: {missing[0]} is not in the checkpoint ({len(missing)} missing in all); it would be random"
        )
    for name, stored in sources.items():
        if stored.shape != tuple(current[name].shape):
            raise CheckpointError(
                f"{weights.path}: {stored.name} has shape {stored.shape}, its config asks for "
                f"{tuple(current[name].shape)}; wrong config.json?"
            )
        if current[name].is_floating_point() and stored.dtype not in _FLOATS:
            raise CheckpointError(f"{weights.path}: {stored.name} is {stored.dtype}; quantised weights are not scored")
    return {name: sources[name] for name in current}


def _assign(backbone: nn.Module, name: str, value: Tensor) -> None:
    path, _, last = name.rpartition(".")
    module = backbone.get_submodule(path)
    if last in module._parameters:  # noqa: SLF001 - `setattr` would copy into the meta tensor
        module._parameters[last] = nn.Parameter(value, requires_grad=False)  # noqa: SLF001
    else:
        setattr(module, last, value)


def _head(weights: Weights, facts: Audit, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """The value head in float32 (float64), weight (hidden,) and bias ()."""
    assert facts.head is not None
    precision = torch.float64 if dtype == torch.float64 else torch.float32
    stored = weights.tensors[facts.head.weight_name]
    weight = torch.tensor(weights.read(stored, 0, stored.numel), dtype=precision, device=device)
    if facts.head.bias_name is None:
        return weight, None
    bias = weights.read(weights.tensors[facts.head.bias_name], 0, 1)
    return weight, torch.tensor(bias[0], dtype=precision, device=device)
