"""Scoring from the screen: what is said before it starts, one worker at a time, and every way in which one ends."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import pytest
from processes import gone
from textual.pilot import Pilot

from critictui.checkpoint.audit import audit
from critictui.checkpoint.checkpoint import Checkpoint
from critictui.checkpoint.find import resolve_target
from critictui.config import Config
from critictui.errors import InputError
from critictui.monitor.snapshot import Snapshot
from critictui.scoring import memory
from critictui.scoring.host_memory import HostReading
from critictui.scoring.jobs import Job
from critictui.scoring.read_set import sha256_of
from critictui.scoring.recipe import Recipe
from critictui.scoring.result import FixedSetRef, ResponseRow
from critictui.scoring.result_json import result_from_json, result_to_json
from critictui.scoring.results import ResultsFolder, save_result, unsaved_rows
from critictui.scoring.summary import summarise
from critictui.tui.app import CriticApp
from critictui.tui.evaluation import plan as plan_module
from critictui.tui.evaluation.auto import AutoScore
from critictui.tui.evaluation.bench import Bench, Ended, RunJob, Task
from critictui.tui.evaluation.plan import make_plan, order_for, settled
from critictui.tui.evaluation.scoring import failure
from critictui.tui.glyphs import UNICODE
from critictui.tui.gpu import GpuWatch
from critictui.tui.messages import SnapshotTaken
from critictui.tui.panels import fixed_points
from critictui.tui.screens.dashboard import Dashboard
from critictui.tui.screens.score_dialog import ScoreDialog, device_words, plan_words
from critictui.tui.screens.scores import ScoresScreen
from critictui.tui.shell import bench_of
from critictui.tui.widgets.job_line import job_words

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]
TextOf = Callable[[CriticApp], str]
Worker = Callable[[str], list[str]]
MakeCritic = Callable[[Path], Path]


class Case(Protocol):
    """A run directory with one checkpoint, and its snapshot."""

    run: Path
    checkpoint: Checkpoint
    snapshot: Snapshot


def ran(tmp_path: Path) -> list[str]:
    """The workers that were started, `<pid> <kind>` each."""
    path = tmp_path / "ran"
    return path.read_text().splitlines() if path.exists() else []


def a_result(step: int = 310, wins: int = 30) -> tuple[dict[str, object], list[ResponseRow]]:
    """A score of 40 pairs as the worker answers it, and its rows."""
    rows = []
    for number in range(40):
        scores = (2.0, 0.5) if number < wins else (0.0, 1.0)
        for index, (role, value) in enumerate(zip(("teacher", "student"), scores, strict=True)):
            rows.append(
                ResponseRow(f"p{number}", f"why {number}?", role, 0, f"{role} says {number}", value + number / 1000,
                            10 + index, value, 1.0, value - 1, value + 1, False, "stop")
            )  # fmt: skip
    result = summarise(
        rows, recipe=Recipe(), fixed_set=FixedSetRef("/sets/fixed.jsonl", "cd" * 32, 40, 40), step=step,
        checkpoint="/runs/a/checkpoint-310", fingerprint="ab" * 16,
        values={"mean": 0.5, "std": 1.5, "min": -4.0, "max": 5.0}, tokens=840, seconds={"total": 3.0}, device="cpu",
        dtype="float32", versions={},
    )  # fmt: skip
    return result_to_json(result), rows


async def until(pilot: Pilot[None], condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Wait for a condition while the app goes on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.01)
    await pilot.pause(0)


def app_of(pilot: Pilot[None]) -> CriticApp:
    assert isinstance(pilot.app, CriticApp)
    return pilot.app


def toasts(app: CriticApp) -> str:
    return "\n".join(str(n.message) for n in app._notifications)


async def press_e_and_start(pilot: Pilot[None]) -> None:
    await pilot.press("e")
    await until(pilot, lambda: isinstance(pilot.app.screen, ScoreDialog) and pilot.app.screen.can_start())
    await pilot.press("enter")
    await until(pilot, lambda: not isinstance(pilot.app.screen, ScoreDialog))


async def test_the_worker_starts_with_the_dialogue_and_ends_with_it_unless_it_is_used(
    case: Case, showing: Showing, worker: Worker, tmp_path: Path
) -> None:
    def started() -> set[int]:
        script = str(tmp_path / "worker.py").encode()
        return {
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and script in (entry / "cmdline").read_bytes()
        }

    async with showing(case.snapshot) as pilot:
        bench = bench_of(app_of(pilot))
        bench.command = worker("fail('refused', 'seen')")
        await pilot.press("e")
        await until(pilot, lambda: len(started()) == 1)
        (unused,) = started()
        await pilot.press("escape")
        await until(pilot, lambda: gone(unused))
        assert ran(tmp_path) == []

        await pilot.press("e")
        await until(pilot, lambda: len(started()) == 1 and pilot.app.screen.can_start())  # type: ignore[attr-defined]
        (used,) = started()
        await pilot.press("enter")
        await until(pilot, lambda: bench.last is not None)
        assert ran(tmp_path) == [f"{used} score"]

        bench.last = None
        await pilot.press("e")
        await until(pilot, lambda: len(started()) == 1 and pilot.app.screen.can_start())  # type: ignore[attr-defined]
        (died,) = started()
        os.kill(died, signal.SIGKILL)
        await until(pilot, lambda: gone(died))
        await asyncio.sleep(0.2)  # until the loop knows, too
        await pilot.press("enter")
        await until(pilot, lambda: bench.last is not None)
        assert bench.last is not None
        assert "seen" in bench.last[1].said
        assert len(ran(tmp_path)) == 2

        await pilot.press("e")
        await until(pilot, lambda: len(started()) == 1)
        (left,) = started()
    assert gone(left)


async def test_the_line_says_how_long_it_takes_and_when_the_worker_gives_no_sign_of_life(
    case: Case, showing: Showing, worker: Worker
) -> None:
    async with showing(case.snapshot) as pilot:
        bench = bench_of(app_of(pilot))
        bench.command = worker("progress('import', 0, 1, 0.0, None); signal.pause()")
        await press_e_and_start(pilot)
        await until(pilot, lambda: bench.running is not None and bench.running.progress is not None)
        running = bench.running
        assert running is not None
        assert running.heard is not None
        running.began = time.monotonic() - 7.4
        assert "import · 7.0s" in job_words(bench, UNICODE, 100).plain.replace("\n", "")
        running.heard = time.monotonic() - 20.2
        said = job_words(bench, UNICODE, 100).plain
        assert "no sign of life for 20s" in said
        assert "import" not in said
        bench.cancel()
        await until(pilot, lambda: bench.last is not None)


async def test_c_cancels_while_the_dialogue_is_open(case: Case, showing: Showing, worker: Worker) -> None:
    async with showing(case.snapshot) as pilot:
        bench = bench_of(app_of(pilot))
        bench.command = worker("progress(); signal.pause()")
        await press_e_and_start(pilot)
        await until(pilot, lambda: bench.running is not None and bench.running.progress is not None)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, ScoreDialog))
        await pilot.press("C")
        await until(pilot, lambda: bench.last is not None)
        assert bench.last is not None
        assert bench.last[1].cancelled


# --- before it starts


async def test_the_dialogue_says_what_will_be_scored_and_where(
    case: Case, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(case.snapshot, (100, 30)) as pilot:
        await pilot.press("e")
        await settle(pilot)
        text = text_of(app_of(pilot))
    assert "score step 310" in text
    assert "checkpoint-310" in text
    assert "136 parameters in float32" in text
    assert "fixed_set.jsonl" in text
    assert "gad-fork: mean over the response's tokens, EOS left out" in text
    assert "on the CPU: no GPU is visible" in text
    assert "enter Start" in text


async def test_without_a_fixed_set_it_says_what_to_run_and_does_not_start(
    case: Case, showing: Showing, settle: Settle, text_of: TextOf, tmp_path: Path
) -> None:
    (case.run / "fixed_set.jsonl").unlink()
    async with showing(case.snapshot, (120, 30)) as pilot:
        await pilot.press("e")
        await settle(pilot)
        assert "critictui prepare --data" in text_of(app_of(pilot))
        assert "enter Start" not in text_of(app_of(pilot))
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ScoreDialog)
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(pilot.app.screen, Dashboard)
    assert ran(tmp_path) == []


async def test_a_checkpoint_that_cannot_be_believed_is_refused_with_the_reason(
    case: Case, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    path = case.checkpoint.path / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b"score.weight", b"other.weight"))
    async with showing(case.snapshot, (120, 30)) as pilot:
        await pilot.press("e")
        await settle(pilot)
        text = text_of(app_of(pilot))
    assert "no value head" in text or "head" in text.partition("recipe")[2]
    assert "enter Start" not in text


GPU = memory.GpuReading(0, "H200", 140 << 30, 30 << 30, 1)


def test_a_gpu_that_training_uses_is_refused_with_the_numbers(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "read_gpus", lambda: (GPU,))
    plan = make_plan(case.checkpoint, case.run, Config(), ())
    auto, gpu, cpu = plan.choices(share=False)
    assert (auto.placement.device, gpu.ok, cpu.ok) == ("cpu", False, True)
    said = device_words(plan, gpu, share=False, glyphs=UNICODE).plain
    assert "GPU 0 needs 5.0 GiB + 4.0 GiB head-room, free 30.0 GiB of 140.0 GiB: refused" in said
    on_the_cpu = device_words(plan, cpu, share=False, glyphs=UNICODE).plain
    assert "about 5s, nearly all of it to start and load" in on_the_cpu


def test_the_dialogue_says_what_the_cpu_needs_and_what_is_free_and_refuses_where_that_is_too_little(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "read_host", lambda: HostReading(64 << 30, 50 << 30))
    plan = make_plan(case.checkpoint, case.run, Config(), ())
    said = device_words(plan, plan.choices(share=False)[-1], share=False, glyphs=UNICODE).plain
    assert "the CPU needs 0.5 GiB + 4.0 GiB head-room, free 50.0 GiB of 64.0 GiB: there is room" in said
    monkeypatch.setattr(plan_module, "read_host", lambda: HostReading(64 << 30, 1 << 30))
    plan = make_plan(case.checkpoint, case.run, Config(), ())
    assert [choice.ok for choice in plan.choices(share=False)] == [False, False]
    said = device_words(plan, plan.choices(share=False)[-1], share=False, glyphs=UNICODE).plain
    assert "free 1.0 GiB of 64.0 GiB: refused" in said


def test_the_user_may_share_a_gpu_but_never_beyond_its_head_room(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    full = dataclasses.replace(GPU, index=1, free=6 << 30)
    monkeypatch.setattr(memory, "read_gpus", lambda: (GPU, full))
    plan = make_plan(case.checkpoint, case.run, Config(), ())
    auto, first, second, _ = plan.choices(share=True)
    assert (auto.placement.device, first.ok, second.ok) == ("cuda:0", True, False)
    assert "your" not in device_words(plan, second, share=True, glyphs=UNICODE).plain
    assert "shared with training" in device_words(plan, first, share=True, glyphs=UNICODE).plain


def test_a_gpu_whose_highest_use_is_known_is_judged_by_it(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "read_gpus", lambda: (GPU,))
    calm = make_plan(case.checkpoint, case.run, Config(), (), {0: 120 << 30})
    assert settled(calm, "auto", share=False) == ("cuda:0", True)
    assert order_for(calm, Config(), "auto", share=False).job.options["share_gpu"] is True
    swinging = make_plan(case.checkpoint, case.run, Config(), (), {0: 135 << 30})
    assert settled(swinging, "auto", share=False) == ("cpu", False)
    order = order_for(swinging, Config(), "auto", share=False)
    assert (order.job.device, order.job.options["share_gpu"]) == ("cpu", False)


def test_a_highest_use_counts_once_it_was_watched_for_long_without_a_gap() -> None:
    watch = GpuWatch(lambda gpus: None)
    watch.note({0: 100, 1: 5})
    watch.note({0: 300, 1: 5})
    watch.note({0: 200})
    assert watch.peaks(0.0) == {0: 300}
    assert watch.peaks(3600.0) == {}
    watch.note({0: 1, 1: 2})
    assert watch.peaks(0.0) == {0: 300, 1: 2}


async def test_s_shares_the_gpu_in_the_dialogue(
    case: Case, showing: Showing, settle: Settle, text_of: TextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "read_gpus", lambda: (GPU,))
    async with showing(case.snapshot, (110, 30)) as pilot:
        await pilot.press("e")
        await settle(pilot)
        await pilot.press("down")
        await settle(pilot)
        assert "refused" in text_of(app_of(pilot))
        assert "enter Start" not in text_of(app_of(pilot))
        await pilot.press("s")
        await settle(pilot)
        assert "refused" not in text_of(app_of(pilot))
        assert "enter Start" in text_of(app_of(pilot))


def test_a_plan_names_a_bad_recipe_and_an_unreadable_set(case: Case) -> None:
    assert "nonsense" in make_plan(case.checkpoint, case.run, Config(recipe="nonsense"), ()).problem
    missing = make_plan(case.checkpoint, case.run, Config(fixed_set="gone.jsonl"), ())
    assert "gone.jsonl" in missing.problem
    assert "gone.jsonl" in plan_words(missing, UNICODE, 100).plain


# --- while it runs


async def test_progress_is_on_the_line_and_the_dashboard_stays_usable(
    case: Case, showing: Showing, text_of: TextOf, worker: Worker, tmp_path: Path
) -> None:
    async with showing(case.snapshot, (120, 30)) as pilot:
        app = app_of(pilot)
        bench_of(app).command = worker("progress(); time.sleep(600)")
        await press_e_and_start(pilot)
        await until(pilot, lambda: "45%" in text_of(app))
        line = next(row for row in text_of(app).splitlines() if "45%" in row)
        assert "scoring step 310" in line
        assert "score 45%" in line
        assert "1,204 tokens/s" in line
        assert "12s left" in line
        assert "C Cancel" in text_of(app)
        await pilot.press("c")
        await until(pilot, lambda: "1 checkpoint" in text_of(app))
        assert "45%" in text_of(app)
        process = int(ran(tmp_path)[0].split()[0])
        await pilot.press("C")
        await until(pilot, lambda: bench_of(app).running is None)
        await until(pilot, lambda: "scoring step 310: cancelled" in toasts(app))
        await until(pilot, lambda: "C Cancel" not in text_of(app))
    assert gone(process)


@pytest.mark.fault("W06")
async def test_mashing_e_is_harmless(case: Case, showing: Showing, worker: Worker, tmp_path: Path) -> None:
    async with showing(case.snapshot, (120, 30)) as pilot:
        app = app_of(pilot)
        bench = bench_of(app)
        bench.command = worker("progress(); time.sleep(600)")
        await press_e_and_start(pilot)
        for _ in range(25):
            await pilot.press("e", "enter")
        await until(pilot, lambda: bench.running is not None and bench.running.progress is not None)
        assert bench.waiting is None
        assert len(app.screen_stack) <= 2
        assert len(ran(tmp_path)) == 1
        await pilot.press("escape")
        bench.cancel()
        await until(pilot, lambda: bench.running is None)
    assert len(ran(tmp_path)) == 1


@pytest.mark.fault("W06")
async def test_one_waits_a_third_is_not_taken_and_the_next_follows(
    case: Case, showing: Showing, worker: Worker, tmp_path: Path
) -> None:
    async def work(run: RunJob) -> Ended:
        await run(Job("score", checkpoint="/x"))
        return Ended(good=True, said="done")

    async with showing(case.snapshot) as pilot:
        bench = bench_of(app_of(pilot))
        bench.command = worker("progress(); time.sleep(600)")
        offered = [bench.offer(Task("score", (n,), f"scoring {n}", work)) for n in (1, 1, 2, 2, 3)]
        assert offered == ["started", "same", "waiting", "same", "full"]
        await until(pilot, lambda: len(ran(tmp_path)) == 1)
        bench.cancel()
        await until(pilot, lambda: len(ran(tmp_path)) == 2)
        assert bench.running is not None
        assert bench.running.task.title == "scoring 2"
        assert gone(int(ran(tmp_path)[0].split()[0]))
        bench.cancel()
        await until(pilot, lambda: bench.running is None)


@pytest.mark.fault("W06")
async def test_quitting_ends_the_worker(
    case: Case, make_app: Callable[..., CriticApp], worker: Worker, tmp_path: Path
) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        app.post_message(SnapshotTaken(case.snapshot))
        await until(pilot, lambda: app.snapshot is not None)
        bench_of(app).command = worker("progress(); time.sleep(600)")
        await press_e_and_start(pilot)
        await until(pilot, lambda: len(ran(tmp_path)) == 1)
        process = int(ran(tmp_path)[0].split()[0])
        await pilot.press("q")
    assert gone(process)


# --- on a node of a cluster


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """`slurm("RUNNING")`: Slurm's commands in PATH, with a job in that state; the file of what they were asked."""

    def commands(state: str) -> Path:
        calls = tmp_path / "calls"
        said = {"sbatch": "cat > /dev/null; echo 42", "scancel": "",
                "scontrol": f"echo JobId=42 JobState={state} Reason=Priority NodeList=gpu7 ExitCode=0:0"}  # fmt: skip
        for name, body in said.items():
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> {calls}\n{body}\n')
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        return calls

    return commands


async def test_e_lets_a_node_make_the_score_where_a_launcher_is_set(
    case: Case, showing: Showing, slurm: Callable[[str], Path], text_of: TextOf
) -> None:
    calls = slurm("COMPLETED")
    fixed_set = case.run / "fixed_set.jsonl"
    answer, rows = a_result()
    reference = FixedSetRef(str(fixed_set), sha256_of(fixed_set), 40, 40)
    fingerprint = audit(case.checkpoint).fingerprint
    made = dataclasses.replace(
        result_from_json(answer), fixed_set=reference, checkpoint_fingerprint=fingerprint, step=310
    )
    save_result(case.run, made, rows)  # what the node writes
    async with showing(case.snapshot, (100, 30), launch="slurm", launchers={"slurm": {"gpus": 2}}) as pilot:
        app = app_of(pilot)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, ScoreDialog) and app.screen.can_start())
        assert "Slurm, on a node" in text_of(app)
        assert "one job of Slurm's, with a GPU" in text_of(app)
        await pilot.press("enter")
        await until(pilot, lambda: "d_acc 75.0%" in toasts(app))
    asked = calls.read_text()
    assert "--gres=gpu:2" in asked
    assert "scancel" not in asked


async def test_a_job_that_waits_is_shown_and_cancelled(
    case: Case, showing: Showing, slurm: Callable[[str], Path], text_of: TextOf
) -> None:
    calls = slurm("PENDING")
    async with showing(case.snapshot, (100, 30), launch="slurm") as pilot:
        app = app_of(pilot)
        await press_e_and_start(pilot)
        await until(pilot, lambda: "scontrol" in (calls.read_text() if calls.exists() else ""))
        await until(pilot, lambda: "scoring step 310" in text_of(app) and "queued" in text_of(app))
        bench_of(app).cancel()
        await until(pilot, lambda: bench_of(app).running is None)
        assert "cancelled" in toasts(app)
    assert calls.read_text().splitlines()[-1] == "scancel 42"


async def test_a_job_that_is_not_taken_is_said_in_one_line(
    case: Case, showing: Showing, slurm: Callable[[str], Path], tmp_path: Path
) -> None:
    slurm("PENDING")
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: no such partition' >&2; exit 1\n")
    async with showing(case.snapshot, (100, 30), launch="slurm") as pilot:
        await press_e_and_start(pilot)
        said = "Slurm did not take the job: sbatch: error: no such partition"
        await until(pilot, lambda: said in toasts(app_of(pilot)))


# --- how it ends


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("progress(); os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL (signal 9)"),
        ("os.kill(os.getpid(), signal.SIGBUS)", "SIGBUS (signal 7)"),
        ("fail('memory', 'out of memory on cuda:0 after 1 row: 3.2 GiB were missing')", "out of memory on cuda:0"),
        ("fail('vanished', '/r/checkpoint-310: removed while it was scored')", "removed while it was scored"),
        ("fail('missing-extra', 'scoring needs torch')", "scoring needs torch"),
        ("sys.exit(0)", "exit status 0 and without a result"),
        ("finish({'schema': 99})", "schema"),
        (r"sys.stderr.write('\x1b[31mboom\x1b[0m [bold]x[/]'); sys.stderr.flush(); os._exit(3)", "exit status 3"),
    ],
)
@pytest.mark.fault("W03")
async def test_a_failure_is_said_and_the_next_e_works(
    source: str, said: str, case: Case, showing: Showing, text_of: TextOf, worker: Worker, settle: Settle
) -> None:
    answer, _ = a_result()
    async with showing(case.snapshot, (120, 40)) as pilot:
        app = app_of(pilot)
        bench = bench_of(app)
        bench.command = worker(source)
        await press_e_and_start(pilot)
        await until(pilot, lambda: bench.last is not None)
        await until(pilot, lambda: said in toasts(app))
        app._notifications.clear()
        app.post_message(SnapshotTaken(dataclasses.replace(case.snapshot, version=99)))
        await settle(pilot)
        assert "failed: " in text_of(app)
        assert "not scored" not in text_of(app)
        await pilot.press("c")
        await settle(pilot)
        assert said in text_of(app).replace("\n", " ")
        await pilot.press("escape")
        await settle(pilot)
        await pilot.press("E")
        await settle(pilot)
        assert isinstance(app.screen, ScoresScreen)
        assert said in text_of(app).replace("\n", " ")
        assert "\x1b" not in text_of(app)
        bench.command = worker(f"finish(json.loads({json.dumps(answer)!r}))")
        await press_e_and_start(pilot)
        await until(pilot, lambda: bench.last is not None and bench.last[1].good)
        await settle(pilot)
        assert said not in text_of(app)


async def test_a_good_score_is_said_in_words_and_the_monitor_is_woken(
    case: Case, showing: Showing, worker: Worker
) -> None:
    answer, _ = a_result()
    async with showing(case.snapshot) as pilot:
        app = app_of(pilot)
        bench_of(app).command = worker(f"finish(json.loads({json.dumps(answer)!r}), saved='/runs/x.json')")
        await press_e_and_start(pilot)
        await until(pilot, lambda: "d_acc 75.0%" in toasts(app))
        assert "E shows it" in toasts(app)
        assert ("wake",) in app.monitor.calls  # type: ignore[union-attr]


@pytest.mark.fault("O03")
async def test_a_score_that_no_disk_takes_is_kept_shown_and_saved_later(
    case: Case, showing: Showing, worker: Worker, text_of: TextOf, settle: Settle
) -> None:
    answer, rows = a_result()
    own = case.run / "fixed_set.jsonl"
    reference = {"path": str(own), "sha256": sha256_of(own), "prompts": 40, "pairs": 40}
    answer = {**answer, "fixed_set": reference, "unsaved_rows": unsaved_rows(rows)}
    (case.run / "critictui").write_text("a file where the folder should be")
    async with showing(case.snapshot, (120, 36), read_only=False) as pilot:
        app = app_of(pilot)
        bench = bench_of(app)
        bench.command = worker(f"finish(json.loads({json.dumps(answer)!r}))")
        state = Path(os.environ["XDG_STATE_HOME"])
        state.write_text("neither here")
        await press_e_and_start(pilot)
        await until(pilot, lambda: bench.unsaved is not None and len(bench.unsaved.kept) == 1)
        await until(pilot, lambda: "not saved: kept in memory" in toasts(app))
        assert bench.unsaved is not None
        await bench.unsaved.retry()
        assert len(bench.unsaved.kept) == 1
        await settle(pilot)
        assert "scored 0.750 ±0.138, not saved" in text_of(app)
        assert app.snapshot is not None
        assert app.snapshot.main is not None
        assert [(p.step, p.value) for p in fixed_points(app.snapshot.main, "d_acc")] == [(310, 0.75)]
        await pilot.press("E")
        await settle(pilot)
        assert "not saved" in text_of(app)
        assert "0.750" in text_of(app)
        await pilot.press("enter")
        await settle(pilot)
        assert "40 pairs, 10 wrong" in text_of(app)
        (case.run / "critictui").unlink()
        await bench.unsaved.retry()
        assert bench.unsaved.kept == ()
        await until(pilot, lambda: "is saved now" in toasts(app))
        state.unlink()
    saved = ResultsFolder(case.run).poll()
    assert [s.d_acc for s in saved] == [0.75]


async def test_a_failure_stays_with_its_checkpoint_while_another_one_is_scored(
    case: Case, showing: Showing, text_of: TextOf, worker: Worker, settle: Settle
) -> None:
    async with showing(case.snapshot, (120, 36)) as pilot:
        app = app_of(pilot)
        bench = bench_of(app)
        bench.command = worker("progress(); signal.pause()")
        await press_e_and_start(pilot)
        await until(pilot, lambda: bench.running is not None and bench.running.progress is not None)
        await pilot.press("C")
        await until(pilot, lambda: bench.last is not None)
        await settle(pilot)
        assert "score cancelled" in text_of(app)

        async def good(run: RunJob) -> Ended:
            return Ended(good=True, said="well")

        bench.offer(Task("score", ("score", Path("another")), "scoring another", good))
        await until(pilot, lambda: bench.last is not None and bench.last[1].good)
        await settle(pilot)
        assert "score cancelled" in text_of(app)
        await pilot.press("E")
        await settle(pilot)
        assert "scoring step 310: cancelled" in text_of(app)


def test_a_cancelled_worker_is_no_failure() -> None:
    from critictui.scoring.jobs import Failed

    assert failure("scoring step 3", Failed("cancelled", "cancelled")).cancelled
    ended = failure("scoring step 3", Failed("memory", "3 GiB were missing\ntraceback"))
    assert ended.first == "scoring step 3: out of memory: 3 GiB were missing"


async def test_an_error_of_our_own_in_the_work_is_reported_and_the_bench_goes_on(
    case: Case, showing: Showing, make_app: Callable[..., CriticApp]
) -> None:
    async def broken(run: RunJob) -> Ended:
        raise ValueError("a mistake of ours")

    async def refused(run: RunJob) -> Ended:
        raise InputError("set.jsonl: no such file")

    app = make_app()
    async with app.run_test() as pilot:
        app.post_message(SnapshotTaken(case.snapshot))
        bench = Bench(app)
        bench.offer(Task("score", (1,), "scoring 1", broken))
        await until(pilot, lambda: bench.last is not None)
        assert app.errors == 1
        assert bench.last is not None
        assert "a mistake of ours" in bench.last[1].said
        bench.offer(Task("score", (2,), "scoring 2", refused))
        await until(pilot, lambda: bench.last is not None and bench.last[0].title == "scoring 2")
        assert app.errors == 1
        await until(pilot, lambda: "scoring 2: set.jsonl: no such file" in toasts(app))


# --- by itself


async def test_auto_score_takes_only_what_appears_while_it_watches_oldest_first(
    case: Case, showing: Showing, worker: Worker, tmp_path: Path, critic_in: MakeCritic
) -> None:
    answer, _ = a_result()
    async with showing(case.snapshot, auto_score=True) as pilot:
        app = app_of(pilot)
        bench = bench_of(app)
        bench.command = worker(f"finish(json.loads({json.dumps(answer)!r}), saved='/runs/x.json')")
        await until(pilot, lambda: app.auto is not None and bool(app.auto._known))
        assert bench.running is None
        newer = [resolve_target(critic_in(case.run / f"checkpoint-{step}")) for step in (320, 330)]
        watched = dataclasses.replace(case.snapshot.watched[0], checkpoints=(*reversed(newer), case.checkpoint))
        later = dataclasses.replace(case.snapshot, watched=(watched,))
        done: list[str] = []
        for _ in range(400):
            app.post_message(SnapshotTaken(later))
            await asyncio.sleep(0.05)
            if bench.last is not None and (not done or done[-1] != bench.last[0].title):
                done.append(bench.last[0].title)
            if len(done) == 2:
                break
        assert done == ["scoring step 320", "scoring step 330"]
        assert app.auto is not None
        assert app.auto.next_one(watched) is None
    assert len(ran(tmp_path)) == 2


async def test_auto_score_waits_for_room_and_says_so_once(
    case: Case, showing: Showing, tmp_path: Path, critic_in: MakeCritic, worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    free = [1 << 30]
    monkeypatch.setattr(plan_module, "read_host", lambda: HostReading(64 << 30, free[0]))
    async with showing(case.snapshot) as pilot:
        app = app_of(pilot)
        bench = bench_of(app)
        bench.command = worker("fail('refused', 'seen')")
        auto = AutoScore(app, bench)
        auto.room_seconds = 0.05
        await auto.look(case.snapshot)
        new = resolve_target(critic_in(case.run / "checkpoint-320"))
        watched = dataclasses.replace(case.snapshot.watched[0], checkpoints=(new, case.checkpoint))
        app.snapshot = dataclasses.replace(case.snapshot, watched=(watched,))
        await auto.look(app.snapshot)
        await until(pilot, lambda: "step 320 waits for room" in toasts(app))
        await asyncio.sleep(0.3)  # it looks again, and says nothing more
        assert toasts(app).count("waits for room") == 1
        assert ran(tmp_path) == []
        free[0] = 50 << 30
        await until(pilot, lambda: bench.last is not None)
        assert len(ran(tmp_path)) == 1


async def test_auto_score_says_once_why_it_cannot(
    case: Case, showing: Showing, tmp_path: Path, critic_in: MakeCritic
) -> None:
    (case.run / "fixed_set.jsonl").unlink()
    async with showing(case.snapshot) as pilot:
        app = app_of(pilot)
        auto = AutoScore(app, bench_of(app))
        await auto.look(case.snapshot)
        new = resolve_target(critic_in(case.run / "checkpoint-320"))
        watched = dataclasses.replace(case.snapshot.watched[0], checkpoints=(new, case.checkpoint))
        for _ in range(3):
            await auto.look(dataclasses.replace(case.snapshot, watched=(watched,)))
        await until(pilot, lambda: "not scored by itself" in toasts(app))
        assert toasts(app).count("not scored by itself") == 1
    assert ran(tmp_path) == []
