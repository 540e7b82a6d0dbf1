"""Text goes in, token ids come out: a byte-level BPE tokenizer trained on the demo's own text, with a chat template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

EOS = "<|im_end|>"
PAD = "<|endoftext|>"
VOCABULARY = 640

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], names: Sequence[str] = (), vocabulary: int = VOCABULARY) -> Any:
    """A `PreTrainedTokenizerFast` with Qwen's special tokens and a chat template; the same texts give the same one.

    names: words that become one token each, however rare they are.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, "<|im_start|>", EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=EOS, pad_token=PAD)
    tokenizer.add_tokens([f" {name}" for name in names])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer saved in a checkpoint's `huggingface/` directory."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(str(directory))


def prompt_ids(tokenizer: Any, prompt: str) -> list[int]:
    """A prompt as training saw it: one user turn and the generation prompt."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    return list(tokenizer.encode(text, add_special_tokens=False))


def response_ids(tokenizer: Any, response: str) -> list[int]:
    """A response's raw ids, ended by EOS, as a rollout engine returns them."""
    return [*tokenizer.encode(response, add_special_tokens=False), tokenizer.eos_token_id]
