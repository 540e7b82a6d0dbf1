"""Every score of the run, newest step first, each compared with the one before it; one in full below."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from critictui.monitor.snapshot import Snapshot
from critictui.scoring.result import ResponseRow, ScoreResult
from critictui.tui import keys
from critictui.tui.evaluation.said import heading, history, score_facts, score_line
from critictui.tui.screens.base import RunScreen
from critictui.tui.text import EMPTY, lines, passage, plain, set_title
from critictui.tui.widgets.rows import Rows
from critictui.tui.widgets.words import Passage, Words


class ScoreRows(Rows):
    """The list; Enter opens the pairs."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.SCORES]


class ScoresScreen(RunScreen):
    """The list above, the result in words below."""

    HELP = (
        "Scores on the fixed set, newest step first. d_acc with half its 95 % interval; 'against' compares with the "
        "checkpoint scored before it, prompt by prompt: p says how often chance alone would differ as much. "
        "'other' is a score of another set or recipe than the run's own: nobody judges it, and it is on no chart. "
        "Scores of different sets or recipes are never compared. Enter lists the pairs of a score."
    )
    BINDINGS: ClassVar[list[BindingType]] = []
    AUTO_FOCUS = "#scores"
    lists_scores = True
    """A new score need not be announced to who looks at this screen."""

    def __init__(self, checkpoint: Path | None = None) -> None:
        """The cursor begins on this checkpoint's newest score."""
        super().__init__()
        self._wanted = checkpoint
        self._scores: list[ScoreResult] = []
        self._own: set[int] = set()
        self._rows: dict[int, tuple[ResponseRow, ...]] = {}

    def compose_body(self) -> ComposeResult:
        """Failure, column names, list, facts."""
        yield Passage(id="score-problem")
        yield Words(id="score-columns")
        yield ScoreRows(id="scores")
        with VerticalScroll(id="score-facts-box", classes="titled", can_focus=False):
            yield Passage(id="score-facts")

    def on_mount(self) -> None:
        """Nothing is wrong yet."""
        self.query_one("#score-problem").display = False

    def work_moved(self) -> None:
        """A score ended, well or not."""
        self.renew()

    def show(self, snapshot: Snapshot) -> None:
        """All scores that are known, those in memory too."""
        if snapshot.main is None:
            return
        bench = self.shell.bench
        kept = bench.unsaved.kept if bench is not None and bench.unsaved is not None else ()
        before = self._chosen()
        self._scores = history(snapshot.main.scores)
        self._own = {id(score) for score in snapshot.main.own_scores}
        self._rows = {id(k.result): k.rows for k in kept}
        panel = self.query_one("#scores", ScoreRows)
        panel.show(self._line, max(len(self._scores), 1), index=self._index_of(before))
        self.query_one("#score-columns", Words).say(heading(max(self.size.width - 2, 10)))
        self._show_facts()
        self._show_problem()

    def _index_of(self, before: ScoreResult | None) -> int | None:
        if self._wanted is not None and self._scores:
            wanted, self._wanted = str(self._wanted), None
            return next((i for i, s in enumerate(self._scores) if s.checkpoint == wanted), 0)
        if before is None:
            return None
        return next((i for i, s in enumerate(self._scores) if s is before or s.path == before.path is not None), None)

    def _line(self, index: int, width: int) -> Content:
        if index < len(self._scores):
            score = self._scores[index]
            return score_line(score, width, self.shell.glyphs, own=id(score) in self._own)
        return plain("nothing is scored yet: e scores the newest checkpoint", "$foreground-muted")

    def _chosen(self) -> ScoreResult | None:
        index = self.query_one("#scores", ScoreRows).index
        return self._scores[index] if index < len(self._scores) else None

    def _show_facts(self) -> None:
        chosen = self._chosen()
        box = self.query_one("#score-facts-box")
        box.display = chosen is not None
        if chosen is not None:
            set_title(box, plain(f"step {chosen.step}" if chosen.step is not None else "score"))
            self.query_one("#score-facts", Words).say(score_facts(chosen, self.shell.glyphs))

    def _show_problem(self) -> None:
        """Every checkpoint whose last try failed, the newest failure in full."""
        bench = self.shell.bench
        failed = list(reversed(bench.failed.values())) if bench is not None else []
        problem = self.query_one("#score-problem", Words)
        problem.display = bool(failed)
        if failed:
            said = [plain(f"{self.shell.glyphs.critical} {ended.first}", "$text-error") for ended in failed]
            rest = failed[0].said.partition("\n")[2]
            problem.say(lines([said[0], passage(rest, "$foreground-muted") if rest else EMPTY, *said[1:]]))

    def on_rows_moved(self, message: Rows.Moved) -> None:
        """Another score."""
        message.stop()
        self._show_facts()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """A second click does what Enter does."""
        message.stop()
        self.action_pairs()

    def action_pairs(self) -> None:
        """The pairs of the score under the cursor."""
        chosen = self._chosen()
        if chosen is not None:
            from critictui.tui.screens.pairs import PairsScreen

            self.app.push_screen(PairsScreen(chosen, self._rows.get(id(chosen))))
