"""Responses that training saved, with the scores it recorded: every known form is read into one.

Forms (DOMAIN.md of the project's users): a `torch.save` dict of id tensors with masks and scores, the same as lists of
strings, and verl's rollout JSONL.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from critictui.scoring.recipe import ScoringError
from critictui.worker.read_pt import PlainError, load_plain
from critictui.worker.tokens import Ids

_MOST = 4096
"""Responses replayed at most: enough to tell recipes apart, and bounded work for a full dump of a run."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedResponse:
    """One response as training saw it; ids where they were saved, text otherwise."""

    prompt_ids: Ids | None
    prompt_text: str | None
    """The prompt as text; for rollout dumps the rendered template without its special tokens."""
    ids: Ids | None
    text: str | None
    score: float
    role: str
    pair: int
    """Teacher and student of one number belong together; -1 where there are no pairs."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What a file of saved responses holds."""

    path: str
    form: str
    """ids, texts or rollout."""
    responses: tuple[SavedResponse, ...]
    step: int | None
    recorded_d_acc: float | None


def read_samples(path: Path) -> Samples:
    """Read a file of saved responses. Raises ScoringError that names the file and what it lacks.

    Archives are read with `weights_only=True`, so that no code in them can run.
    """
    try:
        if path.suffix in {".jsonl", ".json"}:
            return _rollout(path)
        value = load_plain(path)
    except OSError as error:
        raise ScoringError(f"{path}: cannot be read ({error.strerror}); pass the file that training saved") from error
    except PlainError as error:
        raise ScoringError(
            f"{path}: no archive of plain tensors and lists ({error}); save some hundred responses as such"
        ) from error
    if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        value = {key: [row.get(key) for row in value] for key in value[0]}
    if not isinstance(value, Mapping):
        raise ScoringError(f"{path}: holds {type(value).__name__}, not a dict of responses and scores")
    return _archive(path, value)


def _archive(path: Path, value: Mapping[object, object]) -> Samples:
    scores = {role: _floats(value.get(f"{role}_scores")) for role in ("teacher", "student")}
    if not any(len(s) for s in scores.values()):
        raise ScoringError(f"{path}: holds neither teacher_scores nor student_scores: there is nothing to compare with")
    tensors = isinstance(value.get("teacher_responses", value.get("student_responses")), torch.Tensor)
    responses: list[SavedResponse] = []
    for role, recorded in scores.items():
        found = value.get(f"{role}_responses")
        if found is None or not len(recorded):
            continue
        texts = [None] * len(recorded) if tensors else _texts(path, found)
        ids = _response_ids(path, value, role) if tensors else [None] * len(recorded)
        prompts = _prompts(path, value, max(len(ids), len(texts)), tensors=tensors)
        if not len(recorded) == len(ids) == len(texts):
            raise ScoringError(f"{path}: {len(recorded)} {role} scores for {max(len(ids), len(texts))} responses")
        for number, score in enumerate(recorded[:_MOST]):
            prompt_ids, prompt_text = prompts[number % len(prompts)]
            responses.append(
                SavedResponse(prompt_ids, prompt_text, ids[number], texts[number], float(score), role, number)
            )
    if not responses:
        raise ScoringError(f"{path}: holds scores but no teacher_responses or student_responses")
    return Samples(
        str(path),
        "ids" if tensors else "texts",
        tuple(responses),
        _whole(value.get("step")),
        _one(value.get("batch_d_acc")),
    )


def _response_ids(path: Path, value: Mapping[object, object], role: str) -> list[Ids | None]:
    tokens = value.get(f"{role}_responses")
    mask = value.get(f"{role}_response_mask", value.get(f"{role}_responses_mask"))
    if not isinstance(tokens, torch.Tensor) or tokens.ndim != 2:
        raise ScoringError(f"{path}: {role}_responses must be a (responses, length) tensor of token ids")
    if mask is None and role == "student":
        mask = value.get("response_mask")
    if not isinstance(mask, torch.Tensor) or mask.shape != tokens.shape:
        raise ScoringError(f"{path}: {role}_response_mask is missing or has another shape than {role}_responses")
    return [row[keep.bool()].to(torch.int64).numpy() for row, keep in zip(tokens, mask, strict=True)]


def _prompts(
    path: Path, value: Mapping[object, object], n: int, *, tensors: bool
) -> list[tuple[Ids | None, str | None]]:
    if not tensors:
        texts = value.get("prompts", value.get("prompt"))
        if texts is None:
            raise ScoringError(f"{path}: holds no prompts; save them beside the responses")
        return [(None, t) for t in _texts(path, texts)]
    ids = value.get("prompts", value.get("prompt_ids", value.get("input_ids")))
    mask = value.get("prompt_mask", value.get("prompt_attention_mask", value.get("attention_mask")))
    if not isinstance(ids, torch.Tensor) or ids.ndim != 2:
        raise ScoringError(f"{path}: input_ids must be a (responses, length) tensor of token ids")
    if not isinstance(mask, torch.Tensor) or mask.shape[0] != ids.shape[0] or mask.shape[1] < ids.shape[1]:
        raise ScoringError(f"{path}: attention_mask is missing or has another shape than input_ids")
    width = _prompt_width(ids, value.get("student_responses"))
    out: list[tuple[Ids | None, str | None]] = []
    for row, keep in zip(ids[:, :width], mask[:, :width], strict=True):
        out.append((row[keep.bool()].to(torch.int64).numpy(), None))
    if n % max(len(out), 1):
        raise ScoringError(f"{path}: {len(out)} prompts for {n} responses")
    return out


def _prompt_width(ids: torch.Tensor, responses: object) -> int:
    """verl's input_ids are the prompt followed by the student's response; the prompt alone is seen too."""
    width = int(ids.shape[1])
    if isinstance(responses, torch.Tensor) and responses.shape[0] == ids.shape[0]:
        tail = int(responses.shape[1])
        if tail < width and torch.equal(ids[:, width - tail :], responses.to(ids.dtype)):
            return width - tail
    return width


def _rollout(path: Path) -> Samples:
    """verl's `rollout_data_dir`: one object a line with input, output and score."""
    responses: list[SavedResponse] = []
    step: int | None = None
    with path.open("rb") as lines:
        for line in lines:
            if len(responses) >= _MOST:
                break
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if (
                not isinstance(row, dict)
                or not isinstance(row.get("input"), str)
                or not isinstance(row.get("output"), str)
            ):
                continue
            score = row.get("score")
            if isinstance(score, int | float):
                step = row["step"] if isinstance(row.get("step"), int) else step
                responses.append(SavedResponse(None, row["input"], None, row["output"], float(score), "student", -1))
    if not responses:
        raise ScoringError(f"{path}: no line with input, output and score; pass a file of verl's rollout_data_dir")
    return Samples(str(path), "rollout", tuple(responses), step, None)


def _texts(path: Path, value: object) -> list[str | None]:
    if not isinstance(value, Sequence) or not all(isinstance(t, str) for t in value):
        raise ScoringError(f"{path}: prompts and responses must be lists of text, or tensors of ids with masks")
    return list(value)


def _floats(value: object) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        return value.detach().to(torch.float64).reshape(-1).numpy()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return np.array([_one(v) if _one(v) is not None else math.nan for v in value], np.float64)
    return np.empty(0)


def _one(value: object) -> float | None:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    number = _one(value)
    return int(number) if number is not None and math.isfinite(number) else None
