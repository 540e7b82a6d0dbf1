"""A checkpoint as found on disk: where, which step, which layout, whole or not and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from critictui.errors import InputError

Layout = Literal["verl-fsdp", "hf", "trl", "adapter", "unknown"]
CheckpointState = Literal["complete", "writing", "incomplete", "deleted", "unreadable"]


class CheckpointError(InputError):
    """A checkpoint cannot be used; the message names the file and the remedy."""

    kind: Literal["refused", "vanished"] = "refused"
    """How the worker reports it: the input is not fit, or it went away while it was read."""


class AdapterError(CheckpointError):
    """What is stored is an adapter (LoRA and its like), or a base that an adapter belongs to: no critic by itself."""


class VanishedError(CheckpointError):
    """The checkpoint was removed or replaced while it was listed, read or scored."""

    kind = "vanished"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One critic on disk."""

    path: Path
    """The directory that holds the weights: `global_step_N/critic`, or a Hugging Face directory."""
    step: int | None
    """From the directory's name, or None where nothing says so."""
    layout: Layout
    state: CheckpointState
    reason: str
    """Why it is not complete, in words; empty when it is."""
    size: int
    """Bytes of the weight files."""
    files: tuple[Path, ...]
    """The weight files, in rank or index order."""
    modified: float
    """Newest mtime of the weight files, seconds since the epoch."""
    world_size: int = 1


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A tensor as its header describes it; nothing was loaded."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: str
    offset: int = -1
    """Byte offset of the data in the file, -1 where it is not stored in one piece."""
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class HeadFacts:
    """The value head: its name and what its numbers look like (all statistics over the finite entries)."""

    weight_name: str
    bias_name: str | None
    shape: tuple[int, ...]
    mean: float
    std: float
    norm: float
    max_abs: float
    bias: float | None
    non_finite: int
    zero: bool
    """Every entry is 0."""
    sha256: str
    """Of the head's bytes as float32, weight then bias; equal hashes mean equal heads."""
    looks_initialised: Literal["no", "hf", "trl", "undecided"]
    """Whether mean, spread and shape of the distribution fit an initialisation that training left alone."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What a checkpoint holds, found in milliseconds without torch and without running code from it."""

    path: Path
    fingerprint: str
    """Of all that a score of it depends on: the weights, and beside them configuration, tokenizer and chat template."""
    weights: str
    """Over names, shapes, dtypes, head bytes and samples of the data; changes when the weights change."""
    parameters: int
    dtypes: tuple[str, ...]
    tensors: tuple[TensorFacts, ...]
    head: HeadFacts | None
    """None when there is none or more than one; then `problems` says so."""
    heads: tuple[str, ...]
    """The names of every tensor that could be a value head."""
    architecture: str
    """From `config.json`, for display only: it is often wrong."""
    problems: tuple[tuple[str, str], ...]
    """(finding id, message): head-missing, head-duplicated, weights-damaged, incomplete, wrong-shape."""
    possible_heads: tuple[str, ...] = ()
    """Tensors of a value head's shape under names that are not known as one; `head-missing` is then no certainty."""
    unseen: tuple[str, ...] = ()
    """What an audit does not look at or no file shows, in words: none of it speaks against the checkpoint."""

    @property
    def scorable(self) -> bool:
        """Whether a score of it could be believed."""
        return self.head is not None and not self.problems
