"""Is this checkpoint sound? A checkpoint goes in, a Diagnosis comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from critictui.diagnosis.finding import Diagnosis
from critictui.diagnosis.inquiry import (
    diagnosis_of,
    job,
)
from critictui.diagnosis.render import diagnosis_markdown
from critictui.scoring.jobs import Failed
from critictui.tui.evaluation.bench import RunJob
from critictui.tui.evaluation.plan import step_words

if TYPE_CHECKING:
    pass

from critictui.tui.evaluation.inquiry import Inquiry, notes_below


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
        return diagnosis_markdown(self.diagnosis, f"{self.main.run.name}, {what}") + notes_below(self.notes)

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
