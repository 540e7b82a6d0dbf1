"""The fixed test set: prompts with a teacher's and stored student responses, made once, scored at every checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Response:
    """One response; `ids` are the raw token ids where they are known."""

    text: str
    ids: tuple[int, ...] | None = None
    finish_reason: str = ""
    """stop, length, or empty when unknown."""
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class FixedPrompt:
    """One line of the fixed set."""

    id: str
    prompt: str | tuple[Message, ...]
    teacher: Response
    students: tuple[Response, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FixedSet:
    """A fixed set that was read, with what is known of how it was made and what was wrong in it."""

    path: str
    sha256: str
    """Of the file's bytes."""
    prompts: tuple[FixedPrompt, ...]
    header: Mapping[str, object] = field(default_factory=dict)
    """schema, provenance, tokenizer and template hash, generation parameters; empty for imported files."""
    problems: tuple[str, ...] = ()
    """One sentence a row that could not be used; the first hundred."""
    bad_rows: int = 0
    """How many rows could not be used."""

    @property
    def pairs(self) -> int:
        """Teacher-student pairs."""
        return sum(len(p.students) for p in self.prompts)
