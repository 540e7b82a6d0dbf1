"""From Enter to the first score: `python -m benchmarks.key [--run RUN_DIR] [--device auto]`.

The score dialogue starts the worker, which imports torch and transformers while its user reads; so the same score is
made after the dialogue has been open for 0, 2 and 5 seconds, and as the command line does it, without a dialogue. Each
worker is a process of its own, and the first round, in which files are cold, does not count. Without `--run` a tiny
critic is trained first, whose score takes no time: what is left is the start.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from critictui.scoring.client import Worker, run_job
from critictui.scoring.jobs import Failed, Finished, Job, JobMessage, Progress
from critictui.scoring.recipe import Recipe

READING = (0.0, 2.0, 5.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="critictui-key-") as name:
        run = options.run or _train(Path(name) / "run")
        job = score_job(run, options.device)
        rounds = [{reading: after(job, reading) for reading in (None, *READING)} for _ in range(options.repeats + 1)]
    for reading in (None, *READING):
        seconds = statistics.median(found[reading]["first score"] for found in rounds[1:])
        what = "without a dialogue" if reading is None else f"dialogue open for {reading:.0f} s"
        print(f"{what:24} {seconds:6.2f} s to the first score")


def score_job(run: Path, device: str) -> Job:
    """The newest complete checkpoint of a run on its fixed set; nothing is saved."""
    from critictui.checkpoint.find import resolve_target

    checkpoint, fixed_set = resolve_target(run).path, run / "fixed_set.jsonl"
    recipe = Recipe().to_dict()
    return Job("score", checkpoint=str(checkpoint), fixed_set=str(fixed_set), recipe=recipe, device=device)


def after(job: Job, reading: float | None) -> dict[str, float]:
    """Seconds from Enter until each phase began, until the first score and the result; None: without a dialogue.

    Raises SystemExit with the worker's words when it fails.
    """
    return asyncio.run(_after(job, reading))


async def _after(job: Job, reading: float | None) -> dict[str, float]:
    moments: dict[str, float] = {}

    def heard(message: JobMessage) -> None:
        if isinstance(message, Progress):
            name = "first score" if message.phase == "score" and message.done else message.phase
            moments.setdefault(name, time.perf_counter() - begin)

    outcome: Finished | Failed
    if reading is None:
        begin = time.perf_counter()
        outcome = await run_job(job, heard)
    else:
        worker = await Worker.start(early=True)
        await asyncio.sleep(reading)
        begin = time.perf_counter()
        outcome = await worker.run(job, heard)
    if isinstance(outcome, Failed):
        raise SystemExit(outcome.message)
    return {**moments, "result": time.perf_counter() - begin}


def _train(run: Path) -> Path:
    command = [sys.executable, "-m", "critictui", "demo", "--headless", "--steps", "30", "--dir", str(run)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return run


if __name__ == "__main__":
    main()
