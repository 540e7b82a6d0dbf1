"""A copy of the tree, broken or not, and whether its tests notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "*.png", "*.svg")


def copy_of(target: Path) -> Path:
    """The tree in `target`, without what was built."""
    for name in ("critictui", "tests", "benchmarks", "themes", "docs"):
        shutil.copytree(ROOT / name, target / name, ignore=_LEFT_OUT)
    for file in ("pyproject.toml", "README.md", "Makefile", "constraints.txt", "CHANGELOG.md"):
        if (ROOT / file).exists():
            shutil.copy(ROOT / file, target / file)
    return target


def outcome(tree: Path, tests: tuple[str, ...]) -> tuple[str, str]:
    """`passed`, `failed`, `skipped`, or `broken` (no test ran), and the last lines of what pytest said."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import critictui; print(critictui.__file__)"],
        cwd=tree, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(tree)), f"the tests would run on {where}"
    kept = f"cache_dir={ROOT / '.pytest_cache'}"  # with the demo's runs in it
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-o", kept, *tests],
        cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    said = "\n".join((ended.stdout + ended.stderr).strip().splitlines()[-15:])
    only_skips = ended.returncode == 0 and " passed" not in said
    return ("skipped" if only_skips else {0: "passed", 1: "failed"}.get(ended.returncode, "broken")), said
