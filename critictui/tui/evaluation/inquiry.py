"""A question to a checkpoint or a run, from the screen: gather without torch, let the worker measure, judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from critictui.checkpoint.audit import audit
from critictui.checkpoint.checkpoint import Checkpoint, CheckpointError
from critictui.config import Config
from critictui.diagnosis.inquiry import Subject, can_measure, run_of, subject_of
from critictui.durations import duration
from critictui.errors import InputError
from critictui.monitor.snapshot import WatchedRun
from critictui.scoring.jobs import Failed
from critictui.scoring.order import usual_fixed_set
from critictui.scoring.recipe_choice import choose_recipe
from critictui.tui.evaluation.bench import Bench, Ended, Kind, RunJob, Task
from critictui.tui.evaluation.plan import Plan, make_plan, no_set_words, run_dir_of, step_words
from critictui.tui.evaluation.scoring import failure
from critictui.tui.evaluation.threads import in_thread

if TYPE_CHECKING:
    from critictui.tui.evaluation.host import Host

Stage = Literal["gathering", "asks", "working", "judging", "done"]
LONG_SECONDS = 120.0
"""Work that takes longer on the CPU is not begun without a word of the user."""
_MOST = 20
"""Each holds a run's columns and a worker's answer."""


class Inquiry:
    """One question about a checkpoint, from the key to the answer. Screens come and go; it stays on the bench."""

    kind: Kind
    passes: float
    """How many times the work of one score it takes, roughly: for the estimate of its time."""
    doing: str
    door: str
    """The key that opens it."""

    def __init__(self, app: Host, bench: Bench, checkpoint: Checkpoint | None, main: WatchedRun) -> None:
        self._app, self._bench = app, bench
        self.checkpoint, self.main = checkpoint, main
        self.run_dir = run_dir_of(main)
        self.key = inquiry_key(self.kind, self.run_dir, checkpoint)
        self.stage: Stage = "gathering"
        self.problem = ""
        """What failed, in words; what was found before stands."""
        self.asked = ""
        """Why it waits for the user's word."""
        self.notes: tuple[str, ...] = ()
        """What could not be looked at."""
        self.subject: Subject | None = None
        self.version = 0
        """Grows with every change of the answer."""

    @property
    def title(self) -> str:
        """`diagnosing step 310`."""
        what = step_words(self.checkpoint) if self.checkpoint is not None else self.main.run.name
        return f"{self.doing} {what}"

    @property
    def answered(self) -> bool:
        """Whether there is anything to show."""
        raise NotImplementedError

    @property
    def verdict(self) -> str:
        """The answer in a line."""
        raise NotImplementedError

    def on_top(self) -> bool:
        """Whether the user is looking at it."""
        return getattr(self._app.screen, "inquiry", None) is self

    def markdown(self) -> str:
        """The answer as a report."""
        raise NotImplementedError

    @staticmethod
    def run_of(main: WatchedRun) -> Path:
        """The directory of the run that is asked about."""
        return run_dir_of(main)

    async def begin(self, main: WatchedRun | None = None, *, confirmed: bool = False) -> None:
        """Gather, judge from the files, then let the worker measure what it has not measured yet."""
        if self._bench.state_of(self.key) != "none":
            return
        self.main = main if main is not None else self.main
        self.problem = self.asked = ""
        try:
            await self._enter("gathering")
            plan = await in_thread(self._gather, "gather")
            self.notes = self._gaps(plan)
            await self.judge()
            if plan is None or not self._may_measure() or self._measured():
                await self._enter("done")
            elif not confirmed and (asked := self._long(plan)):
                self.asked = asked
                await self._enter("asks")
            else:
                await self._offer()
        except InputError as error:
            self.problem = str(error)
            await self._enter("done")

    async def _offer(self) -> None:
        taken = self._bench.offer(Task(self.kind, self.key, self.title, self._work, self.on_top))
        if taken == "full":
            waiting = self._bench.waiting
            self.problem = f"not begun: {waiting.title if waiting else 'other work'} waits already; R tries again"
        await self._enter("working" if taken in {"started", "waiting", "same"} else "done")

    async def _work(self, run: RunJob) -> Ended:
        try:
            failed = await self._measure(run)
            await self._enter("judging")
            await self.judge()
        finally:
            self.stage = "done"
            self.version += 1
        if failed is None:
            return Ended(good=True, said=f"{self.title}: {self.verdict}; {self.door} shows it")
        ended = failure(self.title, failed)
        self.problem = ended.said
        return ended

    async def judge(self) -> None:
        """Judge everything that is known by now, in a thread."""
        await in_thread(self._judge, "judge")
        self.version += 1
        self._bench.told()

    async def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.version += 1
        self._bench.told()

    def _gather(self) -> Plan | None:
        """In a thread: the subject, and what measuring it would take."""
        if self.checkpoint is None:
            return None
        config, scores = self._app.config, self.main.scores
        fixed_set = usual_fixed_set(self.run_dir, config, scores)
        found = _known_subject(self.checkpoint, config, fixed_set)
        known = {s.path for s in scores}
        more = tuple(s for s in found.scores if s.path not in known)
        self.subject = replace(found, run_dir=self.run_dir, scores=(*scores, *more))
        self._gathered()
        return make_plan(found.checkpoint, self.run_dir, config, scores)

    def _may_measure(self) -> bool:
        return self.subject is not None and can_measure(self.subject) and self.subject.fixed_set is not None

    def _gaps(self, plan: Plan | None) -> tuple[str, ...]:
        if self.subject is not None and can_measure(self.subject) and self.subject.fixed_set is None:
            return (f"only the files were looked at: {no_set_words(self.run_dir)}",)
        if plan is not None and self._may_measure() and "torch" in plan.problem:
            return (plan.problem,)
        return ()

    def _long(self, plan: Plan) -> str:
        """Why this should not begin without a word; empty when it is quick."""
        if "torch" in plan.problem:
            return plan.problem
        placement = plan.choice(self._app.config.device).placement
        seconds = plan.start_seconds + (plan.cpu_seconds or 0.0) * self.passes
        if placement.device != "cpu" or seconds < LONG_SECONDS:
            return ""
        return f"measuring takes about {duration(seconds)} {placement.message}; g goes on with it"

    def _gathered(self) -> None:
        """The subject may be another one now: forget what was measured of the old one."""

    def _measured(self) -> bool:
        raise NotImplementedError

    async def _measure(self, run: RunJob) -> Failed | None:
        raise NotImplementedError

    def _judge(self) -> None:
        raise NotImplementedError


class Inquiries:
    """The diagnoses and explanations of this session, by what was asked."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._kept: dict[tuple[object, ...], Inquiry] = {}

    def get(self, key: tuple[object, ...]) -> Inquiry | None:
        """The one with this key."""
        return self._kept.get(key)

    def remember(self, inquiry: Inquiry) -> Inquiry:
        """Keep it; the oldest of very many goes, unless it is on the bench."""
        self._kept[inquiry.key] = inquiry
        for key in list(self._kept)[:-_MOST]:
            if self._bench.state_of(key) == "none":
                del self._kept[key]
        return inquiry

    def forget(self, key: tuple[object, ...]) -> None:
        """Ask anew the next time."""
        self._kept.pop(key, None)


def _known_subject(checkpoint: Checkpoint, config: Config, fixed_set: Path | None) -> Subject:
    """What is known without torch; of an incomplete checkpoint too, which nothing else looks at."""
    if checkpoint.state == "complete":
        return subject_of(checkpoint.path, config, fixed_set)
    found, problem = None, ""
    try:
        found = audit(checkpoint)
    except CheckpointError as error:
        problem = str(error)
    return Subject(
        checkpoint=checkpoint,
        audit=found,
        problem=problem,
        run_dir=run_of(checkpoint.path),
        neighbours=(),
        scores=(),
        fixed_set=fixed_set,
        recipe=choose_recipe(config.recipe, checkpoint.path).recipe.to_dict(),
    )


def inquiry_key(kind: Kind, run_dir: Path, checkpoint: Checkpoint | None) -> tuple[object, ...]:
    """A checkpoint that was written again is another question."""
    return (kind, run_dir, checkpoint.path if checkpoint else None, checkpoint.modified if checkpoint else None)


def notes_below(notes: tuple[str, ...]) -> str:
    """What there is to add, as a list under a report."""
    return "".join(f"\n- {' '.join(note.split())}" for note in notes) + ("\n" if notes else "")
