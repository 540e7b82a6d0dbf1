"""Which function does which kind of job: `module:function`, imported only in the worker that is asked for it.

Each takes the job and a function for its progress, and returns how it finished.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from critictui.scoring.jobs import Finished, Job, Progress

Tell = Callable[[Progress], None]
Work = Callable[[Job, Tell], Finished]

JOBS: dict[str, str] = {
    "score": "critictui.worker.score_job:run",
    "prepare": "critictui.worker.prepare_job:run",
    "diagnose": "critictui.worker.inquiry_jobs:diagnose",
    "replay": "critictui.worker.inquiry_jobs:replay",
    "simulate": "critictui.worker.inquiry_jobs:simulate",
}


def work_for(kind: str) -> Work:
    """The function for a kind of job; KeyError where there is none."""
    module, _, name = JOBS[kind].partition(":")
    function: Work = getattr(import_module(module), name)
    return function
