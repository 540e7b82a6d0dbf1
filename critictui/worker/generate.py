"""Student responses from a model on disk: sampled, and the same whatever the batch and the order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from critictui.scoring.endpoint import Sampling, row_seed
from critictui.scoring.fixed_set import Response
from critictui.scoring.recipe import ScoringError
from critictui.scoring.source_data import SourceRow
from critictui.worker import lanes
from critictui.worker.lanes import Lane
from critictui.worker.tokenizer import end_ids, read_tokenizer
from critictui.worker.tokens import prompt_ids

Report = Callable[[float, float], None]


def next_token(logits: NDArray[np.float32], sampling: Sampling, chance: float) -> int:
    """Draw a token as transformers does (temperature, then top-k, then top-p), `chance` in [0, 1) being the dice.

    In double precision from the logits on; equal probabilities are ordered by id. Temperature 0 takes the likeliest.
    """
    if sampling.temperature == 0:
        return int(np.argmax(logits))
    scaled = logits.astype(np.float64) / sampling.temperature
    order = np.argsort(-scaled, kind="stable")
    if sampling.top_k:
        order = order[: sampling.top_k]
    weights = np.exp(scaled[order] - scaled[order[0]])
    cumulative = np.cumsum(weights / weights.sum())
    # a token stays while those before it hold less than top_p
    kept = 1 + int(np.searchsorted(cumulative[:-1], sampling.top_p, side="left"))
    drawn = np.searchsorted(cumulative[:kept], chance * cumulative[kept - 1], side="right")
    return int(order[min(int(drawn), kept - 1)])


@dataclass(eq=False)
class Student:
    """A loaded causal language model with its tokenizer."""

    model: Any
    tokenizer: Any
    ends: frozenset[int]
    where: str
    lanes: int
    """Rows of a tile; 1 where a tile is not the same in every lane here, 0 where the model has its own cache."""


def load_student(path: Path, device: str, dtype: str = "auto") -> Student:
    """Load a Hugging Face causal language model offline, without remote code.

    Raises ScoringError or CheckpointError naming the folder.
    """
    from transformers import AutoModelForCausalLM

    if not (path / "config.json").is_file():
        raise ScoringError(
            f"{path}: no config.json; give the student as a Hugging Face folder (merge FSDP shards first)"
        )
    kind: object = dtype if dtype != "auto" else ("bfloat16" if device.startswith("cuda") else "float32")
    try:
        model, notes = AutoModelForCausalLM.from_pretrained(
            str(path),
            dtype=getattr(torch, str(kind)),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=None,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ScoringError(f"{path}: the student cannot be loaded ({str(error).partition(chr(10))[0]:.160})") from None
    missing = sorted(notes.get("missing_keys", ()))
    if missing:
        raise ScoringError(f"{path}: no weights for {missing[0]} and {len(missing) - 1} more; they would be random")
    tokenizer = read_tokenizer(path)
    model = model.to(device).eval()
    return Student(model, tokenizer, end_ids(tokenizer, model.config, path), str(path), _lanes(model))


def _lanes(model: Any) -> int:
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    own = not getattr(model, "_supports_attention_backend", False) or getattr(config, "attn_logit_softcapping", None)
    if own or rope.get("rope_type") in {"dynamic", "longrope"} or config.vocab_size < 32:
        return 0
    before = config._attn_implementation  # noqa: SLF001
    lanes.install(model)
    try:
        with torch.inference_mode():
            return lanes.LANES if lanes.agrees(model) else 1
    except (RuntimeError, TypeError, AttributeError, KeyError, IndexError):
        config._attn_implementation = before  # noqa: SLF001
        return 0


@dataclass(eq=False)
class _Row:
    """One response in the making."""

    row: int
    index: int
    seed: int
    dice: np.random.Generator
    tokens: list[int] = field(default_factory=list)
    lane: Lane | None = None
    finish: str = ""


def generate(
    student: Student,
    rows: Sequence[SourceRow],
    sampling: Sampling,
    *,
    batch_size: int = lanes.LANES,
    chat_template: str | None = None,
    progress: Report | None = None,
) -> Iterator[tuple[SourceRow, tuple[Response, ...]]]:
    """Each row with its responses, as soon as they are finished.

    batch_size: responses in flight at once; it changes the pace and nothing else. Raises ScoringError for a template
    that fails.
    """
    openings = [prompt_ids(student.tokenizer, row.prompt, chat_template, where=student.where) for row in rows]
    todo = [
        _Row(number, index, seed, np.random.Generator(np.random.Philox(seed)))
        for number, row in enumerate(rows)
        for index in range(sampling.responses)
        for seed in (row_seed(sampling.seed, row.id, index),)
    ]
    finished: dict[int, dict[int, Response]] = {number: {} for number in range(len(rows))}
    total = float(len(todo) * sampling.max_new_tokens)
    spent = 0.0
    source = _one_by_one(student, todo, openings, sampling) if not student.lanes else None
    for done in source or _in_tiles(student, todo, openings, sampling, max(1, batch_size)):
        spent += sampling.max_new_tokens
        if progress is not None:
            progress(spent, total)
        finished[done.row][done.index] = _response(student, done)
        if len(finished[done.row]) == sampling.responses:
            found = finished.pop(done.row)
            yield rows[done.row], tuple(found[index] for index in range(sampling.responses))


def _response(student: Student, row: _Row) -> Response:
    """Only the new tokens become text; EOS stays among the ids."""
    text = student.tokenizer.decode(row.tokens[:-1] if row.finish == "stop" else row.tokens, skip_special_tokens=True)
    return Response(text, ids=tuple(row.tokens), finish_reason=row.finish, seed=row.seed)


def _advance(student: Student, row: _Row, logits: NDArray[np.float32], sampling: Sampling) -> bool:
    """Draw a row's next token; whether it is finished."""
    token = next_token(logits, sampling, float(row.dice.random()))
    row.tokens.append(token)
    if token in student.ends:
        row.finish = "stop"
    elif len(row.tokens) >= sampling.max_new_tokens:
        row.finish = "length"
    return bool(row.finish)


def _in_tiles(
    student: Student, todo: Sequence[_Row], openings: Sequence[NDArray[np.int64]], sampling: Sampling, batch_size: int
) -> Iterator[_Row]:
    waiting = list(reversed(todo))
    active: list[_Row] = []
    prompts: dict[int, Any] = {}
    while waiting or active:
        while waiting and len(active) < batch_size:
            row = waiting.pop()
            with torch.inference_mode():
                if row.row not in prompts:
                    prompts = {row.row: lanes.read_prompt(student.model, openings[row.row])}
                keys, logits = prompts[row.row]
                if _advance(student, row, logits, sampling):
                    yield row
                    continue
                row.lane = lanes.open_lane(keys, len(openings[row.row]) + sampling.max_new_tokens)
            active.append(row)
        going: list[_Row] = []
        for start in range(0, len(active), student.lanes):
            tile = active[start : start + student.lanes]
            idle = student.lanes - len(tile)
            with torch.inference_mode():
                logits = lanes.step(
                    student.model,
                    [*(row.lane for row in tile), *[None] * idle],
                    [*(row.tokens[-1] for row in tile), *[0] * idle],
                )
            for number, row in enumerate(tile):
                if _advance(student, row, logits[number], sampling):
                    row.lane = None
                    yield row
                else:
                    going.append(row)
        active = going


def _one_by_one(
    student: Student, todo: Sequence[_Row], openings: Sequence[NDArray[np.int64]], sampling: Sampling
) -> Iterator[_Row]:
    """The same for models that keep a state of their own: one row at a time."""
    for row in todo:
        ids = torch.as_tensor(openings[row.row], device=student.model.device)[None]
        past = None
        while True:
            with torch.inference_mode():
                out = student.model(input_ids=ids, past_key_values=past, use_cache=True, logits_to_keep=1)
            past = out.past_key_values
            if _advance(student, row, out.logits[0, -1].float().cpu().numpy(), sampling):
                break
            ids = torch.tensor([[row.tokens[-1]]], device=student.model.device)
        yield row
