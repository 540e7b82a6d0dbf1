"""What a run is up to: its series, hints and what was seen to change go in; state, step and pace come out."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import PurePath

import numpy as np

from critictui.run.clocks import AGREE, is_date
from critictui.run.dtypes import FloatArray
from critictui.run.facts import RunState, Seam, Session
from critictui.run.series import Series
from critictui.run.source import RunHints

SHORTEST_SILENCE = 600.0
"""Seconds without any change after which a run can be called stalled at all."""
PACES_OF_SILENCE = 5.0
SILENT_FOR_GOOD, PACES_FOR_GOOD = 86400.0, 100.0
"""Seconds, and steps at the run's pace, after which a run that never said how long it is counts as over: an archive is
no job that hangs."""
_RECENT = 50
_STEP_TIMES = ("timing_s/step", "perf/time_per_step")
_FEWEST_SEEN = 3
_PER_CENT = 5.0
"""Mean from which an accuracy is one in per cent; no share is, whatever outliers it has."""
_FIRST = 16
"""Values by which an accuracy is taken for a share or not: later ones change nothing, so that verdicts do not."""
_MOST_EPOCHS = 1000
_AFTERMATH = 60.0
"""Seconds in which the files of a process that dies are closed."""
_ROUNDING = 1e-6
"""Of a logged share of epochs."""


def newest_step(series: Mapping[str, Series], stand_ins: Mapping[str, str], session: int | None) -> int | None:
    """The newest step of the current session.

    Metrics that the project knows are asked first: others may count frames or batches as their steps. Without any of
    them it is the highest last step that at most doubles the median of the last steps.
    """
    known = [series[tag] for tag in stand_ins.values() if tag in series]
    for some in (known, list(series.values())):
        newest = (one for one in some if len(one) and (session is None or one.session[-1] >= session))
        lasts = sorted(int(one.step[-1]) for one in newest)
        if lasts:
            most = 2 * abs(lasts[len(lasts) // 2]) + 10
            return max((s for s in lasts if some is known or s <= most), default=lasts[-1])
    return None


def pace_of(series: Mapping[str, Series], stand_ins: Mapping[str, str], session: int) -> float | None:
    """Seconds a step, the median over the last fifty steps; None while unknown.

    From the time stamps of a metric that the project knows, or of the longest series; where the source has no times,
    from what the trainer says a step took.
    """
    known = [series[tag] for tag in stand_ins.values() if tag in series]
    for one in (*known, *sorted(series.values(), key=len, reverse=True)[:1]):
        here = slice(max(0, len(one) - _RECENT - 1), None)
        now = one.session[here] >= session
        step, wall = one.step[here][now].astype(np.float64), one.wall_time[here][now]
        with np.errstate(invalid="ignore", over="ignore"):
            each = np.diff(wall) / np.diff(step)
        each = each[np.isfinite(each) & (each > 0)]
        if len(each) >= 2:
            return _median(each)
    for tag in _STEP_TIMES:
        if tag in series:
            each = series[tag].value[-_RECENT:]
            each = each[np.isfinite(each) & (each > 0)]
            if len(each):
                return _median(each)
    return None


def _median(values: FloatArray) -> float:
    """Of finite values, at least one. `np.median` imports masked arrays: 60 ms of the time to the first chart."""
    ordered = np.sort(values)
    n = len(ordered)
    return float((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)


class SeenPace:
    """Seconds a step by our own clock, for sources without times."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=20)

    def note(self, now: float, step: int | None) -> None:
        """Take the newest step at a moment of the monotonic clock."""
        if step is None or (self._seen and step == self._seen[-1][1]):
            return
        if self._seen and step < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, step))

    @property
    def pace(self) -> float | None:
        """The median, once three changes were seen."""
        if len(self._seen) <= _FEWEST_SEEN:
            return None
        pairs = list(self._seen)[1:]
        return _median(np.array([(b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(pairs)]))


def state_of(
    step: int | None, hints: Sequence[RunHints], total: int | None, silence: float, pace: float | None
) -> RunState:
    """running, stalled, finished or empty; `silence` is how long nothing changed, by our clock, in seconds.

    A run that stands before the end that it announced is never finished, however long ago that was.
    """
    if step is None:
        return "empty"
    if is_over(step, hints, total):
        return "finished"
    if total is None and silence > max(SILENT_FOR_GOOD, PACES_FOR_GOOD * (pace or 0.0)):
        return "finished"
    return "stalled" if silence > max(SHORTEST_SILENCE, PACES_OF_SILENCE * (pace or 0.0)) else "running"


def is_over(step: int | None, hints: Sequence[RunHints], total: int | None) -> bool:
    """Whether a run has reached the end that it announced."""
    return any(hint.finished for hint in hints) or (step is not None and total is not None and step >= total)


def last_written(files: Sequence[tuple[float, float]], looked: float) -> tuple[float | None, bool]:
    """When a run that nobody saw grow was written last, and whether that was old when we first looked.

    files: (mtime, latest stamp in it, -inf without any) of each. looked: when we first did, seconds since the epoch.
    A copy has the time stamp of its making, its records keep theirs; those of a live run agree with its files, as far
    as clocks of machines do. Where all files with stamps are copies, those without are taken for copies too. Old is a
    copy, what was silent for a day, and, where no record has a time, what was silent at all: it may be a copy.
    None where there are no files.
    """
    dated = [(mtime, newest) for mtime, newest in files if is_date(newest)]
    if dated and all(mtime - newest > AGREE for mtime, newest in dated):
        return max(newest for _, newest in dated), True
    times = [newest if is_date(newest) and mtime - newest > AGREE else mtime for mtime, newest in files]
    last = max(times, default=None)
    patience = SILENT_FOR_GOOD if dated else SHORTEST_SILENCE
    return last, last is not None and looked - last > patience


def died_of(errors: Mapping[str, str], changed: Mapping[str, float]) -> str:
    """The error that the run's last log ends in, with the log's name; '' where it ends in none.

    errors: what each log ends in. changed: when each file changed, seconds since the epoch. What was written a minute
    after a log shows that the run went on; of logs that ended together, the last by name counts, `x.err` with `x.out`.
    """
    last = max(changed.values(), default=0.0)
    ended = [name for name in errors if changed.get(name, 0.0) >= last - _AFTERMATH]
    newest = max((_counted(name) for name in ended), default=None)
    return next((f"{name}: {errors[name]}" for name in sorted(ended) if errors[name] and _counted(name) == newest), "")


def _counted(name: str) -> tuple[tuple[int, int, str], ...]:
    """A file's name without what it ends in, so that `run.10` comes after `run.9`."""
    path = PurePath(name)
    stem = str(path.with_name(path.name.partition(".")[0] or path.name))
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d{1,18})", stem))


def no_share(accuracy: Series) -> str:
    """What is wrong with an accuracy that is no share of pairs, by its first values; empty where it is one."""
    first = accuracy.value[:_FIRST]
    first = first[np.isfinite(first)]
    if not len(first) or float(np.mean(first)) < _PER_CENT:
        return ""
    return f"{accuracy.tag} begins at {first[0]:.4g}: no share between 0 and 1 (a percentage?), so not judged as d_acc"


def seams_of(
    sessions: Sequence[Session], epoch: Series | None, epoch_steps: int | None, step: int | None
) -> tuple[Seam, ...]:
    """Where restarts and epochs begin, by step. Epochs from a logged epoch, or from how many steps one has."""
    seams = [Seam(s.first_step, "restart", f"restart {s.number}") for s in sessions[1:]]
    if epoch is not None and len(epoch) > 1:
        finite = np.isfinite(epoch.value) & (np.abs(epoch.value) < 2**53)
        value, at = epoch.value[finite], epoch.step[finite]
        done = bool(np.any(value != np.floor(value)))  # a Hugging Face trainer's: the share of epochs after the step
        number = np.maximum(np.ceil(value - _ROUNDING) - 1, 0) if done else np.floor(value)
        turns = np.flatnonzero(number[1:] > number[:-1]) + 1
        seams += [Seam(int(at[k]), "epoch", f"epoch {int(number[k]) + 1}") for k in turns[:_MOST_EPOCHS].tolist()]
    elif epoch_steps and step is not None:
        last = min(math.ceil(step / epoch_steps), _MOST_EPOCHS)
        seams += [Seam(k * epoch_steps + 1, "epoch", f"epoch {k + 1}") for k in range(1, last)]
    return tuple(sorted(seams, key=lambda seam: (seam.step, seam.kind)))
