"""The judge: snapshots of a run and fixed-set scores go in as they come, one judgement comes out."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass

from critictui.config import Config
from critictui.health.alert import NO_CRITIC, Alert, FixedScore, Judgement, NotEnoughData, Verdict
from critictui.health.context import LEVELS, SCORE, WATCHED, Context
from critictui.health.history import BEGINNING, Feed, Key, Row
from critictui.health.level import Column
from critictui.health.order import ordered
from critictui.health.rules import Rule, all_rules
from critictui.health.rules.fixed_set import scored
from critictui.health.rules.pace import silence
from critictui.health.rules.restarts import regressions
from critictui.health.settings import DEFAULTS, Settings
from critictui.run.facts import RunSnapshot
from critictui.run.metrics import D_ACC, D_LOSS, SCORE_DIFF
from critictui.run.tags import without_side

READ_ENOUGH = 0.98
"""Below this share of the known bytes the history is still filling in, and nothing is judged: a tail without its
baseline would be judged differently a moment later."""

ENOUGH = 30
"""Points after which a run without an alert is called healthy: inversion, spread and scale can be judged by then."""

_CRITIC = "critic/"
_ANYBODYS = frozenset({"loss", "grad_norm", "learning_rate", "lr", "mean_reward"})
"""Tags that trainers of anything write: by themselves they speak for no critic."""

_SILENT = 10
"""Rows without a value after which what was pending is forgotten."""

_SPACING = 64
"""Rows between marks of the far past, and of the last rows."""
_FINE = 12
_KEPT = 6


@dataclass(slots=True)
class _Mark:
    """The machine as it was after the row `key`: columns by their lengths, the rest pickled."""

    key: Key
    state: bytes
    columns: dict[str, Column]
    lengths: dict[str, int]
    closed: int
    played: int
    """Rows judged before it."""


class Machine:
    """Rows go in one by one; can go back to a marked row and take another way from there."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.settings = Settings(config.thresholds)
        self._extra = _extra_metrics(config)
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self.key: Key = BEGINNING
        self.previous: Key = BEGINNING
        """The row before the last one."""
        self.context = Context(self._config, self.settings, self._extra)
        self.rules: list[Rule] = []
        self._marks: list[_Mark] = []
        self._played = 0
        self._width = 0
        """Metrics in the row before."""

    def play(self, rows: Sequence[Row], epochs: tuple[int, ...]) -> None:
        """Judge the rows in turn. The state before a last one that looks unfinished is kept: it will still grow."""
        for i, row in enumerate(rows):
            last = self._marks[-1].played if self._marks else -_SPACING
            unfinished = i == len(rows) - 1 and len(row.values) < self._width
            if unfinished or self._played - last >= (_SPACING if i < len(rows) - _SPACING else _FINE):
                self._mark()
            self._advance(row, epochs)
            self._width = len(row.values)

    def rewind(self, before: Key) -> Key:
        """Go back to the newest mark that lies before the key, and say which row was judged last there."""
        while self._marks and self._marks[-1].key >= before:
            self._marks.pop()
        if not self._marks:
            self.restart()
            return BEGINNING
        mark = self._marks[-1]
        self.key = mark.key
        context = self.context
        (
            self.rules,
            context.levels,
            context.together,
            context.before,
            context.known,
            context.epoch_began,
            context.seam_index,
            context.adversarial,
            context.rows,
            context.continues,
        ) = pickle.loads(mark.state)  # noqa: S301  # our own bytes, from this process's memory
        context.row = Row(mark.key, {})
        context.columns = {name: mark.columns[name] for name in mark.lengths}
        for name, n in mark.lengths.items():
            context.columns[name].cut(n)
        del context.closed[mark.closed :]
        self._played = mark.played
        return mark.key

    def _mark(self) -> None:
        context = self.context
        state = pickle.dumps(
            (
                self.rules,
                context.levels,
                context.together,
                context.before,
                context.known,
                context.epoch_began,
                context.seam_index,
                context.adversarial,
                context.rows,
                context.continues,
            ),
            protocol=pickle.HIGHEST_PROTOCOL,
        )
        lengths = {name: len(column) for name, column in context.columns.items()}
        mark = _Mark(self.key, state, context.columns, lengths, len(context.closed), self._played)
        if len(self._marks) > 1 and mark.played - self._marks[-2].played < _SPACING:
            self._marks[-1] = mark
        else:
            self._marks.append(mark)
        del self._marks[:-_KEPT]

    def _advance(self, row: Row, epochs: tuple[int, ...]) -> None:
        if not self.rules or row.session != self.key[0]:
            self._begin_session(row)
        context = self.context
        context.take(row, epochs)
        for rule in self.rules:
            rule.step(context)
        self.previous, self.key = self.key, row.key
        self._played += 1

    def _begin_session(self, row: Row) -> None:
        old = self.context
        for rule in self.rules:
            old.closed.extend(rule.latches.end(row.step, self.key[0]))
        tails = {name: tuple(column.values[-40:]) for name, column in old.columns.items()}
        self.context = Context(self._config, self.settings, self._extra, before=tails, closed=old.closed)
        ended = self.key[1] if self.rules else None
        overlap = self.settings.count("step-regression", "overlap")
        self.context.continues = ended is not None and row.step > max(1, ended - overlap)
        if self.context.continues:
            self.context.known = {name: one.baseline for name, one in old.levels.items() if one.baseline is not None}
        self.rules = all_rules()


class Judge:
    """Judges a run as it grows. What it says always equals what `judge_all` says of the same data."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._restart()

    def _restart(self) -> None:
        self._feed = Feed(WATCHED | _extra_metrics(self._config))
        self._machine = Machine(self._config)
        self._path: object = None

    @property
    def judged(self) -> Key:
        """(session, step) of the last row that was judged."""
        return self._machine.key

    def update(self, run: RunSnapshot, scores: Sequence[FixedScore] = (), now: float | None = None) -> Judgement:
        """The judgement of the run as it is now.

        `now` is `time.time()`; without it the run is not asked whether it stalls. Nothing that a run holds raises.
        """
        if run.path != self._path:
            self._restart()
            self._path = run.path
        if run.progress < READ_ENOUGH:
            waiting = NotEnoughData("history", "", f"reading the history, {run.progress:.0%} so far")
            return Judgement("unknown", (), (waiting,))
        self._consume(run)
        return self._judgement(run, scores, now)

    def _consume(self, run: RunSnapshot) -> None:
        start, rows = self._feed.changes(run)
        if start is None:
            return
        machine = self._machine
        if start <= machine.key:
            previous = machine.previous
            after = machine.rewind(start)
            if rows is None or after != previous:  # the mark lies further back than the row that has grown
                rows = self._feed.rows(run, after)
        elif rows is None:
            rows = self._feed.rows(run, machine.key)
        machine.play(rows, self._feed.epochs)

    def _judgement(self, run: RunSnapshot, scores: Sequence[FixedScore], now: float | None) -> Judgement:
        machine = self._machine
        session = machine.key[0]
        alerts = [*machine.context.closed]
        waiting: list[NotEnoughData] = []
        for rule in machine.rules:
            alerts.extend(alert for alert in rule.latches.open(session) if not _forgotten(alert, machine.context))
            waiting.extend(rule.waiting(machine.context))
        settings = machine.settings
        alerts.extend(regressions(run, settings))
        alerts.extend(silence(run, settings, now))
        found, missing = scored(run, scores, settings)
        alerts.extend(found)
        waiting.extend(missing)
        critic = of_a_critic(run, self._config)
        if machine.rules and not critic:
            waiting.insert(0, NotEnoughData("", "", f"{NO_CRITIC}; name them under [aliases] in critictui.toml"))
        verdict = verdict_of(alerts, ready=critic and _ready(machine.context))
        return Judgement(verdict, tuple(ordered(alerts)), tuple(waiting))


def judge_all(
    run: RunSnapshot, config: Config, scores: Sequence[FixedScore] = (), now: float | None = None
) -> Judgement:
    """The whole run at once, from its first step to its last."""
    return Judge(config).update(run, scores, now)


def of_a_critic(run: RunSnapshot, config: Config) -> bool:
    """Whether the run logs a metric that is a critic's. A bare `loss` is one only where the user says so."""
    if any(tag.startswith(_CRITIC) for tag in run.series):
        return True
    said = {*config.aliases, *(tag for profile in config.profiles.values() for tag in profile.aliases)}
    tags = [tag for name, tag in run.metrics.items() if name.startswith(_CRITIC)]
    return any(without_side(tag) not in _ANYBODYS or not said.isdisjoint({tag, without_side(tag)}) for tag in tags)


def verdict_of(alerts: Sequence[Alert], *, ready: bool) -> Verdict:
    """The worst severity that fires; without one, healthy, or unknown while there is not enough data."""
    firing = {alert.severity for alert in alerts if alert.state == "firing"}
    if "critical" in firing:
        return "critical"
    if "warning" in firing:
        return "warning"
    return "healthy" if ready else "unknown"


def _ready(context: Context) -> bool:
    """The run's first metric has a baseline, or enough points for the rules that need none; a resume inherits them."""
    for group in ((D_ACC, SCORE_DIFF), (SCORE,), (D_LOSS,), LEVELS):
        present = [name for name in group if name in context.levels]
        if present:
            inherited = len(context.before.get(present[0], ())) if context.continues else 0
            points = max(len(context.column(name)) for name in present)
            return inherited + points >= ENOUGH or any(context.levels[name].baseline is not None for name in present)
    return False


def _forgotten(alert: Alert, context: Context) -> bool:
    """Pending, and its metric says nothing any more: it is NaN, or is not logged."""
    if alert.state != "pending":
        return False
    steps = context.column(alert.metric).steps[-2:]
    spacing = steps[-1] - steps[0] if len(steps) == 2 else 1
    return context.step - alert.step > _SILENT * max(1, spacing)


def _extra_metrics(config: Config) -> frozenset[str]:
    """Metrics that the configuration gives a table of their own, as in [thresholds."decline:val/accuracy"]."""
    named = set()
    for table in config.thresholds:
        rule, _, metric = table.partition(":")
        if rule == "decline" and metric and rule in DEFAULTS:
            named.add(metric)
    return frozenset(named - WATCHED)
