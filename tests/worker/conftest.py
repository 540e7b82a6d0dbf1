"""Tiny critics with random weights, a tokenizer trained on generated text, and fixed sets made of that text."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra [score]")

import torch

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.scoring.fixed_set import FixedPrompt, FixedSet, Response
from critictui.worker.model import Critic

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = ("alpha", "beta", "gamma", "delta", "river", "stone", "light", "proof", "value", "seven", "eleven", "under")


def sentence(generator: random.Random, words: int) -> str:
    """So many words of the small language."""
    return " ".join(generator.choice(WORDS) for _ in range(words))


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=380,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    generator = random.Random(0)
    tokenizer.train_from_iterator([sentence(generator, 20) for _ in range(100)], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.chat_template = TEMPLATE
    return made


def make_backbone(kind: str = "qwen2", dtype: torch.dtype = torch.float32, seed: int = 0, **changes: Any) -> Any:
    from transformers import AutoConfig, AutoModel

    settings: dict[str, Any] = {
        "vocab_size": 384,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "pad_token_id": 0,
        "eos_token_id": 2,
        "bos_token_id": None,
    }
    config = AutoConfig.for_model(kind, **(settings | changes))
    torch.manual_seed(seed)
    model = AutoModel.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)  # large enough that attention matters to the values
    return model.to(dtype)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return make_tokenizer()


@pytest.fixture(scope="session")
def make_critic(tokenizer: Any) -> Callable[..., Critic]:
    """A critic with random weights: `make_critic(kind="qwen2", dtype=torch.float32, **config changes)`."""

    def make(kind: str = "qwen2", dtype: torch.dtype = torch.float32, seed: int = 0, **changes: Any) -> Critic:
        backbone = make_backbone(kind, dtype, seed, **changes)
        head = torch.randn(backbone.config.hidden_size, generator=torch.Generator().manual_seed(seed + 1))
        path = Path("/nowhere/global_step_5/critic")
        return Critic(
            checkpoint=Checkpoint(path, 5, "hf", "complete", "", 0, (), 0.0),
            audit=SimpleNamespace(fingerprint="ab" * 20, weights="ab" * 20),  # type: ignore[arg-type]
            config=backbone.config,
            backbone=backbone,
            head_weight=head.to(torch.promote_types(dtype, torch.float32)),
            head_bias=None,
            device=torch.device("cpu"),
            dtype=dtype,
            load_seconds=0.5,
            identity="",
            open_tokenizer=lambda: tokenizer,
        )

    return make


@pytest.fixture(scope="session")
def critic(make_critic: Callable[..., Critic]) -> Critic:
    return make_critic()


@pytest.fixture(scope="session")
def fixed_set() -> FixedSet:
    """Eight prompts, three students each; one prompt comes twice, one student is its teacher's twin."""
    generator = random.Random(7)
    prompts = []
    for number in range(8):
        prompt = sentence(generator, 3 + 9 * number) if number != 5 else prompts[2].prompt
        teacher = Response(sentence(generator, 12))
        students = [Response(sentence(generator, generator.randint(2, 30)), finish_reason="stop") for _ in range(3)]
        if number == 6:
            students[1] = Response(teacher.text, finish_reason="stop")
        prompts.append(FixedPrompt(f"p{number}", prompt, teacher, tuple(students)))
    return FixedSet(path="/nowhere/set.jsonl", sha256="cd" * 32, prompts=tuple(prompts))
