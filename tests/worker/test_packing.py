"""A score is the same alone, in a packed row, in any order and under any budget."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from critictui.scoring.fixed_set import FixedSet
from critictui.scoring.recipe import Recipe, ScoringError
from critictui.worker import forward, score
from critictui.worker.attention import Layout, tree_attention
from critictui.worker.attention import packed as within
from critictui.worker.model import Critic
from critictui.worker.tokens import Branch, Tree

pytestmark = pytest.mark.torch


def reference(critic: Critic, tree: Tree) -> list[np.ndarray]:
    """Each sequence alone, unpadded, through transformers' own attention: what a careful script would do."""
    softcap = getattr(critic.config, "attn_logit_softcapping", None)
    critic.backbone.config._attn_implementation = "eager" if softcap else "sdpa"
    out = []
    with torch.inference_mode():
        for branch in tree.branches:
            ids = torch.tensor(np.concatenate([tree.prompt, branch.ids]))[None]
            hidden = critic.backbone(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
            out.append(critic.values(hidden)[len(tree.prompt) - 1 :].double().numpy())
    critic.backbone.config._attn_implementation = "sdpa"
    return out


def random_trees(seed: int, count: int = 5) -> list[Tree]:
    generator = np.random.default_rng(seed)
    trees = []
    for _ in range(count):
        lengths = generator.integers(1, 40, size=generator.integers(1, 5))
        branches = tuple(Branch(generator.integers(3, 380, size=n), truncated=False, eos=False) for n in lengths)
        trees.append(Tree(generator.integers(3, 380, size=generator.integers(1, 60)), branches))
    return trees


def assert_same(found: list[list[np.ndarray]], critic: Critic, trees: list[Tree], tolerance: float) -> None:
    for arrays, tree in zip(found, trees, strict=True):
        for array, expected in zip(arrays, reference(critic, tree), strict=True):
            np.testing.assert_allclose(array, expected, rtol=0, atol=tolerance * (1 + np.abs(expected).max()))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("qwen2", {}),
        ("qwen2", {"num_key_value_heads": 4}),
        ("llama", {}),
        ("qwen3", {"head_dim": 16}),
        ("mistral", {"sliding_window": 16}),
        ("gemma2", {"head_dim": 12, "sliding_window": 8, "attn_logit_softcapping": 5.0}),
        ("gpt_neox", {}),
    ],
)
def test_packed_values_are_those_of_each_sequence_alone(
    make_critic: Callable[..., Critic], kind: str, changes: dict[str, Any]
) -> None:
    critic = make_critic(kind, torch.float64, **changes)
    trees = random_trees(3)
    found = forward.tree_values(critic, trees, budget=150)
    assert forward.can_pack(critic, trees)
    # transformers' eager attention, the only one with a soft cap, takes its softmax in single precision
    assert_same(found, critic, trees, 1e-5 if kind == "gemma2" else 1e-9)


def test_architectures_that_cannot_be_packed_are_scored_one_by_one(make_critic: Callable[..., Critic]) -> None:
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 32}
    critic = make_critic("llama", torch.float64, rope_parameters=rope, max_position_embeddings=32)
    trees = random_trees(3, 3)
    found = forward.tree_values(critic, trees)
    assert not forward.can_pack(critic, trees)
    assert_same(found, critic, trees, 1e-9)


def test_a_backbone_that_ignores_the_packing_is_found_out(make_critic: Callable[..., Critic]) -> None:
    critic = make_critic("qwen2", torch.float64, seed=3)
    inner = critic.backbone.forward

    def positions_lost(*, input_ids: torch.Tensor, position_ids: torch.Tensor | None = None, **rest: Any) -> Any:
        return inner(input_ids=input_ids, position_ids=torch.arange(input_ids.shape[1])[None], **rest)

    critic.backbone.forward = positions_lost  # type: ignore[method-assign]
    trees = random_trees(3, 2)
    assert not forward.can_pack(critic, trees)
    assert_same(forward.tree_values(critic, trees), critic, trees, 1e-9)


def test_scores_depend_on_neither_batch_nor_order(critic: Critic, fixed_set: FixedSet) -> None:
    recipe = Recipe()
    _, rows = score.score_critic(critic, fixed_set, recipe)
    expected = {(r.prompt_id, r.role, r.index): r.score for r in rows}
    shuffled = list(fixed_set.prompts)
    random.Random(1).shuffle(shuffled)
    for prompts in (fixed_set.prompts, tuple(shuffled), tuple(shuffled[:3])):
        for budget in (1, 97, 5000):
            _, again = score.score_critic(critic, replace(fixed_set, prompts=prompts), recipe, budget=budget)
            assert len(again) == sum(1 + len(p.students) for p in prompts)
            for row in again:
                assert row.score == pytest.approx(expected[row.prompt_id, row.role, row.index], abs=1e-5)


def test_single_precision_is_close_to_double(make_critic: Callable[..., Critic], fixed_set: FixedSet) -> None:
    _, single = score.score_critic(make_critic(), fixed_set, Recipe())
    _, double = score.score_critic(make_critic(dtype=torch.float64), fixed_set, Recipe())
    exact = np.array([row.score for row in double])
    error = np.abs(np.array([row.score for row in single]) - exact).max() / np.abs(exact).max()
    assert error < 1e-5


def test_each_unique_response_is_computed_once(critic: Critic, fixed_set: FixedSet) -> None:
    made = score.prepare_tokens(critic, fixed_set, Recipe())
    assert len(made.trees) == 7  # eight prompts, two of them the same
    assert sum(len(tree.branches) for tree in made.trees) == 31  # a student that is its teacher's twin
    seen: list[int] = []
    inner = critic.backbone.forward

    def counting(*, input_ids: torch.Tensor, **rest: Any) -> Any:
        seen.append(input_ids.numel())
        return inner(input_ids=input_ids, **rest)

    forward.can_pack(critic, made.trees)
    critic.backbone.forward = counting  # type: ignore[method-assign]
    try:
        result, _ = score.score_critic(critic, fixed_set, Recipe(), budget=10**6)
    finally:
        del critic.backbone.forward
    assert seen == [sum(tree.tokens for tree in made.trees)] == [result.tokens]


def dense(layout: Layout, window: int | None = None) -> np.ndarray:
    """(query, key) whether the query sees the key: itself, and what is before it in its sequence."""
    sees = np.zeros((layout.length, layout.length), bool)
    for part in layout.segments:
        root = layout.segments[part.parent] if part.parent >= 0 else None
        whole = [*(range(root.start, root.stop) if root else ()), *range(part.start, part.stop)]
        for place, token in enumerate(whole):
            if part.start <= token < part.stop:
                sees[token, whole[0 if window is None else max(0, place + 1 - window) : place + 1]] = True
    return sees


def test_the_spans_show_each_token_its_own_sequence_and_no_other() -> None:
    layout = Layout.of([(5, [3, 0, 4]), (2, [6]), (0, [2])])
    spans = layout.spans()
    assert (spans.longest_query, spans.longest_key) == (6, 9)
    sees = np.zeros((layout.length, layout.length), bool)
    for number in range(len(spans.query_bounds) - 1):
        queries = range(spans.query_bounds[number], spans.query_bounds[number + 1])
        keys = spans.keys[spans.key_bounds[number] : spans.key_bounds[number + 1]]
        for i, query in enumerate(queries):
            sees[query, keys[: len(keys) - len(queries) + i + 1]] = True
    np.testing.assert_array_equal(sees, dense(layout))


@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("softcap", [None, 3.0])
def test_attention_by_segment_is_attention_under_the_mask(window: int | None, softcap: float | None) -> None:
    layout = Layout.of([(9, [3, 1, 14]), (1, [7]), (4, [])])
    torch.manual_seed(0)
    query = torch.randn(1, 4, layout.length, 8, dtype=torch.float64)
    key, value = torch.randn(2, 1, 2, layout.length, 8, dtype=torch.float64)
    with within(layout):
        out, _ = tree_attention(
            torch.nn.Module(), query, key, value, None, scaling=0.3, sliding_window=window, softcap=softcap
        )
    logits = query @ key.repeat_interleave(2, 1).transpose(2, 3) * 0.3
    if softcap:
        logits = torch.tanh(logits / softcap) * softcap
    weights = logits.masked_fill(~torch.tensor(dense(layout, window)), -torch.inf).softmax(-1)
    expected = (weights @ value.repeat_interleave(2, 1)).transpose(1, 2)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


@pytest.mark.fault("W02")
def test_rows_are_halved_until_they_fit(critic: Critic, fixed_set: FixedSet) -> None:
    expected, _ = score.score_critic(critic, fixed_set, Recipe())
    inner = critic.backbone.forward
    sizes: list[int] = []

    def small(*, input_ids: torch.Tensor, **rest: Any) -> Any:
        sizes.append(input_ids.numel())
        if input_ids.numel() > 200:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return inner(input_ids=input_ids, **rest)

    critic.backbone.forward = small  # type: ignore[method-assign]
    try:
        found, _ = score.score_critic(critic, fixed_set, Recipe(), budget=4000)
        critic.backbone.forward = lambda **_: (_ for _ in ()).throw(torch.OutOfMemoryError("out of memory"))
        with pytest.raises(forward.OutOfMemoryError, match="tokens does not fit"):
            score.score_critic(critic, fixed_set, Recipe())
    finally:
        del critic.backbone.forward
    assert max(sizes) > 200
    assert found.score_diff == pytest.approx(expected.score_diff, abs=1e-5)


def test_other_errors_are_not_taken_for_memory(critic: Critic, fixed_set: FixedSet) -> None:
    critic.backbone.forward = lambda **_: (_ for _ in ()).throw(RuntimeError("shape mismatch"))  # type: ignore[method-assign]
    try:
        with pytest.raises(RuntimeError, match="shape mismatch"):
            score.score_critic(critic, fixed_set, Recipe())
    finally:
        del critic.backbone.forward


def test_ids_of_another_model_are_refused(critic: Critic) -> None:
    tree = Tree(np.array([5, 6]), (Branch(np.array([999]), truncated=False, eos=False),))
    with pytest.raises(ScoringError, match="999 is beyond its embedding of 384"):
        forward.tree_values(critic, [tree])


def test_response_values_are_those_of_the_trees(critic: Critic) -> None:
    trees = random_trees(5, 3)
    sequences = [(tree.prompt, branch.ids) for tree in trees for branch in tree.branches]
    random.Random(2).shuffle(sequences)
    found = forward.response_values(critic, sequences)
    single = [forward.response_values(critic, [pair])[0] for pair in sequences]
    for array, alone, (_, ids) in zip(found, single, sequences, strict=True):
        assert array.shape == ids.shape
        np.testing.assert_allclose(array, alone, atol=1e-4)


def test_progress_ends_at_all_tokens(critic: Critic) -> None:
    trees = random_trees(6)
    seen: list[tuple[float, float]] = []
    forward.tree_values(critic, trees, budget=60, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == sum(tree.tokens for tree in trees)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 2


def test_a_budget_comes_from_the_free_memory(critic: Critic, monkeypatch: pytest.MonkeyPatch) -> None:
    from critictui.worker import budget

    assert budget.token_budget(critic) == budget.CPU_TOKENS
    each = budget.bytes_per_token(critic.config, 4)
    monkeypatch.setattr(budget, "free_host_memory", lambda: 2 * 1000 * each)
    assert budget.token_budget(critic) == 1000
    gpu = SimpleNamespace(device=torch.device("cuda:0"), dtype=torch.bfloat16, config=critic.config)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (80 << 30, 141 << 30))
    assert budget.token_budget(gpu) == budget.GPU_TOKENS  # type: ignore[arg-type]
