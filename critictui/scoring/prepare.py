"""The command `prepare`: flags in, a job for the worker with a progress bar, words or JSON out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from critictui.errors import refuse_unreadable
from critictui.scoring.client import run_job_sync
from critictui.scoring.endpoint import refuse_odd
from critictui.scoring.jobs import Job, JobMessage, Progress
from critictui.scoring.memory import refuse_unknown
from critictui.scoring.order import require_finished
from critictui.scoring.recipe import ScoringError

PROMPTS = 100
"""Where nobody says how many; of fewer, all."""
RESPONSES = 4
"""To a prompt, where nobody says how many; of stored ones, all."""


def prepare_job(flags: Mapping[str, Any]) -> Job:
    """The job that the command's flags mean. Raises ScoringError for what can be seen to be wrong at once."""
    data, out = Path(flags["data"]).absolute(), Path(flags["out"]).absolute()
    refuse_unreadable(data, "give training data as parquet, JSONL or .pt to --data")
    refuse_unknown(flags.get("device") or "auto")
    if out.exists():
        raise ScoringError(f"{out}: exists and is never overwritten; choose another name or move it away")
    student, rollouts = flags.get("student"), flags.get("rollouts")
    if student and not (Path(student) / "config.json").is_file():
        raise ScoringError(
            f"{student}: no config.json; give a Hugging Face folder to --student (merge FSDP shards first)"
        )
    refuse_odd(flags)
    tokenizer = flags.get("tokenizer")
    if tokenizer and student:
        raise ScoringError("--tokenizer names the tokenizer of what no model here writes; --student brings its own")
    if rollouts and not Path(rollouts).exists():
        raise ScoringError(f"{rollouts}: no such file or directory; give verl's rollout_data_dir to --rollouts")
    count, responses = flags.get("num_samples"), flags.get("responses")
    sampling = {name: flags[name] for name in ("temperature", "top_p", "top_k", "max_new_tokens", "seed")}
    return Job(
        kind="prepare",
        device=flags.get("device") or "auto",
        options={
            "data": str(data),
            "out": str(out),
            "prompt": flags["prompt_column"],
            "teacher": flags["teacher_column"],
            "student": flags.get("student_column"),
            "num_samples": (PROMPTS if count is None else count) or None,
            "at_most": count is None,
            "sampling": {**sampling, "responses": RESPONSES if responses is None else responses},
            "stored_responses": responses,
            "batch_size": flags["batch_size"],
            "student_dir": str(Path(student).absolute()) if student else None,
            "endpoint": flags.get("endpoint"),
            "model": flags.get("model"),
            "api_key_env": flags.get("api_key_env"),
            "rollouts": str(Path(rollouts).absolute()) if rollouts else None,
            "tokenizer": str(Path(tokenizer).absolute()) if tokenizer else None,
            "share_gpu": bool(flags.get("share_gpu")),
        },
    )


def prepare(flags: Mapping[str, Any], *, as_json: bool, print_json: Callable[[Mapping[str, object]], None]) -> int:
    """Make the set; exit status 0. Ctrl-C keeps what is done, and the same command goes on there."""
    job = prepare_job(flags)
    try:
        with _bar() as tell:
            finished = require_finished(run_job_sync(job, tell))
    except KeyboardInterrupt:
        click.echo(
            f"critictui: interrupted; what is done is in {flags['out']}.partial, the same command goes on", err=True
        )
        raise
    answer = finished.result
    for problem in [*list(answer.get("notes") or ()), *list(answer.get("problems") or ())[:5]]:  # type: ignore[call-overload]
        click.echo(f"critictui: {problem}", err=True)
    if as_json:
        print_json(answer)
    else:
        bad = f", {answer['bad_rows']} rows could not be used" if answer.get("bad_rows") else ""
        click.echo(f"{answer['path']}: {answer['prompts']} prompts, {answer['pairs']} pairs{bad}")
    return 0


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[JobMessage], None]]:
    """A progress bar on stderr where a person sits there; yields what the job's messages go to."""
    if not sys.stderr.isatty():
        yield lambda _message: None
        return
    with click.progressbar(length=1000, label="prepare", file=sys.stderr) as bar:

        def tell(message: JobMessage) -> None:
            if isinstance(message, Progress):
                said = message.message if message.message.startswith("retry ") else message.phase
                if said != bar.label:
                    bar.label = said
                    bar.render_progress()  # also where nothing was done since
                share = message.done / message.total if message.total > 0 else 0.0
                bar.update(max(0, int(1000 * share) - bar.pos) if message.phase in {"generate", "import"} else 0)

        yield tell
