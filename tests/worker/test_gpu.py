"""On a GPU: the same scores as on the CPU, whatever kernel gives them; damage is found; memory stays within bounds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.scoring import memory
from critictui.scoring.fixed_set import FixedSet
from critictui.scoring.recipe import Recipe
from critictui.worker import forward, score
from critictui.worker.load import load_critic
from critictui.worker.model import Critic
from critictui.worker.tokens import Branch, Tree

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.fixture(autouse=True)
def whole_gpu() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def moved(critic: Critic) -> Critic:
    """The critic, on the GPU."""
    gpu = torch.device("cuda:0")
    return replace(critic, backbone=critic.backbone.to(gpu), head_weight=critic.head_weight.to(gpu), device=gpu)


def random_trees(seed: int, count: int = 6, longest: int = 200) -> list[Tree]:
    generator = np.random.default_rng(seed)

    def ids(most: int) -> np.ndarray:
        return generator.integers(3, 380, size=generator.integers(1, most))

    return [
        Tree(ids(longest), tuple(Branch(ids(longest), truncated=False, eos=False) for _ in range(1 + number % 4)))
        for number in range(count)
    ]


def flat(values: list[list[np.ndarray]]) -> np.ndarray:
    return np.concatenate([array for arrays in values for array in arrays])


SHAPES: list[tuple[str, dict[str, Any]]] = [
    ("qwen2", {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 1}),
    ("qwen3", {"hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 128}),
    ("llama", {"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}),
    ("mistral", {"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 33}),
]


@pytest.mark.parametrize(("kind", "changes"), SHAPES)
def test_the_kernel_gives_each_sequences_own_values(
    make_critic: Callable[..., Critic], kind: str, changes: dict[str, Any]
) -> None:
    """In bf16 a value is held to what one sequence at a time is off by itself from double precision."""
    trees = random_trees(1)
    exact = flat(forward.tree_values(make_critic(kind, torch.float64, **changes), trees))
    critic = moved(make_critic(kind, torch.bfloat16, **changes))
    found = flat(forward.tree_values(critic, trees))
    assert forward._ways[critic] == "kernel"
    forward._ways[critic] = "single"
    alone = flat(forward.tree_values(critic, trees))
    forward._ways[critic] = "segments"
    by_segment = flat(forward.tree_values(critic, trees))
    own_error = np.sqrt(np.mean((alone - exact) ** 2))
    for values in (found, by_segment):
        assert np.sqrt(np.mean((values - exact) ** 2)) < 1.3 * own_error
    assert own_error < 0.1 * exact.std()


def test_single_precision_on_the_gpu_is_close_to_double(make_critic: Callable[..., Critic]) -> None:
    trees = random_trees(2)
    exact = flat(forward.tree_values(make_critic("qwen2", torch.float64), trees))
    critic = moved(make_critic("qwen2", torch.float32))
    found = flat(forward.tree_values(critic, trees))
    assert forward._ways[critic] == "segments"
    assert np.abs(found - exact).max() < 1e-5 * np.abs(exact).max()


def test_scores_depend_on_neither_batch_nor_order(make_critic: Callable[..., Critic], fixed_set: FixedSet) -> None:
    critic = moved(make_critic("qwen2", torch.float32))
    _, rows = score.score_critic(critic, fixed_set, Recipe())
    expected = {(r.prompt_id, r.role, r.index): r.score for r in rows}
    for prompts in (fixed_set.prompts, fixed_set.prompts[::-1], fixed_set.prompts[:3]):
        for budget in (1, 97, 5000):
            _, again = score.score_critic(critic, replace(fixed_set, prompts=prompts), Recipe(), budget=budget)
            for row in again:
                assert row.score == pytest.approx(expected[row.prompt_id, row.role, row.index], abs=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_tensor_reaches_the_gpu_as_it_is_stored(tmp_path: Path, forms: ModuleType, dtype: Any) -> None:
    state = forms.weights()
    critic = load_critic(forms.write_verl(tmp_path, 5, state, form="fsdp2", world=3), device="cuda:0", dtype=dtype)
    for name, tensor in critic.backbone.state_dict().items():
        assert tensor.device.type == "cuda"
        assert torch.equal(tensor.cpu(), state[f"model.{name}"].to(getattr(torch, dtype))), name


@pytest.mark.parametrize(("value", "words"), [(float("nan"), "not finite"), (0.0, "values in a row are 0")])
def test_damaged_weights_are_found_on_the_gpu(tmp_path: Path, forms: ModuleType, value: float, words: str) -> None:
    state = forms.weights()
    name = "model.layers.1.mlp.up_proj.weight"
    if value == 0.0:
        state[name] = torch.zeros_like(state[name])
    else:
        state[name].view(-1)[7] = value
    with pytest.raises(CheckpointError, match=rf"layers\.1\.mlp\.up_proj\.weight.*{words}"):
        load_critic(forms.write_hf(tmp_path, state), device="cuda:0", dtype="bfloat16")


def test_rows_that_do_not_fit_are_halved(make_critic: Callable[..., Critic]) -> None:
    critic = moved(make_critic("qwen2", torch.bfloat16, hidden_size=512, intermediate_size=8192))
    trees = random_trees(3, count=60, longest=400)
    expected = flat(forward.tree_values(critic, trees))
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    room = torch.cuda.memory_allocated() + (160 << 20)
    torch.cuda.set_per_process_memory_fraction(room / total)
    found = flat(forward.tree_values(critic, trees, budget=1 << 20))  # one row of all that cannot fit
    assert torch.cuda.max_memory_reserved() <= room + (64 << 20)
    assert np.abs(found - expected).max() < 0.1 * expected.std()


def test_a_gpu_that_something_else_fills_is_refused_with_the_numbers() -> None:
    """A process of its own takes most of the memory, as training does; nothing of its is touched."""
    total = torch.cuda.mem_get_info()[1]
    script = (
        "import sys, torch\n"
        f"x = torch.empty({int(total * 0.8)}, dtype=torch.uint8, device='cuda')\n"
        "print('ready', flush=True)\nsys.stdin.read()\n"
        "torch.ones(1 << 20, device='cuda').sum().item(); print('unharmed', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True) as training:
        assert training.stdin is not None
        assert training.stdout is not None
        assert training.stdout.readline() == "ready\n"
        readings = memory.read_gpus()
        need = memory.need_of(7_600_000_000)
        refused = memory.place("cuda:0", readings, need)
        elsewhere = memory.place("auto", readings, need)
        training.stdin.close()
        assert training.stdout.readline() == "unharmed\n"
    assert refused.device == ""
    assert "refused, training could run out of memory" in refused.message
    assert elsewhere.device == "cpu"
    assert readings[0].used > 0.8 * total
