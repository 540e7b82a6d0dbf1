"""Every fault that the documentation claims to survive has a test that carries its id, and no test carries another."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "survival.md"


def claimed() -> set[str]:
    return set(re.findall(r"^\| ([A-Z]\d\d) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def held() -> set[str]:
    rows = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                rows.update(a.value for a in node.args if isinstance(a, ast.Constant))
    return rows


def test_every_row_of_the_page_is_held_by_a_test() -> None:
    assert len(claimed()) > 50
    assert sorted(claimed() - held()) == []


def test_no_test_holds_a_row_that_the_page_lacks() -> None:
    assert sorted(held() - claimed()) == []
