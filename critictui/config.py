"""Configuration: files, environment and flags go in, one frozen Config and a list of complaints come out."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from critictui.places import config_dir

Threshold = float | int | bool | str

_EMPTY: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """`[profiles.NAME]`: a trainer of the user's own, or more of one that is built in."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    """A tag as it is written to the canonical name it means."""
    recognised_by: tuple[str, ...] = ()
    """Tags of which one is enough; `*` stands for any text."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a threshold is by default, and what it may be: a number from `low` to `high`."""

    default: float
    low: float
    high: float
    whole: bool = False
    of_metric: float | None = None
    """The largest in the table of one metric, where that has a scale of its own."""

    def why_not(self, value: object, *, of_metric: bool = False) -> str:
        """What would do, in words, where `value` would not; '' where it is one."""
        high = self.of_metric if of_metric and self.of_metric is not None else self.high
        if isinstance(value, (int, float)) and self._is_one(value, high):
            return ""
        return f"must be {'a whole number' if self.whole else 'a number'} {self.span(high)}"

    def _is_one(self, value: float, high: float) -> bool:
        return not isinstance(value, bool) and self.low <= value <= high and (not self.whole or value % 1 == 0)

    def span(self, high: float | None = None) -> str:
        """`from 0 to 1`, or `from 1 on` where there is no end that anybody would meet."""
        high = self.high if high is None else high
        return f"from {self.low:g} " + (f"to {high:g}" if high < ENDLESS else "on")


ENDLESS = 1e6
"""A threshold of this size is as good as none."""


@dataclass(frozen=True, slots=True)
class Known:
    """The names that a configuration may refer to, told by the room that has them."""

    metrics: tuple[str, ...]
    """Canonical names, those of a critic first."""
    profiles: tuple[str, ...]
    rules: Mapping[str, Mapping[str, Limits]] = field(default_factory=dict)
    """Rule id to the thresholds that it has; without any they are taken as they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Config:
    """What a user may set. Later layers win: defaults, user file, run file, environment, flags."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    """A tag as it is written to the canonical name it means."""
    profile: str = "auto"
    """Whose spelling the run uses; `auto`: it is recognised by its tags and the form of its files."""
    profiles: Mapping[str, ProfileSettings] = field(default_factory=dict)
    """The user's own profiles, by name."""
    thresholds: Mapping[str, Mapping[str, Threshold]] = field(default_factory=dict)
    """Rule id, or `rule id:metric` for one metric alone, to its settings."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Binding id to the keys that trigger it, comma separated."""
    theme: str = "critic-dark"
    """By name; `T` on the screen shows them all, and its choice is remembered for each run."""
    recipe: str | Mapping[str, object] = "auto"
    """A preset, `preset,key=value,...` or a table; `auto`: TRL's where TRL's RewardTrainer wrote the checkpoint, else
    `gad-fork`."""
    fixed_set: str = ""
    """Path of the fixed set; relative to the run directory."""
    tokenizer: str = ""
    """Folder of a tokenizer that stands in for the checkpoint's own; relative to the run directory."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """What `prompt`, `teacher_response` and `student_response` are called in a fixed set of rows."""
    launch: str = "local"
    """Where a score is made: local, slurm or ray."""
    launchers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """`[launch.slurm]` and `[launch.ray]`: what to ask the cluster for."""
    device: str = "auto"
    """Where the worker computes: auto, cpu, cuda:0 ..."""
    stage: str = "auto"
    """auto, warmup or adversarial: what a falling margin means."""
    pairs_per_step: int | None = None
    """Teacher-student pairs behind one logged d_acc, where known."""
    refresh: float = 4.0
    """Frames a second at most."""
    ascii: bool = False
    """Draw with ASCII alone; by itself where the terminal or the locale has nothing else."""
    bell: bool = True
    """Ring the terminal's bell at a new critical alert."""
    auto_score: bool = False
    """Score each new complete checkpoint by itself."""
    read_only: bool = False
    """Write nothing into the run directory; alarm log and scores go to the user's state directory."""
    notify: Mapping[str, object] = field(default_factory=dict)
    """`command`, `webhook`, `apprise` (list of addresses), `min_severity`, `min_seconds`, `resolved` (false: only what
    begins)."""
    notices: tuple[str, ...] = ()
    """One sentence for every value that was not usable; the default stands in for it."""


_TYPES: dict[str, tuple[type, ...]] = {
    "aliases": (dict,),
    "profile": (str,),
    "profiles": (dict,),
    "thresholds": (dict,),
    "keys": (dict,),
    "theme": (str,),
    "recipe": (str, dict),
    "fixed_set": (str,),
    "tokenizer": (str,),
    "columns": (dict,),
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
    return config_dir() / "config.toml"


def load_config(
    run_dir: Path | None = None,
    *,
    explicit: Path | None = None,
    flags: Mapping[str, object] = _EMPTY,
    environ: Mapping[str, str] | None = None,
    known: Known | None = None,
) -> Config:
    """All layers merged. Never raises for a bad value: it becomes a notice and the default stays.

    known: without it aliases and the profile are taken as they are.
    """
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
        config = _merge(config, _Layer(where, notices, known), values)
    if known is not None and config.profile not in {"auto", *known.profiles, *config.profiles}:
        names = ", ".join(("auto", *known.profiles, *config.profiles))
        where = next(where for where, values in reversed(layers) if "profile" in values)
        notices.append(f"{where}: profile = {config.profile!r:.60} is not one of {names}")
        config = replace(config, profile="auto")
    return replace(config, notices=tuple(notices))


def _read(path: Path, notices: list[str]) -> Mapping[str, object]:
    try:
        if not path.is_file():
            return {}
        if path.stat().st_size > _LARGEST_FILE:
            notices.append(f"{path}: larger than 1 MiB, not read; a configuration is a few lines of TOML")
            return {}
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no TOML, an integer of 5000 digits
        notices.append(f"{path}: not read ({str(error)[:200]}); the defaults are used")
        return {}


def _is_sized(value: object) -> bool:
    """Whether every number in it is finite and fits 64 bits: no room has to ask again."""
    if isinstance(value, dict):
        return all(map(_is_sized, value.values()))
    if isinstance(value, list):
        return all(map(_is_sized, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < 1 << 63


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


@dataclass(frozen=True, slots=True)
class _Layer:
    """Where values come from, and to whom complaints about them go."""

    where: str
    notices: list[str]
    known: Known | None

    def say(self, text: str) -> None:
        self.notices.append(f"{self.where}: {text}")


def _merge(config: Config, layer: _Layer, values: Mapping[str, object]) -> Config:
    changes: dict[str, object] = {}
    for key, value in values.items():
        types = _TYPES.get(key)
        if types is None:
            layer.say(f"{key!r} is no setting; there are {', '.join(_TYPES)}")
            continue
        if not _is_sized(value):
            layer.say(f"{key}: a number in it is beyond 64 bits, or none")
            continue
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            layer.say(f"{key} must be {' or '.join(t.__name__ for t in types)}, not {value!r:.60}")
            continue
        if key == "launch" and isinstance(value, dict):
            changes |= _launch(config, layer, value)
            continue
        if key in _CHOICES and value not in _CHOICES[key]:
            layer.say(f"{key} = {value!r:.60} is not one of {', '.join(_CHOICES[key])}")
            continue
        if key == "refresh" and not 0.1 <= float(str(value)) <= 30:
            layer.say(f"refresh = {value} is not between 0.1 and 30 frames a second")
            continue
        changes[key] = _cleaned(config, layer, key, value)
    return replace(config, **changes)  # type: ignore[arg-type]


def _cleaned(config: Config, layer: _Layer, key: str, value: object) -> object:
    if not isinstance(value, dict) or key == "recipe":
        return value
    if key == "aliases":
        return {**config.aliases, **_only_aliases(layer, "aliases", value)}
    if key == "profiles":
        return {**config.profiles, **_profiles(config, layer, value)}
    if key in {"keys", "columns"}:
        return {**getattr(config, key), **_only_text(layer, key, value)}
    if key == "thresholds":
        return {**config.thresholds, **_thresholds(layer, value)}
    return {**getattr(config, key), **value}


def _launch(config: Config, layer: _Layer, table: dict[str, object]) -> dict[str, object]:
    """The table `[launch]`: `where` says where, a table each launcher's settings."""
    changes: dict[str, object] = {}
    launchers = dict(config.launchers)
    for name, value in table.items():
        settings = LAUNCH_SETTINGS.get(name)
        if name == "where" and value in _CHOICES["launch"]:
            changes["launch"] = value
        elif settings is None or not isinstance(value, dict):
            names = ", ".join(_CHOICES["launch"])
            layer.say(f"launch.{name} is not `where` (one of {names}), [launch.slurm] or [launch.ray]")
        else:
            launchers[name] = {**launchers.get(name, {}), **_of_kinds(layer, f"launch.{name}", value, settings)}
    return {**changes, "launchers": launchers}


def _of_kinds(
    layer: _Layer, name: str, values: dict[str, object], settings: dict[str, tuple[type, ...]]
) -> dict[str, object]:
    good: dict[str, object] = {}
    for key, value in values.items():
        types = settings.get(key, ())
        if isinstance(value, types) and not isinstance(value, bool):
            good[key] = value
        else:
            kinds = " or ".join(t.__name__ for t in types)
            layer.say(f"{name}.{key} " + (f"must be {kinds}" if types else f"is no setting: {', '.join(settings)}"))
    return good


def _only_text(layer: _Layer, name: str, value: dict[str, object]) -> dict[str, str]:
    good = {str(k): v for k, v in value.items() if isinstance(v, str)}
    for key in value.keys() - good.keys():
        layer.say(f"{name}.{key} must be text")
    return good


def _only_aliases(layer: _Layer, name: str, value: dict[str, object]) -> dict[str, str]:
    """Aliases that lead to a metric."""
    aliases = _only_text(layer, name, value)
    if layer.known is None:
        return aliases
    metrics = layer.known.metrics
    for tag, metric in aliases.items():
        if metric not in metrics:
            like = [known for known in metrics if known.rpartition("/")[2] == metric.rpartition("/")[2]]
            meant = f"did you mean {like[0]}?" if like else f"there are {', '.join(metrics)}"
            layer.say(f"{name}.{tag} = {metric!r:.80}: no metric has this name; {meant}")
    return {tag: metric for tag, metric in aliases.items() if metric in metrics}


def _profiles(config: Config, layer: _Layer, value: dict[str, object]) -> dict[str, ProfileSettings]:
    good = {}
    for name, table in value.items():
        here = f"profiles.{name}"
        if not isinstance(table, dict):
            layer.say(f"{here} must be a table, as in [{here}]")
            continue
        for key in sorted(table.keys() - {"aliases", "recognised_by"}):
            layer.say(f"{here}.{key} is no setting: aliases, recognised_by")
        before = config.profiles.get(name, ProfileSettings())
        aliases, marks = table.get("aliases", {}), table.get("recognised_by", [])
        if not isinstance(aliases, dict):
            layer.say(f"{here}.aliases must be a table, as in [{here}.aliases]")
            aliases = {}
        if not isinstance(marks, list) or not all(isinstance(mark, str) and mark for mark in marks):
            layer.say(f"{here}.recognised_by must be a list of tags, as in ['my/accuracy', 'my/*']")
            marks = []
        aliases = {**before.aliases, **_only_aliases(layer, f"{here}.aliases", aliases)}
        good[name] = ProfileSettings(aliases, (*before.recognised_by, *marks))
    return good


def _thresholds(layer: _Layer, value: dict[str, object]) -> dict[str, dict[str, Threshold]]:
    good: dict[str, dict[str, Threshold]] = {}
    rules = layer.known.rules if layer.known is not None else {}
    for name, settings in value.items():
        if not isinstance(settings, dict):
            layer.say(f"thresholds.{name} must be a table, as in [thresholds.{name}]")
            continue
        rule, _, metric = name.partition(":")
        if rules and rule not in rules:
            layer.say(f"thresholds.{name}: there is no such rule; there are {', '.join(rules)}")
            continue
        good[name] = kept = {}
        for key, setting in settings.items():
            problem = threshold_problem(rules[rule], key, setting, of_metric=bool(metric)) if rules else ""
            if problem:
                layer.say(f"thresholds.{name}.{key} {problem}")
            elif isinstance(setting, (int, float, str)):
                kept[key] = setting
    return good


def threshold_problem(known: Mapping[str, Limits], key: str, value: object, *, of_metric: bool) -> str:
    """Why a threshold cannot be used, and what would do, as the end of a sentence; '' where it can."""
    if key == "enabled":
        return "" if isinstance(value, bool) else f"must be true or false, not {value!r:.60}; the rule stays on"
    if key not in known:
        return f"is no setting: enabled, {', '.join(known)}"
    said = known[key].why_not(value, of_metric=of_metric)
    return f"{said}, not {value!r:.60}; {known[key].default:g} is used" if said else ""
