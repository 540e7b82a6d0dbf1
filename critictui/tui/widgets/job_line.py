"""The line above the keys while the worker is at work: what it does, how far it is, how long it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from critictui.durations import duration
from critictui.scoring import progress_line
from critictui.tui.glyphs import Glyphs
from critictui.tui.text import EMPTY, joined, plain
from critictui.tui.widgets.words import Words

if TYPE_CHECKING:
    from critictui.scoring.jobs import Progress
    from critictui.tui.evaluation.bench import Bench

_BAR = 12


class JobLine(Words):
    """Shown only while there is work."""

    DEFAULT_CSS = """
    JobLine { height: 1; display: none; background: $panel; padding: 0 1; }
    """

    def on_mount(self) -> None:
        """A screen that opens in the middle of the work."""
        bench = getattr(self.app, "bench", None)
        if bench is not None:
            self.renew(bench)

    def on_resize(self) -> None:
        """As much as fits."""
        self.on_mount()

    def renew(self, bench: Bench) -> None:
        """Show where the work is."""
        glyphs: Glyphs = getattr(self.app, "glyphs")  # noqa: B009 - the app of this widget is ours
        asked = getattr(self.screen, "inquiry", None)
        shown = asked is not None and bench.running is not None and asked.key == bench.running.task.key
        self.display = bench.running is not None and not shown
        self.say(job_words(bench, glyphs, self.size.width or 80))


def job_words(bench: Bench, glyphs: Glyphs, width: int) -> Content:
    """`scoring step 310 · load 45% [#####       ] · 1,204 tokens/s · 12s left · next: diagnosing step 310`."""
    running = bench.running
    if running is None:
        return EMPTY
    dot = f" {glyphs.dot} "
    said = [joined((running.task.title, "bold"))]
    if running.cancelled:
        said.append(plain("ending"))
    elif running.silent:
        said.append(plain(f"no sign of life for {duration(running.silent)}", "$text-warning"))
    else:
        said += progress_words(running.progress, glyphs, bar=_BAR if width >= 100 else 0)
        if running.elapsed >= 1 and (running.progress is None or running.progress.seconds_left is None):
            said.append(plain(duration(float(int(running.elapsed))), "$foreground-muted"))
    if bench.waiting is not None:
        said.append(plain(f"next: {bench.waiting.title}", "$foreground-muted"))
    return plain(dot).join(said)


def progress_words(progress: Progress | None, glyphs: Glyphs, *, bar: int = 0) -> list[Content]:
    """Phase and share, rate, time left: what is known of them."""
    if progress is None:
        return [plain("the worker starts")]
    said = [plain(text) for text in progress_line.progress_words(progress)]
    share = progress_line.share_of(progress)
    if share is not None and bar:
        full = round(share * bar)
        signs = ("#", ".") if glyphs.ascii else ("━", "╌")
        said[0] = joined(said[0], " ", (signs[0] * full, "$accent"), (signs[1] * (bar - full), "$foreground-muted"))
    return said
