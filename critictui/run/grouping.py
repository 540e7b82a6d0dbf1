"""Which files belong to one run: all files of metrics under a target go in, runs come out."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from critictui.run.series import SourceKind

_SHARED_NAMES = re.compile(
    r"(?:metric|stats|trainer_log|logging|log_history|events|progress|metric-\w+)", re.IGNORECASE
)
"""JSONL files of these names lie beside one another in one run; others are named after their run."""
_PLACE = re.compile(
    r"\W*(?:tensorboard|tb|tf|events?|logs?|logging|metrics?|outputs?|results?|wandb|slurm|console|std(?:out|err)|hydra|runs?"
    r"|trainer|critictui)(?:[_\-.]\w*)*",
    re.IGNORECASE,
)
"""Names of folders that say what lies in them, not which run."""
_CHECKPOINT = re.compile(r"checkpoint-(\d+)$")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of metrics."""

    path: Path
    kind: SourceKind
    modified: float
    """mtime, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run, and the files that it is read from."""

    path: Path
    """Its directory, or its file where one directory holds the logs of several runs."""
    name: str
    """The path relative to the target; of the target itself its own name."""
    files: tuple[FoundFile, ...]
    modified: float
    """The newest mtime of its files, seconds since the epoch; 0 without files."""


def grouped(target: Path, found: Iterable[FoundFile]) -> tuple[FoundRun, ...]:
    """The runs under `target`, by name. With nothing found, the target itself is an empty run."""
    files = _newest_states(found)
    folders = Counter(file.path.parent for file in files if file.kind == "events")
    if len(folders) <= 1 and (folders or _one_run(files)) and not _strangers(target, list(folders), files):
        return (_run(target, target, files),)
    roots = _roots(target, list(folders))
    by_root: dict[Path, list[FoundFile]] = defaultdict(list)
    by_name = _unambiguous(roots)
    inside = set(roots.values())
    left = []
    for file in files:
        root = roots.get(file.path.parent) if file.kind == "events" else _nearest(file.path, inside)
        root = root or by_name.get(file.path.stem)
        if root is None:
            left.append(file)
        else:
            by_root[root].append(file)
    runs = [_run(target, root, some) for root, some in (*by_root.items(), *_by_folder(left))]
    return tuple(sorted(runs, key=lambda run: run.name))


def _run(target: Path, path: Path, files: Iterable[FoundFile]) -> FoundRun:
    ordered = tuple(sorted(files, key=lambda file: str(file.path)))
    name = target.resolve().name if path == target else str(path.relative_to(target))
    return FoundRun(path, name, ordered, max((file.modified for file in ordered), default=0.0))


def _newest_states(found: Iterable[FoundFile]) -> list[FoundFile]:
    """All files, but of the trainer states that one trainer left in its checkpoints only the newest.

    Each holds the whole history up to its step.
    """
    out: list[FoundFile] = []
    newest: dict[Path, tuple[int, FoundFile]] = {}
    for file in found:
        if file.kind != "trainer-state":
            out.append(file)
            continue
        match = _CHECKPOINT.match(file.path.parent.name)
        home = file.path.parent.parent if match else file.path.parent
        step = int(match.group(1)) if match else -1
        held = newest.get(home)
        if held is None or (step, file.modified) > (held[0], held[1].modified):
            newest[home] = (step, file)
    return [*out, *(file for _, file in newest.values())]


def _named_alone(file: FoundFile) -> bool:
    return file.kind == "log" or (file.kind == "jsonl" and not _SHARED_NAMES.match(file.path.stem))


def _stem(file: FoundFile) -> str:
    """The name without its suffix and the number of a rotated log."""
    return Path(re.sub(r"\.\d{1,3}$", "", file.path.name)).stem


def _one_run(files: Iterable[FoundFile]) -> bool:
    """Whether files without any event directory are one run: at most one log, one named JSONL, one trainer's state."""
    kinds = Counter(kind for kind, _ in {(f.kind, (f.path.parent, _stem(f))) for f in files if _named_alone(f)})
    states = {f.path.parent for f in files if f.kind == "trainer-state"}
    shared = {f.path.parent for f in files if f.kind == "jsonl" and not _named_alone(f)}
    return max(kinds["log"], kinds["jsonl"], len(states), len(shared)) <= 1


def _strangers(target: Path, folders: list[Path], files: Iterable[FoundFile]) -> bool:
    """Whether a log lies in another folder of the target than its only event files, and neither folder is a mere place
    for logs or events: then they are two runs beside each other.
    """
    homes = {_child(target, folder) for folder in folders}
    if not homes or None in homes or any(_PLACE.fullmatch(home or "") for home in homes):
        return False
    others = {_child(target, file.path.parent) for file in files if _named_alone(file)} - homes - {None}
    return any(not _PLACE.fullmatch(other or "") for other in others)


def _child(target: Path, folder: Path) -> str | None:
    """The name of the target's own folder in which this one is; None of the target itself, or where it is a file."""
    return folder.relative_to(target).parts[0] if target in folder.parents else None


def _roots(target: Path, folders: list[Path]) -> dict[Path, Path]:
    """Each event directory to the highest directory strictly below the target that holds no other one."""
    holding: Counter[Path] = Counter()
    for folder in folders:
        at = folder
        while at != target:
            holding[at] += 1
            at = at.parent
    out = {}
    for folder in folders:
        root = folder
        while target not in {root, root.parent} and holding[root] == 1 and holding[root.parent] == 1:
            root = root.parent
        out[folder] = root
    return out


def _unambiguous(roots: dict[Path, Path]) -> dict[str, Path]:
    """The names that mean one run: of its event directory, or of its own directory."""
    names = {(name, root) for folder, root in roots.items() for name in (folder.name, root.name)}
    counts = Counter(name for name, _ in names)
    return {name: root for name, root in names if counts[name] == 1}


def _nearest(path: Path, roots: set[Path]) -> Path | None:
    return next((parent for parent in path.parents if parent in roots), None)


def _by_folder(files: list[FoundFile]) -> list[tuple[Path, list[FoundFile]]]:
    """Files outside of every event run: a run a directory, or a run a file where it holds several logs."""
    folders: dict[Path, list[FoundFile]] = defaultdict(list)
    for file in files:
        home = file.path.parent
        folders[home.parent if _CHECKPOINT.match(home.name) else home].append(file)
    out: list[tuple[Path, list[FoundFile]]] = []
    for folder, some in folders.items():
        if _one_run(some):
            out.append((folder, some))
            continue
        by_name: dict[str, list[FoundFile]] = defaultdict(list)
        for file in some:
            by_name[_stem(file) if _named_alone(file) else ""].append(file)
        for name, mine in by_name.items():
            out.append((mine[0].path if name else folder, mine))
    return out
