"""What starting the screen costs: nothing slow is imported, and nothing that the first charts do not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SLOW = ("torch", "transformers", "tensorboard", "pandas", "scipy", "pyarrow", "trl", "httpx", "re2", "pynvml", "PIL")
LATER = (
    "numpy.ma",
    "numpy.random",
    "critictui.checkpoint.audit",
    "critictui.scoring.results",
    "critictui.health.judge",
)
FIRST_CHARTS = """
import asyncio, sys, time
from pathlib import Path
from critictui.config import Config
from critictui.monitor.monitor import Monitor

monitor = Monitor(Path(sys.argv[1]), Config())
monitor.start()
end = time.monotonic() + 30
while monitor.first is None or monitor.first.main is None:
    assert time.monotonic() < end
    time.sleep(0.005)

from critictui.tui.app import CriticApp
from critictui.tui.chart.widget import Chart

def leave(app):
    app.exit([m for m in sys.argv[2:] if m in sys.modules] + [len(app.screen.query(Chart)[1].data.lines)])

CriticApp.on_ready = leave
print(CriticApp(Path(sys.argv[1]), Config(), monitor).run(headless=True, size=(120, 36)))
"""


def test_the_app_imports_nothing_slow() -> None:
    code = f"import sys, critictui.tui.app; print([m for m in {SLOW!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_first_charts_wait_for_nothing_that_they_do_not_show(tmp_path: Path) -> None:
    lines = (f"step:{n} - critic/d_acc:{0.5 + n / 200} - critic/score_diff:{n / 20}\n" for n in range(1, 61))
    (tmp_path / "train.log").write_text("".join(lines))
    command = [sys.executable, "-c", FIRST_CHARTS, str(tmp_path), *SLOW, *LATER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[1]", done.stdout + done.stderr
