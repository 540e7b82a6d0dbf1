"""The tokenizer from beside the weights, never downloaded, never another one; and what tells two apart."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from critictui.checkpoint.beside import require_tokenizer
from critictui.checkpoint.checkpoint import Checkpoint, CheckpointError
from critictui.worker.backbone import offline

DATE = datetime(2024, 7, 26, tzinfo=UTC)
"""The day that chat templates are rendered on: the one that Llama's write where they have no clock."""
_CLOCK = "strftime_now"
_CODES = ("-d", "-m", "-H", "-I", "-M", "-S", "-j", "-y", *"aAbBcdefGhHIjmMpSuUVwWxXyYZzDFTR")


def open_tokenizer(checkpoint: Checkpoint, vocabulary: int | None, override: Path | None = None) -> Any:
    """A checkpoint's tokenizer, by `read_tokenizer`.

    vocabulary: rows of the embedding; a tokenizer with a greater id is another model's and is refused.
    Raises CheckpointError that names the folder.
    """
    folder = require_tokenizer(checkpoint.path, override)
    tokenizer = read_tokenizer(folder)
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if vocabulary is not None and highest >= vocabulary:
        raise CheckpointError(
            f"{folder}: the tokenizer has ids up to {highest}, the model knows {vocabulary}; it is another model's"
        )
    return tokenizer


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder, a critic's or a student's, loaded offline and without remote code.

    A `tokenizer.json` is taken as it stands, which is what training did: the tokenizer class that AutoTokenizer of
    transformers 5 picks by `model_type` keeps its vocabulary and silently replaces its normaliser and pre-tokenizer.
    Raises CheckpointError that names the folder.
    """
    offline()
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        reader = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
        return reader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # foreign files in a foreign library: whatever it raises means "unreadable"
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{folder}: its tokenizer cannot be loaded ({first}); copy its files again") from error


def end_ids(tokenizer: Any, config: Any = None, directory: Path | None = None) -> frozenset[int]:
    """Every token that may end a response: the tokenizer's and those that the model's configurations name."""
    found: set[int] = set()
    sources = [getattr(tokenizer, "eos_token_id", None), getattr(config, "eos_token_id", None)]
    if directory is not None:
        for path in _config_files(directory):
            try:
                if path.stat().st_size < 1 << 20:
                    sources.append(json.loads(path.read_text("utf-8")).get("eos_token_id"))
            except (OSError, ValueError, AttributeError):
                continue
    for source in sources:
        values = source if isinstance(source, (list, tuple)) else [source]
        found.update(int(value) for value in values if isinstance(value, int) and not isinstance(value, bool))
    return frozenset(found)


def _config_files(directory: Path) -> list[Path]:
    names = ("config.json", "generation_config.json")
    return [folder / name for folder in (directory, directory / "huggingface") for name in names]


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 over the vocabulary and a text's ids: two tokenizers with one hash give the same tokens."""
    digest = hashlib.sha256()
    for token, number in sorted(tokenizer.get_vocab().items()):
        digest.update(f"{number}\0{token}\0".encode("utf-8", "replace"))
    digest.update(repr(_fingerprint_ids(tokenizer)).encode())
    return digest.hexdigest()


def _fingerprint_ids(tokenizer: Any) -> list[int]:
    sample = "The quick brown fox, 1234.5 + x = y;\n\tnaïve 中文 😀  two  spaces"
    return list(tokenizer(sample, add_special_tokens=False)["input_ids"])


def template_hash(tokenizer: Any, chat_template: str | None = None) -> str:
    """SHA-256 of the chat template's text, and of `DATE` where it writes one; empty where there is none."""
    text = chat_template if chat_template is not None else getattr(tokenizer, "chat_template", None)
    if not text:
        return ""
    plain = text if isinstance(text, str) else json.dumps(text, sort_keys=True, ensure_ascii=True)
    dated = f"{plain}\0{DATE:%Y-%m-%d}" if _CLOCK in plain else plain
    return hashlib.sha256(dated.encode("utf-8", "replace")).hexdigest()


def writes_date(tokenizer: Any, chat_template: str | None = None) -> bool:
    """Whether the chat template asks for the current date (Llama 3.2's does)."""
    return _CLOCK in str(chat_template if chat_template is not None else getattr(tokenizer, "chat_template", None))


def template_in_effect(tokenizer: Any, chat_template: str | None = None) -> str | None:
    """What `apply_chat_template` is to be given: a template that writes the date has `DATE` in its place.

    Else a checkpoint's scores of two days would be of two texts. None: the tokenizer's own as it stands.
    """
    if not writes_date(tokenizer, chat_template):
        return chat_template
    return _pinned(str(tokenizer.get_chat_template(chat_template)))


@lru_cache(maxsize=8)
def _pinned(template: str) -> str:
    """The template behind a macro that takes the clock's name: transformers lets no function in from outside."""
    filled = "".join(f" | replace({f'%{code}'!r}, {DATE.strftime(f'%{code}')!r})" for code in _CODES)
    return f"{{% macro {_CLOCK}(format) %}}{{{{ format{filled} }}}}{{% endmacro +%}}{template}"
