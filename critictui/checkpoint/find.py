"""A run directory in, its checkpoints out, newest step first, each with its state and the reason for it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from critictui.checkpoint import adapter
from critictui.checkpoint.checkpoint import Checkpoint, CheckpointError, VanishedError
from critictui.checkpoint.completeness import SHARD, adapter_checkpoint, hf_checkpoint, shard_checkpoint, step_of
from critictui.checkpoint.head import is_head
from critictui.checkpoint.weights import open_weights

MAX_DEPTH = 6
MAX_DIRECTORIES = 5_000
MAX_ENTRIES = 200_000
_SKIP = frozenset(
    {"actor", "ref", "rollout", "critictui", "wandb", "mlruns", "node_modules", "__pycache__", "site-packages"}
)
_HF = re.compile(r"^(?:model|pytorch_model)(?:-\d{5}-of-\d{5})?\.(?:safetensors|bin)(?:\.index\.json)?$")
_CRITIC = re.compile(r"(?<![a-z])critic(?![a-z])", re.IGNORECASE)
_GLOBAL_STEP = re.compile(r"^global_step_(\d{1,18})$")


@dataclass(frozen=True, slots=True)
class Scan:
    """What a walk over a run directory found, and what it did not look at."""

    checkpoints: tuple[Checkpoint, ...]
    truncated: bool
    """The walk hit one of its limits: there may be more."""
    skipped: tuple[str, ...]
    """Folders that could not be listed, with the reason."""


@dataclass(slots=True)
class _Walk:
    places: list[tuple[Path, list[str]]] = field(default_factory=list)
    """Directories that hold weights, with their file names."""
    pruned: list[Path] = field(default_factory=list)
    """`global_step_N/critic` that ought to exist and does not."""
    seen: set[tuple[int, int]] = field(default_factory=set)
    entries: int = 0
    truncated: bool = False
    skipped: list[str] = field(default_factory=list)


def find_checkpoints(run_dir: Path, *, previous: Sequence[Checkpoint] = ()) -> list[Checkpoint]:
    """Every critic checkpoint under `run_dir`, newest step first; those without a step last.

    What neither claims to be a critic by its place nor has a value head is another model, and is left out. An adapter
    is a checkpoint that cannot be read as it lies, and so are weights above it, which are its base.

    previous: the last look. It tells files that stand still from files that grow, saves opening what has not changed,
    and lets deleted checkpoints be remembered.
    """
    return list(scan(run_dir, previous=previous).checkpoints)


def scan(run_dir: Path, *, previous: Sequence[Checkpoint] = ()) -> Scan:
    """As `find_checkpoints`, with what was left out."""
    walk = _Walk()
    _walk(run_dir, walk)
    before = {c.path: c for c in previous}
    newest = max((step_of(path) or 0 for path, _ in walk.places), default=0)
    found: dict[Path, Checkpoint] = {}
    for path, names in walk.places:
        checkpoint = _one(path, names, before.get(path), last=(step_of(path) or 0) >= newest)
        if path in before or _claims(path, run_dir) or _has_head(checkpoint):
            found[path] = checkpoint
    for path in walk.pruned:
        if path not in found and (found or path in before):
            found[path] = _deleted(before.get(path) or _gone(path), "its critic/ folder was removed")
    for path, checkpoint in before.items():
        if path not in found and path.is_relative_to(run_dir):
            found[path] = _deleted(checkpoint, "no longer on disk")
    adapters = [c.path for c in found.values() if c.layout == "adapter" and c.state != "deleted"]
    found |= {path: _as_base(c, adapters) for path, c in found.items() if c.state == "complete"}
    ordered = sorted(found.values(), key=lambda c: (c.step is None, -(c.step or 0), str(c.path)))
    return Scan(tuple(ordered), walk.truncated, tuple(walk.skipped))


def describe(path: Path, previous: Checkpoint | None = None) -> Checkpoint:
    """The checkpoint at `path`: the folder that holds the weights, or `global_step_N`, `huggingface/` or a file of it.

    Raises CheckpointError where there are no weights.
    """
    for place in _candidates(path):
        names = _files(place)
        if _holds_weights(names) or adapter.holds_adapter(names):
            return _one(place, names, previous, last=True)
    if not path.exists():
        raise VanishedError(f"{path}: there is no such file or folder; check the path")
    raise CheckpointError(f"{path}: no checkpoint here; give a folder with FSDP shards or model.safetensors, or a run")


def resolve_target(target: Path, *, settle_seconds: float = 0.5) -> Checkpoint:
    """The complete checkpoint that `target` means: itself, or the newest complete one of a run directory.

    A checkpoint without any marker of completion is looked at twice, `settle_seconds` apart.
    Raises CheckpointError that says what is not complete and why.
    """
    try:
        single: Checkpoint | None = describe(target)
    except VanishedError:
        raise
    except CheckpointError:
        single = None
    if single is not None:
        if single.state == "writing" and settle_seconds > 0:
            time.sleep(settle_seconds)
            single = describe(target, single)
        if single.state == "complete" and target.is_dir():
            single = next(
                (c for c in find_checkpoints(single.path, previous=[single]) if c.path == single.path), single
            )
        if single.state != "complete":
            raise CheckpointError(f"{single.path}: {single.state}: {single.reason}; choose another checkpoint")
        return single
    found = find_checkpoints(target)
    # a newer step that carries no marker may be complete all the same: only a second look can tell
    newest = next((c for c in found if c.state in ("complete", "writing")), None)
    if newest is not None and newest.state == "writing" and settle_seconds > 0:
        time.sleep(settle_seconds)
        found = find_checkpoints(target, previous=found)
    complete = [c for c in found if c.state == "complete"]
    if complete:
        _refuse_older(complete[0], found)
        return complete[0]
    if found:
        first = found[0]
        raise CheckpointError(
            f"{target}: none of its {len(found)} checkpoints is complete; {first.path.name} of step {first.step} is "
            f"{first.state}: {first.reason}"
        )
    raise CheckpointError(f"{target}: no checkpoint found; give a checkpoint's folder or a run that has saved one")


def _as_base(checkpoint: Checkpoint, adapters: Sequence[Path]) -> Checkpoint:
    """The checkpoint, in doubt where an adapter lies below it: trainers save them in folders below the base."""
    below = next((path for path in sorted(adapters) if path.is_relative_to(checkpoint.path)), None)
    if below is None:
        return checkpoint
    reason = adapter.beside_words(below.relative_to(checkpoint.path))
    return replace(checkpoint, state="unreadable", reason=reason)


def _refuse_older(chosen: Checkpoint, found: Sequence[Checkpoint]) -> None:
    """Raise CheckpointError where training has gone on from the chosen checkpoint in adapters: it may be their base."""
    for newer in found:
        live = newer.layout == "adapter" and newer.state != "deleted"
        if live and (chosen.step is None or (newer.step is not None and newer.step > chosen.step)):
            raise CheckpointError(
                f"{newer.path}: {newer.reason}; or name {chosen.path.name}, the base or an older step, if that is meant"
            )


def _claims(path: Path, run_dir: Path) -> bool:
    """Whether a folder's place says that it holds a critic: what was pointed at, a step's folder, under `critic`.

    Other weights lie in runs too: the student that warm-up starts from, a reference model, the teacher.
    """
    below = path.relative_to(run_dir).parts
    return not below or any(_CRITIC.search(part) or step_of(Path(part)) is not None for part in below)


@lru_cache(maxsize=256)
def _has_head(checkpoint: Checkpoint) -> bool:
    """Whether a value head is stored, by the tensors' names; asked once for each state that the files are in."""
    if checkpoint.layout == "adapter":
        return adapter.trains_head(checkpoint.files)
    try:
        with open_weights(checkpoint) as weights:
            return any(map(is_head, weights.tensors))
    except CheckpointError:
        return False


def _candidates(path: Path) -> list[Path]:
    """Where the weights may lie for what a person points to."""
    if path.is_file():
        return [path.parent]
    places = [path, path / "critic"]
    if path.name == "huggingface":
        places.append(path.parent)
    return [*places, path / "huggingface"]


def _one(path: Path, names: Sequence[str], previous: Checkpoint | None, *, last: bool) -> Checkpoint:
    if any(SHARD.match(name) for name in names):
        return shard_checkpoint(path, names, previous, last=last)
    if not _holds_weights(names):
        return adapter_checkpoint(path, names)
    return hf_checkpoint(path, names, previous, last=last)


def _deleted(checkpoint: Checkpoint, reason: str) -> Checkpoint:
    return replace(checkpoint, state="deleted", reason=reason)


def _gone(path: Path) -> Checkpoint:
    return Checkpoint(path, step_of(path), "unknown", "deleted", "", 0, (), 0.0)


def _holds_weights(names: Sequence[str]) -> bool:
    return any(SHARD.match(name) or _HF.match(name) for name in names)


def _files(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for _, entry in zip(range(MAX_ENTRIES), entries, strict=False)]
    except OSError:
        return []


def _walk(run_dir: Path, walk: _Walk) -> None:
    """Breadth first, so that the limits cut off the deep before the near."""
    queue = [(run_dir, 0)]
    while queue:
        folder, depth = queue.pop(0)
        if len(walk.seen) >= MAX_DIRECTORIES or walk.entries >= MAX_ENTRIES:
            walk.truncated = True
            return
        listed = _list(folder, walk)
        if listed is None:
            continue
        files, folders = listed
        if _holds_weights(files):
            walk.places.append((folder, [*files, *(name for name in folders if name == adapter.FOLDER)]))
            folders = [name for name in folders if name not in ("huggingface", adapter.FOLDER)]
        elif adapter.holds_adapter(files):
            walk.places.append((folder, files))
        step = _GLOBAL_STEP.match(folder.name)
        if (
            step
            and "critic" not in folders
            and not _holds_weights(files)
            and ("actor" in folders or "data.pt" in files)
        ):
            walk.pruned.append(folder / "critic")
        if depth >= MAX_DEPTH:
            walk.truncated = walk.truncated or bool(folders)
            continue
        queue.extend(
            (folder / name, depth + 1)
            for name in sorted(folders)
            if name not in _SKIP and not name.startswith((".", "tmp-"))
        )


def _list(folder: Path, walk: _Walk) -> tuple[list[str], list[str]] | None:
    files: list[str] = []
    folders: list[str] = []
    try:
        stat = folder.stat()
        if (stat.st_dev, stat.st_ino) in walk.seen:  # a link to a folder that was seen, or a loop
            return None
        walk.seen.add((stat.st_dev, stat.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                walk.entries += 1
                if walk.entries >= MAX_ENTRIES:
                    walk.truncated = True
                    break
                (folders if entry.is_dir() else files).append(entry.name)
    except OSError as error:
        walk.skipped.append(f"{folder}: {error.strerror}")
        return None
    return files, folders
