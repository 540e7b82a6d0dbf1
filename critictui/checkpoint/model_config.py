"""A checkpoint's `config.json`: found by place, read with limits, and never believed about what the model is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from critictui.checkpoint.beside import OF_NO_ACCOUNT
from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.weights import parse_json, reading

_MAX_BYTES = 8 << 20
_NO_DIFFERENCE = frozenset({"bos_token_id", "eos_token_id", "initializer_range", "pad_token_id"})
"""Beside what no score depends on: ends are taken from both, and an audit alone asks how weights were initialised."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelConfig:
    """What a configuration says."""

    path: Path
    values: dict[str, object]

    def number(self, key: str) -> int | None:
        """An integer from the text part of the configuration (multi-modal models nest it), None if it is not there."""
        for values in (self.values, self.values.get("text_config")):
            if isinstance(values, dict):
                value = values.get(key)
                if isinstance(value, int) and not isinstance(value, bool):
                    return value
        return None

    @property
    def architecture(self) -> str:
        """What it claims to be; often wrong."""
        names = self.values.get("architectures")
        return str(names[0])[:80] if isinstance(names, list) and names else ""

    @property
    def initializer_range(self) -> float:
        """Standard deviation of the initial weights, 0.02 where it is not said (as transformers has it)."""
        value = self.values.get("initializer_range")
        return float(value) if isinstance(value, float | int) and 0 < value < 10 else 0.02


def config_path(path: Path) -> Path | None:
    """Where the config of the checkpoint in `path` lies: beside the weights, else in `huggingface/` (verl), or None."""
    return next(iter(_config_paths(path)), None)


def _config_paths(path: Path) -> list[Path]:
    return [p for p in (path / "config.json", path / "huggingface" / "config.json") if p.is_file()]


def read_config(path: Path) -> ModelConfig:
    """The configuration of the checkpoint in `path`.

    Raises CheckpointError where there is none, it is damaged, or another one in `huggingface/` contradicts it.
    """
    places = _config_paths(path)
    if not places:
        raise CheckpointError(f"{path}: no config.json here or in huggingface/; copy the model's config there")
    own, *others = (ModelConfig(place, _read(place)) for place in places)
    for other in others:
        key = contradiction(own.values, other.values)
        if key:
            raise CheckpointError(
                f"{own.path}: contradicts {other.path.relative_to(path)} in {key}; remove the one that is not of these "
                "weights"
            )
    return own


def _read(place: Path) -> dict[str, object]:
    with reading(place):
        if place.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{place}: too large for a config; not read")
        return parse_json(place)


def contradiction(one: Mapping[str, object], other: Mapping[str, object]) -> str:
    """The first key of which two configurations say different things that a score depends on; empty where none is.

    What only one of them says is a default that another version wrote out.
    """
    one, other = _with_theta(one), _with_theta(other)
    for key in sorted(one.keys() & other.keys()):
        if key in OF_NO_ACCOUNT or key in _NO_DIFFERENCE or key.startswith("_") or key.endswith(("dropout", "pdrop")):
            continue
        mine, its = one[key], other[key]
        if isinstance(mine, dict) and isinstance(its, dict):
            within = contradiction(mine, its)
            if within:
                return f"{key}.{within}"
        elif mine is not None and its is not None and mine != its:
            return f"{key} ({mine!s:.40} and {its!s:.40})"
    return ""


def _with_theta(values: Mapping[str, object]) -> Mapping[str, object]:
    """The base of the rotary frequencies where older versions have it too."""
    rope = values.get("rope_parameters")
    return {"rope_theta": rope["rope_theta"], **values} if isinstance(rope, dict) and "rope_theta" in rope else values
