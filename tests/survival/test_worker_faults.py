"""A worker that cannot start, gets no memory, breaks, hangs, hides children or loses its parent harms nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import platform
import signal
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import children_of, gone, wait_until

from critictui.scoring import memory
from critictui.scoring.client import Patience, Worker, run_job
from critictui.scoring.jobs import Failed, Finished, Job, JobMessage, Progress
from critictui.scoring.results import ResultsFolder

LONG = os.environ.get("CRITICTUI_LONG") == "1"
JOB = Job("score", checkpoint="/nowhere/critic", fixed_set="/nowhere/set.jsonl")
QUICK = Patience(heartbeat=4.0, stall=60.0, grace=1.0)

LIGHT = """
import os, signal, subprocess, sys, time
from critictui.worker import __main__ as worker, jobs_table
from critictui.scoring.jobs import Finished, Progress

def run(job, tell):
{body}
    return Finished({{"good": True}})

jobs_table.work_for = worker.work_for = lambda kind: run
worker.main()
"""


@pytest.fixture
def light(tmp_path: Path) -> Callable[[str], list[str]]:
    """Our own worker with a job as the source says, in which no torch is imported."""

    def make(body: str) -> list[str]:
        path = tmp_path / "light_worker.py"
        path.write_text(LIGHT.format(body=textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")))
        return [sys.executable, "-P", str(path)]

    return make


def outcome_of(command: list[str], patience: Patience = QUICK) -> tuple[Finished | Failed, list[JobMessage]]:
    messages: list[JobMessage] = []
    return asyncio.run(run_job(JOB, messages.append, patience=patience, command=command)), messages


# --- it cannot start ---


@pytest.mark.fault("W01")
@pytest.mark.parametrize(
    ("stub", "said"),
    [
        ("raise ImportError('no torch in here', name='torch')", "pip install 'critictui[score]'"),
        ("raise OSError('libcudart.so.12: cannot open shared object file')", "libcudart.so.12"),
        ("raise RuntimeError('driver \\x1b[31mtoo old')", "too old"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV (signal 11)"),
    ],
    ids=["missing", "a library is missing", "driver", "crash"],
)
@pytest.mark.parametrize("early", [False, True])
def test_a_torch_that_cannot_be_imported_is_one_clear_failure_and_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub: str, said: str, early: bool
) -> None:
    if early and not LONG and "ImportError" not in stub:
        pytest.skip("in the long form")
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "torch.py").write_text(stub)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"), prepend=os.pathsep)

    async def go() -> Finished | Failed:
        worker = await Worker.start(early=early)
        return await worker.run(JOB, patience=Patience(heartbeat=60.0, stall=60.0, grace=2.0))

    outcome = asyncio.run(go())
    assert isinstance(outcome, Failed)
    assert said in outcome.message
    assert all(c.isprintable() or c == "\n" for c in outcome.message)
    assert outcome.reason in {"missing-extra", "error", "crashed"}


# --- a GPU that is not ours ---


class FakeNvml(types.ModuleType):
    """One GPU with so much free, and so many processes on it (None: it does not say)."""

    class NVMLError(Exception):
        pass

    def __init__(self, free: int, total: int = 80 << 30, processes: int | None = 1) -> None:
        super().__init__("pynvml")
        self.free, self.total, self.processes = free, total, processes

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, _: int) -> bytes:
        return b"H100 \x1b[31m"

    def nvmlDeviceGetMemoryInfo(self, _: int) -> Any:
        return types.SimpleNamespace(total=self.total, free=self.free)

    def nvmlDeviceGetComputeRunningProcesses(self, _: int) -> list[int]:
        if self.processes is None:
            raise self.NVMLError("Not Supported")
        return [1] * self.processes


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeNvml], list[object]]:
    """A machine with that GPU, as the driver and torch show it; returns what was taken from it."""
    torch = pytest.importorskip("torch", reason="needs the extra [score]")

    def install(nvml: FakeNvml) -> list[object]:
        taken: list[object] = []
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: taken.append(share))
        return taken

    return install


GIB = 1 << 30
BUSY = {
    "training owns it": FakeNvml(3 * GIB),
    "there is room, but its highest use is not known": FakeNvml(70 * GIB),
    "the driver does not tell who is on it": FakeNvml(70 * GIB, processes=None),
}


@pytest.mark.fault("W02")
@pytest.mark.torch
@pytest.mark.parametrize("kind", BUSY)
def test_not_a_byte_is_taken_from_a_gpu_whose_head_room_is_not_known(
    gpu: Callable[[FakeNvml], list[object]], kind: str
) -> None:
    from critictui.scoring.recipe import ScoringError
    from critictui.worker.score_job import device_for

    taken = gpu(BUSY[kind])
    with pytest.raises(ScoringError, match=r"GPU 0 needs .* GiB \+ 4.0 GiB head-room, free .*: refused"):
        device_for(Job("score", device="cuda:0"), 1_000_000)
    assert device_for(Job("score", device="auto"), 1_000_000) == "cpu"
    assert taken == []


@pytest.mark.fault("W02")
@pytest.mark.torch
def test_on_an_idle_gpu_the_worker_is_held_to_what_it_said_it_needs(
    gpu: Callable[[FakeNvml], list[object]],
) -> None:
    from critictui.worker.score_job import device_for

    taken = gpu(FakeNvml(80 * GIB, processes=0))
    assert device_for(Job("score", device="cuda"), 1_000_000_000) == "cuda:0"
    need = memory.need_of(1_000_000_000).gpu
    assert taken == [need / (80 * GIB)]
    assert need + memory.HEAD_ROOM < 80 * GIB


@pytest.mark.fault("W02")
@pytest.mark.torch
@pytest.mark.parametrize("without", ["import", "init", "in the middle"])
def test_without_nvml_a_gpu_is_not_touched(
    gpu: Callable[[FakeNvml], list[object]], monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    from critictui.scoring.recipe import ScoringError
    from critictui.worker.score_job import device_for

    def broken(*_: object) -> None:
        raise FakeNvml.NVMLError("Driver/library version mismatch")

    nvml = FakeNvml(80 * GIB, processes=0)
    taken = gpu(nvml)
    if without == "import":
        monkeypatch.setitem(sys.modules, "pynvml", None)
    else:
        setattr(nvml, "nvmlInit" if without == "init" else "nvmlDeviceGetMemoryInfo", broken)
    with pytest.raises(ScoringError, match="no such GPU is visible"):
        device_for(Job("score", device="cuda:0"), 1_000_000)
    assert device_for(Job("score", device="auto"), 1_000_000) == "cpu"
    assert taken == []


@pytest.mark.fault("W02")
@pytest.mark.torch
def test_a_score_that_runs_out_of_memory_halves_its_rows_and_stops_where_even_one_does_not_fit(
    demo_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers.models.qwen2.modeling_qwen2 import Qwen2Model

    from critictui.worker.__main__ import answer_for

    job = Job("score", str(demo_checkpoint), str(demo_checkpoint.parents[1] / "fixed_set.jsonl"), device="cpu")
    expected = answer_for(job, lambda _: None)
    assert isinstance(expected, Finished)
    inner, most, sizes = Qwen2Model.forward, 600, []

    def small(self: Any, input_ids: Any = None, **rest: Any) -> Any:
        sizes.append(input_ids.numel())
        if input_ids.numel() > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return inner(self, input_ids=input_ids, **rest)

    monkeypatch.setattr(Qwen2Model, "forward", small)
    halved = answer_for(job, lambda _: None)
    assert isinstance(halved, Finished)
    assert max(sizes) > most
    assert halved.result["d_acc"] == expected.result["d_acc"]
    most = 0
    failed = answer_for(job, lambda _: None)
    assert isinstance(failed, Failed)
    assert failed.reason == "memory"


# --- it hangs, or hides its children ---

HIDDEN_CHILD = """
pid = os.fork()
if pid == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if os.fork() == 0:  # its parent is gone too
        tell(Progress(str(os.getpid()), 1, 2))
        {stopped}
        while True:
            time.sleep(60)
    os._exit(0)
os.waitpid(pid, 0)
{then}
"""


def end_all(processes: list[int]) -> None:
    """Nothing stays behind where a test fails."""
    for process in processes:
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGKILL)


ENDS = {
    "finishes": ("", "time.sleep(0.5)", Finished, ""),
    "is killed": ("", "time.sleep(0.5); os.kill(os.getpid(), signal.SIGKILL)", Failed, "SIGKILL (signal 9)"),
    "is stopped": ("os.kill(os.getpid(), signal.SIGSTOP)", "os.kill(os.getpid(), signal.SIGSTOP)", Failed, "silent"),
    "ignores the end": ("", "signal.signal(15, signal.SIG_IGN); os.kill(os.getpid(), 19)", Failed, "silent"),
}


@pytest.mark.fault("W04")
@pytest.mark.parametrize("end", ENDS)
def test_a_child_that_left_the_workers_group_and_session_ends_with_it(
    light: Callable[[str], list[str]], end: str
) -> None:
    stopped, then, kind, said = ENDS[end]
    outcome, messages = outcome_of(light(HIDDEN_CHILD.format(stopped=stopped, then=then)))
    assert isinstance(outcome, kind)
    if isinstance(outcome, Failed):
        assert said in outcome.message
    hidden = [int(m.phase) for m in messages if isinstance(m, Progress) and m.phase.isdigit()]
    assert hidden
    try:
        assert all(wait_until(lambda p=process: gone(p), 20) for process in hidden)  # type: ignore[misc]
    finally:
        end_all(hidden)
    assert not [child for child in children_of(os.getpid()) if gone(child)]  # no zombie


@pytest.mark.fault("W04")
def test_a_cancelled_worker_takes_its_hidden_child_with_it_and_the_next_one_works(
    light: Callable[[str], list[str]],
) -> None:
    async def go() -> tuple[Finished | Failed, int]:
        cancel, seen = asyncio.Event(), []

        def heard(message: JobMessage) -> None:
            if isinstance(message, Progress) and message.phase.isdigit():
                seen.append(int(message.phase))
                cancel.set()

        command = light(HIDDEN_CHILD.format(stopped="", then="time.sleep(600)"))
        return await run_job(JOB, heard, cancel=cancel, patience=QUICK, command=command), seen[0]

    outcome, hidden = asyncio.run(go())
    assert outcome == Failed("cancelled", "cancelled")
    try:
        assert wait_until(lambda: gone(hidden), 20)
    finally:
        end_all([hidden])
    assert isinstance(outcome_of(light("pass"))[0], Finished)


@pytest.mark.fault("W04")
def test_processes_of_others_are_not_ended(light: Callable[[str], list[str]]) -> None:
    other = subprocess.Popen(["sleep", "600"])
    try:
        assert isinstance(outcome_of(light("pass"))[0], Finished)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


# --- it is a good neighbour ---


@pytest.mark.fault("W07")
def test_the_worker_is_the_first_to_go_and_the_last_in_line(light: Callable[[str], list[str]]) -> None:
    body = """
    import ctypes
    adjustment = open("/proc/self/oom_score_adj").read().strip()
    number = {"x86_64": 252, "aarch64": 31}[os.uname().machine]
    scheduling = ctypes.CDLL(None).syscall(number, 1, 0) >> 13
    tell(Progress(f"{adjustment} {os.getpriority(os.PRIO_PROCESS, 0)} {scheduling}", 1, 2))
    """
    if platform.machine() not in {"x86_64", "aarch64"} or not hasattr(ctypes, "CDLL"):
        pytest.skip("the numbers of the system calls are not known here")
    outcome, messages = outcome_of(light(body))
    assert isinstance(outcome, Finished), outcome
    said = next(m.phase for m in messages if isinstance(m, Progress) and m.phase.startswith("1000"))
    adjustment, niceness, scheduling = map(int, said.split())
    assert adjustment == 1000
    assert niceness >= min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    assert scheduling == 3  # idle


# --- its parent is killed ---

PARENT = """
import asyncio, sys
from critictui.scoring.client import run_job
from critictui.scoring.jobs import Job
def heard(message):
    print(getattr(message, "phase", type(message).__name__), flush=True)
asyncio.run(run_job(Job("score", run_dir=sys.argv[1]), heard, command=sys.argv[2:]))
"""
SAVING = """
import json
from pathlib import Path
from dataclasses import replace
from critictui.scoring.result_json import result_from_json
from critictui.scoring.results import save_result
tell(Progress(f"worker {os.getpid()}", 0, 1))
for phase in ("load", "tokenise", "score"):
    tell(Progress(phase, 0, 1))
    time.sleep(0.1)
base = result_from_json(json.loads(Path(job.run_dir, "..", "base.json").read_text()))
for step in range(300):
    tell(Progress(f"save {step}", 0, 1))
    save_result(Path(job.run_dir), replace(base, step=step), [])
"""


@pytest.mark.fault("W04", "O02")
@pytest.mark.parametrize(
    "phase", ["import", "load", "score", "save 0", "save 3", *(f"save {n}" for n in range(5, 100, 5) if LONG)]
)
def test_a_parent_that_is_killed_in_mid_score_leaves_no_worker_and_no_half_result(
    light: Callable[[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    import json

    pytest.importorskip("pyarrow", reason="needs the extra [score]")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    base = Path(__file__).with_name("score.json").read_text()
    (tmp_path / "base.json").write_text(base)
    run = tmp_path / "run"
    run.mkdir()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(run), *light(SAVING)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    workers: list[int] = []
    for line in parent.stdout:
        if line.startswith("import"):
            workers = children_of(parent.pid)
        if line.strip() == phase:
            break
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert workers
    try:
        assert all(wait_until(lambda p=process: gone(p), 20) for process in workers)  # type: ignore[misc]
    finally:
        end_all(workers)
    folder = ResultsFolder(run)
    found = folder.poll()
    assert folder.notices == ()
    assert phase.startswith("save") or not found
    assert phase in {"import", "load", "score", "save 0"} or found
    assert [result.step for result in found] == list(range(len(found)))
    assert all(result.d_acc == json.loads(base)["d_acc"] for result in found)
