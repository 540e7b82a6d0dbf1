"""The tiny critic itself: a Qwen2 backbone with a value head, how it is fed, and what its scores are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from critictui.demo.scenario import Pooling
from critictui.demo.task import Pair
from critictui.demo.text import prompt_ids, response_ids

INITIALIZER_RANGE = 0.1
"""Wider than the usual 0.02, which a backbone this narrow does not leave within a demo's time."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pairs as tensors: teachers in rows 0..n-1, students in rows n..2n-1; right padded."""

    ids: Tensor
    """(2n, length) int64."""
    attention: Tensor
    """(2n, length) 0/1."""
    scored: Tensor
    """(2n, length) 0/1: response tokens without EOS."""
    prompts: tuple[tuple[int, ...], ...]
    """n prompts' ids."""
    responses: tuple[tuple[int, ...], ...]
    """2n responses' ids, EOS included."""

    @property
    def pairs(self) -> int:
        """Number of teacher-student pairs."""
        return len(self.prompts)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What the critic says about a batch; gradients flow through."""

    teacher: Tensor
    """(n,) by the pooling: the mean value over each response's tokens, EOS left out, or the value at EOS."""
    student: Tensor
    """(n,)"""
    values: Tensor
    """Every value at a response token, flat; that at EOS too where it is the score."""


@dataclass(frozen=True, slots=True, eq=False)
class Learner:
    """What a checkpoint must hold to go on from: the model, its optimizer, its learning rate schedule."""

    model: Any
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler


def new_critic(vocabulary: int, *, hidden: int, layers: int, seed: int, pad: int, eos: int) -> Any:
    """A randomly initialised `Qwen2ForTokenClassification` with one label, as verl builds its critic."""
    from transformers import Qwen2ForTokenClassification

    torch.manual_seed(seed)
    config = _config(vocabulary, hidden, layers, pad, eos)
    config.num_labels = 1
    config.classifier_dropout = 0.0
    return Qwen2ForTokenClassification(config)


def new_classifier(vocabulary: int, *, hidden: int, layers: int, seed: int, pad: int, eos: int) -> Any:
    """A randomly initialised `Qwen2ForSequenceClassification` with one label, as TRL builds a reward model."""
    from transformers import Qwen2ForSequenceClassification

    torch.manual_seed(seed)
    config = _config(vocabulary, hidden, layers, pad, eos)
    config.num_labels = 1
    return Qwen2ForSequenceClassification(config)


def new_student(vocabulary: int, *, hidden: int, layers: int, seed: int, pad: int, eos: int) -> Any:
    """A randomly initialised `Qwen2ForCausalLM` of the same size."""
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(seed)
    return Qwen2ForCausalLM(_config(vocabulary, hidden, layers, pad, eos))


def _config(vocabulary: int, hidden: int, layers: int, pad: int, eos: int) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=INITIALIZER_RANGE,
        tie_word_embeddings=False,
        pad_token_id=pad,
        eos_token_id=eos,
    )


def make_batch(tokenizer: Any, pairs: Sequence[Pair]) -> Batch:
    """Prompt ids from the chat template, raw response ids behind them, never tokenised together."""
    prompts = [tuple(prompt_ids(tokenizer, pair.prompt)) for pair in pairs]
    teachers = [tuple(response_ids(tokenizer, pair.teacher)) for pair in pairs]
    students = [tuple(response_ids(tokenizer, pair.students[0])) for pair in pairs]
    responses = (*teachers, *students)
    length = max(len(p) + len(r) for p, r in zip([*prompts, *prompts], responses, strict=True))
    ids = torch.full((len(responses), length), int(tokenizer.pad_token_id), dtype=torch.long)
    attention = torch.zeros_like(ids)
    scored = torch.zeros_like(ids)
    for row, response in enumerate(responses):
        prompt = prompts[row % len(prompts)]
        end = len(prompt) + len(response)
        ids[row, :end] = torch.tensor([*prompt, *response])
        attention[row, :end] = 1
        scored[row, len(prompt) : end - 1] = 1
    return Batch(ids, attention, scored, tuple(prompts), responses)


def score(model: Any, batch: Batch, pooling: Pooling = "mean") -> Scores:
    """One forward pass over both sides."""
    values = model(input_ids=batch.ids, attention_mask=batch.attention).logits[..., 0]
    scored = batch.scored
    if pooling == "last":
        end = batch.attention.sum(1, keepdim=True) - 1  # rows are padded on the right and end in EOS
        scored = scored.scatter(1, end, 1)
        scores = values.gather(1, end)[:, 0]
    else:
        scores = (values * scored).sum(1) / scored.sum(1)
    return Scores(scores[: batch.pairs], scores[batch.pairs :], values[scored.bool()])
