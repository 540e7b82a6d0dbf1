"""How a checkpoint behaves on a fixed set, as the worker's job `diagnose` measured it: typed at the door."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, standard deviation and range of n numbers; NaN where n is 0."""

    mean: float
    std: float
    min: float
    max: float
    n: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One response, for the per-sample debug view."""

    prompt_id: str
    role: str
    text_chars: int
    prompt_tokens: int
    response_tokens: int
    scored_tokens: int
    """Tokens under the pooling mask."""
    value_min: float
    value_max: float
    value_mean: float
    score: float
    ends_in_eos: bool
    truncated: bool
    text: str
    """The beginning of the response, at most 200 characters."""


@dataclass(frozen=True, slots=True, eq=False)
class Behaviour:
    """What the worker measured."""

    teacher: Spread
    student: Spread
    """Scores of responses."""
    values: Spread
    """Token values."""
    above_10: float
    """Share of token values with |value| > 10."""
    profile_teacher: tuple[float, ...]
    profile_student: tuple[float, ...]
    """Mean value in equal parts of the response, first token to last."""
    first_token_std: float
    last_token_std: float
    d_acc: float
    d_acc_low: float
    d_acc_high: float
    margin: float
    tie_rate: float
    pairs: int
    prompts: int
    non_finite: int
    truncated: float
    """Share of responses that were cut."""
    echoed: float
    """Share of student responses that begin with their prompt."""
    garbled: float
    """Share of prompts that are Python's repr of a chat."""
    eos_teacher: float
    eos_student: float
    """Shares of responses whose ids end in EOS."""
    differing_ends: str
    """Which tokens end how many responses of each side, in words; empty where it is one token."""
    eos_shift: float
    """Mean change of a score when EOS is left out or put in, over the responses that end in EOS."""
    length_spearman: float
    second_load: float
    """Largest difference between the scores of two loads under different seeds; NaN when not tried."""
    tokenizer: str
    fixed_set_tokenizer: str
    """Hashes; empty where unknown."""
    template: str
    fixed_set_template: str
    samples: tuple[Sample, ...]
    recipe_eos: str


def behaviour_from(result: Mapping[str, object]) -> Behaviour:
    """The `diagnose` job's JSON to a Behaviour; null numbers become NaN."""
    values: dict[str, object] = {}
    for name, kind in Behaviour.__annotations__.items():
        raw = result.get(name)
        if kind == "Spread":
            values[name] = _spread(cast("Mapping[str, object]", raw or {}))
        elif kind == "tuple[float, ...]":
            values[name] = tuple(_number(v) for v in cast("Sequence[object]", raw or ()))
        elif kind == "tuple[Sample, ...]":
            values[name] = tuple(_sample(v) for v in cast("Sequence[Mapping[str, object]]", raw or ()))
        elif kind == "int":
            values[name] = int(cast("int", raw or 0))
        elif kind == "str":
            values[name] = str(raw or "")
        else:
            values[name] = _number(raw)
    return Behaviour(**values)  # type: ignore[arg-type]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _spread(value: Mapping[str, object]) -> Spread:
    n = value.get("n")
    mean, std, low, high = (_number(value.get(k)) for k in ("mean", "std", "min", "max"))
    return Spread(mean, std, low, high, n if isinstance(n, int) else 0)


def _sample(value: Mapping[str, object]) -> Sample:
    fields: dict[str, object] = {}
    for name, kind in Sample.__annotations__.items():
        raw = value.get(name)
        fields[name] = _number(raw) if kind == "float" else raw
    return Sample(**fields)  # type: ignore[arg-type]
