"""From a run directory to a case: finds the evidence, says which jobs the worker must do, and judges their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from critictui.checkpoint.audit import audit
from critictui.checkpoint.checkpoint import Audit, Checkpoint, CheckpointError, VanishedError
from critictui.checkpoint.find import describe, find_checkpoints, resolve_target
from critictui.config import Config
from critictui.diagnosis.behaviour import behaviour_from
from critictui.diagnosis.case import Case, OwnScore, own_score
from critictui.diagnosis.claims import Claim
from critictui.diagnosis.diagnose import Neighbour, diagnose
from critictui.diagnosis.explain import explain
from critictui.diagnosis.finding import Diagnosis, Explanation
from critictui.diagnosis.logged import Logged, logged_curve
from critictui.diagnosis.replay import Replay, judge_replay
from critictui.diagnosis.script import DiagnosisError, ScriptReading
from critictui.diagnosis.simulation import Simulation, simulation_from
from critictui.run.facts import RunSnapshot
from critictui.run.reader import RunReader
from critictui.run.training_config import TrainingConfig, find_training_config
from critictui.scoring.fixed_set import FixedSet
from critictui.scoring.jobs import Job, JobKind
from critictui.scoring.order import reading_options, tokenizer_of, usual_fixed_set
from critictui.scoring.read_set import read_fixed_set
from critictui.scoring.recipe import ScoringError, recipe_from
from critictui.scoring.recipe_choice import choose_recipe
from critictui.scoring.result import ScoreResult
from critictui.scoring.results import ResultsFolder
from critictui.scoring.statistics import Ties
from critictui.scoring.usual_scores import usual_scores

_NEIGHBOURS = 8
"""Other checkpoints of the run that a head is compared with, nearest steps first."""
_SAMPLE_NAMES = ("training_samples*.pt", "*samples*.pt", "critic_samples/*.pt")


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A checkpoint, the run it belongs to, and what is known of both without torch."""

    checkpoint: Checkpoint
    audit: Audit | None
    problem: str
    """Why there is no audit; empty when there is one."""
    run_dir: Path
    neighbours: tuple[Neighbour, ...]
    scores: tuple[ScoreResult, ...]
    """Every one of the run, trials of other sets and recipes too; judged are `own_scores`."""
    fixed_set: Path | None
    recipe: Mapping[str, object]
    recipe_reason: str = ""
    """Why this recipe, where nobody asked for it and it is not the usual one."""
    options: Mapping[str, object] = field(default_factory=dict)
    """How checkpoint and fixed set are read: `tokenizer`, `columns`."""
    config: Config = field(default_factory=Config)
    """Names the recipe that was asked for, if one was."""

    @property
    def own_scores(self) -> tuple[ScoreResult, ...]:
        """Those on the set that is looked at, by the run's own recipe: a trial of another says nothing of this one."""
        config = self.config
        if self.fixed_set is not None:
            config = replace(config, fixed_set=str(self.fixed_set.absolute()))
        return tuple(usual_scores(self.scores, self.run_dir, config))


def subject_of(target: Path, config: Config, fixed_set: Path | None = None, run_dir: Path | None = None) -> Subject:
    """Look at a checkpoint, whole or not, or at a run's newest complete one. Raises CheckpointError without one.

    run_dir: where scores and fixed set lie, when `target` is a checkpoint somewhere else.
    """
    checkpoint = _checkpoint(target)
    if run_dir is None:
        own = run_of(checkpoint.path)
        run_dir = target if target.is_dir() and own.absolute().is_relative_to(target.absolute()) else own
    scores = tuple(ResultsFolder(run_dir).poll())
    chosen = choose_recipe(config.recipe, checkpoint.path)
    try:
        found, problem = audit(checkpoint, tokenizer_of(run_dir, config)), ""
    except CheckpointError as error:
        found, problem = None, str(error)
    return Subject(
        checkpoint=checkpoint,
        audit=found,
        problem=problem,
        run_dir=run_dir,
        neighbours=_neighbours(checkpoint, run_dir),
        scores=scores,
        fixed_set=fixed_set or usual_fixed_set(run_dir, config, usual_scores(scores, run_dir, config)),
        recipe=chosen.recipe.to_dict(),
        recipe_reason=chosen.reason,
        options=reading_options(run_dir, config),
        config=config,
    )


def _checkpoint(target: Path) -> Checkpoint:
    """What `resolve_target` means by it, or else the very checkpoint that was pointed to, incomplete as it is."""
    try:
        return resolve_target(target)
    except VanishedError:
        raise
    except CheckpointError as refusal:
        try:
            return describe(target)
        except CheckpointError:
            raise refusal from None


def run_of(checkpoint: Path) -> Path:
    """The run directory that a checkpoint's directory lies in: above `global_step_N/critic` or `checkpoint-N`."""
    parent = checkpoint.parent
    return parent.parent if checkpoint.name in {"critic", "actor", "huggingface"} else parent


def _neighbours(checkpoint: Checkpoint, run_dir: Path) -> tuple[Neighbour, ...]:
    others = [c for c in find_checkpoints(run_dir) if c.path != checkpoint.path and c.state == "complete"]
    here = checkpoint.step if checkpoint.step is not None else 0
    others.sort(key=lambda c: abs((c.step if c.step is not None else 0) - here))
    found = []
    for other in others[:_NEIGHBOURS]:
        try:
            looked = audit(other)
        except CheckpointError:
            continue
        if looked.heads:  # a student lies in many a run
            found.append(Neighbour(other, looked))
    return tuple(found)


def find_samples(run_dir: Path) -> Path | None:
    """The newest file of saved responses in a run, by name."""
    found = [p for pattern in _SAMPLE_NAMES for p in run_dir.glob(pattern) if p.is_file()]
    return max(found, key=lambda p: (p.stat().st_mtime, p.name), default=None)


def job(kind: JobKind, subject: Subject, device: str, **options: object) -> Job:
    """A job for the worker on this subject."""
    return Job(
        kind=kind,
        checkpoint=str(subject.checkpoint.path),
        fixed_set=str(subject.fixed_set or ""),
        recipe=subject.recipe,
        device=device,
        options={**subject.options, **options},
    )


def read_run(run_dir: Path, config: Config) -> RunSnapshot:
    """All of a run, read once."""
    reader = RunReader(run_dir, config)
    try:
        return reader.read_all()
    finally:
        reader.close()


# --- diagnose


def can_measure(subject: Subject) -> bool:
    """Whether the worker may load it: whole, and exactly one head."""
    return subject.audit is not None and subject.audit.scorable and subject.checkpoint.state == "complete"


def diagnosis_of(subject: Subject, behaviour: Mapping[str, object] | None) -> Diagnosis:
    """Findings from the files alone (`behaviour` None) or with what the worker measured."""
    measured = behaviour_from(behaviour) if behaviour is not None else None
    run: list[RunSnapshot] = []

    def logged_up_to(step: int) -> Logged:
        run[:] = run or [read_run(subject.run_dir, subject.config)]
        return logged_curve(run[0], step)

    return diagnose(
        subject.checkpoint, subject.audit, measured, subject.neighbours, subject.own_scores,
        logged_up_to=logged_up_to, problem=subject.problem,
    )  # fmt: skip


# --- explain


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What a user asks beside the run directory."""

    claim: Claim | None = None
    script: ScriptReading | None = None
    samples: Path | None = None

    @property
    def limits(self) -> tuple[int, ...]:
        """Lengths that the script cuts at, for the simulation."""
        sampling = self.script.sampling if self.script is not None else {}
        return tuple(int(sampling[n]) for n in ("max_length", "max_tokens", "max_new_tokens") if n in sampling)


def explanation_of(
    run: RunSnapshot,
    subject: Subject | None,
    question: Question,
    simulated: Mapping[str, object] | None,
    replayed: Mapping[str, object] | None,
) -> Explanation:
    """Judge the case from everything at hand; what is None stays untested."""
    simulation = simulation_from(simulated) if simulated is not None else None
    replay = judge_replay(replayed) if replayed is not None else None
    return explain(case_of(run, subject, question, simulation, replay))


def case_of(
    run: RunSnapshot,
    subject: Subject | None,
    question: Question,
    simulation: Simulation | None,
    replay: Replay | None,
) -> Case:
    """The case; without a claim the checkpoint's own fixed-set score is the test."""
    score = _own_score(subject)
    ties: Ties = recipe_from(subject.recipe).ties if subject is not None else "report"
    claim = question.claim or _claim_from(own_score(score, simulation, ties), score)
    return Case(
        logged=logged_curve(run, subject.checkpoint.step if subject is not None else None),
        claim=claim,
        claimed=question.claim is not None,
        score=score,
        audit=subject.audit if subject is not None else None,
        fixed_set=_read_set(subject) if subject is not None else None,
        simulation=simulation,
        replay=replay,
        script=question.script,
        training=_training(run.path),
        ties=ties,
    )


def _own_score(subject: Subject | None) -> ScoreResult | None:
    if subject is None or subject.audit is None:
        return None
    fingerprint = subject.audit.fingerprint
    own = [s for s in subject.own_scores if s.checkpoint_fingerprint == fingerprint and s.pairs]
    return own[-1] if own else None


def _claim_from(own: OwnScore | None, score: ScoreResult | None) -> Claim | None:
    if own is None:
        return None
    where = str(score.path or "score") if score is not None else "scored for this explanation"
    return Claim(own.d_acc, own.margin, own.teacher, own.student, own.pairs, where)


def _read_set(subject: Subject) -> FixedSet | None:
    if subject.fixed_set is None:
        return None
    columns: Any = subject.options.get("columns")
    try:
        return read_fixed_set(subject.fixed_set, columns=columns)
    except ScoringError:
        return None


def _training(path: Path) -> TrainingConfig | None:
    return find_training_config(path if path.is_dir() else path.parent)


def need_subject(subject: Subject | None, target: Path) -> Subject:
    """Raise DiagnosisError where a run has no checkpoint to look at."""
    if subject is None:
        raise DiagnosisError(f"{target}: no complete checkpoint in it; pass a checkpoint's directory")
    return subject
