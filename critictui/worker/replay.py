"""Saved responses are scored again under every recipe that could have given the recorded scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from critictui.scoring.recipe import Recipe
from critictui.worker.forward import tree_values
from critictui.worker.model import Critic
from critictui.worker.samples import Samples, SavedResponse
from critictui.worker.tokens import Branch, Ids, Tree, end_ids, prompt_ids

Floats = NDArray[np.float64]
Report = Callable[[str, float, float], None]

_POOLING: tuple[Literal["mean", "last", "sum"], ...] = ("mean", "last", "sum")
_EOS: tuple[Literal["exclude", "include"], ...] = ("exclude", "include")
_ALIGNMENT: tuple[Literal["token", "previous"], ...] = ("token", "previous")
_ANSWERED = 512
"""Responses that the search looks at: far more than tell two recipes apart."""


@dataclass(frozen=True, slots=True)
class _Tokens:
    """One way from a saved response to tokens."""

    recipe: Recipe
    detail: str
    sequences: tuple[tuple[Ids, Ids], ...]


def replay(critic: Critic, samples: Samples, asked: Recipe, *, progress: Report | None = None) -> dict[str, object]:
    """Recompute the recorded scores under `asked` and under every other recipe.

    Returns `{"recorded": [...], "candidates": [{"recipe", "dtype", "detail", "scores"}, ...], "step",
    "recorded_d_acc"}` for `critictui.diagnosis.replay.judge_replay`; the asked recipe is the first candidate.
    """
    responses = samples.responses[:_ANSWERED]
    ends = end_ids(critic.tokenizer, critic.config, critic.checkpoint.path)
    dtype = str(critic.dtype).removeprefix("torch.")
    ways = list(_ways(critic, responses, asked, ends))
    candidates: list[dict[str, object]] = []
    seen: set[tuple[str, str]] = set()
    for number, way in enumerate(ways):
        if progress is not None:
            progress(way.detail or "recipes", number, len(ways))
        values = _values(critic, way.sequences)
        for recipe in _poolings(way.recipe):
            key = (recipe.id, way.detail)
            if key not in seen:
                seen.add(key)
                scores = [_score(v, ids, recipe, ends) for v, (_, ids) in zip(values, way.sequences, strict=True)]
                candidates.append(_candidate(recipe, way.detail, dtype, scores))
    candidates.sort(key=lambda c: not (c["recipe"] == asked.to_dict() and not c["detail"]))
    return {
        "recorded": [r.score for r in responses],
        "candidates": candidates,
        "step": samples.step,
        "recorded_d_acc": samples.recorded_d_acc,
        "form": samples.form,
        "path": samples.path,
    }


def _candidate(recipe: Recipe, detail: str, dtype: str, scores: Sequence[float]) -> dict[str, object]:
    return {"recipe": recipe.to_dict(), "detail": detail, "dtype": dtype, "scores": [_finite(s) for s in scores]}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _values(critic: Critic, sequences: Sequence[tuple[Ids, Ids]]) -> list[Floats]:
    """(n + 1,) values a response: that before its first token, then its own."""
    trees: dict[bytes, tuple[Ids, list[Branch]]] = {}
    spots: list[tuple[bytes, int]] = []
    for prompt, response in sequences:
        tree = trees.setdefault(prompt.tobytes(), (prompt, []))
        spots.append((prompt.tobytes(), len(tree[1])))
        tree[1].append(Branch(response, truncated=False, eos=False))
    order = {key: i for i, key in enumerate(trees)}
    found = tree_values(critic, [Tree(ids, tuple(branches)) for ids, branches in trees.values()])
    return [found[order[key]][index] for key, index in spots]


def _score(values: Floats, ids: Ids, recipe: Recipe, ends: frozenset[int]) -> float:
    """Pool (n + 1,) values; of several closing EOS tokens (generation pads with them) one is the response's own."""
    closing = 0
    while closing < len(ids) and int(ids[-1 - closing]) in ends:
        closing += 1
    n = len(ids) - (closing if recipe.eos == "exclude" else max(0, closing - 1))
    used = values[1 : n + 1] if recipe.alignment == "token" else values[:n]
    if not len(used):
        return float("nan")
    if recipe.pooling == "last":
        return float(used[-1])
    return float(used.mean() if recipe.pooling == "mean" else used.sum())


def _poolings(recipe: Recipe) -> Iterator[Recipe]:
    """The recipe itself first, then the others in the order in which they are common."""
    yield recipe
    for pooling in _POOLING:
        for eos in _EOS:
            for alignment in _ALIGNMENT:
                yield replace(recipe, pooling=pooling, eos=eos, alignment=alignment)


def _ways(critic: Critic, responses: Sequence[SavedResponse], asked: Recipe, ends: frozenset[int]) -> Iterator[_Tokens]:
    """Every way to tokens that this form of saved responses leaves open; saved ids leave none but a cut."""
    if all(r.ids is not None and r.prompt_ids is not None for r in responses):
        plain = tuple((r.prompt_ids, r.ids) for r in responses if r.prompt_ids is not None and r.ids is not None)
        yield _Tokens(asked, "", _cut(plain, asked))
        if asked.max_prompt_tokens is not None or asked.max_response_tokens is not None:
            yield _Tokens(replace(asked, max_prompt_tokens=None, max_response_tokens=None), "", plain)
        yield from _shorter(plain, asked)
        return
    texts = [(r.prompt_text or "", r.text or "") for r in responses]
    for detail, prompts in _prompt_forms(critic, [p for p, _ in texts], asked):
        for recipe, bodies in _response_forms(critic, texts, prompts, asked, ends):
            sequences = tuple(zip(prompts, bodies, strict=True))
            yield _Tokens(recipe, detail, _cut(sequences, recipe))
            if not detail and recipe.tokens == "concat":
                yield from _shorter(sequences, recipe)


def _shorter(sequences: tuple[tuple[Ids, Ids], ...], asked: Recipe) -> Iterator[_Tokens]:
    """Length limits at powers of two that would have cut some of these responses."""
    longest_prompt = max((len(p) for p, _ in sequences), default=0)
    longest = max((len(r) for _, r in sequences), default=0)
    for limit in (2**k for k in range(4, 14)):
        if limit < longest:
            recipe = replace(asked, max_response_tokens=limit)
            yield _Tokens(recipe, "", _cut(sequences, recipe))
        if limit < longest_prompt:
            recipe = replace(asked, max_prompt_tokens=limit)
            yield _Tokens(recipe, "", _cut(sequences, recipe))


def _cut(sequences: Sequence[tuple[Ids, Ids]], recipe: Recipe) -> tuple[tuple[Ids, Ids], ...]:
    before = slice(None) if recipe.max_prompt_tokens is None else slice(-recipe.max_prompt_tokens, None)
    return tuple((p[before], r[: recipe.max_response_tokens]) for p, r in sequences)


def _prompt_forms(critic: Critic, prompts: Sequence[str], asked: Recipe) -> Iterator[tuple[str, list[Ids]]]:
    tokenizer = critic.tokenizer

    def raw(text: str) -> Ids:
        return np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"], np.int64)

    if getattr(tokenizer, "chat_template", None) or asked.chat_template:
        yield "", [prompt_ids(tokenizer, p, asked.chat_template) for p in prompts]
        bare = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": p}], chat_template=asked.chat_template, tokenize=True,
                add_generation_prompt=False, return_dict=False,
            )
            for p in prompts
        ]  # fmt: skip
        yield "no generation prompt", [np.asarray(ids, np.int64) for ids in bare]
        rendered = [_undecoded(tokenizer, p) for p in prompts]
        if all(r is not None for r in rendered):
            yield (
                "the prompt re-rendered from its decoded text",
                [prompt_ids(tokenizer, r, asked.chat_template) for r in rendered if r is not None],
            )
    yield "no chat template", [raw(p) for p in prompts]


def _undecoded(tokenizer: object, text: str) -> str | None:
    """The user's words out of a decoded rendering (`user\\n...\\nassistant\\n`), None where it is no such text."""
    _, user, rest = text.rpartition("user\n")
    words, assistant, _ = rest.rpartition("\nassistant")
    return words.strip("\n") if user and assistant else None


def _response_forms(
    critic: Critic, texts: Sequence[tuple[str, str]], prompts: Sequence[Ids], asked: Recipe, ends: frozenset[int]
) -> Iterator[tuple[Recipe, list[Ids]]]:
    tokenizer = critic.tokenizer
    plain = [list(tokenizer(t, add_special_tokens=False)["input_ids"]) for _, t in texts]
    eos = tokenizer.eos_token_id
    closed = [[*ids, eos] if eos is not None and (not ids or ids[-1] not in ends) else ids for ids in plain]
    yield replace(asked, tokens="concat"), [np.asarray(ids, np.int64) for ids in closed]
    together = [
        np.asarray(tokenizer(tokenizer.decode(p.tolist()) + t, add_special_tokens=False)["input_ids"], np.int64)[
            len(p) :
        ]
        for p, (_, t) in zip(prompts, texts, strict=True)
    ]
    yield replace(asked, tokens="template"), together
