"""From a checkpoint on disk to a critic in memory: every tensor from the checkpoint, or a refusal that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.worker.model import Critic

Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64"]


def load_critic(
    checkpoint: Checkpoint | Path,
    *,
    device: str = "cpu",
    dtype: Dtype = "auto",
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    tokenizer_path: Path | None = None,
    attention: str = "sdpa",
) -> Critic:
    """Load a critic from FSDP shards, a Hugging Face directory or a trl checkpoint.

    dtype: `auto` is bfloat16 on a GPU and float32 on a CPU. seed: takes no part in the result (nothing is initialised
    at random); it is there so that a test can show so. progress: called with 0..1, also from other threads than the caller's.
    tokenizer_path: a directory to take the tokenizer from instead of the checkpoint's own. attention: the
    `attn_implementation` that transformers is given.

    Raises CheckpointError where the checkpoint is not fit to be scored (no head, two heads, a missing, unexpected,
    mis-shaped or non-finite tensor, damaged files), VanishedError where it went away or was replaced meanwhile.
    Host memory: one copy of the model in the target dtype and a few buffers.
    """
    raise NotImplementedError
