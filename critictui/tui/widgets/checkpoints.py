"""The checkpoint list: step, size, whether it is whole and why not, and its score on the fixed set."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from critictui.tui import words
from critictui.tui.glyphs import UNICODE, Glyphs
from critictui.tui.text import joined, plain
from critictui.tui.widgets.rows import Rows, cells

if TYPE_CHECKING:
    from critictui.checkpoint.checkpoint import Checkpoint
    from critictui.monitor.snapshot import WatchedRun
    from critictui.scoring.result import ScoreResult

_STYLES = {
    "complete": "$text-success",
    "writing": "$text-accent",
    "incomplete": "$text-warning",
    "unreadable": "$text-error",
    "deleted": "$foreground-muted",
}


class CheckpointPanel(Rows):
    """Checkpoints, newest first."""

    HELP = (
        "Every checkpoint of this run, newest first. 'complete' means that all shards are whole archives and the "
        "trainer says it has finished writing; anything else gets no score, and the reason stands beside it. The "
        "score is d_acc on the fixed set, with half its 95 % interval."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open", id="checkpoints.open"),
    ]

    def __init__(self, glyphs: Glyphs = UNICODE, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._glyphs = glyphs
        self._watched: WatchedRun | None = None

    def show_run(self, watched: WatchedRun) -> None:
        """Show the checkpoints of this run."""
        self._watched = watched
        self.show(self._line, max(len(watched.checkpoints), 1))

    @property
    def chosen(self) -> Checkpoint | None:
        """The checkpoint under the cursor."""
        if self._watched is None or self.index >= len(self._watched.checkpoints):
            return None
        return self._watched.checkpoints[self.index]

    def _line(self, index: int, width: int) -> Content:
        if self._watched is None or not self._watched.checkpoints:
            return plain("no checkpoint yet", "$foreground-muted")
        if index >= len(self._watched.checkpoints):
            return plain("")
        return checkpoint_line(self._watched, self._watched.checkpoints[index], width, self._glyphs)


def checkpoint_line(watched: WatchedRun, checkpoint: Checkpoint, width: int, glyphs: Glyphs) -> Content:
    """`   310  complete     27.5 G  scored 0.741 ± 0.040`, and why it is not complete."""
    step = f"{checkpoint.step}" if checkpoint.step is not None else checkpoint.path.name
    reason = checkpoint.reason or ""
    tail = score_words(watched, checkpoint, glyphs)
    if reason:
        tail = joined((reason, "$text-warning"), "  ", tail) if tail.plain else plain(reason, "$text-warning")
    return cells(
        [
            (plain(step, "bold"), 8 if checkpoint.step is not None else min(len(step), 24), "right"),
            (plain(checkpoint.state, _STYLES.get(checkpoint.state, "")), 10, "left"),
            (plain(words.size(checkpoint.size)), 8, "right"),
            (tail, max(width - 32, 4), "left"),
        ]
    )


def scores_of(watched: WatchedRun, checkpoint: Checkpoint) -> list[ScoreResult]:
    """The scores of one checkpoint: by path, or by step where the run was moved since."""
    path = str(checkpoint.path)
    same = [s for s in watched.scores if s.checkpoint == path]
    return same or [s for s in watched.scores if s.step is not None and s.step == checkpoint.step]


def score_words(watched: WatchedRun, checkpoint: Checkpoint, glyphs: Glyphs) -> Content:
    """`scored 0.741 ± 0.040`, or that it is not."""
    audit = (watched.audits or {}).get(checkpoint.path)
    if audit is not None and audit.problems:
        return plain(audit.problems[0][1], "$text-error")
    scores = scores_of(watched, checkpoint)
    if not scores:
        return plain("not scored" if checkpoint.state == "complete" else "", "$foreground-muted")
    score = scores[-1]
    half = (score.interval[1] - score.interval[0]) / 2
    return plain(f"scored {words.number(score.d_acc)} {glyphs.plus_minus}{half:.3f}")
