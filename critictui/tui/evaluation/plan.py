"""What a score would be before it starts: which checkpoint, set, recipe and device, and whether the device has room."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from critictui.checkpoint.audit import audit
from critictui.checkpoint.checkpoint import Audit, Checkpoint, CheckpointError
from critictui.config import Config
from critictui.monitor.snapshot import WatchedRun
from critictui.run.facts import directory_of
from critictui.scoring import memory
from critictui.scoring.cluster import Cluster
from critictui.scoring.elsewhere import cluster_of
from critictui.scoring.host_memory import HostReading, read_host
from critictui.scoring.order import (
    BYTES_PER_TOKEN,
    ELSEWHERE,
    SET_NAMES,
    Order,
    order_score,
    tokenizer_of,
    usual_fixed_set,
)
from critictui.scoring.read_set import look_at_set
from critictui.scoring.recipe import Recipe, ScoringError, preset_name, recipe_from
from critictui.scoring.recipe_choice import choose_recipe
from critictui.scoring.result import ScoreResult


@dataclass(frozen=True, slots=True)
class Choice:
    """One device to choose, and where the job would go."""

    device: str
    """auto, cpu, cuda:0 ..., or a launcher: slurm, ray."""
    label: str
    placement: memory.Placement

    @property
    def ok(self) -> bool:
        """Whether a job may start there."""
        return bool(self.placement.device)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Everything that is known of a score before the worker starts."""

    checkpoint: Checkpoint
    run_dir: Path
    fixed_set: Path | None
    recipe: Recipe
    recipe_reason: str
    """Why this recipe, where nobody asked for it and it is not the usual one."""
    audit: Audit | None
    problem: str
    """Why it cannot start, with the remedy; empty when it can."""
    need: memory.Need
    gpus: tuple[memory.GpuReading, ...]
    cpu_seconds: float | None
    """A rough time of computing on the CPU; None where it cannot be told."""
    start_seconds: float
    """A rough time until computing begins: start of the worker, load of the weights."""
    cores: int
    host: HostReading | None
    """The machine's memory, where the kernel tells it."""
    scored: ScoreResult | None
    """The score that would be made again."""
    cluster: Cluster | None = None
    """What makes it on a node, where the configuration names a launcher."""

    @property
    def step_words(self) -> str:
        """`step 310`, or the directory's name."""
        return step_words(self.checkpoint)

    def usual_device(self, config: Config) -> str:
        """What the configuration would choose."""
        return config.device if self.cluster is None else config.launch

    def choices(self, *, share: bool) -> tuple[Choice, ...]:
        """Devices to choose from, the automatic one first; a node of the cluster before all."""
        found = []
        if self.cluster is not None:
            name = self.cluster.name
            asked = "with a GPU" if self.cluster.gpus else "without a GPU"
            said = f"one job of {name}'s, {asked}; its result appears here when the node has written it"
            found.append(Choice(name.lower(), f"{name}, on a node", memory.Placement(ELSEWHERE, said)))
        found.append(Choice("auto", "automatic", self._placed("auto", share=share)))
        for gpu in self.gpus:
            device = f"cuda:{gpu.index}"
            label = f"GPU {gpu.index} {gpu.name}"
            found.append(Choice(device, label, self._placed(device, share=share)))
        found.append(Choice("cpu", f"CPU, {self.cores} cores", self._placed("cpu")))
        return tuple(found)

    def choice(self, device: str, *, share: bool = False) -> Choice:
        """The choice of this device; the first one where it is none of them."""
        choices = self.choices(share=share)
        return next((choice for choice in choices if choice.device == device), choices[0])

    def _placed(self, device: str, *, share: bool = False) -> memory.Placement:
        return memory.place(device, self.gpus, self.need, share=share, host=self.host)


def step_words(checkpoint: Checkpoint) -> str:
    """`step 310`, or the directory's name."""
    return f"step {checkpoint.step}" if checkpoint.step is not None else checkpoint.path.name


def run_dir_of(main: WatchedRun) -> Path:
    """The directory that a watched run's results go to."""
    return directory_of(main.run)


def newest_complete(main: WatchedRun) -> Checkpoint | None:
    """The complete checkpoint of the highest step."""
    return next((c for c in main.checkpoints if c.state == "complete"), None)


def no_set_words(run_dir: Path) -> str:
    """What to run where there is no fixed set."""
    return (
        "there is no fixed set to score on. Make one, once: critictui prepare --data TRAIN.parquet "
        f"--student STUDENT_DIR -o {run_dir / SET_NAMES[0]}"
    )


def make_plan(
    checkpoint: Checkpoint,
    run_dir: Path,
    config: Config,
    scores: Sequence[ScoreResult],
    peaks: Mapping[int, int] = MappingProxyType({}),
) -> Plan:
    """Look at everything that can be looked at without torch; blocks for as long as the disk does. Never raises.

    peaks: the highest use of GPUs in bytes, where it is known: one that training uses is refused without it.
    """
    facts: Audit | None = None
    problems: list[str] = []
    try:
        facts = audit(checkpoint, tokenizer_of(run_dir, config))
        if not facts.scorable:
            problems.append(facts.problems[0][1] if facts.problems else f"{checkpoint.path}: no value head")
    except CheckpointError as error:
        problems.append(str(error))
    if checkpoint.state != "complete":
        problems.insert(0, f"{step_words(checkpoint)} gets no score: {checkpoint.reason or checkpoint.state}")
    recipe, reason = Recipe(), ""
    try:
        chosen = choose_recipe(config.recipe, checkpoint.path)
        recipe, reason = chosen.recipe, chosen.reason
    except ScoringError as error:
        problems.append(str(error))
    cluster: Cluster | None = None
    try:
        cluster = cluster_of(config)
    except ScoringError as error:
        problems.append(str(error))
    fixed_set = usual_fixed_set(run_dir, config, scores)
    digest, size = "", 0
    if fixed_set is None:
        problems.append(no_set_words(run_dir))
    else:
        try:
            digest = look_at_set(fixed_set, config.columns)
            size = fixed_set.stat().st_size
        except (ScoringError, OSError) as error:
            problems.append(str(error))
    if importlib.util.find_spec("torch") is None:
        problems.append("scoring needs torch: pip install 'critictui[score]'")
    parameters = facts.parameters if facts is not None else 0
    return Plan(
        checkpoint=checkpoint,
        run_dir=run_dir,
        fixed_set=fixed_set,
        recipe=recipe,
        recipe_reason=reason,
        audit=facts,
        problem=problems[0] if problems else "",
        need=memory.need_of(parameters, recipe.dtype),
        gpus=tuple(replace(gpu, peak=peaks.get(gpu.index)) for gpu in memory.read_gpus()),
        cpu_seconds=memory.cpu_seconds(parameters, int(size / BYTES_PER_TOKEN)) if parameters and size else None,
        start_seconds=memory.start_seconds(checkpoint.size),
        cores=len(os.sched_getaffinity(0)),
        host=read_host(),
        scored=_scored(scores, facts, digest, recipe),
        cluster=cluster,
    )


def _scored(scores: Sequence[ScoreResult], facts: Audit | None, digest: str, recipe: Recipe) -> ScoreResult | None:
    if facts is None:
        return None
    for score in scores:
        same = score.checkpoint_fingerprint == facts.fingerprint and score.fixed_set.sha256 == digest
        if same and recipe_from(score.recipe).id == recipe.id:
            return score
    return None


def settled(plan: Plan, device: str, *, share: bool) -> tuple[str, bool]:
    """Where the plan puts a job for `device`, and whether it may share that GPU.

    The worker does not know the highest use that was seen here, and would refuse a GPU in use: where the plan found
    room above that use, it is told to go there.
    """
    chosen = plan.choice(device, share=share)
    where = chosen.placement.device or device
    gpu = next((g for g in plan.gpus if f"cuda:{g.index}" == where), None)
    return where, share or (chosen.ok and gpu is not None and gpu.peak is not None)


def order_for(plan: Plan, config: Config, device: str, *, share: bool) -> Order:
    """The checked order; raises InputError where something changed since the plan was made."""
    where, shared = settled(plan, device, share=share)
    return order_score(
        plan.checkpoint.path,
        config if where == ELSEWHERE else replace(config, device=where),
        plan.fixed_set,
        run_dir=plan.run_dir,
        share_gpu=shared,
        elsewhere=where == ELSEWHERE,
    )


def recipe_words(recipe: Recipe) -> str:
    """`gad-fork: mean over the response's tokens, EOS left out`."""
    over = {"mean": "mean over the response's tokens", "sum": "sum over the response's tokens", "last": "last token"}
    ends = {"exclude": "EOS left out", "include": "EOS counted", "turn": "of the whole turn"}
    said = [over[recipe.pooling], ends[recipe.eos]]
    if recipe.alignment == "previous":
        said.append("values one token before")
    if recipe.tokens == "template":
        said.append("tokens from the whole template")
    elif recipe.tokens == "text":
        said.append("tokens from the plain text")
    if recipe.max_prompt_tokens or recipe.max_response_tokens:
        said.append(f"cut at {recipe.max_prompt_tokens or '-'} + {recipe.max_response_tokens or '-'} tokens")
    if recipe.dtype != "auto":
        said.append(recipe.dtype)
    name = preset_name(recipe) or "own recipe"
    return f"{name}: {', '.join(said)}"
