"""A value of a row, of whatever kind a file gave: a prompt, a response or token ids come out, or what is wrong."""

from __future__ import annotations

import math
from typing import Any

from critictui.scoring.fixed_set import Message

LARGEST_TEXT = 8 << 20
"""Characters of one prompt or response."""


class RowError(Exception):
    """One row cannot be used; the message says why."""


def as_plain(value: object) -> object:
    """Numpy arrays and scalars as lists and numbers; nothing is ever turned into text."""
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        return as_plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [as_plain(v) for v in value]
    return value


def as_prompt(value: object) -> str | tuple[Message, ...]:
    """A text, or a list (or array) of chat messages. Raises RowError."""
    plain = as_plain(value)
    if isinstance(plain, str):
        return as_text(plain, "prompt")
    if isinstance(plain, dict):
        plain = [plain]
    if isinstance(plain, list) and plain:
        return tuple(_message(entry) for entry in plain)
    raise RowError(f"the prompt is {_kind(value)}, neither text nor chat messages")


def as_response_text(value: object, name: str) -> str:
    """A response's text: itself, or the content of the one assistant message. Raises RowError."""
    plain = as_plain(value)
    if isinstance(plain, dict):
        plain = [plain]
    if isinstance(plain, list) and plain:
        said = [m.content for m in map(_message, plain) if m.role == "assistant"]
        if len(said) != 1:
            raise RowError(f"{name} has {len(said)} assistant messages, one was expected")
        return said[0]
    return as_text(plain, name)


def as_text(value: object, name: str) -> str:
    """Text of a bearable length. Raises RowError; None, NaN and numbers are no text."""
    if not isinstance(value, str):
        raise RowError(f"{name} is {_kind(value)}, not text")
    if len(value) > LARGEST_TEXT:
        raise RowError(f"{name} has {len(value)} characters, more than {LARGEST_TEXT}")
    return value.encode("utf-8", "replace").decode("utf-8")


def as_ids(value: object) -> tuple[int, ...] | None:
    """Token ids, or None where there are none. Raises RowError."""
    plain = as_plain(value)
    if plain is None:
        return None
    if not isinstance(plain, list) or any(
        not isinstance(v, int) or isinstance(v, bool) or not 0 <= v < 1 << 31 for v in plain
    ):
        raise RowError("ids is not a list of whole numbers")
    return tuple(plain)


def _message(entry: object) -> Message:
    if not isinstance(entry, dict) or not isinstance(entry.get("role"), str):
        raise RowError("a chat message without a role")
    content: Any = as_plain(entry.get("content"))
    if isinstance(content, list):
        texts = [p.get("text") for p in content if isinstance(p, dict) and p.get("type", "text") == "text"]
        parts = [text for text in texts if isinstance(text, str)]
        if len(parts) != len(content):
            raise RowError("a chat message with something other than text in it")
        content = "".join(parts)
    return Message(entry["role"], as_text(content, "a chat message's content"))


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, (list, tuple, dict)) and not value:
        return "empty"
    return f"a {type(value).__name__}"
