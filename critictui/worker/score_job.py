"""The job `score`: a checkpoint and a fixed set in, a saved ScoreResult out."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.checkpoint.find import resolve_target
from critictui.scoring import memory
from critictui.scoring.comparison import with_comparison
from critictui.scoring.fixed_set import FixedSet
from critictui.scoring.jobs import Finished, Job, Progress
from critictui.scoring.read_set import read_fixed_set
from critictui.scoring.recipe import Recipe, ScoringError, recipe_from
from critictui.scoring.result import ResponseRow, ScoreResult
from critictui.scoring.result_json import result_to_json
from critictui.scoring.results import NotSavedError, ResultsFolder, save_result, unsaved_rows
from critictui.worker.backbone import import_transformers
from critictui.worker.jobs_table import Tell
from critictui.worker.load import load_critic
from critictui.worker.model import Critic
from critictui.worker.read_pt import load_pt
from critictui.worker.score import score_critic, tokenise_for
from critictui.worker.threads import fit_threads
from critictui.worker.tokenizer import open_tokenizer
from critictui.worker.tokens import Tokenised

LARGEST_ANSWER = 8 << 20
"""Characters of text that an unsaved score carries with it; beyond, only its numbers come back."""


def run(job: Job, tell: Tell) -> Finished:
    """Load, score, compare with the last scored checkpoint, save.

    Options: `read_only` (nothing into the run directory), `share_gpu`, `tokenizer` (a folder), `columns` (of a row-form
    set), `threads`. Raises ScoringError, CheckpointError, VanishedError, OutOfMemoryError.
    """
    started = time.monotonic()
    if "threads" in job.options:
        torch.set_num_threads(int(str(job.options["threads"])))
    recipe = recipe_from(job.recipe)
    checkpoint = resolve_target(Path(job.checkpoint))
    with ThreadPoolExecutor(1) as pool:
        # texts become tokens while the weights are read
        reading = pool.submit(_read, job, checkpoint, recipe)
        critic = load_for(job, tell, checkpoint=checkpoint)
        fixed_set, tokenised = reading.result()
    report = reporter(tell, "score")

    def scored_some(done: float, total: float) -> None:
        critic.verify(wait=False)  # a checkpoint that goes away or is damaged ends this now, not after hours
        report(done, total)

    result, rows = score_critic(critic, fixed_set, recipe, tokenised=tokenised, progress=scored_some)
    critic.verify()
    seconds = {**result.seconds, "total": time.monotonic() - started}
    result = replace(result, seconds=seconds)
    if job.run_dir:
        result = with_comparison(result, rows, ResultsFolder(Path(job.run_dir)).poll())
    return save(job, result, rows, tell)


def _read(job: Job, checkpoint: Checkpoint, recipe: Recipe) -> tuple[FixedSet, Tokenised]:
    fixed_set = read_set_for(job)
    import_transformers()
    tokenizer = open_tokenizer(checkpoint, None, _tokenizer_path(job))
    return fixed_set, tokenise_for(tokenizer, None, checkpoint.path, fixed_set, recipe)


def _tokenizer_path(job: Job) -> Path | None:
    given = job.options.get("tokenizer")
    return Path(str(given)) if given else None


def load_for(job: Job, tell: Tell, *, seed: int = 0, checkpoint: Checkpoint | None = None) -> Critic:
    """The job's critic on the job's device in the recipe's precision. Raises CheckpointError, ScoringError."""
    found = checkpoint if checkpoint is not None else resolve_target(Path(job.checkpoint))
    critic = load_critic(
        found,
        device=lambda facts: device_for(job, facts.parameters),
        dtype=recipe_from(job.recipe).dtype,
        seed=seed,
        progress=lambda share: tell(Progress("load", share, 1.0, message=str(found.path))),
        tokenizer_path=_tokenizer_path(job),
    )
    if "threads" not in job.options:
        fit_threads(critic)
    return critic


def read_set_for(job: Job) -> FixedSet:
    """The job's fixed set, `.pt` files included. Raises ScoringError."""
    columns: Any = job.options.get("columns") or {}
    return read_fixed_set(Path(job.fixed_set), columns=columns, load_pt=load_pt)


def device_for(job: Job, parameters: int) -> str:
    """The device by the memory rules; on a GPU, this process is held to what it said it needs.

    Raises ScoringError with the numbers when the device that was asked for would put training at risk.
    """
    need = memory.need_of(parameters, str(job.recipe.get("dtype", "auto")))
    readings = memory.read_gpus() if torch.cuda.is_available() else ()
    chosen = memory.place(job.device, readings, need, share=bool(job.options.get("share_gpu")))
    if not chosen.device:
        raise ScoringError(chosen.message)
    if chosen.device != "cpu":
        total = readings[int(chosen.device.partition(":")[2])].total
        torch.cuda.set_per_process_memory_fraction(min(1.0, need.gpu / total), torch.device(chosen.device))
    return chosen.device


def reporter(tell: Tell, phase: str) -> Any:
    """A function of (done, total) that tells of it at most five times a second, with rate and time left."""
    begun: tuple[float, float] | None = None
    last = 0.0

    def report(done: float, total: float) -> None:
        nonlocal begun, last
        now = time.monotonic()
        begun = begun or (now, done)  # the work begins when it is first spoken of
        if now - last < 0.2 and done < total:
            return
        last = now
        rate = (done - begun[1]) / (now - begun[0]) if now > begun[0] else 0.0
        tell(Progress(phase, done, total, rate, (total - done) / rate if rate > 0 else None))

    return report


def save(job: Job, result: ScoreResult, rows: list[ResponseRow], tell: Tell) -> Finished:
    """Save a score where the job says; one that no disk takes comes back whole in the answer, with its rows."""
    if not job.run_dir:
        return Finished(result_to_json(result))
    tell(Progress("save", 0, 1))
    try:
        path = save_result(Path(job.run_dir), result, rows, read_only=bool(job.options.get("read_only")))
    except NotSavedError as error:
        answer = result_to_json(replace(result, warnings=(*result.warnings, str(error))))
        small = sum(len(row.text) + len(row.prompt) for row in rows) < LARGEST_ANSWER
        return Finished({**answer, "unsaved_rows": unsaved_rows(rows)} if small else answer)
    return Finished(result_to_json(result), saved=path)
