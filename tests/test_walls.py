"""The rooms keep to themselves: by lint, and by what is really loaded when a room is imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
HEAVY = ("torch", "transformers", "trl", "tensorboard", "pandas", "scipy", "pyarrow", "tbparse")

LIST_LOADED = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""


def loaded_by(package: str) -> set[str]:
    """Every module in sys.modules after all of `package` was imported in a fresh interpreter."""
    out = subprocess.run([sys.executable, "-c", LIST_LOADED, package], capture_output=True, text=True, check=True)
    return set(json.loads(out.stdout.splitlines()[-1]))


def inside(modules: set[str], root: str) -> list[str]:
    return sorted(m for m in modules if m == root or m.startswith(root + "."))


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c["source_modules"][0])
def test_importing_a_room_loads_nothing_that_its_walls_forbid(contract):
    modules = loaded_by(contract["source_modules"][0])
    broken = {wall: inside(modules, wall) for wall in contract["forbidden_modules"] if inside(modules, wall)}
    assert not broken


def test_importing_the_app_loads_no_heavy_library():
    out = subprocess.run(
        [sys.executable, "-c", "import critictui.tui.app, sys, json; print(json.dumps(sorted(sys.modules)))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    modules = set(json.loads(out.stdout.splitlines()[-1]))
    assert not {name: inside(modules, name) for name in HEAVY if inside(modules, name)}


def test_the_command_line_loads_only_click_and_itself():
    out = subprocess.run(
        [sys.executable, "-c", "import critictui.cli, sys, json; print(json.dumps(sorted(sys.modules)))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    modules = set(json.loads(out.stdout.splitlines()[-1]))
    assert not {name: inside(modules, name) for name in (*HEAVY, "numpy", "textual") if inside(modules, name)}


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    lint = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([lint, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "line", "room"),
    [
        ("critictui/run/series.py", "import torch", "run"),
        ("critictui/health/alert.py", "from critictui.scoring import recipe", "health"),
        ("critictui/worker/__init__.py", "import textual", "worker"),
    ],
)
def test_the_lint_fails_when_a_wall_is_broken(tmp_path, module, line, room):
    shutil.copytree(ROOT / "critictui", tmp_path / "critictui", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / module
    path.write_text(path.read_text() + f"\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert f"{room} keeps to its room BROKEN" in result.stdout


def test_the_import_test_sees_a_broken_wall(tmp_path):
    package = tmp_path / "room"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "module.py").write_text("import sqlite3\n")
    out = subprocess.run(
        [sys.executable, "-c", LIST_LOADED, "room"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert inside(set(json.loads(out.stdout)), "sqlite3")
