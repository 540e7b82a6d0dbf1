"""How a run was configured, as far as its scores depend on it: from Hydra, a verl log, wandb or LLaMA-Factory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from critictui.run.config_text import Scalar, printed_scalars, yaml_scalars
from critictui.run.log_lines import plain, split_prefix

_DEEPEST = 4
_MOST_ENTRIES = 5000
_LARGEST_YAML = 4 << 20
_LOG_HEAD = 16 << 20
_LOG_SUFFIXES = (".log", ".txt", ".out", ".err")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What was found; None where the source does not say."""

    source: str
    """The file it was read from, and in which form."""
    temperature: float | None = None
    """Of the student's sampling in training, not of validation."""
    top_p: float | None = None
    top_k: int | None = None
    """-1 (or 0) means off."""
    n: int | None = None
    """Responses a prompt."""
    max_prompt_length: int | None = None
    max_response_length: int | None = None
    train_batch_size: int | None = None
    """Prompts a step."""
    ppo_mini_batch_size: int | None = None
    total_epochs: int | None = None
    critic_warmup: int | None = None
    """Steps during which only the critic learns."""
    critic_model: str | None = None
    actor_model: str | None = None
    train_files: tuple[str, ...] = ()

    @property
    def known(self) -> int:
        """How many fields were found."""
        return sum(getattr(self, f.name) not in {None, ()} for f in fields(self) if f.name != "source")


_KEYS: dict[str, tuple[str, ...]] = {
    "temperature": ("actor_rollout_ref.rollout.temperature", "rollout.temperature"),
    "top_p": ("actor_rollout_ref.rollout.top_p", "rollout.top_p"),
    "top_k": ("actor_rollout_ref.rollout.top_k", "rollout.top_k"),
    "n": ("actor_rollout_ref.rollout.n", "rollout.n"),
    "max_prompt_length": ("data.max_prompt_length",),
    "max_response_length": ("data.max_response_length",),
    "train_batch_size": ("data.train_batch_size",),
    "ppo_mini_batch_size": ("critic.ppo_mini_batch_size", "actor_rollout_ref.actor.ppo_mini_batch_size"),
    "total_epochs": ("trainer.total_epochs", "num_train_epochs"),
    "critic_warmup": ("trainer.critic_warmup",),
    "critic_model": ("critic.model.path", "model_name_or_path"),
    "actor_model": ("actor_rollout_ref.model.path", "model.partial_pretrain"),
}
_FLOATS = frozenset({"temperature", "top_p"})
_TEXTS = frozenset({"critic_model", "actor_model"})
_OVERRIDE = re.compile(rb"(?:^|[\s'\"])((?:actor_rollout_ref|data|critic|trainer)(?:\.\w+)+)=([^\s'\"\\]+)")


def find_training_config(run_dir: Path) -> TrainingConfig | None:
    """The configuration of the run in `run_dir` (a directory, or a file in one), or None.

    The first source with any of the fields wins, in the order Hydra, log, wandb, LLaMA-Factory: values of several files
    are not mixed, since they may be of several runs. Nothing is raised; what cannot be read is not a source.
    """
    folder = run_dir if run_dir.is_dir() else run_dir.parent
    if run_dir.is_file() and (own := _from_log(run_dir)) is not None:
        return own
    places = _places(folder)
    readers = {"hydra": _from_yaml, "log": _from_log, "wandb": _from_wandb, "llama-factory": _from_yaml}
    for kind, reader in readers.items():
        found = [config for path in places[kind] if (config := reader(path)) is not None]
        if found:
            return max(found, key=lambda config: config.known)
    return None


def _places(folder: Path) -> dict[str, list[Path]]:
    """Files that may hold a configuration, newest first, within a bounded walk; and Hydra's one level above."""
    places: dict[str, list[Path]] = {"hydra": [], "log": [], "wandb": [], "llama-factory": []}
    for path in (folder / ".hydra" / "config.yaml", folder.parent / ".hydra" / "config.yaml"):
        if path.is_file():
            places["hydra"].append(path)
    for entry in _walk(folder):
        path = Path(entry.path)
        if entry.name == "config.yaml" and path.parent.name == ".hydra" and path not in places["hydra"]:
            places["hydra"].append(path)
        elif entry.name == "config.yaml" and path.parent.name == "files":
            places["wandb"].append(path)
        elif entry.name in {"training_args.yaml", "llamaboard_config.yaml"}:
            places["llama-factory"].append(path)
        elif entry.name.endswith(_LOG_SUFFIXES):
            places["log"].append(path)
    for found in places.values():
        found.sort(key=_modified, reverse=True)
        del found[8:]
    return places


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    left = _MOST_ENTRIES
    folders = [(str(folder), 0)]
    while folders:
        current, depth = folders.pop(0)
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0:
                        return
                    if entry.is_dir(follow_symlinks=False):
                        if depth < _DEEPEST and not entry.name.startswith("global_step_"):
                            folders.append((entry.path, depth + 1))
                    elif entry.is_file():
                        yield entry
        except OSError:
            continue


def _head(path: Path, most: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(most)
    except OSError:
        return b""


def _from_yaml(path: Path) -> TrainingConfig | None:
    text = _head(path, _LARGEST_YAML).decode("utf-8", "replace")
    return _config(yaml_scalars(text), str(path))


def _from_wandb(path: Path) -> TrainingConfig | None:
    """wandb puts each top key's value one level down, under `value`."""
    text = _head(path, _LARGEST_YAML).decode("utf-8", "replace")
    values = {re.sub(r"^([^.]+)\.value\b", r"\1", k): v for k, v in yaml_scalars(text).items()}
    return _config(values, f"{path} (wandb)")


_PRINTED = re.compile(
    rb"\{'(?:actor_rollout_ref|algorithm|critic|custom_reward_function|data|global_profiler|ray_init|trainer)':"
)


def _from_log(path: Path) -> TrainingConfig | None:
    """verl prints its resolved configuration, with pprint or on one line; else the command's overrides are shown."""
    head = _head(path, _LOG_HEAD)
    at = _PRINTED.search(head)
    while at is not None:
        start = head.rfind(b"\n", 0, at.start()) + 1
        values = printed_scalars(_same_process(head, start))
        config = _config(values, f"{path} (configuration printed at byte {start})")
        if config is not None:
            return config
        at = _PRINTED.search(head, at.end())
    found = {
        k.decode(): v.decode("utf-8", "replace") for k, v in _OVERRIDE.findall(head[: 1 << 20]) if v[:1] not in b"[{$"
    }
    return _config(yaml_scalars("\n".join(f"{k}: {v}" for k, v in found.items())), f"{path} (overrides of the command)")


def _same_process(head: bytes, start: int, most: int = 6000) -> Iterator[str]:
    """The lines from `start` on that the process of the first one printed, without its prefix."""
    owner: str | None = None
    at, indent = start, 0
    for _ in range(most):
        end = head.find(b"\n", at)
        if end < 0:
            return
        line = plain(head[at:end]).rstrip(b"\r")
        at = end + 1
        prefix = split_prefix(line)
        if owner is None:
            owner, indent = prefix.pid, len(line) - len(prefix.content)
        if prefix.pid == owner:
            yield line[indent:].decode("utf-8", "replace")


def _config(values: Mapping[str, Scalar], source: str) -> TrainingConfig | None:
    found: dict[str, object] = {}
    for field, keys in _KEYS.items():
        value = next((v for k in keys if (v := _value(field, values.get(k))) is not None), None)
        if value is not None:
            found[field] = value
    files = values.get("data.train_files")
    names = [files] if isinstance(files, str) else [v for k, v in values.items() if _LISTED.fullmatch(k)]
    config = TrainingConfig(
        source=source,
        train_files=tuple(n for n in names if isinstance(n, str)),
        **found,  # type: ignore[arg-type]
    )
    return config if config.known else None


_LISTED = re.compile(r"data\.train_files\.\d+")


def _value(field: str, value: Scalar) -> object:
    if field in _TEXTS:
        return value if isinstance(value, str) and value else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if field in _FLOATS:
        return float(value)
    return int(value) if float(value).is_integer() else None
