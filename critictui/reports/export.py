"""Every scalar of a run as a table: a run directory or one file goes in, JSONL, CSV or Parquet comes out.

A row a scalar, by source, in file order: `tag, step, wall_time, value, source, session`. Superseded and double points
are in it too; damaged records are not. Values of event files are exactly the float32 that was written.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from critictui.config import Config
from critictui.errors import InputError
from critictui.reports.written import renamed
from critictui.run.facts import RunSnapshot, Skipped
from critictui.run.read_once import refuse_empty
from critictui.run.reader import RunReader
from critictui.run.streams import RawScalars

if TYPE_CHECKING:
    from critictui.reports.everything import Extra

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: tuple[Format, ...] = ("jsonl", "csv", "parquet")
_NO_FORMAT = frozenset({"json", "ndjson", "txt", "out"})
"""Endings of names under which lines of JSON are expected, or nothing in particular."""
COLUMNS = ("tag", "step", "wall_time", "value", "source", "session")


class ExportError(InputError):
    """The table cannot be made; the message names the file and the remedy."""


def export(
    target: Path, fmt: Format, output: Path | None, everything: bool = False, config: Config | None = None
) -> RunSnapshot:
    """Write the scalars under `target` to `output`, or to stdout; returns the run, with its losses and notices.

    With `everything`, hyper-parameters, text and histograms of the event files follow: in JSONL as lines with a
    `kind`, else in files beside `output`. Raises RunError for a path that is no run, ExportError, WriteError.
    """
    if output is None and (fmt == "parquet" or (everything and fmt != "jsonl")):
        several = "several files" if everything else "a file"
        raise ExportError(f"{fmt} is written into {several}, not to the standard output; name a file with -o")
    reader = RunReader(target, config or Config())
    try:
        snapshot = reader.read_all()
        refuse_empty(target, snapshot)
        extra = _extra(target, snapshot) if everything else None
        if fmt == "parquet":
            assert output is not None
            _write_parquet(reader.raw(), output)
        else:
            with _written(output) as out:
                _write_lines(reader.raw(), out) if fmt == "jsonl" else _write_csv(reader.raw(), out)
                if extra is not None and fmt == "jsonl":
                    extra.write_lines(out)
        if extra is not None and fmt != "jsonl":
            assert output is not None
            extra.write_beside(output, fmt)
        return snapshot
    finally:
        reader.close()


def format_of(name: str | None, output: Path | None) -> Format:
    """The format that was asked for, or the one that the output's name says; JSONL where it says none.

    Raises ExportError for a name that says another one.
    """
    said = output.suffix.removeprefix(".").lower() if output is not None else ""
    for fmt in FORMATS:
        if fmt == (name or said):
            return fmt
    if said and output is not None and said not in _NO_FORMAT:
        raise ExportError(f"{output}: no format is called {said!r}; name one with --format {'|'.join(FORMATS)}")
    return "jsonl"


def said_of_losses(lost: tuple[Skipped, ...]) -> tuple[str, ...]:
    """A line a file that lost something."""
    out = []
    for file in dict.fromkeys(loss.file for loss in lost):
        mine = [loss for loss in lost if loss.file == file]
        size = sum(loss.bytes for loss in mine)
        reasons = ", ".join(dict.fromkeys(loss.reason for loss in mine))
        places = f"{len(mine)} damaged place{'' if len(mine) == 1 else 's'} left out"
        out.append(f"{file}: {places}{f', {size:,} bytes' if size else ''} ({reasons})")
    return tuple(out)


def _extra(target: Path, snapshot: RunSnapshot) -> Extra:
    from critictui.reports.everything import read_everything

    base = target if target.is_dir() else target.parent
    return read_everything({s.path: base / s.path for s in snapshot.sources if s.kind == "events"})


@contextmanager
def _written(output: Path | None) -> Iterator[IO[str]]:
    """Stdout, or a file that appears under its name only when it is whole."""
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with renamed(output) as part, part.open("w", encoding="utf-8", newline="") as out:
        yield out


def _rows(scalars: RawScalars) -> Iterator[tuple[int, int, float, float, int]]:
    columns = (scalars.tag, scalars.step, scalars.wall_time, scalars.value, scalars.session)
    return zip(*(column.tolist() for column in columns), strict=True)


def json_number(value: float) -> str:
    """A float as JSON: the shortest digits that give it back, and `"nan"`, `"inf"`, `"-inf"` for what JSON lacks."""
    return repr(value) if math.isfinite(value) else f'"{value}"'


def _write_lines(streams: Iterable[RawScalars], out: IO[str]) -> None:
    for scalars in streams:
        heads = [f'{{"tag": {json.dumps(tag, ensure_ascii=False)}, "step": ' for tag in scalars.tags]
        source = json.dumps(scalars.source, ensure_ascii=False)
        out.writelines(
            f'{heads[tag]}{step}, "wall_time": {json_number(wall)}, "value": {json_number(value)}, '
            f'"source": {source}, "session": {session}}}\n'
            for tag, step, wall, value, session in _rows(scalars)
        )


def _write_csv(streams: Iterable[RawScalars], out: IO[str]) -> None:
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for scalars in streams:
        tags, source = scalars.tags, scalars.source
        table.writerows(
            (tags[tag], step, repr(wall), repr(value), source, session)
            for tag, step, wall, value, session in _rows(scalars)
        )


def _write_parquet(streams: Iterable[RawScalars], output: Path) -> None:
    pa, pq = _arrow()
    kinds = (pa.string(), pa.int64(), pa.float64(), pa.float64(), pa.string(), pa.int64())
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
    with renamed(output) as part, pq.ParquetWriter(part, schema) as writer:
        for scalars in streams:
            tag = pa.DictionaryArray.from_arrays(pa.array(scalars.tag), pa.array(scalars.tags, pa.string()))
            columns = [tag.cast(pa.string()), *map(pa.array, (scalars.step, scalars.wall_time, scalars.value))]
            columns += [pa.repeat(scalars.source, len(scalars.step)), pa.array(scalars.session)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ExportError("Parquet needs pyarrow: pip install 'critictui[score]', or --format csv") from error
    return pa, pq
