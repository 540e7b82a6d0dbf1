"""Checkpoints that go away, change, lie or hold traps, and fixed sets of every bad kind: no score, and a word."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra [score]")

import torch

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.scoring.jobs import Failed, Finished, Job
from critictui.scoring.read_set import look_at_set, read_fixed_set
from critictui.scoring.recipe import ScoringError
from critictui.scoring.results import ResultsFolder
from critictui.worker import page_cache
from critictui.worker.__main__ import answer_for
from critictui.worker.load import load_critic
from critictui.worker.page_cache import cached_bytes, forget
from critictui.worker.read_pt import load_pt

pytestmark = pytest.mark.torch
LONG = os.environ.get("CRITICTUI_LONG") == "1"
ROWS = [{"prompt": f"p{n}", "teacher_response": f"t{n}", "student_response": f"s{n}"} for n in range(3)]


def newest(run: Path) -> Path:
    step = (run / "latest_checkpointed_iteration.txt").read_text().strip()
    return run / f"global_step_{step}" / "critic"


def job_for(run: Path, checkpoint: Path | None = None) -> Job:
    return Job("score", str(checkpoint or newest(run)), str(run / "fixed_set.jsonl"), str(run), device="cpu")


# --- a checkpoint that goes away or is another one ---

OPENINGS = [
    ("critictui.checkpoint.find:describe", "listing"),
    ("critictui.checkpoint.identity:identity", "the first look at its files"),
    ("critictui.checkpoint.weights:open_state_dict", "opening"),
    ("critictui.checkpoint.audit:find_head", "the audit"),
    ("critictui.worker.backbone:build_backbone", "building"),
    ("critictui.worker.fill:_Reader._pread", "reading"),
    ("critictui.worker.tokenizer:read_tokenizer", "the tokenizer"),
    ("critictui.worker.forward:tree_values", "scoring"),
    ("critictui.scoring.summary:summarise", "the end"),
]


def at_call(place: str, number: int, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do `act` as the function `module:name` is called for the `number`-th time, whoever imported it before."""
    module_name, _, name = place.partition(":")
    *outer, last = name.split(".")
    owner: Any = importlib.import_module(module_name)
    for part in outer:
        owner = getattr(owner, part)
    original, calls = getattr(owner, last), 0

    def wrapped(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            act()
        return original(*args, **named)

    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("critictui") and module.__dict__.get(last) is original:
            monkeypatch.setattr(module, last, wrapped)
    monkeypatch.setattr(owner, last, wrapped)


@pytest.mark.fault("C02")
@pytest.mark.parametrize(
    ("place", "when", "fault"),
    [(place, when, "removed") for place, when in OPENINGS]
    + [(place, when, "replaced") for place, when in (OPENINGS if LONG else OPENINGS[::3])],
)
def test_at_whatever_point_a_checkpoint_goes_away_there_is_no_score_and_the_next_one_is_named(
    demo_copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, place: str, when: str, fault: str
) -> None:
    run = demo_copy("healthy")
    checkpoint = newest(run)
    others = sorted(run.glob("global_step_*/critic"), key=lambda p: int(p.parent.name[12:]))
    others.remove(checkpoint)
    steps = []

    def act() -> None:
        steps.append(when)
        if fault == "removed":
            shutil.rmtree(checkpoint.parent)
            return
        for file in others[-1].glob("*.pt"):  # the same step, written again: other weights under the same names
            fresh = checkpoint / f"{file.name}.new"
            shutil.copy(file, fresh)
            fresh.rename(checkpoint / file.name)

    at_call(place, 1, act, monkeypatch)
    answer = answer_for(job_for(run), lambda _: None)
    assert steps, "the point was never reached"
    if isinstance(answer, Finished):  # replaced before the first look: it is simply the other one
        assert fault == "replaced"
        assert when in {"listing", "the first look at its files"}
        (saved,) = ResultsFolder(run).poll()
        monkeypatch.undo()
        again = answer_for(job_for(run), lambda _: None)
        assert isinstance(again, Finished)
        assert again.result["checkpoint_fingerprint"] == saved.checkpoint_fingerprint
        assert again.result["d_acc"] == saved.d_acc
        return
    if fault == "replaced" and answer.reason == "refused":  # seen while one file after the other was replaced
        assert "checkpoint" in answer.message or ".pt" in answer.message
        return
    assert answer.reason == "vanished", answer.message
    assert "removed" in answer.message or "replaced" in answer.message or "no such" in answer.message
    assert str(others[-1]) in answer.message
    assert "\n" not in answer.message
    assert ResultsFolder(run).poll() == ()


SERVER = """
import os, sys, time
from critictui.scoring.jobs import Job
from critictui.worker.__main__ import answer_for, import_early
import threading
import_early(threading.Event())
run, checkpoint = sys.argv[1:3]
job = Job("score", checkpoint, run + "/fixed_set.jsonl", run, device="cpu")
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        print(os.getpid(), flush=True)
        deadline = time.monotonic() + 60
        while "TracerPid:\\t0\\n" in open("/proc/self/status").read():
            time.sleep(0.01)
            if time.monotonic() > deadline:
                print("untraced", flush=True)
                os._exit(1)
        answer = answer_for(job, lambda p: None)
        print(type(answer).__name__, getattr(answer, "reason", ""), getattr(answer, "message", ""), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.fault("C02", "C03")
def test_under_real_system_calls_no_file_is_mapped_and_an_error_of_any_read_gives_no_score(
    strace: str, demo_copy: Callable[..., Path], tmp_path: Path
) -> None:
    """Each run is a fork of a process that has imported all; its N-th read of a shard, and all after it, fail."""
    run = demo_copy("healthy")
    shard = newest(run) / "model_world_size_2_rank_1.pt"
    command = [sys.executable, "-c", SERVER, str(run), str(newest(run))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def under(number: int) -> tuple[str, str]:
            """The answer, and what strace saw."""
            trace = tmp_path / f"trace-{number}"
            server.stdin.write("go\n")
            server.stdin.flush()
            inject = ["-e", f"inject=pread64,preadv:error=ESTALE:when={number}+"] if number else []
            traced = ["-f", "-qq", "-y", "-o", str(trace), "-P", str(shard), "-e", "trace=pread64,preadv,mmap,read"]
            process = server.stdout.readline().strip()
            with subprocess.Popen([strace, *traced, *inject, "-p", process], stderr=subprocess.DEVNULL) as tracer:
                answer = server.stdout.readline()
                tracer.wait()
            return answer, trace.read_text()

        answer, seen = under(0)
        if answer.startswith("untraced"):
            pytest.skip("strace may not attach to a process here")
        assert answer.startswith("Finished"), answer
        assert "pread" in seen
        assert "mmap" not in seen
        assert len(ResultsFolder(run).poll()) == 1
        for path in run.glob("critictui/scores/*"):
            path.unlink()
        reads = sum("pread" in line for line in seen.splitlines())
        for number in range(1, reads + 1) if LONG else (1, reads // 2):
            answer, seen = under(number)
            assert "INJECTED" in seen or number > 1
            if "INJECTED" in seen:
                assert answer.startswith(("Failed vanished", "Failed refused")), answer
                assert "removed" in answer or "Stale file handle" in answer
                assert str(newest(run)) in answer
                assert ResultsFolder(run).poll() == ()
        server.stdin.close()


@pytest.mark.fault("C03")
def test_a_shard_that_is_truncated_between_any_two_reads_is_a_message(
    demo_copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = demo_copy("healthy")
    shard = newest(run) / "model_world_size_2_rank_1.pt"
    at_call("critictui.worker.fill:_Reader._pread", 3, lambda: os.truncate(shard, 5000), monkeypatch)
    answer = answer_for(job_for(run), lambda _: None)
    assert isinstance(answer, Failed)
    assert answer.reason == "vanished", answer.message
    assert "changed or replaced during loading" in answer.message


# --- code in a checkpoint ---


@pytest.mark.fault("C06")
def test_no_file_of_a_checkpoint_is_ever_run_and_no_name_in_it_is_looked_up_on_the_network(
    demo_copy: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    run = demo_copy("healthy")
    folder = newest(run) / "huggingface"
    canary = tmp_path / "canary"
    trap = f"open({str(canary)!r}, 'w').close()\n"
    for name in ("modeling_trap.py", "sitecustomize.py", "qwen2.py", "json.py", "torch.py", "kernel.py", "__init__.py"):
        for place in (folder, newest(run), run):
            (place / name).write_text(trap)
    config = json.loads((folder / "config.json").read_text())
    code = {
        "auto_map": {"AutoConfig": "modeling_trap.X", "AutoModel": "someone/repo--modeling_trap.X"},
        "_attn_implementation_internal": "someone/kernel:run",
        "_attn_implementation": "someone/kernel",
        "_name_or_path": "someone/repo",
        "trust_remote_code": True,
        "custom_pipelines": {"x": {"impl": "modeling_trap.X"}},
    }
    (folder / "config.json").write_text(json.dumps(config | code))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    hostile = {"auto_map": {"AutoTokenizer": ["modeling_trap.X", None]}, "tokenizer_class": "XTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer | hostile))

    def dialled(*args: object) -> None:
        raise AssertionError(f"the network was asked: {args}")

    monkeypatch.setattr(socket.socket, "connect", dialled)
    monkeypatch.setattr(socket, "getaddrinfo", dialled)
    monkeypatch.chdir(newest(run))
    answer = answer_for(job_for(run), lambda _: None)
    assert isinstance(answer, Finished), answer
    assert not canary.exists()


# --- bombs ---

BOUNDED = """
import resource, sys
from pathlib import Path
from critictui.checkpoint.audit import audit
from critictui.checkpoint.find import describe
from critictui.checkpoint.checkpoint import CheckpointError
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]) << 20,) * 2)
try:
    found = audit(describe(Path(sys.argv[1])))
    print(found.problems)
except CheckpointError as error:
    print("refused", error)
"""


def bounded_audit(path: Path, megabytes: int = 700) -> str:
    """The audit's words, made with so little address space."""
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(path), str(megabytes)], capture_output=True, text=True, check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def safetensors(folder: Path, header: bytes, data: bytes = b"") -> Path:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    (folder / "config.json").write_text('{"model_type": "qwen2", "hidden_size": 32}')
    return folder


def entry(shape: object = (0,), end: int = 0) -> str:
    return json.dumps({"dtype": "F32", "shape": shape, "data_offsets": [0, end]})


EMPTY = entry()
HEADERS = {
    "two to the sixty": lambda: f'{{"score.weight": {entry([1 << 30, 1 << 30], 1 << 62)}}}',
    "a hundred megabytes of name": lambda: '{"%s": 1}' % ("x" * (99 << 20)),
    "forty megabytes of keys": lambda: "{" + ",".join(f'"{n}":1' for n in range(3_000_000)) + "}",
    "forty megabytes of numbers": lambda: '{"a": [' + "1," * (20 << 20) + "1]}",
    "a million tensors": lambda: "{" + ",".join(f'"{n}":{EMPTY}' for n in range(1_000_000)) + "}",
}


@pytest.mark.fault("C08")
@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_claims_the_impossible_is_refused_in_bounded_memory(tmp_path: Path, kind: str) -> None:
    path = safetensors(tmp_path / "x", HEADERS[kind]().encode())
    assert "damaged" in bounded_audit(path)


PICKLES = {
    "lists": b"]" * 5_900_000,
    "marks": b"(" * 5_900_000,
    "words": b"\x8c\x02ab" * 5_900_000,
    "a tensor of two to the sixty": (
        b"ccollections\nOrderedDict\n)RX\x0c\x00\x00\x00score.weight"
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
        b"X\x03\x00\x00\x00cpu\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10tQK\x00"
        b"J\x00\x00\x00\x40J\x00\x00\x00\x40\x86J\x00\x00\x00\x40K\x01\x86\x89ccollections\nOrderedDict\n)RtRs"
    ),
}


@pytest.mark.fault("C08")
@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_that_piles_up_or_claims_too_much_is_refused_in_bounded_memory(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "global_step_1" / "critic"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "model_world_size_1_rank_0.pt", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + PICKLES[kind] + b".")
        archive.writestr("a/data/0", bytes(64))
    (folder / "config.json").write_text("{}")
    (folder.parent / "data.pt").touch()
    said = bounded_audit(folder)
    assert "weights-damaged" in said
    assert "not read" in said


@pytest.mark.fault("C08", "C09")
def test_a_fixed_set_that_inflates_is_refused_before_it_does(tmp_path: Path) -> None:
    torch.save([*ROWS, torch.zeros(4)], tmp_path / "set.pt")
    with (
        zipfile.ZipFile(tmp_path / "set.pt") as whole,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in whole.namelist():
            bomb.writestr(name, whole.read(name) + bytes((64 << 20) if name.endswith((".pkl", "/0")) else 0))
    with pytest.raises(ScoringError, match="compressed"):
        look_at_set(tmp_path / "bomb.pt")
    with pytest.raises(ScoringError, match="compressed"):
        load_pt(tmp_path / "bomb.pt")


@pytest.mark.fault("C08")
def test_a_worker_that_gets_no_memory_fails_alone(demo_copy: Callable[..., Path]) -> None:
    """Only the worker is limited, and only it fails."""
    import asyncio

    from critictui.scoring.client import run_job

    if shutil.which("prlimit") is None:
        pytest.skip("prlimit is not installed")
    run = demo_copy("healthy")
    limited = ["prlimit", "--as=500000000", sys.executable, "-P", "-m", "critictui.worker"]
    outcome = asyncio.run(run_job(job_for(run), command=limited))
    assert isinstance(outcome, Failed)
    assert outcome.reason in {"memory", "crashed", "error", "missing-extra"}
    assert ResultsFolder(run).poll() == ()


# --- fixed sets ---


@pytest.mark.fault("C09")
def test_of_a_parquet_file_one_row_of_a_hundred_megabytes_is_counted_and_the_others_are_used(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [*ROWS, {**ROWS[0], "teacher_response": "x" * (100 << 20)}, {**ROWS[1], "prompt": "last"}]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "set.parquet")
    found = read_fixed_set(tmp_path / "set.parquet")
    assert [p.prompt for p in found.prompts] == ["p0", "p1", "p2", "last"]
    assert found.bad_rows == 1
    assert found.problems == ("row 4: longer than 16 MiB",)


@pytest.mark.fault("C09", "C06")
@pytest.mark.parametrize("kind", ["code", "frame", "series", "numpy", "script", "cut", "legacy cut", "garbage"])
def test_a_pt_file_of_anything_but_plain_rows_is_refused_in_one_safe_line_and_runs_nothing(
    tmp_path: Path, kind: str
) -> None:
    import numpy as np
    import pandas as pd

    path, canary = tmp_path / "set.pt", tmp_path / "canary"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {canary}",)

    values: dict[str, Any] = {
        "code": [Trap()], "frame": pd.DataFrame(ROWS), "series": [{"prompt": pd.Series([1])}],
        "numpy": [{"prompt": np.array(["a"], object)}],
    }  # fmt: skip
    if kind == "script":
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    elif kind == "garbage":
        path.write_bytes(b"\x80\x02" + os.urandom(500))
    else:
        torch.save(values.get(kind, ROWS), path, _use_new_zipfile_serialization=kind != "legacy cut")
        if "cut" in kind:
            os.truncate(path, path.stat().st_size - 30)
    with pytest.raises(ScoringError) as caught:
        read_fixed_set(path, load_pt=load_pt)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    assert not canary.exists()


@pytest.mark.fault("C10")
def test_a_set_that_is_replaced_between_its_hash_and_its_rows_gives_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    other = [{**row, "teacher_response": row["student_response"]} for row in ROWS]
    at_call(
        "critictui.scoring.read_set:_json_lines",
        1,
        lambda: path.write_text("".join(json.dumps(row) + "\n" for row in other)) and None,
        monkeypatch,
    )
    with pytest.raises(ScoringError, match=r"set\.jsonl: changed while it was read"):
        read_fixed_set(path)


@pytest.mark.fault("C10")
def test_scores_before_and_after_the_set_was_changed_are_two_series_and_never_compared(
    demo_copy: Callable[..., Path],
) -> None:
    run = demo_copy("healthy")
    first, second = sorted(run.glob("global_step_*/critic"), key=lambda p: int(p.parent.name[12:]))[-2:]
    assert isinstance(answer_for(job_for(run, first), lambda _: None), Finished)
    lines = (run / "fixed_set.jsonl").read_text().splitlines(keepends=True)
    (run / "fixed_set.jsonl").write_text("".join(lines[:-1]))
    assert isinstance(answer_for(job_for(run, second), lambda _: None), Finished)
    one, two = ResultsFolder(run).poll()
    assert one.series != two.series
    assert one.fixed_set.sha256 != two.fixed_set.sha256
    assert "previous" not in two.extra


@pytest.mark.fault("C11")
def test_teacher_and_student_that_are_the_same_are_ties_that_take_no_part(demo_copy: Callable[..., Path]) -> None:
    run = demo_copy("healthy")
    lines = [json.loads(line) for line in (run / "fixed_set.jsonl").read_text().splitlines()]
    for row in lines[1:]:
        row["students"] = [dict(row["teacher"])]
    (run / "fixed_set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    answer = answer_for(job_for(run), lambda _: None)
    assert isinstance(answer, Finished), answer
    assert answer.result["tie_rate"] == 1.0
    assert answer.result["d_acc"] is None
    assert answer.result["pairs"] == len(lines) - 1
    said = " ".join(map(str, answer.result["warnings"]))  # type: ignore[call-overload]
    assert "word for word their teacher's" in said
    assert "not finite: d_acc" in said


# --- training's page cache ---


@pytest.mark.fault("W07")
@pytest.mark.parametrize("fault", ["none", "damaged at its end", "a kernel that has no cachestat"])
def test_what_a_load_brings_into_the_page_cache_is_given_up_as_it_goes(
    tmp_path: Path, forms: ModuleType, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    damaged = fault.startswith("damaged")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # each thread has a chunk and its read-ahead under way
    vocabulary = 400_000
    state = forms.weights()
    state["model.embed_tokens.weight"] = torch.randn(vocabulary, forms.HIDDEN)
    if damaged:
        state["model.norm.weight"][5] = float("nan")
    path = forms.write_hf(tmp_path / "x", state, values=forms.config(vocab_size=vocabulary))
    file = path / "model.safetensors"
    descriptor = os.open(file, os.O_RDONLY)
    size = file.stat().st_size
    try:
        os.fsync(descriptor)
        forget(descriptor)
        held = cached_bytes(descriptor)
        if held is None or held > size // 4:
            pytest.skip("this file system keeps its files in memory, or does not say what it keeps")
        most: list[int] = []
        if not damaged:
            if fault != "none":
                monkeypatch.setattr(page_cache, "cached_bytes", page_cache._probed)
            load_critic(path, progress=lambda _: most.append(cached_bytes(descriptor) or 0))
            assert max(most) < size * 3 // 4
        else:
            with pytest.raises(CheckpointError, match="not finite"):
                load_critic(path)
        assert (cached_bytes(descriptor) or 0) < size // 10
    finally:
        os.close(descriptor)
