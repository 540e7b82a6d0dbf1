"""Why do training and test disagree? A run and what a test claims go in, an Explanation comes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from critictui.diagnosis.commands import read_run
from critictui.diagnosis.finding import Explanation
from critictui.diagnosis.inquiry import (
    Question,
    explanation_of,
    find_samples,
    job,
)
from critictui.diagnosis.render import explanation_markdown
from critictui.run.facts import RunSnapshot
from critictui.scoring.jobs import Failed
from critictui.tui.evaluation.bench import RunJob
from critictui.tui.evaluation.threads import in_thread

if TYPE_CHECKING:
    pass

from critictui.tui.evaluation.inquiry import Inquiry, notes_below
from critictui.tui.evaluation.question import question_from


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
        return explanation_markdown(self.explanation, self.main.run.name) + notes_below(self.notes)

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
