"""The app in a real pseudo-terminal: what it sends, how it ends, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.terminal import PtySession, terminal_env  # noqa: E402

WATCH = "import sys; from pathlib import Path; from critictui.config import load_config; \
from critictui.tui.start import watch; p = Path(sys.argv[1]); sys.exit(watch(p, load_config(p)))"

RESTORED = b"\x1b[?1049l"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A verl console log of a critic's warm-up, a day old."""
    folder = tmp_path_factory.mktemp("run")
    lines = [
        f"(TaskRunner pid=7) step:{n} - critic/d_acc:{0.5 + n / 300:.4f} - critic/teacher_score_mean:{n / 40:.4f} - "
        f"critic/student_score_mean:{-n / 40:.4f} - critic/score_diff:{n / 20:.4f} - critic/grad_norm:1.0 - "
        f"perf/time_per_step:2.0"
        for n in range(1, 61)
    ]
    (folder / "train.log").write_text("\n".join(lines) + "\n")
    old = time.time() - 86_400
    os.utime(folder / "train.log", (old, old))
    return folder


@pytest.fixture
def started(run_dir: Path, tmp_path: Path) -> Iterator[Callable[..., PtySession]]:
    """`started()` is the app on that run, its first frame painted; more environment by keyword."""
    sessions: list[PtySession] = []

    def start(code: str = WATCH, columns: int = 120, lines: int = 36, **env: str) -> PtySession:
        command = [sys.executable, "-c", code, str(run_dir)]
        session = PtySession(command, columns, lines, terminal_env(tmp_path, **env), cwd=ROOT)
        sessions.append(session)
        return session

    yield start
    for session in sessions:
        session.close()


def painted(sent: bytes) -> bool:
    """The last step of the log is on the screen."""
    return b"step 60" in sent and "60" in "".join(on_screen(sent)[0])


def on_screen(sent: bytes, columns: int = 120, lines: int = 36) -> list[str]:
    """What a terminal shows after these bytes."""
    screen = pyte.Screen(columns, lines)
    pyte.ByteStream(screen).feed(sent)
    return list(screen.display)


def at_rest(session: PtySession) -> None:
    """Painted, and quiet for a second."""
    assert session.pump(60, painted), on_screen(bytes(session.sent))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        before = len(session.sent)
        session.pump(1.0)
        if len(session.sent) == before:
            return
    raise AssertionError("it does not come to rest")


@pytest.mark.fault("S09")
def test_at_rest_it_sends_nothing_and_takes_no_time(started: Callable[..., PtySession]) -> None:
    session = started()
    at_rest(session)
    sent, spent = len(session.sent), session.cpu_seconds()
    session.pump(3.0)
    assert len(session.sent) == sent
    assert session.cpu_seconds() - spent <= 0.09
    session.press("q")
    assert session.wait() == 0


@pytest.mark.fault("S03")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_with_the_terminal_restored(
    number: signal.Signals, status: int, started: Callable[..., PtySession]
) -> None:
    session = started()
    before = session.attributes()
    assert session.pump(60, painted)
    assert session.attributes() != before
    os.kill(session.pid, number)
    assert session.wait() == status
    assert session.attributes() == before
    assert RESTORED in session.sent


@pytest.mark.fault("S03")
def test_a_terminal_that_hangs_up_ends_it(started: Callable[..., PtySession]) -> None:
    session = started()
    assert session.pump(60, painted)
    os.close(session.fd)
    end = time.monotonic() + 15
    while time.monotonic() < end:
        pid, status = os.waitpid(session.pid, os.WNOHANG)
        if pid:
            session.status = os.waitstatus_to_exitcode(status)
            assert session.status in {129, -signal.SIGHUP}
            return
        time.sleep(0.01)  # nothing can be read any more: the process table is all there is to look at
    raise AssertionError("it lives on without a terminal")


@pytest.mark.fault("S09")
def test_a_stalled_terminal_stops_only_painting(started: Callable[..., PtySession]) -> None:
    session = started()
    before = session.attributes()
    assert session.pump(60, painted)
    for n in range(400):  # resizes make frames, and nobody reads them
        session.resize(100 + n % 20, 30 + n % 6)
        os.kill(session.pid, signal.SIGWINCH)
        time.sleep(0.003)  # the rate of the storm, not a wait
    os.kill(session.pid, signal.SIGTERM)
    end = time.monotonic() + 60
    while session.status is None and time.monotonic() < end:
        pid, status = os.waitpid(session.pid, os.WNOHANG)
        if pid:
            session.status = os.waitstatus_to_exitcode(status)
    assert session.status == 143
    assert session.attributes() == before


@pytest.mark.fault("S04")
def test_dialogues_are_painted_anew_and_suspended_too(started: Callable[..., PtySession]) -> None:
    session = started()
    at_rest(session)
    session.press("?")
    assert session.pump(60, lambda sent: b"escape closes it" in sent)
    at_rest(session)
    sent = len(session.sent)
    session.press("\x0c")
    assert session.pump(60, lambda sent_now: b"escape closes it" in sent_now[sent:])
    session.press("\x1a")
    assert session.pump(60, lambda sent: RESTORED in sent)


@pytest.mark.fault("S04")
def test_ctrl_z_gives_the_shell_back_and_fg_paints_anew(started: Callable[..., PtySession]) -> None:
    session = started()
    before = session.attributes()
    at_rest(session)
    session.press("\x1a")
    assert session.pump(60, lambda sent: RESTORED in sent)
    stat = Path(f"/proc/{session.pid}/stat")
    end = time.monotonic() + 60
    while stat.read_text().rsplit(")", 1)[1].split()[0] != "T" and time.monotonic() < end:
        session.pump(0.05)
    assert stat.read_text().rsplit(")", 1)[1].split()[0] == "T"
    assert session.attributes() == before
    sent = len(session.sent)
    os.kill(session.pid, signal.SIGCONT)
    assert session.pump(60, lambda sent_now: painted(sent_now[sent:]))
    session.press("q")
    assert session.wait() == 0
    assert session.attributes() == before


@pytest.mark.fault("S07")
def test_a_crash_leaves_a_log_a_sentence_and_status_1(started: Callable[..., PtySession], tmp_path: Path) -> None:
    code = WATCH.replace(
        "p = Path", "import critictui.tui.app as a; a.Dashboard.compose_body = lambda self: 1 / 0; p = Path"
    )
    session = started(code)
    before = session.attributes()
    assert session.wait() == 1
    assert session.attributes() == before
    log = tmp_path / "state" / "critictui" / "crash.log"
    assert "ZeroDivisionError" in log.read_text()
    said = bytes(session.sent).rsplit(RESTORED, 1)[-1]
    assert str(log).encode() in said
    assert b"Traceback" not in said


@pytest.mark.fault("S06")
@pytest.mark.parametrize(
    "env", [{"TERM": "dumb"}, {"LC_ALL": "C"}, {"LC_ALL": "en_US.ISO-8859-1"}], ids=["dumb", "C", "latin-1"]
)
def test_a_poor_terminal_gets_ascii_alone(env: dict[str, str], started: Callable[..., PtySession]) -> None:
    session = started(columns=80, lines=24, **env)
    assert session.pump(60, lambda sent: any("score mean" in line for line in on_screen(sent, 80, 24)))
    assert session.sent.isascii()
    session.press("q")
    assert session.wait() == 0


@pytest.mark.fault("S06")
def test_without_colour_no_colour_is_sent(started: Callable[..., PtySession]) -> None:
    session = started(NO_COLOR="1")
    assert session.pump(60, painted)
    import re

    colours = {m.group(1) for m in re.finditer(rb"38;2;(\d+;\d+;\d+)", bytes(session.sent))}
    assert all(len(set(colour.split(b";"))) == 1 for colour in colours), "NO_COLOR leaves shades of grey only"
