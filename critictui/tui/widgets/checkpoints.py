"""The checkpoint list: step, size, whether it is whole and why not, and its score on the fixed set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from critictui.tui import words
from critictui.tui.glyphs import UNICODE, Glyphs
from critictui.tui.siblings import told_apart
from critictui.tui.text import joined, plain
from critictui.tui.widgets.rows import Rows, cells

if TYPE_CHECKING:
    from critictui.checkpoint.checkpoint import Audit, Checkpoint
    from critictui.monitor.snapshot import WatchedRun
    from critictui.scoring.result import ScoreResult
    from critictui.tui.evaluation.bench import Bench

_STYLES = {
    "complete": "$text-success",
    "writing": "$text-accent",
    "incomplete": "$text-warning",
    "unreadable": "$text-error",
    "deleted": "$foreground-muted",
}
_STEP_FOLDER = re.compile(r"(?:global_step_|checkpoint-)\d+$")


class CheckpointPanel(Rows):
    """Checkpoints, newest first."""

    HELP = (
        "Every checkpoint of this run, newest first. 'complete' means that all shards are whole archives and the "
        "trainer says it has finished writing; anything else gets no score, and the reason stands beside it. 'in "
        "doubt' is whole on disk, but holds what no score could be believed of. The "
        "score is d_acc on the run's own fixed set by its own recipe, with half its 95 % interval."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open", id="checkpoints.open"),
    ]

    def __init__(self, glyphs: Glyphs = UNICODE, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._glyphs = glyphs
        self._watched: WatchedRun | None = None
        self._places: tuple[str, ...] = ()
        self._failed: Mapping[Path, str] = {}
        """How the last try of a score failed, in words, where it did."""

    def show_run(self, watched: WatchedRun) -> None:
        """Show the checkpoints of this run."""
        self._watched = watched
        self._places = places_of(watched)
        bench: Bench | None = getattr(self.app, "bench", None)
        paths = [checkpoint.path for checkpoint in watched.checkpoints] if bench is not None and bench.failed else []
        self._failed = {path: bench.failure_of(("score", path)) for path in paths} if bench is not None else {}
        self.show(self._line, max(len(watched.checkpoints), 1))

    @property
    def chosen(self) -> Checkpoint | None:
        """The checkpoint under the cursor."""
        if self._watched is None or self.index >= len(self._watched.checkpoints):
            return None
        return self._watched.checkpoints[self.index]

    def _line(self, index: int, width: int) -> Content:
        if self._watched is None or not self._watched.checkpoints:
            said = f"no checkpoint: {none_yet(self._watched)}" if self._watched is not None else "no checkpoint yet"
            return plain(said, "$foreground-muted")
        if index >= len(self._watched.checkpoints):
            return plain("")
        return checkpoint_line(self._watched, index, self._places, width, self._glyphs, failed=self._failed)

    @property
    def failure(self) -> str:
        """How the last try of a score of the one under the cursor failed; empty where it did not."""
        return self._failed.get(self.chosen.path, "") if self.chosen is not None else ""


def none_yet(main: WatchedRun) -> str:
    """Why a run has no checkpoint."""
    if main.run.demo == "recording":
        return "this is a recording of curves alone; to train a critic: pip install 'critictui[score]'"
    return "they appear when training saves them"


def places_of(watched: WatchedRun) -> tuple[str, ...]:
    """Where each checkpoint lies, below the run and without its step; empty where the steps tell them apart."""
    steps = [c.step for c in watched.checkpoints]
    if len({step for step in steps if step is not None}) == len(steps):
        return ()
    return tuple(_place(checkpoint, watched.run.path) for checkpoint in watched.checkpoints)


def _place(checkpoint: Checkpoint, run: Path) -> str:
    path = checkpoint.path
    parts = path.relative_to(run).parts if path.is_relative_to(run) else (path.name,)
    parts = parts[:-1] if parts[-1:] == ("critic",) and len(parts) > 1 else parts
    return "/".join(part for part in parts if checkpoint.step is None or not _STEP_FOLDER.match(part)) or "."


def checkpoint_line(
    watched: WatchedRun,
    index: int,
    places: Sequence[str],
    width: int,
    glyphs: Glyphs,
    *,
    failed: Mapping[Path, str] = MappingProxyType({}),
) -> Content:
    """`   310  complete     27.5 G  scored 0.741 ± 0.040`, and why it is not complete, or not to be trusted.

    `places`: of all checkpoints, where their steps do not tell them apart. `failed`: how a score's last try failed.
    """
    checkpoint = watched.checkpoints[index]
    step = f"{checkpoint.step}" if checkpoint.step is not None else glyphs.dash
    doubt = doubt_of(watched, checkpoint)
    tail = plain(doubt, "$text-error") if doubt else score_words(watched, checkpoint, glyphs)
    failure = failed.get(checkpoint.path, "")
    if failure:
        more = doubt or scores_of(watched, checkpoint)
        tail = joined((failure, "$text-error"), "  ", tail) if more else plain(failure, "$text-error")
    if checkpoint.reason:
        reason = (checkpoint.reason, "$text-warning")
        tail = joined(reason, "  ", tail) if tail.plain else plain(*reason)
    state, style = checkpoint.state, _STYLES.get(checkpoint.state, "")
    if doubt and state == "complete":
        state, style = "in doubt", "bold $text-error"  # type: ignore[assignment]  # whole on disk, and no critic to trust
    wide = min(max((len(place) for place in places), default=0), max(width // 3, 12))
    where = _cut(tuple(places), wide, glyphs.more)[index] if places else ""
    return cells(
        [
            (plain(step, "bold"), 8, "right"),
            *([(plain(where, "bold"), wide, "left")] if places else []),
            (plain(state, style), 10, "left"),
            (plain(words.size(checkpoint.size)), 8, "right"),
            (tail, max(width - 32 - (wide + 2 if places else 0), 4), "left"),
        ]
    )


@lru_cache(maxsize=8)
def _cut(places: tuple[str, ...], width: int, more: str) -> list[str]:
    return told_apart(places, width, more)


def doubt_of(watched: WatchedRun, checkpoint: Checkpoint) -> str:
    """What its audit found wrong, without the path that stands beside it: how many problems, and the first."""
    problems = problems_of((watched.audits or {}).get(checkpoint.path))
    many = f"{len(problems)} problems: " if len(problems) > 1 else ""
    return many + problems[0][1] if problems else ""


def problems_of(audit: Audit | None) -> list[tuple[str, str]]:
    """(finding id, message) of each problem once, without the checkpoint's path."""
    if audit is None:
        return []
    return list(dict.fromkeys((kind, message.removeprefix(f"{audit.path}: ")) for kind, message in audit.problems))


def scores_of(watched: WatchedRun, checkpoint: Checkpoint) -> list[ScoreResult]:
    """All scores of one checkpoint, by whatever set and recipe: by path, or by step where the run was moved since."""
    path = str(checkpoint.path)
    same = [s for s in watched.scores if s.checkpoint == path]
    if same or checkpoint.step is None:
        return same
    others = {str(other.path) for other in watched.checkpoints}
    return [s for s in watched.scores if s.step == checkpoint.step and s.checkpoint not in others]


def score_words(watched: WatchedRun, checkpoint: Checkpoint, glyphs: Glyphs) -> Content:
    """`scored 0.741 ± 0.040`, the newest of the run's own scores; or that there is none, but others."""
    scores = scores_of(watched, checkpoint)
    own = {id(score) for score in watched.own_scores}
    mine = [score for score in scores if id(score) in own]
    if not mine:
        others = f"not scored on the run's own set by its own recipe; {words.count(len(scores), 'other score')}"
        said = others if scores else "not scored" if checkpoint.state == "complete" else ""
        return plain(said, "$foreground-muted")
    score = mine[-1]
    half = (score.interval[1] - score.interval[0]) / 2
    saved = "" if score.path is not None else ", not saved"
    return plain(f"scored {words.share(score.d_acc)} {glyphs.plus_minus}{words.share(half)}{saved}")
