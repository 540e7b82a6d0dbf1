"""Scores are those that training recorded; every known mistake gives another number."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.config import Config
from critictui.scoring.fixed_set import FixedPrompt, FixedSet, Message, Response
from critictui.scoring.order import already_scored, order_score
from critictui.scoring.read_set import read_fixed_set
from critictui.scoring.recipe import PRESETS, Recipe, ScoringError
from critictui.scoring.result import TEMPLATE, TOKENIZER
from critictui.scoring.result_json import result_from_json, result_to_json
from critictui.scoring.results import ResultsFolder, read_rows
from critictui.worker import forward, score, score_job
from critictui.worker.load import load_critic
from critictui.worker.model import Critic
from critictui.worker.tokenizer import end_ids, template_hash, tokenizer_hash
from critictui.worker.tokens import prompt_ids, response_ids, tokenise

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def trained(demo_checkpoint: Path) -> Critic:
    """The demo's trained critic, loaded from its shards."""
    return load_critic(demo_checkpoint, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def saved(demo_checkpoint: Path) -> dict[str, Any]:
    """What training saved with this checkpoint: padded ids, masks, and the scores it recorded."""
    found = torch.load(demo_checkpoint.parents[1] / "training_samples.pt", weights_only=True)
    assert f"global_step_{found['step']}" == demo_checkpoint.parent.name
    assert isinstance(found, dict)
    return found


def as_set(saved: dict[str, Any]) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """(prompt ids of each pair, [teacher ids, student ids] of each pair) without padding, EOS included."""
    width = saved["student_responses"].shape[1]
    prompts, mask = saved["input_ids"][:, :-width], saved["attention_mask"][:, :-width].bool()
    openings = [p[m].numpy() for p, m in zip(prompts, mask, strict=True)]
    pairs = []
    for row in range(len(openings)):
        both = [
            saved[f"{role}_responses"][row][saved[f"{role}_response_mask"][row].bool()].numpy()
            for role in ("teacher", "student")
        ]
        pairs.append(both)
    return openings, pairs


def recorded(saved: dict[str, Any]) -> np.ndarray:
    return torch.stack([saved["teacher_scores"], saved["student_scores"]], 1).double().numpy()


def test_scores_equal_those_that_training_recorded(trained: Critic, saved: dict[str, Any]) -> None:
    openings, pairs = as_set(saved)
    ends = end_ids(trained.tokenizer, trained.config, trained.checkpoint.path)
    assert all(int(ids[-1]) in ends for both in pairs for ids in both)
    sequences = [(o, ids[:-1]) for o, both in zip(openings, pairs, strict=True) for ids in both]
    values = forward.response_values(trained, sequences)
    found = np.array([v.mean() for v in values]).reshape(-1, 2)
    np.testing.assert_allclose(found, recorded(saved), atol=1e-4)
    assert np.ptp(found) > 1  # the critic has learned something to be equal about


def transformers_values(tiny_critic: Any, ids: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Token values by transformers' own token classification model: the reference that training used."""
    with torch.inference_mode():
        out = tiny_critic(
            input_ids=torch.tensor(ids)[None], attention_mask=None if mask is None else torch.tensor(mask)[None]
        )
    return out.logits[0, :, 0].double().numpy()


@pytest.mark.parametrize("preset", ["gad-fork", "gad", "verl-ppo"])
def test_every_preset_is_what_transformers_gives_at_the_right_tokens(
    trained: Critic, tiny_critic: Any, demo_run: Callable[..., Path], preset: str
) -> None:
    fixed_set = read_fixed_set(demo_run("healthy") / "fixed_set.jsonl")
    fixed_set = replace(fixed_set, prompts=fixed_set.prompts[:12])
    recipe = PRESETS[preset]
    _, rows = score.score_critic(trained, fixed_set, recipe)
    found = iter(rows)
    tokenizer, ends = trained.tokenizer, end_ids(trained.tokenizer, trained.config, trained.checkpoint.path)
    for item in fixed_set.prompts:
        opening = prompt_ids(tokenizer, item.prompt)
        for response in (item.teacher, *item.students):
            ids = response_ids(tokenizer, response, recipe, ends)
            body = ids[:-1] if recipe.eos == "exclude" and int(ids[-1]) in ends else ids
            values = transformers_values(tiny_critic, np.concatenate([opening, body]))
            expected = {
                "gad-fork": lambda v, o: v[len(o) :].mean(),
                "gad": lambda v, _: v[-1],
                "verl-ppo": lambda v, _: v[-2],
            }[preset](values, opening)
            row = next(found)
            assert row.score == pytest.approx(expected, abs=1e-4)
            assert row.tokens == len(body)
    assert next(found, None) is None


# the mistakes of DOMAIN.md, each beside the right number


@pytest.fixture(scope="module")
def right(trained: Critic, demo_run: Callable[..., Path]) -> tuple[FixedSet, dict[tuple[str, int], float]]:
    fixed_set = read_fixed_set(demo_run("healthy") / "fixed_set.jsonl")
    _, rows = score.score_critic(trained, fixed_set, Recipe())
    return fixed_set, {(r.prompt_id, 0 if r.role == "teacher" else r.index + 1): r.score for r in rows}


def texts(item: FixedPrompt) -> list[str]:
    return [item.teacher.text, *(s.text for s in item.students)]


def test_a_template_slice_gives_other_numbers(
    trained: Critic, tiny_critic: Any, right: tuple[FixedSet, dict[tuple[str, int], float]]
) -> None:
    fixed_set, scores = right
    tokenizer, wrong, true = trained.tokenizer, [], []
    for item in fixed_set.prompts[:10]:
        for number, text in enumerate(texts(item)):
            chat = [{"role": "user", "content": item.prompt}, {"role": "assistant", "content": text}]
            whole = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)
            count = len(tokenizer(text, add_special_tokens=False)["input_ids"])
            wrong.append(transformers_values(tiny_critic, np.array(whole))[-count:].mean())
            true.append(scores[item.id, number])
    assert np.abs(np.array(wrong) - true).max() > 0.05


def test_right_padding_with_the_last_tokens_gives_other_numbers(
    trained: Critic, tiny_critic: Any, right: tuple[FixedSet, dict[tuple[str, int], float]]
) -> None:
    fixed_set, scores = right
    tokenizer = trained.tokenizer
    rows, counts, true = [], [], []
    for item in fixed_set.prompts[:10]:
        opening = prompt_ids(tokenizer, item.prompt)
        for number, text in enumerate(texts(item)):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            rows.append([*opening.tolist(), *ids])
            counts.append(len(ids))
            true.append(scores[item.id, number])
    width = max(map(len, rows)) + 3
    wrong, unscored = [], 0
    for ids, count in zip(rows, counts, strict=True):
        mask = np.array([1] * len(ids) + [0] * (width - len(ids)))
        padded = np.array(ids + [tokenizer.pad_token_id or 0] * (width - len(ids)))
        values = transformers_values(tiny_critic, padded, mask)
        picked = values[-count:][mask[-count:].astype(bool)]
        unscored += len(picked) == 0
        wrong.append(picked.mean() if len(picked) else 0.0)
    assert np.abs(np.array(wrong) - true).max() > 0.05
    # and the very same padding read at the right place changes nothing
    assert np.isfinite(wrong).all()


def test_an_echoed_prompt_gives_another_number(
    trained: Critic, right: tuple[FixedSet, dict[tuple[str, int], float]]
) -> None:
    fixed_set, scores = right
    echoed = tuple(
        replace(p, students=tuple(Response(f"user {p.prompt} assistant {s.text}") for s in p.students))
        for p in fixed_set.prompts
    )
    found, rows = score.score_critic(trained, replace(fixed_set, prompts=echoed), Recipe())
    plain, _ = score.score_critic(trained, fixed_set, Recipe())
    changed = [abs(r.score - scores[r.prompt_id, r.index + 1]) for r in rows if r.role == "student"]
    assert np.median(changed) > 0.05
    assert abs(found.score_diff - plain.score_diff) > 0.05


def test_a_random_head_gives_another_number(
    trained: Critic, right: tuple[FixedSet, dict[tuple[str, int], float]]
) -> None:
    fixed_set, _ = right
    plain, _ = score.score_critic(trained, fixed_set, Recipe())
    found = []
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        size = len(trained.head_weight)
        head = (torch.rand(size, generator=generator) * 2 - 1) / math.sqrt(size)
        naive, _ = score.score_critic(replace(trained, head_weight=head), fixed_set, Recipe())
        found.append(naive.score_diff)
    assert all(abs(diff - plain.score_diff) > 0.1 for diff in found)
    assert np.std(found) > 0  # another number each time: nothing that was trained is being scored


def test_the_naive_load_of_a_headless_checkpoint_scores_another_random_head_each_time(
    trained: Critic, right: tuple[FixedSet, dict[tuple[str, int], float]], tmp_path: Path
) -> None:
    from safetensors.torch import save_file
    from transformers import AutoModelForTokenClassification

    fixed_set, scores = right
    trained.config.save_pretrained(tmp_path)
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in trained.backbone.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    margins = []
    for seed in range(2):
        torch.manual_seed(seed)
        naive = AutoModelForTokenClassification.from_pretrained(tmp_path, num_labels=1)  # nothing raises
        found = {}
        for item in fixed_set.prompts[:20]:
            opening = prompt_ids(trained.tokenizer, item.prompt)
            for number, text in enumerate(texts(item)):
                ids = np.array(trained.tokenizer(text, add_special_tokens=False)["input_ids"])
                values = transformers_values(naive.eval(), np.concatenate([opening, ids]))
                found[item.id, number] = float(values[len(opening) :].mean())
        margins.append(np.mean([found[i, 0] - found[i, n] for i, n in found if n]))
    true = np.mean([scores[i, 0] - scores[i, n] for i, n in found if n])
    assert abs(margins[0] - margins[1]) > 1e-3
    assert all(abs(margin - true) > 0.5 * abs(true) for margin in margins)
    with pytest.raises(CheckpointError, match="head is missing"):
        load_critic(tmp_path, device="cpu")


def test_eos_on_one_side_gives_other_numbers_and_a_warning(
    trained: Critic, right: tuple[FixedSet, dict[tuple[str, int], float]]
) -> None:
    fixed_set, _ = right
    eos = trained.tokenizer.eos_token_id
    ids = [trained.tokenizer(p.teacher.text, add_special_tokens=False)["input_ids"] for p in fixed_set.prompts]
    prompts = tuple(
        replace(p, teacher=Response(p.teacher.text, tuple(i)), students=(Response(p.teacher.text, (*i, eos)),))
        for p, i in zip(fixed_set.prompts, ids, strict=True)
    )
    one_sided = replace(fixed_set, prompts=prompts)
    included, rows = score.score_critic(trained, one_sided, Recipe(eos="include"))
    excluded, _ = score.score_critic(trained, one_sided, Recipe())
    assert any("one side only" in w for w in included.warnings)
    assert abs(included.score_diff) > 0.01  # the same text on both sides
    assert excluded.score_diff == 0
    assert excluded.tie_rate == 1
    assert math.isnan(excluded.d_acc)
    assert result_to_json(excluded)["d_acc"] is None
    assert {r.tokens for r in rows if r.prompt_id == prompts[0].id} == {len(ids[0]), len(ids[0]) + 1}


# recipes on the smallest scale


def from_a_base_model(critic: Critic) -> Critic:
    """The critic with the tokenizer of a base model: its EOS is not the token that ends a chat's turn."""
    import copy

    base = copy.deepcopy(critic.tokenizer)
    base.eos_token = "<|endoftext|>"
    config = copy.deepcopy(critic.config)
    config.eos_token_id = base.eos_token_id
    return replace(critic, config=config, open_tokenizer=lambda: base)


@pytest.mark.parametrize("preset", ["gad", "gad-fork"])
def test_a_text_ends_in_the_token_that_the_stored_ids_end_in(critic: Critic, tokenizer: Any, preset: str) -> None:
    base = from_a_base_model(critic)
    turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert base.tokenizer.eos_token_id != turn
    ids = (*tokenizer("river stone")["input_ids"], turn)
    twins = one("alpha", Response("river stone"), Response("river stone", ids, "stop"))
    result, rows = score.score_critic(base, twins, PRESETS[preset])
    assert (result.score_diff, result.tie_rate) == (0, 1)
    assert rows[0].tokens == len(ids) - (preset == "gad-fork")
    assert not any("end" in warning for warning in result.warnings)


def test_ends_that_differ_are_named_with_their_counts_and_are_a_finding(critic: Critic, tokenizer: Any) -> None:
    from critictui.diagnosis.behaviour import behaviour_from
    from critictui.diagnosis.conduct import behaviour_findings
    from critictui.worker.diagnose import measure

    end, turn = (tokenizer.convert_tokens_to_ids(name) for name in ("<|endoftext|>", "<|im_end|>"))
    words = tokenizer("river stone")["input_ids"]
    mixed = one(
        "alpha",
        Response("river stone", (*words, end), "stop"),
        Response("light", (*words, turn), "stop"),
        Response("proof", (*words, words[0], turn), "stop"),
    )
    for asked in (critic, from_a_base_model(critic)):
        included, _ = score.score_critic(asked, mixed, PRESETS["gad"])
        named = "teacher <|endoftext|> (1); students <|im_end|> (2)"
        assert any("different tokens" in w and named in w for w in included.warnings)
        excluded, _ = score.score_critic(asked, mixed, Recipe())
        assert not any("different tokens" in w for w in excluded.warnings)
        for recipe, severity in ((PRESETS["gad"], "critical"), (Recipe(), "info")):
            findings = behaviour_findings(behaviour_from(measure(asked, mixed, recipe)))
            [found] = [f for f in findings if f.id == "eos-mismatch"]
            assert found.severity == severity
            assert named in found.message


def one(prompt: str, *responses: Response) -> FixedSet:
    return FixedSet("set", "00", (FixedPrompt("0", prompt, responses[0], responses[1:]),))


@pytest.mark.parametrize("pooling", ["mean", "last", "sum"])
@pytest.mark.parametrize("alignment", ["token", "previous"])
@pytest.mark.parametrize("eos", ["exclude", "include", "turn"])
def test_pooling_alignment_and_eos_pick_the_values_they_name(
    critic: Critic, tokenizer: Any, pooling: Any, alignment: Any, eos: Any
) -> None:
    recipe = Recipe(pooling=pooling, alignment=alignment, eos=eos)
    ids = (*tokenizer("river stone light")["input_ids"], tokenizer.eos_token_id)
    result, rows = score.score_critic(
        critic, one("alpha", Response("river stone light", ids), Response("beta")), recipe
    )
    opening = prompt_ids(tokenizer, "alpha")
    line_break = tokenizer("\n")["input_ids"]
    [values] = forward.response_values(critic, [((), [*opening, *ids, *line_break])])
    stop = len(opening) + len(ids) + {"exclude": -1, "include": 0, "turn": len(line_break)}[eos]
    shift = alignment == "previous"
    used = values[len(opening) - shift : stop - shift]
    expected = {"mean": used.mean(), "last": used[-1], "sum": used.sum()}[pooling]
    assert rows[0].score == pytest.approx(expected, abs=1e-4)
    assert rows[0].tokens == len(used)
    assert (rows[0].value_min, rows[0].value_max) == pytest.approx((used.min(), used.max()), abs=1e-4)
    assert result.recipe["pooling"] == pooling


def test_raw_ids_are_never_tokenised_again(critic: Critic, tokenizer: Any) -> None:
    odd = tuple(i for word in ("r", "i", "v", "e", "r") for i in tokenizer(word)["input_ids"])
    assert tokenizer.decode(odd) == "river"
    assert len(tokenizer("river")["input_ids"]) < len(odd)
    _, rows = score.score_critic(critic, one("alpha", Response("river", odd), Response("river")), Recipe())
    assert rows[0].tokens == len(odd) > rows[1].tokens
    assert rows[0].score != rows[1].score


def test_ids_of_another_tokenizer_are_left_aside_with_a_warning(critic: Critic, tokenizer: Any) -> None:
    fixed_set = replace(
        one("alpha", Response("river", (5, 6, 7)), Response("stone")), header={"tokenizer_sha256": "another"}
    )
    result, rows = score.score_critic(critic, fixed_set, Recipe())
    assert any("another tokenizer" in w for w in result.warnings)
    assert rows[0].tokens == len(tokenizer("river")["input_ids"])
    own = replace(fixed_set, header={"tokenizer_sha256": tokenizer_hash(tokenizer)})
    assert score.score_critic(critic, own, Recipe())[1][0].tokens == 3


def test_a_score_knows_its_tokenizer_and_template_and_warns_of_another_template_than_the_sets(
    critic: Critic, tokenizer: Any
) -> None:
    header = {"tokenizer_sha256": tokenizer_hash(tokenizer), "template_sha256": template_hash(tokenizer)}
    fixed_set = replace(one("alpha", Response("river"), Response("stone")), header=header)
    result, _ = score.score_critic(critic, fixed_set, Recipe())
    assert {name: result.extra[name] for name in header} == header
    assert not any("template" in w for w in result.warnings)
    own = Recipe(chat_template="{% for m in messages %}{{ m.content }}{% endfor %}>")
    other, _ = score.score_critic(critic, fixed_set, own)
    assert any("another chat template" in w for w in other.warnings)
    assert other.extra["template_sha256"] == template_hash(tokenizer, own.chat_template)
    plain, _ = score.score_critic(critic, fixed_set, Recipe(tokens="text", pooling="last"))
    assert plain.extra["template_sha256"] == ""
    assert not any("template" in w for w in plain.warnings)


@pytest.mark.fault("C11")
def test_long_prompts_are_cut_on_the_left_and_long_responses_on_the_right(critic: Critic, tokenizer: Any) -> None:
    recipe = Recipe(max_prompt_tokens=6, max_response_tokens=2)
    fixed_set = one("alpha beta gamma delta", Response("river stone light proof"), Response("river"))
    made = score.prepare_tokens(critic, fixed_set, recipe)
    whole = prompt_ids(tokenizer, "alpha beta gamma delta")
    assert made.trees[0].prompt.tolist() == whole[-6:].tolist()
    assert made.trees[0].branches[0].ids.tolist() == tokenizer("river stone light proof")["input_ids"][:2]
    result, rows = score.score_critic(critic, fixed_set, recipe)
    assert [r.truncated for r in rows] == [True, True]
    assert any("cut at the recipe's length" in w for w in result.warnings)
    assert result.extra["truncated"] == 2


def test_the_template_form_is_one_rendering_without_what_follows_eos(critic: Critic, tokenizer: Any) -> None:
    fixed_set = one("alpha", Response("river stone"), Response("beta"))
    chat = [{"role": "user", "content": "alpha"}, {"role": "assistant", "content": "river stone"}]
    whole = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)
    assert tokenizer.decode(whole[-2:]) == "<|im_end|>\n"
    made = score.prepare_tokens(critic, fixed_set, Recipe(tokens="template", eos="include"))
    tree = made.trees[0]
    assert [*tree.prompt.tolist(), *tree.branches[0].ids.tolist()] == whole[:-1]
    without = score.prepare_tokens(critic, fixed_set, Recipe(tokens="template"))
    assert without.trees[0].branches[0].ids.tolist() == tree.branches[0].ids.tolist()[:-1]


def test_a_response_that_was_cut_by_its_length_has_no_end_to_score(critic: Critic, tokenizer: Any) -> None:
    cut = Response("river stone", finish_reason="length")
    made = score.prepare_tokens(critic, one("alpha", cut, Response("beta")), Recipe(eos="turn"))
    first, second = made.trees[0].branches
    assert (first.eos, first.closing, first.ids.tolist()) == (False, 0, tokenizer("river stone")["input_ids"])
    assert (second.eos, second.closing) == (True, 2)
    assert [second.count(end) for end in ("exclude", "include", "turn")] == [len(second.ids) - n for n in (2, 1, 0)]  # type: ignore[arg-type]
    assert made.warnings == (
        "the end-of-sequence token is scored on one side only: scores of the two sides do not compare",
    )


def test_chat_messages_and_a_template_of_the_recipe(critic: Critic, tokenizer: Any) -> None:
    messages = (Message("system", "be brief"), Message("user", "alpha"))
    ids = prompt_ids(tokenizer, messages)
    assert tokenizer.decode(ids) == (
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nalpha<|im_end|>\n<|im_start|>assistant\n"
    )
    own = prompt_ids(tokenizer, "alpha", "{% for m in messages %}{{ m.content }}{% endfor %}>")
    assert tokenizer.decode(own) == "alpha>"
    assert template_hash(tokenizer) != template_hash(tokenizer, "x")
    with pytest.raises(ScoringError, match="the chat template fails"):
        prompt_ids(tokenizer, "alpha", "{{ messages[5].content.strip() }}")


@pytest.mark.fault("C06")
def test_a_tokenizer_without_a_template_is_refused_by_name(critic: Critic, tokenizer: Any) -> None:
    import copy

    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    with pytest.raises(ScoringError, match=r"/some/critic: its tokenizer has no chat template"):
        tokenise(one("a", Response("b"), Response("c")), bare, Recipe(), eos_ids=frozenset({2}), where="/some/critic")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.fault("C11")
def test_no_tokens_no_numbers_and_all_equal_are_said(critic: Critic) -> None:
    fixed_set = one("alpha", Response("river"), Response(""), Response("stone"))
    result, rows = score.score_critic(critic, fixed_set, Recipe())
    assert math.isnan(rows[1].score)
    assert result.pairs == 1
    assert any("no token to score" in w for w in result.warnings)
    broken = replace(critic, head_weight=torch.full_like(critic.head_weight, math.nan))
    result, _ = score.score_critic(broken, fixed_set, Recipe())
    assert result.pairs == 0
    assert any("not finite" in w for w in result.warnings)
    json.dumps(result_to_json(result), allow_nan=False)
    zero = replace(critic, head_weight=torch.zeros_like(critic.head_weight))
    result, _ = score.score_critic(zero, fixed_set, Recipe())
    assert result.tie_rate == 1
    assert any("all scores are equal" in w for w in result.warnings)
    assert any("hardly vary" in w for w in result.warnings)


@pytest.mark.parametrize("template", ["the same", "{% if messages %}the same{% endif %}"])
def test_a_template_that_makes_one_text_of_all_prompts_is_refused(
    critic: Critic, fixed_set: FixedSet, template: str
) -> None:
    with pytest.raises(ScoringError, match="the same text of every prompt"):
        score.score_critic(critic, fixed_set, Recipe(chat_template=template))


# the whole job


def test_the_job_saves_what_it_found_and_compares_with_the_last_checkpoint(
    demo_copy: Callable[..., Path], tmp_path: Path
) -> None:
    from critictui.checkpoint.find import find_checkpoints
    from critictui.scoring.jobs import Job, Progress

    run = demo_copy("healthy")
    found = [c for c in find_checkpoints(run) if c.state == "complete"]
    assert len(found) >= 2
    phases: list[str] = []

    def tell(progress: Progress) -> None:
        phases.append(progress.phase)

    for checkpoint in (found[1], found[0]):
        job = Job(
            "score",
            checkpoint=str(checkpoint.path),
            fixed_set=str(run / "fixed_set.jsonl"),
            run_dir=str(run),
            recipe={},
            device="cpu",
        )
        finished = score_job.run(job, tell)
    assert finished.saved is not None
    assert finished.saved.parent == run / "critictui" / "scores"
    results = ResultsFolder(run).poll()
    assert [r.step for r in results] == [found[1].step, found[0].step]
    newest = results[-1]
    assert result_to_json(newest) == result_to_json(result_from_json(finished.result))
    assert newest.extra["previous"]["step"] == found[1].step  # type: ignore[index]
    assert newest.d_acc > 0.6
    assert newest.series == results[0].series
    hashes = {name: json.loads((run / "fixed_set.jsonl").open().readline())[name] for name in (TOKENIZER, TEMPLATE)}
    assert {name: newest.extra[name] for name in hashes} == hashes
    page = (Path(__file__).parents[2] / "docs" / "scoring.md").read_text()
    assert [key for key in newest.extra if f"`{key}`" not in page] == []
    rows = read_rows(newest)
    assert len(rows) == newest.fixed_set.prompts + newest.fixed_set.pairs
    assert np.mean([r.score for r in rows if r.role == "teacher"]) == pytest.approx(newest.teacher_score_mean)
    assert {"load", "score", "save"} <= set(phases)
    order = order_score(found[0].path, Config(), run / "fixed_set.jsonl", run_dir=run, readings=())
    assert already_scored(order) is not None
    template = found[0].path / "huggingface" / "chat_template.jinja"
    template.write_text("{{ '' }}" + template.read_text())
    order = order_score(found[0].path, Config(), run / "fixed_set.jsonl", run_dir=run, readings=())
    assert already_scored(order) is None


@pytest.mark.fault("C02")
def test_a_checkpoint_that_changes_while_it_is_scored_gives_no_score(
    demo_copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from critictui.checkpoint.checkpoint import VanishedError
    from critictui.checkpoint.find import resolve_target
    from critictui.scoring.jobs import Job
    from critictui.worker.__main__ import answer_for

    run = demo_copy("healthy")
    checkpoint = resolve_target(run)
    inner = score_job.score_critic

    def and_then_it_is_gone(*args: Any, **rest: Any) -> Any:
        made = inner(*args, **rest)
        checkpoint.files[0].unlink()
        return made

    monkeypatch.setattr(score_job, "score_critic", and_then_it_is_gone)
    job = Job("score", str(checkpoint.path), str(run / "fixed_set.jsonl"), str(run), device="cpu")
    answer = answer_for(job, lambda _: None)
    assert answer.reason == "vanished"  # type: ignore[union-attr]
    assert not list(run.glob("critictui/scores/*.json"))
    assert issubclass(VanishedError, Exception)


@pytest.mark.parametrize("file", ["tokenizer.json", "chat_template.jinja", "config.json"])
@pytest.mark.fault("C10")
def test_what_is_changed_beside_the_weights_during_a_score_is_noticed(
    demo_copy: Callable[..., Path], file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critictui.checkpoint.checkpoint import VanishedError
    from critictui.checkpoint.find import find_checkpoints
    from critictui.scoring.jobs import Job

    run = demo_copy("healthy")
    checkpoint = next(c for c in find_checkpoints(run) if c.state == "complete")
    changed = checkpoint.path / "huggingface" / file
    assert changed.is_file()
    inner = score_job.score_critic

    def and_then_change(*given: Any, **named: Any) -> Any:
        made = inner(*given, **named)
        changed.write_text(changed.read_text() + " ")
        return made

    monkeypatch.setattr(score_job, "score_critic", and_then_change)
    job = Job(
        "score",
        checkpoint=str(checkpoint.path),
        fixed_set=str(run / "fixed_set.jsonl"),
        run_dir=str(run),
        recipe={},
        device="cpu",
    )
    with pytest.raises(VanishedError, match="changed or replaced during scoring"):
        score_job.run(job, lambda _: None)
    assert ResultsFolder(run).poll() == ()


@pytest.mark.fault("C02")
def test_a_checkpoint_that_goes_away_ends_its_score_at_once(
    demo_copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from critictui.checkpoint.checkpoint import VanishedError
    from critictui.checkpoint.find import find_checkpoints
    from critictui.scoring.jobs import Job

    run = demo_copy("healthy")
    checkpoint = next(c for c in find_checkpoints(run) if c.state == "complete")
    forwards: list[int] = []
    inner = forward._packed_row

    def counted(*given: Any, **named: Any) -> Any:
        forwards.append(1)
        if len(forwards) == 2:
            shutil.rmtree(checkpoint.path)
        return inner(*given, **named)

    monkeypatch.setattr(forward, "_packed_row", counted)
    monkeypatch.setattr(forward, "token_budget", lambda *_: 256)
    job = Job("score", checkpoint=str(checkpoint.path), fixed_set=str(run / "fixed_set.jsonl"), recipe={}, device="cpu")
    with pytest.raises(VanishedError, match="removed during scoring"):
        score_job.run(job, lambda _: None)
    assert len(forwards) == 2
