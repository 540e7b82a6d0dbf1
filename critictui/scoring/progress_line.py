"""How far a job is, in words: on the screen, and as one line of a terminal that is written again and again."""

from __future__ import annotations

import sys

import click

from critictui.durations import duration
from critictui.scoring.jobs import JobMessage, Progress


def share_of(progress: Progress) -> float | None:
    """The share of its phase that is done, 0 to 1; None where that is not known."""
    known = progress.total > 1 or 0 < progress.done < progress.total
    return min(max(progress.done / progress.total, 0.0), 1.0) if known and progress.total > 0 else None


def progress_words(progress: Progress) -> list[str]:
    """`load 45%`, `1,204 tokens/s`, `12s left`: what is known of them."""
    share = share_of(progress)
    said = [progress.phase if share is None else f"{progress.phase} {share:.0%}"]
    if progress.tokens_per_second > 0:
        said.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.seconds_left is not None and (share is None or share < 1):
        said.append(f"{duration(progress.seconds_left)} left")
    return said


class ProgressLine:
    """On stderr, where a person sits there; nothing anywhere else."""

    def tell(self, message: JobMessage) -> None:
        """Show how far it is."""
        if isinstance(message, Progress) and sys.stderr.isatty():
            click.echo(f"\r\x1b[K{', '.join(progress_words(message))}", err=True, nl=False)

    def end(self) -> None:
        """Take the line away; others may come."""
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", err=True, nl=False)
