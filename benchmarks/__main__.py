"""All benchmarks, one after the other, each in a process of its own: `python -m benchmarks`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def modules() -> list[str]:
    """The modules and packages beside this one that have a `main()`."""
    here = Path(__file__).parent
    files = {f"benchmarks.{path.stem}": path for path in here.glob("[a-z]*.py")}
    files |= {f"benchmarks.{path.parent.name}": path for path in here.glob("*/__main__.py")}
    return sorted(name for name, path in files.items() if "main()" in path.read_text(encoding="utf-8"))


def main() -> int:
    """Run them all; the number of those that failed."""
    failed = 0
    for name in modules():
        print(f"== {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", name], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
