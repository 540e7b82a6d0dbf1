"""Student responses that training already wrote: verl's `rollout_data_dir` joined with the prompts of the data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from critictui.scoring.fixed_set import Response
from critictui.scoring.read_set import Complaints, json_lines
from critictui.scoring.recipe import ScoringError
from critictui.scoring.source_data import Prompt, SourceRow

Render = Callable[[Prompt], Iterable[str]]
"""The texts that a prompt may have been rendered as."""


def join_rollouts(
    rows: Sequence[SourceRow], prompts: Iterable[Prompt], place: Path, limit: int, render: Render | None = None
) -> tuple[list[SourceRow], Complaints]:
    """Rows with their rollouts as students, at most `limit` each, by step; rows without any drop out.

    prompts: all of the data, of which rows are a sample. place: a folder of `<step>.jsonl` or one file, lines of
    `{input, output, ...}` with the rendered prompt as input. A rollout belongs to the prompt whose rendering its whole
    input is, white space aside: by `render`, else as the usual templates render it without their special tokens. One
    that fits no prompt, or two, is counted and not used. Raises ScoringError when nothing can be read or nothing fits.
    """
    complaints = Complaints()
    known = _Known(prompts, render or usual_renderings)
    first: dict[Prompt, int] = {}
    for number, row in enumerate(rows):
        first.setdefault(row.prompt, number)
    found: list[list[Response]] = [[] for _ in rows]
    read = 0
    for file in _files(place):
        for where, value in json_lines(file):
            if not isinstance(value, dict) or not isinstance(value.get("input"), str):
                complaints.add(f"{file.name} {where}", "not a rollout with input and output")
                continue
            if not isinstance(value.get("output"), str):
                complaints.add(f"{file.name} {where}", "its output is no text")
                continue
            read += 1
            fitting = known.fitting(value["input"])
            if len(fitting) != 1:
                what = f"its prompt fits {len(fitting)} prompts" if fitting else "its prompt is none"
                complaints.add(f"{file.name} {where}", f"{what} of the data")
                continue
            number = first.get(fitting[0], -1)
            if number >= 0 and len(found[number]) < limit:
                found[number].append(Response(value["output"].encode("utf-8", "replace").decode()))
    joined = [replace(row, students=tuple(students)) for row, students in zip(rows, found, strict=True) if students]
    if not joined:
        why = f"; {complaints.kept[0]}" if complaints.kept else ""
        raise ScoringError(
            f"{place}: none of its {read} rollouts belongs to a sampled prompt{why}; sample more, give the data that "
            "training used, or name the tokenizer whose chat template rendered them with --tokenizer"
        )
    return joined, complaints


class _Known:
    """All prompts of the data by the texts that they may have been rendered as."""

    def __init__(self, prompts: Iterable[Prompt], render: Render) -> None:
        self._by_text: dict[bytes, list[Prompt]] = {}
        self._own_system = False
        for prompt in dict.fromkeys(prompts):
            self._own_system |= not isinstance(prompt, str) and prompt[0].role == "system"
            for text in {_plain(text) for text in render(prompt)} - {""}:
                self._by_text.setdefault(_key(text), []).append(prompt)

    def fitting(self, text: str) -> Sequence[Prompt]:
        """The prompts that a whole input is a rendering of."""
        plain = _plain(text)
        found = self._by_text.get(_key(plain))
        if found is None and not self._own_system and plain.startswith("system "):
            # a template's own system message, where the data has none: it goes up to the user's first turn
            _, user, rest = plain.partition("user ")
            found = self._by_text.get(_key(user + rest))
        return found or ()


def usual_renderings(prompt: Prompt) -> Iterator[str]:
    """A prompt as it is, as ChatML, and as ChatML, Llama's and Gemma's templates give it without special tokens."""
    turns = [("user", prompt)] if isinstance(prompt, str) else [(m.role, m.content) for m in prompt]
    if len(turns) == 1:
        yield turns[0][1]
    yield "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns) + "<|im_start|>assistant"
    yield " ".join(f"{role}\n{content}" for role, content in turns) + "\nassistant"
    yield "".join(f"{role}\n{content.strip()}" for role, content in turns) + "assistant"
    yield " ".join(f"{'model' if role == 'assistant' else role}\n{content}" for role, content in turns) + "\nmodel"


def _plain(text: str) -> str:
    return " ".join(text.split())


def _key(text: str) -> bytes:
    """In place of the text: of a large data set they would be several copies of it."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    files = [path for path in place.glob("*.jsonl") if path.is_file()] if place.is_dir() else []
    if not files:
        raise ScoringError(f"{place}: no rollouts (<step>.jsonl) there; give verl's rollout_data_dir")
    yield from sorted(files, key=lambda p: (not p.stem.isdigit(), int(p.stem) if p.stem.isdigit() else 0, p.name))
