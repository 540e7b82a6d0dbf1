"""Configuration: files, environment and flags go in, one frozen Config and a list of complaints come out."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import platformdirs

Threshold = float | int | bool | str

_EMPTY: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Config:
    """What a user may set. Later layers win: defaults, user file, run file, environment, flags."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    """A tag as it is written to the canonical name it means."""
    thresholds: Mapping[str, Mapping[str, Threshold]] = field(default_factory=dict)
    """Rule id, or `rule id:metric` for one metric alone, to its settings."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Binding id to the keys that trigger it, comma separated."""
    theme: str = "critic-dark"
    recipe: str | Mapping[str, object] = "auto"
    """A preset, `preset,key=value,...` or a table; `auto`: TRL's where TRL's RewardTrainer wrote the checkpoint, else
    `gad-fork`."""
    fixed_set: str = ""
    """Path of the fixed set; relative to the run directory."""
    launch: str = "local"
    """Where a score is made: local, slurm or ray."""
    launchers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """`[launch.slurm]` and `[launch.ray]`: what to ask the cluster for."""
    device: str = "auto"
    stage: str = "auto"
    """auto, warmup or adversarial: what a falling margin means."""
    pairs_per_step: int | None = None
    """Teacher-student pairs behind one logged d_acc, where known."""
    refresh: float = 4.0
    """Frames a second at most."""
    ascii: bool = False
    bell: bool = True
    auto_score: bool = False
    read_only: bool = False
    notify: Mapping[str, object] = field(default_factory=dict)
    """`command`, `webhook`, `apprise` (list of addresses), `min_severity`, `min_seconds`."""
    notices: tuple[str, ...] = ()
    """One sentence for every value that was not usable; the default stands in for it."""


_TYPES: dict[str, tuple[type, ...]] = {
    "aliases": (dict,),
    "thresholds": (dict,),
    "keys": (dict,),
    "theme": (str,),
    "recipe": (str, dict),
    "fixed_set": (str,),
    "launch": (str, dict),
    "device": (str,),
    "stage": (str,),
    "pairs_per_step": (int,),
    "refresh": (int, float),
    "ascii": (bool,),
    "bell": (bool,),
    "auto_score": (bool,),
    "read_only": (bool,),
    "notify": (dict,),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "launch": ("local", "slurm", "ray"),
    "stage": ("auto", "warmup", "adversarial"),
}
LAUNCH_SETTINGS: dict[str, dict[str, tuple[type, ...]]] = {
    "slurm": {"partition": (str,), "time": (str,), "account": (str,), "gpus": (int, str), "extra": (list,)},
    "ray": {"address": (str,), "gpus": (int, float), "extra": (dict,)},
}
"""What `[launch.slurm]` and `[launch.ray]` may say."""
_LARGEST_FILE = 1 << 20


def user_config_path() -> Path:
    """`~/.config/critictui/config.toml`, or where the platform keeps such files."""
    return platformdirs.user_config_path("critictui") / "config.toml"


def load_config(
    run_dir: Path | None = None,
    *,
    explicit: Path | None = None,
    flags: Mapping[str, object] = _EMPTY,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """All layers merged. Never raises for a bad value: it becomes a notice and the default stays."""
    config = Config()
    notices: list[str] = []
    layers: list[tuple[str, Mapping[str, object]]] = []
    paths = [user_config_path()]
    if run_dir is not None:
        paths.append((run_dir if run_dir.is_dir() else run_dir.parent) / "critictui.toml")
    if explicit is not None:
        paths.insert(1, explicit)
        if not explicit.is_file():
            notices.append(f"{explicit}: no such file; pass an existing TOML file to --config")
    for path in paths:
        values = _read(path, notices)
        if values:
            layers.append((str(path), values))
    layers.append(("environment", _from_environment(os.environ if environ is None else environ)))
    layers.append(("command line", {k: v for k, v in flags.items() if v is not None}))
    for where, values in layers:
        config = _merge(config, where, values, notices)
    return replace(config, notices=tuple(notices))


def _read(path: Path, notices: list[str]) -> Mapping[str, object]:
    try:
        if not path.is_file():
            return {}
        if path.stat().st_size > _LARGEST_FILE:
            notices.append(f"{path}: larger than 1 MiB, not read; a configuration is a few lines of TOML")
            return {}
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        notices.append(f"{path}: not read ({error}); the defaults are used")
        return {}


def _from_environment(environ: Mapping[str, str]) -> Mapping[str, object]:
    """`CRITICTUI_THEME=...` and so on, for the fields that one word can set."""
    values: dict[str, object] = {}
    for name, types in _TYPES.items():
        text = environ.get(f"CRITICTUI_{name.upper()}")
        if text is None or (dict in types and str not in types):
            continue
        if bool in types:
            values[name] = text.lower() in {"1", "true", "yes", "on"}
        elif int in types or float in types:
            try:
                values[name] = float(text) if float in types else int(text)
            except ValueError:
                values[name] = text
        else:
            values[name] = text
    return values


def _merge(config: Config, where: str, values: Mapping[str, object], notices: list[str]) -> Config:
    changes: dict[str, object] = {}
    for key, value in values.items():
        types = _TYPES.get(key)
        if types is None:
            notices.append(f"{where}: {key!r} is no setting; there are {', '.join(_TYPES)}")
            continue
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            notices.append(f"{where}: {key} must be {' or '.join(t.__name__ for t in types)}, not {value!r:.60}")
            continue
        if key == "launch" and isinstance(value, dict):
            changes |= _launch(config, where, value, notices)
            continue
        if key in _CHOICES and value not in _CHOICES[key]:
            notices.append(f"{where}: {key} = {value!r:.60} is not one of {', '.join(_CHOICES[key])}")
            continue
        if key == "refresh" and not 0.1 <= float(str(value)) <= 30:
            notices.append(f"{where}: refresh = {value} is not between 0.1 and 30 frames a second")
            continue
        changes[key] = _cleaned(config, where, key, value, notices)
    return replace(config, **changes)  # type: ignore[arg-type]


def _cleaned(config: Config, where: str, key: str, value: object, notices: list[str]) -> object:
    if not isinstance(value, dict) or key == "recipe":
        return value
    if key in {"aliases", "keys"}:
        return {**getattr(config, key), **_only_text(where, key, value, notices)}
    if key == "thresholds":
        return {**config.thresholds, **_only_tables(where, value, notices)}
    return {**getattr(config, key), **value}


def _launch(config: Config, where: str, table: dict[str, object], notices: list[str]) -> dict[str, object]:
    """The table `[launch]`: `where` says where, a table each launcher's settings."""
    changes: dict[str, object] = {}
    launchers = dict(config.launchers)
    for name, value in table.items():
        known = LAUNCH_SETTINGS.get(name)
        if name == "where" and value in _CHOICES["launch"]:
            changes["launch"] = value
        elif known is None or not isinstance(value, dict):
            names = ", ".join(_CHOICES["launch"])
            notices.append(f"{where}: launch.{name} is not `where` (one of {names}), [launch.slurm] or [launch.ray]")
        else:
            launchers[name] = {**launchers.get(name, {}), **_of_kinds(f"{where}: launch.{name}", value, known, notices)}
    return {**changes, "launchers": launchers}


def _of_kinds(
    where: str, values: dict[str, object], known: dict[str, tuple[type, ...]], notices: list[str]
) -> dict[str, object]:
    good: dict[str, object] = {}
    for key, value in values.items():
        types = known.get(key, ())
        if isinstance(value, types) and not isinstance(value, bool):
            good[key] = value
        else:
            kinds = " or ".join(t.__name__ for t in types)
            notices.append(f"{where}.{key} " + (f"must be {kinds}" if types else f"is no setting: {', '.join(known)}"))
    return good


def _only_text(where: str, key: str, value: object, notices: list[str]) -> dict[str, str]:
    assert isinstance(value, dict)
    good = {str(k): v for k, v in value.items() if isinstance(v, str)}
    notices.extend(f"{where}: {key}.{k} must be text" for k in value if str(k) not in good)
    return good


def _only_tables(where: str, value: object, notices: list[str]) -> dict[str, dict[str, Threshold]]:
    assert isinstance(value, dict)
    good: dict[str, dict[str, Threshold]] = {}
    for rule, settings in value.items():
        if not isinstance(settings, dict):
            notices.append(f"{where}: thresholds.{rule} must be a table, as in [thresholds.{rule}]")
            continue
        good[str(rule)] = {str(k): v for k, v in settings.items() if isinstance(v, (int, float, bool, str))}
    return good
