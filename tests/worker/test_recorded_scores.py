"""What the demo's training recorded, under either pooling, is what `score` and `replay` give by that recipe alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra [score]")

from critictui.checkpoint.find import resolve_target
from critictui.config import load_config
from critictui.diagnosis.replay import Replay, in_words, judge_replay
from critictui.scoring.fixed_set import FixedPrompt, FixedSet, Response
from critictui.scoring.recipe import PRESETS, recipe_from
from critictui.worker.load import load_critic
from critictui.worker.model import Critic
from critictui.worker.replay import replay
from critictui.worker.samples import Samples, SavedResponse, read_samples
from critictui.worker.score import score_critic

pytestmark = pytest.mark.torch

RECIPES = {"mean": "gad-fork", "last": "gad"}


@dataclass(frozen=True)
class Trained:
    """A run of the demo, its last critic in float32, and what training saved with it."""

    run: Path
    right: str
    """The preset that training scored by."""
    other: str
    critic: Critic
    samples: Samples


@pytest.fixture(scope="module", params=sorted(RECIPES))
def trained(request: pytest.FixtureRequest, demo_run: Callable[..., Path]) -> Trained:
    run = demo_run("healthy", pooling=request.param)
    right, other = RECIPES[request.param], next(name for how, name in RECIPES.items() if how != request.param)
    critic = load_critic(resolve_target(run), device="cpu", dtype="float32")
    samples = read_samples(run / "training_samples.pt")
    assert samples.step == critic.checkpoint.step
    return Trained(run, right, other, critic, samples)


def as_fixed_set(samples: Samples, critic: Critic) -> FixedSet:
    """The saved pairs as a fixed set: prompts back as texts, responses by their ids."""

    def response(saved: SavedResponse) -> Response:
        assert saved.ids is not None
        ids = tuple(saved.ids.tolist())
        return Response(critic.tokenizer.decode(ids[:-1]), ids, "stop")

    sides = {role: [r for r in samples.responses if r.role == role] for role in ("teacher", "student")}
    prompts = []
    for teacher, student in zip(sides["teacher"], sides["student"], strict=True):
        assert teacher.prompt_ids is not None
        rendered = critic.tokenizer.decode(teacher.prompt_ids.tolist())
        text = rendered.removeprefix("<|im_start|>user\n").removesuffix("<|im_end|>\n<|im_start|>assistant\n")
        prompts.append(FixedPrompt(str(teacher.pair), text, response(teacher), (response(student),)))
    return FixedSet("saved", "00", tuple(prompts))


def scored(trained: Trained, preset: str) -> np.ndarray:
    """Teachers' scores, then students', as the file has them."""
    _, rows = score_critic(trained.critic, as_fixed_set(trained.samples, trained.critic), PRESETS[preset])
    return np.array([r.score for role in ("teacher", "student") for r in rows if r.role == role])


def test_score_gives_what_training_recorded_by_its_recipe_and_by_no_other(trained: Trained) -> None:
    recorded = np.array([r.score for r in trained.samples.responses])
    assert np.ptp(recorded) > 0.5  # there is something to be equal about
    np.testing.assert_allclose(scored(trained, trained.right), recorded, atol=1e-4)
    assert np.median(np.abs(scored(trained, trained.other) - recorded)) > 0.01


def replayed(trained: Trained, preset: str) -> Replay:
    return judge_replay(replay(trained.critic, trained.samples, PRESETS[preset]))


def test_replay_reproduces_the_recorded_scores_and_names_the_recipe_when_asked_for_another(trained: Trained) -> None:
    right = replayed(trained, trained.right)
    assert right.reproduced, in_words(right)
    assert right.asked.comparison.max_error < 1e-4
    other = replayed(trained, trained.other)
    assert not other.reproduced
    assert other.found is not None
    assert other.found.recipe == PRESETS[trained.right]
    assert other.found.comparison.max_error < 1e-4


def test_a_demo_run_is_scored_by_the_recipe_that_trained_it_unless_told_otherwise(trained: Trained) -> None:
    assert recipe_from(load_config(trained.run).recipe) == PRESETS[trained.right]
