"""Run facts: what the run is read from, how far, what was skipped and why, its sessions and every notice."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.tui import words
from critictui.tui.glyphs import Glyphs
from critictui.tui.screens.base import RunScreen
from critictui.tui.text import EMPTY, elided, joined, plain, set_title
from critictui.tui.widgets.rows import Rows, cells

_MOST = 5000
"""Lines of skipped records on the screen; the rest is counted."""


class FactsScreen(RunScreen):
    """A long list, scrolled."""

    HELP = (
        "Everything critictui knows of this run beside its numbers. 'Skipped' lists every loss: the file, the byte "
        "offset where it begins, how much, and why. What is not listed here was read."
    )
    BINDINGS: ClassVar[list[BindingType]] = []
    AUTO_FOCUS = "#facts"

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[Content] = []

    def compose_body(self) -> ComposeResult:
        """One list."""
        yield Rows(id="facts", classes="titled")

    def on_mount(self) -> None:
        """The title."""
        set_title(self.query_one("#facts"), plain("run facts"))

    def show(self, snapshot: Snapshot) -> None:
        """All of it; only what is in view is painted."""
        if snapshot.main is None:
            return
        self._lines = fact_lines(snapshot, snapshot.main, self.size.width - 4, self.shell.glyphs, self.shell.now())
        self.query_one("#facts", Rows).show(lambda i, _: self._lines[i], len(self._lines))


def fact_lines(snapshot: Snapshot, main: WatchedRun, width: int, glyphs: Glyphs, now: float) -> list[Content]:
    """The screen's text."""
    run = main.run
    last = f"{words.clock(run.last_change, now)}" if run.last_change is not None else "-"
    facts = [
        ("path", elided(str(run.path), width - 16, glyphs.more)),
        ("state", run.state),
        ("step", f"{run.step if run.step is not None else '-'} of {run.total_steps or 'an unknown number'}"),
        ("pace", f"{words.duration(run.pace)} a step" if run.pace else "unknown yet"),
        ("last event", last),
        ("profile", run.profile or "no known trainer"),
        ("metrics", f"{len(run.series):,} series"),
        ("known as", ", ".join(f"{n} = {t}" for n, t in sorted(run.metrics.items()) if n != t) or "their own names"),
        ("epoch", f"{run.epoch_steps} steps" if run.epoch_steps else "unknown"),
        ("read", f"{run.progress:.0%} of the known bytes"),
        ("searched", f"{snapshot.scanned:,} entries, {snapshot.passed_over:,} passed over"),
    ]
    said = [joined((f"{name:>12}  ", "$foreground-muted"), text) for name, text in facts]
    notices = (*snapshot.notices, *run.notices)
    said += _section(f"notices ({len(notices)})", [plain("  " + n) for n in notices], "none")
    said += _section(f"sources ({len(run.sources)})", _sources(main, width, glyphs), "none found yet")
    sessions = [
        plain(
            f"  {s.number + 1}: steps {s.first_step} to {s.last_step}, begun {words.clock(s.started, now)}, {s.source}"
        )
        for s in run.sessions
    ]
    said += _section(f"sessions ({len(run.sessions)})", sessions, "none yet")
    seams = [plain(f"  step {s.step}: {s.kind} {s.label}") for s in run.seams]
    said += _section(f"restarts and epochs ({len(run.seams)})", seams, "none known")
    records = sum(s.records for s in run.skipped)
    lost = sum(s.bytes for s in run.skipped)
    title = f"skipped ({words.count(records, 'record')}, {words.size(lost)})"
    said += _section(title, _skipped(main, width, glyphs), "nothing: every byte was understood")
    return said


def _section(title: str, rows: list[Content], empty: str) -> list[Content]:
    return [EMPTY, plain(title, "bold"), *(rows or [plain("  " + empty, "$foreground-muted")])]


def _sources(main: WatchedRun, width: int, glyphs: Glyphs) -> list[Content]:
    rows = []
    for s in main.run.sources:
        share = words.size(s.read) if s.read >= s.size else f"{words.size(s.read)} of {words.size(s.size)}"
        path = max(width - 56, 12)
        row = cells(
            [
                (EMPTY, 0, "left"),
                (plain(elided(s.path, path, glyphs.more)), path, "left"),
                (plain(s.kind), 8, "left"),
                (plain(s.state, "$text-error" if s.state in {"error", "gone"} else ""), 8, "left"),
                (plain(share), 18, "right"),
                (plain(f"{s.scalars:,}"), 10, "right"),
            ]
        )
        rows.append(Content("  ") + row)
        if s.message:
            rows.append(plain(f"    {s.message}", "$text-warning"))
    return rows


def _skipped(main: WatchedRun, width: int, glyphs: Glyphs) -> list[Content]:
    path = max(width - 60, 12)
    rows = [
        plain(
            f"  {elided(s.file, path, glyphs.more)} at byte {s.offset:,}: "
            f"{words.count(s.records, 'record')}, {words.size(s.bytes)}: {s.reason}"
        )
        for s in main.run.skipped[:_MOST]
    ]
    if len(main.run.skipped) > _MOST:
        rows.append(plain(f"  and {len(main.run.skipped) - _MOST:,} more"))
    return rows
