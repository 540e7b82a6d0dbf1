"""generalisation-gap and length-bias: what scores on the fixed set say against what training logs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from critictui.health.alert import SCORE_ONE, Alert, FixedScore, NotEnoughData, Severity
from critictui.health.settings import Settings
from critictui.health.statistics import wilson
from critictui.run.facts import RunSnapshot
from critictui.run.metrics import D_ACC


def scored(
    run: RunSnapshot, scores: Sequence[FixedScore], settings: Settings
) -> tuple[list[Alert], list[NotEnoughData]]:
    """Both rules over all scores, in the order of their steps, each fixed set and recipe by itself."""
    alerts: list[Alert] = []
    by_series: dict[str, list[FixedScore]] = {}
    for score in sorted(scores, key=lambda score: (score.step, score.series, score.d_acc)):
        by_series.setdefault(score.series, []).append(score)
    for members in by_series.values():
        alerts.extend(_over([_gap(run, score, settings) for score in members], members))
        alerts.extend(_over([_bias(run, score, settings) for score in members], members))
    waiting = [] if scores or run.metric(D_ACC) is None else [
        NotEnoughData("generalisation-gap", D_ACC, SCORE_ONE),
        NotEnoughData("length-bias", "", SCORE_ONE),
    ]  # fmt: skip
    return alerts, waiting


def _over(found: Sequence[Alert | None], scores: Sequence[FixedScore]) -> list[Alert]:
    """One alert an onset: it fires with the first bad score, takes the newest one's numbers, ends with a good one."""
    alerts: list[Alert] = []
    current: Alert | None = None
    for alert, score in zip(found, scores, strict=True):
        if alert is not None:
            current = alert if current is None else _joined(current, alert)
        elif current is not None:
            alerts.append(_with(current, state="resolved", resolved_step=score.step))
            current = None
    return [*alerts, current] if current is not None else alerts


def _joined(first: Alert, newer: Alert) -> Alert:
    severity: Severity = "critical" if "critical" in {first.severity, newer.severity} else newer.severity
    return _with(newer, since_step=first.since_step, fired_step=first.fired_step, severity=severity)


def _with(alert: Alert, **changes: object) -> Alert:
    from dataclasses import replace

    return replace(alert, **changes)  # type: ignore[arg-type]


def logged_accuracy(run: RunSnapshot, step: int, window: int) -> tuple[float, float, int] | None:
    """(mean, standard error, points) of the last logged accuracies up to a step; None without three."""
    series = run.metric(D_ACC)
    if series is None:
        return None
    values = [v for v in series.value[series.step <= step][-window:].tolist() if math.isfinite(v)]
    if len(values) < 3:
        return None
    n = len(values)
    centre = math.fsum(values) / n
    spread = math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (n - 1))
    return centre, spread / math.sqrt(n), n


def _gap(run: RunSnapshot, score: FixedScore, settings: Settings) -> Alert | None:
    rule = "generalisation-gap"
    if not settings.enabled(rule, D_ACC) or score.pairs <= 0 or not math.isfinite(score.d_acc):
        return None
    logged = logged_accuracy(run, score.step, settings.count(rule, "window", D_ACC))
    if logged is None:
        return None
    centre, error, n = logged
    # what is logged may be the hard or the soft accuracy: only what neither explains is a gap
    candidates = [value for value in (score.d_acc, score.d_acc_soft) if math.isfinite(value)]
    nearest = min(candidates, key=lambda value: abs(centre - value))
    half = max(score.high - score.low, wilson(nearest, score.pairs)[1] - wilson(nearest, score.pairs)[0]) / 2
    gap = centre - nearest
    sigmas = abs(gap) / math.hypot(half / 1.96, error)
    if sigmas < settings.number(rule, "sigma", D_ACC) or abs(gap) < half + settings.number(rule, "gap", D_ACC):
        return None
    at_chance = score.low <= 0.5 <= score.high or score.high < 0.5
    far = gap >= settings.number(rule, "critical_gap", D_ACC)
    epochs = [seam.step for seam in run.seams if seam.kind == "epoch" and seam.step <= score.step]
    seen = f" Prompts repeat since step {epochs[0]}: the logged number is not held out." if epochs else ""
    return Alert(
        rule=rule, severity="critical" if gap > 0 and (at_chance or far) else "warning", state="firing", metric=D_ACC,
        since_step=max([step for step in epochs if gap > 0], default=score.step),
        fired_step=score.step, resolved_step=None,
        step=score.step, value=score.d_acc, threshold=centre,
        message=f"train {centre:.3f} (mean of {n}), fixed set {_named(score)}{score.d_acc:.3f} "
        f"({score.low:.2f}-{score.high:.2f}) at step {score.step}.{seen}",
        advice="Press x, or run critictui explain RUN_DIR: it tests the causes (another score definition, other "
        "responses, another head, memorised prompts) and ranks them.",
        session=_session_at(run, score.step),
        evidence=(("logged", centre), ("fixed set", score.d_acc), ("soft", score.d_acc_soft), ("sigmas", sigmas),
                  ("pairs", float(score.pairs))),
        about=score.series,
    )  # fmt: skip


def _bias(run: RunSnapshot, score: FixedScore, settings: Settings) -> Alert | None:
    rule = "length-bias"
    limit = settings.number(rule, "threshold")
    r = score.length_bias
    if not settings.enabled(rule) or not math.isfinite(r) or score.pairs < 10:
        return None
    error = 1 / math.sqrt(max(1, 2 * score.pairs - 3))  # of a correlation near zero, two responses a pair
    if abs(r) < limit or abs(r) - 1.96 * error < 0.5 * limit:
        return None
    favours = "longer" if r > 0 else "shorter"
    return Alert(
        rule=rule, severity="critical" if abs(r) >= settings.number(rule, "critical") else "warning", state="firing",
        metric="", since_step=score.step, fired_step=score.step, resolved_step=None, step=score.step, value=r,
        threshold=math.copysign(limit, r),
        message=f"Scores {f'on {score.name} ' if score.name else ''}follow length (rank correlation {r:z.2f}) at step "
        f"{score.step}: the critic favours {favours} responses.",
        advice="Compare teacher and student lengths in the data; balance them, or score a set with lengths matched.",
        session=_session_at(run, score.step), evidence=(("correlation", r), ("error", error)),
        about=score.series,
    )  # fmt: skip


def _named(score: FixedScore) -> str:
    return f"{score.name}: " if score.name else ""


def _session_at(run: RunSnapshot, step: int) -> int:
    return max((s.number for s in run.sessions if s.first_step <= step), default=0)
