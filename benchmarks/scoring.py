"""How fast fixed sets are scored: `python -m benchmarks.scoring [--hidden 256] [--repeats 3] [--json]`.

One random critic, one run, three ways to the same scores, interleaved:
- `script`: the usual script: batch 1, the full language model with its `lm_head` and all hidden states, a value head on
  the last of them, both sequences of every pair each time;
- `padded`: a careful loop: the backbone alone, the same sequences right-padded in batches of 8;
- `packed`: critictui: each unique response once, behind its prompt once, in packed rows.
Shapes: a long prompt with short responses and the reverse, with 1, 4 and 8 students a prompt. The error is the largest
of any score against the same weights in double precision; the last line puts it in relation to the largest score.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.worker.forward import tree_values
from critictui.worker.model import Critic
from critictui.worker.tokens import Branch, Tree

SHAPES = {"long prompt": (768, 64), "short prompt": (64, 256)}
STUDENTS = (1, 4, 8)
GOALS = {"long prompt": (1.8, 5.5, 9.0), "short prompt": (1.1, 2.0, 2.2)}
GOAL_ERROR = 1e-6
VOCABULARY = 4096

Sequence = tuple[np.ndarray, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = language_model(options.hidden, options.layers)
    head = torch.randn(options.hidden, generator=torch.Generator().manual_seed(1)) / options.hidden**0.5
    single, double = critic_of(model, head, torch.float32), critic_of(model, head, torch.float64)
    rows = []
    for shape, (prompt, response) in SHAPES.items():
        for students, goal in zip(STUDENTS, GOALS[shape], strict=True):
            trees = random_trees(options.prompts, prompt, response, students)
            row = {"shape": shape, "students": students, "goal": goal}
            rows.append(row | measure(model, head, single, double, trees, options.repeats))
            if not options.json:
                show(rows[-1], first=len(rows) == 1)
    largest = max(row["largest_score"] for row in rows)
    worst = {name: max(row[name] for row in rows) / largest for name in ("error", "error_of_script")}
    if not options.json:
        print(f"largest error of a score, relative: {worst['error']:.1e} (goal {GOAL_ERROR:.0e}; ", end="")
        print(f"the script's own: {worst['error_of_script']:.1e})")
    if options.json:
        print(json.dumps(rows, indent=2))


def show(row: dict[str, Any], *, first: bool) -> None:
    if first:
        names = ("script s", "padded s", "packed s", "/script", "goal", "/padded", "error")
        print(f"{'shape':14}{'n':>3}" + "".join(f"{name:>10}" for name in names))
    numbers = [row["script"], row["padded"], row["packed"], row["against_script"], row["goal"], row["against_padded"]]
    cells = "".join(f"{number:10.2f}" for number in numbers)
    print(f"{row['shape']:14}{row['students']:3}{cells}{row['error']:10.1e}")


def language_model(hidden: int, layers: int) -> Any:
    """A random Qwen2 whose `lm_head` has about the share of the work that it has in a model of half a billion."""
    from transformers import AutoModelForCausalLM, Qwen2Config

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=hidden * 4,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 64),
        num_key_value_heads=max(1, hidden // 128),
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def critic_of(model: Any, head: torch.Tensor, dtype: torch.dtype) -> Critic:
    """The critic that shares the language model's backbone, or a copy of it in another precision."""
    import copy

    same = model.model.dtype == dtype
    backbone = model.model if same else copy.deepcopy(model.model).to(dtype)
    path = Path("/nowhere")
    return Critic(
        checkpoint=Checkpoint(path, 0, "hf", "complete", "", 0, (), 0.0),
        audit=SimpleNamespace(fingerprint="", weights=""),  # type: ignore[arg-type]
        config=backbone.config,
        backbone=backbone,
        head_weight=head.to(torch.promote_types(dtype, torch.float32)),
        head_bias=None,
        device=head.device,
        dtype=dtype,
        load_seconds=0.0,
        identity="",
        open_tokenizer=lambda: None,
    )


def random_trees(prompts: int, prompt: int, response: int, students: int) -> list[Tree]:
    """Lengths vary by a quarter around their mean, as texts do."""
    generator = np.random.default_rng(0)

    def ids(mean: int) -> np.ndarray:
        return generator.integers(5, VOCABULARY, generator.integers(mean * 3 // 4, mean * 5 // 4 + 1))

    return [
        Tree(ids(prompt), tuple(Branch(ids(response), truncated=False, eos=False) for _ in range(1 + students)))
        for _ in range(prompts)
    ]


def pairs_of(trees: list[Tree]) -> list[tuple[Sequence, Sequence]]:
    """(teacher, student) sequences, teacher repeated: what the script works through."""
    return [
        ((tree.prompt, tree.branches[0].ids), (tree.prompt, student.ids))
        for tree in trees
        for student in tree.branches[1:]
    ]


def by_script(model: Any, head: torch.Tensor, trees: list[Tree]) -> list[float]:
    scores = []
    with torch.inference_mode():
        for pair in pairs_of(trees):
            for prompt, response in pair:
                ids = torch.tensor(np.concatenate([prompt, response]), device=head.device)[None]
                out = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
                values = out.hidden_states[-1][0].to(head.dtype) @ head
                scores.append(float(values[len(prompt) :].mean()))
    return scores


def by_padding(model: Any, head: torch.Tensor, trees: list[Tree]) -> list[float]:
    sequences = [sequence for pair in pairs_of(trees) for sequence in pair]
    scores = []
    with torch.inference_mode():
        for start in range(0, len(sequences), 8):
            batch = sequences[start : start + 8]
            width = max(len(p) + len(r) for p, r in batch)
            ids, mask = torch.zeros(2, len(batch), width, dtype=torch.long, device=head.device)
            for i, (prompt, response) in enumerate(batch):
                ids[i, : len(prompt) + len(response)] = torch.from_numpy(np.concatenate([prompt, response]))
                mask[i, : len(prompt) + len(response)] = 1
            hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            values = hidden.to(head.dtype) @ head
            scores += [float(values[i, len(p) : len(p) + len(r)].mean()) for i, (p, r) in enumerate(batch)]
    return scores


def by_packing(critic: Critic, trees: list[Tree]) -> list[float]:
    found = [[float(values[1:].mean()) for values in arrays] for arrays in tree_values(critic, trees)]
    return [score for scores in found for student in scores[1:] for score in (scores[0], student)]


def measure(
    model: Any, head: torch.Tensor, single: Critic, double: Critic, trees: list[Tree], repeats: int
) -> dict[str, float]:
    ways: dict[str, Callable[[], list[float]]] = {
        "script": lambda: by_script(model, head, trees),
        "padded": lambda: by_padding(model, head, trees),
        "packed": lambda: by_packing(single, trees),
    }
    by_packing(single, trees[:1])  # the first call of a way pays for its own warming up
    taken: dict[str, list[float]] = {name: [] for name in ways}
    scores: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            scores[name] = way()
            taken[name].append(time.perf_counter() - start)
    exact = np.array(by_packing(double, trees))
    for name, found in scores.items():
        assert np.abs(np.array(found) - exact).max() < 1e-3 * np.abs(exact).max(), f"{name} gives other scores"
    seconds = {name: statistics.median(values) for name, values in taken.items()}
    return {
        **seconds,
        "against_script": seconds["script"] / seconds["packed"],
        "against_padded": seconds["padded"] / seconds["packed"],
        "error": float(np.abs(np.array(scores["packed"]) - exact).max()),
        "error_of_script": float(np.abs(np.array(scores["script"]) - exact).max()),
        "largest_score": float(np.abs(exact).max()),
        "pairs_per_second": len(pairs_of(trees)) / seconds["packed"],
        "tokens_per_second": sum(tree.tokens for tree in trees) / seconds["packed"],
    }


if __name__ == "__main__":
    main()
