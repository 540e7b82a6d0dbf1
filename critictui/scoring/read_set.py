"""Reads a fixed set in every form it comes in: our JSONL, rows as JSONL or parquet, the report's `.pt`."""

from __future__ import annotations

import hashlib
import itertools
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from critictui.scoring.fixed_set import FixedPrompt, FixedSet, Message, Response
from critictui.scoring.recipe import ScoringError
from critictui.scoring.row_values import RowError, as_ids, as_plain, as_prompt, as_response_text, as_text
from critictui.scoring.rows import pyarrow

SET_SCHEMA = 1
LARGEST_LINE = 16 << 20
"""Bytes of one row; a longer one is stepped over, and never held."""
MOST_PROBLEMS = 100
MOST_LOOKED_AT = 1000
"""Rows of a file in which one must be usable, or it is no fixed set."""
_ARCHIVE = b"PK\x03\x04"
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))
_ENDS_OF_DICTS = {b"u.", b"s."}
"""The last opcodes of a pickle that is a dict: what training saves beside checkpoints, not rows."""
COLUMNS: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "content"),
    "teacher_response": ("teacher_response",),
    "student_response": ("student_response",),
}
"""The columns of the row forms, first match wins."""

Rows = Iterable[tuple[str, object]]
"""(where it is, what it is), a row each; a RowError in place of a row that could not be read."""


@dataclass(slots=True)
class Complaints:
    """What was wrong, bounded: every row counted, the first hundred kept."""

    count: int = 0
    kept: list[str] = field(default_factory=list)

    def add(self, where: str, reason: object) -> None:
        """Count one row and keep a sentence about it."""
        self.count += 1
        if len(self.kept) < MOST_PROBLEMS:
            self.kept.append(f"{where}: {reason!s:.200}")


def read_fixed_set(
    path: Path, *, columns: Mapping[str, str] | None = None, load_pt: Callable[[Path], object] | None = None
) -> FixedSet:
    """Read a fixed set, whichever form the file has. The form is told by its content, not by its name.

    columns: names for `prompt`, `teacher_response`, `student_response` in the row forms. load_pt: reads a `.pt` with
    torch; only the worker has one. Rows that cannot be used are counted and named. Raises ScoringError when the file
    cannot be read or holds not one usable row.
    """
    head, digest = _opened(path)
    complaints = Complaints()
    header: dict[str, object] = {}
    if head.startswith(b"PAR1"):
        prompts = _grouped(_parquet_rows(path), _names(columns), complaints)
    elif head.startswith((_ARCHIVE, *_PICKLES)):
        prompts = _grouped(_pt_rows(path, load_pt), _names(columns), complaints)
    else:
        header, prompts = _json_lines(path, _names(columns), complaints)
    if not prompts:
        first = f"; {complaints.kept[0]}" if complaints.kept else ""
        raise ScoringError(f"{path}: no usable row in it{first}")
    if _opened(path)[1] != digest:
        raise ScoringError(f"{path}: changed while it was read; wait until it is written, then score again")
    return FixedSet(
        path=str(path),
        sha256=digest,
        prompts=tuple(prompts),
        header=header,
        problems=tuple(complaints.kept),
        bad_rows=complaints.count,
    )


def _opened(path: Path) -> tuple[bytes, str]:
    """The first bytes and the SHA-256 of a file. Raises ScoringError."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            digest = _digest(file)
    except OSError as error:
        raise ScoringError(f"{path}: {error.strerror or error}; give a fixed set made by `critictui prepare`") from None
    if not head:
        raise ScoringError(f"{path}: the file is empty; make a fixed set with `critictui prepare`")
    return head, digest


def look_at_set(path: Path, columns: Mapping[str, str] | None = None) -> str:
    """The SHA-256 of a file that looks like a fixed set: it has a usable row, and no more of it is read as rows.

    Of a `.pt` file, which torch alone reads, only that it is a whole archive and no dict. Raises ScoringError as
    `read_fixed_set` does.
    """
    head, digest = _opened(path)
    if head.startswith(_ARCHIVE):
        _look_at_pt(path)
    if head.startswith((_ARCHIVE, *_PICKLES)):
        return digest
    names = _names(columns)
    own, _, rows = (False, None, _parquet_rows(path)) if head.startswith(b"PAR1") else _json_form(path)
    first, found = "it has no rows", dict[str, str]()
    for number, (where, row) in enumerate(rows):
        try:
            own_row(row) if own else _one_row(row, names, found)
        except RowError as error:
            first = first if number else f"{where}: {error!s:.200}"
        else:
            return digest
        if number >= MOST_LOOKED_AT:
            break
    raise ScoringError(f"{path}: no usable row in it; {first}; make a fixed set with `critictui prepare`")


def _look_at_pt(path: Path) -> None:
    try:
        last = b""
        with zipfile.ZipFile(path) as archive:
            names = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
            if names and names[0].compress_type != zipfile.ZIP_STORED:
                raise ScoringError(f"{path}: a compressed archive, as torch.save writes none; not read. Save it again")
            if names:
                with archive.open(names[0]) as file:  # to its end, for its CRC
                    while piece := file.read(1 << 20):
                        last = (last + piece)[-2:]
    except (OSError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ScoringError(f"{path}: a cut or damaged .pt archive ({error!s:.80}); copy it again") from None
    if not last or last in _ENDS_OF_DICTS:
        raise ScoringError(f"{path}: a list of rows was expected; make a fixed set with `critictui prepare`")


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return _digest(file)


def _names(columns: Mapping[str, str] | None) -> dict[str, tuple[str, ...]]:
    given = columns or {}
    unknown = set(given) - set(COLUMNS)
    if unknown:
        raise ScoringError(f"column {min(unknown)!r} is none of {', '.join(COLUMNS)}")
    return {name: (given[name],) if name in given else usual for name, usual in COLUMNS.items()}


# JSON lines


def json_lines(path: Path) -> Iterator[tuple[str, object]]:
    """(line number, value) a line; RowError as the value of a line that is too long, broken or not UTF-8.

    Memory is bounded by LARGEST_LINE whatever the file holds. A byte order mark and empty lines are passed over.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LARGEST_LINE + 1):
            number += 1
            where = f"line {number}"
            if len(line) > LARGEST_LINE:
                while not line.endswith(b"\n") and line:
                    line = file.readline(LARGEST_LINE)
                yield where, RowError(f"longer than {LARGEST_LINE >> 20} MiB")
                continue
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if text.strip():
                yield where, _parsed(text, ended=line.endswith(b"\n"))


def _parsed(line: bytes, *, ended: bool) -> object:
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return RowError("not UTF-8")
    except (ValueError, RecursionError) as error:
        return RowError(f"not JSON ({error!s:.60})" if ended else "cut short in the middle")


def _json_lines(
    path: Path, names: Mapping[str, tuple[str, ...]], complaints: Complaints
) -> tuple[dict[str, object], list[FixedPrompt]]:
    own, header, rows = _json_form(path)
    return header, _own_rows(rows, complaints) if own else _grouped(rows, names, complaints)


def _json_form(path: Path) -> tuple[bool, dict[str, object], Rows]:
    """Whether the lines are of our own form, the header line where there is one, and the rows."""
    rows = json_lines(path)
    first = next(rows, None)
    if first is None:
        return False, {}, ()
    head = first[1]
    if isinstance(head, dict) and "schema" in head and "teacher" not in head and "prompt" not in head:
        if head["schema"] != SET_SCHEMA:
            raise ScoringError(
                f"{path}: schema {head['schema']!r:.40}, this version reads {SET_SCHEMA}; update critictui"
            )
        return True, head, rows
    own = isinstance(head, dict) and isinstance(head.get("teacher"), dict)
    return own, {}, itertools.chain([first], rows)


def _own_rows(rows: Rows, complaints: Complaints) -> list[FixedPrompt]:
    prompts: dict[str, FixedPrompt] = {}
    known: dict[object, str] = {}
    for where, row in rows:
        try:
            item = own_row(row)
        except RowError as error:
            complaints.add(where, error)
            continue
        content = (item.prompt, *((one.text, one.ids) for one in (item.teacher, *item.students)))
        same = known.setdefault(content, item.id)
        if item.id in prompts:
            complaints.add(where, f"id {item.id!r:.60} is there twice; the first one counts")
        elif same != item.id:
            complaints.add(where, f"the prompt and responses of id {same!r:.60} again, under another id; counted once")
        else:
            prompts[item.id] = item
    return list(prompts.values())


def own_row(row: object) -> FixedPrompt:
    """A line of our own form, parsed. Raises RowError."""
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, dict):
        raise RowError("not an object")
    missing = [key for key in ("id", "prompt", "teacher", "students") if key not in row]
    if missing:
        raise RowError(f"{missing[0]!r} is missing")
    if not isinstance(row["id"], (str, int)) or isinstance(row["id"], bool):
        raise RowError("id is neither text nor a whole number")
    if not isinstance(row["students"], list) or not row["students"]:
        raise RowError("students is no list, or an empty one")
    return FixedPrompt(
        id=str(row["id"]),
        prompt=as_prompt(row["prompt"]),
        teacher=_own_response(row["teacher"]),
        students=tuple(_own_response(student) for student in row["students"]),
    )


def _own_response(value: object) -> Response:
    if isinstance(value, str):
        return Response(value)
    if not isinstance(value, dict) or "text" not in value:
        raise RowError("a response is neither text nor an object with text")
    seed, reason = value.get("seed"), value.get("finish_reason") or ""
    return Response(
        text=as_text(value["text"], "response"),
        ids=as_ids(value.get("ids")),
        finish_reason=reason if isinstance(reason, str) else "",
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
    )


# rows of prompt, teacher_response, student_response


def _grouped(rows: Rows, names: Mapping[str, tuple[str, ...]], complaints: Complaints) -> list[FixedPrompt]:
    """Several rows of one prompt and teacher are its students."""
    groups: dict[tuple[object, str], list[Response]] = {}
    found: dict[str, str] = {}
    for where, row in rows:
        try:
            prompt, teacher, students = _one_row(row, names, found)
        except RowError as error:
            complaints.add(where, error)
            continue
        groups.setdefault((prompt, teacher), []).extend(students)
    return [
        FixedPrompt(str(number), prompt, Response(teacher), tuple(students))  # type: ignore[arg-type]
        for number, ((prompt, teacher), students) in enumerate(groups.items())
    ]


def _one_row(
    row: object, names: Mapping[str, tuple[str, ...]], found: dict[str, str]
) -> tuple[str | tuple[Message, ...], str, list[Response]]:
    if isinstance(row, RowError):
        raise row
    if not isinstance(row, Mapping):
        raise RowError("not a row of named columns")
    for name, usual in names.items():
        if name not in found:
            there = next((column for column in usual if column in row), None)
            if there is None:
                has = ", ".join(map(str, list(row)[:12]))
                said = f"column {' or '.join(map(repr, usual))} is missing; there are {has}"
                raise RowError(f"{said}; name it with --column {name}=NAME")
            found[name] = there
        elif found[name] not in row:
            raise RowError(f"column {found[name]!r} is missing")
    prompt = as_prompt(row[found["prompt"]])
    teacher = as_response_text(row[found["teacher_response"]], "teacher_response")
    value = as_plain(row[found["student_response"]])
    several = value if isinstance(value, list) and value and all(isinstance(v, str) for v in value) else [value]
    students = [as_response_text(v, "student_response") for v in several]
    return prompt, teacher, [Response(text) for text in students]


def _parquet_rows(path: Path) -> Iterator[tuple[str, object]]:
    arrow, parquet = pyarrow()
    try:
        file = parquet.ParquetFile(str(path), memory_map=False)
        number = 0
        for batch in file.iter_batches(batch_size=256):
            for row in rows_of_batch(batch):
                number += 1
                yield f"row {number}", row
    except (OSError, arrow.ArrowException, ValueError) as error:
        raise ScoringError(f"{path}: not a whole parquet file ({error!s:.120})") from None


def rows_of_batch(batch: Any) -> Iterator[object]:
    """A record batch's rows as dicts; RowError in place of one that is too long, which is never copied."""
    if batch.nbytes <= LARGEST_LINE:
        yield from batch.to_pylist()
        return
    for at in range(batch.num_rows):
        one = batch.slice(at, 1)
        if one.nbytes > LARGEST_LINE:
            yield RowError(f"longer than {LARGEST_LINE >> 20} MiB")
        else:
            yield from one.to_pylist()


def _pt_rows(path: Path, load_pt: Callable[[Path], object] | None) -> Iterator[tuple[str, object]]:
    if load_pt is None:
        raise ScoringError(
            f"{path}: a .pt file is read by the worker only; turn it into JSONL with `critictui prepare`"
        )
    value = load_pt(path)
    if not isinstance(value, (list, tuple)):
        raise ScoringError(f"{path}: a list of rows was expected, not {type(value).__name__}")
    return ((f"row {number}", row) for number, row in enumerate(value, 1))
