"""The wheel holds what the checkout holds, and starts in an environment that has nothing else."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True, capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def test_the_wheel_ships_themes_and_types(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "critictui/py.typed" in names
    shipped = {Path(n).name for n in names if n.startswith("critictui/themes/")}
    assert shipped == {p.name for p in (ROOT / "themes").glob("*.toml")}
    assert "critictui/reports/templates/page.html.jinja" in names
    assert not [n for n in names if n.startswith("tests/")]


@pytest.mark.slow
def test_the_installed_wheel_starts_in_an_empty_environment(wheel, tmp_path):
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel], check=True, cwd=tmp_path
    )
    listed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout.lower()
    assert "torch" not in listed
    assert "pandas" not in listed
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "train.log").write_text("".join(f"step:{i} - critic/d_acc:0.{50 + i}\n" for i in range(1, 40)))
    screen = started_screen([home / "bin" / "critictui", "watch", run_dir], tmp_path, until=b"d_acc")
    assert b"Traceback" not in screen


def started_screen(command: list[object], cwd: Path, until: bytes) -> bytes:
    """What the command paints on a 120x36 terminal up to the moment when `until` is on it; then q is typed."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="36", HOME=str(cwd))
        os.execv(str(command[0]), [str(c) for c in command])
    seen = b""
    deadline = time.monotonic() + 60
    quitting = False
    while time.monotonic() < deadline:
        ready, _, _ = select.select([fd], [], [], 0.2)
        if ready:
            try:
                chunk = os.read(fd, 65536)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
        if until in seen and not quitting:
            os.write(fd, b"q")
            quitting = True
    _, status = os.waitpid(pid, 0)
    assert until in seen, seen[-2000:]
    assert os.waitstatus_to_exitcode(status) == 0
    return seen
