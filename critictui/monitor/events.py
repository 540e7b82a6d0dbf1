"""What happened between two snapshots, one sentence each: what a daemon prints and a person would want to hear."""

from __future__ import annotations

from critictui.monitor.news import said_of
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.scoring.usual_scores import set_and_recipe


def events_between(before: Snapshot | None, after: Snapshot) -> list[str]:
    """Changes of state, alerts fired and resolved, new checkpoints and scores, new notices; oldest news first."""
    events: list[str] = []
    old_notices = set(before.notices) if before is not None else set()
    events += [f"note: {notice}" for notice in after.notices if notice not in old_notices]
    old_runs = {w.run.path: w for w in before.watched} if before is not None else {}
    for watched in after.watched:
        events += [f"{watched.run.name}: {event}" for event in _of_run(old_runs.get(watched.run.path), watched)]
    return events


def _of_run(before: WatchedRun | None, after: WatchedRun) -> list[str]:
    events: list[str] = []
    run = after.run
    step = f"step {run.step}" if run.step is not None else "no step yet"
    if before is None or before.run.state != run.state:
        events.append(f"{run.state}, {step}")
    new_sessions = len(run.sessions) - (len(before.run.sessions) if before is not None else len(run.sessions))
    if new_sessions > 0 and before is not None and before.run.sessions and run.sessions:
        events.append(f"restarted, session {run.sessions[-1].number} begins at step {run.sessions[-1].first_step}")
    known = {(a.key, a.state) for a in before.judgement.alerts} if before is not None else set()
    for alert in reversed(after.judgement.alerts):
        if alert.state == "pending" or (alert.key, alert.state) in known:
            continue
        if alert.state == "resolved" and before is None:
            continue  # history of a run that was there before us
        at = alert.fired_step if alert.state == "firing" else alert.resolved_step
        step_of_it = f" at step {at}" if at is not None else ""
        events.append(f"{alert.severity} {alert.rule} {alert.state}{step_of_it}: {said_of(alert)}")
    if before is not None and before.judgement.verdict != after.judgement.verdict:
        events.append(f"verdict {after.judgement.verdict}, {step}")
    states = {c.path: c.state for c in before.checkpoints} if before is not None else {}
    for checkpoint in reversed(after.checkpoints):
        if states.get(checkpoint.path) != checkpoint.state and (before is not None or checkpoint.state == "complete"):
            reason = f" ({checkpoint.reason})" if checkpoint.reason else ""
            where = f"step {checkpoint.step}" if checkpoint.step is not None else checkpoint.path.name
            events.append(f"checkpoint {where} {checkpoint.state}{reason}")
    scored = {s.path for s in before.scores} if before is not None else set()
    own = {id(score) for score in after.own_scores}
    for score in after.scores:
        if score.path not in scored:
            low, high = score.interval
            which = "" if id(score) in own else f", of another set or recipe ({set_and_recipe(score)})"
            events.append(
                f"score of step {score.step}{which}: d_acc {score.d_acc:.3f} ({low:.3f}-{high:.3f}), "
                f"margin {score.score_diff:.3f}, {score.counted} pairs"
            )
    return events
