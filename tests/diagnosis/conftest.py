"""What the diagnosis tests share: fixed sets of the demo's task, and naive scoring written apart from the project's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from critictui.diagnosis.claims import Claim  # noqa: E402

CUT = 42
"""A length that leaves the demo's students a few tokens behind their prompts."""
_BATCH = 60


@pytest.fixture(scope="session")
def write_set() -> Callable[..., Path]:
    """`write_set(path, pairs)`: the demo's pairs as a fixed set, texts only."""

    def write(path: Path, pairs: Sequence[Any], **header: object) -> Path:
        generation = {"temperature": 1.0, "top_p": 1.0}
        first = {"schema": 1, "kind": "critictui-fixed-set", "provenance": {}, "generation": generation}
        rows: list[object] = [first | header]
        for number, pair in enumerate(pairs):
            students = [{"text": t, "finish_reason": "stop", "seed": i} for i, t in enumerate(pair.students)]
            row = {"id": str(number), "prompt": pair.prompt, "teacher": {"text": pair.teacher}, "students": students}
            rows.append(row)
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
        return path

    return write


Tokens = tuple[list[int], slice]
"""What a script feeds to the model, and which of the values it averages."""


class Naive:
    """Scoring as users' scripts do it, one mistake each, on a critic's backbone and a head of one's own.

    Each way turns (prompt, response, is it the student's?) into tokens and the slice of values that is averaged.
    """

    def __init__(self, critic: Any, head: tuple[np.ndarray, float] | None = None) -> None:
        self.critic, self.tokenizer = critic, critic.tokenizer
        bias = 0.0 if critic.head_bias is None else float(critic.head_bias)
        self.weight, self.bias = head if head is not None else (critic.head_weight.numpy(), bias)

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def opening(self, prompt: str) -> list[int]:
        messages = [{"role": "user", "content": prompt}]
        return list(
            self.tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False)
        )

    def right(self, prompt: str, response: str, _student: bool) -> Tokens:
        before = self.opening(prompt)
        return before + self.ids(response), slice(len(before), None)

    def template_slice(self, prompt: str, response: str, _student: bool) -> Tokens:
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        ids = self.ids(self.tokenizer.apply_chat_template(messages, tokenize=False))
        return ids, slice(-len(self.ids(response)), None)

    def whole_chat(self, prompt: str, response: str, _student: bool) -> Tokens:
        """The last token of the rendered chat, as a sequence classifier scores it: ChatML's line break."""
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        return self.ids(self.tokenizer.apply_chat_template(messages, tokenize=False)), slice(-1, None)

    def echoed(self, prompt: str, response: str, student: bool) -> Tokens:
        opening = self.tokenizer.decode(self.opening(prompt), skip_special_tokens=True)
        return self.right(prompt, opening + response if student else response, student)

    def cut(self, prompt: str, response: str, student: bool) -> Tokens:
        before, after = self.opening(prompt), self.ids(response)
        after = after[: max(CUT - len(before), 0)] if student else after
        return before + after, slice(len(before), None)

    def cut_at_the_end(self, prompt: str, response: str, student: bool) -> Tokens:
        """EOS is scored, but what was cut has none."""
        whole = [*self.opening(prompt), *self.ids(response), self.tokenizer.eos_token_id]
        return whole[:CUT] if student else whole, slice(-1, None)

    def one_sided_eos(self, prompt: str, response: str, student: bool) -> Tokens:
        ids = self.opening(prompt) + self.ids(response)
        return ids + [self.tokenizer.eos_token_id] * student, slice(-1, None)

    def last_token(self, prompt: str, response: str, _student: bool) -> Tokens:
        return self.opening(prompt) + self.ids(response), slice(-1, None)

    def values(self, sequences: Sequence[list[int]]) -> Iterator[np.ndarray]:
        """Token values of each sequence: what stands behind a token changes nothing before it."""
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
        found: dict[int, np.ndarray] = {}
        for at in range(0, len(order), _BATCH):
            rows = order[at : at + _BATCH]
            ids = torch.zeros((len(rows), len(sequences[rows[-1]])), dtype=torch.long)
            for row, number in enumerate(rows):
                ids[row, : len(sequences[number])] = torch.tensor(sequences[number])
            with torch.inference_mode():
                hidden = self.critic.backbone(input_ids=ids, use_cache=False).last_hidden_state
            values = hidden.numpy() @ self.weight + self.bias
            found |= {number: values[row, : len(sequences[number])] for row, number in enumerate(rows)}
        return (found[i] for i in range(len(sequences)))

    def claim(self, way: Callable[[str, str, bool], Tokens], pairs: Sequence[Any]) -> Claim:
        """What a script that scores in this way measures on `pairs`."""
        tokens = [way(p.prompt, r, number > 0) for p in pairs for number, r in enumerate((p.teacher, *p.students))]
        values = self.values([ids for ids, _ in tokens])
        used = [v[at] for v, (_, at) in zip(values, tokens, strict=True)]
        return self._claim([float(v.mean()) if len(v) else math.nan for v in used], pairs)

    def padded_claim(self, pairs: Sequence[Any], batch: int = 6) -> Claim:
        """What a script measures that pads batches on the right and averages the last n positions."""
        texts = [(p.prompt, r) for p in pairs for r in (p.teacher, *p.students)]
        scores: list[float] = []
        for at in range(0, len(texts), batch):
            before, after = zip(*((self.opening(p), self.ids(r)) for p, r in texts[at : at + batch]), strict=True)
            made = self.tokenizer.pad(
                {"input_ids": [a + b for a, b in zip(before, after, strict=True)]}, padding_side="right",
                return_tensors="pt",
            )  # fmt: skip
            with torch.inference_mode():
                hidden = self.critic.backbone(**made, use_cache=False).last_hidden_state
            values = hidden.numpy() @ self.weight + self.bias
            scores += [float(v[-len(ids) :].mean()) for v, ids in zip(values, after, strict=True)]
        return self._claim(scores, pairs)

    def _claim(self, flat: Sequence[float], pairs: Sequence[Any]) -> Claim:
        scores = iter(flat)
        both = [(teacher, next(scores)) for p in pairs for teacher in (next(scores),) for _ in p.students]
        t, s = np.array(both).T
        return Claim(float((t > s).mean()), float((t - s).mean()), float(t.mean()), float(s.mean()), len(t))


@pytest.fixture(scope="session")
def naive() -> type[Naive]:
    """`naive(critic, head).claim(way, pairs)`."""
    return Naive
