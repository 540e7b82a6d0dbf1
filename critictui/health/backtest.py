"""Past runs and thresholds go in; when each rule would have fired comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from critictui.config import Config, Threshold, threshold_problem
from critictui.errors import InputError
from critictui.health.judge import judge_all
from critictui.health.settings import LIMITS, RULES
from critictui.run.facts import RunSnapshot
from critictui.run.read_once import refuse_empty
from critictui.run.reader import RunReader
from critictui.run.text import sanitise_line

SCHEMA = 1


class HealthError(InputError):
    """A rule or a threshold that does not exist; the message names those that do."""


def backtest(
    runs: Sequence[Path], config: Config, rule: str | None = None, settings: Mapping[str, str] | None = None
) -> dict[str, object]:
    """`backtest --json`: every alert of every run, oldest first, as the rules with these settings would have raised it.

    `settings` are KEY=VALUE pairs: `threshold` (of `rule`), `decline.drop`, or `decline:val/acc.drop` for one metric.
    Fixed-set scores are not read: the rules that need them are silent. Raises HealthError for an unknown rule or key,
    and RunError for a run that cannot be read.
    """
    if rule is not None and rule not in LIMITS:
        raise HealthError(f"--rule {rule}: no such rule; there are {', '.join(RULES)}")
    tuned = with_settings(config, rule, settings or {})
    return {"schema": SCHEMA, "runs": [_one(path, tuned, rule) for path in runs]}


def with_settings(config: Config, rule: str | None, settings: Mapping[str, str]) -> Config:
    """The configuration with these thresholds laid over its own. Raises HealthError as `backtest` does."""
    thresholds = {table: dict(values) for table, values in config.thresholds.items()}
    for name, text in settings.items():
        table, dot, key = name.rpartition(".")
        if not dot:
            if rule is None:
                raise HealthError(f"--set {name}: of which rule? write --set RULE.{name}=..., or add --rule")
            table = rule
        known = LIMITS.get(table.partition(":")[0])
        if known is None:
            raise HealthError(f"--set {name}: no rule {table}; there are {', '.join(RULES)}")
        if key not in known and key != "enabled":
            raise HealthError(f"--set {name}: {table} has no {key}; it has {', '.join(known)}")
        value = _number(name, text) if key != "enabled" else {"true": True, "false": False}.get(text.lower(), text)
        problem = threshold_problem(known, key, value, of_metric=":" in table)
        if problem:
            raise HealthError(f"--set {name}={text}: {problem.partition(',')[0]}")
        thresholds.setdefault(table, {})[key] = value
    return replace(config, thresholds=thresholds)


def pairs_of(texts: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping. Raises HealthError for one without `=`."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise HealthError(f"--set {text}: write KEY=VALUE, as in --set decline.drop=0.06")
        pairs[key.strip()] = value.strip()
    return pairs


def _number(name: str, text: str) -> Threshold:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise HealthError(f"--set {name}={text}: not a number")
    return value


def _one(path: Path, config: Config, rule: str | None) -> dict[str, object]:
    run = RunReader(path, config).read_all()
    refuse_empty(path, run)
    alerts = [alert for alert in judge_all(run, config).alerts if alert.state != "pending"]
    chosen = [alert for alert in alerts if rule is None or alert.rule == rule]
    chosen.sort(key=lambda a: (a.session, a.fired_step if a.fired_step is not None else 0, a.rule, a.metric))
    shown = [alert.to_json() for alert in chosen]
    return {"run": str(path), "steps": steps_of(run), "alerts": shown, "notices": list(run.notices)}


def steps_of(run: RunSnapshot) -> int:
    """How many steps of the run have been logged."""
    return len({step for series in run.series.values() for step in series.step.tolist()})


def as_text(result: Mapping[str, object]) -> str:
    """A table a run: when it fired, since when, how it ended, and what it said."""
    lines = []
    runs = result["runs"]
    assert isinstance(runs, list)
    for run in runs:
        count = len(run["alerts"])
        lines.append(f"{run['run']}: {run['steps']} steps, {count or 'no'} alert{'' if count == 1 else 's'}")
        for alert in run["alerts"]:
            ended = "still firing" if alert["resolved_step"] is None else f"resolved at {alert['resolved_step']}"
            lines.append(
                f"  step {alert['fired_step']:>6}  {alert['severity']:<8}  {alert['rule']:<18}  "
                f"since {alert['since_step']}, {ended}"
            )
            lines.append(f"    {alert['message']}")
        lines += [f"  note: {sanitise_line(notice, 600)}" for notice in run["notices"]]
    return "\n".join(lines)
