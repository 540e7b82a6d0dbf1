"""`critictui check`: a run directory is read once, judged once, and said in words or as one JSON object."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from critictui.checkpoint.find import find_checkpoints
from critictui.config import Config
from critictui.health.alert import SCORE_ONE, SEVERITIES, Alert, Judgement, plain_number
from critictui.monitor.fixed_scores import fixed_scores
from critictui.monitor.way_back import advises_it, with_way_back
from critictui.run.facts import RunSnapshot, directory_of
from critictui.run.read_once import read_once
from critictui.run.text import json_text, sanitise_line
from critictui.scoring.result import ScoreResult
from critictui.scoring.results import ResultsFolder
from critictui.scoring.usual_scores import usual_scores

SCHEMA = 1
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A run that was read once, its scores, and what the rules say of both."""

    run: RunSnapshot
    scores: tuple[ScoreResult, ...]
    """All of them, those that are not judged included."""
    judgement: Judgement


def judge_once(target: Path, config: Config) -> Judged:
    """Read and judge the run at `target`. Raises RunError as `check` does."""
    from critictui.health.judge import Judge

    run = read_once(target, config)
    run_dir = directory_of(run)
    scores = tuple(ResultsFolder(run_dir).poll())
    judged = fixed_scores(usual_scores(scores, run_dir, config))
    judgement = Judge(config).update(run, judged, time.time())
    if advises_it(judgement.alerts):
        alerts = with_way_back(judgement.alerts, find_checkpoints(run_dir))
        judgement = replace(judgement, alerts=alerts)
    return Judged(run, scores, judgement)


def check(target: Path, config: Config) -> dict[str, object]:
    """The contract's object for the run at `target`: a run directory, one file, or a parent of one run.

    Raises RunError that names the runs when there are several, or when the path cannot be read.
    """
    judged = judge_once(target, config)
    run, judgement = judged.run, judged.judgement
    return {
        "schema": SCHEMA,
        "run": json_text(run.path),
        "state": run.state,
        "step": run.step,
        "updated": _stamp(run.last_change),
        "verdict": judgement.verdict,
        "metrics": _metrics(run),
        "alerts": [alert_json(alert) for alert in judgement.alerts],
        "skipped": [
            {"file": json_text(s.file), "offset": s.offset, "bytes": s.bytes, "records": s.records, "reason": s.reason}
            for s in run.skipped
        ],
        "known_as": {name: json_text(run.metrics[name]) for name in _KEY_METRICS if name in run.metrics},
        "error": json_text(run.error) or None,
        "waiting": [{"rule": w.rule, "metric": w.metric, "needs": w.needs} for w in judgement.waiting],
        "notices": [json_text(notice) for notice in (*_nothing(run), *run.notices)],
    }


def _nothing(run: RunSnapshot) -> tuple[str, ...]:
    """What was looked for, where nothing was found."""
    if run.sources and run.error:
        return () if run.series else ("no metric is in what was found: the run died before its first step",)
    if run.sources:
        return () if run.series else ("no metric is in what was found yet: training may be about to begin",)
    checkpoints = find_checkpoints(run.path) if run.path.is_dir() else []
    if checkpoints:
        names = ", ".join(str(c.path.relative_to(run.path)) for c in checkpoints[:_MOST_NAMED])
        many = f"{_count(len(checkpoints), 'checkpoint')} ({names}{' ...' if len(checkpoints) > _MOST_NAMED else ''})"
        missing = f"no event files or logs found below {run.path}"
        return (f"{many}, {missing}: give their directory, or a parent of both, to have curves judged",)
    if run.path.is_file():
        return ("the file is empty: training may be about to begin",)
    looked_for = "event files (*tfevents*), logs (*.log, *.txt, *.out, *.err), *.jsonl and trainer_state.json"
    return (f"nothing to read yet; looked for {looked_for}: training may be about to begin, or this is another path",)


def _stamp(seconds: float | None) -> str | None:
    if seconds is None or not math.isfinite(seconds) or seconds <= 0:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _metrics(run: RunSnapshot) -> dict[str, object]:
    found: dict[str, object] = {}
    for tag, series in sorted(run.series.items()):
        last = series.last()
        if last is not None:
            found[json_text(tag)] = {"step": last[0], "value": plain_number(last[1])}
    return found


def alert_json(alert: Alert) -> dict[str, object]:
    """An alert with the fields of the contract."""
    return {**alert.to_json(), "metric": json_text(alert.metric)}


def reached(report: Mapping[str, object], level: str) -> bool:
    """Whether an alert that fires is at least as severe as `level`."""
    alerts = cast("list[dict[str, object]]", report["alerts"])
    least = SEVERITIES.index(level)
    firing = [str(alert["severity"]) for alert in alerts if alert["state"] == "firing"]
    return any(SEVERITIES.index(severity) >= least for severity in firing)


_KEY_METRICS = ("critic/d_acc", "critic/score_diff", "critic/teacher_score_mean", "critic/student_score_mean")


def render_check(report: Mapping[str, object]) -> str:
    """The report in plain words, worst first, for a person at a terminal. Foreign text in it is made safe."""
    step = f"step {report['step']}" if report["step"] is not None else "no step yet"
    lines = [f"{_safe(report['run'])}: {report['verdict']} ({report['state']}, {step})"]
    metrics = cast("dict[str, dict[str, object]]", report["metrics"])
    if not metrics:
        lines.append("  no scalars were found")
    else:
        tags = cast("dict[str, str]", report["known_as"])
        known = [
            f"{name.removeprefix('critic/')} {_short(metrics[tag]['value'])}"
            for name, tag in tags.items()
            if tag in metrics
        ]
        count = _count(len(metrics), "metric")
        lines.append(f"  {count}" + (f"; last values: {', '.join(known)}" if known else ""))
    if report.get("error"):
        lines.append(f"  !! an error, and no step after it: {_safe(report['error'])}")
    for alert in cast("list[dict[str, object]]", report["alerts"]):
        until = f" at {alert['resolved_step']}" if alert["state"] == "resolved" else ""
        mark = {"critical": "!!", "warning": "! ", "info": "  "}[str(alert["severity"])]
        lines.append(
            f"  {mark} {alert['severity']} {alert['rule']} ({alert['state']}{until}): {_safe(alert['message'])}"
        )
        if alert["state"] != "resolved" and alert["advice"]:
            lines.append(f"       -> {_safe(alert['advice'])}")
    for waiting in cast("list[dict[str, object]]", report.get("waiting", [])):
        subject = " ".join(part for part in (str(waiting["rule"]), _safe(waiting["metric"])) if part)
        needs = f"{SCORE_ONE} (critictui score)" if waiting["needs"] == SCORE_ONE else _safe(waiting["needs"])
        lines.append(f"  not judged yet: {subject + ': ' if subject else ''}{needs}")
    skipped = cast("list[dict[str, object]]", report["skipped"])
    for s in skipped[:20]:
        counts = (_count(cast("int", s[f"{noun}s"]), noun) for noun in ("record", "byte") if s[f"{noun}s"])
        said = ": ".join(part for part in (", ".join(counts), _safe(s["reason"])) if part)
        lines.append(f"  skipped: {_safe(s['file'])} at byte {s['offset']}: {said}")
    if len(skipped) > 20:
        lines.append(f"  skipped: {len(skipped) - 20} more, see --json")
    lines += [f"  note: {_safe(notice)}" for notice in cast("list[object]", report.get("notices", []))]
    return "\n".join(lines)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _short(value: object) -> str:
    """A number with four significant digits, as a person reads it; the JSON has it whole."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _safe(text: object) -> str:
    return sanitise_line(str(text), 600)
