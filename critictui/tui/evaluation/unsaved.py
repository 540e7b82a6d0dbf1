"""Scores that no disk took: kept in memory, shown, and saved again until one does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from critictui.scoring.recipe import ScoringError
from critictui.scoring.result import ResponseRow, ScoreResult
from critictui.scoring.result_json import result_from_json
from critictui.scoring.results import NotSavedError, rows_of_answer, save_again
from critictui.tui.evaluation.threads import in_thread

if TYPE_CHECKING:
    from critictui.tui.evaluation.host import Host

RETRY_SECONDS = 30.0
MOST = 50
"""Kept at once; the oldest goes first, and that is said."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """One score in memory."""

    run_dir: Path
    answer: Mapping[str, object]
    result: ScoreResult
    rows: tuple[ResponseRow, ...]


class Unsaved:
    """The scores that wait for a disk."""

    def __init__(self, app: Host, saved: Callable[[], None], seconds: float = RETRY_SECONDS) -> None:
        """`saved` is called when one of them was saved."""
        self._app, self._saved = app, saved
        self.kept: tuple[Kept, ...] = ()
        self._busy = False
        app.set_interval(seconds, self.retry, name="unsaved")

    def keep(self, run_dir: Path, answer: Mapping[str, object]) -> ScoreResult:
        """Take a score that was not saved; raises ScoringError where it is no score."""
        result = result_from_json({k: v for k, v in answer.items() if k != "unsaved_rows"})
        kept = Kept(run_dir, answer, result, tuple(rows_of_answer(answer)))
        if len(self.kept) == MOST:
            self._app.say(f"{MOST} scores wait to be saved: that of step {self.kept[0].result.step} is lost", "error")
        self.kept = (*self.kept, kept)[-MOST:]
        return result

    async def retry(self) -> None:
        """Try every one of them once more."""
        if self._busy or not self.kept:
            return
        self._busy = True
        try:
            for kept in self.kept:
                await self._save(kept)
        finally:
            self._busy = False

    async def _save(self, kept: Kept) -> None:
        read_only = self._app.config.read_only
        try:
            path = await in_thread(lambda: save_again(kept.run_dir, kept.answer, read_only=read_only), "save")
        except NotSavedError:
            return
        except ScoringError as error:
            self._app.say(f"the score of step {kept.result.step} cannot be saved: {error}", "error")
            return
        self.kept = tuple(k for k in self.kept if k is not kept)
        self._saved()
        self._app.say(f"the score of step {kept.result.step} is saved now: {path}")
        if self._app.monitor is not None:
            self._app.monitor.wake()
