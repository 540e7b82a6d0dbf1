"""The files beside the weights that take part in a score: where they lie, and what is in them as one digest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.weights import reading

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt", "tekken.json")
"""A folder with one of these has a tokenizer."""
_TOKENIZERS = (
    *VOCABULARIES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip
_CONFIGS = ("config.json", "generation_config.json")
_LARGEST = 256 << 20
OF_NO_ACCOUNT = frozenset({
    "architectures", "auto_map", "dtype", "id2label", "label2id", "num_labels", "torch_dtype", "transformers_version",
    "use_cache",
})  # fmt: skip
"""What a configuration says and no score depends on."""


def folders(path: Path) -> tuple[Path, ...]:
    """Where verl and transformers keep config and tokenizer of the weights in `path`, nearest first."""
    return (path, path / "huggingface", path.parent / "huggingface", path.parent)


def tokenizer_folder(path: Path, given: Path | None = None) -> Path | None:
    """The folder whose tokenizer reads for the weights in `path`: the one that is given, else the nearest."""
    candidates = folders(path) if given is None else (given,)
    return next((folder for folder in candidates if any((folder / name).is_file() for name in VOCABULARIES)), None)


def require_tokenizer(path: Path, given: Path | None = None) -> Path:
    """`tokenizer_folder`, or CheckpointError that names the file which is missing."""
    found = tokenizer_folder(path, given)
    if found is not None:
        return found
    if given is not None:
        raise CheckpointError(
            f"{given / 'tokenizer.json'}: there is no tokenizer; give --tokenizer a folder that has one"
        )
    raise CheckpointError(
        f"{path / 'tokenizer.json'}: the checkpoint has no tokenizer; copy the base model's tokenizer files there or "
        "name its folder with --tokenizer"
    )


def files_beside(path: Path, tokenizer: Path | None = None) -> tuple[Path, ...]:
    """Configurations, tokenizer and chat template in effect for the weights in `path`, as far as they are there.

    tokenizer: a folder that stands in for the checkpoint's own.
    """
    configs = [folder / name for folder in (path / "huggingface", path) for name in _CONFIGS]
    folder = tokenizer_folder(path, tokenizer)
    tokenizers = [folder / name for name in _TOKENIZERS] if folder is not None else []
    return tuple(file for file in (*configs, *tokenizers) if file.is_file())


def digest_beside(path: Path, tokenizer: Path | None = None) -> str:
    """SHA-256 over the names and contents of `files_beside`; a configuration counts by what a score depends on.

    Raises VanishedError when a file goes away meanwhile, CheckpointError when one cannot be read.
    """
    digest = hashlib.sha256()
    for file in files_beside(path, tokenizer):
        with reading(file):
            if file.stat().st_size > _LARGEST:
                raise CheckpointError(f"{file}: too large for what it is called; not read")
            content = file.read_bytes()
        content = _essence(content) if file.name in _CONFIGS else content
        digest.update(f"{file.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _essence(content: bytes) -> bytes:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not isinstance(values, dict):
        return content
    kept = {k: v for k, v in values.items() if not k.startswith("_") and k not in OF_NO_ACCOUNT}
    return json.dumps(kept, sort_keys=True).encode()
