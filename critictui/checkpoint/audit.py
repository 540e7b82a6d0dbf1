"""A checkpoint in, an audit out: has it exactly one value head, is it whole? In milliseconds, and no code runs."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from critictui.checkpoint import one_save
from critictui.checkpoint.beside import digest_beside
from critictui.checkpoint.checkpoint import (
    AdapterError,
    Audit,
    Checkpoint,
    CheckpointError,
    HeadFacts,
    TensorFacts,
    VanishedError,
)
from critictui.checkpoint.head import HeadNames, find_head, head_facts, is_head, missing_words, possible_heads
from critictui.checkpoint.identity import identity, verify
from critictui.checkpoint.model_config import ModelConfig, read_config
from critictui.checkpoint.stored import StoredTensor
from critictui.checkpoint.weights import Weights, open_weights

SAMPLE = 1024
"""Elements looked at in each of a tensor's first, middle and last place."""
_MAX_HEAD = 1 << 22
_FLOATS = ("float64", "float32", "float16", "bfloat16")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


@dataclass(slots=True)
class _Problems:
    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, kind: str, message: str) -> None:
        if len(self.found) < 50:
            self.found.append((kind, message))


def audit(checkpoint: Checkpoint | Path, tokenizer: Path | None = None) -> Audit:
    """Look at a checkpoint. What is wrong with it stands in `problems`, in words.

    tokenizer: a folder that stands in for the checkpoint's own tokenizer.
    Raises CheckpointError only where there is no checkpoint at all, VanishedError where it goes away meanwhile.
    """
    if isinstance(checkpoint, Path):
        from critictui.checkpoint.find import describe

        checkpoint = describe(checkpoint)
    before = identity(checkpoint, tokenizer)
    try:
        with open_weights(checkpoint) as weights:
            result = audit_opened(checkpoint, weights, tokenizer)
    except VanishedError:
        raise
    except CheckpointError as error:
        result = _unreadable(checkpoint, error)
    verify(checkpoint, before, during="the audit", tokenizer=tokenizer)
    return result


def audit_opened(checkpoint: Checkpoint, weights: Weights, tokenizer: Path | None = None) -> Audit:
    """The same for weights that are open, and go on to be read. Raises VanishedError; a replacement is not noticed."""
    problems = _Problems()
    config = _begin(checkpoint, problems)
    try:
        return _audited(checkpoint, weights, config, problems, _digest_beside(checkpoint, tokenizer, problems))
    except VanishedError:
        raise
    except CheckpointError as error:
        return _unreadable(checkpoint, error)


def _begin(checkpoint: Checkpoint, problems: _Problems) -> ModelConfig | None:
    """What is wrong without a look at the weights; the config, if it can be read."""
    if checkpoint.state != "complete":
        problems.add("incomplete", f"{checkpoint.path}: {checkpoint.state}: {checkpoint.reason}")
    try:
        return read_config(checkpoint.path)
    except VanishedError:
        raise
    except CheckpointError as error:
        problems.add("incomplete", str(error))
        return None


def _digest_beside(checkpoint: Checkpoint, tokenizer: Path | None, problems: _Problems) -> str:
    try:
        return digest_beside(checkpoint.path, tokenizer)
    except VanishedError:
        raise
    except CheckpointError as error:
        problems.add("incomplete", str(error))
        return ""


def _audited(
    checkpoint: Checkpoint, weights: Weights, config: ModelConfig | None, problems: _Problems, beside: str
) -> Audit:
    digest = hashlib.sha256()
    for name in weights.others:
        problems.add("weights-damaged", f"{checkpoint.path}: {name[:120]!r} in the state dict is no tensor")
    mixed = one_save.contradiction(checkpoint) if checkpoint.layout == "verl-fsdp" else ""
    if mixed:
        problems.add("incomplete", f"{checkpoint.path}: {mixed}")
    for message in weights.check_small_entries():
        problems.add("weights-damaged", message)
    names = find_head(weights.tensors)
    hidden = _hidden_size(weights, config)
    possible = possible_heads(weights.tensors, hidden)
    if names.problem:
        kind, message = names.problem
        if kind == "head-missing":
            message = missing_words(possible, hidden)
        problems.add(kind, f"{checkpoint.path}: {message}")
    for name in sorted(weights.tensors):
        tensor = weights.tensors[name]
        digest.update(repr((name, tensor.shape, tensor.dtype)).encode())
        for sample in _samples(weights, tensor):
            digest.update(sample.tobytes())
            _check_sample(checkpoint, tensor, sample, problems)
    if config is not None:
        _check_layers(checkpoint, weights, config, problems)
    head = None if names.problem else _head(checkpoint, weights, names, config, problems)
    if head is not None:
        digest.update(head.sha256.encode())
    tensors = tuple(_facts(weights, weights.tensors[name]) for name in sorted(weights.tensors))
    return Audit(
        path=checkpoint.path,
        fingerprint=hashlib.sha256(f"{digest.hexdigest()} {beside}".encode()).hexdigest()[:32],
        weights=digest.hexdigest()[:32],
        parameters=sum(t.numel for name, t in weights.tensors.items() if not name.startswith("lm_head.")),
        dtypes=tuple(sorted({t.dtype for t in weights.tensors.values()})),
        tensors=tensors,
        head=head,
        heads=names.names,
        architecture=config.architecture if config else "",
        problems=tuple(problems.found),
        possible_heads=possible,
        unseen=tuple(filter(None, [weights.unseen(), one_save.doubt(checkpoint)])),
    )


def _unreadable(checkpoint: Checkpoint, error: CheckpointError) -> Audit:
    """Weights that cannot be read are damaged, whatever else is wrong; with an adapter apart they are not whole."""
    problems = _Problems()
    config = _begin(checkpoint, problems)
    if not isinstance(error, AdapterError):
        problems.add("weights-damaged", str(error))
    elif checkpoint.state == "complete":  # else its state says so already
        problems.add("incomplete", str(error))
    return Audit(
        path=checkpoint.path,
        fingerprint="",
        weights="",
        parameters=0,
        dtypes=(),
        tensors=(),
        head=None,
        heads=(),
        architecture=config.architecture if config else "",
        problems=tuple(problems.found),
    )


def _samples(weights: Weights, tensor: StoredTensor) -> list[np.ndarray]:
    """First, middle and last elements, at places that do not depend on how the tensor is sharded."""
    n = tensor.numel
    if n <= 3 * SAMPLE:
        return [weights.read(tensor, 0, n)] if n else []
    middle = n // 2 - SAMPLE // 2
    return [weights.read(tensor, at, at + SAMPLE) for at in (0, middle, n - SAMPLE)]


def _check_sample(checkpoint: Checkpoint, tensor: StoredTensor, sample: np.ndarray, problems: _Problems) -> None:
    if tensor.dtype not in _FLOATS:
        return
    bad = int((~np.isfinite(sample)).sum())
    if bad:
        problems.add(
            "weights-damaged", f"{checkpoint.path}: {tensor.name}: {bad} of {sample.size} values are not finite"
        )
    # rows of an embedding that no token uses may be 0, and so may every bias; a stretch of a matrix may not
    matrix = len(tensor.shape) >= 2 and "embed" not in tensor.name and not tensor.name.startswith("lm_head.")
    if matrix and not is_head(tensor.name) and not sample.any():
        problems.add("weights-damaged", f"{checkpoint.path}: {tensor.name}: {sample.size} values in a row are 0")


def _check_layers(checkpoint: Checkpoint, weights: Weights, config: ModelConfig, problems: _Problems) -> None:
    due = config.number("num_hidden_layers")
    have = {int(m[1]) for name in weights.tensors if (m := _LAYER.search(name))}
    if due is None or due > 100_000 or not have:
        return
    missing = sorted(set(range(due)) - have)
    if missing:
        problems.add("incomplete", f"{checkpoint.path}: layer {missing[0]} of {due} is missing ({len(missing)} in all)")
    if max(have) >= due:
        problems.add("wrong-shape", f"{checkpoint.path}: has layer {max(have)}, its config knows {due} layers")


def _head(
    checkpoint: Checkpoint, weights: Weights, names: HeadNames, config: ModelConfig | None, problems: _Problems
) -> HeadFacts | None:
    assert names.weight is not None
    tensor = weights.tensors[names.weight]
    bias = weights.tensors[names.bias] if names.bias else None
    where = f"{checkpoint.path}: the value head {names.weight} {tensor.shape}"
    hidden = _hidden_size(weights, config)
    if tensor.dtype not in _FLOATS or tensor.numel == 0 or tensor.numel > _MAX_HEAD:
        problems.add("wrong-shape", f"{where} of {tensor.dtype} is no value head")
        return None
    if len(tensor.shape) != 2 or tensor.shape[0] != 1:
        problems.add("wrong-shape", f"{where} does not give one value a token: its shape should be (1, {hidden})")
    elif hidden is not None and tensor.shape[1] != hidden:
        problems.add("wrong-shape", f"{where} does not fit the hidden size {hidden}")
    if bias is not None and bias.numel != tensor.shape[0]:
        problems.add("wrong-shape", f"{where} has a bias of shape {bias.shape}")
        bias = None
    odd = [n for n in names.names if n not in (names.weight, names.bias)]
    if odd:
        problems.add("wrong-shape", f"{where} comes with {odd[0]}, which no value head has")
    values = weights.read(tensor, 0, tensor.numel)
    bias_values = weights.read(bias, 0, bias.numel) if bias is not None else None
    facts = head_facts(values, bias_values, names, tensor.shape, config.initializer_range if config else 0.02)
    if facts.non_finite:
        problems.add("weights-damaged", f"{where}: {facts.non_finite} values are not finite")
    if facts.zero:
        problems.add("weights-damaged", f"{where}: every weight is 0")
    return facts


def _hidden_size(weights: Weights, config: ModelConfig | None) -> int | None:
    """Of the config where it has one, else of the embedding."""
    hidden = config.number("hidden_size") if config else None
    if hidden is not None:
        return hidden
    for name, tensor in weights.tensors.items():
        if name.endswith("embed_tokens.weight") and len(tensor.shape) == 2:
            return tensor.shape[1]
    return None


def _facts(weights: Weights, tensor: StoredTensor) -> TensorFacts:
    first = tensor.pieces[0] if tensor.pieces else None
    whole = first is not None and len(tensor.pieces) == 1
    return TensorFacts(
        name=tensor.name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        file=weights.files[first.file].name if first else "",
        offset=first.offset if first and whole else -1,
        nbytes=tensor.nbytes,
    )
