"""Is this checkpoint sound? The verdict, the findings, and every response that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content

from critictui.tui import keys, words
from critictui.tui.evaluation.diagnosis_inquiry import DiagnosisInquiry
from critictui.tui.evaluation.inquiry import Inquiry
from critictui.tui.evaluation.items import Item, diagnosis_items, diagnosis_lead, table
from critictui.tui.screens.base import RunScreen
from critictui.tui.screens.report import ReportScreen
from critictui.tui.text import lines, passage, plain, set_title
from critictui.tui.widgets.rows import Rows, cells
from critictui.tui.widgets.words import Passage, Words

Sample = Mapping[str, object]


class DiagnosisScreen(ReportScreen):
    """One checkpoint."""

    HELP = (
        "Is this checkpoint sound? First its files: what was loaded, which head, how it compares with other steps. "
        "Then its behaviour on the fixed set, scored twice under different seeds: a random head never gives the same "
        "scores twice. Findings come worst first; Enter goes to the evidence of one. s lists every response with its "
        "tokens and values."
    )
    BINDINGS: ClassVar[list[BindingType]] = [*keys.DIAGNOSIS]
    kind = DiagnosisInquiry

    def lead(self, inquiry: Inquiry) -> Content:
        """The verdict."""
        assert isinstance(inquiry, DiagnosisInquiry)
        assert inquiry.diagnosis is not None
        return diagnosis_lead(inquiry.diagnosis, self.shell.glyphs, measured=inquiry.measured())

    def items(self, inquiry: Inquiry) -> list[Item]:
        """The findings."""
        assert isinstance(inquiry, DiagnosisInquiry)
        assert inquiry.diagnosis is not None
        return diagnosis_items(inquiry.diagnosis, self.shell.glyphs)

    def list_title(self, inquiry: Inquiry) -> str:
        """Of which checkpoint."""
        return f"{inquiry.title.removeprefix('diagnosing ')}: findings, worst first"

    def _samples(self) -> Sequence[Sample]:
        inquiry = self.inquiry
        diagnosis = inquiry.diagnosis if isinstance(inquiry, DiagnosisInquiry) else None
        found = diagnosis.facts.get("samples") if diagnosis is not None else None
        return [s for s in found if isinstance(s, Mapping)] if isinstance(found, (list, tuple)) else []

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Samples exist once they are measured."""
        if action == "samples":
            return bool(self._samples())
        return super().check_action(action, parameters)

    def action_samples(self) -> None:
        """Every response that was measured."""
        if self._samples():
            self.app.push_screen(SamplesScreen(self._samples()))


class SamplesScreen(RunScreen):
    """The debug view: tokens, mask, values and score of each response."""

    HELP = (
        "Every response that was measured, lowest score first. 'scored' are the tokens under the pooling mask: fewer "
        "than the response has means that EOS or a cut took some away; 0 means that nothing was scored."
    )
    AUTO_FOCUS = "#samples"

    def __init__(self, samples: Sequence[Sample]) -> None:
        super().__init__()
        self._samples = sorted(samples, key=lambda s: _order(s.get("score")))

    def compose_body(self) -> ComposeResult:
        """Column names, list, one in full."""
        with Vertical(id="sample-table", classes="titled"):
            yield Words(id="sample-columns")
            yield Rows(id="samples")
        with VerticalScroll(id="sample-box", classes="titled", can_focus=False):
            yield Passage(id="sample-text")

    def on_mount(self) -> None:
        """All there is to show is known."""
        panel = self.query_one("#samples", Rows)
        set_title(
            self.query_one("#sample-table"), plain(f"{words.count(len(self._samples), 'response')}, lowest score first")
        )
        panel.show(self._line, len(self._samples))
        self._show_one()

    def on_resize(self, event: events.Resize) -> None:
        """The columns follow the width."""
        del event
        self.query_one("#sample-columns", Words).say(_heading())

    def _line(self, index: int, width: int) -> Content:
        return sample_line(self._samples[index], width)

    def on_rows_moved(self, message: Rows.Moved) -> None:
        """Another response."""
        message.stop()
        self._show_one()

    def _show_one(self) -> None:
        index = self.query_one("#samples", Rows).index
        if index < len(self._samples):
            sample = self._samples[index]
            shown = {k: v for k, v in sample.items() if k != "text"}
            text = passage(str(sample.get("text") or ""))
            self.query_one("#sample-text", Words).say(lines([text, plain(""), table(shown)]))


_COLUMNS = (
    ("score", 8, "right"), ("role", 8, "left"), ("mean", 8, "right"), ("min", 8, "right"), ("max", 8, "right"),
    ("scored/tokens", 13, "right"), ("prompt", 7, "right"), ("eos", 4, "left"),
)  # fmt: skip


def _heading() -> Content:
    return cells([(plain(name, "$foreground-muted"), size, side) for name, size, side in _COLUMNS])


def sample_line(sample: Sample, width: int) -> Content:
    """One response as a row."""
    scored, tokens = sample.get("scored_tokens"), sample.get("response_tokens")
    short = isinstance(scored, int) and scored == 0
    figures = (
        plain(_number(sample.get("score")), "bold"),
        plain(sample.get("role") or ""),
        plain(_number(sample.get("value_mean"))),
        plain(_number(sample.get("value_min"))),
        plain(_number(sample.get("value_max"))),
        plain(f"{scored}/{tokens}", "$text-error" if short else ""),
        plain(sample.get("prompt_tokens")),
        plain("yes" if sample.get("ends_in_eos") else "no"),
    )
    columns = [(content, size, side) for content, (_, size, side) in zip(figures, _COLUMNS, strict=True)]
    used = sum(size + 2 for _, size, _ in _COLUMNS)
    columns.append((plain(str(sample.get("text") or "")), max(width - used, 0), "left"))
    return cells(columns)


def _number(value: object) -> str:
    return words.number(float(value)) if isinstance(value, (int, float)) else "-"


def _order(score: object) -> float:
    return float(score) if isinstance(score, (int, float)) and score == score else float("inf")  # noqa: PLR0124
