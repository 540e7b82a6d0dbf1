"""The pictures of the README: real demo runs, watched in a real terminal, drawn cell by cell into docs/screens."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyte

from benchmarks.terminal import PtySession
from docs.terminal_picture import save_screen

OUT = Path(__file__).parent / "screens"
COLUMNS, LINES = 120, 36


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: a scenario, the keys that lead to the screen, and a text that says that it is there."""

    name: str
    scenario: str
    keys: tuple[str, ...]
    there: str


SHOTS = (
    Shot("dashboard", "memorise", (), "complete"),
    Shot("collapse", "collapse", (), "complete"),
    Shot("metrics", "healthy", ("m",), "critic/grad_norm"),
    Shot("checkpoints", "healthy", ("c",), "scored"),
    Shot("diagnosis", "healthy", ("d", "\r"), "verdict"),
    Shot("explanation", "memorise", ("x", "\r"), "memorised"),
)


def main() -> int:
    """Train what is needed, score it, take the pictures; the number of pictures that could not be taken."""
    OUT.mkdir(exist_ok=True)
    wanted = set(sys.argv[1:])
    shots = [shot for shot in SHOTS if not wanted or shot.name in wanted]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="critictui-screens-") as folder:
        for shot in shots:
            run = Path(folder) / f"warmup-{shot.scenario}"
            if not run.exists():
                _prepare(run, shot.scenario)
            missed += not _take(shot, run)
    return missed


def _prepare(run: Path, scenario: str) -> None:
    command = [sys.executable, "-m", "critictui"]
    subprocess.run([*command, "demo", "--headless", "--scenario", scenario, "--dir", str(run)], check=True)
    checkpoints = sorted(run.glob("global_step_*"), key=lambda p: int(p.name.rpartition("_")[2]))
    for checkpoint in checkpoints[-4:]:
        fixed_set = run / "fixed_set.jsonl"
        subprocess.run([*command, "score", str(checkpoint), "--fixed-set", str(fixed_set)], check=True)


def _take(shot: Shot, run: Path) -> bool:
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
    env |= {"XDG_STATE_HOME": str(run.parent / "state"), "XDG_CONFIG_HOME": str(run.parent / "config")}
    env.pop("NO_COLOR", None)
    session = PtySession([sys.executable, "-m", "critictui", "watch", str(run)], COLUMNS, LINES, env, Path.cwd())
    read = 0

    def shown(text: str) -> bool:
        nonlocal read
        stream.feed(bytes(session.sent[read:]))
        read = len(session.sent)
        return text in "\n".join(screen.display)

    session.pump(30, lambda _: shown("complete"))
    session.pump(2)
    for key in shot.keys:
        session.press(key)
        session.pump(1.5)
    there = session.pump(60, lambda _: shown(shot.there))
    session.pump(2)
    shown("")
    save_screen(screen, OUT / f"{shot.name}.png", scale=1)
    print(f"{shot.name}: {'taken' if there else 'NOT THERE: ' + shot.there}")
    session.press("\x1b\x1bq")
    session.pump(1)
    session.press("q")
    session.wait()
    return there


if __name__ == "__main__":
    sys.exit(main())
