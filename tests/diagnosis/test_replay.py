"""From recorded scores of 64 responses the recipe is found that made them, or none when the weights are others.

The scores are recorded here by plain forward passes of transformers' own model.
"""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from critictui.config import load_config  # noqa: E402
from critictui.demo.task import make_pairs  # noqa: E402
from critictui.diagnosis.commands import save_recipe  # noqa: E402
from critictui.diagnosis.replay import Replay, compare, in_words, judge_replay, replay_json  # noqa: E402
from critictui.diagnosis.script import DiagnosisError  # noqa: E402
from critictui.scoring.recipe import Recipe, ScoringError, recipe_from  # noqa: E402
from critictui.worker.load import load_critic  # noqa: E402
from critictui.worker.replay import replay  # noqa: E402
from critictui.worker.samples import read_samples  # noqa: E402

pytestmark = pytest.mark.xdist_group("diagnosis")

PAIRS = 32
RECIPES = [
    Recipe(pooling=pooling, eos=eos, alignment=alignment)
    for pooling, eos, alignment in itertools.product(
        ("mean", "last", "sum"), ("exclude", "include"), ("token", "previous")
    )
]


def name_of(recipe: Recipe) -> str:
    return f"{recipe.pooling}-{recipe.eos}-{recipe.alignment}"


@dataclass(frozen=True)
class Recorded:
    """32 pairs as ids and texts, and the values that training saw at each position."""

    critic: Any
    tokenizer: Any
    prompts: list[list[int]]
    """64, teacher and student of a pair behind each other; so are the lists below."""
    bodies: list[list[int]]
    """Response ids, EOS last."""
    prompt_texts: list[str]
    texts: list[str]
    values: list[np.ndarray]
    """Over prompt and response."""
    ended: tuple[bool, ...] = (True,) * (2 * PAIRS)
    """Whether a response ends in EOS."""

    def sequences(self) -> Any:
        return zip(self.values, self.prompts, self.bodies, strict=True)

    def scores(self, recipe: Recipe) -> np.ndarray:
        rows = zip(self.sequences(), self.ended, strict=True)
        return np.array([pooled(v, len(p), len(b), recipe, ended=ended) for (v, p, b), ended in rows])


def pooled(values: np.ndarray, prompt: int, body: int, recipe: Recipe, *, ended: bool) -> float:
    """The definition, position by position."""
    scored = [prompt + i for i in range(body - 1 if ended and recipe.eos == "exclude" else body)]
    if recipe.alignment == "previous":
        scored = [i - 1 for i in scored]
    used = values[scored]
    return float({"mean": used.mean(), "last": used[-1], "sum": used.sum()}[recipe.pooling])


@pytest.fixture(scope="module")
def recorded(demo_checkpoint, tiny_critic, tiny_tokenizer) -> Recorded:
    torch.set_num_threads(1)
    pairs = make_pairs(PAIRS, seed=41)
    prompts, bodies, prompt_texts, texts, values = [], [], [], [], []
    for pair in pairs:
        chat = [{"role": "user", "content": pair.prompt}]
        opening = tiny_tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        for text in (pair.teacher, pair.students[0]):
            body = [*tiny_tokenizer(text, add_special_tokens=False)["input_ids"], tiny_tokenizer.eos_token_id]
            with torch.inference_mode():
                logits = tiny_critic(input_ids=torch.tensor([opening + body])).logits[0, :, 0]
            values.append(logits.double().numpy())
            prompts.append(list(opening))
            bodies.append(body)
            prompt_texts.append(pair.prompt)
            texts.append(text)
    critic = load_critic(demo_checkpoint)
    return Recorded(critic, tiny_tokenizer, prompts, bodies, prompt_texts, texts, values)


@pytest.fixture(scope="module")
def clipped(recorded: Recorded) -> Recorded:
    """The same with every fourth response cut by its length limit, as some always are: those have no EOS.

    Where all responses end in EOS, the value before the last token with EOS is that of the last token without it.
    """
    bodies = [b[:-3] if i % 4 == 3 else b for i, b in enumerate(recorded.bodies)]
    values = [v[:-3] if i % 4 == 3 else v for i, v in enumerate(recorded.values)]
    return replace(recorded, bodies=bodies, values=values, ended=tuple(i % 4 != 3 for i in range(len(bodies))))


def padded(rows: list[list[int]], *, left: bool = False) -> tuple[Any, Any]:
    """(rows, longest) ids and mask."""
    width = max(map(len, rows))
    ids, mask = torch.zeros((len(rows), width), dtype=torch.long), torch.zeros((len(rows), width), dtype=torch.long)
    for at, row in enumerate(rows):
        where = slice(width - len(row), None) if left else slice(0, len(row))
        ids[at, where], mask[at, where] = torch.tensor(row), 1
    return ids, mask


def as_tensors(r: Recorded, scores: np.ndarray) -> dict[str, Any]:
    """verl's batch: left-padded prompts followed by the student's responses, right-padded; masks for each."""
    prompts, prompt_mask = padded(r.prompts[::2], left=True)
    teacher, teacher_mask = padded(r.bodies[::2])
    student, student_mask = padded(r.bodies[1::2])
    return {
        "step": 72,
        "input_ids": torch.cat([prompts, student], 1),
        "attention_mask": torch.cat([prompt_mask, student_mask], 1),
        "teacher_responses": teacher,
        "teacher_response_mask": teacher_mask,
        "student_responses": student,
        "student_response_mask": student_mask,
        "teacher_scores": torch.tensor(scores[::2], dtype=torch.float32),
        "student_scores": torch.tensor(scores[1::2], dtype=torch.float32),
        "batch_d_acc": torch.tensor(0.75),
    }


def as_texts(r: Recorded, scores: np.ndarray) -> dict[str, Any]:
    return {
        "prompts": r.prompt_texts[::2],
        "teacher_responses": r.texts[::2],
        "student_responses": r.texts[1::2],
        "teacher_scores": scores[::2].tolist(),
        "student_scores": scores[1::2].tolist(),
        "step": 72,
    }


def as_rollout(r: Recorded, scores: np.ndarray) -> str:
    """verl's dump: the rendered prompt decoded without its special tokens."""
    rows = []
    for prompt, text, score in zip(r.prompts, r.texts, scores, strict=True):
        before = r.tokenizer.decode(prompt, skip_special_tokens=True)
        rows.append({"input": before, "output": text, "score": float(score), "step": 72})
    return "\n".join(json.dumps(row) for row in rows) + "\n"


def replayed(r: Recorded, path: Path, saved: object, asked: Recipe | None = None) -> Replay:
    if isinstance(saved, str):
        path.write_text(saved)
    else:
        torch.save(saved, path)
    return judge_replay(json.loads(json.dumps(replay(r.critic, read_samples(path), asked or Recipe()))))


def same(found: Replay, recipe: Recipe) -> bool:
    return found.found is not None and found.found.recipe == recipe


@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_each_recipe_is_recovered_from_saved_ids(clipped, tmp_path, recipe):
    found = replayed(clipped, tmp_path / "samples.pt", as_tensors(clipped, clipped.scores(recipe)))
    assert same(found, recipe), in_words(found)
    assert found.alike == ()
    assert found.asked.comparison.responses == 64
    assert found.reproduced == (recipe == Recipe())
    assert (found.step, found.recorded_d_acc) == (72, 0.75)


@pytest.mark.parametrize("recipe", [RECIPES[0], RECIPES[6], RECIPES[11]], ids=name_of)
def test_recipes_are_recovered_from_lists_of_texts(recorded, tmp_path, recipe):
    found = replayed(recorded, tmp_path / "samples.pt", as_texts(recorded, recorded.scores(recipe)))
    assert same(found, recipe), in_words(found)


@pytest.mark.parametrize("recipe", [RECIPES[0], RECIPES[6]], ids=name_of)
def test_recipes_are_recovered_from_a_rollout_dump(recorded, tmp_path, recipe):
    found = replayed(recorded, tmp_path / "72.jsonl", as_rollout(recorded, recorded.scores(recipe)))
    assert same(found, recipe), in_words(found)
    assert found.found is not None
    assert "re-rendered" in found.found.detail


def test_a_length_limit_of_training_is_recovered(recorded, tmp_path):
    limit = 16
    cut = replace(recorded, bodies=[b[:limit] for b in recorded.bodies])
    scores = [
        float(v[len(p) : len(p) + len(b) - (b[-1] == recorded.tokenizer.eos_token_id)].mean())
        for v, p, b in zip(cut.values, cut.prompts, cut.bodies, strict=True)
    ]
    found = replayed(recorded, tmp_path / "samples.pt", as_tensors(recorded, np.array(scores)))
    assert same(found, Recipe(max_response_tokens=limit)), in_words(found)
    assert "max response tokens 16" in in_words(found)


def test_the_sentence_says_what_training_did_and_what_the_fixed_set_does(recorded, tmp_path):
    found = replayed(recorded, tmp_path / "samples.pt", as_tensors(recorded, recorded.scores(Recipe(pooling="last"))))
    assert "your training scored the last token; your fixed set is scored by the mean over the response" in in_words(
        found
    )


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (Recipe(), "the recipe gad-fork (mean, eos exclude, alignment token) reproduces the 64 recorded scores"),
        (Recipe(pooling="sum"), "the recipe sum, eos exclude, alignment token reproduces the 64 recorded scores"),
    ],
)
def test_a_recipe_that_was_asked_for_is_named_too(recorded, tmp_path, recipe, name):
    found = replayed(recorded, tmp_path / "samples.pt", as_tensors(recorded, recorded.scores(recipe)), recipe)
    assert in_words(found).startswith(name)


def test_other_weights_are_none(recorded, tmp_path):
    generator = torch.Generator().manual_seed(8)
    other = torch.randn(recorded.critic.head_weight.shape, generator=generator) * recorded.critic.head_weight.std()
    stranger = replace(recorded, critic=replace(recorded.critic, head_weight=other))
    found = replayed(stranger, tmp_path / "samples.pt", as_tensors(recorded, recorded.scores(Recipe())))
    assert found.found is None
    assert not found.reproduced
    assert found.asked.comparison.relation == "unrelated"
    assert in_words(found).startswith("none of ")


def test_weights_one_update_later_are_none_but_follow(recorded, tmp_path):
    generator = torch.Generator().manual_seed(8)
    weight = recorded.critic.head_weight
    moved = weight + 0.05 * weight.std() * torch.randn(weight.shape, generator=generator)
    later = replace(recorded, critic=replace(recorded.critic, head_weight=moved))
    recipe = Recipe(pooling="last", eos="include")
    found = replayed(later, tmp_path / "samples.pt", as_tensors(recorded, recorded.scores(recipe)))
    assert found.found is None
    assert found.nearest.recipe == recipe
    assert found.nearest.comparison.relation == "correlated"
    assert "your training scored the last token, with EOS" in in_words(found)
    assert "before the step's update" in in_words(found)


@pytest.mark.parametrize(("change", "relation"), [(lambda s: s + 2.5, "shifted"), (lambda s: s * 3, "scaled")])
def test_a_shift_and_a_scale_are_recognised(recorded, tmp_path, change: Callable[[Any], Any], relation):
    found = replayed(recorded, tmp_path / "samples.pt", as_tensors(recorded, change(recorded.scores(Recipe()))))
    assert found.found is None
    assert found.asked.comparison.relation == relation
    if relation == "shifted":
        assert found.asked.comparison.shift == pytest.approx(-2.5, abs=1e-3)
        assert "-2.5" in in_words(found)
    else:
        assert found.asked.comparison.scale == pytest.approx(1 / 3, abs=1e-3)


def test_scores_of_the_other_sign_are_reversed_and_said_to_be(recorded, tmp_path):
    found = replayed(recorded, tmp_path / "samples.pt", as_tensors(recorded, -recorded.scores(Recipe())))
    assert found.found is None
    assert "negated and scaled by 1" in in_words(found)
    assert "Every order is reversed" in in_words(found)


def test_recipes_that_these_responses_cannot_tell_apart_are_named(recorded, tmp_path):
    """Responses of one token: mean, last and sum are the same number."""
    short = replace(
        recorded, bodies=[[b[0], b[-1]] for b in recorded.bodies],
        values=[np.append(v[: len(p) + 1], 0.0) for v, p in zip(recorded.values, recorded.prompts, strict=True)],
    )  # fmt: skip
    found = replayed(recorded, tmp_path / "samples.pt", as_tensors(short, short.scores(Recipe())))
    assert found.reproduced
    others = {"last-exclude-token", "sum-exclude-token", "last-include-previous"}
    assert {name_of(c.recipe) for c in found.alike} == others
    assert "3 other recipes do so too" in in_words(found)


def test_the_object_of_the_command_line_is_strict_json(recorded, tmp_path):
    found = replayed(recorded, tmp_path / "samples.pt", as_tensors(recorded, recorded.scores(Recipe(pooling="sum"))))
    said = json.loads(json.dumps(replay_json(found), allow_nan=False))
    assert said["schema"] == 1
    assert said["found"]["recipe"]["pooling"] == "sum"
    assert said["found"]["relation"] == "equal"


def test_the_recipe_that_was_found_becomes_the_runs_own(recorded, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "critictui.toml").write_text('theme = "paper"\n')
    recipe = Recipe(pooling="sum", eos="include", alignment="previous")
    found = replayed(recorded, tmp_path / "samples.pt", as_tensors(recorded, recorded.scores(recipe)))
    path = save_recipe(run, found)
    assert path == run / "critictui.toml"
    assert recipe_from(load_config(run).recipe) == recipe
    with pytest.raises(DiagnosisError, match="holds a recipe already"):
        save_recipe(run, found)
    with pytest.raises(DiagnosisError, match="nothing to save"):
        save_recipe(run, replace(found, found=None))


# --- files that cannot be used are refused with their name, and nothing in them runs


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def refused(path: Path) -> str:
    with pytest.raises(ScoringError) as error:
        read_samples(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_code_in_a_file_of_samples_never_runs(tmp_path):
    canary = tmp_path / "canary"
    for number, protocol in enumerate((2, 4)):
        path = tmp_path / f"hostile{number}.pt"
        torch.save({"teacher_scores": Hostile(canary)}, path, pickle_protocol=protocol)
        refused(path)
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Hostile(canary)))
    refused(plain)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("teacher_response_mask"), "teacher_response_mask is missing"),
        (lambda d: d.pop("attention_mask"), "attention_mask is missing"),
        (lambda d: d.update(student_response_mask=d["student_response_mask"][:, 1:]), "another shape"),
        (lambda d: d.update(teacher_scores=d["teacher_scores"][:5]), "5 teacher scores for 32 responses"),
        (lambda d: d.update(input_ids=d["input_ids"][0]), "input_ids must be"),
        (lambda d: [d.pop("teacher_scores"), d.pop("student_scores")], "neither teacher_scores nor student_scores"),
        (lambda d: [d.pop("teacher_responses"), d.pop("student_responses")], "no teacher_responses"),
    ],
)
def test_a_file_that_lacks_something_is_refused_with_words(recorded, tmp_path, change, words):
    saved = as_tensors(recorded, recorded.scores(Recipe()))
    change(saved)
    path = tmp_path / "samples.pt"
    torch.save(saved, path)
    assert words in refused(path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no archive", b"\x80\x04", b"{}\n[1]\n"])
@pytest.mark.parametrize("name", ["samples.pt", "dump.jsonl"])
def test_what_is_no_file_of_samples_is_refused_with_its_name(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data)
    refused(path)


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    assert "cannot be read" in refused(tmp_path / "none.pt")


# --- the judgement itself


def test_equal_within_rounding_and_no_further():
    generator = np.random.default_rng(1)
    scores = generator.normal(0, 2, 64)
    assert compare(scores, scores + generator.normal(0, 1e-5, 64)).relation == "equal"
    assert compare(scores, scores + generator.normal(0, 1e-2, 64)).relation == "correlated"
    assert compare(scores, scores + generator.normal(0, 1e-2, 64), "bfloat16").relation == "equal"
    assert compare(scores, generator.normal(0, 2, 64)).relation == "unrelated"


def test_too_few_finite_scores_tell_nothing():
    scores = np.array([1.0, 2.0, 3.0, np.nan, np.inf])
    judged = compare(scores, scores)
    assert (judged.relation, judged.responses) == ("unrelated", 3)
