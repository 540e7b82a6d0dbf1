"""A result's responses as a parquet file beside it, a row a response."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from critictui.scoring.recipe import ScoringError
from critictui.scoring.result import ResponseRow, ScoreResult

LARGEST_ROWS = 1 << 30

_COLUMNS = {
    "prompt_id": "string",
    "prompt": "string",
    "role": "string",
    "index": "int64",
    "text": "string",
    "score": "float64",
    "tokens": "int64",
    "value_mean": "float64",
    "value_std": "float64",
    "value_min": "float64",
    "value_max": "float64",
    "truncated": "bool_",
    "finish_reason": "string",
}


def write_rows(path: Path, rows: Sequence[ResponseRow]) -> None:
    """Write one row a response. Raises OSError, ScoringError without pyarrow."""
    arrow, parquet = pyarrow()
    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in _COLUMNS.items()])
    columns = {name: [_clean(getattr(row, name)) for row in rows] for name in _COLUMNS}
    parquet.write_table(arrow.table(columns, schema=schema), str(path), compression="zstd")


def _clean(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def read_rows(result: ScoreResult) -> list[ResponseRow]:
    """A saved result's responses. Raises ScoringError when they are missing, damaged or of another version."""
    if result.path is None:
        raise ScoringError("this score was not saved, so there are no rows to read")
    return _read(result.path.with_suffix(".parquet"))


def holds_rows(path: Path, rows: Sequence[ResponseRow]) -> bool:
    """Whether a file holds these very rows."""
    try:
        there = _read(path)
    except ScoringError:
        return False
    # by their repr: a NaN is no reason to differ
    mine, theirs = ([[_clean(getattr(r, name)) for name in _COLUMNS] for r in some] for some in (rows, there))
    return repr(mine) == repr(theirs)


def _read(path: Path) -> list[ResponseRow]:
    arrow, parquet = pyarrow()
    try:
        if path.stat().st_size > LARGEST_ROWS:
            raise ScoringError(f"{path}: larger than 1 GiB, not read")
        table = parquet.ParquetFile(str(path), memory_map=False).read(columns=list(_COLUMNS)).to_pydict()
        count = len(table["score"])
        return [ResponseRow(**{f.name: table[f.name][i] for f in fields(ResponseRow)}) for i in range(count)]
    except (OSError, KeyError, TypeError, arrow.ArrowException) as error:
        raise ScoringError(f"{path}: the responses of this score cannot be read ({error!s:.120})") from None


def pyarrow() -> tuple[Any, Any]:
    """(pyarrow, pyarrow.parquet), imported on first need. Raises ScoringError where missing or too old."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise ScoringError("parquet needs pyarrow: pip install 'critictui[score]'") from None
    version = tuple(int(part) for part in re.findall(r"\d+", arrow.__version__)[:3])
    if version < (14, 0, 1):
        raise ScoringError(
            f"pyarrow {arrow.__version__} runs code from files (CVE-2023-47248): install 14.0.1 or newer"
        )
    return arrow, parquet
