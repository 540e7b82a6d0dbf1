"""What starting the screen costs: nothing slow is imported."""

from __future__ import annotations

import subprocess
import sys

SLOW = ("torch", "transformers", "tensorboard", "pandas", "scipy", "pyarrow", "trl", "httpx", "re2", "pynvml", "PIL")


def test_the_app_imports_nothing_slow() -> None:
    code = f"import sys, critictui.tui.app; print([m for m in {SLOW!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
