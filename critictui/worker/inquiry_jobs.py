"""The jobs behind `diagnose`, `replay` and `explain`: load a critic, measure, hand the numbers back as JSON."""

from __future__ import annotations

from pathlib import Path

from critictui.scoring.jobs import Finished, Job, Progress
from critictui.scoring.recipe import ScoringError, recipe_from
from critictui.worker.jobs_table import Tell


def diagnose(job: Job, tell: Tell) -> Finished:
    """Measure a critic's behaviour on a fixed set (`Behaviour` as JSON)."""
    from critictui.worker.diagnose import measure
    from critictui.worker.score_job import load_for, read_set_for

    fixed_set = read_set_for(job)
    recipe = recipe_from(job.recipe)
    critic = load_for(job, tell)
    result = measure(
        critic,
        fixed_set,
        recipe,
        second_load=lambda: load_for(job, tell, seed=1),
        progress=lambda phase, done, total: tell(Progress(phase, done, total)),
    )
    critic.verify()
    return Finished(result)


def simulate(job: Job, tell: Tell) -> Finished:
    """Score a fixed set in the right way and in every mistaken one."""
    from critictui.worker.score_job import load_for, read_set_for
    from critictui.worker.simulate import SEEDS, simulate

    fixed_set = read_set_for(job)
    recipe = recipe_from(job.recipe)
    seeds, limits = job.options.get("seeds"), job.options.get("limits")
    critic = load_for(job, tell)
    result = simulate(
        critic,
        fixed_set,
        recipe,
        seeds=seeds if isinstance(seeds, int) else SEEDS,
        limits=[n for n in limits if isinstance(n, int) and n > 0] if isinstance(limits, list) else (),
        progress=lambda phase, done, total: tell(Progress(phase, done, total)),
    )
    critic.verify()
    return Finished(result)


def replay(job: Job, tell: Tell) -> Finished:
    """Score saved responses again under every recipe; options: `samples`, the file's path."""
    from critictui.worker.replay import replay
    from critictui.worker.samples import read_samples
    from critictui.worker.score_job import load_for

    path = job.options.get("samples")
    if not isinstance(path, str) or not path:
        raise ScoringError("replay: no file of saved responses was given; pass --samples FILE")
    samples = read_samples(Path(path))
    recipe = recipe_from(job.recipe)
    critic = load_for(job, tell)
    result = replay(critic, samples, recipe, progress=lambda phase, done, total: tell(Progress(phase, done, total)))
    critic.verify()
    return Finished(result)
