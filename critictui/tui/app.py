"""The app: it takes snapshots from the monitor, gives them to the screen on top, and owns what all screens share."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import SystemCommand
from textual.binding import BindingType
from textual.filter import LineFilter
from textual.screen import Screen
from textual.timer import Timer

from critictui.config import Config
from critictui.tui import keys
from critictui.tui.ascii import AsciiFilter
from critictui.tui.chart.model import View
from critictui.tui.depth import FixedColours, depth_of
from critictui.tui.glyphs import ASCII, UNICODE, ascii_only
from critictui.tui.gpu import GpuWatch
from critictui.tui.key_table import collisions, unknown_ids
from critictui.tui.messages import GpuRead, InputFailed, SnapshotTaken, ThreadFailed
from critictui.tui.navigation import Navigation
from critictui.tui.said import SECONDS, Severity
from critictui.tui.screens.dashboard import Dashboard
from critictui.tui.state import ScreenState, load_state, save_state, state_path
from critictui.tui.supervised import log_error
from critictui.tui.terminal import Terminal
from critictui.tui.themes import DEFAULT_THEME, SIXTEEN_COLOURS, load_themes

if TYPE_CHECKING:
    from critictui.monitor.monitor import Monitor
    from critictui.monitor.snapshot import Snapshot


_LEAST_WATCHED = 120.0
"""Seconds after which the highest use of a GPU that was seen is taken for its highest use."""
_MOST_ERRORS, _IN_SECONDS = 200, 20.0
"""So many errors of the screen as such in so little time are no accident: the app ends instead of spinning for ever."""
_MOST_SENTENCES = 500
"""Different errors that are said and written down; further ones are counted."""


_SETTLED = 2.0
"""Seconds after which a start is over."""


class CriticApp(Navigation):
    """Watches one path."""

    TITLE = "critictui"
    CSS_PATH = "styles.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.ANYWHERE

    def __init__(
        self,
        target: Path,
        config: Config,
        monitor: Monitor | None = None,
        *,
        watching: bool = True,
        clock: float | None = None,
    ) -> None:
        """`monitor` may be at work already; without one the app makes its own.

        `watching=False` starts no threads, and `clock` stops time: both for tests and pictures of screens.
        """
        super().__init__(driver_class=Terminal)
        self.animation_level = "none"
        self.target, self.config = target, config
        self._reading = monitor
        self.glyphs = ASCII if ascii_only(config.ascii) else UNICODE
        self.depth = depth_of(self.console)
        self._terminal_filters: list[LineFilter] = [AsciiFilter()] if self.glyphs.ascii else []
        if self.depth == "256":
            self._terminal_filters.append(FixedColours())
        self.frozen_clock = clock
        self._watching = watching
        self._gpu_watch: GpuWatch | None = None
        self._waiting: Snapshot | None = None
        self._frame: Timer | None = None
        self._painted = 0.0
        self._screen_errors: deque[float] = deque(maxlen=_MOST_ERRORS)
        self._known_alerts: set[str] | None = None
        self._state_path = state_path(target)
        self.state, self._state_notice = load_state(self._state_path)
        self.view = View(
            x_mode=self.state.x_mode,  # type: ignore[arg-type]
            smoothing=self.state.smoothing,
            log_y=self.state.log_y,
            whole_y=self.state.whole_y,
            show_band=self.state.show_band,
        )
        self._theme_notices = self._choose_theme()
        if config.keys:
            self.set_keymap(dict(config.keys))

    def action_pause(self) -> None:
        """Hold the screen still, or go on with the newest."""
        super().action_pause()
        if not self.paused:
            self._paint()

    def get_default_screen(self) -> Screen[None]:
        """The dashboard is where every step back ends."""
        return Dashboard()

    def get_line_filters(self) -> list[LineFilter]:
        """What the terminal cannot show is not sent, whoever draws it."""
        filters = list(super().get_line_filters())
        return [*filters, *self._terminal_filters]

    def on_load(self) -> None:
        """What was read while the screen was imported is in the first frame."""
        asyncio.get_running_loop().set_exception_handler(self._on_loop_error)
        if self._reading is not None and self._reading.first is not None:
            self.snapshot = self._reading.first

    def on_mount(self) -> None:
        """Notices are there from the first frame on."""
        self.theme_changed_signal.subscribe(self, lambda theme: self.remember_theme(theme.name))
        notices = [n for n in (*self.config.notices, *self._theme_notices, self._state_notice) if n]
        unknown = unknown_ids(self.config.keys)
        if unknown:
            notices.append(f"keys: there is no {', '.join(unknown)}; ? names each key's id behind it")
        if twice := collisions(self.config.keys):
            notices.append(f"keys: {'; '.join(twice)}: only one of them works")
        if len(notices) == 1:
            self.say(notices[0], "warning")
        elif notices:
            for notice in notices:
                self.keep_said(notice, "warning")
            text = f"{self.glyphs.warning} {len(notices)} settings or files were not taken; i tells which and why"
            self.notify(text, severity="warning", timeout=SECONDS["warning"], markup=False)

    def on_ready(self) -> None:
        """The first frame is painted: read on. Garbage is collected again once the first charts are there."""
        self.set_timer(_SETTLED, _collect_garbage)
        if self._watching:
            self._start_watching()

    async def on_unmount(self) -> None:
        """The worker and the threads end with the screen."""
        if self.bench is not None:
            await self.bench.close()
        if self._gpu_watch is not None:
            self._gpu_watch.stop()
        if self.monitor is not None:
            self.monitor.stop()

    def _start_watching(self) -> None:
        from critictui.monitor.monitor import Monitor

        self._gpu_watch = GpuWatch(lambda gpus: self.post_message(GpuRead(gpus)))
        self._gpu_watch.start()
        monitor = self._reading or Monitor(self.target, self.config)
        monitor.tell(self._listen)
        monitor.start()
        self.monitor = monitor

    def _listen(self, snapshot: Snapshot) -> None:
        """Called from the monitor's thread; posting is all that happens there."""
        self.post_message(SnapshotTaken(snapshot))

    def on_snapshot_taken(self, message: SnapshotTaken) -> None:
        """At most `config.refresh` frames a second, the last one never lost."""
        self._waiting = message.snapshot
        if self.config.auto_score:
            self._score_new(message.snapshot)
        if self.paused or self._frame is not None or message.snapshot is self.snapshot:
            return
        wait = self._painted + 1 / self.config.refresh - time.monotonic()
        if wait <= 0:
            self._paint()
        else:
            self._frame = self.set_timer(wait, self._paint, name="frame")

    def _score_new(self, snapshot: Snapshot) -> None:
        from critictui.tui.evaluate import snapshot_taken

        self.run_worker(snapshot_taken(self, snapshot), name="auto-score", group="auto-score", exit_on_error=False)

    def _paint(self) -> None:
        self._frame = None
        if self._waiting is None or self.paused:
            return
        taken, self._waiting = self._waiting, None
        self.snapshot = taken if self.bench is None else self.bench.with_unsaved(taken)
        if self.snapshot.main is not None and self.snapshot.main.run.series:
            self._painted = time.monotonic()  # the first chart never waits for the frame before it
        self.tell_screen(self.snapshot)
        self._announce(self.snapshot)

    def _announce(self, snapshot: Snapshot) -> None:
        """A toast and the bell for a critical event that was not there before; not for those found at the start."""
        main = snapshot.main
        if main is None or main.run.progress < 1:
            return
        critical = {a.key: a for a in main.judgement.alerts if a.severity == "critical" and a.state == "firing"}
        known = self._known_alerts
        self._known_alerts = set(critical) | (known or set())
        if known is None:
            return
        from critictui.monitor.news import news_in

        fresh = [alert for key, alert in critical.items() if key not in known | main.acknowledged]
        news = news_in(fresh, main.judgement.alerts)
        for one in news:
            self.say(f"{one.alert.rule}: {one.message}", "error")
        if news and self.config.bell:
            self.bell()

    def gpu_peaks(self) -> Mapping[int, int]:
        """Known after two minutes and two steps: by then every phase of a training step was seen."""
        main = self.snapshot.main if self.snapshot is not None else None
        if self._gpu_watch is None or main is None or not main.run.pace or "CUDA_VISIBLE_DEVICES" in os.environ:
            return {}
        return self._gpu_watch.peaks(max(2 * main.run.pace, _LEAST_WATCHED))

    def on_gpu_read(self, message: GpuRead) -> None:
        """The header says it."""
        self.gpus = message.gpus
        self.tell_header()

    def on_terminal_drained(self) -> None:
        """Frames were lost while the terminal did not read."""
        self.action_redraw()

    def on_input_failed(self, message: InputFailed) -> None:
        """It was no key."""
        self.report(message.error, "what the terminal sent")

    def on_thread_failed(self, message: ThreadFailed) -> None:
        """What the thread did is not done any more."""
        self.report(message.error, message.where)

    def tell_failure(self, error: Exception, where: str) -> None:
        """From any thread, at any time: an error that would otherwise be printed over the screen, or be lost."""
        try:
            taken = self.post_message(ThreadFailed(error, where))
        except RuntimeError:  # the loop is closed
            taken = False
        if not taken:
            log_error(error, where)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        del loop
        error = context.get("exception")
        self.tell_failure(
            error if isinstance(error, Exception) else RuntimeError(str(context.get("message"))),
            "a task in the background",
        )

    def report(self, error: Exception, where: str) -> None:
        """Every error that nobody expected ends here: in the log, and on the screen in one line.

        The same error again is only counted.
        """
        self.errors += 1
        sentence = f"{where}: {type(error).__name__}: {error}"
        if sentence in self._said or len(self._said) > _MOST_SENTENCES:
            return
        path = log_error(error, where)
        self._say_once(sentence, f"; details in {path}" if path is not None else "", "error")

    def _handle_exception(self, error: Exception) -> None:
        # Private to Textual, which is pinned: errors in its own code, and in ours before the first paint. The default
        # ends the app and prints a traceback with all local variables to the terminal.
        now = time.monotonic()
        self._screen_errors.append(now)
        endless = len(self._screen_errors) == _MOST_ERRORS and now - self._screen_errors[0] < _IN_SECONDS
        if self._dom_ready and not endless:
            self.report(error, "screen")
            return
        self._return_code = 1
        if self.is_headless and self._exception is None:
            self._exception = error
            self._exception_event.set()
        self.crash_log = log_error(error, "fatal")
        self._close_messages_no_wait()

    errors: int = 0
    """How many errors were reported."""
    crash_log: Path | None = None
    """Where the traceback of a fatal error is."""

    def keep_view(self, view: View) -> None:
        """The view that all charts share, remembered."""
        self.view = view
        self.keep(
            replace(
                self.state,
                smoothing=view.smoothing,
                x_mode=view.x_mode,
                log_y=view.log_y,
                whole_y=view.whole_y,
                show_band=view.show_band,
            )
        )

    def keep(self, state: ScreenState) -> None:
        """Remember, from now on and for the next time."""
        if state != self.state:
            self.state = state
            if self._watching:
                self._say_once(save_state(self._state_path, state))

    _said: frozenset[str] = frozenset()

    def _say_once(self, sentence: str, more: str = "", severity: Severity = "warning") -> None:
        if sentence and sentence not in self._said:
            self._said |= {sentence}
            self.say(sentence + more, severity)

    def _choose_theme(self) -> list[str]:
        themes, notices = load_themes()
        for theme in themes:
            self.register_theme(theme)
        remembered = self.state.theme if self.state.configured_theme == self.config.theme else ""
        wanted = remembered or self.config.theme
        if wanted not in self.available_themes:
            notices.append(f"theme {wanted!r} does not exist; press T to choose one")
            wanted = DEFAULT_THEME
        if self.depth == "16" and not self.available_themes[wanted].ansi:
            wanted = SIXTEEN_COLOURS if SIXTEEN_COLOURS in self.available_themes else "ansi-dark"
        self.theme = wanted
        return notices

    def remember_theme(self, name: str | None) -> None:
        """Not while one only looks, and not on a terminal of sixteen colours: there it is no matter of taste."""
        if name is None or self.depth == "16" or getattr(self.screen, "previewing", False):
            return
        if name != (self.state.theme or self.config.theme):
            self.keep(replace(self.state, theme=name, configured_theme=self.config.theme))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the command palette offers."""
        yield from self.palette_commands()
        yield from self.key_commands(screen)


def _collect_garbage() -> None:
    gc.freeze()
    gc.enable()
