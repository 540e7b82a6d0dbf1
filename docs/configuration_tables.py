"""The tables of docs/configuration.md, from the code that reads a configuration: `python -m docs.configuration_tables`.

A test holds the page against them, so that no setting, metric, threshold or key is missing.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from critictui import config as config_module
from critictui.config import _CHOICES, _TYPES, LAUNCH_SETTINGS, Config
from critictui.health.settings import LIMITS
from critictui.run.metrics import NAMES, VERL_NAMES
from critictui.run.profiles import BUILT_IN
from critictui.scoring.recipe import PRESETS
from critictui.tui import key_table
from critictui.tui.themes import bundled_dir
from docs.explain_table import with_table

PAGE = Path(__file__).with_name("configuration.md")


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (heading, ["---"] * len(heading), *rows)]
    return "\n".join(lines)


def settings() -> str:
    """Every setting, its kind, its default and what it means: the words beside it in `Config`."""
    words = dict(_docstrings(config_module.Config))
    rows = []
    for name, types in _TYPES.items():
        kind = " or ".join(_KINDS[t] for t in types)
        if name in _CHOICES:
            kind = ", ".join(_CHOICES[name]) + (" or table" if dict in types else "")
        default = getattr(Config(), name)
        shown = "" if isinstance(default, Mapping) else f"`{_toml(default)}`" if default is not None else "unknown"
        rows.append([f"`{name}`", kind, shown, words[name]])
    return table(("setting", "kind", "default", "what it is"), rows)


_KINDS = {dict: "table", str: "text", int: "whole number", float: "number", bool: "true or false"}


def _docstrings(of: type) -> Iterator[tuple[str, str]]:
    (body,) = ast.parse(inspect.getsource(of)).body
    assert isinstance(body, ast.ClassDef)
    for node, after in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            said = after.value if isinstance(after, ast.Expr) else None
            text = said.value if isinstance(said, ast.Constant) else ""
            yield node.target.id, " ".join(str(text).split())


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def metrics() -> str:
    """Canonical names, and what else is known of them."""
    spellings = {name: [tag for p in BUILT_IN for tag, n in p.aliases.items() if n == name] for name in NAMES}
    rows = [[f"`{name}`", ", ".join(f"`{tag}`" for tag in dict.fromkeys(spellings[name]))] for name in NAMES]
    return table(("metric", "also known as"), rows)


def also() -> str:
    """Names of verl's that rules read by themselves."""
    return ", ".join(f"`{name}`" for name in VERL_NAMES)


def profiles() -> str:
    """The built-in profiles."""
    rows = [
        [f"`{p.name}`", ", ".join(f"`{mark}`" for mark in p.recognised_by) or "the form of its files"] for p in BUILT_IN
    ]
    return table(("profile", "recognised by one of"), rows)


def thresholds() -> str:
    """Every rule with its thresholds, their defaults and what they may be."""
    rows = []
    for rule, settings in LIMITS.items():
        said = [f"`{k} = {_toml(v.default)}` ({v.span().removesuffix(' on')})" for k, v in settings.items()]
        rows.append([f"`{rule}`", ", ".join(said)])
    return table(("rule", "settings, their defaults and what they may be"), rows)


def key_ids() -> str:
    """Every key that can be rebound, by id."""
    rows = [[f"`{name}`", ", ".join(f"`{key}`" for key in bound.split(",")), said] for name, bound, said in _bindings()]
    return table(("id", "keys", "does"), rows)


def _bindings() -> list[tuple[str, str, str]]:
    found = {b.id: (b.id, b.key, b.tooltip or b.description) for b in key_table.every() if b.id is not None}
    return sorted(found.values())


def launchers() -> str:
    """What a cluster may be asked for."""
    kinds = {**_KINDS, list: "list"}
    rows = []
    for name, known in LAUNCH_SETTINGS.items():
        said = [f"`{key}` ({' or '.join(kinds[t] for t in types)})" for key, types in known.items()]
        rows.append([f"`[launch.{name}]`", ", ".join(said)])
    return table(("table", "settings"), rows)


def recipes() -> str:
    """The presets of a recipe."""
    usual = PRESETS["gad-fork"].to_dict()
    rows = []
    for name, recipe in PRESETS.items():
        own = {key: value for key, value in recipe.to_dict().items() if value != usual[key]}
        rows.append([f"`{name}`", ", ".join(f"`{k} = {_toml(v)}`" for k, v in own.items()) or "the defaults"])
    return table(("preset", "beside the defaults"), rows)


def themes() -> str:
    """The themes that come with critictui."""
    return ", ".join(f"`{path.stem}`" for path in sorted(bundled_dir().glob("*.toml")))


TABLES = {
    "settings": settings, "metrics": metrics, "also": also, "profiles": profiles, "thresholds": thresholds,
    "keys": key_ids, "launchers": launchers, "recipes": recipes, "themes": themes,
}  # fmt: skip


def page_now() -> str:
    """The page with its tables as the code has them."""
    page = PAGE.read_text("utf-8")
    for name, made in TABLES.items():
        page = with_table(page, name, made())
    return page


if __name__ == "__main__":
    PAGE.write_text(page_now(), "utf-8")
    sys.exit(0)
