"""The alarm log on disk: alerts and what the user has acknowledged in, one JSON line a change, whoever watches."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from critictui.health.alert import Alert, Severity
from critictui.monitor.acknowledgement import Acknowledgement, acknowledgement_in

Change = tuple[str, str, str]

_LARGEST = 64 << 20
_RETRY = 5.0
_ELSEWHERE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENOENT, errno.EEXIST}


def alarm_log_paths(run_dir: Path) -> tuple[Path, Path]:
    """Where a run's alarm log is: in the run, or else in the user's state directory."""
    from critictui.scoring.results import state_dir

    return run_dir / "critictui" / "alarms.jsonl", state_dir(run_dir) / "alarms.jsonl"


def line_of(alert: Alert, at: float) -> dict[str, object]:
    """One line of the log: the contract's alert, its key, and when it was written (seconds since the epoch)."""
    return {"time": round(at, 3), "key": alert.key, **alert.to_json()}


def change_of(alert: Alert) -> Change:
    """What is written once: an alert's state, and its severity, which may rise while it fires."""
    return alert.key, alert.state, alert.severity


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
    """

    def __init__(self, run_dir: Path, *, read_only: bool = False) -> None:
        self._run_dir = run_dir
        self._place = 1 if read_only or _is_protected(run_dir) else 0
        self._known: set[Change] = set()
        self._read: dict[Path, int] = {}
        self._waiting: dict[Change, dict[str, object]] = {}
        self._acknowledged: dict[str, Acknowledgement] = {}
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

    def record(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Note the present states; returns the alerts whose change nobody had written down before."""
        changed = [a for a in alerts if a.state != "pending" and change_of(a) not in self._known]
        if not changed and not self._waiting:
            return []
        self._read_all()
        fresh = [a for a in changed if change_of(a) not in self._known]
        now = time.time()
        for alert in fresh:
            self._known.add(change_of(alert))
            self._waiting[change_of(alert)] = line_of(alert, now)
        self.flush()
        return fresh

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
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            with contextlib.suppress(OSError):  # a file system without locks: the lines are still whole
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            written = self._read_file(self.path)
            self._known |= written
            lines = [line for key, line in self._waiting.items() if key not in written]
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
                self._known |= self._read_file(path)

    def _read_file(self, path: Path) -> set[Change]:
        """The changes that others wrote since the last look."""
        found: set[Change] = set()
        try:
            with path.open("rb") as file:
                start = self._read.get(path, 0)
                if os.fstat(file.fileno()).st_size < start:
                    start = 0
                file.seek(start)
                data = file.read(_LARGEST)
        except OSError:
            return found
        whole = data.rfind(b"\n") + 1
        self._read[path] = start + whole
        for line in data[:whole].split(b"\n"):
            try:
                value = json.loads(line) if line else None
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                change = (value.get("key"), value.get("state"), value.get("severity"))
                if all(isinstance(part, str) for part in change):
                    found.add(change)  # type: ignore[arg-type]
                self._take(acknowledgement_in(value))
        return found

    def _take(self, one: Acknowledgement | None) -> None:
        """The newest one of a key stands."""
        if one is not None and (one.key not in self._acknowledged or one.at >= self._acknowledged[one.key].at):
            self._acknowledged[one.key] = one
