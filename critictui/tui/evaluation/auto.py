"""`--auto-score`: each checkpoint that becomes complete while we watch is scored, oldest first, one at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.checkpoint.find import find_checkpoints
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.scoring.follow import ATTEMPTS, ROOM_SECONDS
from critictui.tui.evaluation.bench import Bench, Ended
from critictui.tui.evaluation.plan import Plan, make_plan, run_dir_of
from critictui.tui.evaluation.scoring import score_task
from critictui.tui.evaluation.threads import in_thread

if TYPE_CHECKING:
    from critictui.tui.evaluation.host import Host

_OLD = 600.0
"""Seconds after its last byte in which a checkpoint that we found unfinished may still be new."""

Key = tuple[Path, float]
"""A checkpoint as it is now: written again, it is another one."""


class AutoScore:
    """Looks at each snapshot; the bench does the work when nobody else wants it."""

    def __init__(self, app: Host, bench: Bench) -> None:
        self._app, self._bench = app, bench
        self._known: dict[Path, frozenset[Key]] = {}
        """Per run, what was complete before we watched it: history, scored only by whoever names it."""
        self._tried: dict[Key, int] = {}
        self._said: set[str] = set()
        self._busy = False
        self.room_seconds = ROOM_SECONDS
        self._no_room_until = 0.0
        self._waited: set[Key] = set()

    async def look(self, snapshot: Snapshot) -> None:
        """Start on the oldest checkpoint that is new and not scored, if the bench is free."""
        main = snapshot.main
        if main is None or self._busy:
            return
        self._busy = True
        try:
            await self._look(main)
        finally:
            self._busy = False

    async def _look(self, main: WatchedRun) -> None:
        run_dir = run_dir_of(main)
        if run_dir not in self._known:
            found = await in_thread(lambda: find_checkpoints(run_dir), "checkpoints")
            old = time.time() - _OLD
            self._known[run_dir] = frozenset(_key(c) for c in found if c.state == "complete" or c.modified < old)
        if self._bench.running is not None or time.monotonic() < self._no_room_until:
            return
        checkpoint = self.next_one(main)
        if checkpoint is None:
            return
        key, config, peaks = _key(checkpoint), self._app.config, self._app.gpu_peaks()
        plan = await in_thread(lambda: make_plan(checkpoint, run_dir, config, main.scores, peaks), "plan")
        if plan.scored is not None:
            self._tried[key] = ATTEMPTS
        elif plan.problem:
            self._tried[key] = ATTEMPTS
            self._say(f"not scored by itself: {plan.problem}")
        elif not (choice := plan.choice(plan.usual_device(config))).ok:
            self._no_room_until = time.monotonic() + self.room_seconds
            self._app.set_timer(self.room_seconds, self._look_again, name="room")
            if key not in self._waited:
                self._waited.add(key)
                self._say(f"{plan.step_words} waits for room: {choice.placement.message}")
        elif self._bench.running is None:
            self._begin(plan, key)

    async def _look_again(self) -> None:
        """Nothing may happen in the run while training makes room."""
        if self._app.snapshot is not None:
            await self.look(self._app.snapshot)

    def next_one(self, main: WatchedRun) -> Checkpoint | None:
        """The oldest complete checkpoint that appeared while we watched and is still to be scored."""
        known = self._known.get(run_dir_of(main), frozenset())
        fresh = [c for c in main.checkpoints if c.state == "complete" and _key(c) not in known]
        todo = [c for c in fresh if self._tried.get(_key(c), 0) < ATTEMPTS]
        return min(todo, key=lambda c: (c.step is None, c.step or 0, c.modified), default=None)

    def _begin(self, plan: Plan, key: Key) -> None:
        def ended(how: Ended) -> None:
            if how.good or how.cancelled:
                self._tried[key] = ATTEMPTS

        self._tried[key] = self._tried.get(key, 0) + 1
        task = score_task(self._app, self._bench, plan, plan.usual_device(self._app.config), share=False, then=ended)
        self._bench.offer(task)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._app.say(text, "warning")


def _key(checkpoint: Checkpoint) -> Key:
    return checkpoint.path, checkpoint.modified
