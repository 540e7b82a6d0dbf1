"""The work bench: one worker at a time, at most one piece of work waiting; what runs and how it ended is known."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from critictui.errors import InputError
from critictui.scoring.client import Patience, run_job
from critictui.scoring.jobs import Failed, Finished, Job, JobMessage, Progress
from critictui.scoring.usual_scores import usual_scores
from critictui.tui.evaluation.early import EarlyWorker
from critictui.tui.evaluation.plan import run_dir_of
from critictui.tui.evaluation.threads import in_thread
from critictui.tui.evaluation.unsaved import Unsaved

if TYPE_CHECKING:
    from textual.timer import Timer

    from critictui.monitor.snapshot import Snapshot
    from critictui.scoring.cluster import Cluster
    from critictui.scoring.order import Order
    from critictui.scoring.result import ScoreResult
    from critictui.tui.evaluation.host import Host

Kind = Literal["score", "diagnose", "explain"]
RunJob = Callable[[Job], Awaitable[Finished | Failed]]
"""Runs one job in the worker process; its progress is the bench's."""
Offer = Literal["started", "waiting", "same", "full"]
SILENT_SECONDS = 10.0
"""Five heartbeats that did not come: what is known of the job's pace is not shown any more."""
_FRAME = 0.25
"""Seconds between two repaints of a job's line."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a piece of work ended, in words."""

    good: bool
    said: str
    """One line for a toast; what follows a newline is detail for a screen."""
    cancelled: bool = False

    @property
    def first(self) -> str:
        """The line for a toast."""
        return self.said.partition("\n")[0]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A piece of work: jobs for the worker and what is made of their results."""

    kind: Kind
    key: tuple[object, ...]
    """What is asked: two tasks of the same key are the same work."""
    title: str
    """`scoring step 310`."""
    work: Callable[[RunJob], Awaitable[Ended]]
    on_top: Callable[[], bool] = lambda: False
    """Whether the screen that the user looks at shows the result: then it is not announced."""


@dataclass(slots=True)
class Running:
    """The task that runs, and how far it is."""

    task: Task
    progress: Progress | None = None
    began: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    heard: float | None = None
    """When the worker on this machine spoke last; None for work that has no heartbeat."""

    @property
    def silent(self) -> float:
        """Seconds without a sign of life, though a worker speaks every two; 0 below `SILENT_SECONDS`."""
        silence = time.monotonic() - self.heard if self.heard is not None else 0.0
        return silence if silence >= SILENT_SECONDS else 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began


class Bench:
    """Owned by the app; all methods are called in its event loop."""

    def __init__(self, app: Host) -> None:
        self._app = app
        self.running: Running | None = None
        self.waiting: Task | None = None
        self.last: tuple[Task, Ended] | None = None
        """The task that ended last, and how."""
        self.failed: dict[tuple[object, ...], Ended] = {}
        """Scores that ended without a result, by what was asked, until the next try."""
        self.command: Sequence[str] = ()
        """A worker other than ours, for tests."""
        self.patience = Patience()
        self.unsaved: Unsaved | None = None
        """Scores that no disk took; None until there is one."""
        self._early = EarlyWorker()
        self._cancel = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._clock: Timer | None = None
        self._told = 0.0

    def expect(self) -> None:
        """Work is likely to be offered in a moment: its worker starts now, and imports what it needs meanwhile."""
        if self.running is None and not self._closing:
            self._early.expect(self.command)

    def unexpect(self) -> None:
        """Nothing was offered."""
        self._early.drop()

    def offer(self, task: Task) -> Offer:
        """Start it, or let it wait behind the one that runs. The same work twice, or a third, is not taken."""
        if self._closing:
            return "full"
        if self.running is None:
            self._start(task)
            return "started"
        if task.key == self.running.task.key and not self.running.cancelled:
            return "same"
        if self.waiting is not None:
            return "same" if task.key == self.waiting.key else "full"
        self.waiting = task
        self._tell()
        return "waiting"

    def state_of(self, key: tuple[object, ...]) -> Literal["running", "waiting", "none"]:
        """Whether this work is on the bench."""
        if self.running is not None and self.running.task.key == key:
            return "running"
        return "waiting" if self.waiting is not None and self.waiting.key == key else "none"

    def cancel(self) -> None:
        """End what runs; what waits comes next. Safe at any time."""
        if self.running is not None:
            self.running.cancelled = True
            self._cancel.set()
            self._tell()

    @property
    def busy(self) -> bool:
        """Whether there is anything to cancel."""
        return self.running is not None and not self.running.cancelled

    def forget(self, key: tuple[object, ...]) -> None:
        """Take this work off the bench, wherever it is."""
        if self.waiting is not None and self.waiting.key == key:
            self.waiting = None
            self._tell()
        elif self.state_of(key) == "running":
            self.cancel()

    async def close(self) -> None:
        """End everything; returns when the worker is gone."""
        self._closing, self.waiting = True, None
        self._cancel.set()
        await self._early.close()
        try:
            await asyncio.wait_for(self._idle.wait(), 2 * self.patience.grace + 2)
        except TimeoutError:
            return

    def failure_of(self, key: tuple[object, ...]) -> str:
        """`failed: the worker died: SIGKILL ...`; empty where the last try ended well, or there was none."""
        ended = self.failed.get(key)
        if ended is None:
            return ""
        return "score cancelled" if ended.cancelled else f"failed: {ended.first.partition(': ')[2] or ended.first}"

    def keep_unsaved(self, run_dir: Path, answer: Mapping[str, object]) -> ScoreResult:
        """Take a score that was not saved; raises ScoringError where it is no score."""
        self.unsaved = self.unsaved or Unsaved(self._app, self.renew)
        return self.unsaved.keep(run_dir, answer)

    def with_unsaved(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with the scores that are only in memory: they have their row and their point like any other."""
        kept = self.unsaved.kept if self.unsaved is not None else ()
        main = snapshot.main
        if main is None:
            return snapshot
        saved = [score for score in main.scores if score.path is not None]
        run_dir = run_dir_of(main).absolute()
        more = [k.result for k in kept if k.run_dir.absolute() == run_dir]
        if not more and len(saved) == len(main.scores):
            return snapshot
        scores = sorted([*saved, *more], key=lambda s: -1 if s.step is None else s.step)
        own = tuple(usual_scores(scores, run_dir, self._app.config))
        watched = (replace(main, scores=tuple(scores), own_scores=own), *snapshot.watched[1:])
        return replace(snapshot, watched=watched)

    def _start(self, task: Task) -> None:
        self.failed.pop(task.key, None)
        self._cancel = asyncio.Event()
        self._idle.clear()
        self.running = Running(task)
        self._clock = self._app.set_interval(1.0, self._app.tick_work, name="job")
        self._app.run_worker(self._run(task), name=task.title, group="evaluation", exit_on_error=False)
        self._tell()

    async def _run(self, task: Task) -> None:
        ended = Ended(good=False, said=f"{task.title}: cancelled", cancelled=True)
        try:
            ended = await self._attempt(task)
        finally:
            self.running, self.last = None, (task, ended)
            if task.kind == "score" and not ended.good:
                self.failed[task.key] = ended
            follower, self.waiting = self.waiting, None
            self._early.drop()  # a piece of work that needed no worker left it
            self._idle.set()
            if self._clock is not None:
                self._clock.stop()
            if not self._closing:
                self._announce(task, ended)
                if follower is not None:
                    self._start(follower)
                self._tell()
                self.renew()

    def renew(self) -> None:
        """Another score in memory, or another failure: the screen on top shows it."""
        if self._app.snapshot is not None:
            self._app.snapshot = self.with_unsaved(self._app.snapshot)
            self._app.tell_screen(self._app.snapshot)

    async def _attempt(self, task: Task) -> Ended:
        try:
            return await task.work(self._run_job)
        except InputError as error:
            return Ended(good=False, said=f"{task.title}: {error}")
        except Exception as error:  # noqa: BLE001 - the boundary of this work: it is said, and the next one starts
            self._app.report(error, task.title)
            return Ended(good=False, said=f"{task.title}: {type(error).__name__}: {error}")

    async def _run_job(self, job: Job) -> Finished | Failed:
        if self._cancel.is_set():
            return Failed("cancelled", "cancelled")
        if self.running is not None:
            self.running.heard = time.monotonic()
        if (early := await self._early.take()) is not None:
            return await early.run(job, self._heard, cancel=self._cancel, patience=self.patience)
        return await run_job(job, self._heard, cancel=self._cancel, patience=self.patience, command=self.command)

    async def elsewhere(self, order: Order, cluster: Cluster) -> Finished | Failed:
        """Let a node of a cluster make the score; whatever ends this work cancels the job."""
        from critictui.scoring.elsewhere import score_elsewhere

        if self._cancel.is_set():
            return Failed("cancelled", "cancelled")
        loop, stop = asyncio.get_running_loop(), threading.Event()

        def heard(progress: Progress) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._heard, progress)

        cancelled = asyncio.create_task(self._cancel.wait())
        cancelled.add_done_callback(lambda _: stop.set())
        try:
            return await in_thread(lambda: score_elsewhere(order, cluster, heard, stop=stop), "cluster")
        finally:
            cancelled.cancel()

    def _heard(self, message: JobMessage) -> None:
        if self.running is None or not isinstance(message, Progress):
            return
        before, self.running.progress = self.running.progress, message
        if self.running.heard is not None:
            self.running.heard = time.monotonic()
        new_phase = before is None or before.phase != message.phase
        if new_phase or time.monotonic() - self._told >= _FRAME:
            self._tell()

    def _announce(self, task: Task, ended: Ended) -> None:
        if ended.cancelled:
            self._app.say(ended.first)
        elif not ended.good:
            self._app.say(ended.first, "error")
        elif not task.on_top():
            self._app.say(ended.said)

    def told(self) -> None:
        """Something that the screens show changed elsewhere."""
        self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        self._app.tell_work()
