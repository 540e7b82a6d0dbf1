"""Is a checkpoint whole? Decided by its archives and markers, never by a clock alone."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from critictui.checkpoint.adapter import adapter_beside, adapter_files, alone_words
from critictui.checkpoint.checkpoint import Checkpoint, CheckpointError, CheckpointState, Layout
from critictui.checkpoint.safetensors_header import header_of
from critictui.checkpoint.weights import weight_map
from critictui.checkpoint.zip_archive import TruncatedError, is_whole

SHARD = re.compile(r"^model_world_size_(\d{1,6})_rank_(\d{1,6})\.pt$")
_STEP = re.compile(r"^(?:global[_-]?step|checkpoint|ckpt|step|iter(?:ation)?)[_-]?(\d{1,18})(?:_hf)?$")
"""The whole name of a step's folder: verl, Hugging Face, DeepSpeed, OpenRLHF (`global_step10_hf`), Megatron."""
_WITHIN = frozenset({
    "actor", "adapter", "critic", "default", "hf", "hf_model", "huggingface", "lora_adapter", "merged",
    "merged_hf_model", "model", "policy", "ref", "reward", "reward_model", "value", "weights",
})  # fmt: skip
"""What trainers and mergers call a folder within a step's own."""
_NUMBERED = re.compile(r"^(?:model|pytorch_model)-(\d{5})-of-(\d{5})\.(?:safetensors|bin)$")
_HEAD_FILES = ("value_head.safetensors", "value_head.bin")
_ABANDONED_SECONDS = 600.0
"""A half-written checkpoint that has not grown for so long is called incomplete instead of writing."""


def step_of(path: Path) -> int | None:
    """The step that the directory's name is (`checkpoint-300`), or that of the step it is a part of
    (`global_step_310/critic/huggingface`); None where the names say no step, whatever numbers are in them."""
    for folder in (path, path.parent, path.parent.parent):
        found = _STEP.match(folder.name)
        if found:
            return int(found[1])
        if folder.name not in _WITHIN:
            return None
    return None


def shard_checkpoint(path: Path, names: Sequence[str], previous: Checkpoint | None, *, last: bool) -> Checkpoint:
    """A directory of FSDP shards. `last`: no later step exists in the run, so that it may still be being written."""
    step = step_of(path)
    worlds: dict[int, dict[int, Path]] = {}
    for name in names:
        found = SHARD.match(name)
        if found:
            worlds.setdefault(int(found[1]), {})[int(found[2])] = path / name
    world = max(worlds)
    ranks = worlds[world]
    files = tuple(ranks[r] for r in sorted(ranks))
    base = _measured(Checkpoint(path, step, "verl-fsdp", "complete", "", 0, files, 0.0, world))
    if len(worlds) > 1:
        sizes = " and ".join(str(w) for w in sorted(worlds))
        return _with(base, "unreadable", f"shards of world sizes {sizes} lie side by side; remove those left over")
    adapter = adapter_beside(path, names)
    if adapter:
        return _with(base, "unreadable", adapter)
    if _unchanged(base, previous) and previous is not None and previous.state == "complete":
        return base
    missing = [r for r in range(world) if r not in ranks]
    if missing or world != len(ranks):
        listed = ", ".join(map(str, missing[:4])) + (" ..." if len(missing) > 4 else "")
        return _unfinished(base, previous, f"rank {listed} of {world} is missing", last=last)
    broken = _first_broken(files)
    if broken:
        return _unfinished(base, previous, broken, last=last)
    marked = _marked(path, step)
    if marked or _settled(base, previous):
        return base
    return _with(base, "writing", "no data.pt and no tracker at this step yet; complete once its sizes stay the same")


def hf_checkpoint(path: Path, names: Sequence[str], previous: Checkpoint | None, *, last: bool) -> Checkpoint:
    """A Hugging Face or trl directory, sharded or single."""
    step = step_of(path)
    base = Checkpoint(path, step, "hf", "complete", "", 0, (), 0.0)
    heads = tuple(path / n for n in _HEAD_FILES if n in names)[:1]
    try:
        files, pending = _hf_files(path, names)
    except (CheckpointError, OSError) as error:
        return _with(_measured(base), "unreadable", str(error))
    base = _measured(replace(base, files=(*files, *heads)))
    adapter = adapter_beside(path, names)
    if adapter:
        return _with(base, "unreadable", adapter)
    if _unchanged(base, previous) and previous is not None and previous.state == "complete":
        return replace(base, layout=previous.layout)
    absent = [f.name for f in files if f.name not in names]
    if absent:
        return _unfinished(base, previous, f"{absent[0]} is missing", last=last)
    broken = _first_broken(base.files)
    if broken:
        return _unfinished(base, previous, broken, last=last)
    base = replace(base, layout=_hf_layout(base))
    if "config.json" not in names:
        return _unfinished(base, previous, "config.json is missing", last=last)
    if pending and not _settled(base, previous):
        return _with(base, "writing", pending)
    return base


def adapter_checkpoint(path: Path, names: Sequence[str]) -> Checkpoint:
    """A directory that holds an adapter and no weights: a checkpoint that training saved, and no critic by itself."""
    files = adapter_files(path, names)
    return _measured(Checkpoint(path, step_of(path), "adapter", "unreadable", alone_words(files[0]), 0, files, 0.0))


def _hf_files(path: Path, names: Sequence[str]) -> tuple[tuple[Path, ...], str]:
    """The weight files, and what is still to come if that can be told; safetensors first, as transformers does."""
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        single, index = f"{stem}.{suffix}", f"{stem}.{suffix}.index.json"
        numbered = sorted(n for n in names if _NUMBERED.match(n) and n.startswith(stem + "-") and n.endswith(suffix))
        if single in names and (index in names or numbered):
            raise CheckpointError(f"{path}: both {single} and shards of another save; remove those left over")
        if single in names:
            return (path / single,), ""
        if index in names:
            return tuple(path / n for n in sorted(set(weight_map(path / index).values()))), ""
        if numbered:
            count = int(_NUMBERED.match(numbered[0])[2])  # type: ignore[index]
            every = tuple(path / f"{stem}-{i:05d}-of-{count:05d}.{suffix}" for i in range(1, min(count, 9999) + 1))
            return every, f"{index} is not written yet"
    raise CheckpointError(f"{path}: no weight files; give a folder with model.safetensors or FSDP shards")


def _hf_layout(checkpoint: Checkpoint) -> Layout:
    """trl where the head is called v_head; a look at headers only."""
    for file in checkpoint.files:
        if file.suffix == ".safetensors" and any("v_head." in n for n in header_of(file)):
            return "trl"
        if file.name == "value_head.bin":
            return "trl"
    return "hf"


def _first_broken(files: Sequence[Path]) -> str:
    """Why one of the files is not whole, empty if all are."""
    for file in files:
        try:
            if file.suffix == ".safetensors":
                header_of(file)
                reason = ""
            else:
                reason = is_whole(file)
        except TruncatedError:
            reason = f"{file.name} is cut short"
        except CheckpointError as error:
            reason = str(error)
        except OSError as error:
            reason = f"{file.name}: {error.strerror}"
        if reason:
            return reason
    return ""


def _marked(path: Path, step: int | None) -> bool:
    """verl's own signs that a step is done: `data.pt` beside the roles, or the tracker at or beyond the step."""
    parent = path.parent
    if (parent / "data.pt").is_file():
        return True
    for folder in (parent, parent.parent):
        reached = _tracker(folder / "latest_checkpointed_iteration.txt")
        if reached is not None and step is not None and reached >= step:
            return True
    return False


def _tracker(file: Path) -> int | None:
    try:
        with file.open("rb") as stream:
            text = stream.read(32).strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _measured(base: Checkpoint) -> Checkpoint:
    size, modified = 0, 0.0
    for file in base.files:
        try:
            stat = file.stat()
        except OSError:
            continue
        size += stat.st_size
        modified = max(modified, stat.st_mtime)
    return replace(base, size=size, modified=modified)


def _unchanged(now: Checkpoint, previous: Checkpoint | None) -> bool:
    return previous is not None and (previous.files, previous.size, previous.modified) == (
        now.files,
        now.size,
        now.modified,
    )


def _settled(now: Checkpoint, previous: Checkpoint | None) -> bool:
    return _unchanged(now, previous) and previous is not None and previous.state in ("writing", "complete")


def _unfinished(base: Checkpoint, previous: Checkpoint | None, reason: str, *, last: bool) -> Checkpoint:
    """Not whole: still being written, unless verl has gone on or nothing has moved for long."""
    finished = base.layout == "verl-fsdp" and _marked(base.path, base.step)
    abandoned = _unchanged(base, previous) and time.time() - base.modified > _ABANDONED_SECONDS
    state: CheckpointState = "incomplete" if finished or abandoned or not last else "writing"
    return _with(base, state, reason)


def _with(base: Checkpoint, state: CheckpointState, reason: str) -> Checkpoint:
    return replace(base, state=state, reason=reason)
