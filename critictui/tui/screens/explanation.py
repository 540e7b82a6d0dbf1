"""Why do training and test disagree? The headline, the causes, and a line to type another test's numbers into."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Input

from critictui.diagnosis.finding import Explanation
from critictui.diagnosis.script import DiagnosisError
from critictui.tui import keys
from critictui.tui.evaluation.explanation_inquiry import ExplanationInquiry
from critictui.tui.evaluation.inquiry import Inquiry
from critictui.tui.evaluation.items import Item, explanation_items, explanation_lead
from critictui.tui.screens.metrics import FilterInput
from critictui.tui.screens.report import ReportScreen
from critictui.tui.widgets.rows import Rows

_LONGEST = 2000


class ExplanationScreen(ReportScreen):
    """One run, judged at one checkpoint."""

    HELP = (
        "Why do training and test disagree? The test is this checkpoint's score on the fixed set, or numbers that you "
        "type after t: d_acc=0.4575 margin=0.01 teacher=-0.50 student=-0.49 pairs=400, and script=score.py to have a "
        "scoring script read (it is never run). The known mistakes are simulated on this very checkpoint and fixed "
        "set; 'lands' says which of them gives the test's numbers. Causes come most likely first; Enter goes to the "
        "evidence of one."
    )
    BINDINGS: ClassVar[list[BindingType]] = [*keys.EXPLANATION]
    kind = ExplanationInquiry

    def compose_body(self) -> ComposeResult:
        """A line to type into, below the rest."""
        yield from super().compose_body()
        yield FilterInput(
            placeholder="d_acc=0.4575 margin=0.01 pairs=400 script=score.py", id="search", max_length=_LONGEST
        )

    def on_mount(self) -> None:
        """Nothing to type until asked."""
        entry = self.query_one("#search", FilterInput)
        entry.cursor_blink = False
        entry.display = False

    def lead(self, inquiry: Inquiry) -> Content:
        """The headline."""
        assert isinstance(inquiry, ExplanationInquiry)
        assert inquiry.explanation is not None
        return explanation_lead(on_screen(inquiry.explanation))

    def items(self, inquiry: Inquiry) -> list[Item]:
        """The causes."""
        assert isinstance(inquiry, ExplanationInquiry)
        assert inquiry.explanation is not None
        return explanation_items(on_screen(inquiry.explanation), self.shell.glyphs)

    def list_title(self, inquiry: Inquiry) -> str:
        """Against which test."""
        assert isinstance(inquiry, ExplanationInquiry)
        against = inquiry.typed or "the fixed set's own score (t: type the numbers of another test)"
        return f"{inquiry.title.removeprefix('explaining ')} against {against}"

    def action_test(self) -> None:
        """Type."""
        entry = self.query_one("#search", FilterInput)
        if isinstance(self.inquiry, ExplanationInquiry):
            entry.value = self.inquiry.typed
        entry.display = True
        entry.focus()

    def action_leave_filter(self) -> None:
        """Back to the list."""
        self.query_one("#search", FilterInput).display = False
        self.query_one("#report-items", Rows).focus()

    async def on_input_submitted(self, message: Input.Submitted) -> None:
        """Judge these numbers; a mistake in them is said, and the line stays."""
        message.stop()
        inquiry = self.inquiry
        if not isinstance(inquiry, ExplanationInquiry):
            return
        try:
            await inquiry.ask(message.value)
        except DiagnosisError as error:
            self.shell.say(str(error), "warning")
            return
        self.action_leave_filter()
        if inquiry.stage in {"done", "asks"}:
            self._open(inquiry.main)


_FLAGS = (
    ("pass --claim d_acc=... too", "type its d_acc after t, too"),
    ("pass --claim d_acc=...", "type the d_acc of your own test after t"),
    ("--claim teacher=..., --claim student=... and --pairs", "teacher=... student=... pairs=... typed after t"),
    ("pass the measured numbers with --claim", "type the measured numbers after t"),
    ("(--checkpoint) and a fixed set (--fixed-set)", "(x in the list of checkpoints) and a fixed set (critictui.toml)"),
    ("give a fixed set (--fixed-set)", "name a fixed set (fixed_set in critictui.toml)"),
    ("pass --pairs N", "type pairs=N after t"),
    ("pass --claim ", "type after t: "),
    ("with --script", "with script=FILE after t"),
)
"""What the command line says of its flags, and what does the same here."""


def on_screen(explanation: Explanation) -> Explanation:
    """The same answer; where it names a flag of the command line, with the key or the setting that serves here."""
    causes = tuple(
        replace(cause, message=_keyed(cause.message), next_step=_keyed(cause.next_step)) for cause in explanation.causes
    )
    return replace(explanation, headline=_keyed(explanation.headline), causes=causes)


def _keyed(text: str) -> str:
    for flag, key in _FLAGS:
        text = text.replace(flag, key)
    return text
