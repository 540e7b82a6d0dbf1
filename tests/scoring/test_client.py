"""Whatever a worker does, the client comes back with what happened, and nothing of the worker is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import gone, wait_until

from critictui.scoring import client
from critictui.scoring.client import Patience, Worker, run_job, start_detached, worker_environment
from critictui.scoring.jobs import Failed, Finished, Job, JobMessage, Progress

JOB = Job("score", checkpoint="/nowhere/critic", fixed_set="/nowhere/set.jsonl")
QUICK = Patience(heartbeat=20.0, stall=60.0, grace=1.0)

PROLOGUE = """
import json, os, signal, socket, struct, sys, time
channel = socket.socket(fileno=int(sys.argv[sys.argv.index("--channel") + 1]))
def exactly(n):
    data = b""
    while len(data) < n:
        data += channel.recv(n - len(data))
    return data
job = json.loads(exactly(struct.unpack(">I", exactly(4))[0]))
def send(**value):
    body = json.dumps(value).encode()
    channel.sendall(struct.pack(">I", len(body)) + body)
def progress(phase="score", done=1, total=2):
    send(type="progress", phase=phase, done=done, total=total, tokens_per_second=0, seconds_left=None, message="")
def finish():
    send(type="finished", result={"d_acc": 0.75, "job": job["kind"]}, saved=None)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Callable[[str], list[str]]:
    """A real program that behaves as its source says."""

    def make(source: str) -> list[str]:
        path = tmp_path / "worker.py"
        path.write_text(PROLOGUE + textwrap.dedent(source))
        return [sys.executable, str(path)]

    return make


def run(command: list[str], patience: Patience = QUICK) -> tuple[Finished | Failed, list[JobMessage]]:
    messages: list[JobMessage] = []
    outcome = asyncio.run(run_job(JOB, messages.append, patience=patience, command=command))
    assert messages[-1] is outcome
    return outcome, messages


def test_a_good_worker_reports_and_finishes(worker: Callable[[str], list[str]]) -> None:
    outcome, messages = run(worker("progress(done=1); progress(done=2); finish()"))
    assert outcome == Finished({"d_acc": 0.75, "job": "score"})
    assert [m.done for m in messages if isinstance(m, Progress)] == [1, 2]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL (signal 9)"),
        ("signal.signal(signal.SIGSEGV, signal.SIG_DFL); os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV (signal 11)"),
        ("os.kill(os.getpid(), signal.SIGBUS)", "SIGBUS (signal 7)"),
        ("sys.exit(0)", "exit status 0 and without a result"),
        ("sys.exit(1)", "exit status 1"),
        ("raise ValueError('boom')", "boom"),
        ("channel.sendall(b'\\xff' * 64); time.sleep(60)", "garbage"),
        ("channel.sendall(struct.pack('>I', 5) + b'nope!')", "garbage"),
        ("send(type='result', good=True)", "garbage"),
        ("send(type='failed', reason='bored', message='x')", "garbage"),
        ("channel.sendall(struct.pack('>I', 500) + b'{'); channel.close(); sys.exit(3)", "in the middle of a message"),
    ],
)
@pytest.mark.fault("W03")
def test_a_worker_that_breaks_is_a_crash_in_words(worker: Callable[[str], list[str]], source: str, said: str) -> None:
    outcome, _ = run(worker(f"progress()\n{source}"))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "crashed"
    assert said in outcome.message


@pytest.mark.fault("W03")
def test_a_gigabyte_of_errors_is_read_and_dropped_and_its_end_is_shown_safely(
    worker: Callable[[str], list[str]],
) -> None:
    outcome, _ = run(
        worker(
            r"""
            block = b"x" * (1 << 20)
            for _ in range(64):
                os.write(2, block)
            print("\non standard output", flush=True)
            os.write(2, b"\n\x1b]0;title\x07\x1b[31mlast \x9bwords\x1b[0m\r\n\xff\xfe\n")
            os._exit(5)
            """
        )
    )
    assert isinstance(outcome, Failed)
    assert "last" in outcome.message
    assert "on standard output" in outcome.message
    assert all(character.isprintable() or character == "\n" for character in outcome.message)
    assert len(outcome.message) < 4000


@pytest.mark.fault("W03")
def test_what_is_printed_never_mixes_with_the_messages(worker: Callable[[str], list[str]]) -> None:
    outcome, _ = run(worker("print('{}' * 1000, flush=True); progress(); print('\\0' * 99); finish()"))
    assert isinstance(outcome, Finished)


@pytest.mark.fault("W04")
def test_a_silent_worker_that_ignores_terminate_is_ended(worker: Callable[[str], list[str]]) -> None:
    source = "signal.signal(signal.SIGTERM, signal.SIG_IGN); progress(phase=str(os.getpid())); time.sleep(600)"
    outcome, messages = run(worker(source), Patience(heartbeat=3.0, stall=60.0, grace=0.5))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "hung"
    assert isinstance(messages[0], Progress)
    assert gone(int(messages[0].phase))


@pytest.mark.fault("W04")
def test_a_stopped_worker_is_ended(worker: Callable[[str], list[str]]) -> None:
    source = "progress(phase=str(os.getpid())); os.kill(os.getpid(), signal.SIGSTOP)"
    outcome, messages = run(worker(source), Patience(heartbeat=3.0, stall=60.0, grace=0.5))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "hung"
    assert isinstance(messages[0], Progress)
    assert gone(int(messages[0].phase))


@pytest.mark.fault("W04")
def test_a_worker_that_lives_but_gets_nowhere_is_ended(worker: Callable[[str], list[str]]) -> None:
    outcome, _ = run(worker("while True: progress(); time.sleep(0.02)"), Patience(heartbeat=20, stall=0.5, grace=1))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "hung"
    assert "no progress in 'score'" in outcome.message


@pytest.mark.parametrize("end", ["finish()", "os.kill(os.getpid(), signal.SIGKILL)"])
@pytest.mark.fault("W04")
def test_children_of_the_worker_end_with_it(worker: Callable[[str], list[str]], end: str) -> None:
    source = f"""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)
    progress(phase=str(child))
    {end}
    """
    outcome, messages = run(worker(source))
    assert isinstance(outcome, Finished if end == "finish()" else Failed)
    assert isinstance(messages[0], Progress)
    assert wait_until(lambda: gone(int(messages[0].phase)))  # type: ignore[union-attr]


def test_cancelling_ends_the_worker(worker: Callable[[str], list[str]]) -> None:
    command = worker("progress(phase=str(os.getpid())); time.sleep(600)")

    async def go() -> tuple[Finished | Failed, int]:
        cancel = asyncio.Event()
        seen: list[int] = []

        def heard(message: JobMessage) -> None:
            if isinstance(message, Progress):
                seen.append(int(message.phase))
                cancel.set()

        return await run_job(JOB, heard, cancel=cancel, patience=QUICK, command=command), seen[0]

    outcome, process = asyncio.run(go())
    assert outcome == Failed("cancelled", "cancelled")
    assert gone(process)


def test_a_cancelled_task_ends_the_worker_too(worker: Callable[[str], list[str]]) -> None:
    command = worker("progress(phase=str(os.getpid())); time.sleep(600)")

    async def go() -> int:
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def heard(message: JobMessage) -> None:
            if isinstance(message, Progress) and not started.done():
                started.set_result(int(message.phase))

        task = asyncio.create_task(run_job(JOB, heard, patience=QUICK, command=command))
        process = await started
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return process

    assert gone(asyncio.run(go()))


@pytest.mark.fault("W01")
def test_a_worker_that_cannot_be_started_is_a_failure_and_the_next_one_works(
    worker: Callable[[str], list[str]],
) -> None:
    outcome, _ = run(["/nowhere/python"])
    assert isinstance(outcome, Failed)
    assert "could not be started" in outcome.message
    assert isinstance(run(worker("finish()"))[0], Finished)


def test_an_early_worker_takes_its_job_later_or_never(worker: Callable[[str], list[str]]) -> None:
    command = worker("progress(phase=str(os.getpid())); finish()")

    async def go() -> None:
        before = children()
        early = await Worker.start(command, early=True)
        (process,) = children() - before
        assert early.alive
        messages: list[JobMessage] = []
        assert isinstance(await early.run(JOB, messages.append, patience=QUICK), Finished)
        assert isinstance(messages[0], Progress)
        assert messages[0].phase == str(process)
        assert not early.alive
        unused = await Worker.start(command, early=True)
        (process,) = children() - before
        await unused.end()
        assert gone(process)
        assert children() <= before

    asyncio.run(go())


def test_our_own_worker_imports_torch_and_transformers_before_it_has_a_job(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra [score]")

    async def go() -> Finished | Failed:
        before = children()
        early = await Worker.start(early=True)
        (process,) = children() - before
        maps = Path(f"/proc/{process}/maps")
        assert wait_until(lambda: "libtorch_cpu" in maps.read_text() and "tokenizers" in maps.read_text(), 60.0)
        niceness = os.getpriority(os.PRIO_PROCESS, process) - os.getpriority(os.PRIO_PROCESS, 0)
        assert niceness > 0
        return await early.run(Job("score", checkpoint=str(tmp_path / "nothing"), fixed_set="x"))

    outcome = asyncio.run(go())
    assert isinstance(outcome, Failed)
    assert "nothing" in outcome.message


def test_an_early_worker_ends_by_itself_where_no_job_comes() -> None:
    pytest.importorskip("torch", reason="needs the extra [score]")
    code = (
        "import socket, sys, critictui.worker.__main__ as worker\n"
        "worker.IDLE_SECONDS = 0.2\n"
        "ours, theirs = socket.socketpair()\n"
        "worker.main(['--channel', str(theirs.detach()), '--early'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "no job came: timed out" in done.stderr


def children() -> set[int]:
    """Every child of this process, those that ended and were not reaped included."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


@pytest.mark.fault("W04")
def test_no_descriptor_and_no_zombie_is_left(worker: Callable[[str], list[str]]) -> None:
    run(worker("finish()"))
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    children_before = children()
    for source in ("finish()", "os._exit(3)", "channel.sendall(b'\\xff' * 8); time.sleep(60)"):
        run(worker(source))
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before
    assert children() <= children_before


def test_our_own_worker_refuses_what_it_cannot_read_in_words(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra [score]")
    job = Job("score", checkpoint=str(tmp_path / "nothing"), fixed_set=str(tmp_path / "set.jsonl"))
    outcome = asyncio.run(run_job(job))
    assert isinstance(outcome, Failed)
    assert outcome.reason in {"refused", "vanished"}
    assert "nothing" in outcome.message


PARENT = """
import asyncio, sys
from critictui.scoring.client import run_job
from critictui.scoring.jobs import Job
asyncio.run(run_job(Job("score", checkpoint=sys.argv[1], fixed_set="x"), lambda m: print(m, flush=True)))
"""
PARENT_OF_AN_EARLY_ONE = """
import asyncio
from critictui.scoring.client import Worker
async def go():
    worker = await Worker.start(early=True)  # held: it ends with the last reference to its channel
    print("started", flush=True)
    await asyncio.sleep(600)
asyncio.run(go())
"""


def workers_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"critictui.worker" in arguments and str(parent).encode() in arguments:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("source", [PARENT, PARENT_OF_AN_EARLY_ONE])
@pytest.mark.fault("W07")
def test_a_worker_dies_with_a_killed_parent(tmp_path: Path, source: str) -> None:
    pytest.importorskip("torch", reason="needs the extra [score]")
    fifo = tmp_path / "global_step_1"
    fifo.mkdir()
    parent = subprocess.Popen(
        [sys.executable, "-c", source, str(fifo)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    parent.stdout.readline()  # the worker has its job and imports torch, or does so without
    workers = workers_of(parent.pid)
    assert workers
    adjustment = Path(f"/proc/{workers[0]}/oom_score_adj")
    assert wait_until(lambda: adjustment.read_text().strip() == "1000")
    niceness = os.getpriority(os.PRIO_PROCESS, workers[0]) - os.getpriority(os.PRIO_PROCESS, parent.pid)
    parent.kill()
    parent.wait()
    assert wait_until(lambda: all(gone(w) for w in workers), 10.0)
    assert niceness > 0
    parent.stdout.close()


def test_a_detached_worker_goes_on_alone(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra [score]")
    log = tmp_path / "log" / "score.log"
    process = start_detached(Job("score", checkpoint=str(tmp_path / "no"), fixed_set="x"), log)
    assert wait_until(lambda: gone(process), 60.0)
    os.waitpid(process, 0)
    assert log.exists()


def test_where_no_bytecode_may_be_written_the_workers_is_kept_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(client, "_compiled", lambda package: package != "torch")
    made = worker_environment()
    assert "PYTHONDONTWRITEBYTECODE" not in made
    assert made["PYTHONPYCACHEPREFIX"] == str(tmp_path / "critictui" / "bytecode")
    monkeypatch.setattr(client, "_compiled", lambda _: True)
    assert "PYTHONPYCACHEPREFIX" not in worker_environment()


def test_the_worker_does_not_see_what_a_critic_has_no_use_for() -> None:
    script = (
        "import importlib.util, sys; from critictui.worker.process import UNNEEDED, hide_unneeded; hide_unneeded()\n"
        "import critictui.worker.backbone; from transformers import AutoModel, AutoTokenizer\n"
        "import transformers.models.qwen2.modeling_qwen2\n"
        "print([n for n in UNNEEDED if importlib.util.find_spec(n) or any(m.startswith(n + '.') for m in sys.modules)])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
