"""The pairs of one score, sorted by margin and filtered; Enter reads prompt, teacher and student in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input

from critictui.errors import InputError
from critictui.scoring.pairs import Pair, chosen_pairs, pairs_of_rows
from critictui.scoring.result import ResponseRow, ScoreResult
from critictui.scoring.rows import read_rows
from critictui.tui import keys, words
from critictui.tui.evaluation.threads import in_thread
from critictui.tui.filter import LONGEST, FilterError, matcher
from critictui.tui.glyphs import Glyphs
from critictui.tui.screens.base import RunScreen
from critictui.tui.screens.metrics import FilterInput
from critictui.tui.text import EMPTY, joined, lines, passage, plain, set_title
from critictui.tui.widgets.rows import Rows, cells
from critictui.tui.widgets.words import Passage

STYLES = {"right": "$text-success", "wrong": "$text-error", "tie": "$text-warning", "no score": "$foreground-muted"}


class PairRows(Rows):
    """The list, with the screen's keys."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.PAIRS]


class PairsScreen(RunScreen):
    """Virtual rows: a hundred thousand pairs cost as much as those in view."""

    HELP = (
        "Every pair of one score: a teacher's and a student's response to the same prompt. The margin is the teacher's "
        "score minus the student's; the worst comes first. 'wrong' means that the critic prefers the student. The "
        "filter looks into prompts and answers. Enter reads a pair."
    )
    AUTO_FOCUS = "#pairs"

    def __init__(self, score: ScoreResult, rows: Sequence[ResponseRow] | None = None) -> None:
        """`rows` stand in for the file where the score was not saved."""
        super().__init__()
        self._score, self._rows = score, rows
        self._every: list[Pair] = []
        self._shown: list[Pair] = []
        self._problem = ""
        self._loaded = False
        self._wrong_only = False
        self._best_first = False
        self._filter = ""

    def compose_body(self) -> ComposeResult:
        """Under one title the column names and the list; a line to type a filter into."""
        with Vertical(id="pair-table", classes="titled"):
            yield Passage(id="pair-columns")
            yield PairRows(id="pairs")
        yield FilterInput(
            placeholder="part of a prompt or an answer, a glob, or a regex", id="filter", max_length=LONGEST
        )

    def on_mount(self) -> None:
        """Read in a thread."""
        entry = self.query_one("#filter", FilterInput)
        entry.cursor_blink = False
        entry.display = False
        self.run_worker(self._read(), name="pairs", group="pairs", exit_on_error=False)

    async def _read(self) -> None:
        score, rows = self._score, self._rows
        try:
            self._every = await in_thread(
                lambda: pairs_of_rows(rows if rows is not None else read_rows(score)), "pairs"
            )
        except InputError as error:
            self._problem = str(error)
        self._loaded = True
        self._choose()

    def on_resize(self, event: events.Resize) -> None:
        """The columns follow the width."""
        del event
        if self.composed:
            self._choose()

    def _choose(self) -> None:
        try:
            matches = matcher(self._filter)
        except FilterError as error:
            self.shell.say(str(error), "warning")
            return
        self._shown = chosen_pairs(
            self._every, wrong_only=self._wrong_only, best_first=self._best_first, matches=matches
        )
        panel = self.query_one("#pairs", PairRows)
        panel.show(self._line, max(len(self._shown), 1), index=0)
        problem = plain(self._problem, "$text-error")
        heading = pair_heading(max(panel.room, 10))
        self.query_one("#pair-columns", Passage).say(problem if self._problem else heading)
        set_title(self.query_one("#pair-table"), plain(self._title()))

    def _title(self) -> str:
        step = f"step {self._score.step}" if self._score.step is not None else "this score"
        if not self._loaded:
            return f"pairs of {step}: reading"
        wrong = sum(pair.verdict == "wrong" for pair in self._every)
        said = f"pairs of {step}: {words.count(len(self._every), 'pair')}, {wrong:,} wrong"
        if len(self._shown) != len(self._every):
            said += f", {len(self._shown):,} shown"
        return said + (f" with {self._filter!r}" if self._filter else "")

    def _line(self, index: int, width: int) -> Content:
        if index < len(self._shown):
            return pair_line(self._shown[index], width)
        if self._problem:
            return EMPTY
        return plain("no pair is like that" if self._loaded else "reading ...", "$foreground-muted")

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """A second click does what Enter does."""
        message.stop()
        self.action_read()

    def action_read(self) -> None:
        """The pair under the cursor."""
        index = self.query_one("#pairs", PairRows).index
        if index < len(self._shown):
            self.app.push_screen(PairScreen(self._shown, index))

    def action_order(self) -> None:
        """Worst first, or best first."""
        self._best_first = not self._best_first
        self._choose()

    def action_wrong(self) -> None:
        """Only those that are not right, or all."""
        self._wrong_only = not self._wrong_only
        self._choose()

    def action_filter(self) -> None:
        """Type."""
        entry = self.query_one("#filter", FilterInput)
        entry.display = True
        entry.focus()

    def action_leave_filter(self) -> None:
        """Back to the list."""
        self.query_one("#filter", FilterInput).display = False
        self.query_one("#pairs", PairRows).focus()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Show what matches."""
        message.stop()
        self._filter = message.value.strip()
        self.action_leave_filter()
        self._choose()


def _columns(width: int) -> tuple[int, ...]:
    return (8, 8, 8, 8, 11, max(width - 53, 6)) if width >= 60 else (8, 8, 0, 0, 0, max(width - 20, 6))


def pair_heading(width: int) -> Content:
    """The column names."""
    names = ("margin", "verdict", "teacher", "student", "tokens", "prompt")
    sides = ("right", "left", "right", "right", "right", "left")
    columns = zip(names, _columns(width), sides, strict=True)
    return cells([(plain(name, "bold underline"), size, side) for name, size, side in columns])


def pair_line(pair: Pair, width: int) -> Content:
    """One pair as a row."""
    teacher, student = pair.teacher, pair.student
    sizes = _columns(width)
    parts = [
        (plain(words.number(pair.margin), "bold"), "right"),
        (plain(pair.verdict, STYLES[pair.verdict]), "left"),
        (plain(words.number(teacher.score)), "right"),
        (plain(words.number(student.score)), "right"),
        (plain(f"{teacher.tokens}/{student.tokens}", "$foreground-muted"), "right"),
        (plain(teacher.prompt[:400]), "left"),
    ]
    return cells([(content, size, side) for (content, side), size in zip(parts, sizes, strict=True)])


class PairScreen(RunScreen):
    """One pair in full; the text is shown as it is, and nothing in it acts."""

    HELP = (
        "One pair: the prompt, then the teacher's and the student's answer with their scores, the number of tokens "
        "that were scored, and the range of their token values. Control characters in a text are made visible."
    )
    BINDINGS: ClassVar[list[BindingType]] = [*keys.PAIR]
    AUTO_FOCUS = ""

    def __init__(self, pairs: Sequence[Pair], index: int) -> None:
        super().__init__()
        self._pairs, self._index = pairs, index

    def compose_body(self) -> ComposeResult:
        """One scrolling text."""
        with VerticalScroll(id="pair", classes="titled", can_focus=False):
            yield Passage(id="pair-text")

    def on_mount(self) -> None:
        """The first text."""
        self._say()

    def _say(self) -> None:
        box = self.query_one("#pair", VerticalScroll)
        set_title(box, plain(f"pair {self._index + 1} of {len(self._pairs)}"))
        self.query_one("#pair-text", Passage).say(pair_words(self._pairs[self._index], self.shell.glyphs))
        box.scroll_home(animate=False)

    def action_neighbour(self, by: int) -> None:
        """Another pair of the list."""
        self._index = (self._index + by) % len(self._pairs)
        self._say()

    def action_scroll(self, by: int) -> None:
        """Longer than the screen is high."""
        self.query_one("#pair", VerticalScroll).scroll_relative(y=by, animate=False)


def pair_words(pair: Pair, glyphs: Glyphs) -> Content:
    """Verdict, prompt, both answers."""
    said = [
        joined(
            (f"margin {words.number(pair.margin, 4)}", "bold"), f" {glyphs.dot} ", (pair.verdict, STYLES[pair.verdict])
        ),
        EMPTY,
        plain("prompt", "bold underline"),
        passage(pair.teacher.prompt),
    ]
    for row in (pair.teacher, pair.student):
        said += [EMPTY, response_words(row, glyphs), passage(row.text) if row.text else plain("(empty)", "dim")]
    return lines(said)


def response_words(row: ResponseRow, glyphs: Glyphs) -> Content:
    """`teacher  score 2.771 · 412 tokens · values -0.5 to 5.1, mean 2.77, std 1.1`."""
    name = row.role if row.role == "teacher" else f"{row.role} {row.index}"
    dot = f" {glyphs.dot} "
    span = f"values {words.number(row.value_min)} to {words.number(row.value_max)}"
    spread = f"mean {words.number(row.value_mean)}, std {words.number(row.value_std)}"
    said = [f"score {words.number(row.score, 4)}", words.count(row.tokens, "token"), f"{span}, {spread}"]
    if row.finish_reason:
        said.append(f"ended by {row.finish_reason}")
    if row.truncated:
        said.append("cut at the recipe's length")
    return joined((name, "bold underline"), "  ", (dot.join(said), "$foreground-muted"))
