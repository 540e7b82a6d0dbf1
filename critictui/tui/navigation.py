"""How one gets from screen to screen, and the few actions that every screen has."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from critictui.tui import keys
from critictui.tui.screens.base import RunScreen
from critictui.tui.shell import EVALUATE, Shell, can_evaluate
from critictui.tui.widgets.job_line import JobLine
from critictui.tui.widgets.keybar import key_name

if TYPE_CHECKING:
    from critictui.monitor.snapshot import Snapshot


@runtime_checkable
class Follows(Protocol):
    """A screen that shows how work goes on."""

    def work_moved(self) -> None:
        """Something about the bench, or a result, is different."""
        ...


class Navigation(Shell):
    """The ways between the screens, and the few actions that every screen has."""

    _offered: bool = False

    def tell_screen(self, snapshot: Snapshot) -> None:
        """The screen on top shows the newest snapshot; below a dialogue, the screen under it."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, RunScreen):
                screen.renew()
                break
        if not self._offered and len(snapshot.rows) > 1 and len(self.screen_stack) == 1:
            self._offered = True
            self.open("runs")

    def tell_header(self) -> None:
        """Something on the first line changed."""
        for screen in self.screen_stack:
            if isinstance(screen, RunScreen):
                screen.show_header()

    def tell_work(self) -> None:
        """The line of the job, and every screen that follows it."""
        self.tick_work()
        for screen in self.screen_stack:
            if isinstance(screen, Follows):
                screen.work_moved()
        self.screen.refresh_bindings()

    def tick_work(self) -> None:
        """The seconds on the job's line, which go on while the worker says nothing new."""
        if self.bench is not None:
            for screen in self.screen_stack:
                for line in screen.query(JobLine):
                    line.renew(self.bench)

    def open(self, what: str) -> None:
        """The screen of this name, on top of the dashboard."""
        screen = _made(what, self)
        if screen is None or type(screen) is type(self.screen):
            return
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.push_screen(screen)

    def open_chart(self, key: str) -> None:
        """A panel or a tag on the full screen, over the screen one is on."""
        from critictui.tui.screens.chart import ChartScreen

        self.push_screen(ChartScreen(key))

    def open_alert(self, key: str | None = None) -> None:
        """An alert in detail; the worst one by default."""
        from critictui.tui.screens.alert import AlertScreen

        main = self.snapshot.main if self.snapshot is not None else None
        if main is None or not main.judgement.alerts:
            self.say("no rule has raised an alert in this run")
            return
        if isinstance(self.screen, AlertScreen):
            return
        known = [a.key for a in main.judgement.alerts]
        self.push_screen(AlertScreen(key if key in known else known[0]))

    def leave(self, status: int) -> None:
        """Exit with this status; safe to call from any thread and from a signal handler."""
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(lambda: self.exit(return_code=status))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of what is not installed are not shown."""
        if action == "evaluate":
            return can_evaluate(str(parameters[0]) if parameters else "")
        if action == "cancel_work":
            return self.bench is not None and self.bench.busy
        return super().check_action(action, parameters)

    def action_open(self, what: str) -> None:
        """Open a screen by its name."""
        self.open(what)

    def action_evaluate(self, what: str) -> None:
        """`score_newest`, `diagnose`, `explain`: functions of the evaluation screens that take the app."""
        if can_evaluate(what):
            getattr(importlib.import_module(EVALUATE), what)(self)

    def action_cancel_work(self) -> None:
        """End what the worker does."""
        if self.bench is not None:
            self.bench.cancel()

    def action_pause(self) -> None:
        """Hold the screen still, or go on with the newest."""
        self.paused = not self.paused
        self.tell_header()

    def action_help(self) -> None:
        """What the focused panel shows, and the keys that work there."""
        from critictui.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_change_theme(self) -> None:
        """A list that shows each theme as the cursor comes to it."""
        from critictui.tui.screens.themes import ThemeScreen, in_order

        if isinstance(self.screen, ThemeScreen):
            return
        few = frozenset(n for n, t in self.available_themes.items() if t.ansi) if self.depth == "16" else None
        self.push_screen(
            ThemeScreen(in_order(list(self.available_themes), sixteen=few), self.theme), self.remember_theme
        )

    def remember_theme(self, name: str | None) -> None:
        """It was chosen; the app knows where that is kept."""

    def action_redraw(self) -> None:
        """Paint everything anew, for a terminal that lost something."""
        self.refresh(layout=True)

    def palette_commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers: every screen and switch by name."""
        yield SystemCommand("Theme", "Choose another theme", self.action_change_theme)
        for what, said in _SCREENS.items():
            yield SystemCommand(what.capitalize(), said, lambda w=what: self.action_open(w))
        for what, said in (
            ("score_newest", "Score the newest checkpoint on the fixed set"),
            ("diagnose", "Is the newest checkpoint sound?"),
            ("explain", "Why do training and test disagree?"),
            ("scores", "Every score of this run, and its pairs"),
        ):
            if can_evaluate(what):
                name = what.replace("_", " ").capitalize()
                yield SystemCommand(name, said, lambda w=what: self.action_evaluate(w))
        yield SystemCommand("Pause", "Hold the screen still, or go on", self.action_pause)
        yield SystemCommand("Help", "What the panel shows, and every key", self.action_help)
        yield SystemCommand("Redraw", "Paint everything anew", self.action_redraw)
        yield SystemCommand("Quit", "Leave; the run goes on", self.action_quit)

    def key_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every key that works on this screen, by what it does."""
        said: set[str] = {binding.action for binding in keys.ANYWHERE if isinstance(binding, Binding)}
        for node, binding, enabled, _tooltip in screen.active_bindings.values():
            own = binding.id is not None and not binding.id.startswith("run.")
            if enabled and own and binding.action not in said and (text := binding.tooltip or binding.description):
                said.add(binding.action)
                act = partial(self.call_later, self.run_action, binding.action, node)
                yield SystemCommand(binding.description, f"{text} ({key_name(binding.key)})", act)


_SCREENS = {
    "metrics": "Every metric as a small chart",
    "filter": "Find metrics by name",
    "alerts": "Every alert, worst first",
    "checkpoints": "All checkpoints and their scores",
    "log": "The console log",
    "facts": "Files, sessions, what was skipped and why",
    "runs": "Other runs here; lay several over each other",
}


def _made(what: str, app: Navigation) -> Screen[None] | None:
    """Screens are imported when they are opened: the first paint does not wait for them."""
    if what in {"metrics", "filter"}:
        from critictui.tui.screens.metrics import MetricsScreen

        return MetricsScreen(filtering=what == "filter")
    if what == "checkpoints":
        from critictui.tui.screens.checkpoints import CheckpointScreen

        return CheckpointScreen()
    if what == "alerts":
        from critictui.tui.screens.alerts import AlertsScreen

        return AlertsScreen()
    if what == "log":
        from critictui.tui.screens.log import LogScreen

        return LogScreen()
    if what == "facts":
        from critictui.tui.screens.facts import FactsScreen

        return FactsScreen()
    if what == "runs":
        from critictui.tui.screens.runs import RunsScreen

        return RunsScreen()
    app.say(f"there is no screen {what!r}", "warning")
    return None
