"""The alarm log on disk: alerts and what the user has acknowledged in, one JSON line a change, whoever watches."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from critictui.health.alert import Alert, Severity
from critictui.health.history import Key
from critictui.monitor.acknowledgement import Acknowledgement, acknowledgement_in
from critictui.monitor.alarm_line import (
    WITHDRAWN,
    Change,
    Changes,
    alert_in,
    change_of,
    is_silence,
    line_of,
    of_the_past,
)

_LARGEST = 16 << 20
"""Bytes that are read at a time: some 25,000 lines."""
_RETRY = 5.0
_MISSED = 30.0
"""Seconds after which an alert that the rules do not know any more is written off: a file that is replaced by its own
copy is away for a moment."""
_ELSEWHERE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EEXIST}


def alarm_log_paths(run_dir: Path) -> tuple[Path, Path]:
    """Where a run's alarm log is: in the run, or else in the user's state directory."""
    from critictui.scoring.results import state_dir

    return run_dir / "critictui" / "alarms.jsonl", state_dir(run_dir) / "alarms.jsonl"


def _is_protected(run_dir: Path) -> bool:
    """Whether nobody may write into the run directory by its mode: root could, and still should not."""
    try:
        return run_dir.stat().st_mode & 0o222 == 0
    except OSError:
        return False


class AlarmLog:
    """Appends the state changes of one run's alerts.

    A change is one (key, state, severity), written once: it is looked for in the file first, under an advisory lock, so
    restarts and other monitors of the run neither double nor lose a line. A line that a full disk did not take is kept
    and tried again. What was acknowledged or snoozed is a line too, and holds for every monitor of the run.

    An alert may lose what it rested on: its steps were written again by a later session, a hole in the file was filled,
    a damaged byte mended. A line `withdrawn` says so; should it come back, it is written again.

    thresholds: a name of those that were judged by, '' for the rules' own. A line holds it; a monitor with others does
    not answer for it.
    """

    def __init__(self, run_dir: Path, *, read_only: bool = False, thresholds: str = "") -> None:
        self._run_dir = run_dir
        self._thresholds = thresholds
        self._place = 1 if read_only or _is_protected(run_dir) else 0
        self._known = Changes()
        """What is in the log, or will be."""
        self._read: dict[Path, int] = {}
        self._waiting: dict[Change, dict[str, object]] = {}
        self._acknowledged: dict[str, Acknowledgement] = {}
        self._standing: dict[str, Alert] = {}
        """What the last look found, or an earlier monitor has written."""
        self._missed: dict[str, float] = {}
        """Since when, by the monotonic clock, what stood is missing."""
        self._logged: dict[str, Alert] = {}
        self._inherited = False
        self._retry_at = 0.0
        self._problem = ""

    @cached_property
    def _paths(self) -> tuple[Path, Path]:
        return alarm_log_paths(self._run_dir)

    @property
    def path(self) -> Path:
        """The file that is written."""
        return self._paths[self._place]

    @property
    def notice(self) -> str:
        """What the user must know: lines that are not on disk yet. Empty when all is well."""
        if not self._waiting:
            return ""
        n = len(self._waiting)
        lines = "1 line is" if n == 1 else f"{n} lines are"
        return f"alarm log {self.path}: {self._problem}; {lines} kept and tried again"

    def record(self, alerts: Sequence[Alert], judged: Key | None = None) -> list[Alert]:
        """Note the present states; returns the alerts whose change nobody had written down before.

        judged: (session, step) of the last row that was judged; what the log says of steps before it is then checked
        against `alerts` once, so that a monitor that is started again withdraws what no longer holds. What was known
        and is not among `alerts` comes back as resolved, after a while.
        """
        present = {alert.key: alert for alert in alerts if alert.state != "pending"}
        if judged is not None and not self._inherited:
            self._inherit(judged)
        over = self._over(present)
        changed = [alert for alert in present.values() if change_of(alert) not in self._known]
        if not changed and not over and not self._waiting:
            return []
        self._read_all()
        fresh = [alert for alert in changed if change_of(alert) not in self._known]
        now = time.time()
        for alert in fresh:
            self._write_soon(change_of(alert), line_of(alert, now))
        for alert in over:
            ended = replace(alert, state="resolved", resolved_step=alert.step) if is_silence(alert) else alert
            state = ended.state if is_silence(alert) else WITHDRAWN
            self._write_soon((alert.key, state, alert.severity), {**line_of(ended, now), "state": state})
        self.flush()
        return [
            *fresh,
            *(replace(alert, state="resolved", resolved_step=alert.step) for alert in over if alert.state == "firing"),
        ]

    def _over(self, present: Mapping[str, Alert]) -> list[Alert]:
        """What stood and has been missing for long enough."""
        now = time.monotonic()
        missing = {key: self._missed.get(key, now) for key in self._standing.keys() - present.keys()}
        gone = [
            key for key, since in missing.items() if now - since >= _MISSED or is_silence(self._standing[key])
        ]  # fmt: skip
        over = [self._standing.pop(key) for key in sorted(gone)]
        self._missed = {key: since for key, since in missing.items() if key not in gone}
        self._standing.update(present)
        return over

    def _inherit(self, judged: Key) -> None:
        """Answer for what was written down before us, of steps that were read by now."""
        self._read_all()
        self._inherited = True
        for key, alert in self._logged.items():
            if of_the_past(alert) and (alert.session, alert.fired_step or 0) < judged:
                self._standing.setdefault(key, alert)
        self._logged.clear()

    def _write_soon(self, change: Change, line: dict[str, object]) -> None:
        if self._thresholds:
            line["thresholds"] = self._thresholds
        self._known.note(change)
        self._waiting.pop(change, None)  # to the end: the last line of a key is how it stands
        self._waiting[change] = line

    def acknowledge(self, key: str, severity: Severity | None, seconds: float = math.inf) -> None:
        """The user has seen this alert, or wants it quiet for so many seconds."""
        self._read_all()
        one = Acknowledgement(key, severity, time.time(), seconds)
        self._acknowledged[key] = one
        line = one.to_line()
        self._waiting[key, str(line["state"]), str(line["time"])] = line  # never what another monitor has written
        self.flush()

    def acknowledged(self, alerts: Sequence[Alert]) -> frozenset[str]:
        """Keys of what is quiet now: said to this monitor, to another one, or before a restart."""
        if alerts:  # nothing is read before there is something to be quiet about
            self._read_all()
        if not self._acknowledged:
            return frozenset()
        now = time.time()
        severities = {alert.key: alert.severity for alert in alerts}
        return frozenset(key for key, one in self._acknowledged.items() if one.holds(severities.get(key), now))

    def snoozed(self, quiet: frozenset[str]) -> dict[str, float]:
        """Of the keys that are quiet now those that will not stay so: until when, in seconds since the epoch."""
        ends = {key: self._acknowledged[key].at + self._acknowledged[key].seconds for key in quiet}
        return {key: end for key, end in ends.items() if math.isfinite(end)}

    def flush(self) -> None:
        """Try to write what is waiting; at most every few seconds after a failure."""
        if not self._waiting or time.monotonic() < self._retry_at:
            return
        try:
            self._write()
        except OSError as error:
            if error.errno in _ELSEWHERE and self._place == 0:
                self._place = 1
                self.flush()
                return
            self._problem = os.strerror(error.errno) if error.errno else str(error)
            self._retry_at = time.monotonic() + _RETRY

    def _write(self) -> None:
        # a run directory that was deleted is not made anew
        self.path.parent.mkdir(parents=self._place == 1, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EEXIST, "not a regular file")
            with contextlib.suppress(OSError):  # a file system without locks: the lines are still whole
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            written = self._read_file(self.path)
            lines = [line for change, line in self._waiting.items() if change not in written]
            for change in self._waiting:
                self._known.note(change)
            text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines).encode(
                "utf-8", "replace"
            )
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                text = b"\n" + text  # a writer died within a line
            self._append(descriptor, text, size)
        finally:
            os.close(descriptor)
        self._waiting.clear()
        self._problem = ""

    def _append(self, descriptor: int, text: bytes, size: int) -> None:
        at = 0
        try:
            while at < len(text):
                at += os.write(descriptor, text[at:])
        except OSError:
            with contextlib.suppress(OSError):  # no half line stays behind
                os.ftruncate(descriptor, size)
            raise

    def _read_all(self) -> None:
        """Take in what others have added: where nothing has grown, two looks at the size of a file."""
        for path in self._paths:
            try:
                grown = path.stat().st_size != self._read.get(path, 0)
            except OSError:
                continue
            if grown:
                self._read_file(path)

    def _read_file(self, path: Path) -> Changes:
        """The changes that others wrote since the last look, and that still stand."""
        found = Changes()
        for value in self._new_lines(path):
            change = (value.get("key"), value.get("state"), value.get("severity"))
            if all(isinstance(part, str) for part in change):
                found.note(change)  # type: ignore[arg-type]
                self._known.note(change)  # type: ignore[arg-type]
                self._log_line(str(change[0]), value)
            self._take(acknowledgement_in(value))
        return found

    def _log_line(self, key: str, value: dict[str, object]) -> None:
        if self._inherited:
            return
        alert = alert_in(value)
        if alert is not None and value.get("thresholds", "") == self._thresholds:
            self._logged[key] = alert
        elif value.get("state") == WITHDRAWN:
            self._logged.pop(key, None)

    def _new_lines(self, path: Path) -> Iterator[dict[str, object]]:
        """The objects that were added since the last look; of a file that is too large, those at its end."""
        start = self._read.get(path, 0)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                now = os.fstat(descriptor)
                if not stat.S_ISREG(now.st_mode):
                    return
                start = start if start <= now.st_size else 0
                start = max(start, now.st_size - _LARGEST)
                file.seek(start)
                data = file.read(_LARGEST)
        except OSError:
            return
        whole = data.rfind(b"\n") + 1
        self._read[path] = start + whole
        for line in data[:whole].split(b"\n"):
            try:
                value = json.loads(line) if line else None
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value

    def _take(self, one: Acknowledgement | None) -> None:
        """The newest one of a key stands."""
        if one is not None and (one.key not in self._acknowledged or one.at >= self._acknowledged[one.key].at):
            self._acknowledged[one.key] = one
