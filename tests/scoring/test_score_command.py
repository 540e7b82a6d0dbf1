"""`score` and `prepare` from the command line: exit statuses, JSON alone on stdout, words that name the remedy."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import children_of, gone, wait_until

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.find import resolve_target
from critictui.config import Config
from critictui.scoring import follow as following
from critictui.scoring import memory
from critictui.scoring.follow import follow
from critictui.scoring.host_memory import HostReading
from critictui.scoring.jobs import Failed, Finished, Job, Progress
from critictui.scoring.memory import GIB, GpuReading
from critictui.scoring.order import already_scored, order_score, require_finished, run_of
from critictui.scoring.progress_line import progress_words
from critictui.scoring.recipe import ScoringError
from critictui.scoring.results import ResultsFolder

pytest.importorskip("torch", reason="needs the extra [score]")
pytestmark = pytest.mark.torch


def critictui(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "critictui", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def test_score_prints_the_contract_alone_and_saves_it_in_the_run(demo_copy: Callable[..., Path]) -> None:
    run = demo_copy("healthy")
    done = critictui("score", run, "--fixed-set", run / "fixed_set.jsonl", "--json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["schema"] == 1
    assert value["step"] == resolve_target(run).step
    assert value["d_acc"] > 0.6
    assert value["fixed_set"]["prompts"] == value["prompts"]
    [saved] = ResultsFolder(run).poll()
    assert saved.d_acc == value["d_acc"]
    assert "on the CPU" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.fault("O03")
def test_a_score_that_no_disk_took_is_printed_with_where_it_could_be_and_status_three(
    demo_copy: Callable[..., Path], tmp_path: Path
) -> None:
    run = demo_copy("healthy")
    shutil.rmtree(run / "critictui", ignore_errors=True)
    (run / "critictui").write_text("a file where the folder should be")
    (tmp_path / "state").write_text("neither here")
    done = critictui("score", run, "--fixed-set", run / "fixed_set.jsonl", "--device", "cpu",
                     XDG_STATE_HOME=str(tmp_path / "state"))  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "d_acc" in done.stdout
    assert "tried again" not in done.stdout + done.stderr
    assert f"make room in {run / 'critictui'} or {tmp_path / 'state'}" in done.stderr


def test_following_says_that_the_newest_is_scored_already_and_waits(demo_copy: Callable[..., Path]) -> None:
    run = demo_copy("healthy")
    config = Config(device="cpu", fixed_set="fixed_set.jsonl")
    require_finished(following.run_job_sync(order_score(run, config, readings=()).job, lambda _: None))
    stop = threading.Event()
    words: list[str] = []

    def said(text: str) -> None:
        words.append(text)
        stop.set()

    follow(run, config, None, tell=lambda _: None, scored=lambda _: stop.set(), said=said, stop=stop, seconds=0.0)
    assert len(words) == 1
    assert "is scored already" in words[0]
    assert "waiting for the next checkpoint" in words[0]


def test_a_checkpoint_without_a_head_is_refused_with_status_two(demo_copy: Callable[..., Path], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from critictui.worker.load import load_critic

    run = demo_copy("healthy")
    critic = load_critic(resolve_target(run), device="cpu")
    headless = tmp_path / "headless"
    shutil.copytree(resolve_target(run).path / "huggingface", headless)
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in critic.backbone.state_dict().items()}
    save_file(tensors, headless / "model.safetensors", metadata={"format": "pt"})
    done = critictui("score", headless, "--fixed-set", run / "fixed_set.jsonl", "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "head is missing" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("score", "{run}", "--fixed-set", "{run}/nothing.jsonl"), "nothing.jsonl: no such file"),
        (("score", "{run}", "--fixed-set", "{run}/train.log"), "train.log: no usable row in it"),
        (("score", "{run}", "--fixed-set", "{run}/data"), "data: a directory"),
        (("score", "{run}/data/student", "--fixed-set", "{run}/fixed_set.jsonl"), "head is missing"),
        (("score", "{run}", "--partition", "gpu"), "--partition is for --launch slurm"),
        (("score", "{run}", "--launch", "ray", "--address", "http://127.0.0.1:9"), "no Ray dashboard answers"),
        (("score", "{run}", "--recipe", "{nothing"), "no JSON object"),
        (("score", "{run}", "--fixed-set", "{run}/fixed_set.jsonl", "--recipe", "median"), "'median' is no preset"),
        (("score", "{run}/nothing", "--fixed-set", "x"), "no such file"),
        (("score", "{run}", "--fixed-set", "{run}/fixed_set.jsonl", "--device", "cuda:7"), "no such GPU"),
        (("score", "{run}/fixed_set.jsonl", "--fixed-set", "{run}/fixed_set.jsonl", "--follow"), "run directory"),
        (("prepare", "--data", "{run}/nothing", "-o", "{run}/x"), "nothing: No such file"),
        (("prepare", "--data", "{run}/train.log", "-o", "{run}/fixed_set.jsonl"), "never overwritten"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_two(
    demo_run: Callable[..., Path], arguments: tuple[str, ...], said: str
) -> None:
    run = str(demo_run("healthy"))
    done = critictui(*(argument.replace("{run}", run) for argument in arguments))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_run_is_scored_on_its_own_set_where_there_is_exactly_one(demo_copy: Callable[..., Path]) -> None:
    run = demo_copy("healthy")
    assert order_score(run, Config(), readings=()).job.fixed_set == str(run / "fixed_set.jsonl")
    elsewhere = run.parent / "a set.jsonl"
    (run / "fixed_set.jsonl").rename(elsewhere)
    with pytest.raises(ScoringError, match=r"no fixed set; make one"):
        order_score(run, Config(), readings=())
    require_finished(following.run_job_sync(order_score(run, Config(), elsewhere, readings=()).job, lambda _: None))
    assert order_score(run, Config(), readings=()).job.fixed_set == str(elsewhere)  # what its scores were made on
    for name in ("fixed_set.jsonl", "fixed_test_set.pt"):
        shutil.copy(elsewhere, run / name)
    with pytest.raises(ScoringError, match=r"has 2 fixed sets .*fixed_set\.jsonl, .*fixed_test_set\.pt.*choose one"):
        order_score(run, Config(), readings=())
    assert order_score(run, Config(fixed_set="fixed_set.jsonl"), readings=()).set_sha256


def test_prepare_and_score_go_together(demo_copy: Callable[..., Path], tmp_path: Path) -> None:
    rows = [
        {"question": f"q {n}", "good": f"alpha beta {n}", "answers": [f"gamma {n}", f"delta delta {n}"]}
        for n in range(9)
    ]
    data, out = tmp_path / "data.jsonl", tmp_path / "set.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ("--prompt-column", "question", "--teacher-column", "good", "--student-column", "answers")
    made = critictui("prepare", "--data", data, "-o", out, *columns, "--num-samples", 5, "--json")
    assert made.returncode == 0, made.stderr
    answer = json.loads(made.stdout)
    assert (answer["schema"], answer["prompts"], answer["pairs"]) == (1, 5, 10)
    run = demo_copy("healthy")
    done = critictui("score", resolve_target(run).path, "--fixed-set", out, "--recipe", "gad", "--read-only", "--json",
                     XDG_STATE_HOME=str(tmp_path / "state"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["recipe"]["pooling"] == "last"
    assert not (run / "critictui").exists()
    assert len(list((tmp_path / "state").rglob("*.json"))) == 1


def test_following_scores_the_newest_then_each_new_one_once(
    demo_copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = demo_copy("healthy")
    newest = resolve_target(run).path.parent
    step = int(newest.name.removeprefix("global_step_"))
    (run / "global_step_1").mkdir()  # one that never becomes whole
    stop, scored, said = threading.Event(), [], []
    jobs: list[Job] = []

    def scores(job: Job, _: Any) -> Finished | Failed:
        jobs.append(job)
        if len(jobs) == 1:
            shutil.copytree(newest, run / f"global_step_{step + 10}")
            (run / "latest_checkpointed_iteration.txt").write_text(str(step + 10))
            return Finished({"n": 1})
        if len(jobs) == 2:
            return Failed("crashed", "the worker died")
        stop.set()
        return Finished({"n": 3})

    monkeypatch.setattr(following, "run_job_sync", scores)
    follow(
        run,
        Config(device="cpu"),
        run / "fixed_set.jsonl",
        tell=lambda _: None,
        scored=lambda finished: scored.append(finished.result["n"]),
        said=said.append,
        stop=stop,
        seconds=0.01,
    )
    assert [Path(job.checkpoint).parent.name for job in jobs] == [newest.name] + [f"global_step_{step + 10}"] * 2
    assert scored == [1, 3]
    assert said == ["the worker died"]
    assert {job.run_dir for job in jobs} == {str(run)}


def test_following_waits_for_room(demo_copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run = demo_copy("healthy")
    free = [1, 1, 1, 64]
    monkeypatch.setattr(
        memory, "read_host", lambda: HostReading(64 * GIB, (free.pop(0) if free[1:] else free[0]) * GIB)
    )
    stop, scored, said = threading.Event(), [], []

    def scores(*_: Any) -> Finished | Failed:
        stop.set()
        return Finished({"n": 1})

    monkeypatch.setattr(following, "run_job_sync", scores)
    follow(
        run,
        Config(device="cpu"),
        run / "fixed_set.jsonl",
        tell=lambda _: None,
        scored=lambda finished: scored.append(finished.result["n"]),
        said=said.append,
        stop=stop,
        seconds=0.01,
        room_seconds=0.01,
    )
    assert scored == [1]
    assert len(said) == 1
    assert "free 1.0 GiB of 64.0 GiB: refused" in said[0]
    assert said[0].endswith("; waiting for room")


def test_an_order_says_where_how_long_and_what_is_done_already(demo_copy: Callable[..., Path]) -> None:
    run = demo_copy("healthy")
    config = Config(device="auto", fixed_set="fixed_set.jsonl")
    order = order_score(run, config, readings=())
    assert order.job.run_dir == str(run)
    assert "on the CPU: no GPU is visible; the CPU needs" in order.in_words
    assert already_scored(order) is None
    require_finished(following.run_job_sync(order.job, lambda _: None))
    found = already_scored(order)
    assert found is not None
    assert found.step == order.checkpoint.step
    with (run / "fixed_set.jsonl").open("a") as file:
        file.write("\n")  # another file is another series, whatever is in it
    assert already_scored(order_score(run, config, readings=())) is None
    other = order_score(run, Config(fixed_set="fixed_set.jsonl", recipe="gad"), readings=())
    assert already_scored(other) is None


@pytest.mark.fault("W02")
def test_a_gpu_that_training_needs_is_refused_with_its_numbers(demo_run: Callable[..., Path]) -> None:
    run = demo_run("healthy")
    config = Config(device="cuda:0", fixed_set="fixed_set.jsonl")
    busy = (GpuReading(0, "H200", 141 * GIB, 3 * GIB, 1),)
    with pytest.raises(ScoringError, match=r"needs 5\.0 GiB \+ 4\.0 GiB head-room, free 3\.0 GiB"):
        order_score(run, config, readings=busy)
    idle = (GpuReading(0, "H200", 141 * GIB, 140 * GIB, 0),)
    order = order_score(run, config, readings=idle)
    assert order.seconds is None
    assert order.placement.device == "cuda:0"


def test_the_cpu_is_refused_with_its_numbers_where_the_host_has_no_room(
    demo_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = demo_run("healthy")
    monkeypatch.setattr(memory, "read_host", lambda: HostReading(16 * GIB, GIB))
    busy = (GpuReading(0, "H200", 141 * GIB, 3 * GIB, 1),)
    for device in ("auto", "cpu"):
        with pytest.raises(ScoringError, match=r"head-room, free 1\.0 GiB of 16\.0 GiB: refused"):
            order_score(run, Config(device=device, fixed_set="fixed_set.jsonl"), readings=busy)


def test_a_run_is_found_from_any_of_its_places(demo_run: Callable[..., Path]) -> None:
    run = demo_run("healthy")
    checkpoint = resolve_target(run)
    for target in (run, checkpoint.path, checkpoint.path.parent):
        assert run_of(target, resolve_target(target)) == run


def test_failures_become_the_exit_status_that_fits() -> None:
    from critictui.errors import JobFailedError

    for reason in ("refused", "missing-extra"):
        with pytest.raises(ScoringError):
            require_finished(Failed(reason, "x"))  # type: ignore[arg-type]
    for reason in ("memory", "crashed", "cancelled", "vanished", "hung", "error"):
        with pytest.raises(JobFailedError):
            require_finished(Failed(reason, "x"))  # type: ignore[arg-type]
    assert issubclass(CheckpointError, Exception)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_ends_following_and_its_worker(
    demo_copy: Callable[..., Path], number: signal.Signals, status: int
) -> None:
    run = demo_copy("healthy")
    # in the background, or under nohup, signals are ignored, and would stay so
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from critictui.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "score", str(run), "--follow", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 60
            while not (workers := children_of(process.pid)):
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == status
    assert "Traceback" not in said
    # a signal may come while the worker is being started: then it ends itself, once it finds its parent gone
    assert wait_until(lambda: all(map(gone, workers)))


def test_how_far_a_score_is_stands_in_one_line_of_a_terminal() -> None:
    assert progress_words(Progress("load", 0.45, 1.0)) == ["load 45%"]
    assert progress_words(Progress("score", 30, 100, 1204.4, 12.2)) == ["score 30%", "1,204 tokens/s", "12s left"]
    assert progress_words(Progress("import", 0, 1)) == ["import"]
    script = (
        "from critictui.scoring.jobs import Progress; from critictui.scoring.progress_line import ProgressLine\n"
        "line = ProgressLine(); line.tell(Progress('score', 30, 100, 1204.4, 12.2)); line.end(); print('done')"
    )
    master, slave = pty.openpty()
    subprocess.run([sys.executable, "-c", script], stdin=slave, stdout=slave, stderr=slave, check=True)
    os.close(slave)
    shown = os.read(master, 4096).decode()
    os.close(master)
    assert shown == "\r\x1b[Kscore 30%, 1,204 tokens/s, 12s left\r\x1b[Kdone\r\n"
    piped = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (piped.stdout, piped.stderr) == ("done\n", "")
