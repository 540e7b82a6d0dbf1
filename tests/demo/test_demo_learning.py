"""The tiny critic really learns, and what was recorded is what its weights say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.torch


def test_the_healthy_critic_tells_teacher_from_student_on_pairs_it_never_saw(
    tiny_critic: Any, tiny_tokenizer: Any
) -> None:
    import torch

    from critictui.demo.critic import make_batch, score
    from critictui.demo.task import make_pairs

    torch.set_num_threads(1)
    with torch.no_grad():
        scores = score(tiny_critic, make_batch(tiny_tokenizer, make_pairs(300, seed=77)))
    accuracy = (scores.teacher > scores.student).double().mean().item()
    assert 0.7 < accuracy < 0.9
    assert (scores.teacher - scores.student).mean().item() > 0.7


def test_recorded_scores_are_what_a_plain_forward_gives(demo_run: Callable[..., Path], tiny_critic: Any) -> None:
    import torch

    saved = torch.load(demo_run("healthy") / "training_samples.pt", weights_only=True)
    prompts = saved["input_ids"].shape[1] - saved["student_responses"].shape[1]
    eos = tiny_critic.config.eos_token_id
    for side in ("teacher", "student"):
        for row in range(len(saved["input_ids"])):
            prompt = saved["input_ids"][row, :prompts][saved["attention_mask"][row, :prompts].bool()]
            response = saved[f"{side}_responses"][row][saved[f"{side}_response_mask"][row].bool()]
            assert response[-1] == eos
            with torch.no_grad():
                values = tiny_critic(input_ids=torch.cat([prompt, response])[None]).logits[0, :, 0]
            mean = values[len(prompt) : -1].mean()
            assert mean.item() == pytest.approx(saved[f"{side}_scores"][row].item(), abs=1e-4)
    assert saved["batch_d_acc"] == (saved["teacher_scores"] > saved["student_scores"]).float().mean().item()
