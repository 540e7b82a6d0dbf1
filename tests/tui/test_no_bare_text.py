"""A bare string in a Textual widget is markup, and markup is code: nothing in the screens' room may pass one on."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "critictui" / "tui"

FORBIDDEN = {
    "Static", "Label", "Button", "DataTable", "OptionList", "Option", "Markdown", "RichLog", "Log", "Tree", "ListView",
    "Sparkline", "ProgressBar", "Header", "Footer", "Link", "Pretty", "TabbedContent", "Tooltip", "Select",
}  # fmt: skip
"""Widgets of Textual that take text as markup, or raise on NaN."""
MAKES_CONTENT = {"plain", "joined", "lines", "passage"}
TITLES = {"border_title", "border_subtitle", "tooltip", "title", "sub_title"}


def problems(source: str, name: str = "x.py") -> list[str]:
    """What in this module could pass text on as markup."""
    found: list[str] = []
    tree = ast.parse(source)
    for node in ast.walk(tree):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual.widgets"):
            found += [f"{where}: imports {a.name}" for a in node.names if a.name in FORBIDDEN]
        elif isinstance(node, ast.Call):
            found += [f"{where}: {said}" for said in _call(node, name)]
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                titled = isinstance(target, ast.Attribute) and target.attr in TITLES
                if titled and name != "text.py" and not _is_content(node.value):
                    found.append(f"{where}: {ast.unparse(target)} takes markup; use set_title")
    return found


def _call(node: ast.Call, name: str) -> list[str]:
    function = node.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
    if called == "notify":
        safe = any(k.arg == "markup" and getattr(k.value, "value", None) is False for k in node.keywords)
        return [] if safe else ["notify without markup=False"]
    if called in {"from_markup", "from_text", "from_rich_text"}:
        return [f"{called} reads markup"]
    if name != "text.py" and (called == "Content" or owner == "Content"):
        return [f"Content({ast.unparse(a)}) is not sanitised" for a in node.args if not _is_plain_constant(a)]
    if called == "update" and node.args and isinstance(node.args[0], (ast.Constant, ast.JoinedStr)):
        return ["update with a string"]
    if called == "render_str":
        return ["render_str reads markup"]
    return []


def _is_content(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and getattr(value.func, "id", "") in MAKES_CONTENT


def _is_plain_constant(value: ast.expr) -> bool:
    """A constant of ours, such a constant repeated, or parts that are Content already."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult):
        return _is_plain_constant(value.left)
    if isinstance(value, (ast.List, ast.ListComp, ast.GeneratorExp)):
        return True
    return isinstance(value, ast.Constant) and "[" not in str(value.value)


MODULES = sorted(p for p in ROOM.rglob("*.py") if "chart" not in p.relative_to(ROOM).parts[:-1])


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOM)))
def test_no_module_of_the_screens_passes_bare_text_to_a_widget(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8"), path.name) == []


@pytest.mark.parametrize(
    "source",
    [
        "from textual.widgets import Static",
        "from textual.widgets import DataTable, Input",
        "self.notify(tag)",
        "self.app.notify(f'{error}', markup=True)",
        "widget.border_title = tag",
        "widget.border_title = f'{tag}'",
        "widget.tooltip = series.tag",
        "Content(tag)",
        "Content(f'{tag}')",
        "Content.from_markup(tag)",
        "Content.styled(tag, 'bold')",
        "widget.update(f'{tag}')",
        "Content('[bold]x[/]')",
    ],
)
def test_each_way_to_pass_bare_text_is_seen(source: str) -> None:
    assert problems(source)


@pytest.mark.parametrize(
    "source",
    [
        "widget.border_title = plain(tag)",
        "self.notify(sanitise(x), markup=False)",
        "Content('\\n').join(rows)",
        "Content(' ' * 2)",
    ],
)
def test_the_safe_ways_are_not_complained_about(source: str) -> None:
    assert problems(source) == []
