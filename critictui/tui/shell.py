"""What the screens know of the app: the newest snapshot, the view of all charts, and what can be said and opened."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from textual.app import App

from critictui.config import Config
from critictui.run.text import sanitise
from critictui.tui.chart.model import View
from critictui.tui.depth import Depth
from critictui.tui.glyphs import Glyphs
from critictui.tui.gpu import GpuMemory
from critictui.tui.said import MOST_KEPT, SECONDS, Said, Severity
from critictui.tui.state import ScreenState
from critictui.tui.supervised import Supervised

if TYPE_CHECKING:
    from critictui.monitor.snapshot import Snapshot
    from critictui.tui.evaluation.auto import AutoScore
    from critictui.tui.evaluation.bench import Bench
    from critictui.tui.evaluation.inquiry import Inquiries

EVALUATE = "critictui.tui.evaluate"


class Watcher(Protocol):
    """The monitor, as far as the screens know it."""

    def stop(self) -> None:
        """End the thread."""
        ...

    def select(self, path: Path) -> None:
        """Read this run in full and put it first."""
        ...

    def overlay(self, paths: tuple[Path, ...]) -> None:
        """Read these runs in full as well."""
        ...

    def acknowledge(self, key: str) -> None:
        """The alert with this key was seen."""
        ...

    def snooze(self, key: str, seconds: float) -> None:
        """Quiet for so long."""
        ...

    def wake(self) -> None:
        """Look now."""
        ...


class Shell(Supervised, App[None]):
    """What all screens share. The ways between them are in `navigation`, which no screen needs to know."""

    target: Path
    config: Config
    glyphs: Glyphs
    depth: Depth = "full"
    snapshot: Snapshot | None = None
    """The newest one that may be shown."""
    gpus: tuple[GpuMemory, ...] = ()
    paused: bool = False
    monitor: Watcher | None = None
    view: View
    """One for all charts."""
    state: ScreenState
    frozen_clock: float | None = None
    bench: Bench | None = None
    """Where scores, diagnoses and explanations are made; None until the first one is asked for."""
    inquiries: Inquiries | None = None
    """Diagnoses and explanations of this session; None until the first one."""
    auto: AutoScore | None = None
    said: tuple[Said, ...] = ()
    """Warnings and errors of this session, the newest last."""

    def say(self, text: str, severity: Severity = "information") -> None:
        """A toast over the last line; any text is safe in it. What is more than information is kept as well."""
        self.keep_said(text, severity)
        sign = {"warning": f"{self.glyphs.warning} ", "error": f"{self.glyphs.critical} "}.get(severity, "")
        self.notify(sign + sanitise(text, 600), severity=severity, timeout=SECONDS[severity], markup=False)

    def keep_said(self, text: str, severity: Severity) -> None:
        """For the facts, without a toast."""
        if severity != "information":
            self.said = (*self.said, Said(self.now(), severity, text))[-MOST_KEPT:]

    def report(self, error: Exception, where: str) -> None:
        """An error that nobody expected; the app says it and goes on."""
        raise error

    def keep(self, state: ScreenState) -> None:
        """Remember; the app knows where."""
        self.state = state

    def keep_view(self, view: View) -> None:
        """The view that all charts share."""
        self.view = view

    def now(self) -> float:
        """Wall clock time in seconds; stands still in pictures."""
        return time.time() if self.frozen_clock is None else self.frozen_clock

    def tell_screen(self, snapshot: Snapshot) -> None:
        """The screen on top shows it."""
        raise NotImplementedError

    def tell_header(self) -> None:
        """Something on the first line changed."""
        raise NotImplementedError

    def tell_work(self) -> None:
        """Something about the bench, or a result, is different."""
        raise NotImplementedError

    def tick_work(self) -> None:
        """The seconds of what runs go on."""
        raise NotImplementedError

    def open(self, what: str) -> None:
        """The screen of this name, on top of the dashboard."""
        raise NotImplementedError

    def open_chart(self, key: str) -> None:
        """A panel or a tag on the full screen, over the screen one is on."""
        raise NotImplementedError

    def open_alert(self, key: str | None = None) -> None:
        """An alert in detail; the worst one by default."""
        raise NotImplementedError

    def toggle_pin(self, tag: str) -> bool:
        """On the dashboard or off it; whether it is on it now."""
        pins = self.state.pins
        pinned = tag not in pins
        self.keep(replace(self.state, pins=(*pins, tag) if pinned else tuple(p for p in pins if p != tag)))
        self.say(f"{tag} {'is on the dashboard now' if pinned else 'is off the dashboard'}")
        return pinned

    def gpu_peaks(self) -> Mapping[int, int]:
        """The highest use in bytes of each GPU, where it was watched for long enough to be known."""
        return {}


def bench_of(app: Shell) -> Bench:
    """The app's work bench, made when it is first needed."""
    if app.bench is None:
        from critictui.tui.evaluation.bench import Bench

        app.bench = Bench(app)
    return app.bench


def inquiries_of(app: Shell) -> Inquiries:
    """The diagnoses and explanations of this session."""
    if app.inquiries is None:
        from critictui.tui.evaluation.inquiry import Inquiries

        app.inquiries = Inquiries(bench_of(app))
    return app.inquiries


@lru_cache
def can_evaluate(what: str) -> bool:
    """Whether the evaluation screens are there and have this function."""
    if importlib.util.find_spec(EVALUATE) is None:
        return False
    return callable(getattr(importlib.import_module(EVALUATE), what, None))
