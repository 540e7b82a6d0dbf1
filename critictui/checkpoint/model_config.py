"""A checkpoint's `config.json`: found by place, read with limits, and never believed about what the model is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.weights import parse_json, reading

_MAX_BYTES = 8 << 20


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
    """Where the config of the checkpoint in `path` lies: beside the weights or in `huggingface/` (verl), or None."""
    for place in (path / "huggingface" / "config.json", path / "config.json"):
        if place.is_file():
            return place
    return None


def read_config(path: Path) -> ModelConfig:
    """The configuration of the checkpoint in `path`. Raises CheckpointError where there is none or it is damaged."""
    place = config_path(path)
    if place is None:
        raise CheckpointError(f"{path}: no config.json here or in huggingface/; copy the model's config there")
    with reading(place):
        if place.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{place}: too large for a config; not read")
        return ModelConfig(place, parse_json(place))
