"""A demo's own word that it is one: a file in its run directory, written before the first step, read with the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

DEMO_FILE = "critictui-demo.json"
DemoKind = Literal["", "live", "recording"]
"""No demo; a tiny critic that was trained here; a run recorded elsewhere that was played here, without checkpoints."""
_LARGEST = 4096


def mark_demo(root: Path, kind: DemoKind, scenario: str) -> None:
    """Say in a run directory what it is. Raises OSError."""
    (root / DEMO_FILE).write_text(json.dumps({"schema": 1, "kind": kind, "scenario": scenario}) + "\n")


def demo_kind(path: Path) -> DemoKind:
    """What a run directory, or the directory of a run that is one file, says of itself."""
    try:
        with ((path if path.is_dir() else path.parent) / DEMO_FILE).open("rb") as file:
            said = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return ""
    kind = said.get("kind") if isinstance(said, dict) else None
    return "live" if kind == "live" else "recording" if kind == "recording" else ""
