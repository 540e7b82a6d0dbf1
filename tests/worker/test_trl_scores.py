"""Scores of what TRL's RewardTrainer trained are the rewards that TRL itself computes for the same pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl", reason="needs the extra [score]")

import torch

from critictui.checkpoint.find import resolve_target
from critictui.config import Config
from critictui.demo.critic import new_classifier
from critictui.demo.task import Pair, make_pairs
from critictui.demo.text import CHAT_TEMPLATE, EOS, PAD, train_tokenizer
from critictui.diagnosis.inquiry import subject_of
from critictui.diagnosis.replay import in_words, judge_replay
from critictui.scoring.fixed_set import FixedPrompt, FixedSet, Message, Response
from critictui.scoring.order import order_score
from critictui.scoring.recipe import PRESETS, Recipe, ScoringError, recipe_from
from critictui.scoring.recipe_choice import choose_recipe
from critictui.tui.evaluation.plan import make_plan
from critictui.worker.forward import response_values
from critictui.worker.load import load_critic
from critictui.worker.model import Critic
from critictui.worker.replay import replay
from critictui.worker.samples import read_samples
from critictui.worker.score import score_critic
from critictui.worker.tokens import messages_of

pytestmark = pytest.mark.torch

NO_LINE_BREAK = CHAT_TEMPLATE.replace("'<|im_end|>' + '\n'", "'<|im_end|>'")
"""A template whose turns end in EOS and nothing else, as Llama's and Mistral's do."""
THINKING = CHAT_TEMPLATE.replace("'<|im_start|>assistant\n'", "'<|im_start|>assistant\n<think>\n\n</think>\n\n'")
"""A template that opens a generated turn otherwise than it shows a finished one."""
assert len({CHAT_TEMPLATE, NO_LINE_BREAK, THINKING}) == 3


@dataclass(frozen=True)
class Form:
    """One way in which users give pairs to TRL."""

    preset: str
    template: str | None = CHAT_TEMPLATE
    pad: str = PAD
    turns: int = 1
    """Messages in a prompt; 0: the pairs are plain text."""


FORMS = {
    "chat": Form("trl"),
    "long-chat-eos-pads": Form("trl", turns=3, pad=EOS),
    "eos-ends-a-turn-and-pads": Form("trl", template=NO_LINE_BREAK, pad=EOS),
    "thinking": Form("trl", template=THINKING),
    "text": Form("trl-text", template=None, turns=0),
    "text-eos-pads": Form("trl-text", template=None, turns=0, pad=EOS),
}


@dataclass(frozen=True)
class Rewarded:
    """A critic as TRL left it on disk, the pairs, and TRL's rewards for them: (n, 2), chosen and rejected."""

    checkpoint: Path
    critic: Critic
    pairs: FixedSet
    rewards: np.ndarray
    logged: dict[str, float]
    """What its own evaluation says of them."""


def prompt_of(pair: Pair, turns: int) -> Any:
    if not turns:
        return f"{pair.prompt}\n"
    asked = [{"role": "user", "content": pair.prompt}]
    return [*asked, {"role": "assistant", "content": "i see ."}, *asked][-turns:]


def answers(pair: Pair, turns: int) -> list[Any]:
    texts = [pair.teacher, pair.students[0]]
    return [[{"role": "assistant", "content": text}] for text in texts] if turns else texts


def fixed_set_of(pairs: list[Pair], turns: int) -> FixedSet:
    prompts = []
    for pair in pairs:
        prompt = prompt_of(pair, turns)
        shown = prompt if isinstance(prompt, str) else tuple(Message(**message) for message in prompt)
        prompts.append(FixedPrompt(pair.id, shown, Response(pair.teacher), (Response(pair.students[0]),)))
    return FixedSet("set", "00", tuple(prompts))


@pytest.fixture(scope="module")
def rewarded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Rewarded]:
    """`rewarded("chat")`: two steps of the real RewardTrainer, and what it computes for its evaluation pairs."""
    from datasets import Dataset
    from tokenizers.processors import TemplateProcessing
    from trl import RewardConfig, RewardTrainer

    torch.set_num_threads(1)
    pairs = make_pairs(24, seed=5)
    tokenizer = train_tokenizer([text for p in pairs for text in (p.prompt, p.teacher, p.students[0])])
    first = ("<|im_start|>", tokenizer.convert_tokens_to_ids("<|im_start|>"))
    # as Llama's: every plain text begins with a token of the tokenizer's own, and no rendered chat does
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("<|im_start|> $A", special_tokens=[first])
    known: dict[str, Rewarded] = {}

    def train(name: str) -> Rewarded:
        form = FORMS[name]
        tokenizer.chat_template, tokenizer.pad_token = form.template, form.pad
        model = new_classifier(
            len(tokenizer), hidden=32, layers=2, seed=3, pad=tokenizer.pad_token_id, eos=tokenizer.eos_token_id
        )
        rows = []
        for pair in pairs:
            chosen, rejected = answers(pair, form.turns)
            rows.append({"prompt": prompt_of(pair, form.turns), "chosen": chosen, "rejected": rejected})
        out = tmp_path_factory.mktemp(name)
        trainer = RewardTrainer(
            model=model,
            args=RewardConfig(
                output_dir=str(out), max_steps=2, save_steps=2, per_device_train_batch_size=4, learning_rate=0.01,
                per_device_eval_batch_size=6, report_to=[], use_cpu=True, bf16=False, disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )  # fmt: skip
        trainer.train()
        trainer.model.eval()
        both = []
        with torch.no_grad():
            for inputs in trainer.get_eval_dataloader():
                _, outputs = trainer.compute_loss(trainer.model, inputs, return_outputs=True)
                both.append(torch.stack(outputs.logits.squeeze(-1).chunk(2), 1))
        rewards = torch.cat(both).double().numpy()
        checkpoint = resolve_target(out)
        critic = load_critic(checkpoint, device="cpu", dtype="float32")
        return Rewarded(checkpoint.path, critic, fixed_set_of(pairs, form.turns), rewards, trainer.evaluate())

    def cached(name: str) -> Rewarded:
        if name not in known:
            known[name] = train(name)
        return known[name]

    return cached


def scores(r: Rewarded, recipe: Recipe) -> np.ndarray:
    _, rows = score_critic(r.critic, r.pairs, recipe)
    by_role = {role: [row.score for row in rows if row.role == role] for role in ("teacher", "student")}
    return np.array([by_role["teacher"], by_role["student"]]).T


@pytest.mark.parametrize("name", FORMS)
def test_scores_are_the_rewards_of_the_real_trainer(rewarded: Callable[[str], Rewarded], name: str) -> None:
    r = rewarded(name)
    chosen = choose_recipe("auto", r.checkpoint)
    assert chosen.recipe == PRESETS[FORMS[name].preset]
    assert chosen.reason.startswith(f"recipe {FORMS[name].preset}: training_args.bin is of TRL's RewardTrainer")
    np.testing.assert_allclose(scores(r, chosen.recipe), r.rewards, atol=1e-4)
    assert np.ptp(r.rewards) > 0.05


@pytest.mark.parametrize("preset", [name for name in PRESETS if not name.startswith("trl")])
def test_no_other_preset_gives_them(rewarded: Callable[[str], Rewarded], preset: str) -> None:
    r = rewarded("chat")
    assert np.median(np.abs(scores(r, PRESETS[preset]) - r.rewards)) > 0.01


def test_what_trl_logs_is_the_mean_of_these_scores(rewarded: Callable[[str], Rewarded]) -> None:
    r = rewarded("chat")
    found = scores(r, PRESETS["trl"])
    assert r.logged["eval_accuracy"] == pytest.approx((found[:, 0] > found[:, 1]).mean(), abs=1e-6)
    assert r.logged["eval_margin"] == pytest.approx((found[:, 0] - found[:, 1]).mean(), abs=1e-4)
    assert r.logged["eval_mean_reward"] == pytest.approx(found.mean(), abs=1e-4)


@pytest.mark.parametrize(("name", "asked"), [("chat", "gad-fork"), ("chat", "trl"), ("text", "gad-fork")])
def test_replay_finds_trls_recipe(rewarded: Callable[[str], Rewarded], tmp_path: Path, name: str, asked: str) -> None:
    r = rewarded(name)
    saved = {
        "prompts": [p.prompt for p in r.pairs.prompts],
        "teacher_responses": [p.teacher.text for p in r.pairs.prompts],
        "student_responses": [p.students[0].text for p in r.pairs.prompts],
        "teacher_scores": torch.tensor(r.rewards[:, 0]),
        "student_scores": torch.tensor(r.rewards[:, 1]),
        "step": 2,
    }
    if name == "chat":
        saved["prompts"] = [p.prompt[0].content for p in r.pairs.prompts]  # type: ignore[union-attr]
    torch.save(saved, tmp_path / "samples.pt")
    found = judge_replay(replay(r.critic, read_samples(tmp_path / "samples.pt"), PRESETS[asked]))
    assert found.found is not None, in_words(found)
    assert found.found.recipe == PRESETS[FORMS[name].preset]
    assert found.found.detail == ""
    assert found.reproduced == (asked == FORMS[name].preset)
    if not found.reproduced:
        assert f"(recipe {FORMS[name].preset}); your fixed set is scored by" in in_words(found)


def test_whatever_scores_the_checkpoint_takes_trls_recipe_and_says_why(
    rewarded: Callable[[str], Rewarded], tmp_path: Path
) -> None:
    r = rewarded("chat")
    rows = [
        {"id": p.id, "prompt": p.prompt[0].content, "teacher": {"text": p.teacher.text},  # type: ignore[union-attr]
         "students": [{"text": s.text} for s in p.students]}
        for p in r.pairs.prompts
    ]  # fmt: skip
    path = tmp_path / "fixed_set.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in [{"schema": 1, "kind": "critictui-fixed-set"}, *rows]) + "\n")
    config = Config(fixed_set=str(path))
    order = order_score(r.checkpoint, config, readings=())
    subject = subject_of(r.checkpoint, config)
    plan = make_plan(resolve_target(r.checkpoint), r.checkpoint.parent, config, ())
    assert recipe_from(order.job.recipe) == recipe_from(subject.recipe) == plan.recipe == PRESETS["trl"]
    reason = "recipe trl: training_args.bin is of TRL's RewardTrainer"
    assert reason in order.in_words
    assert subject.recipe_reason.startswith(reason)
    assert plan.recipe_reason.startswith(reason)
    own = order_score(r.checkpoint, replace(config, recipe="gad"), readings=())
    assert recipe_from(own.job.recipe) == PRESETS["gad"]
    assert "recipe" not in own.in_words


def test_a_chat_is_no_plain_text(rewarded: Callable[[str], Rewarded]) -> None:
    with pytest.raises(ScoringError, match="score with tokens=template"):
        scores(rewarded("chat"), PRESETS["trl-text"])


def test_where_a_response_begins_must_be_clear_unless_only_its_end_is_scored(
    rewarded: Callable[[str], Rewarded],
) -> None:
    with pytest.raises(ScoringError, match="not clear which tokens are the response's"):
        scores(rewarded("thinking"), replace(PRESETS["trl"], pooling="mean"))


def test_openrlhfs_score_is_the_value_at_eos_of_the_rendered_chat(rewarded: Callable[[str], Rewarded]) -> None:
    """As its `RewardDataset` makes the tokens: the chat as text, line breaks behind it stripped, EOS at its end."""
    r = rewarded("chat")
    tokenizer, found = r.critic.tokenizer, scores(r, PRESETS["openrlhf"])
    for row, item in enumerate(r.pairs.prompts[:6]):
        for side, response in enumerate((item.teacher, *item.students)):
            chat = [*messages_of(item.prompt), {"role": "assistant", "content": response.text}]
            text = tokenizer.apply_chat_template(chat, tokenize=False).rstrip("\n")
            assert text.endswith(tokenizer.eos_token)
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert found[row, side] == pytest.approx(response_values(r.critic, [((), ids)])[0][-1], abs=1e-4)
