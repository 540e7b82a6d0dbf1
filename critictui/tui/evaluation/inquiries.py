"""Diagnoses and explanations from the screen: gather without torch, let the worker measure, judge."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from critictui.checkpoint.audit import audit
from critictui.checkpoint.checkpoint import Checkpoint, CheckpointError
from critictui.config import Config
from critictui.diagnosis.claims import parse_claims
from critictui.diagnosis.commands import read_run
from critictui.diagnosis.finding import Diagnosis, Explanation
from critictui.diagnosis.inquiry import (
    Question,
    Subject,
    can_measure,
    diagnosis_of,
    explanation_of,
    find_samples,
    job,
    run_of,
    subject_of,
)
from critictui.diagnosis.render import diagnosis_markdown, explanation_markdown
from critictui.diagnosis.script import DiagnosisError, read_script
from critictui.errors import InputError
from critictui.monitor.snapshot import WatchedRun
from critictui.run.facts import RunSnapshot
from critictui.scoring.jobs import Failed
from critictui.scoring.order import usual_fixed_set
from critictui.scoring.recipe_choice import choose_recipe
from critictui.tui import words
from critictui.tui.evaluation.bench import Bench, Ended, Kind, RunJob, Task
from critictui.tui.evaluation.plan import Plan, make_plan, no_set_words, run_dir_of, step_words
from critictui.tui.evaluation.scoring import failure
from critictui.tui.evaluation.threads import in_thread

if TYPE_CHECKING:
    from critictui.tui.navigation import Shell

Stage = Literal["gathering", "asks", "working", "judging", "done"]
LONG_SECONDS = 120.0
"""Work that takes longer on the CPU is not begun without a word of the user."""


class Inquiry:
    """One question about a checkpoint, from the key to the answer. Screens come and go; it stays on the bench."""

    kind: Kind
    passes: float
    """How many times the work of one score it takes, roughly: for the estimate of its time."""
    doing: str
    door: str
    """The key that opens it."""

    def __init__(self, app: Shell, bench: Bench, checkpoint: Checkpoint | None, main: WatchedRun) -> None:
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
        found = _subject(self.checkpoint, config, fixed_set)
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
        chosen = next((c for c in plan.choices(share=False) if c.device == self._app.config.device), None)
        placement = (chosen or plan.choices(share=False)[0]).placement
        seconds = plan.start_seconds + (plan.cpu_seconds or 0.0) * self.passes
        if placement.device != "cpu" or seconds < LONG_SECONDS:
            return ""
        return f"measuring takes about {words.duration(seconds)} {placement.message}; g goes on with it"

    def _gathered(self) -> None:
        """The subject may be another one now: forget what was measured of the old one."""

    def _measured(self) -> bool:
        raise NotImplementedError

    async def _measure(self, run: RunJob) -> Failed | None:
        raise NotImplementedError

    def _judge(self) -> None:
        raise NotImplementedError


class DiagnosisInquiry(Inquiry):
    """Is this checkpoint sound?"""

    kind = "diagnose"
    passes = 2.5
    doing = "diagnosing"
    door = "d"

    diagnosis: Diagnosis | None = None
    _behaviour: tuple[str, Mapping[str, object]] | None = None
    """Fingerprint and what was measured."""

    @property
    def answered(self) -> bool:
        """Whether there is anything to show."""
        return self.diagnosis is not None

    @property
    def verdict(self) -> str:
        """`doubtful`."""
        return self.diagnosis.verdict if self.diagnosis is not None else "no answer"

    def markdown(self) -> str:
        """The answer as a report."""
        assert self.diagnosis is not None
        what = step_words(self.checkpoint) if self.checkpoint is not None else ""
        return diagnosis_markdown(self.diagnosis, f"{self.main.run.name}, {what}") + _notes(self.notes)

    def _gathered(self) -> None:
        audit = self.subject.audit if self.subject is not None else None
        if self._behaviour is not None and (audit is None or audit.fingerprint != self._behaviour[0]):
            self._behaviour = None

    def _measured(self) -> bool:
        return self._behaviour is not None

    def measured(self) -> bool:
        """Whether the worker's numbers are in the answer."""
        return self._measured()

    async def _measure(self, run: RunJob) -> Failed | None:
        assert self.subject is not None
        assert self.subject.audit is not None
        outcome = await run(job("diagnose", self.subject, self._app.config.device))
        if isinstance(outcome, Failed):
            return outcome
        self._behaviour = (self.subject.audit.fingerprint, outcome.result)
        return None

    def _judge(self) -> None:
        if self.subject is not None:
            self.diagnosis = diagnosis_of(self.subject, self._behaviour[1] if self._behaviour else None)


class ExplanationInquiry(Inquiry):
    """Why do training and test disagree?"""

    kind = "explain"
    passes = 15.0
    doing = "explaining"
    door = "x"

    explanation: Explanation | None = None
    question = Question()
    typed = ""
    """The test numbers as they were typed."""
    _simulated: tuple[str, Mapping[str, object]] | None = None
    _replayed: tuple[str, Mapping[str, object]] | None = None
    """Fingerprint (and samples) with the worker's answer."""

    @property
    def answered(self) -> bool:
        """Whether there is anything to show."""
        return self.explanation is not None

    @property
    def verdict(self) -> str:
        """The headline."""
        return self.explanation.headline if self.explanation is not None else "no answer"

    def markdown(self) -> str:
        """The answer as a report."""
        assert self.explanation is not None
        return explanation_markdown(self.explanation, self.main.run.name) + _notes(self.notes)

    async def ask(self, text: str) -> None:
        """Judge numbers that were typed; an empty text goes back to the fixed set's own. Raises DiagnosisError."""
        self.question = await in_thread(lambda: question_from(text), "question")
        self.typed = text.strip()

    def _fingerprint(self) -> str:
        audit = self.subject.audit if self.subject is not None else None
        return audit.fingerprint if audit is not None else ""

    def _gathered(self) -> None:
        if self._simulated is not None and self._simulated[0] != self._fingerprint():
            self._simulated = None

    def _samples(self) -> Path | None:
        return self.question.samples or find_samples(self.run_dir)

    def _replay_key(self) -> str:
        samples = self._samples()
        return f"{self._fingerprint()} {samples}" if samples is not None else ""

    def _measured(self) -> bool:
        replayed = not self._replay_key() or (self._replayed is not None and self._replayed[0] == self._replay_key())
        return self._simulated is not None and replayed

    async def _measure(self, run: RunJob) -> Failed | None:
        assert self.subject is not None
        device = self._app.config.device
        if self._simulated is None:
            outcome = await run(job("simulate", self.subject, device))
            if isinstance(outcome, Failed):
                return outcome
            self._simulated = (self._fingerprint(), outcome.result)
            await self.judge()
        samples = self._samples()
        if samples is not None:
            outcome = await run(job("replay", self.subject, device, samples=str(samples.absolute())))
            if isinstance(outcome, Failed):
                if outcome.reason == "cancelled":
                    return outcome
                self.notes = (*self.notes, f"replay: {outcome.message}")
                self._replayed = (self._replay_key(), {})
            else:
                self._replayed = (self._replay_key(), self._same_step(outcome.result, samples))
        return None

    def _same_step(self, result: Mapping[str, object], samples: Path) -> Mapping[str, object]:
        step = self.subject.checkpoint.step if self.subject is not None else None
        if result.get("step") in {None, step}:
            return result
        note = f"{samples.name} is of step {result.get('step')}, not of this checkpoint: not replayed"
        self.notes = (*self.notes, note)
        return {}

    def _judge(self) -> None:
        simulated = self._simulated[1] if self._simulated is not None else None
        replayed = self._replayed[1] if self._replayed is not None else None
        self.explanation = explanation_of(self._run(), self.subject, self.question, simulated, replayed or None)

    def _run(self) -> RunSnapshot:
        run = self.main.run
        return run if run.progress >= 1 else read_run(run.path, self._app.config)


def _subject(checkpoint: Checkpoint, config: Config, fixed_set: Path | None) -> Subject:
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


def question_from(text: str) -> Question:
    """`d_acc=0.4575 margin=0.01 pairs=400 script=score.py samples=x.pt`, or a script alone. Raises DiagnosisError."""
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise DiagnosisError(f"{text}: {error}; write name=value, a path with blanks in quotes") from None
    claims: list[str] = []
    pairs: int | None = None
    script: Path | None = None
    samples: Path | None = None
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals and part.endswith(".py"):
            name, value = "script", part
        if name == "pairs":
            pairs = _whole(part, value)
        elif name == "script":
            script = Path(value).expanduser()
        elif name == "samples":
            samples = Path(value).expanduser()
        else:
            claims.append(part)
    if samples is not None and not samples.is_file():
        raise DiagnosisError(f"{samples}: no such file; give what training saved")
    claim = parse_claims(claims, pairs)
    if claim is None and pairs is not None:
        raise DiagnosisError("pairs alone say nothing: write d_acc=..., margin=..., teacher=..., student=... as well")
    return Question(claim, read_script(script) if script is not None else None, samples)


def _whole(text: str, number: str) -> int:
    if not (number.isascii() and number.isdigit()):
        raise DiagnosisError(f"{text}: the number of pairs is a whole number")
    return int(number)


def _notes(notes: tuple[str, ...]) -> str:
    return "".join(f"\n- {' '.join(note.split())}" for note in notes) + ("\n" if notes else "")
