"""What event files hold beside scalars: hyper-parameters, text and histograms, as tbparse and pandas read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from critictui.errors import InputError

KINDS = ("hparams", "text", "histograms")


@dataclass(frozen=True, slots=True, eq=False)
class Extra:
    """A pandas table of each kind, with a column `source`."""

    tables: Mapping[str, Any]

    def write_lines(self, out: IO[str]) -> None:
        """A JSON object a row, told from scalars by its `kind`."""
        for kind, table in self.tables.items():
            for row in table.to_dict(orient="records"):
                out.write(json.dumps({"kind": kind, **_plain(row)}, ensure_ascii=False) + "\n")

    def write_beside(self, output: Path, fmt: str) -> None:
        """`scalars.csv` gets `scalars.text.csv` and so on beside it, for the kinds that there are."""
        for kind, table in self.tables.items():
            if not len(table):
                continue
            path = output.with_name(f"{output.stem}.{kind}{output.suffix}")
            if fmt == "csv":
                rows = [{key: json.dumps(v) if isinstance(v, list) else v for key, v in _plain(row).items()}
                        for row in table.to_dict(orient="records")]  # fmt: skip
                type(table)(rows).to_csv(path, index=False)
            else:
                type(table)([_plain(row) for row in table.to_dict(orient="records")]).to_parquet(path, index=False)


def read_everything(files: Mapping[str, Path]) -> Extra:
    """Read event files, name to path. Raises InputError where the packages are missing."""
    try:
        import pandas as pd
        from tbparse import SummaryReader
    except ImportError as error:
        raise InputError("--everything needs tbparse and pandas: pip install 'critictui[score]'") from error
    parts: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    for name, path in files.items():
        found = SummaryReader(str(path), extra_columns={"wall_time"}, event_types=set(KINDS))
        for kind in KINDS:
            table = getattr(found, kind)
            if len(table):
                parts[kind].append(table.assign(source=name))
    return Extra({kind: pd.concat(some, ignore_index=True) if some else pd.DataFrame() for kind, some in parts.items()})


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Numpy's values as Python's; non-finite numbers as text, as everywhere in an export."""
    out: dict[str, Any] = {}
    for key, value in row.items():
        plain = value.tolist() if hasattr(value, "tolist") else value
        if isinstance(plain, float) and plain - plain != 0:
            plain = str(plain)
        out[str(key)] = plain
    return out
