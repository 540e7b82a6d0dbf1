"""The command `score`: once, detached, or following a run; words for a person or JSON for a program."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from critictui.config import Config
from critictui.scoring.client import run_job_sync, start_detached
from critictui.scoring.follow import follow
from critictui.scoring.jobs import Finished, JobMessage
from critictui.scoring.order import Order, order_score, require_finished
from critictui.scoring.recipe import ScoringError
from critictui.scoring.result_json import result_from_json
from critictui.scoring.results import state_dir
from critictui.scoring.summary import in_words


@dataclass(frozen=True, slots=True)
class How:
    """How a command speaks."""

    share_gpu: bool
    as_json: bool
    tell: Callable[[JobMessage], None]
    end: Callable[[], None]
    print_json: Callable[[Mapping[str, object]], None]


def score_once(target: Path, config: Config, fixed_set: Path | None, how: How) -> int:
    """Score, print, exit status 0. Raises InputError (2), JobFailedError (3)."""
    order = _order(target, config, fixed_set, how)
    finished = require_finished(run_job_sync(order.job, how.tell))
    how.end()
    if how.as_json:
        how.print_json(_without_rows(finished))
    else:
        _show(finished)
    return 0


def score_detached(target: Path, config: Config, fixed_set: Path | None, how: How) -> int:
    """Start the worker and leave it alone."""
    order = _order(target, config, fixed_set, how)
    log = state_dir(Path(order.job.run_dir)) / f"score-step-{order.checkpoint.step}.log"
    process = start_detached(order.job, log)
    if how.as_json:
        how.print_json({"schema": 1, "process": process, "log": str(log)})
    else:
        click.echo(
            f"scoring in process {process}; its words go to {log}, its result into {order.job.run_dir}/critictui"
        )
    return 0


def follow_run(target: Path, config: Config, fixed_set: Path | None, how: How) -> int:
    """Score until interrupted. With JSON, a line a score."""
    if not target.is_dir():
        raise ScoringError(f"{target}: --follow needs a run directory")
    _local_only(config)

    def scored(finished: Finished) -> None:
        how.end()
        if how.as_json:
            click.echo(json.dumps(_without_rows(finished), ensure_ascii=False, allow_nan=False))
        else:
            _show(finished)

    def said(text: str) -> None:
        how.end()
        click.echo(f"critictui: {text}", err=True)

    follow(
        target,
        config,
        fixed_set,
        tell=how.tell,
        scored=scored,
        said=said,
        stop=threading.Event(),
        share_gpu=how.share_gpu,
    )
    return 0


def _order(target: Path, config: Config, fixed_set: Path | None, how: How) -> Order:
    _local_only(config)
    order = order_score(target, config, fixed_set, share_gpu=how.share_gpu)
    click.echo(f"critictui: {order.checkpoint.path}: {order.in_words}", err=True)
    return order


def _local_only(config: Config) -> None:
    if config.launch != "local":
        raise ScoringError(f"launch = {config.launch}: this version scores on this machine only; use --launch local")


def _without_rows(finished: Finished) -> dict[str, object]:
    return {key: value for key, value in finished.result.items() if key != "unsaved_rows"}


def _show(finished: Finished) -> None:
    click.echo(in_words(result_from_json(_without_rows(finished))))
    if finished.saved is not None:
        click.echo(f"saved: {finished.saved}")
