"""A critic's own tokenizer, from beside its weights; never downloaded, never another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from critictui.checkpoint.checkpoint import Checkpoint, CheckpointError
from critictui.worker.backbone import config_folder, offline

_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt", "tekken.json")


def tokenizer_folder(checkpoint: Checkpoint, override: Path | None = None) -> Path:
    """The folder that holds the tokenizer. Raises CheckpointError that names the file which is missing."""
    if override is not None:
        if any((override / name).is_file() for name in _FILES):
            return override
        raise CheckpointError(f"{override / 'tokenizer.json'}: there is no tokenizer; give a folder that has one")
    for folder in config_folder(checkpoint.path):
        if any((folder / name).is_file() for name in _FILES):
            return folder
    raise CheckpointError(
        f"{checkpoint.path / 'tokenizer.json'}: the checkpoint has no tokenizer; copy the base model's tokenizer files "
        "there or name its folder with --tokenizer"
    )


def open_tokenizer(checkpoint: Checkpoint, vocabulary: int | None, override: Path | None = None) -> Any:
    """Load the tokenizer offline, without remote code.

    A `tokenizer.json` is taken as it stands, which is what training did: the tokenizer class that AutoTokenizer of
    transformers 5 picks by `model_type` keeps its vocabulary and silently replaces its normaliser and pre-tokenizer.
    vocabulary: rows of the embedding; a tokenizer with a greater id is another model's and is refused.
    Raises CheckpointError that names the folder.
    """
    offline()
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    folder = tokenizer_folder(checkpoint, override)
    try:
        reader = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
        tokenizer = reader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        highest = max(tokenizer.get_vocab().values(), default=-1)
    except Exception as error:  # foreign files in a foreign library: whatever it raises means "unreadable"
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{folder}: its tokenizer cannot be loaded ({first}); copy its files again") from error
    if vocabulary is not None and highest >= vocabulary:
        raise CheckpointError(
            f"{folder}: the tokenizer has ids up to {highest}, the model knows {vocabulary}; it is another model's"
        )
    return tokenizer
