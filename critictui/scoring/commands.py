"""The command `score`: once, detached, or following a run, here or on a cluster; words for a person or JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click

from critictui.config import LAUNCH_SETTINGS, Config
from critictui.scoring.client import run_job_sync, start_detached
from critictui.scoring.cluster import Cluster
from critictui.scoring.elsewhere import cluster_of, score_elsewhere, submit
from critictui.scoring.follow import follow
from critictui.scoring.jobs import Failed, Finished, Progress
from critictui.scoring.order import Order, order_score, require_finished
from critictui.scoring.progress_line import ProgressLine
from critictui.scoring.recipe import ScoringError
from critictui.scoring.result_json import result_from_json
from critictui.scoring.results import state_dir
from critictui.scoring.summary import in_words


def refuse_run_dir(run_dir: Path | None) -> None:
    """Raise ScoringError for a folder that a result could only be kept in by mistake."""
    if run_dir is not None and not run_dir.is_dir():
        raise ScoringError(f"{run_dir}: no such directory; give an existing run directory to --run-dir")


@dataclass(frozen=True, slots=True)
class How:
    """What is asked, and how a command speaks."""

    share_gpu: bool
    as_json: bool
    progress: ProgressLine
    print_json: Callable[[Mapping[str, object]], None]
    run_dir: Path | None = None
    """Where the result goes; else the run that the target belongs to."""


def config_for(config: Config, asked: Mapping[str, object]) -> Config:
    """The configuration with what the command line asks a cluster for: `partition`, `gpus`, `submit_arg` and so on.

    Raises ScoringError for a flag that the launcher has no use for.
    """
    given = {name: value for name, value in asked.items() if value not in (None, ())}
    if not given:
        return config
    known = LAUNCH_SETTINGS.get(config.launch, {})
    settings = dict(config.launchers.get(config.launch, {}))
    for name, value in given.items():
        key = "extra" if name == "submit_arg" else name
        if key not in known:
            launchers = " or ".join(where for where, keys in LAUNCH_SETTINGS.items() if key in keys)
            flag = f"--{name.replace('_', '-')}"
            raise ScoringError(f"{flag} is for --launch {launchers}, not for {config.launch}")
        settings[key] = value
    if "submit_arg" in given:
        arguments = given["submit_arg"]
        assert isinstance(arguments, tuple)
        before = config.launchers.get(config.launch, {}).get("extra")
        settings["extra"] = (
            [*(before if isinstance(before, list) else ()), *arguments]
            if config.launch == "slurm"
            else {**(before if isinstance(before, dict) else {}), **dict(map(_request_field, arguments))}
        )
    if config.launch == "ray" and "gpus" in given:
        settings["gpus"] = _number(str(given["gpus"]))
    return replace(config, launchers={**config.launchers, config.launch: settings})


def _request_field(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not (equals and key.isidentifier()):
        raise ScoringError(
            f"--submit-arg {text!r:.60}: with Ray it is a field of the request, as entrypoint_num_cpus=2"
        )
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ScoringError(f"--gpus {text!r:.40}: with Ray it is a number, as 1 or 0.5") from None


def score_once(target: Path, config: Config, fixed_set: Path | None, how: How) -> int:
    """Score, print, exit status 0; 3 where the score could not be saved. Raises InputError (2), JobFailedError (3)."""
    cluster = cluster_of(config)
    order = _order(target, config, fixed_set, how, cluster)
    finished = require_finished(_made(order, cluster, how))
    how.progress.end()
    if how.as_json:
        how.print_json(_without_rows(finished))
    else:
        _show(finished)
    return _kept(finished, Path(order.job.run_dir))


def _kept(finished: Finished, run_dir: Path) -> int:
    """Exit status 0, or 3 with a word where no disk took the score: nobody tries again once this command is over."""
    if finished.saved is not None:
        return 0
    places = " or ".join(str(folder) for folder in (run_dir / "critictui", state_dir(run_dir)))
    click.echo(f"critictui: the score is not saved and is lost with this output; make room in {places} and score again",
               err=True)  # fmt: skip
    return 3


def score_detached(target: Path, config: Config, fixed_set: Path | None, how: How) -> int:
    """Start the worker, or submit the job, and leave it alone."""
    cluster = cluster_of(config)
    order = _order(target, config, fixed_set, how, cluster)
    started: dict[str, object] = {"schema": 1}
    if cluster is not None:
        job = submit(order, cluster)
        name, log = f"{cluster.name} job {job.id}", job.log
        started |= {"launch": config.launch, "job": job.id, "log": log}
    else:
        path = state_dir(Path(order.job.run_dir)) / f"score-step-{order.checkpoint.step}.log"
        process, log = start_detached(order.job, path), str(path)
        name = f"process {process}"
        started |= {"process": process, "log": log}
    if how.as_json:
        how.print_json(started)
    else:
        click.echo(f"scoring {order.checkpoint.path} in {name}; log: {log}; its result goes into {order.job.run_dir}")
    return 0


def follow_run(target: Path, config: Config, fixed_set: Path | None, how: How) -> int:
    """Score until interrupted. With JSON, a line a score."""
    if not target.is_dir():
        raise ScoringError(f"{target}: --follow needs a run directory")
    cluster = cluster_of(config)

    def scored(finished: Finished) -> None:
        how.progress.end()
        if how.as_json:
            click.echo(json.dumps(_without_rows(finished), ensure_ascii=False, allow_nan=False))
        else:
            _show(finished)
        _kept(finished, how.run_dir or target)

    def said(text: str) -> None:
        how.progress.end()
        click.echo(f"critictui: {text}", err=True)

    follow(
        how.run_dir or target,
        config,
        fixed_set,
        tell=how.progress.tell,
        run=lambda order: _made(order, cluster, how),
        elsewhere=cluster is not None,
        scored=scored,
        said=said,
        stop=threading.Event(),
        share_gpu=how.share_gpu,
    )
    return 0


def _order(target: Path, config: Config, fixed_set: Path | None, how: How, cluster: Cluster | None) -> Order:
    order = order_score(
        target, config, fixed_set, run_dir=how.run_dir, share_gpu=how.share_gpu, elsewhere=cluster is not None
    )
    if cluster is None:
        click.echo(f"critictui: {order.checkpoint.path} on {order.job.fixed_set}: {order.in_words}", err=True)
    return order


def _made(order: Order, cluster: Cluster | None, how: How) -> Finished | Failed:
    if cluster is None:
        return run_job_sync(order.job, how.progress.tell)
    return score_elsewhere(order, cluster, _say_state)


def _say_state(progress: Progress) -> None:
    click.echo(f"critictui: {progress.message}", err=True)


def _without_rows(finished: Finished) -> dict[str, object]:
    return {key: value for key, value in finished.result.items() if key != "unsaved_rows"}


def _show(finished: Finished) -> None:
    click.echo(in_words(result_from_json(_without_rows(finished))))
    if finished.saved is not None:
        click.echo(f"saved: {finished.saved}")
