"""Hugging Face's `trainer_state.json` as a source: a whole file that is written anew at each checkpoint."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Literal

from critictui.run.facts import Skipped, SourceFacts
from critictui.run.gathering import Gathered, Losses
from critictui.run.json_records import constant, flatten
from critictui.run.numeral import step_number
from critictui.run.series import SourceKind
from critictui.run.source import Budget, Reading, RunHints
from critictui.run.tailing import QUIET

_LARGEST = 256 << 20
_PATIENCE = 3.0


def looks_like(head: bytes, name: str) -> bool:
    """Whether this is a trainer's state: by name, and JSON by its beginning."""
    return Path(name).name == "trainer_state.json" and head.lstrip()[:1] == b"{"


class TrainerState:
    """One `trainer_state.json`. It is replaced as a whole, so a change is a reset; half a file is waited for."""

    kind: SourceKind = "trainer-state"

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._stamp: tuple[int, int, int, int] | None = None
        self._scalars = 0
        self._size = 0
        self._hints = RunHints()
        self._given = False
        self._half_since: float | None = None
        self._changed = time.monotonic()
        self._state: Literal["live", "gone", "error"] = "live"
        self._message = ""

    def close(self) -> None:
        """Nothing is kept open."""

    def poll(self, budget: Budget) -> Reading:
        """The whole history when the file changed, else nothing new."""
        del budget  # the file is small beside its checkpoint, and can only be read as a whole
        try:
            found = self.path.stat()
            stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if stamp == self._stamp:
                return self._nothing()
            self._size = found.st_size
            data = self._read(found.st_size)
        except FileNotFoundError:
            self._state, self._message, self._stamp = "gone", "deleted; its last data is kept", None
            return self._nothing()
        except OSError as error:
            self._state, self._message = "error", os.strerror(error.errno) if error.errno else str(error)
            self._message += "; tried again every few seconds" if error.errno else ""
            return self._nothing()
        self._state, self._message = "live", ""
        return self._parsed(data, stamp)

    def _read(self, size: int) -> bytes:
        if size > _LARGEST:
            raise OSError(None, f"larger than {_LARGEST >> 20} MiB, not read")
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(_LARGEST)

    def _parsed(self, data: bytes, stamp: tuple[int, int, int, int]) -> Reading:
        try:
            value = json.loads(data.decode("utf-8", "replace"), parse_constant=constant)
        except (ValueError, RecursionError) as error:
            return self._half(stamp, str(error))
        self._stamp, self._half_since, self._changed = stamp, None, time.monotonic()
        losses = Losses(self.name)
        gathered = Gathered()
        history = value.get("log_history") if isinstance(value, dict) else None
        for index, entry in enumerate(history if isinstance(history, list) else []):
            self._entry(index, entry, gathered, losses)
        if not isinstance(history, list):
            losses.add(0, len(data), "no log_history in it")
        reset, self._given = self._given, True
        self._scalars = len(gathered)
        self._hints = _hints(value if isinstance(value, dict) else {})
        scalars = (gathered.scalars(),) if len(gathered) else ()
        return Reading(self._facts(), scalars, losses.take(), reset=reset, hints=self._hints)

    def _entry(self, index: int, entry: object, gathered: Gathered, losses: Losses) -> None:
        step = step_number(entry.get("step")) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or step is None:
            losses.add(0, 0, "an entry of log_history without a step")
            return
        pairs, refused = flatten({k: v for k, v in entry.items() if k != "step"})
        if refused:
            losses.add(0, 0, "values that are not numbers", refused)
        gathered.add(index, step, pairs)

    def _half(self, stamp: tuple[int, int, int, int], reason: str) -> Reading:
        """Not JSON: most likely it is being written. Said to be damaged only if it stays so."""
        now = time.monotonic()
        if self._half_since is None:
            self._half_since = now
        skipped: tuple[Skipped, ...] = ()
        if now - self._half_since > _PATIENCE:
            self._stamp = stamp
            self._state, self._message = "error", f"not readable as JSON ({reason[:80]})"
            skipped = (Skipped(self.name, 0, self._size, 1, "damaged JSON"),)
        return Reading(self._facts(), skipped=skipped, hints=self._hints)

    def _nothing(self) -> Reading:
        return Reading(self._facts(), hints=self._hints)

    def _facts(self) -> SourceFacts:
        state: Literal["live", "quiet", "waiting", "gone", "error"] = self._state
        if state == "live" and not self._scalars:
            state = "waiting"
        elif state == "live" and time.monotonic() - self._changed > QUIET:
            state = "quiet"
        return SourceFacts(self.name, self.kind, self._size, self._size, self._scalars, state, self._message)


def _hints(value: dict[str, object]) -> RunHints:
    total, now = step_number(value.get("max_steps")), step_number(value.get("global_step"))
    total = total if total is not None and total > 0 else None
    epochs = step_number(value.get("num_train_epochs"))
    each = total // epochs if total and epochs and total % epochs == 0 else None
    return RunHints(total, each, total is not None and now is not None and now >= total)
