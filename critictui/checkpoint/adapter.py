"""Adapters (PEFT: LoRA and its like) by their files: critics only together with a base, never scored as they lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from critictui.checkpoint.archive import open_state_dict
from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.head import is_head
from critictui.checkpoint.safetensors_header import header_of

_WEIGHTS = re.compile(r"^adapter_model(?:-\d{5}-of-\d{5})?\.(?:safetensors|bin)$")
_CONFIG = "adapter_config.json"
FOLDER = "lora_adapter"
"""Where verl's model merger and its checkpoints put the adapter of the base weights beside it."""
_REMEDY = (
    "merge it with PEFT, model.merge_and_unload().save_pretrained(FOLDER), and score that folder, which must hold no "
    "adapter files"
)


def holds_adapter(names: Sequence[str]) -> bool:
    """Whether files of these names lie in the folder of an adapter."""
    return any(name == _CONFIG or _WEIGHTS.match(name) for name in names)


def adapter_files(path: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """The adapter's weight files in `path`, else its configuration; empty where there is none."""
    found = tuple(path / name for name in sorted(names) if _WEIGHTS.match(name))
    return found or ((path / _CONFIG,) if _CONFIG in names else ())


def adapter_beside(path: Path, names: Sequence[str]) -> str:
    """Why the weights in `path` are not the critic, in words: an adapter lies beside them. Empty where none does."""
    found = adapter_files(path, names)
    if not found and FOLDER in names:
        try:
            found = adapter_files(path / FOLDER, [file.name for file in (path / FOLDER).iterdir()])
        except OSError:
            return ""
    return beside_words(found[0].relative_to(path)) if found else ""


def beside_words(file: Path) -> str:
    """What is said of weights that an adapter in `file` belongs to."""
    return f"{file} is an adapter of these weights, which are the base without it; {_REMEDY}"


def alone_words(file: Path) -> str:
    """What is said of a checkpoint that is nothing but the adapter in `file`."""
    return f"{file.name} is an adapter without its base; {_REMEDY}"


def trains_head(files: Sequence[Path]) -> bool:
    """Whether an adapter brings a value head (PEFT's `modules_to_save`), by its tensors' names."""
    try:
        return any(is_head(name[at:]) for file in files for name in _tensor_names(file) for at in _starts(name))
    except (CheckpointError, OSError):
        return False


def _tensor_names(file: Path) -> list[str]:
    if file.suffix == ".safetensors":
        return list(header_of(file))
    if file.suffix != ".bin":
        return []
    with closing(open_state_dict(file)) as state:
        return list(state.tensors)


def _starts(name: str) -> list[int]:
    """Where the parts of a dotted name begin: an adapter's stand behind `base_model.model.`."""
    return [0, *(at + 1 for at, letter in enumerate(name) if letter == ".")]
