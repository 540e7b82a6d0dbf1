"""A real terminal around the app, for tests: what it sends is judged byte by byte, and read with an emulator."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyte

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.terminal import PtySession, terminal_env  # noqa: E402

WATCH = (
    "import sys; from pathlib import Path; from critictui.config import load_config; "
    "from critictui.tui.start import watch; p = Path(sys.argv[1]); sys.exit(watch(p, load_config(p)))"
)
LEFT = b"\x1b[?1049l"
"""The other screen is left: the terminal is the shell's again."""

_OURS = re.compile(
    rb"\x1b\[[0-9;:]*m"  # colours and attributes
    rb"|\x1b\[\d+(?:;\d+)?[HCDABJK]|\x1b\[[HJK]"  # where to write, what to erase
    rb"|\x1b\[\?(?:1049|1000|1003|1015|1006|1004|2004|2026|25|7)[hl]"  # modes
    rb"|\x1b\[\?2026\$p|\x1b\[>\d+u|\x1b\[<u"  # what the terminal can, the keyboard protocol
    rb"|\x1b\]22;[a-z-]*\x07|\x1b\\"  # the mouse pointer; the end of any string
)
"""Every escape sequence that Textual's driver and Rich send for this app."""
_MODE = re.compile(rb"\x1b\[\?(\d+)([hl])")


def not_ours(sent: bytes) -> list[bytes]:
    """What in these bytes is neither one of our own escape sequences nor printable text."""
    rest = _OURS.sub(b"", sent).decode("utf-8", "replace")
    return [c.encode("utf-8", "backslashreplace") for c in rest if not (c.isprintable() or c in "\r\n\x07\xad")]


def modes_left_on(sent: bytes) -> set[int]:
    """Private modes that are not as a terminal has them when a shell starts, after these bytes."""
    state = {25: b"h", 7: b"h"}
    usual = dict(state)
    for mode, value in _MODE.findall(sent):
        state[int(mode)] = value
    return {mode for mode, value in state.items() if value != usual.get(mode, b"l")}


def on_screen(sent: bytes, columns: int = 120, lines: int = 36) -> list[str]:
    """What a terminal shows after these bytes."""
    screen = pyte.Screen(columns, lines)
    pyte.ByteStream(screen).feed(bytes(sent))
    return list(screen.display)


def log_of(steps: int, first: int = 1) -> str:
    """Lines of verl's console logger."""
    return "".join(
        f"(TaskRunner pid=7) step:{n} - critic/d_acc:{0.5 + n % 300 / 700:.4f} - critic/teacher_score_mean:{n / 40:.4f}"
        f" - critic/student_score_mean:{-n / 40:.4f} - critic/score_diff:{n / 20:.4f} - critic/grad_norm:1.0"
        f" - perf/time_per_step:2.0\n"
        for n in range(first, first + steps)
    )


def old_run(folder: Path, steps: int = 60) -> Path:
    """A run directory that a training wrote a day ago: nothing on the screen ticks."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "train.log"
    log.write_text(log_of(steps))
    old = time.time() - 86_400
    os.utime(log, (old, old))
    return folder


class Shown(PtySession):
    """A terminal that remembers how it was before the command changed anything."""

    def __init__(self, command: Sequence[str], columns: int, lines: int, env: Mapping[str, str], cwd: Path) -> None:
        super().__init__(command, columns, lines, env, cwd)
        self.before = self.attributes()

    def quit(self, seconds: float = 60.0) -> int:
        """Escape and q, more than once where something waits before them; the exit status."""
        deadline = time.monotonic() + seconds
        while True:
            self.press("\x1b")
            self.pump(0.3)  # q at once would be Alt and q
            self.press("q")
            try:
                return self.wait(2.0)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise

    def memory(self) -> int:
        """Resident bytes of the command."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_app(run: Path, state: Path, columns: int = 120, lines: int = 36, code: str = WATCH, **env: str) -> Shown:
    """The app on this run in a terminal of its own."""
    return Shown([sys.executable, "-c", code, str(run)], columns, lines, terminal_env(state, **env), ROOT)


def painted(session: PtySession, text: str = "step 60", seconds: float = 60.0, since: int = 0) -> None:
    """Wait until this was sent."""
    found = session.pump(seconds, lambda sent: text.encode() in sent[since:])
    assert found, "\n".join(on_screen(bytes(session.sent)))


def state_of(process: int) -> str:
    """One letter of /proc/PID/stat: T is stopped."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
