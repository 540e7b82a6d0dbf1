"""The first line: which run, how far, how fast, since when silent, and what is the matter, most important first."""

from __future__ import annotations

import time

from textual.content import Content

from critictui.durations import duration
from critictui.health.alert import Alert
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.run.facts import RunSnapshot
from critictui.tui import words
from critictui.tui.glyphs import Glyphs
from critictui.tui.gpu import GpuMemory
from critictui.tui.text import EMPTY, Part, elided, joined, plain
from critictui.tui.widgets.words import Words

STYLES = {
    "critical": "bold $text-error",
    "warning": "bold $text-warning",
    "info": "$text-accent",
    "healthy": "$text-success",
    "unknown": "$foreground-muted",
}


class Header(Words):
    """One line, laid out anew when something on it changes; it does not tick."""

    DEFAULT_CSS = """
    Header { height: 1; dock: top; background: $panel; color: $foreground; }
    """


def header_line(
    snapshot: Snapshot | None,
    width: int,
    glyphs: Glyphs,
    *,
    gpus: tuple[GpuMemory, ...] = (),
    paused: bool = False,
    note: str = "",
    now: float | None = None,
) -> Content:
    """As much as fits into `width` cells: name, verdict, step and state always; pace, ETA, age and GPU where there is
    room."""
    main = snapshot.main if snapshot is not None else None
    if snapshot is None or main is None:
        return _searching(snapshot, width)
    now = time.time() if now is None else now
    run = main.run
    left: list[tuple[int, Content]] = [
        (0, plain(elided(run.name, max(8, min(32, width // 4)), glyphs.more), "bold")),
        (1, plain("recording" if run.demo == "recording" else "", "$text-accent")),
        (1, plain(step_words(run))),
        (2, plain("ends in an error" if run.error else "", STYLES["critical"])),
        (4, plain(_pace(run))),
        (5, plain(_eta(run))),
        (2, _state(run, now, glyphs, short=width < 110) if run.step is not None else _not_yet(snapshot, run)),
        (6, plain(f"+ {words.count(len(snapshot.watched) - 1, 'run')}" if len(snapshot.watched) > 1 else "")),
        (3, plain(f"read {run.progress:.0%}" if run.progress < 0.995 else "")),
        (3, plain(note, "$foreground-muted")),
    ]
    right: list[tuple[int, Content]] = [
        (0, plain("PAUSED", "bold reverse") if paused else EMPTY),
        (1, verdict_words(main, glyphs)),
        (6, plain(_gpu_words(gpus))),
    ]
    return _fitted(left, right, width)


def verdict_words(main: WatchedRun, glyphs: Glyphs) -> Content:
    """`▲ 1 critical  ● 2 warnings`, `✓ healthy`, `✓ healthy so far` while rules wait, `? no critic` ..."""
    firing = [a for a in main.judgement.alerts if a.state == "firing" and a.key not in main.acknowledged]
    parts: list[Part] = []
    for severity, noun in (("critical", "critical"), ("warning", "warning")):
        n = sum(1 for a in firing if a.severity == severity)
        if n:
            many = "s" if n > 1 and severity == "warning" else ""
            parts.append((f"{glyphs.severity(severity)} {n} {noun}{many}", STYLES[severity]))
            parts.append("  ")
    if parts:
        return joined(*parts[:-1])
    verdict = main.judgement.verdict
    if verdict in {"critical", "warning"}:
        return plain(f"{glyphs.severity(verdict)} {verdict}, acknowledged", STYLES[verdict])
    calm = "healthy so far" if main.judgement.waiting else "healthy"
    missing = "no critic" if main.judgement.no_critic else "not enough data"
    said = calm if verdict == "healthy" else missing if main.run.step is not None else "no data yet"
    return plain(f"{glyphs.severity(verdict)} {said}", STYLES[verdict])


def step_words(run: RunSnapshot) -> str:
    """`step 310/800`."""
    if run.step is None:
        return "no step yet"
    return f"step {run.step}/{run.total_steps}" if run.total_steps else f"step {run.step}"


def worst(main: WatchedRun) -> Alert | None:
    """The first alert that fires and was not acknowledged."""
    return next((a for a in main.judgement.alerts if a.state == "firing" and a.key not in main.acknowledged), None)


def _pace(run: RunSnapshot) -> str:
    return f"{duration(run.pace)}/step" if run.pace else ""


def _eta(run: RunSnapshot) -> str:
    if not run.pace or not run.total_steps or run.step is None or run.state != "running":
        return ""
    left = run.total_steps - run.step
    return f"{words.coarse(left * run.pace)} left" if left > 0 else ""


def _state(run: RunSnapshot, now: float, glyphs: Glyphs, *, short: bool) -> Content:
    if run.last_change is None:
        return plain(run.state)
    since = words.clock(run.last_change, now)
    seen = f"{run.state} {since}" if short else f"{run.state} {glyphs.dot} last event {since}"
    old = now - run.last_change
    if old >= 60 and run.state != "finished" and not short:
        seen += f", {words.age(old)}"
    return plain(seen, STYLES["warning"] if run.state == "stalled" else "")


def _not_yet(snapshot: Snapshot, run: RunSnapshot) -> Content:
    """What goes on while there is no step."""
    if run.demo == "live":
        return plain("the demo's critic is starting")
    if snapshot.scanning:
        return plain(f"searching, {snapshot.scanned:,} entries")
    if run.error:
        return EMPTY  # that its log ends in one stands beside it
    return plain("waiting for data" if run.state == "empty" else run.state)


def _gpu_words(gpus: tuple[GpuMemory, ...]) -> str:
    shown = [f"GPU{gpu.index} {gpu.used_gib}/{gpu.total_gib}G" for gpu in gpus[:2]]
    return " ".join(shown) + (f" +{len(gpus) - 2}" if len(gpus) > 2 else "")


def _searching(snapshot: Snapshot | None, width: int) -> Content:
    if snapshot is None:
        return plain(" reading ...").truncate(width)
    where = elided(snapshot.target.name or str(snapshot.target), max(width // 3, 8))
    if snapshot.scanning:
        return plain(f" {where}  looking for runs, {snapshot.scanned:,} entries so far").truncate(width)
    if snapshot.rows:
        return plain(f" {where}  {words.count(len(snapshot.rows), 'run')}").truncate(width)
    return plain(f" {where}  no run found here yet; waiting for one").truncate(width)


def _fitted(left: list[tuple[int, Content]], right: list[tuple[int, Content]], width: int) -> Content:
    """The most important parts that fit, each in its place."""
    room = width - 2
    kept: set[int] = set()
    for rank, content in sorted([*left, *right], key=lambda part: part[0]):
        if content.plain and (content.cell_length + 2 <= room or rank <= 1):
            kept.add(id(content))
            room -= content.cell_length + 2
    first = Content("  ").join([content for _, content in left if id(content) in kept])
    last = Content("  ").join([content for _, content in right if id(content) in kept])
    gap = max(width - 2 - first.cell_length - last.cell_length, 1)
    return (Content(" ") + first + Content(" " * gap) + last).truncate(max(width, 0))
