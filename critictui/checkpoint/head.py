"""The value head among a checkpoint's tensors: which one it is, its numbers, and whether training ever touched it."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from critictui.checkpoint.checkpoint import HeadFacts
from critictui.checkpoint.stored import StoredTensor

_FAMILIES = ("score", "v_head", "value_head", "classifier")
_ERROR = 0.001
"""How often an untouched head is called touched, over all tests of one kind of initialisation."""
_ENOUGH = 256
"""Weights below which a head that fits an initialisation proves nothing."""
_MISSING = (
    "the value head is missing: no score.*, v_head.*, value_head.* or classifier.* weight is stored; "
    "a loader would put a random one in its place"
)
_IN_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks?)\.\d+\.")
Initialised = Literal["no", "hf", "trl", "undecided"]


@dataclass(frozen=True, slots=True)
class HeadNames:
    """Which tensors could be a value head."""

    names: tuple[str, ...]
    weight: str | None
    bias: str | None
    problem: tuple[str, str] | None
    """(finding id, words) where it is not exactly one linear layer."""


def find_head(tensors: dict[str, StoredTensor]) -> HeadNames:
    """The value head by key names alone: `score.*`, `v_head.summary.*`, `v_head.*`, `value_head.*`, `classifier.*`."""
    names = tuple(sorted(name for name in tensors if is_head(name)))
    weights = [name for name in names if name.endswith("weight")]
    families = sorted({name.partition(".")[0] for name in names})
    if not weights:
        return HeadNames(
            names,
            None,
            None,
            ("head-missing", _MISSING),
        )
    if len(families) > 1:
        return HeadNames(names, None, None, ("head-duplicated", f"more than one value head: {', '.join(weights)}"))
    if len(weights) > 1:
        return HeadNames(
            names, None, None, ("wrong-shape", f"the value head has several layers ({', '.join(weights)}); one is read")
        )
    bias = weights[0].removesuffix("weight") + "bias"
    return HeadNames(names, weights[0], bias if bias in tensors else None, None)


def possible_heads(tensors: dict[str, StoredTensor], hidden: int | None) -> tuple[str, ...]:
    """Tensors under no known name that have a value head's shape, (1, hidden), and lie in no layer."""
    return tuple(
        sorted(
            name
            for name, tensor in tensors.items()
            if not is_head(name)
            and len(tensor.shape) == 2
            and tensor.shape[0] == 1
            and tensor.shape[1] == hidden
            and not _IN_LAYER.search(name)
        )
    )


def missing_words(possible: tuple[str, ...], hidden: int | None) -> str:
    """What is said where no head is stored under a name that is known."""
    if not possible:
        return _MISSING
    named = ", ".join(f"{name[:120]} (1x{hidden})" for name in possible[:3])
    return (
        f"no value head under a name that is known; {named} may be one: name it score.weight, as a token classifier's, "
        "and save the checkpoint again"
    )


def is_head(name: str) -> bool:
    """Whether a tensor of this (plain) name belongs to a value head."""
    return name.partition(".")[0] in _FAMILIES and name != "score"


def head_facts(
    weight: np.ndarray, bias: np.ndarray | None, names: HeadNames, shape: tuple[int, ...], init_std: float
) -> HeadFacts:
    """Statistics of the head. `weight` (hidden,) and `bias` (1,) as they are stored."""
    assert names.weight is not None
    raw = np.ascontiguousarray(weight, np.float32)
    raw_bias = None if bias is None else np.ascontiguousarray(bias, np.float32)
    digest = hashlib.sha256(raw.astype("<f4").tobytes())
    if raw_bias is not None:
        digest.update(raw_bias.astype("<f4").tobytes())
    every = raw if raw_bias is None else np.concatenate([raw, raw_bias])
    finite = raw[np.isfinite(raw)].astype(np.float64)
    some = finite.size > 0
    first_bias = None if raw_bias is None or raw_bias.size != 1 else float(raw_bias[0])
    return HeadFacts(
        weight_name=names.weight,
        bias_name=names.bias,
        shape=shape,
        mean=float(finite.mean()) if some else math.nan,
        std=float(finite.std()) if some else math.nan,
        norm=float(np.sqrt(np.square(finite).sum())) if some else math.nan,
        max_abs=float(np.abs(finite).max()) if some else math.nan,
        bias=first_bias,
        non_finite=int((~np.isfinite(every)).sum()),
        zero=bool(some and not raw.any()),
        sha256=digest.hexdigest(),
        looks_initialised=looks_initialised(raw, first_bias, init_std) if finite.size == raw.size else "no",
    )


def looks_initialised(weight: np.ndarray, bias: float | None, init_std: float = 0.02) -> Initialised:
    """Whether a head fits an initialisation that training left alone.

    hf: normal(0, init_std) with a zero bias (transformers' `_init_weights`). trl: `nn.Linear`'s uniform(+-1/sqrt(d))
    for weight and bias. Each is tested by mean, variance and Kolmogorov-Smirnov distance, and refused where one of them
    has a p-value under `_ERROR` / 3: an untouched head is called "no" about once in 1000. What fits is "undecided"
    where the head has under `_ENOUGH` weights, and so is a head that fits both; a trained head passes for untouched
    where training moved every weight by far less than `init_std` and left the bias at exactly 0 or there is none
    (measured: a spread that grew by 10 % is told from an initial one in 75 % of cases at d = 1024, 99 % at 2048).
    """
    d = weight.size
    values = weight.astype(np.float64).ravel()
    bound = 1 / math.sqrt(d) if d else 0.0
    slack = 1 + 2**-8  # of a copy in bfloat16, which rounds the largest ones up
    hf = (bias is None or bias == 0) and _fits(values / init_std, _normal_cdf(values / init_std), 1.0, d, kurtosis=3.0)
    inside = bool(d) and float(np.abs(values).max()) <= bound * slack and (bias is None or abs(bias) <= bound * slack)
    scaled = np.clip(values / bound, -1, 1) if d else values
    trl = inside and _fits(scaled, (scaled + 1) / 2, 1 / 3, d, kurtosis=1.8)
    if not hf and not trl:
        return "no"
    if d < _ENOUGH or (hf and trl):
        return "undecided"
    return "hf" if hf else "trl"


def _fits(values: np.ndarray, cdf: np.ndarray, variance: float, d: int, *, kurtosis: float) -> bool:
    """Whether mean, mean square and distribution agree with draws of mean 0 and this variance."""
    if d < 8:
        return True
    mean_z = float(values.mean()) * math.sqrt(d / variance)
    # the mean square of d draws has variance v; its cube root is close to normal (Wilson and Hilferty 1931)
    v = (kurtosis - 1) / d
    ratio = float(np.square(values).mean()) / variance
    third: float = ratio ** (1 / 3)
    square_z = (third - (1 - v / 9)) / math.sqrt(v / 9)
    ordered = np.sort(cdf)
    steps = np.arange(d + 1) / d
    distance = max(float(np.max(steps[1:] - ordered)), float(np.max(ordered - steps[:-1])))
    level = _ERROR / 3
    return _two_sided(mean_z) >= level and _two_sided(square_z) >= level and _kolmogorov(distance, d) >= level


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2))


def _kolmogorov(distance: float, n: int) -> float:
    """Asymptotic p-value with Stephens' (1970) correction for small n."""
    root = math.sqrt(n)
    x = (root + 0.12 + 0.11 / root) * distance
    if x < 0.2:
        return 1.0
    total = math.fsum((-1.0) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * total))


def _normal_cdf(values: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in values.tolist()])
