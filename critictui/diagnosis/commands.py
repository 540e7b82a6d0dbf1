"""`diagnose`, `replay` and `explain` without a screen: gather, run the worker's jobs, judge, print."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.config import Config
from critictui.diagnosis.finding import Diagnosis, Explanation
from critictui.diagnosis.inquiry import (
    Question,
    Subject,
    can_measure,
    diagnosis_of,
    explanation_of,
    find_samples,
    job,
    read_run,
    subject_of,
)
from critictui.diagnosis.replay import Replay, judge_replay
from critictui.diagnosis.script import DiagnosisError
from critictui.errors import InputError, JobFailedError, refuse_unreadable
from critictui.scoring.client import run_job_sync
from critictui.scoring.jobs import Failed, Job, JobMessage
from critictui.scoring.memory import refuse_unknown
from critictui.scoring.read_set import look_at_set
from critictui.scoring.recipe import recipe_from

__all__ = [
    "ExplainOptions",
    "diagnose_target",
    "explain_run",
    "read_run",
    "recipe_config",
    "replay_target",
    "save_recipe",
    "unfit",
]

Tell = Callable[[JobMessage], None]


def diagnose_target(
    target: Path, config: Config, tell: Tell, fixed_set: Path | None = None
) -> tuple[Diagnosis, tuple[str, ...]]:
    """Findings about a checkpoint or a run's newest one, and notes on what could not be looked at."""
    _refuse_unfit(config, fixed_set, None)
    subject = subject_of(target, config, fixed_set)
    if not can_measure(subject):
        return diagnosis_of(subject, None), ()
    if subject.fixed_set is None:
        note = (
            "no fixed set: only the files were looked at; make one with `critictui prepare`, pass it with --fixed-set"
        )
        return diagnosis_of(subject, None), (note,)
    reason = (subject.recipe_reason,) if subject.recipe_reason else ()
    return diagnosis_of(subject, _result(job("diagnose", subject, config.device), tell)), reason


def replay_target(target: Path, samples: Path, config: Config, tell: Tell) -> Replay:
    """Which recipe reproduces the scores that training saved in `samples`?"""
    _refuse_unfit(config, None, samples)
    subject = subject_of(target, config)
    _refuse_unscorable(subject)
    return judge_replay(_result(job("replay", subject, config.device, samples=str(samples.absolute())), tell))


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What `explain` may be told beside the run."""

    question: Question = field(default_factory=Question)
    checkpoint: Path | None = None
    fixed_set: Path | None = None


def explain_run(
    run_dir: Path, config: Config, tell: Tell, options: ExplainOptions
) -> tuple[Explanation, tuple[str, ...]]:
    """Why do training and test disagree? Ranked causes, and notes on what could not be looked at.

    Raises InputError for what was named and cannot be used; what was found and cannot be used is a note.
    """
    _refuse_unfit(config, options.fixed_set, options.question.samples)
    run = read_run(run_dir, config)
    notes: list[str] = []
    subject: Subject | None = None
    try:
        subject = subject_of(
            options.checkpoint or run_dir, config, options.fixed_set, run_dir if run_dir.is_dir() else None
        )
    except CheckpointError as error:
        if options.checkpoint is not None:
            raise
        if not run.sources:
            raise DiagnosisError(f"{run_dir}: neither metrics nor a checkpoint in it; give a run directory") from None
        notes.append(str(error))
    question = options.question
    simulated: Mapping[str, object] | None = None
    replayed: Mapping[str, object] | None = None
    if subject is not None and not can_measure(subject):
        notes.append(f"{unfit(subject)}: nothing was simulated or replayed")
    if subject is not None and can_measure(subject):
        notes += [subject.recipe_reason] if subject.recipe_reason else []
        simulated = _simulated(subject, config, tell, notes, question)
        samples = question.samples or find_samples(run_dir if run_dir.is_dir() else run_dir.parent)
        if samples is not None:
            replayed = _attempt(job("replay", subject, config.device, samples=str(samples.absolute())), tell, notes)
            if replayed is not None and replayed.get("step") not in {None, subject.checkpoint.step}:
                notes.append(f"{samples.name} is of step {replayed.get('step')}, not of this checkpoint: not replayed")
                replayed = None
    return explanation_of(run, subject, question, simulated, replayed), tuple(notes)


def _refuse_unfit(config: Config, fixed_set: Path | None, samples: Path | None) -> None:
    """Before anything is loaded: raise InputError for a file or a device that was named and is none."""
    refuse_unknown(config.device)
    if fixed_set is not None:
        look_at_set(fixed_set, config.columns)
    if samples is None:
        return
    refuse_unreadable(samples, "pass what training saved to --samples")
    with samples.open("rb") as file:
        head = file.read(1 << 16)
    archive = zipfile.is_zipfile(samples) if head.startswith(b"PK\x03\x04") else head.startswith(b"\x80")
    if not archive and not head.lstrip().startswith(b"{"):
        raise DiagnosisError(f"{samples}: neither a whole .pt archive nor JSON lines; pass what training saved")


def _simulated(
    subject: Subject, config: Config, tell: Tell, notes: list[str], question: Question
) -> Mapping[str, object] | None:
    if subject.fixed_set is None:
        notes.append("no fixed set: known mistakes were not simulated; make one with `critictui prepare`")
        return None
    return _attempt(job("simulate", subject, config.device, limits=list(question.limits)), tell, notes)


def save_recipe(run_dir: Path, found: Replay) -> Path:
    """Make the recipe that reproduces training the run's own, in `critictui.toml`. Raises DiagnosisError."""
    if found.found is None:
        raise DiagnosisError("no recipe reproduces the recorded scores: there is nothing to save")
    path = run_dir / "critictui.toml"
    values = {k: v for k, v in found.found.recipe.to_dict().items() if v is not None}
    lines = ["[recipe]", *(f"{k} = {json.dumps(v)}" for k, v in values.items()), ""]
    before = path.read_text("utf-8") if path.is_file() else ""
    if "[recipe]" in before or any(line.startswith("recipe") for line in before.splitlines()):
        raise DiagnosisError(f"{path}: holds a recipe already; remove it first, it was not changed")
    try:
        path.write_text(f"{before.rstrip()}\n\n{chr(10).join(lines)}".lstrip(), "utf-8")
    except OSError as error:
        raise DiagnosisError(
            f"{path}: cannot be written ({error.strerror}); put the recipe into your own config"
        ) from error
    return path


def _refuse_unscorable(subject: Subject) -> None:
    if can_measure(subject):
        return
    raise CheckpointError(f"{unfit(subject)}; `critictui diagnose` says more")


def unfit(subject: Subject) -> str:
    """Why a checkpoint cannot be scored, with its path."""
    path = str(subject.checkpoint.path)
    problems = [message for _, message in subject.audit.problems] if subject.audit is not None else [subject.problem]
    reason = next((r for r in (*problems, subject.checkpoint.reason) if r), subject.checkpoint.state)
    return reason if path in reason else f"{path}: {reason}"


def _result(wanted: Job, tell: Tell) -> Mapping[str, object]:
    outcome = run_job_sync(wanted, tell)
    if isinstance(outcome, Failed):
        if outcome.reason in {"refused", "missing-extra"}:
            raise InputError(outcome.message)
        raise JobFailedError(outcome.message)
    return outcome.result


def _attempt(wanted: Job, tell: Tell, notes: list[str]) -> Mapping[str, object] | None:
    """An explanation goes on without a job that failed, and says so."""
    try:
        return _result(wanted, tell)
    except (InputError, JobFailedError) as error:
        notes.append(f"{wanted.kind}: {error}")
        return None


def recipe_config(config: Config, recipe: str | Mapping[str, object] | None) -> Config:
    """The config with a recipe from the command line. Raises ScoringError for a bad one."""
    if recipe is None:
        return config
    recipe_from(recipe)
    return replace(config, recipe=recipe)
