"""The doors to scoring, diagnosis and explanation: what the keys call, and what the app tells them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from critictui.tui.shell import bench_of

if TYPE_CHECKING:
    from critictui.checkpoint.checkpoint import Checkpoint
    from critictui.monitor.snapshot import Snapshot, WatchedRun
    from critictui.tui.shell import Shell


def score_newest(app: Shell) -> None:
    """Key e: what a score of the newest complete checkpoint would be; Enter there starts it."""
    _with_newest(app, "to score", lambda checkpoint: score(app, checkpoint))


def score(app: Shell, checkpoint: Checkpoint) -> None:
    """The same for this checkpoint."""
    from critictui.tui.screens.score_dialog import ScoreDialog

    main = _main(app)
    if main is not None and not isinstance(app.screen, ScoreDialog):
        app.push_screen(ScoreDialog(checkpoint, main))


def scores(app: Shell, checkpoint: Checkpoint | None = None) -> None:
    """Key E: every score of the run, compared; with a checkpoint, the cursor on its newest one."""
    from critictui.tui.screens.scores import ScoresScreen

    if _main(app) is not None and not isinstance(app.screen, ScoresScreen):
        app.push_screen(ScoresScreen(checkpoint.path if checkpoint is not None else None))


def diagnose(app: Shell) -> None:
    """Key d: is the newest checkpoint sound?"""
    _with_newest(app, "to diagnose", lambda checkpoint: diagnose_checkpoint(app, checkpoint))


def diagnose_checkpoint(app: Shell, checkpoint: Checkpoint) -> None:
    """The same for this checkpoint, whatever its state."""
    from critictui.tui.screens.diagnosis import DiagnosisScreen

    main = _main(app)
    if main is not None and not isinstance(app.screen, DiagnosisScreen):
        app.push_screen(DiagnosisScreen(checkpoint, main))


def explain(app: Shell) -> None:
    """Key x: why do training and test disagree, judged at the newest complete checkpoint."""
    main = _main(app)
    if main is not None:
        from critictui.tui.evaluation.plan import newest_complete

        explain_checkpoint(app, newest_complete(main))


def explain_checkpoint(app: Shell, checkpoint: Checkpoint | None) -> None:
    """The same at this checkpoint; without one, from the run's curves alone."""
    from critictui.tui.screens.explanation import ExplanationScreen

    main = _main(app)
    if main is not None and not isinstance(app.screen, ExplanationScreen):
        app.push_screen(ExplanationScreen(checkpoint, main))


async def snapshot_taken(app: Shell, snapshot: Snapshot) -> None:
    """The app has a new snapshot: with `auto_score`, new checkpoints are scored by themselves."""
    if not app.config.auto_score:
        return
    from critictui.tui.evaluation.auto import AutoScore

    app.auto = app.auto or AutoScore(app, bench_of(app))
    await app.auto.look(snapshot)


def _main(app: Shell) -> WatchedRun | None:
    main = app.snapshot.main if app.snapshot is not None else None
    if main is None:
        app.say("there is no run to look at yet")
    return main


def _with_newest(app: Shell, what: str, do: Callable[[Checkpoint], None]) -> None:
    from critictui.tui.evaluation.plan import newest_complete

    main = _main(app)
    if main is None:
        return
    checkpoint = newest_complete(main)
    if checkpoint is not None:
        do(checkpoint)
    elif main.checkpoints:
        first = main.checkpoints[0]
        step = f"step {first.step}" if first.step is not None else first.path.name
        app.say(f"no complete checkpoint {what}; {step} is {first.state}: {first.reason or first.state}", "warning")
    else:
        from critictui.tui.widgets.checkpoints import none_yet

        app.say(f"no checkpoint {what}: {none_yet(main)}", "warning")
