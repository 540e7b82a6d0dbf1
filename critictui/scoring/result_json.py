"""A ScoreResult as strict JSON and back: no NaN token ever leaves, and nothing malformed comes in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from critictui.scoring.recipe import ScoringError, recipe_from
from critictui.scoring.result import SCHEMA, FixedSetRef, ScoreResult, told_interval

_TEXTS = ("checkpoint", "checkpoint_fingerprint", "device", "dtype")
_NUMBERS = (
    "d_acc",
    "d_acc_soft",
    "d_acc_ties_win",
    "tie_rate",
    "teacher_score_mean",
    "student_score_mean",
    "teacher_score_std",
    "student_score_std",
    "score_diff",
    "score_range",
    "auc",
    "length_bias",
)


def result_to_json(result: ScoreResult) -> dict[str, object]:
    """The contract's object. What is not finite becomes null, and a warning names it."""
    missing = [name for name in _NUMBERS if not math.isfinite(getattr(result, name))]
    warnings = list(result.warnings)
    note = f"not finite: {', '.join(missing)}"
    if missing and note not in warnings:
        warnings.append(note)
    reference = result.fixed_set
    made: dict[str, object] = {
        "schema": SCHEMA,
        "step": result.step,
        "checkpoint": result.checkpoint,
        "checkpoint_fingerprint": result.checkpoint_fingerprint,
        "fixed_set": {
            "path": reference.path,
            "sha256": reference.sha256,
            "prompts": reference.prompts,
            "pairs": reference.pairs,
        },
        "recipe": result.recipe,
        "d_acc": result.d_acc,
        "d_acc_ci": result.d_acc_ci,
        "d_acc_soft": result.d_acc_soft,
        "d_acc_ties_win": result.d_acc_ties_win,
        "tie_rate": result.tie_rate,
        "pairs": result.pairs,
        "prompts": result.prompts,
        **{name: getattr(result, name) for name in _NUMBERS[4:]},
        "values": result.values,
        "warnings": warnings,
        "tokens": result.tokens,
        "seconds": result.seconds,
        "device": result.device,
        "dtype": result.dtype,
        "versions": result.versions,
        "extra": result.extra,
    }
    strict = strict_json(made)
    assert isinstance(strict, dict)
    return strict


def strict_json(value: object) -> object:
    """The value with JSON's own types only: tuples as lists, not finite as null, no lone surrogates."""
    if isinstance(value, Mapping):
        return {str(k): strict_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict_json(v) for v in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return strict_json(str(value))
    if hasattr(value, "item"):
        return strict_json(value.item())
    raise TypeError(f"{type(value).__name__} is no JSON value")


def result_from_json(value: object, path: Path | None = None) -> ScoreResult:
    """Read a result; null numbers become NaN. Raises ScoringError that says what is wrong with it."""
    where = path if path is not None else "result"
    if not isinstance(value, dict):
        raise ScoringError(f"{where}: not a JSON object")
    if value.get("schema") != SCHEMA:
        raise ScoringError(
            f"{where}: schema {value.get('schema')!r:.40}, this version reads {SCHEMA}; update critictui"
        )
    try:
        return _read(value, path)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ScoringError(f"{where}: not a score result ({type(error).__name__}: {error!s:.80})") from None


def _read(value: dict[str, object], path: Path | None) -> ScoreResult:
    reference = _mapping(value["fixed_set"])
    low, high = _list(value["d_acc_ci"])
    step, extra = value["step"], _mapping(value.get("extra", {}))
    return ScoreResult(
        step=None if step is None else _whole(step),
        fixed_set=FixedSetRef(
            path=_text(reference["path"]),
            sha256=_text(reference["sha256"]),
            prompts=_whole(reference["prompts"]),
            pairs=_whole(reference["pairs"]),
        ),
        recipe=recipe_from(_mapping(value["recipe"])).to_dict(),
        # older files hold Wilson's here
        d_acc_ci=told_interval((_number(low), _number(high)), extra.get("d_acc_ci_cluster")),
        pairs=_whole(value["pairs"]),
        prompts=_whole(value["prompts"]),
        values={k: _number(v) for k, v in _mapping(value["values"]).items()},
        warnings=tuple(_text(w) for w in _list(value["warnings"])),
        tokens=_whole(value["tokens"]),
        seconds={k: _number(v) for k, v in _mapping(value["seconds"]).items()},
        versions={k: _text(v) for k, v in _mapping(value["versions"]).items()},
        extra=extra,
        path=path,
        **{name: _text(value[name]) for name in _TEXTS},  # type: ignore[arg-type]
        **{name: _number(value[name]) for name in _NUMBERS},  # type: ignore[arg-type]
    )


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("an object was expected")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("a list was expected")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text was expected")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("a whole number was expected")
    return value


def _number(value: object) -> float:
    if value is None:
        return float("nan")
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError("a number was expected")
    return float(value)


def dumps(result: ScoreResult) -> str:
    """As its file holds it: one object, indented, with a newline at its end."""
    return json.dumps(result_to_json(result), ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def at(result: ScoreResult, path: Path) -> ScoreResult:
    """The same result with the place it was saved to."""
    return replace(result, path=path)
