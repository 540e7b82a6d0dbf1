"""Saved responses are scored again under every recipe that could have given the recorded scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from critictui.scoring.recipe import Recipe
from critictui.worker.ends import ending
from critictui.worker.forward import tree_values
from critictui.worker.model import Critic
from critictui.worker.samples import Samples, SavedResponse
from critictui.worker.score import pool
from critictui.worker.tokenizer import end_ids, template_in_effect
from critictui.worker.tokens import Branch, Ids, Tree, common, prompt_ids, together, turn_tail

Floats = NDArray[np.float64]
Report = Callable[[str, float, float], None]

_POOLING: tuple[Literal["mean", "last", "sum"], ...] = ("mean", "last", "sum")
_EOS: tuple[Literal["exclude", "include"], ...] = ("exclude", "include")
_ALIGNMENT: tuple[Literal["token", "previous"], ...] = ("token", "previous")
_NO_GENERATION_PROMPT = "no generation prompt"
_NO_TEMPLATE = "no chat template"
_ANSWERED = 512
"""Responses that the search looks at: far more than tell two recipes apart."""


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """One way from saved responses to tokens, and the recipes that mean it."""

    recipes: tuple[Recipe, ...]
    detail: str
    """What a recipe does not hold: no generation prompt."""
    sequences: tuple[tuple[Ids, Branch], ...]
    """(prompt ids, response) each, the response with all that may stand at its end."""
    closed: bool = False
    """Whether scoring the whole turn is worth trying."""


def replay(critic: Critic, samples: Samples, asked: Recipe, *, progress: Report | None = None) -> dict[str, object]:
    """Recompute the recorded scores under `asked` and under every other recipe.

    Returns `{"recorded": [...], "candidates": [{"recipe", "dtype", "detail", "scores"}, ...], "step",
    "recorded_d_acc"}` for `critictui.diagnosis.replay.judge_replay`; the asked recipe is the first candidate.
    """
    responses = samples.responses[:_ANSWERED]
    dtype = str(critic.dtype).removeprefix("torch.")
    pad = critic.tokenizer.pad_token_id
    ways = list(_ways(critic, responses, asked))
    candidates: list[dict[str, object]] = []
    seen: set[tuple[str, str]] = set()
    for number, way in enumerate(ways):
        if progress is not None:
            progress(way.detail or "recipes", number, len(ways))
        values = _values(critic, way.sequences)
        for recipe in (pooled for base in way.recipes for pooled in _poolings(base, closed=way.closed)):
            key = (recipe.id, way.detail)
            if key not in seen:
                seen.add(key)
                scores = [_score(v, branch, recipe, pad) for v, (_, branch) in zip(values, way.sequences, strict=True)]
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


def _values(critic: Critic, sequences: Sequence[tuple[Ids, Branch]]) -> list[Floats]:
    """(n + 1,) values a response: that before its first token, then its own."""
    trees: dict[bytes, tuple[Ids, list[Branch]]] = {}
    spots: list[tuple[bytes, int]] = []
    for prompt, branch in sequences:
        tree = trees.setdefault(prompt.tobytes(), (prompt, []))
        spots.append((prompt.tobytes(), len(tree[1])))
        tree[1].append(branch)
    order = {key: i for i, key in enumerate(trees)}
    found = tree_values(critic, [Tree(ids, tuple(branches)) for ids, branches in trees.values()])
    return [found[order[key]][index] for key, index in spots]


def _score(values: Floats, branch: Branch, recipe: Recipe, pad: int | None) -> float:
    """Pool (n + 1,) values over as much of the response as the recipe says."""
    n = branch.count(recipe.eos)
    while recipe.eos == "turn" and n and int(branch.ids[n - 1]) == pad:
        n -= 1
    return pool(values[: n + 1], recipe)[0]


def _poolings(recipe: Recipe, *, closed: bool) -> Iterator[Recipe]:
    """The recipe itself first, then the others in the order in which they are common.

    closed: the whole turn is one of them; where nothing stands behind EOS, it cannot be told from `include`.
    """
    yield recipe
    if closed:
        yield replace(recipe, pooling="last", eos="turn", alignment="token")
    for pooling in _POOLING:
        for eos in _EOS:
            for alignment in _ALIGNMENT:
                yield replace(recipe, pooling=pooling, eos=eos, alignment=alignment)


def _ways(critic: Critic, responses: Sequence[SavedResponse], asked: Recipe) -> Iterator[_Way]:
    """Every way to tokens that this form of saved responses leaves open; saved ids leave none but a cut."""
    ends = end_ids(critic.tokenizer, critic.config, critic.checkpoint.path)
    tail = _tail(critic, asked, ends)
    if all(r.ids is not None and r.prompt_ids is not None for r in responses):
        plain = tuple(
            (r.prompt_ids, _closed(r.ids, ends, tail))
            for r in responses
            if r.prompt_ids is not None and r.ids is not None
        )
        # whoever asks for another way to tokens still has these: they are what training saw
        raw = (replace(asked, tokens="concat"),) if asked.tokens != "concat" else ()
        recipes = (*raw, asked)
        yield _Way(recipes, "", _cut(plain, asked), closed=len(tail) > 0)
        if asked.max_prompt_tokens is not None or asked.max_response_tokens is not None:
            whole = tuple(replace(r, max_prompt_tokens=None, max_response_tokens=None) for r in recipes)
            yield _Way(whole, "", plain, closed=len(tail) > 0)
        yield from _shorter(plain, recipes[0])
        return
    texts = [(r.prompt_text or "", r.text or "") for r in responses]
    for detail, words, prompts in _prompt_forms(critic, [p for p, _ in texts], asked):
        pairs = [(w, text) for w, (_, text) in zip(words, texts, strict=True)]
        plain = tuple(zip(prompts, _raw(critic, texts, ends, tail), strict=True))
        recipe = replace(asked, tokens="concat")
        yield _Way((recipe,), detail, _cut(plain, recipe))
        if not detail:
            yield from _shorter(plain, recipe)
        yield _rendered(critic, pairs, prompts, detail, asked)


def _tail(critic: Critic, asked: Recipe, ends: frozenset[int]) -> Ids:
    """What closes a turn behind EOS; nothing where there is no chat template."""
    if not (getattr(critic.tokenizer, "chat_template", None) or asked.chat_template):
        return np.empty(0, np.int64)
    return turn_tail(critic.tokenizer, asked.chat_template, ends, where=str(critic.checkpoint.path))


def _closed(ids: Ids, ends: frozenset[int], tail: Ids) -> Branch:
    """A saved response with one EOS and what closes the turn, if it has an EOS."""
    own, eos = ending(ids, ends, tail)
    whole = np.concatenate([ids[: own + 1], tail]) if eos else ids
    return Branch(whole, truncated=False, eos=eos, closing=len(whole) - own)


def _shorter(sequences: tuple[tuple[Ids, Branch], ...], asked: Recipe) -> Iterator[_Way]:
    """Length limits at powers of two that would have cut some of these responses."""
    longest_prompt = max((len(p) for p, _ in sequences), default=0)
    longest = max((len(r.ids) for _, r in sequences), default=0)
    for limit in (2**k for k in range(4, 14)):
        if limit < longest:
            recipe = replace(asked, max_response_tokens=limit)
            yield _Way((recipe,), "", _cut(sequences, recipe))
        if limit < longest_prompt:
            recipe = replace(asked, max_prompt_tokens=limit)
            yield _Way((recipe,), "", _cut(sequences, recipe))


def _cut(sequences: Sequence[tuple[Ids, Branch]], recipe: Recipe) -> tuple[tuple[Ids, Branch], ...]:
    before = slice(None) if recipe.max_prompt_tokens is None else slice(-recipe.max_prompt_tokens, None)
    return tuple((p[before], _shortened(r, recipe.max_response_tokens)) for p, r in sequences)


def _shortened(branch: Branch, limit: int | None) -> Branch:
    if limit is None or len(branch.ids) <= limit:
        return branch
    own = len(branch.ids) - branch.closing
    return replace(branch, ids=branch.ids[:limit], closing=max(limit - own, 0), truncated=True)


def _prompt_forms(
    critic: Critic, prompts: Sequence[str], asked: Recipe
) -> Iterator[tuple[str, Sequence[str], list[Ids]]]:
    """(detail, the prompts in the user's words, their ids) for every way in which a saved text may be a prompt."""
    tokenizer = critic.tokenizer
    if getattr(tokenizer, "chat_template", None) or asked.chat_template:
        yield "", prompts, [prompt_ids(tokenizer, p, asked.chat_template) for p in prompts]
        template = template_in_effect(tokenizer, asked.chat_template)
        bare = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": p}], chat_template=template, tokenize=True,
                add_generation_prompt=False, return_dict=False,
            )
            for p in prompts
        ]  # fmt: skip
        yield _NO_GENERATION_PROMPT, prompts, [np.asarray(ids, np.int64) for ids in bare]
        rendered = [_undecoded(tokenizer, p) for p in prompts]
        words = [r for r in rendered if r is not None]
        if len(words) == len(prompts):
            ids = [prompt_ids(tokenizer, w, asked.chat_template) for w in words]
            yield "the prompt re-rendered from its decoded text", words, ids
    raw = [np.asarray(tokenizer(p, add_special_tokens=False)["input_ids"], np.int64) for p in prompts]
    yield _NO_TEMPLATE, prompts, raw


def _undecoded(tokenizer: object, text: str) -> str | None:
    """The user's words out of a decoded rendering (`user\\n...\\nassistant\\n`), None where it is no such text."""
    _, user, rest = text.rpartition("user\n")
    words, assistant, _ = rest.rpartition("\nassistant")
    return words.strip("\n") if user and assistant else None


def _raw(critic: Critic, texts: Sequence[tuple[str, str]], ends: frozenset[int], tail: Ids) -> list[Branch]:
    """The responses tokenised on their own, EOS behind them."""
    tokenizer, eos = critic.tokenizer, critic.tokenizer.eos_token_id
    plain = [list(tokenizer(t, add_special_tokens=False)["input_ids"]) for _, t in texts]
    closed = [[*ids, eos] if eos is not None and (not ids or ids[-1] not in ends) else ids for ids in plain]
    return [_closed(np.asarray(ids, np.int64), ends, tail) for ids in closed]


def _rendered(
    critic: Critic, pairs: Sequence[tuple[str, str]], prompts: Sequence[Ids], detail: str, asked: Recipe
) -> _Way:
    """Prompt and response tokenised together: as one chat, or as one text where the prompt had no template."""
    tokenizer, where = critic.tokenizer, str(critic.checkpoint.path)
    ends = end_ids(tokenizer, critic.config, critic.checkpoint.path)
    if detail == _NO_GENERATION_PROMPT:
        recipe = replace(asked, tokens="template")
        wholes = [
            np.asarray(tokenizer(tokenizer.decode(p.tolist()) + t, add_special_tokens=False)["input_ids"], np.int64)
            for p, (_, t) in zip(prompts, pairs, strict=True)
        ]
    else:
        recipe = replace(asked, tokens="text" if detail == _NO_TEMPLATE else "template")
        wholes = [together(tokenizer, p, t, recipe, where=where) for p, t in pairs]
    sequences = []
    for prompt, whole in zip(prompts, wholes, strict=True):
        same = common(prompt, whole)
        own, eos = ending(whole[same:], ends, np.empty(0, np.int64), rendered=True)
        branch = Branch(whole[same:], truncated=False, eos=eos, closing=len(whole) - same - own)
        sequences.append((whole[:same], branch))
    detail = "" if detail == _NO_TEMPLATE else detail  # the recipe says it
    return _Way((recipe,), detail, _cut(sequences, recipe), closed=True)
