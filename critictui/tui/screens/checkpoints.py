"""All checkpoints of the run with what is known of the one under the cursor: audit and every score."""

from __future__ import annotations

import importlib
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.tui import keys, words
from critictui.tui.glyphs import Glyphs
from critictui.tui.screens.base import RunScreen
from critictui.tui.shell import can_evaluate
from critictui.tui.text import elided, lines, plain, set_title
from critictui.tui.widgets.checkpoints import CheckpointPanel, none_yet, problems_of, scores_of
from critictui.tui.widgets.rows import Rows
from critictui.tui.widgets.words import Words

_MOST_PROBLEMS = 6
"""Lines; a checkpoint of numbers that are none has a problem a tensor."""


class CheckpointScreen(RunScreen):
    """The list above, the facts of one below."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.CHECKPOINTS]
    AUTO_FOCUS = "#all-checkpoints"

    def compose_body(self) -> ComposeResult:
        """List and facts."""
        panel = CheckpointPanel(self.shell.glyphs, id="all-checkpoints")
        panel.add_class("titled")
        yield panel
        yield Words(id="checkpoint-facts", classes="titled")

    def show(self, snapshot: Snapshot) -> None:
        """The newest list; the facts of the one under the cursor."""
        if snapshot.main is None:
            return
        panel = self.query_one("#all-checkpoints", CheckpointPanel)
        panel.show_run(snapshot.main)
        set_title(panel, plain(words.count(len(snapshot.main.checkpoints), "checkpoint")))
        self._show_facts(snapshot.main)

    def on_rows_moved(self, message: Rows.Moved) -> None:
        """Another one under the cursor."""
        message.stop()
        if self.shell.snapshot is not None and self.shell.snapshot.main is not None:
            self._show_facts(self.shell.snapshot.main)

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Enter does what E does for one that was scored, and what e does for the others."""
        message.stop()
        chosen, snapshot = self.query_one("#all-checkpoints", CheckpointPanel).chosen, self.shell.snapshot
        main = snapshot.main if snapshot is not None else None
        if chosen is not None and main is not None and scores_of(main, chosen):
            self.action_scores()
        else:
            self.action_score()

    def _show_facts(self, main: WatchedRun) -> None:
        panel = self.query_one("#all-checkpoints", CheckpointPanel)
        chosen = panel.chosen
        facts = self.query_one("#checkpoint-facts", Words)
        if chosen is None:
            set_title(facts, plain("nothing chosen"))
            facts.say(plain(f"No checkpoint: {none_yet(main)}.", "$foreground-muted"))
            return
        set_title(facts, plain(f"step {chosen.step}" if chosen.step is not None else chosen.path.name))
        said = checkpoint_facts(main, chosen, self.size.width - 2, self.shell.glyphs, self.shell.now())
        facts.say(lines([said, plain(f"score {panel.failure}", "$text-error")]) if panel.failure else said)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Scoring is offered where it is installed."""
        if action in {"score", "scores"}:
            return can_evaluate(action)
        if action in {"diagnose", "explain"}:
            return can_evaluate(f"{action}_checkpoint")
        return super().check_action(action, parameters)

    def action_score(self) -> None:
        """Score the checkpoint under the cursor."""
        chosen = self.query_one("#all-checkpoints", CheckpointPanel).chosen
        if chosen is None or not can_evaluate("score"):
            return
        if chosen.state != "complete":
            self.shell.say(f"step {chosen.step} gets no score: {chosen.reason or chosen.state}", "warning")
            return
        importlib.import_module("critictui.tui.evaluate").score(self.shell, chosen)

    def _evaluate(self, what: str) -> None:
        chosen = self.query_one("#all-checkpoints", CheckpointPanel).chosen
        if chosen is not None and can_evaluate(what):
            getattr(importlib.import_module("critictui.tui.evaluate"), what)(self.shell, chosen)

    def action_diagnose(self) -> None:
        """Is the checkpoint under the cursor sound?"""
        self._evaluate("diagnose_checkpoint")

    def action_explain(self) -> None:
        """Training and test at the checkpoint under the cursor."""
        self._evaluate("explain_checkpoint")

    def action_scores(self) -> None:
        """The scores of the checkpoint under the cursor."""
        self._evaluate("scores")


def checkpoint_facts(main: WatchedRun, chosen: Checkpoint, width: int, glyphs: Glyphs, now: float) -> Content:
    """What is known of one checkpoint."""
    rows = [
        plain(elided(str(chosen.path), width, glyphs.more)),
        plain(
            f"{chosen.layout}, {words.count(len(chosen.files) or chosen.world_size, 'weight file')}, "
            f"{words.size(chosen.size)}, written {words.clock(chosen.modified, now)}"
        ),
    ]
    if chosen.reason:
        rows.append(plain(f"{chosen.state}: {chosen.reason}", "$text-warning"))
    audit = (main.audits or {}).get(chosen.path)
    if audit is not None:
        rows.append(
            plain(f"{audit.parameters:,} parameters, {', '.join(audit.dtypes)}, fingerprint {audit.fingerprint}")
        )
        if audit.head is not None:
            head = audit.head
            rows.append(
                plain(
                    f"value head {head.weight_name} {list(head.shape)}: mean {words.number(head.mean)}, "
                    f"std {words.number(head.std)}, looks initialised: {head.looks_initialised}"
                )
            )
        problems = problems_of(audit)
        rows += [plain(f"{problem}: {message}", "$text-error") for problem, message in problems[:_MOST_PROBLEMS]]
        if len(problems) > _MOST_PROBLEMS:
            rows.append(plain(f"and {len(problems) - _MOST_PROBLEMS} more of the kind", "$text-error"))
    scores = scores_of(main, chosen)
    if not scores:
        rows.append(plain("not scored yet", "$foreground-muted"))
    for score in scores:
        low, high = score.interval
        rows.append(
            plain(
                f"d_acc {words.share(score.d_acc)} ({words.share(low)} to {words.share(high)}), "
                f"margin {words.number(score.score_diff)}, {words.count(score.pairs, 'pair')}, "
                f"{score.series if score.path is not None else 'not saved: kept in memory, and tried again'}"
            )
        )
    return lines(rows)
