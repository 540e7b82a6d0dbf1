"""The known mistakes, made on purpose on this very checkpoint and fixed set, beside the right way of scoring it.

A claim that lands on one of them has its explanation (`critictui.diagnosis.simulation` judges that). Value heads are
linear, so one pass over the backbone serves the real head and forty random ones; what a mistake changes after the
forward pass (EOS, pooling, a cut response) is derived from the same values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from critictui.scoring import statistics
from critictui.scoring.fixed_set import FixedPrompt, FixedSet, Response
from critictui.scoring.recipe import EosRule, Recipe
from critictui.worker.forward import tree_values
from critictui.worker.model import Critic
from critictui.worker.score import prepare_tokens
from critictui.worker.tokenizer import end_ids, template_in_effect, tokenizer_hash
from critictui.worker.tokens import Branch, Ids, Tokenised, Tree, messages_of, prompt_ids, turn_tail

Floats = NDArray[np.float64]
Report = Callable[[str, float, float], None]
"""(what is being simulated, ways done, ways in all)."""

SEEDS = 20
_BATCH = 8
"""What a padded scoring loop usually takes at once."""
_LIMITS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_LEAST_CUT = 0.1
_LEAST_LEFT = 0.5
"""Shares of the students that a limit must cut, and must leave something of, to be worth trying."""
_FIGURES = (
    "d_acc", "d_acc_ties_win", "d_acc_soft", "tie_rate", "margin", "margin_std", "teacher", "student", "level_std",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """Scores of all responses under k heads: for each prompt, row 0 the teacher's, then the students' (1 + s, k)."""

    by_prompt: tuple[Floats, ...]

    def pairs(self, head: int = 0) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Teacher and student score of each pair with two finite scores, and the number of its prompt."""
        teacher = np.concatenate([np.full(len(s) - 1, s[0, head]) for s in self.by_prompt])
        student = np.concatenate([s[1:, head] for s in self.by_prompt])
        prompt = np.concatenate([np.full(len(s) - 1, i) for i, s in enumerate(self.by_prompt)])
        good = np.isfinite(teacher) & np.isfinite(student)
        return teacher[good], student[good], prompt[good]


def simulate(
    critic: Critic,
    fixed_set: FixedSet,
    recipe: Recipe,
    *,
    seeds: int = SEEDS,
    limits: Sequence[int] = (),
    progress: Report | None = None,
) -> dict[str, object]:
    """Score `fixed_set` in the right way and in every mistaken one.

    limits: lengths that a script is known to cut at, tried beside the powers of two.
    Returns `{"variants": [{"id", "cause", "label", "stats": [...]}, ...], "length_bias", "tokenizer"}`, the real way
    first, as `critictui.diagnosis.simulation.simulation_from` reads it. Raises what scoring raises.
    """
    ways = list(_ways(critic, fixed_set, recipe, seeds, sorted({*_LIMITS, *limits})))
    variants: list[dict[str, object]] = []
    for number, (name, way) in enumerate(ways):
        if progress is not None:
            progress(name, number, len(ways))
        variants.extend(way())
    if progress is not None:
        progress("done", len(ways), len(ways))
    own = {"length_bias": variants[0].pop("length_bias"), "tokenizer": tokenizer_hash(critic.tokenizer)}
    return {"variants": variants, "seeds": seeds, **own}


def _ways(
    critic: Critic, fixed_set: FixedSet, recipe: Recipe, seeds: int, limits: Sequence[int]
) -> Iterator[tuple[str, Callable[[], list[dict[str, object]]]]]:
    yield "heads", lambda: _from_values(critic, fixed_set, recipe, seeds, limits)
    if getattr(critic.tokenizer, "chat_template", None):
        yield "template slice", lambda: _template_slice(critic, fixed_set)
    yield "right padding", lambda: _right_padding(critic, fixed_set, recipe)
    yield "prompt echo", lambda: _prompt_echo(critic, fixed_set, recipe)
    yield "garbled prompt", lambda: _garbled(critic, fixed_set, recipe)


# --- one pass over the right tokens: heads, pooling, EOS, cuts


def _from_values(
    critic: Critic, fixed_set: FixedSet, recipe: Recipe, seeds: int, limits: Sequence[int]
) -> list[dict[str, object]]:
    """Everything that the values at the right tokens tell, EOS among them."""
    weights, biases, names = _heads(critic, seeds)
    closed = _closes_turns(critic, recipe)
    made = prepare_tokens(critic, fixed_set, replace(recipe, eos="turn" if closed else "include"))
    values = tree_values(replace(critic, head_weight=weights, head_bias=None), made.trees)
    whole = [[values[t][b] for t, b in spots] for spots in made.places]
    branches = [[made.trees[t].branches[b] for t, b in spots] for spots in made.places]
    lengths = [[len(made.trees[t].prompt) for t, _ in spots] for spots in made.places]

    def scored(
        how: Recipe, sides: tuple[bool, bool] | None = None, cut: Callable[[int, int], int] | None = None
    ) -> _Scores:
        """Pool under `how`; `sides` says for teacher and student whether EOS takes part; `cut` limits a response."""
        by_prompt = []
        for arrays, parts, prompts in zip(whole, branches, lengths, strict=True):
            rows = []
            for number, (array, branch, prompt) in enumerate(zip(arrays, parts, prompts, strict=True)):
                end: EosRule = how.eos if sides is None else ("include" if sides[min(number, 1)] else "exclude")
                n = branch.count(end)
                n = n if cut is None else min(n, cut(number, prompt))
                rows.append(_pool(array[: n + 1], how) + biases * _weight(n, how))
            by_prompt.append(np.stack(rows))
        return _Scores(tuple(by_prompt))

    right = scored(recipe)
    real = _statistics(right)
    sizes = [branch.count(recipe.eos) for parts in branches for branch in parts]
    teachers = [number == 0 for parts in branches for number, _ in enumerate(parts)]
    bias = statistics.length_bias(teachers, sizes, [float(x) for scores in right.by_prompt for x in scores[:, 0]])
    out = [_variant("real", "", "the checkpoint's own head", [real]) | {"length_bias": bias}]
    for start, (name, label) in zip((1, 1 + seeds), names, strict=True):
        stats = [_statistics(right, head) for head in range(start, start + seeds)]
        out.append(_variant(name, "head-missing", label, stats))
    out.append(_variant("soft-accuracy", "accuracy-definition", "the soft accuracy, mean sigmoid(T - S),",
                        [real | {"d_acc": real["d_acc_soft"]}]))  # fmt: skip
    if real["tie_rate"] > 0.01:
        out.append(_variant("ties-win", "accuracy-definition", "counting ties as wins",
                            [real | {"d_acc": real["d_acc_ties_win"]}]))  # fmt: skip
    for how, label in _other_poolings(recipe, closed=closed):
        out.append(
            _variant(
                f"pool-{how.pooling}-{how.eos}-{how.alignment}", "score-definition", label, [_statistics(scored(how))]
            )
        )
    if any(branch.eos for parts in branches for branch in parts):
        for sides, who in (((True, False), "teacher"), ((False, True), "student")):
            out.append(_variant(f"eos-{who}", "eos-mismatch", f"scoring EOS on the {who}'s side only",
                                [_statistics(scored(recipe, sides))]))  # fmt: skip
    out.extend(_cuts(whole, lengths, limits, lambda cut: _statistics(scored(recipe, cut=cut))))
    return out


def _heads(critic: Critic, seeds: int) -> tuple[torch.Tensor, Floats, tuple[tuple[str, str], ...]]:
    """The real head and two sorts of random ones as columns (hidden, 1 + 2 seeds), and their biases.

    transformers initialises a head as normal(0, 0.02) with zero bias; torch's Linear, which trl leaves as it is, as
    uniform within 1/sqrt(hidden), bias too.
    """
    size = len(critic.head_weight)
    columns = [critic.head_weight.detach().cpu().double()]
    biases = [0.0 if critic.head_bias is None else float(critic.head_bias)]
    for seed in range(seeds):
        columns.append(torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.02)
        biases.append(0.0)
    for seed in range(seeds):
        random = torch.rand(size + 1, generator=torch.Generator().manual_seed(1000 + seed), dtype=torch.float64)
        random = (2 * random - 1) / math.sqrt(size)
        columns.append(random[:size])
        biases.append(float(random[size]))
    weights = torch.stack(columns, dim=1).to(critic.head_weight.dtype).to(critic.device)
    names = (
        ("random-head-hf", "a randomly initialised head (normal, std 0.02)"),
        ("random-head-trl", "a randomly initialised head"),
    )
    return weights, np.array(biases), names


def _pool(values: Floats, how: Recipe) -> Floats:
    """(n + 1, k) values to (k,) scores; NaN without tokens."""
    used = values[1:] if how.alignment == "token" else values[:-1]
    if not len(used):
        return np.full(values.shape[1], np.nan)
    if how.pooling == "last":
        return np.asarray(used[-1])
    return np.asarray(used.mean(axis=0) if how.pooling == "mean" else used.sum(axis=0))


def _weight(n: int, how: Recipe) -> float:
    """How often a head's bias is in a score."""
    return float(n) if how.pooling == "sum" else 1.0


def _closes_turns(critic: Critic, recipe: Recipe) -> bool:
    """Whether more than EOS may stand behind a response: the recipe scores it, or the chat template writes it."""
    if recipe.eos == "turn":
        return True
    where = str(critic.checkpoint.path)
    ends = end_ids(critic.tokenizer, critic.config, critic.checkpoint.path)
    return recipe.tokens != "text" and len(turn_tail(critic.tokenizer, recipe.chat_template, ends, where=where)) > 0


def _other_poolings(recipe: Recipe, *, closed: bool) -> Iterator[tuple[Recipe, str]]:
    say = {"mean": "the mean over the response", "last": "the last token", "sum": "the sum over the response"}
    if closed and recipe.eos != "turn":
        yield replace(recipe, pooling="last", eos="turn"), "scoring the last token of the whole chat, as TRL does,"
    for pooling in ("mean", "last", "sum"):
        for eos in ("exclude", "include"):
            how = replace(recipe, pooling=pooling, eos=eos)
            if (how.pooling, how.eos) != (recipe.pooling, recipe.eos):
                yield how, f"scoring {say[pooling]}, {'with' if eos == 'include' else 'without'} EOS,"


def _cuts(
    whole: Sequence[Sequence[Floats]],
    lengths: Sequence[Sequence[int]],
    limits: Sequence[int],
    stats: Callable[[Callable[[int, int], int]], dict[str, float]],
) -> Iterator[dict[str, object]]:
    """`generate(max_length=N)` cuts the student at N minus the prompt; a tokenizer's max_length cuts both."""
    sizes = [
        (number, prompt, len(array) - 1)
        for arrays, prompts in zip(whole, lengths, strict=True)
        for number, (array, prompt) in enumerate(zip(arrays, prompts, strict=True))
    ]
    students = [(p, n) for number, p, n in sizes if number]
    for limit in limits:
        cut = sum(p + n > limit for p, n in students) / max(len(students), 1)
        left = sum(p < limit for p, _ in students) / max(len(students), 1)
        if cut < _LEAST_CUT or left < _LEAST_LEFT:
            continue

        def student_only(number: int, prompt: int, limit: int = limit) -> int:
            return max(limit - prompt, 0) if number else 1 << 30

        def both(number: int, prompt: int, limit: int = limit) -> int:
            return max(limit - prompt, 0)

        yield _variant(
            f"max-length-{limit}", "truncation", f"cutting prompt and student at {limit} tokens", [stats(student_only)]
        )
        yield _variant(f"truncated-{limit}", "truncation", f"cutting every text at {limit} tokens", [stats(both)])


# --- other tokens: each needs a pass of its own


def _template_slice(critic: Critic, fixed_set: FixedSet) -> list[dict[str, object]]:
    """The last n tokens of one rendered chat, n being the response's length on its own."""
    tokenizer = critic.tokenizer
    trees, counts = [], []
    for item in fixed_set.prompts:
        for response in (item.teacher, *item.students):
            ids = np.asarray(_rendered(tokenizer, item, response), np.int64)
            counts.append(len(tokenizer(response.text, add_special_tokens=False)["input_ids"]))
            trees.append(Tree(ids[:1], (Branch(ids[1:], truncated=False, eos=False),)))
    values = [v[0] for v in tree_values(critic, trees)]
    flat = [float(v[-n:].mean()) if n else math.nan for v, n in zip(values, counts, strict=True)]
    return [_variant("template-slice", "score-definition", "slicing the last tokens of a templated chat",
                     [_statistics(_folded(fixed_set, flat))])]  # fmt: skip


def _rendered(tokenizer: Any, item: FixedPrompt, response: Response) -> list[int]:
    messages = [*messages_of(item.prompt), {"role": "assistant", "content": response.text}]
    text = tokenizer.apply_chat_template(
        messages, chat_template=template_in_effect(tokenizer), tokenize=False, add_generation_prompt=False
    )
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _right_padding(critic: Critic, fixed_set: FixedSet, recipe: Recipe) -> list[dict[str, object]]:
    """Batches padded on the right, scored by the last n positions."""
    made = prepare_tokens(critic, fixed_set, recipe)
    sequences: list[tuple[Ids, int]] = []
    for spots in made.places:
        for t, b in spots:
            tree = made.trees[t]
            sequences.append((np.concatenate([tree.prompt, tree.branches[b].ids]), len(tree.branches[b].ids)))
    pad = critic.tokenizer.pad_token_id
    pad = pad if isinstance(pad, int) else (critic.tokenizer.eos_token_id or 0)
    flat: list[float] = []
    for at in range(0, len(sequences), _BATCH):
        flat.extend(_padded_batch(critic, sequences[at : at + _BATCH], int(pad)))
    return [_variant("right-padding", "score-definition", "slicing the last tokens after right padding",
                     [_statistics(_folded(fixed_set, flat))])]  # fmt: skip


def _padded_batch(critic: Critic, batch: Sequence[tuple[Ids, int]], pad: int) -> Iterator[float]:
    longest = max(len(ids) for ids, _ in batch)
    ids = np.full((len(batch), longest), pad, np.int64)
    mask = np.zeros((len(batch), longest), np.int64)
    for row, (sequence, _) in enumerate(batch):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    with torch.inference_mode():
        out = critic.backbone(
            input_ids=torch.as_tensor(ids, device=critic.device),
            attention_mask=torch.as_tensor(mask, device=critic.device),
            use_cache=False,
        )
        values = critic.values(out.last_hidden_state).double().cpu().numpy()
    for row, (_, n) in enumerate(batch):
        yield float(values[row, -n:].mean()) if n else math.nan


def _prompt_echo(critic: Critic, fixed_set: FixedSet, recipe: Recipe) -> list[dict[str, object]]:
    """The student's text is the whole output, prompt first."""
    tokenizer = critic.tokenizer

    def echoed(item: FixedPrompt) -> FixedPrompt:
        if recipe.tokens == "text":
            before = str(item.prompt)
        else:
            ids = prompt_ids(tokenizer, item.prompt, recipe.chat_template)
            before = tokenizer.decode(ids.tolist(), skip_special_tokens=True)
        students = tuple(Response(before + s.text, None, s.finish_reason, s.seed) for s in item.students)
        return replace(item, students=students)

    changed = replace(fixed_set, prompts=tuple(echoed(p) for p in fixed_set.prompts))
    label = "repeating the prompt in the student's text"
    return [_variant("prompt-echo", "prompt-echo", label, [_scored(critic, changed, recipe)])]


def _garbled(critic: Critic, fixed_set: FixedSet, recipe: Recipe) -> list[dict[str, object]]:
    """The prompt is Python's repr of its messages."""

    def garbled(item: FixedPrompt) -> FixedPrompt:
        return replace(item, prompt=str(messages_of(item.prompt)))

    changed = replace(fixed_set, prompts=tuple(garbled(p) for p in fixed_set.prompts))
    label = "taking str() of the chat as the prompt"
    return [_variant("prompt-garbled", "prompt-garbled", label, [_scored(critic, changed, recipe)])]


def _scored(critic: Critic, fixed_set: FixedSet, recipe: Recipe) -> dict[str, float]:
    made = prepare_tokens(critic, fixed_set, recipe)
    return _statistics(_pooled(made, tree_values(critic, made.trees), recipe))


def _pooled(made: Tokenised, values: Sequence[Sequence[Floats]], recipe: Recipe) -> _Scores:
    return _Scores(tuple(np.stack([_pool(values[t][b][:, None], recipe) for t, b in spots]) for spots in made.places))


def _folded(fixed_set: FixedSet, flat: Sequence[float]) -> _Scores:
    """Scores in the set's order (teacher, students, next prompt) back by prompt."""
    by_prompt, at = [], 0
    for item in fixed_set.prompts:
        n = 1 + len(item.students)
        by_prompt.append(np.array(flat[at : at + n])[:, None])
        at += n
    return _Scores(tuple(by_prompt))


# --- statistics


def _variant(id_: str, cause: str, label: str, stats: list[dict[str, float]]) -> dict[str, object]:
    return {"id": id_, "cause": cause, "label": label, "stats": stats}


def _statistics(scores: _Scores, head: int = 0) -> dict[str, float]:
    """The figures of `critictui.diagnosis.simulation.VariantStats`."""
    teacher, student, prompt = scores.pairs(head)
    n = len(teacher)
    if not n:
        return dict.fromkeys(_FIGURES, math.nan) | {"pairs": 0, "prompts": 0}
    margin = teacher - student
    return {
        "d_acc": float(np.mean(margin > 0)),
        "d_acc_ties_win": float(np.mean(margin >= 0)),
        "d_acc_soft": float(np.mean(0.5 * (1 + np.tanh(margin / 2)))),
        "tie_rate": float(np.mean(margin == 0)),
        "margin": float(margin.mean()),
        "margin_std": float(margin.std()),
        "teacher": float(teacher.mean()),
        "student": float(student.mean()),
        "level_std": float(((teacher + student) / 2).std()),
        "pairs": n,
        "prompts": len(np.unique(prompt)),
    }
