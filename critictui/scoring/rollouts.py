"""Student responses that training already wrote: verl's `rollout_data_dir` joined with the prompts of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from critictui.scoring.fixed_set import Response
from critictui.scoring.read_set import Complaints, json_lines
from critictui.scoring.recipe import ScoringError
from critictui.scoring.source_data import SourceRow


def join_rollouts(rows: Sequence[SourceRow], place: Path, limit: int) -> tuple[list[SourceRow], Complaints]:
    """Rows with their rollouts as students, at most `limit` each, by step; rows without any drop out.

    place: a folder of `<step>.jsonl` or one file, lines of `{input, output, ...}` with the rendered prompt as input: a
    rollout belongs to the row whose last user message is in it. One that fits two rows is counted, not used. Raises
    ScoringError when nothing can be read or nothing fits.
    """
    complaints = Complaints()
    needles = [(_needle(row), number) for number, row in enumerate(rows)]
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
            fitting = [(len(needle), number) for needle, number in needles if needle and needle in value["input"]]
            if not fitting:
                continue
            longest = max(length for length, _ in fitting)
            best = [number for length, number in fitting if length == longest]
            if len(best) > 1:
                complaints.add(f"{file.name} {where}", "its prompt fits several rows of the data")
                continue
            if len(found[best[0]]) < limit:
                found[best[0]].append(Response(value["output"].encode("utf-8", "replace").decode()))
    joined = [replace(row, students=tuple(students)) for row, students in zip(rows, found, strict=True) if students]
    if not joined:
        raise ScoringError(
            f"{place}: none of its {read} rollouts belongs to a sampled prompt; sample more, or other data"
        )
    return joined, complaints


def _needle(row: SourceRow) -> str:
    if isinstance(row.prompt, str):
        return row.prompt.strip()
    users = [message.content for message in row.prompt if message.role == "user"]
    return (users[-1] if users else row.prompt[-1].content).strip()


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    files = [path for path in place.glob("*.jsonl") if path.is_file()] if place.is_dir() else []
    if not files:
        raise ScoringError(f"{place}: no rollouts (<step>.jsonl) there; give verl's rollout_data_dir")
    yield from sorted(files, key=lambda p: (not p.stem.isdigit(), int(p.stem) if p.stem.isdigit() else 0, p.name))
