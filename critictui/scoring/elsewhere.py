"""A score made elsewhere: a checked order goes to a cluster as one job, and its result is found in the run directory.

The job is `critictui score --launch local` on a node, by the same interpreter. Nothing comes back but what it writes:
the result file in the run, which both sides must see, and its words in a log.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critictui.config import Config
from critictui.scoring.client import worker_environment
from critictui.scoring.cluster import BEGINS, NOT_SHARED, Cluster, JobState, Submitted
from critictui.scoring.jobs import Failed, Finished, Progress
from critictui.scoring.last_lines import last_lines
from critictui.scoring.order import Order, results_of
from critictui.scoring.ray_jobs import RayJobs
from critictui.scoring.recipe import ScoringError
from critictui.scoring.result_json import result_to_json
from critictui.scoring.results import state_dir
from critictui.scoring.slurm import Slurm


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: between the first looks at a job, at most between later ones, and for a result to appear.

    A directory that another host wrote into may be up to a minute old over NFS (`acdirmax`).
    """

    first: float = 1.0
    most: float = 10.0
    appear: float = 90.0


def cluster_of(config: Config) -> Cluster | None:
    """The cluster that the configuration means; None for this machine. Raises ScoringError for bad settings."""
    settings = config.launchers.get(config.launch, {})
    match config.launch:
        case "slurm":
            return Slurm.from_settings(settings)
        case "ray":
            return RayJobs.from_settings(settings, os.environ)
    return None


def submit(order: Order, cluster: Cluster) -> Submitted:
    """Hand the order in as one job. Raises ScoringError."""
    step = order.checkpoint.step
    title = "critictui-score" + (f"-step-{step}" if step is not None else "")
    logs = state_dir(Path(order.job.run_dir))
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScoringError(f"{logs}: {error.strerror}; set XDG_STATE_HOME to a folder that the nodes see") from None
    return cluster.submit(job_script(order, gpu=cluster.gpus), title, logs)


def score_elsewhere(
    order: Order,
    cluster: Cluster,
    heard: Callable[[Progress], None],
    *,
    stop: threading.Event | None = None,
    pace: Pace = Pace(),
) -> Finished | Failed:
    """Submit the order, follow its job to the end and return its result, or what happened instead.

    heard: each change of its state, as a sentence in `message`. stop: set it to cancel the job. Whatever is raised here
    (Ctrl-C, a signal) cancels the job and goes on. Raises ScoringError where nothing could be submitted.
    """
    stop = stop or threading.Event()
    job = submit(order, cluster)
    name = f"{cluster.name} job {job.id}"

    def say(phase: str, words: str) -> None:
        heard(Progress(phase, 0, 1, message=f"{name}: {words}"))

    try:
        say("queued", f"submitted, to score {order.checkpoint.path} on {order.job.fixed_set}; its log: {job.log}")
        began = time.monotonic()
        last = _follow(cluster, job, say, stop, pace)
        if last is None:
            cluster.cancel(job)
            return Failed("cancelled", f"{name}: cancelled")
        if last.phase == "failed":
            why = f" ({last.said})" if last.said else ""
            return Failed("error", f"{name} failed{why}{_words(cluster, job)}")
        say("done", f"done after {time.monotonic() - began:.0f} s; looking for its result")
        ended = "ended well" if last.phase == "done" else "is not known to the cluster any more"
        return _result(order, job, f"{name} {ended}", stop, pace)
    except BaseException:
        cluster.cancel(job)
        heard(Progress("ending", 0, 1, message=f"{name}: cancelled"))
        raise


def _follow(
    cluster: Cluster, job: Submitted, say: Callable[[str, str], None], stop: threading.Event, pace: Pace
) -> JobState | None:
    """Look until the job has ended; None when we are to stop."""
    delay, before = pace.first, JobState("queued", "")
    silent = False
    while not stop.wait(delay):
        delay = min(1.5 * delay, pace.most)
        state = cluster.look(job)
        if state is None:
            if not silent:
                say(before.phase, "the cluster does not answer; asking again")
            silent = True
            continue
        silent = False
        if state.phase in {"done", "failed", "gone"}:
            return state
        if state != before:
            say(state.phase, f"{state.phase} ({state.said})" if state.said else state.phase)
        before = state
    return None


def _words(cluster: Cluster, job: Submitted) -> str:
    """The job's last lines, to go behind what happened."""
    printed = last_lines(cluster.printed(job))
    return f"\n{printed}" if printed else f"; it printed nothing that is to be seen here; its log: {job.log}"


def _result(order: Order, job: Submitted, ended: str, stop: threading.Event, pace: Pace) -> Finished | Failed:
    """The newest result that fits the order, once it is to be seen here."""
    deadline = time.monotonic() + pace.appear
    while True:
        found = results_of(order)
        if found:
            newest = max(found, key=lambda r: r.path.stat().st_mtime if r.path is not None else 0.0)
            return Finished(result_to_json(newest), saved=newest.path)
        if time.monotonic() >= deadline or stop.wait(pace.first):
            break
    return Failed(
        "error",
        f"{ended}, but no result of it appears in {order.job.run_dir}/critictui/scores: the run must lie on a file "
        f"system that the node and this machine share; its log: {job.log}",
    )


def job_script(order: Order, *, gpu: bool) -> str:
    """The shell script that a node runs: it looks whether the node sees what it needs, then scores."""
    job = order.job
    columns: Any = job.options.get("columns") or {}
    needed = " ".join(shlex.quote(path) for path in (sys.executable, job.run_dir, job.checkpoint, job.fixed_set))
    command = [
        *(sys.executable, "-P", "-m", "critictui", "score", job.checkpoint),
        *("--fixed-set", job.fixed_set, "--run-dir", job.run_dir),
        *("--recipe", json.dumps({key: value for key, value in job.recipe.items() if value is not None})),
        *("--device", "cuda" if gpu and job.device == "auto" else job.device),
        *("--launch", "local", "--json"),
        *(("--read-only",) if job.options.get("read_only") else ()),
        *(("--share-gpu",) if job.options.get("share_gpu") else ()),
        *(("--tokenizer", str(job.options["tokenizer"])) if job.options.get("tokenizer") else ()),
        *(f"--column={name}={column}" for name, column in sorted(columns.items())),
    ]
    return (
        "#!/bin/sh\n"
        f'echo "{BEGINS}$(uname -n)"\n'
        f"for needed in {needed}; do\n"
        '  [ -e "$needed" ] && continue\n'
        '  echo "$(uname -n) does not see $needed: it must lie on a file system that all nodes share" >&2\n'
        f"  exit {NOT_SHARED}\n"
        "done\n"
        f"exec env {_assignments(worker_environment())} {shlex.join(command)}\n"
    )


def _assignments(environment: Mapping[str, str]) -> str:
    """What the node must know of our environment: where our code is, and where results go that a run cannot take."""
    kept = {name: environment[name] for name in ("PYTHONPATH", "XDG_STATE_HOME") if environment.get(name)}
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in kept.items())
