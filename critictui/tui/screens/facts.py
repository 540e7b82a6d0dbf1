"""Run facts: what the run is read from, how far, what was skipped and why, its sessions and every notice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from critictui.durations import duration
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.run.facts import RunSnapshot
from critictui.tui import words
from critictui.tui.glyphs import Glyphs
from critictui.tui.said import Said
from critictui.tui.screens.base import RunScreen
from critictui.tui.text import EMPTY, elided, joined, plain, set_title
from critictui.tui.widgets.rows import Rows, cells

_EDGES = 3
"""Cells beside the text: a blank on both sides, and the scrollbar."""
_MOST = 5000
"""Lines of skipped records on the screen; the rest is counted."""


class FactsScreen(RunScreen):
    """A long list, scrolled."""

    HELP = (
        "Everything critictui knows of this run beside its numbers. 'Skipped' lists every loss: the file, the byte "
        "offset where it begins, how much, and why. What is not listed here was read. Warnings and errors that were "
        "said at the lower edge are kept under 'said on this screen'."
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
        app = self.shell
        width = max(self.size.width - _EDGES, 20)
        self._lines = fact_lines(snapshot, snapshot.main, width, app.glyphs, app.now(), heard=app.said)
        self.query_one("#facts", Rows).show(lambda i, _: self._lines[i], len(self._lines))

    def on_resize(self, event: events.Resize) -> None:
        """Wrapped anew."""
        del event
        self.renew()


def fact_lines(
    snapshot: Snapshot, main: WatchedRun, width: int, glyphs: Glyphs, now: float, *, heard: Sequence[Said] = ()
) -> list[Content]:
    """The screen's text in lines of at most `width` cells; `heard` is what the screen said that went away again."""
    run = main.run
    last = f"{words.clock(run.last_change, now)}" if run.last_change is not None else "-"
    entries = f"{snapshot.scanned:,} {'entry' if snapshot.scanned == 1 else 'entries'}"
    facts = [
        ("path", elided(str(run.path), max(width - _NAMES, 12), glyphs.more)),
        ("state", run.state),
        ("step", f"{run.step if run.step is not None else '-'} of {run.total_steps or 'an unknown number'}"),
        ("pace", f"{duration(run.pace)} a step" if run.pace else "unknown yet"),
        ("last event", last),
        ("profile", (run.profile or "no known trainer") + (f", by {run.profile_by}" if run.profile_by else "")),
        ("metrics", f"{len(run.series):,} series"),
        ("known as", ", ".join(f"{n} = {t}" for n, t in sorted(run.metrics.items()) if n != t) or "their own names"),
        ("epoch", _epoch_words(run)),
        ("read", f"{run.progress:.0%} of the known bytes"),
        ("searched", entries + (f"; {snapshot.passed_over:,} passed over: {_OVER}" if snapshot.passed_over else "")),
    ]
    said: list[Content] = []
    for name, text in facts:
        first, *more = plain(text).wrap(max(width - _NAMES, 10)) or [EMPTY]
        said.append(joined((f"{name:>{_NAMES - 2}}  ", "$foreground-muted"), first))
        said += [Content(" " * _NAMES) + row for row in more]
    notices = list(dict.fromkeys((*snapshot.notices, *run.notices)))
    said += _section(f"notices ({len(notices)})", [row for n in notices for row in _indented(n, width)], "none")
    if heard:
        told = [row for h in reversed(heard) for row in _indented(f"{words.clock(h.when, now)} {h.text}", width)]
        said += _section(f"said on this screen ({len(heard)}), the newest first", told, "nothing")
    said += _section(f"sources ({len(run.sources)})", _sources(main, width, glyphs), "none found yet")
    sessions = [
        f"{s.number + 1}: steps {s.first_step} to {s.last_step}, "
        f"{f'begun {words.clock(s.started, now)}, ' if math.isfinite(s.started) else ''}{s.source}"
        for s in run.sessions
    ]
    said += _section(
        f"sessions ({len(run.sessions)})", [row for s in sessions for row in _indented(s, width)], "none yet"
    )
    seams = [plain(f"  {s.label} from step {s.step}") for s in run.seams]
    said += _section(f"restarts and epochs ({len(run.seams)})", seams, "none known")
    records = sum(s.records for s in run.skipped)
    lost = sum(s.bytes for s in run.skipped)
    title = f"skipped ({words.count(records, 'record')}, {words.size(lost)})"
    said += _section(title, _skipped(main, width, glyphs), "nothing: every byte was understood")
    return said


_NAMES = 14
"""Cells for the name of a fact."""
_OVER = "what only looks like a run's file, links met before, special files, what cannot be read"


def _epoch_words(run: RunSnapshot) -> str:
    seen = sum(seam.kind == "epoch" for seam in run.seams) + 1
    so_far = f"{words.count(seen, 'epoch')} so far"
    if run.epoch_steps:
        return f"{words.count(run.epoch_steps, 'step')} each, {so_far}"
    return f"{so_far}; its steps are known only by where the epochs began" if seen > 1 else "unknown"


def _indented(text: str, width: int) -> list[Content]:
    first, *more = plain(text).wrap(max(width - 4, 10)) or [EMPTY]
    return [Content("  ") + first, *(Content("    ") + row for row in more)]


def _section(title: str, rows: list[Content], empty: str) -> list[Content]:
    return [EMPTY, plain(title, "bold"), *(rows or [plain("  " + empty, "$foreground-muted")])]


def _sources(main: WatchedRun, width: int, glyphs: Glyphs) -> list[Content]:
    path = max(width - 56, 12)
    rows = (
        [_source_row(("file", "kind", "state", "read", "values"), path, "$foreground-muted")]
        if main.run.sources
        else []
    )
    for s in main.run.sources:
        share = words.size(s.read) if s.read >= s.size else f"{words.size(s.read)} of {words.size(s.size)}"
        name = elided(s.path, path, glyphs.more)
        bad = "$text-error" if s.state in {"error", "gone"} else ""
        rows.append(_source_row((name, s.kind, s.state, share, f"{s.scalars:,}"), path, state=bad))
        if s.message:
            rows.append(plain(f"    {s.message}", "$text-warning"))
    return rows


def _source_row(row: tuple[str, str, str, str, str], path: int, style: str = "", state: str = "") -> Content:
    name, kind, said, read, values = row
    return Content("  ") + cells(
        [
            (plain(name, style), path, "left"),
            (plain(kind, style), 8, "left"),
            (plain(said, state or style), 8, "left"),
            (plain(read, style), 18, "right"),
            (plain(values, style), 10, "right"),
        ]
    )


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
