"""stalled: nothing changes for much longer than a step takes, or steps take twice as long as they did."""

from __future__ import annotations

from critictui.health.alert import Alert, NotEnoughData
from critictui.health.context import STEP_TIME, Context
from critictui.health.latches import Latches
from critictui.health.lifecycle import Sighting
from critictui.health.settings import Settings
from critictui.health.words import of_last, since
from critictui.run.facts import RunSnapshot


class SlowSteps:
    """The time of a step doubled, lastingly."""

    id = "stalled"

    def __init__(self) -> None:
        self.latches = Latches(self.id)

    def step(self, context: Context) -> None:
        """Judge one row."""
        level = context.level(STEP_TIME)
        if level is None or level.baseline is None:
            return
        limit = context.settings.number(self.id, "slow_factor", STEP_TIME)
        now, usual = level.short, level.usual
        least = context.settings.number(self.id, "slow_seconds", STEP_TIME)
        if level.rose and now > limit * usual and now - usual > least:
            began = since(level.above, context)
            self.latches.bad(
                context, STEP_TIME, "warning",
                lambda: Sighting(
                    now, limit * usual, began, f"A step takes {now:.0f} s ({of_last(level.points(10))}), "
                    f"{now / usual:.1f} times as long as before step {{since}}.",
                    "Look at response length, at other jobs on the node, and at the file system.",
                    (("usual", usual), ("factor", now / usual)),
                ),
            )  # fmt: skip
        elif self.latches.good(context, STEP_TIME, recovered=now < 0.8 * limit * usual):
            level.settle()

    def waiting(self, context: Context) -> list[NotEnoughData]:
        """Nothing that is worth telling."""
        return []


def silence(run: RunSnapshot, settings: Settings, now: float | None) -> list[Alert]:
    """An alert if nothing in the run directory changed for long, by what we see change and not by event time.

    None for a run that was old when we first looked: that it is silent is no news. The only judgement that depends on
    the clock.
    """
    rule = "stalled"
    if now is None or run.last_change is None or run.old or not settings.enabled(rule):
        return []
    if run.state in {"finished", "empty"}:
        return []
    least = settings.number(rule, "min_seconds")
    limit = max(least, settings.number(rule, "factor") * run.pace) if run.pace is not None else least * 3
    quiet = now - run.last_change
    if quiet <= limit:
        return []
    step = run.step if run.step is not None else 0
    pace = f"a step took {_step_time(run.pace)}" if run.pace is not None else "its pace is not known"
    session = run.sessions[-1].number if run.sessions else 0
    return [
        Alert(
            rule=rule, severity="warning", state="firing", metric="", since_step=step, fired_step=step,
            resolved_step=None,
            step=step, value=quiet, threshold=limit, message=f"Nothing was written for {_span(quiet)}; {pace}.",
            advice=f"Its log ends in an error: {run.error}" if run.error else
            "Is the job alive? Look at its process, at the scheduler, at the last lines of the log.",
            session=session, evidence=(("seconds", quiet), ("pace", run.pace or 0.0)),
        )
    ]  # fmt: skip


def _step_time(seconds: float) -> str:
    return f"{seconds * 1000:.2g} ms" if seconds < 0.1 else f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def _span(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172800 else f"{seconds / 86400:.1f} days"
