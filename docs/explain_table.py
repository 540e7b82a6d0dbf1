"""The tables of docs/explain.md: the tests' faults are judged once more, and what was said is written down.

`python -m docs.explain_table` runs the two test modules and writes the tables between the marks. It writes nothing when
a fault was not named first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).with_name("explain.md")
TESTS = Path(__file__).parents[1] / "tests" / "diagnosis"
MODULES = (TESTS / "test_explain_table.py", TESTS / "test_diagnose_table.py")
SHORT = {"proven": "**proven**", "likely": "**likely**", "unlikely": "unlikely", "untested": "?", "ruled-out": "·"}

Row = tuple[str, list[list[str]]]
"""A fault, and (id, verdict or severity) in the order in which they were said."""


class Collector:
    """Keeps what the tests recorded of their cases."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {"causes": [], "finding": []}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """pytest's hook: a test has passed through a phase."""
        if report.when == "call":
            for kind, value in report.user_properties:
                if kind in self.rows:
                    self.rows[kind].append((value[0], value[1]))


def causes_table(rows: Sequence[Row]) -> str:
    """Faults in rows, causes in columns."""
    columns = sorted({id_ for _, said in rows for id_, _ in said}, key=_first_place(rows))
    lines = [f"| fault | {' | '.join(columns)} |", f"| --- |{' :-: |' * len(columns)}"]
    for fault, said in rows:
        verdicts = dict(reversed([(id_, verdict) for id_, verdict in said]))
        lines.append(f"| {fault} | {' | '.join(SHORT[verdicts[c]] if c in verdicts else '' for c in columns)} |")
    return "\n".join(lines)


def _first_place(rows: Sequence[Row]) -> Any:
    """Columns stand in the order in which the rows have them first, so that the table is nearly a diagonal."""
    order = [said[0][0] for _, said in rows if said]
    return lambda id_: (order.index(id_) if id_ in order else len(order), id_)


def findings_table(rows: Sequence[Row]) -> str:
    """Faults in rows, what was found of them, in order."""
    lines = ["| fault | found |", "| --- | --- |"]
    for fault, said in rows:
        found = [f"{'**' if severity != 'info' else ''}{id_}{'**' if severity != 'info' else ''} ({severity})"
                 for id_, severity in said]  # fmt: skip
        lines.append(f"| {fault} | {', '.join(found) or 'nothing'} |")
    return "\n".join(lines)


def with_table(page: str, name: str, table: str) -> str:
    """The page with the text between `<!-- name -->` and `<!-- end name -->` replaced."""
    before, begin, rest = page.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end {name} -->")
    if not begin or not end:
        raise SystemExit(f"{PAGE.name}: has no place for the table {name}")
    return f"{before}{begin}\n{table}\n\n{end}{after}"


def table_rows(page: str, name: str) -> list[list[str]]:
    """The cells of a table that stands in the page, heading first."""
    inside = page.partition(f"<!-- {name} -->")[2].partition(f"<!-- end {name} -->")[0]
    lines = [line for line in inside.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def main() -> int:
    """Run the cases, write the tables; 1 when a case failed."""
    collector = Collector()
    names = "test_a_fault or test_a_sound"
    status = pytest.main(["-q", "-p", "no:xdist", "-k", names, *map(str, MODULES)], plugins=[collector])
    if status != 0:
        print("a case failed: the tables stay as they are", file=sys.stderr)
        return 1
    page = with_table(PAGE.read_text("utf-8"), "causes", causes_table(collector.rows["causes"]))
    PAGE.write_text(with_table(page, "findings", findings_table(collector.rows["finding"])), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
