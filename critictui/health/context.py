"""What a rule may look at when a row is judged: the row, the session's columns and levels, the stage and the seams."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from critictui.config import Config
from critictui.health.alert import Alert
from critictui.health.history import Row
from critictui.health.level import Column, Level
from critictui.health.settings import Settings
from critictui.health.statistics import Baseline
from critictui.health.together import Together
from critictui.run import metrics as m

SCORE = "critic/score/mean"
SCORE_MAX = "critic/score/max"
SCORE_MIN = "critic/score/min"
CENTRE = "the middle of the two score means"
"""A level of our own: no run logs it, no alert names it."""
STEP_TIME = "timing_s/step"
ACTOR_SIGNS = ("actor/pg_loss", "actor/grad_norm", "actor/entropy_loss", "actor/entropy")
RANKING_LOSS = "critic/ranking_loss"

LEVELS: tuple[str, ...] = (
    m.D_ACC,
    m.SCORE_DIFF,
    m.TEACHER_STD,
    m.STUDENT_STD,
    m.SCORE_RANGE,
    m.RESPONSE_LENGTH,
    m.GRAD_NORM,
    m.D_LOSS,
    SCORE,
    STEP_TIME,
)
"""Metrics that are held against their own past."""

WATCHED: frozenset[str] = frozenset(
    {*LEVELS, m.TEACHER_MEAN, m.STUDENT_MEAN, m.VALUE_MAX, m.VALUE_MIN, m.EPOCH, m.LEARNING_RATE, SCORE_MAX, SCORE_MIN}
    | {RANKING_LOSS, *ACTOR_SIGNS}
)
"""Metrics that some rule reads by name."""

FEW_PAIRS = 16
"""Pairs a step below which accuracy is judged over as many steps as make evidence."""
_ENOUGH = 8
"""Points by which a number of pairs shows."""
_WRITTEN = 0.0051
"""Half of the last digit of an accuracy that is written with two."""

_ORDERED = tuple(sorted(WATCHED))
_JUDGED = frozenset(LEVELS)
_LOGARITHMIC = frozenset({m.TEACHER_STD, m.STUDENT_STD, m.SCORE_RANGE, m.RESPONSE_LENGTH, m.GRAD_NORM, STEP_TIME})
_ONE_WAY = frozenset({m.RESPONSE_LENGTH, m.GRAD_NORM, STEP_TIME, m.D_LOSS})


@dataclass(slots=True)
class Context:
    """The state that all rules share. Columns only grow within a session, so a rewind is a cut."""

    config: Config
    settings: Settings
    extra: frozenset[str] = frozenset()
    """Further metrics that the configuration names for a rule."""
    row: Row = field(default_factory=lambda: Row((0, 0), {}))
    columns: dict[str, Column] = field(default_factory=dict)
    levels: dict[str, Level] = field(default_factory=dict)
    together: Together = field(init=False)
    """d_acc and the margin as one."""
    before: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """The last values of the previous session, for a look across the seam."""
    known: dict[str, Baseline] = field(default_factory=dict)
    """Its baselines, if this session continues it."""
    epoch_began: int | None = None
    """The step of the newest epoch seam in this session."""
    seam_index: dict[str, int] = field(default_factory=dict)
    """How many points each column had at that seam."""
    adversarial: bool = False
    continues: bool = False
    """The session goes on about where the one before it ended, as a resume does."""
    rows: int = 0
    """Rows of this session so far."""
    _names: tuple[str, ...] = field(init=False)
    """The metrics that are taken, in their order."""
    _shares: tuple[int, ...] = tuple(range(1, FEW_PAIRS))
    """Pairs a step that every accuracy so far is a share of."""
    closed: list[Alert] = field(default_factory=list)
    """Alerts that are over, in the order in which they ended."""

    def __post_init__(self) -> None:
        shift, limit = (self.settings.number("decline", key, m.D_ACC) for key in ("joint_shift", "joint_limit"))
        self.together = Together(shift, limit)
        self._names = (*_ORDERED, *sorted(self.extra))

    def value(self, name: str) -> float | None:
        """The metric's value in this row if it was logged and is finite."""
        value = self.row.values.get(name)
        return value if value is not None and math.isfinite(value) else None

    def column(self, name: str) -> Column:
        """The session's finite values of a watched metric; empty where there are none."""
        return self.columns.get(name) or _NOTHING

    def level(self, name: str) -> Level | None:
        """The metric's level if this row has a finite value of it."""
        return self.levels.get(name) if self.value(name) is not None else None

    @property
    def few_pairs(self) -> int | None:
        """How many pairs a step the accuracy is a share of, where they are fewer than `FEW_PAIRS`: then a window of
        steps is no evidence yet, and a median of them is 0 or 1. None where they are more, or too little is known.
        """
        said = self.config.pairs_per_step
        if said is not None:
            return said if said < FEW_PAIRS else None
        return self._shares[0] if self._shares and len(self.column(m.D_ACC)) >= _ENOUGH else None

    @property
    def step(self) -> int:
        """The step of the row."""
        return self.row.step

    def take(self, row: Row, epochs: tuple[int, ...]) -> None:
        """Make this row the current one."""
        previous = self.row.step if self.rows else None
        self.row = row
        self.rows += 1
        self._stage(row)
        if previous is not None and self._epoch_begins(row, previous, epochs):
            self.epoch_began = row.step
            self.seam_index = {name: len(column) for name, column in self.columns.items()}
            for name, level in self.levels.items():
                level.seam(len(self.columns[name]))
        values, columns, levels = row.values, self.columns, self.levels
        for name in self._names:
            value = values.get(name)
            if value is None or not math.isfinite(value):
                continue
            column = columns.get(name)
            if column is None:
                column = columns[name] = Column(log=name in _LOGARITHMIC)
                if name in _JUDGED or name in self.extra:
                    levels[name] = self._new_level(name)
            column.add(row.step, value)
            if self._shares and name == m.D_ACC:
                self._shares = tuple(n for n in self._shares if _is_share(value, n))
            if name in levels:
                levels[name].add(column)
        self._take_centre()
        accuracy, margin = self.level(m.D_ACC), self.level(m.SCORE_DIFF)
        if accuracy is not None and margin is not None:
            self.together.add(accuracy, margin, row.step)

    def fell(self, name: str) -> bool:
        """The metric's level has gone down beyond what noise does, by itself or together with its next of kin."""
        level = self.levels[name]
        if level.fell or name not in _KIN or self.few_pairs is not None:
            return level.fell
        accuracy, margin = self.levels.get(m.D_ACC), self.levels.get(m.SCORE_DIFF)
        return accuracy is not None and margin is not None and self.together.fell(accuracy, margin)

    def joint_evidence(self, name: str) -> tuple[tuple[str, float], ...]:
        """The sum that accuracy and margin have in common, for one of the two and once there is one."""
        joint = self.together.below.sum
        return (("joint cusum", joint), ("joint limit", self.together.limit)) if name in _KIN and joint > 0 else ()

    def forget_fall(self, name: str) -> None:
        """Begin to sum anew: a fall that was reported is over."""
        self.levels[name].below.reset()
        if name in _KIN:
            self.together.below.reset()

    def _take_centre(self) -> None:
        teacher, student = self.value(m.TEACHER_MEAN), self.value(m.STUDENT_MEAN)
        if teacher is None or student is None:
            return
        column = self.columns.setdefault(CENTRE, Column())
        column.add(self.row.step, (teacher + student) / 2)
        level = self.levels.get(CENTRE)
        if level is None:
            shift, limit = (self.settings.number("drift", key, m.TEACHER_MEAN) for key in ("shift", "limit"))
            level = self.levels[CENTRE] = Level(follows=False, shift=shift, limit=limit, absolute=True)
        level.add(column)

    def _new_level(self, name: str) -> Level:
        least = 0.005 if name == m.D_ACC else 0.0
        rule = {m.D_ACC: "decline", m.SCORE_DIFF: "margin-collapse", m.RESPONSE_LENGTH: "length-drift"}.get(
            name, "spread-collapse" if name in _LOGARITHMIC else "decline"
        )
        return Level(
            log=name in _LOGARITHMIC,
            follows=name not in _ONE_WAY,
            shift=self.settings.number(rule, "shift", name),
            limit=self.settings.number(rule, "limit", name),
            least=least,
            phase=self._names.index(name) % Level.EVERY,
            known=self.known.get(name),
        )

    def _stage(self, row: Row) -> None:
        if self.config.stage != "auto":
            self.adversarial = self.config.stage == "adversarial"
        elif not self.adversarial:
            self.adversarial = any(math.isfinite(row.values.get(name, math.nan)) for name in ACTOR_SIGNS)

    def _epoch_begins(self, row: Row, previous: int, epochs: tuple[int, ...]) -> bool:
        if any(previous < step <= row.step for step in epochs):
            return True
        epoch = self.value(m.EPOCH)
        known = self.column(m.EPOCH).values
        return bool(not epochs and epoch is not None and known and math.floor(epoch) > math.floor(known[-1]))


def _is_share(value: float, pairs: int) -> bool:
    return 0 <= value <= 1 and abs(value * pairs - round(value * pairs)) < _WRITTEN * pairs


_KIN = frozenset({m.D_ACC, m.SCORE_DIFF})
_NOTHING = Column()
