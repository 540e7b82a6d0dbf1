"""Training data in, the rows a fixed set is made of out: sampled exactly as `df.sample(n, random_state=seed)` does."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from critictui.scoring.fixed_set import Message, Response
from critictui.scoring.read_set import MOST_LOOKED_AT, Complaints, json_lines, rows_of_batch, sha256_of
from critictui.scoring.recipe import ScoringError
from critictui.scoring.row_values import RowError, as_plain, as_prompt, as_response_text
from critictui.scoring.rows import pyarrow

Prompt = str | tuple[Message, ...]
_FLAGS = "--prompt-column, --teacher-column, --student-column"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One sampled row of the data."""

    id: str
    """Its number in the file, from 0."""
    prompt: Prompt
    teacher: str
    students: tuple[Response, ...]
    """Stored responses, empty unless a column of them was named."""


@dataclass(frozen=True, slots=True)
class SourceData:
    """What was sampled from a data file."""

    path: str
    sha256: str
    total: int
    """Rows in the file."""
    rows: tuple[SourceRow, ...]
    """In the order of the sample."""
    problems: tuple[str, ...]
    bad_rows: int


def chosen(
    total: int, count: int | None, seed: int, where: str, *, of: str = "rows", at_most: bool = False
) -> list[int]:
    """The numbers of the rows to take: `count` None takes all in their order, at_most as many as there are.

    Raises ScoringError that names the file where there are fewer.
    """
    if count is None or (at_most and count >= total):
        return list(range(total))
    if count > total:
        raise ScoringError(f"{where}: has {total} {of}, {count} were asked for; pass --num-samples {total} or fewer")
    return sample_indices(total, count, seed)


def merged(rows: Sequence[SourceRow]) -> list[SourceRow]:
    """Rows of one prompt and teacher become one prompt with all their students, under the first one's id."""
    groups: dict[tuple[Prompt, str], SourceRow] = {}
    for row in rows:
        key = (row.prompt, row.teacher)
        first = groups.get(key)
        groups[key] = row if first is None else replace(first, students=first.students + row.students)
    return list(groups.values())


def sample_indices(total: int, count: int, seed: int) -> list[int]:
    """The rows that `pandas.DataFrame.sample(n=count, random_state=seed)` picks from `total`, in its order."""
    return [int(i) for i in np.random.RandomState(seed).choice(total, size=count, replace=False)]


def read_source(
    path: Path,
    *,
    prompt: str,
    teacher: str,
    student: str | None = None,
    count: int | None = None,
    seed: int = 42,
    at_most: bool = False,
    load_pt: Callable[[Path], object] | None = None,
) -> SourceData:
    """Sample rows of a parquet, JSONL or `.pt` file, by `chosen`.

    prompt, teacher, student: column names. Raises ScoringError when the file cannot be read, lacks a column, has fewer
    rows than asked for, or not one usable row among those sampled.
    """
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise ScoringError(f"{path}: {error.strerror or error}; give a parquet or JSONL file to --data") from None
    total, pick = _opened(path, [name for name in (prompt, teacher, student) if name], load_pt)
    if total == 0:
        raise ScoringError(f"{path}: not one row in it; give training data as parquet, JSONL or .pt to --data")
    indices = chosen(total, count, seed, str(path), at_most=at_most)
    complaints = Complaints()
    rows: list[SourceRow] = []
    found = pick(set(indices))
    for index in indices:
        try:
            rows.append(_row(index, found.get(index), prompt, teacher, student))
        except RowError as error:
            complaints.add(f"row {index}", error)
    if not rows:
        first = complaints.kept[0] if complaints.kept else "it has no rows"
        raise ScoringError(f"{path}: no usable row: {first}; name its columns with {_FLAGS}")
    return SourceData(str(path), digest, total, tuple(rows), tuple(complaints.kept), complaints.count)


def all_prompts(path: Path, prompt: str, load_pt: Callable[[Path], object] | None = None) -> Iterator[Prompt]:
    """Every usable prompt of the file, in its order. Raises ScoringError as `read_source` does."""
    total, pick = _opened(path, [prompt], load_pt)
    found = pick(set(range(total)))
    for index in range(total):
        row = found.get(index)
        if isinstance(row, Mapping) and prompt in row:
            with contextlib.suppress(RowError):
                yield as_prompt(row[prompt])


def _row(index: int, row: object, prompt: str, teacher: str, student: str | None) -> SourceRow:
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, Mapping):
        raise RowError("not a row of named columns")
    for name in (prompt, teacher, student):
        if name and name not in row:
            there = ", ".join(map(str, list(row)[:12]))
            raise RowError(f"column {name!r} is missing; there are {there}")
    students: tuple[Response, ...] = ()
    if student:
        value = as_plain(row[student])
        texts = value if isinstance(value, list) and value and all(isinstance(v, str) for v in value) else [value]
        students = tuple(Response(as_response_text(text, student)) for text in texts)
    return SourceRow(str(index), as_prompt(row[prompt]), as_response_text(row[teacher], teacher), students)


Pick = Callable[[set[int]], Mapping[int, object]]


def _opened(path: Path, wanted: Sequence[str], load_pt: Callable[[Path], object] | None) -> tuple[int, Pick]:
    """How many rows a file has, and what reads some of them by number."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise ScoringError(f"{path}: {error.strerror or error}; give a parquet or JSONL file to --data") from None
    if head == b"PAR1":
        return _parquet(path, wanted)
    return _pt(path, load_pt) if head[:2] == b"PK" or head[:1] == b"\x80" else _lines(path)


def _parquet(path: Path, columns: Sequence[str]) -> tuple[int, Pick]:
    arrow, parquet = pyarrow()
    try:
        file = parquet.ParquetFile(str(path), memory_map=False)
        there = set(file.schema_arrow.names)
    except (OSError, arrow.ArrowException) as error:
        raise ScoringError(f"{path}: not a whole parquet file ({error!s:.120})") from None
    missing = [name for name in columns if name not in there]
    if missing:
        raise ScoringError(
            f"{path}: column {missing[0]!r} is missing; there are {', '.join(sorted(there)[:12])}; name columns with "
            f"{_FLAGS}"
        )

    def pick(indices: set[int]) -> Mapping[int, object]:
        found: dict[int, object] = {}
        at = 0
        try:
            for batch in file.iter_batches(batch_size=1024, columns=list(columns)):
                for index in range(at, at + batch.num_rows):
                    if index in indices:
                        (found[index],) = rows_of_batch(batch.slice(index - at, 1))
                at += batch.num_rows
        except (OSError, arrow.ArrowException) as error:
            raise ScoringError(f"{path}: damaged parquet file ({error!s:.120})") from None
        return found

    return int(file.metadata.num_rows), pick


def _lines(path: Path) -> tuple[int, Pick]:
    def numbered() -> Iterator[tuple[int, object]]:
        return ((number, row) for number, (_, row) in enumerate(json_lines(path)))

    head = list(itertools.islice(numbered(), MOST_LOOKED_AT))
    if head and all(isinstance(row, RowError) for _, row in head):
        said = f"neither parquet, JSONL nor .pt (line 1: {head[0][1]})"
        raise ScoringError(f"{path}: {said}; give training data to --data")
    total = sum(1 for _ in numbered())
    return total, lambda indices: {number: row for number, row in numbered() if number in indices}


def _pt(path: Path, load_pt: Callable[[Path], object] | None) -> tuple[int, Pick]:
    value = load_pt(path) if load_pt is not None else None
    if not isinstance(value, (list, tuple)):
        raise ScoringError(f"{path}: a list of rows was expected, not {type(value).__name__}")
    return len(value), lambda indices: {index: value[index] for index in indices}
