"""One run, read as it grows: a path goes in, and a frozen snapshot comes out of every poll.

Everything here happens in the thread that polls. A poll costs what is new, not what is loaded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from critictui.config import Config
from critictui.run import metrics
from critictui.run.aliases import GENERAL, stand_ins, table_of
from critictui.run.choice import Choice, choose, none_chosen, said_of_others
from critictui.run.clocks import skew
from critictui.run.demo_mark import demo_kind
from critictui.run.derived import DerivedMetrics
from critictui.run.discovery import Scanner
from critictui.run.facts import RunSnapshot
from critictui.run.grouping import FoundFile, FoundRun
from critictui.run.judging import (
    SeenPace,
    died_of,
    is_over,
    last_written,
    newest_step,
    no_share,
    pace_of,
    seams_of,
    state_of,
)
from critictui.run.kinds import source_of
from critictui.run.profiles import Recognised, profiles_of, recognise
from critictui.run.series import Series
from critictui.run.source import Budget, Source
from critictui.run.store import Store
from critictui.run.streams import RawScalars
from critictui.run.text import sanitise_line

_SEARCH_SHARE = 0.25
_LEAST_SHARE = 0.002
_WHOLE = Budget(bytes=64 << 20, seconds=60.0)
_PATIENCE, _PAUSE = 4.0, 0.1
"""Seconds for which a file that cannot be read is tried again before a command goes on without the rest of it."""


class Search(Protocol):
    """What finds the files of a run."""

    notices: tuple[str, ...]

    @property
    def runs(self) -> tuple[FoundRun, ...]:
        """What was found so far."""
        ...

    def step(self, seconds: float) -> bool:
        """Search for so long; True while there is more to see."""
        ...

    def finish(self) -> None:
        """Search everything."""
        ...


class Found:
    """The search of someone who knows already: one run, and the files that belong to it."""

    def __init__(self, run: FoundRun) -> None:
        self.runs: tuple[FoundRun, ...] = (run,)
        self.notices: tuple[str, ...] = ()

    def step(self, seconds: float) -> bool:
        """Nothing is left to find."""
        del seconds
        return False

    def finish(self) -> None:
        """Nothing is left to find."""


class RunReader:
    """Reads the run at `path`, a run directory or one file. `extra` are files that belong to it from elsewhere.

    Never raises while it polls: what goes wrong with a file is in the snapshot's facts.
    """

    def __init__(
        self,
        path: Path,
        config: Config,
        extra: Sequence[FoundFile] = (),
        scanner: Search | None = None,
        *,
        grows: bool = False,
    ) -> None:
        """`scanner`: of the same path, where one is at work already or nothing is left to find.

        `grows`: somebody saw its files grow, so they are no copies.
        """
        self.path = path
        self._config = config
        self._extra = tuple(extra)
        self._scanner: Search = scanner or Scanner(path)
        self._choice: tuple[Sequence[FoundRun] | None, Choice] = (None, Choice(None, ()))
        self._profiles = profiles_of(config.profiles)
        self._table = table_of(None, config.aliases) if config.aliases else GENERAL
        self._store = Store(self._table)
        self._sources: dict[Path, Source] = {}
        self._names: dict[Path, str] = {}
        self._derived = DerivedMetrics()
        self._seen = SeenPace()
        self._tags: tuple[str, ...] | None = None
        self._metrics: dict[str, str] = {}
        self._no_share = ""
        """What is told of an accuracy that is none."""
        self._grew_at: float | None = None
        self._grew_time: float | None = None
        self._found_at: dict[Path, float] = {}
        """The mtimes of its files when we first saw them."""
        self._changed: dict[str, float] = {}
        """When each of its files changed, as far as we know."""
        self._grows = grows
        self._began = time.time()
        self._sizes: dict[Path, int] = {}
        self._turn = 0
        self._name = path.resolve().name
        self._demo = demo_kind(path)
        self._profile: tuple[object, Recognised] = ((), Recognised())
        self._snapshot: RunSnapshot | None = None
        self._looked: tuple[object, ...] = ()
        self._more = True

    def poll(self, budget: Budget) -> RunSnapshot:
        """Read what is new, within the budget; the same object as before when nothing changed."""
        deadline = time.monotonic() + budget.seconds
        searching = self._scanner.step(budget.seconds * _SEARCH_SHARE)
        changed = self._find_sources()
        changed |= self._read(Budget(budget.bytes, max(0.0, deadline - time.monotonic())))
        self._more |= searching
        looked = (searching, self._scanner.notices, self._state_now())
        if self._snapshot is None or changed or looked != self._looked:
            self._snapshot = self._taken(self._snapshot)
            self._looked = (searching, self._scanner.notices, self._snapshot.state)
        return self._snapshot

    def read_all(self) -> RunSnapshot:
        """Read everything there is, for commands that judge a run once.

        Raises RunError where the path holds several runs, or nothing that can be read.
        """
        self._scanner.finish()
        choice = self._chosen()
        if choice.run is None and choice.others:
            raise none_chosen(self.path, choice)
        snapshot = self.poll(_WHOLE)
        until = time.monotonic() + _PATIENCE
        while self._more or (_failing(snapshot) and time.monotonic() < until):
            if not self._more:
                time.sleep(_PAUSE)
            snapshot = self.poll(_WHOLE)
        return snapshot

    def raw(self) -> Iterator[RawScalars]:
        """Every point that was read, superseded and double ones too, writer by writer, in file order."""
        return self._store.raw()

    @property
    def more(self) -> bool:
        """Bytes are waiting that the last poll's budget did not reach: poll again soon."""
        return self._more

    def close(self) -> None:
        """Give all descriptors back."""
        for source in self._sources.values():
            source.close()

    # Finding and reading.

    def _chosen(self) -> Choice:
        """The run that stands at our path, and those below it."""
        runs = self._scanner.runs
        if runs is not self._choice[0]:
            self._choice = (runs, choose(self.path, runs))
        return self._choice[1]

    def _find_sources(self) -> bool:
        run = self._chosen().run
        files = {file.path: file for file in (*(run.files if run is not None else ()), *self._extra)}
        if files.keys() == self._sources.keys():
            return False
        for path in self._sources.keys() - files.keys():
            self._sources.pop(path).close()
            name = self._names.pop(path)
            self._store.forget(name)
            self._changed.pop(name, None)
            self._sizes.pop(path, None)
            self._found_at.pop(path, None)
        for path, file in files.items():
            if path not in self._sources:
                self._names[path] = self._name_of(path)
                self._sources[path] = source_of(path, self._names[path], file.kind)
                self._found_at[path] = self._changed[self._names[path]] = min(file.modified, time.time())
                if self._grew_time is not None:
                    self._grew_time = max(self._grew_time, self._found_at[path])
        return True

    def _name_of(self, path: Path) -> str:
        base = self.path if self.path.is_dir() or path != self.path else self.path.parent
        return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)

    def _read(self, budget: Budget) -> bool:
        """Poll the sources in turn, each with its share of the budget, so that none waits for a large one."""
        changed, self._more = False, False
        deadline = time.monotonic() + budget.seconds
        order = list(self._sources)
        self._turn = (self._turn + 1) % max(1, len(order))
        left = budget.bytes
        for k, path in enumerate(order[self._turn :] + order[: self._turn]):
            share = max(_LEAST_SHARE, (deadline - time.monotonic()) / max(1, min(4, len(order) - k)))
            reading = self._sources[path].poll(Budget(max(1, left), share))
            changed |= self._store.take(self._names[path], reading)
            self._more |= reading.more
            self._note_growth(path, reading.facts.size)
            if time.monotonic() > deadline and reading.more:
                self._more = True
        return changed

    def _note_growth(self, path: Path, size: int) -> None:
        before = self._sizes.get(path)
        if before is not None and before != size:
            self._grew_at, self._grew_time = time.monotonic(), time.time()
            self._changed[self._names[path]] = self._grew_time
        self._sizes[path] = size

    # What is known now.

    def _last_change(self) -> tuple[float | None, bool]:
        """When the run was written last, and whether it was old when we first looked."""
        if self._grew_time is not None:
            return self._grew_time, False
        stamps = {} if self._grows else self._store.newest_stamps
        files = [(mtime, stamps.get(self._names[path], -math.inf)) for path, mtime in self._found_at.items()]
        return last_written(files, self._began)

    def _silence(self) -> float:
        """Seconds since anything grew, by the monotonic clock once we saw it grow."""
        if self._grew_at is not None:
            return time.monotonic() - self._grew_at
        last, _ = self._last_change()
        return max(0.0, time.time() - last) if last else 0.0

    def _state_now(self) -> object:
        known = self._snapshot
        if known is None:
            return None
        return state_of(known.step, self._store.hints, known.total_steps, self._silence(), known.pace)

    def _taken(self, before: RunSnapshot | None) -> RunSnapshot:
        store = self._store
        series = self._recognised(store.series())
        self._map_metrics(series)
        sessions = store.sessions()
        current = sessions[-1].number if sessions else 0
        hints, facts = store.hints, store.facts
        found = self._profile[1]
        step = newest_step(series, self._metrics, current)
        self._seen.note(time.monotonic(), step)
        pace = pace_of(series, self._metrics, current) or self._seen.pace
        total = max((h.total_steps for h in hints if h.total_steps is not None), default=None)
        each = next((h.epoch_steps for h in hints if h.epoch_steps is not None), None)
        epoch = series.get(self._metrics.get(metrics.EPOCH, ""))
        size, read = sum(f.size for f in facts), sum(min(f.read, f.size) for f in facts)
        filling = any(f.state == "filling" for f in facts)
        last_change, old = self._last_change()
        return RunSnapshot(
            path=self.path,
            name=self._name,
            version=before.version + 1 if before is not None else 1,
            state=state_of(step, hints, total, self._silence(), pace),
            series=series,
            metrics=dict(self._metrics),
            sessions=sessions,
            seams=seams_of(sessions, epoch, each, step),
            sources=facts,
            skipped=store.skipped,
            profile=found.profile.name if found.profile is not None else "",
            profile_by=found.because,
            step=step,
            total_steps=total,
            epoch_steps=each,
            pace=pace,
            last_change=last_change,
            old=old,
            error="" if is_over(step, hints, total) else died_of(store.errors, self._changed),
            progress=read / size if filling and size else 1.0,
            demo=self._demo,
            notices=(*self._several(), *store.notices, *self._scanner.notices),
        )

    def _recognised(self, series: dict[str, Series]) -> dict[str, Series]:
        """The series under the names that the run's profile gives them, once it is known."""
        key = (tuple(series), [h.profile for h in self._store.hints])
        if key == self._profile[0]:
            return series
        before = self._profile[1].profile
        self._profile = (key, recognise(*key, self._profiles, self._config.profile))
        profile = self._profile[1].profile
        if profile is before:
            return series
        self._tags, self._table = None, table_of(profile, self._config.aliases)
        self._store.rename(self._table)
        return self._store.series()

    def _map_metrics(self, series: dict[str, Series]) -> None:
        """Which tag stands for which metric; what no tag gives is derived where it follows from others."""
        tags = tuple(series)
        if tags != self._tags:
            self._tags = tags
            self._metrics = stand_ins(tags, self._table)
        self._derived.add_to(series, self._metrics)
        accuracy = self._metrics.get(metrics.D_ACC, "")
        self._no_share = no_share(series[accuracy]) if accuracy in series else ""
        if self._no_share:
            self._metrics = {name: tag for name, tag in self._metrics.items() if name != metrics.D_ACC}
            self._tags = None

    def _several(self) -> tuple[str, ...]:
        """Notices about files that fail, what else lies at the path, and writers that wrote at once."""
        out = [sanitise_line(f"{f.path}: {f.message}") for f in self._store.facts if f.state == "error"]
        choice = self._chosen()
        if choice.run is None and choice.others:
            out.append(f"{len(choice.others)} runs lie here: choose one of them")
        elif choice.others:
            out.append(said_of_others(choice))
        out += skew(*self._store.stamps, self._grew_time if self._grew_at is not None else None)
        out += [self._no_share] if self._no_share else []
        writers = self._store.labelled
        if writers:
            out.append(f"{len(writers) + 1} writers wrote at the same time; kept apart: {', '.join(writers)}")
        return tuple(out)


def _failing(run: RunSnapshot) -> bool:
    """Whether a file cannot be read at present."""
    return any(facts.state == "error" for facts in run.sources)
