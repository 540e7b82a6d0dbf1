"""The thread that keeps everything current: a path goes in, frozen snapshots come out, with and without a screen."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from critictui.config import Config
from critictui.monitor.bell import Bell
from critictui.monitor.guard import Guard
from critictui.monitor.notify import Notifier, message_of
from critictui.monitor.rows import RowReader
from critictui.monitor.side import Side
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.monitor.watch import Watch
from critictui.run.choice import choose
from critictui.run.discovery import Scanner
from critictui.run.grouping import FoundFile, FoundRun
from critictui.run.source import Budget

POLL = 1.0
"""Seconds between looks when no bell rings: the truth on network file systems, and everywhere else a safety net."""
_FILLING = Budget(bytes=4 << 20, seconds=0.010)
_FIRST = Budget(bytes=1 << 20, seconds=0.1)
"""A first look is one slice: nobody paints yet."""
_BREATH = 0.002
"""Between slices of history, so that the thread that paints gets its turn."""
_SOONEST = 0.015
"""Between looks at a burst of writes: a step is dozens of records."""
_SCAN_FIRST, _SCAN = 0.02, 0.005
"""Seconds of search a round: until there is a run to show, and beside reading it or the import of a screen."""
_CHOOSE_AFTER = 0.5
_MOST_OVERLAID = 8


class Monitor:
    """Watches `target`, a run directory, a file in one, or a parent of many.

    `listen` is called from the monitor's thread with each new snapshot and must not block. Without it the monitor
    reads what a first frame shows, keeps that in `first`, and waits for a listener. All methods may be called from
    any thread, before `start` and after `stop` too. What fails is a notice in the snapshot; the thread goes on.
    """

    def __init__(self, target: Path, config: Config, listen: Callable[[Snapshot], None] | None = None) -> None:
        self.target = target
        self.first: Snapshot | None = None
        """What was read before anybody listened."""
        self._config = config
        self._listen = listen
        self._rung = threading.Event()
        self._stopping = False
        self._orders: deque[Callable[[], None]] = deque()
        self._thread = threading.Thread(target=self._run, name="critictui-monitor", daemon=True)
        self._guard = Guard()
        self._scanner = Scanner(target)
        self._rows = RowReader(config)
        self._bell = Bell(self._rung.set)
        self._side = Side(self._rung.set)
        self._notifier = Notifier(config.notify)
        self._watches: dict[Path, Watch] = {}
        self._main: Path | None = None
        self._chosen = False
        self._overlaid: tuple[Path, ...] = ()
        self._version = 0
        self._changed = True
        self._posted_at = -math.inf
        self._round_at = -math.inf
        self._began = time.monotonic()
        self._seen: tuple[object, ...] = ()
        self._runs: Sequence[FoundRun] | None = None
        self._paths: frozenset[Path] = frozenset()
        self._armed: set[Path] = set()

    # Orders, from any thread.

    def start(self) -> None:
        """Begin to watch; nothing happens where it has begun. Raises RuntimeError where no thread can be had."""
        if self._thread.ident is None:
            self._thread.start()

    def tell(self, listen: Callable[[Snapshot], None]) -> None:
        """Call `listen` from now on."""
        self._listen = listen
        self._rung.set()

    def stop(self) -> None:
        """Stop watching; returns when the thread has ended, or after two seconds where a file system hangs."""
        self._stopping = True
        self._rung.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=2)

    def select(self, path: Path) -> None:
        """Put this run on the dashboard."""

        def order() -> None:
            self._main, self._chosen = path, True

        self._order(order)

    def overlay(self, paths: Sequence[Path]) -> None:
        """Lay these runs over the selected one; an empty list takes all away."""

        def order() -> None:
            self._overlaid = tuple(dict.fromkeys(paths))[:_MOST_OVERLAID]

        self._order(order)

    def acknowledge(self, key: str) -> None:
        """The user knows of this alert of the selected run."""
        self.snooze(key, math.inf)

    def snooze(self, key: str, seconds: float) -> None:
        """Say nothing of this alert of the selected run for a while."""
        run = self._main

        def order() -> None:
            watch = self._watches.get(run) if run is not None else None
            if watch is not None:
                watch.acknowledge(key, seconds)

        self._order(order)

    def wake(self) -> None:
        """Look at everything now: something happened that no bell tells of, a score was saved for instance."""
        self._side.wake()
        self._rung.set()

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        self._rung.set()

    # The thread.

    def _run(self) -> None:
        try:
            self._look_first()
            self._side.start()
            while not self._stopping:
                self._rung.clear()
                self._round_at = time.monotonic()
                busy = self._guard.call("monitor", self._round, False)
                self._guard.call("listener", self._post_if_due, None)
                self._rest(busy=busy)
        finally:
            self._side.stop()
            self._bell.close()
            self._notifier.close()
            for watch in self._watches.values():
                watch.close()

    def _look_first(self) -> None:
        """Read the newest of the run, and no more until somebody listens: a screen is being imported meanwhile."""
        while self._listen is None and not self._stopping:
            self._rung.clear()
            self._guard.call("monitor", self._round, False)
            self.first = self._guard.call("monitor", self._snapshot, None)
            if self._listen is None:
                self._rung.wait(POLL if self._seen_newest else _SOONEST if self._scanning else _BREATH)
        first, listen = self.first, self._listen
        if first is not None and listen is not None:
            self._guard.call("listener", lambda: listen(first), None)

    def _rest(self, *, busy: bool) -> None:
        """Wait for the bell, the next poll or the moment at which a held-back snapshot is due."""
        if busy:
            time.sleep(_BREATH)
            return
        wait = POLL
        if self._changed:
            wait = min(wait, max(0.0, self._posted_at + self._spacing() - time.monotonic()))
        wait = min(wait, max(self._rows.wait, _BREATH))
        if self._scanning:
            wait = min(wait, _BREATH)
        self._rung.wait(wait)
        early = self._round_at + _SOONEST - time.monotonic()
        if early > 0 and not self._stopping:
            time.sleep(early)

    @property
    def _seen_newest(self) -> bool:
        """The last megabyte was read, or all there is."""
        runs = [watch.run for watch in self._watches.values() if watch.run is not None]
        read = sum(facts.read for run in runs if run.series for facts in run.sources)
        return not self._scanning and (read >= _FIRST.bytes or not self._filling)

    @property
    def _scanning(self) -> bool:
        return not self._scanner.complete

    @property
    def _showing(self) -> bool:
        return any(watch.run is not None and watch.run.series for watch in self._watches.values())

    @property
    def _filling(self) -> bool:
        return any(watch.filling for watch in self._watches.values())

    def _round(self) -> bool:
        """One look at everything; True if there is more to do at once."""
        while self._orders:
            self._orders.popleft()()
            self._changed = True
        searching = self._guard.call("search", self._search, False)
        self._attend()
        listened = self._listen is not None
        if listened:
            self._guard.call("bell", self._arm, None)
        for path, watch in self._watches.items():
            facts = self._side.facts(watch.run_dir)
            self._changed |= watch.poll(_FILLING if listened else _FIRST, facts, judging=listened)
            for news in watch.news:
                self._notifier.send(message_of(news, path, watch.run))
            watch.news.clear()
        if self._rows.wait <= 0 and not self._filling:
            self._changed |= self._guard.call("run list", lambda: self._rows.step(self._watches), False)
        acknowledged = [watch.acknowledged for watch in self._watches.values()]
        seen = (self._scanner.runs, self._notices(), acknowledged, self._scanner.scanned if self._scanning else 0)
        self._changed |= seen != self._seen
        self._seen = seen
        return self._filling or searching

    def _search(self) -> bool:
        searching = self._scanner.step(_SCAN if self._showing or self._listen is None else _SCAN_FIRST)
        runs = self._scanner.runs
        if runs is not self._runs:
            self._runs, self._paths = runs, frozenset(run.path for run in runs)
            self._rows.found(runs)
        if runs and not self._chosen and self._main not in self._paths:
            self._choose(runs)
        return searching

    def _choose(self, runs: Sequence[FoundRun]) -> None:
        """The run that the path means; where it means none, the newest, once there was a moment to find it."""
        waited = time.monotonic() - self._began > _CHOOSE_AFTER
        if self._scanner.complete or waited:
            choice = choose(self.target, runs)
            self._main = (choice.run or choice.others[0]).path

    def _attend(self) -> None:
        """Read the chosen runs, and only them."""
        wanted = [p for p in dict.fromkeys((self._main, *self._overlaid)) if p is not None]
        if list(self._watches) == wanted:
            return
        files = {run.path: run.files for run in self._scanner.runs}
        for path in self._watches.keys() - set(wanted):
            self._watches[path].close()
        self._watches = {p: self._watches.get(p) or self._new_watch(p, files.get(p, ())) for p in wanted}
        self._side.watch([watch.run_dir for watch in self._watches.values()])
        self._changed = True

    def _new_watch(self, path: Path, files: tuple[FoundFile, ...]) -> Watch:
        return Watch(path, self._config, files, self._scanner if path == self.target else None)

    def _arm(self) -> None:
        """Before the files are looked at: what is written from now on rings."""
        folders: set[Path] = set()
        for watch in self._watches.values():
            folders |= watch.folders
        self._bell.arm(folders)

    # What goes out.

    def _notices(self) -> tuple[str, ...]:
        parts = (self._scanner.notices, (self._bell.notice,), self._notifier.notices, self._guard.notices)
        watches = (watch.notices for watch in self._watches.values())
        return tuple(dict.fromkeys(notice for part in (*parts, *watches) for notice in part if notice))

    def _spacing(self) -> float:
        return 1 / self._config.refresh if self._filling or self._scanning else _SOONEST

    def _post_if_due(self) -> None:
        listen = self._listen
        if listen is None or not self._changed or time.monotonic() < self._posted_at + self._spacing():
            return
        self._changed = False
        self._posted_at = time.monotonic()
        listen(self._snapshot())

    def _snapshot(self) -> Snapshot:
        self._version += 1
        watched: dict[Path, WatchedRun] = {}
        for path, watch in self._watches.items():
            state = watch.state()
            if state is not None:
                watched[path] = state
        return Snapshot(
            version=self._version,
            target=self.target,
            rows=self._rows.rows(watched),
            watched=tuple(watched.values()),
            scanned=self._scanner.scanned,
            scanning=self._scanning,
            passed_over=self._scanner.passed_over,
            notices=self._notices(),
        )
