"""The terminal as an adversary: killed, stopped, stalled, hung up, resized, and full of hostile bytes both ways."""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import children_of, gone, wait_until

sys.path.insert(0, str(Path(__file__).parent))
from screens import (
    LEFT,
    ROOT,
    WATCH,
    Shown,
    log_of,
    modes_left_on,
    not_ours,
    old_run,
    on_screen,
    open_app,
    painted,
    state_of,
    terminal_env,
)

Start = Callable[..., Shown]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start()` is the app on a run of 60 steps, painted."""
    sessions: list[Shown] = []

    def started(code: str = WATCH, columns: int = 120, lines: int = 36, wait: bool = True, **env: str) -> Shown:
        session = open_app(old_run(tmp_path / "run"), tmp_path, columns, lines, code, **env)
        sessions.append(session)
        if wait:
            painted(session)
        return session

    yield started
    for session in sessions:
        session.close()


def leaves(session: Shown, status: int = 0) -> None:
    """`q` ends it, and nothing of it is left on the terminal."""
    assert session.quit() == status
    restored(session)


def ended(session: Shown, status: int) -> None:
    """It ends with this status, and nothing of it is left on the terminal."""
    assert session.wait(60) == status
    restored(session)


def restored(session: Shown) -> None:
    """Nothing is left on the terminal, and nothing but our own escapes and text was ever sent to it."""
    assert session.attributes() == session.before
    assert modes_left_on(session.sent) == set()
    assert not_ours(bytes(session.sent)) == []


# S03: killed.


@pytest.fixture
def below_a_shell(tmp_path: Path) -> Iterator[tuple[Shown, int]]:
    """The app as a child of what owns the terminal and lives on, and its process id."""
    run = old_run(tmp_path / "run")
    shell = ["sh", "-c", '"$@"; echo "status $?"; exec cat', "sh", sys.executable, "-c", WATCH, str(run)]
    with Shown(shell, 120, 36, terminal_env(tmp_path), ROOT) as session:
        painted(session)
        yield session, children_of(session.pid)[0]


@pytest.mark.fault("S03")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda n: n.name)
def test_after_a_death_that_nobody_can_catch_the_terminal_is_restored_and_nothing_is_lost(
    number: signal.Signals, below_a_shell: tuple[Shown, int], tmp_path: Path
) -> None:
    session, process = below_a_shell
    session.press("s")  # another smoothing, remembered at once
    state = tmp_path / "state"
    assert wait_until(lambda: any(re.search(rb'"smoothing": ?0.9\d', f.read_bytes()) for f in state.rglob("*.json")))
    helpers = children_of(process)
    assert session.attributes() != session.before
    os.kill(process, number)
    assert session.pump(60, lambda sent: f"status {128 + number}".encode() in sent and b"restored" in sent)
    assert wait_until(lambda: all(gone(helper) for helper in helpers))
    session.pump(0.2)
    assert modes_left_on(session.sent) == set()
    assert session.attributes() == session.before
    if number == signal.SIGSEGV:  # its stack is in the log, and not on the screen
        assert "Segmentation fault" in (tmp_path / "state/critictui/crash.log").read_text()
        assert b"Current thread" not in session.sent


@pytest.mark.fault("S03")
def test_a_shell_that_has_its_terminal_again_is_not_disturbed(below_a_shell: tuple[Shown, int]) -> None:
    """Killed while it is stopped, the app has given the terminal back long ago."""
    session, process = below_a_shell
    os.kill(process, signal.SIGTSTP)
    assert wait_until(lambda: session.pump(0.05) or state_of(process) == "T")
    helpers = children_of(process)
    sent = len(session.sent)
    os.kill(process, signal.SIGKILL)
    assert session.pump(60, lambda all_sent: b"status 137" in all_sent)
    assert wait_until(lambda: all(gone(helper) for helper in helpers))
    session.pump(0.2)
    assert b"\x1b" not in session.sent[sent:]
    assert session.attributes() == session.before


STOPPED_IN_A_WRITE = """
import os, signal
import critictui.tui.output as output
write = output.PatientWriter.write
def stopped(self, data):
    with self._changed:  # as write does, which a signal may interrupt
        if "step 60" in data and not hasattr(output, "once"):
            output.once = True
            os.kill(os.getpid(), signal.SIGTSTP)
        write(self, data)
output.PatientWriter.write = stopped
"""


@pytest.mark.fault("S04")
def test_stopped_in_the_middle_of_a_write_the_terminal_is_given_back_and_that_is_known(tmp_path: Path) -> None:
    run = old_run(tmp_path / "run")
    code = [sys.executable, "-c", STOPPED_IN_A_WRITE + WATCH, str(run)]
    shell = ["sh", "-c", '"$@"; echo "status $?"; exec cat', "sh", *code]
    with Shown(shell, 120, 36, terminal_env(tmp_path), ROOT) as session:
        assert wait_until(lambda: session.pump(0.05) or LEFT in session.sent)
        process = children_of(session.pid)[0]
        assert wait_until(lambda: session.pump(0.05) or state_of(process) == "T")
        sent = len(session.sent)
        os.kill(process, signal.SIGKILL)
        assert session.pump(60, lambda all_sent: b"status 137" in all_sent)
        session.pump(1.0)
        assert b"\x1b" not in session.sent[sent:]


# S04: stopped and continued.


@pytest.mark.fault("S04")
def test_stops_from_outside_of_both_kinds_give_back_what_they_took(start: Start) -> None:
    session = start()
    for number in (signal.SIGTSTP, signal.SIGSTOP, signal.SIGSTOP, signal.SIGTSTP):
        os.kill(session.pid, number)
        assert wait_until(lambda: session.pump(0.02) or state_of(session.pid) == "T")
        session.pump(0.1)
        assert (session.attributes() == session.before) == (number == signal.SIGTSTP)
        sent = len(session.sent)
        os.kill(session.pid, signal.SIGCONT)
        painted(session, since=sent)
    os.kill(session.pid, signal.SIGCONT)  # of one that runs
    session.pump(1.0)
    threads = len(list(Path(f"/proc/{session.pid}/task").iterdir()))
    sent = len(session.sent)
    session.press("?")
    painted(session, "escape closes it", since=sent)
    session.press("\x1b")
    session.pump(0.5)
    assert threads < 20
    leaves(session)


@pytest.mark.fault("S04")
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_detached_and_attached_at_another_size_it_is_laid_out_anew(tmp_path: Path) -> None:
    run, server = old_run(tmp_path / "run"), f"critic{os.getpid()}"
    script = tmp_path / "watch.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n" + WATCH.replace("; ", "\n"))
    env = {**terminal_env(tmp_path), "TMUX_TMPDIR": str(tmp_path)}

    def tmux(*words: str) -> str:
        return subprocess.run(
            ["tmux", "-L", server, "-f", "/dev/null", *words], env=env, capture_output=True, text=True, check=False
        ).stdout

    def attached(columns: int, lines: int) -> Shown:
        return Shown(["tmux", "-L", server, "attach"], columns, lines, env, tmp_path)

    try:
        tmux("new-session", "-d", "-x", "120", "-y", "36", f"exec {sys.executable} {script} {run}")
        with attached(120, 36) as first:
            assert wait_until(lambda: first.pump(0.05) or "step 60" in tmux("capture-pane", "-p"))
            tmux("detach-client")
            first.wait(30)
        (run / "train.log").open("a").write(log_of(5, first=61))
        with attached(70, 20) as second:
            assert wait_until(lambda: second.pump(0.05) or "step 65" in tmux("capture-pane", "-p"))
            shown = tmux("capture-pane", "-p").splitlines()
            assert max(len(line) for line in shown) <= 70
            assert any("Evaluate" in line for line in shown[17:])
            second.press("q")
            second.wait(30)
    finally:
        tmux("kill-server")


# S05: sizes.

_SIZES = [(1, 1), (0, 0), (2, 3), (200, 1), (1, 200), (500, 1000), (40, 10), (65535, 65535), (120, 36)]
_KEYS = ["", "m", "a", "c", "l", "i", "?", "T", "/", "E", "1"]


@pytest.mark.fault("S05")
def test_no_size_and_no_storm_of_sizes_stops_any_screen(start: Start, tmp_path: Path) -> None:
    session = start()
    for key in _KEYS:
        for pressed in ("\x1b", "\x1b", key):
            session.press(pressed)
            session.pump(0.12)
        for width, height in _SIZES if key in {"", "m"} else _SIZES[:4]:
            session.resize(width, height)
            session.pump(0.03)
        for n in range(50):  # at least a hundred a second
            session.resize(1 + n * 37 % 210, 1 + n * 13 % 60)
            session.pump(0.0005)
    session.resize(120, 36)

    def the_dashboard_painted_anew() -> bool:
        """As a user would: Escape and Ctrl-L, again where they met a screen that was busy or came as one key."""
        sent = len(session.sent)
        for key in ("\x1b", "\x0c"):
            session.press(key)
            session.pump(0.5)
        return "Quit" in on_screen(bytes(session.sent[sent:]))[-1]

    assert wait_until(the_dashboard_painted_anew), "\n".join(on_screen(bytes(session.sent)))
    crash = tmp_path / "state/critictui/crash.log"
    assert not crash.exists() or crash.read_text() == ""
    leaves(session)


@pytest.mark.fault("S05")
def test_a_frame_larger_than_what_may_wait_is_written_where_nothing_waits() -> None:
    from critictui.tui.output import PatientWriter

    reading, writing = os.pipe()
    writer = PatientWriter(writing, lambda: None)
    writer.write("x" * (3 << 20))
    writer.write("dropped")
    got = 0
    while got < 3 << 20:
        assert select.select([reading], [], [], 60)[0], got
        got += len(os.read(reading, 1 << 16))
    assert wait_until(lambda: not writer._lost)
    writer.write("end")
    assert select.select([reading], [], [], 60)[0]
    assert os.read(reading, 10) == b"end"
    assert writer.close()
    os.close(reading)
    os.close(writing)


# S06: the environment.

_ENVIRONMENTS = {
    "dumb": ({"TERM": "dumb", "COLORTERM": ""}, True),
    "no TERM": ({"TERM": ""}, True),
    "sixteen colours": ({"TERM": "xterm", "COLORTERM": ""}, False),
    "C": ({"LC_ALL": "C"}, True),
    "GBK": ({"LC_ALL": "zh_CN.GBK"}, True),
    "no colour": ({"NO_COLOR": "1"}, False),
    "a size in the environment": ({"COLUMNS": "7", "LINES": "3"}, False),
}


@pytest.mark.fault("S06")
@pytest.mark.parametrize(("env", "ascii_only"), _ENVIRONMENTS.values(), ids=list(_ENVIRONMENTS))
def test_every_environment_can_be_read_and_says_severity_in_words(
    env: dict[str, str], ascii_only: bool, tmp_path: Path
) -> None:
    run = old_run(tmp_path / "run")
    with (run / "train.log").open("a") as log:
        log.write("step:61 - critic/d_acc:nan - critic/score_diff:nan\nstep:62 - critic/d_acc:0.6\n")
    with open_app(run, tmp_path, 80, 24, **env) as session:
        painted(session, "1 critical")
        session.pump(0.3)
        shown = on_screen(bytes(session.sent), 80, 24)
        assert "step 62" in shown[0]
        assert any("non-finite" in line for line in shown)
        if ascii_only:
            assert session.sent.isascii()
        if "COLORTERM" in env:
            assert not re.search(rb"[34]8;[25];", session.sent)
        leaves(session)


@pytest.mark.fault("S06")
@pytest.mark.parametrize("closed", ["in", "out", "both", "in closed", "out closed"])
def test_without_a_terminal_it_says_what_to_do_and_ends_with_2(closed: str, tmp_path: Path) -> None:
    run = old_run(tmp_path / "run")
    redirected = {
        "in": "</dev/null", "out": ">out", "both": "</dev/null >out", "in closed": "<&-", "out closed": ">&-",
    }[closed]  # fmt: skip
    shell = f"exec {sys.executable} -m critictui {run} {redirected} 2>err"
    with Shown(["sh", "-c", shell], 80, 24, {**terminal_env(tmp_path), "PYTHONPATH": str(ROOT)}, tmp_path) as session:
        assert session.wait(60) == 2
        assert session.attributes() == session.before
    said = (tmp_path / "err").read_text()
    assert "Traceback" not in said
    assert "check RUN_DIR" in said
    assert b"\x1b" not in session.sent


@pytest.mark.fault("S06")
def test_a_standard_error_that_is_a_file_gets_none_of_the_screen(tmp_path: Path) -> None:
    run = old_run(tmp_path / "run")
    shell = f"exec {sys.executable} -m critictui {run} 2>err"
    with Shown(["sh", "-c", shell], 80, 24, {**terminal_env(tmp_path), "PYTHONPATH": str(ROOT)}, tmp_path) as session:
        painted(session)
        leaves(session)
    assert (tmp_path / "err").read_bytes() == b""


# Signals, hang-ups and terminals that stall.


@pytest.mark.fault("S03", "S07")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT], ids=lambda n: n.name)
def test_every_signal_that_can_be_caught_ends_it_in_order(number: signal.Signals, start: Start) -> None:
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    heeding += "signal.signal(signal.SIGQUIT, signal.SIG_DFL); "
    session = start(heeding + WATCH)
    os.kill(session.pid, number)
    ended(session, 128 + number)
    assert children_of(session.pid) == []


@pytest.mark.fault("S09")
def test_a_terminal_that_reads_no_more_costs_neither_memory_nor_the_reading_of_the_run(
    start: Start, tmp_path: Path
) -> None:
    session = start()
    log = tmp_path / "run" / "train.log"

    for n in range(60):  # frames that nobody reads
        session.resize(100 + n % 20, 30 + n % 6)
        time.sleep(0.01)
    first = session.memory()
    with log.open("a") as file:
        file.write(log_of(40, first=61))
    for n in range(200):
        session.resize(100 + n % 20, 30 + n % 6)
        time.sleep(0.01)
    assert session.memory() - first < 40 << 20
    session.resize(120, 36)
    painted(session, "step 100")
    assert wait_until(lambda: session.pump(0.3) or "step 100" in on_screen(bytes(session.sent[-100_000:]))[0])
    leaves(session)


@pytest.mark.fault("S03")
def test_ended_while_the_terminal_stalls_it_is_restored_as_soon_as_that_reads_again(
    below_a_shell: tuple[Shown, int],
) -> None:
    session, process = below_a_shell
    for n in range(500):
        session.resize(100 + n % 20, 30 + n % 6)
        os.kill(process, signal.SIGWINCH)
        time.sleep(0.003)  # the rate of the storm, not a wait
    os.kill(process, signal.SIGTERM)
    assert wait_until(lambda: gone(process))
    assert session.pump(60, lambda sent: b"status 143" in sent and modes_left_on(sent) == set())
    assert session.attributes() == session.before


# S11: what the terminal sends.

_REPLIES = [
    b"\x1b[1114112;1u", b"\x1b[99999999999;1u", b"\x1b[57;1;99999999u", b"\xff\xfe\xc3(", b"\x80\x9b2J",
    b"\x1b[48;0;0;0;0t\x1b[<0;5;5M", b"\x1b[48;99999;99999;1;1t", b"\x1b[<35;99999999;99999999M", b"\x1b[<0;-5;-5M",
    b"\x1b[?2048;1$y\x1b[?2048;2$y\x1b[?2026;9$y", b"\x1b[999999999;999999999R", b"\x1b]11;rgb:ffff/ffff/ffff\x07",
    b"\x1bP>|XTerm(370)\x1b\\", b"\x1b[" + b"1;" * 400 + b"m", b"\x1b[I\x1b[O" * 50, b"\x1b[?1;2c\x1b[>0;276;0c",
    b"\x1b[M\xff\xff\xff", b"\x1b[200~\x1b[200~", b"\x1b[201~", b"\x00" * 64, b"\xf0\x9f\x98", b"\x1b[55296;1;55296u",
]  # fmt: skip


@pytest.mark.fault("S11")
def test_no_reply_of_the_terminal_ends_it_or_is_sent_back(start: Start, tmp_path: Path) -> None:
    session = start()
    rng = random.Random(11)
    for reply in [*_REPLIES, *(b"\x1b[" + bytes(rng.choices(b"0123456789;:<>?$ uRtMmyc", k=20)) for _ in range(100))]:
        os.write(session.fd, reply)
        session.pump(0.005)
    session.pump(2.5)  # a paste without an end is over after a second

    def filters() -> bool:
        """Back to the dashboard, a step at a time, and on to the filter; again where a screen was busy meanwhile."""
        for _ in range(4):
            session.press("\x1b")
            session.pump(0.3)
        sent = len(session.sent)
        session.press("/")
        return session.pump(1.0, lambda all_sent: b"filter" in all_sent[sent:])

    assert wait_until(filters), "\n".join(on_screen(bytes(session.sent)))
    session.press("\x1b\x1b")
    session.pump(0.5)
    assert b"Traceback" not in session.sent
    leaves(session)


@pytest.mark.fault("S11")
@pytest.mark.parametrize("marked", [True, False], ids=["bracketed", "as keys"])
def test_a_megabyte_that_is_pasted_is_bounded_and_safe(marked: bool, start: Start) -> None:
    session = start()
    session.press("/")
    session.pump(0.5)
    peak = 0
    text = (b"[bold]x[/] \xc2\x9b2J\x1b[2J\x1b]0;t\x07 \xe2\x80\xae " * 40_000)[: 1 << 20 if marked else 1 << 14]
    if not marked:
        text = b"x" * (1 << 13)
    data = memoryview(b"\x1b[200~" + text + b"\x1b[201~" if marked else text)
    os.set_blocking(session.fd, False)
    while data:
        with contextlib.suppress(BlockingIOError):
            data = data[os.write(session.fd, data[:4096]) :]
        session.pump(0.002)
        peak = max(peak, session.memory())
    os.set_blocking(session.fd, True)
    assert peak < 300 << 20
    session.press("\x1b")
    session.pump(1.0)
    session.press("\x1b\x1b")
    session.pump(0.5)
    leaves(session)


# Every byte.

_HOSTILE = [
    "\x1b[2J\x1b]0;pwned\x07\x1b[6n", "\x9b31m\x9d52;c;aGk=\x9c", "[@click=app.quit]x[/]", "\u202egnp.exe\u2066",
    "\x00\x07\x08\x7f", "\ud800", "日本語" * 300, "/////", "a" * 65536, "\x1bP1$r\x1b\\", "e" + "\u0301" * 200, "[/x]",
]  # fmt: skip


@pytest.mark.fault("F17", "L08")
def test_no_foreign_byte_reaches_the_terminal_from_any_screen(tmp_path: Path) -> None:
    """Hostile text in tags, values, log lines, file names, directory names, samples and the configuration."""
    run = tmp_path / "run\x1b[31m\u202e[bold]"
    run.mkdir()
    with (run / "train.log").open("w", encoding="utf-8", errors="surrogateescape") as log:
        for n in range(1, 30):
            pairs = " - ".join(f"val/{text.replace(' - ', '')}:{n}" for text in _HOSTILE if "\ud800" not in text)
            log.write(f"step:{n} - critic/d_acc:0.{n} - {pairs}\n")
            log.write(_HOSTILE[n % len(_HOSTILE)].replace("\ud800", "?") + "\n")
    with (run / "train.log").open("ab") as log:
        log.write(b"\x9b2J \xff\xfe \x1b[?1000h\r\x1b[H owned\n")
    (run / "events.out.tfevents.1.\x1b[2J\x9b").write_bytes(os.urandom(300))
    (run / "metrics\x1b]0;x\x07.jsonl").write_text('{"step": 1, "a\\u001b[2J": 1}\n{"step": 2, "a\\u001b[2J": 2}\n')
    (run / "global_step_5\x1b[2J").mkdir()
    (run / "critictui.toml").write_text(
        'theme = "\\u001b[2J[bold]"\nnope = "\\u009b31m"\n[keys]\n"\\u001b]0;x" = "x"\n'
    )
    with open_app(run, tmp_path) as session:
        painted(session, "step 29")
        for key in (
            "m",
            "\x1b[6~",
            "\r",
            "\x1b",
            "l",
            "w",
            "/owned\r",
            "\x1b",
            "c",
            "a",
            "i",
            "\x1b[F",
            "E",
            "r",
            "?",
            "T",
        ):
            session.press(key)
            session.pump(0.4)
        assert not_ours(bytes(session.sent)) == []
        session.press("\x1b\x1b\x1b")
        session.pump(0.5)
        leaves(session)


# S09: what a step costs.


@pytest.mark.fault("S09")
def test_a_step_costs_few_bytes_and_rest_costs_none(start: Start, tmp_path: Path) -> None:
    session = start()
    log = tmp_path / "run" / "train.log"
    deadline = time.monotonic() + 60
    sent = -1
    while sent != len(session.sent) and time.monotonic() < deadline:
        sent = len(session.sent)
        session.pump(1.5)
    assert sent == len(session.sent), "it does not come to rest"
    steps = 8
    for n in range(steps):
        with log.open("a") as file:
            file.write(log_of(1, first=61 + n))
        painted(session, f"step {61 + n}")
    session.pump(1.0)
    assert (len(session.sent) - sent) / steps < 30_000
    leaves(session)
