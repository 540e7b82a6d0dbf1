"""What is to be scored, where it goes and whether it may: a target and a configuration in, a checked Job out."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from critictui.checkpoint.audit import audit
from critictui.checkpoint.beside import require_tokenizer
from critictui.checkpoint.checkpoint import Audit, Checkpoint, CheckpointError
from critictui.checkpoint.find import resolve_target
from critictui.config import Config
from critictui.durations import duration
from critictui.places import expanded
from critictui.scoring import memory
from critictui.scoring.jobs import Failed, Finished, Job
from critictui.scoring.read_set import look_at_set
from critictui.scoring.recipe import ScoringError, recipe_from
from critictui.scoring.recipe_choice import choose_recipe
from critictui.scoring.result import ScoreResult
from critictui.scoring.results import ResultsFolder

SET_NAMES = ("fixed_set.jsonl", "fixed_test_set.pt")
"""What a fixed set that lies in its run is called."""
ELSEWHERE = "elsewhere"
"""The device of an order that a node of a cluster takes."""
BYTES_PER_TOKEN = 4.0
"""Of a fixed set's file: text and its JSON, English; only the time estimate uses it."""


class NoRoomError(ScoringError):
    """No device has room for it now, as it is used now; later one may."""


@dataclass(frozen=True, slots=True)
class Order:
    """A job that may be run, and what there is to say before it is."""

    job: Job
    checkpoint: Checkpoint
    audit: Audit
    placement: memory.Placement
    seconds: float | None
    """A rough time on the CPU, start and load included; None on a GPU."""
    set_sha256: str
    recipe_reason: str = ""
    """Why this recipe, where nobody asked for it and it is not the usual one."""

    @property
    def in_words(self) -> str:
        """Which device, why, how long it takes where that matters, and why this recipe where it is not the usual."""
        said = [self.placement.message]
        if self.seconds is not None:
            said.append(f"about {duration(self.seconds)}")
        return "; ".join([*said, *([self.recipe_reason] if self.recipe_reason else [])])


def order_score(
    target: Path,
    config: Config,
    fixed_set: Path | None = None,
    *,
    run_dir: Path | None = None,
    readings: tuple[memory.GpuReading, ...] | None = None,
    share_gpu: bool = False,
    elsewhere: bool = False,
) -> Order:
    """Check everything that can be checked without torch: checkpoint, head, fixed set, recipe, room on the device.

    target: a checkpoint, or a run (its newest complete one). fixed_set: else the configuration's, relative to the run.
    run_dir: where the result goes; else the target if it is a run, or the run that its `global_step_N` lies in.
    elsewhere: a node of a cluster does it, so room on the device is judged there.
    Raises CheckpointError or ScoringError that names the file and the remedy; NoRoomError with the numbers.
    """
    checkpoint = resolve_target(target)
    where = run_dir if run_dir is not None else run_of(target, checkpoint)
    tokenizer = tokenizer_of(where, config)
    facts = audit(checkpoint, tokenizer)
    if not facts.scorable:
        raise CheckpointError(facts.problems[0][1] if facts.problems else f"{checkpoint.path}: no value head")
    require_tokenizer(checkpoint.path, tokenizer)
    if importlib.util.find_spec("torch") is None:
        raise ScoringError("scoring needs torch: pip install 'critictui[score]'")
    set_path = find_fixed_set(where, config, fixed_set)
    chosen = choose_recipe(config.recipe, checkpoint.path)
    recipe = chosen.recipe
    placement = (
        memory.Placement(ELSEWHERE, "on a node of the cluster")
        if elsewhere
        else memory.place(
            config.device,
            memory.read_gpus() if readings is None else readings,
            memory.need_of(facts.parameters, recipe.dtype),
            share=share_gpu,
        )
    )
    if not placement.device:
        raise NoRoomError(placement.message)
    digest = look_at_set(set_path, config.columns)
    seconds: float | None = None
    if placement.device == "cpu":
        computing = memory.cpu_seconds(facts.parameters, int(set_path.stat().st_size / BYTES_PER_TOKEN))
        seconds = memory.start_seconds(checkpoint.size) + computing
    job = Job(
        kind="score",
        checkpoint=str(checkpoint.path.absolute()),
        fixed_set=str(set_path.absolute()),
        run_dir=str(where.absolute()),
        recipe=recipe.to_dict(),
        device=config.device,
        options={"read_only": config.read_only, "share_gpu": share_gpu, **reading_options(where, config)},
    )
    return Order(job, checkpoint, facts, placement, seconds, digest, chosen.reason)


def tokenizer_of(run_dir: Path, config: Config) -> Path | None:
    """The folder of the configured tokenizer, which stands in for a checkpoint's own."""
    return run_dir / expanded(config.tokenizer) if config.tokenizer else None


def reading_options(run_dir: Path, config: Config) -> dict[str, object]:
    """What a job must know to read checkpoint and fixed set as the configuration says: `tokenizer`, `columns`."""
    tokenizer = tokenizer_of(run_dir, config)
    given = {"tokenizer": str(tokenizer.absolute()) if tokenizer is not None else "", "columns": dict(config.columns)}
    return {name: value for name, value in given.items() if value}


def run_of(target: Path, checkpoint: Checkpoint) -> Path:
    """The run that a checkpoint belongs to: what holds its `global_step_N` or `checkpoint-N`, else the target."""
    path = checkpoint.path.absolute()
    inside = target.absolute() not in {path, path.parent} and path.is_relative_to(target.absolute())
    if inside and target.is_dir():
        return target
    for parent in (path, *path.parents):
        if parent.name.startswith(("global_step_", "checkpoint-")):
            return parent.parent
    return path.parent


def usual_fixed_set(run_dir: Path, config: Config, scores: Sequence[ScoreResult]) -> Path | None:
    """The configured fixed set, else the one that lies in the run, else that of the newest score."""
    return _configured(run_dir, config) or next(iter(_own_sets(run_dir, scores)), None)


def find_fixed_set(run_dir: Path, config: Config, given: Path | None = None) -> Path:
    """The fixed set: the one given, else the configuration's, else the run's own where it has exactly one.

    Raises ScoringError with the remedy.
    """
    path = given or _configured(run_dir, config)
    if path is None:
        own = _own_sets(run_dir, ResultsFolder(run_dir).poll())
        if len(own) == 1:
            return own[0]
        remedy = "pass it with --fixed-set, or name it in critictui.toml (fixed_set = ...)"
        if own:
            names = ", ".join(map(str, own[:4]))
            raise ScoringError(f"{run_dir}: has {len(own)} fixed sets ({names}); choose one: {remedy}")
        raise ScoringError(f"{run_dir}: no fixed set; make one with `critictui prepare` and {remedy}")
    if not path.is_file():
        what = "a directory" if path.is_dir() else "not a regular file" if path.exists() else "no such file"
        raise ScoringError(f"{path}: {what}; give the file that `critictui prepare` made")
    return path


def _configured(run_dir: Path, config: Config) -> Path | None:
    if not config.fixed_set:
        return None
    given = expanded(config.fixed_set)
    return given if given.is_absolute() else run_dir / given


def _own_sets(run_dir: Path, scores: Sequence[ScoreResult]) -> list[Path]:
    """Those that lie in the run; where there are none, those of its scores, newest first."""
    lying = [run_dir / name for name in SET_NAMES if (run_dir / name).is_file()]
    if lying:
        return lying
    made = sorted((s for s in scores if s.path is not None), key=lambda s: _modified(s.path), reverse=True)
    return [path for path in dict.fromkeys(Path(s.fixed_set.path) for s in made) if path.is_file()]


def _modified(path: Path | None) -> float:
    try:
        return path.stat().st_mtime if path is not None else 0.0
    except OSError:
        return 0.0


def results_of(order: Order) -> tuple[ScoreResult, ...]:
    """The results on disk that fit this order: same weights, same set, same recipe."""
    recipe = recipe_from(order.job.recipe).id
    return tuple(
        result
        for result in ResultsFolder(Path(order.job.run_dir)).poll()
        if result.fixed_set.sha256 == order.set_sha256
        and recipe_from(result.recipe).id == recipe
        and result.checkpoint_fingerprint == order.audit.fingerprint
    )


def already_scored(order: Order) -> ScoreResult | None:
    """The result that this order would make again, if it is there."""
    return next(iter(results_of(order)), None)


def require_finished(outcome: Finished | Failed) -> Finished:
    """The result, or the exception whose exit status fits: ScoringError (2) for bad input, JobFailedError (3) else."""
    from critictui.errors import JobFailedError

    if isinstance(outcome, Finished):
        return outcome
    if outcome.reason in {"refused", "missing-extra"}:
        raise ScoringError(outcome.message)
    raise JobFailedError(outcome.message)
