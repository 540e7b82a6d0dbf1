"""step-regression: the step counter went back further than a resume explains."""

from __future__ import annotations

from itertools import pairwise

from critictui.health.alert import Alert
from critictui.health.settings import Settings
from critictui.health.statistics import median
from critictui.run.facts import RunSnapshot


def regressions(run: RunSnapshot, settings: Settings) -> list[Alert]:
    """Resolved alerts for every session that began far behind the one before; for the current one it still fires.

    A resume from the last checkpoint repeats some steps and is no alarm; one that starts over, or that repeats more
    than `overlap` steps, has lost work or writes two runs into one directory.
    """
    rule = "step-regression"
    if len(run.sessions) < 2 or not settings.enabled(rule):
        return []
    overlap = settings.count(rule, "overlap") * _spacing(run)
    alerts = []
    reached = None
    for session in run.sessions:
        back = 0 if reached is None else reached - session.first_step + 1
        if back > overlap or (reached is not None and session.first_step <= 1 and back > 20):
            current = session is run.sessions[-1]
            caught_up = session.last_step >= (reached or 0)
            alerts.append(
                Alert(
                    rule=rule, severity="warning", state="resolved" if caught_up or not current else "firing",
                    metric="",
                    since_step=session.first_step, fired_step=session.first_step,
                    resolved_step=(reached if caught_up else session.last_step) if caught_up or not current else None,
                    step=session.last_step, value=float(back), threshold=float(overlap),
                    message=f"The steps went back from {reached} to {session.first_step}.",
                    advice="Did the resume find its checkpoint? Give another run a directory of its own.",
                    session=session.number, evidence=(("steps back", float(back)),),
                )
            )  # fmt: skip
        reached = session.last_step
    return alerts


def _spacing(run: RunSnapshot) -> float:
    """Steps between two logged points, so that a counter of environment frames is judged like one of updates."""
    longest = max(run.series.values(), key=lambda series: (len(series), series.tag), default=None)
    if longest is None or len(longest) < 2:
        return 1.0
    steps = longest.step[-50:].tolist()
    return max(1.0, median([float(b - a) for a, b in pairwise(steps)]))
