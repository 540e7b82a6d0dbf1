"""The last line: the keys that work now, the most needed first, as many as there is room for."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.binding import Binding
from textual.screen import Screen

from critictui.tui.text import EMPTY, plain
from critictui.tui.widgets.words import Words

_SHORT = {
    "question_mark": "?",
    "slash": "/",
    "escape": "esc",
    "plus": "+",
    "minus": "-",
    "full_stop": ".",
    "comma": ",",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "equals_sign": "=",
    "pagedown": "pgdn",
    "pageup": "pgup",
}


def key_name(key: str) -> str:
    """A key as people call it, in ASCII."""
    return _SHORT.get(key, key.replace("ctrl+", "^"))


class KeyBar(Words):
    """Keys and what they do; a click on one does it."""

    DEFAULT_CSS = """
    KeyBar { height: 1; dock: bottom; }
    """

    _ranges: tuple[tuple[int, int, str], ...] = ()

    def on_mount(self) -> None:
        """Follow the focus: other panels have other keys."""
        self.screen.bindings_updated_signal.subscribe(self, self._renew)
        self._renew(self.screen)

    def on_resize(self) -> None:
        """More or fewer keys fit."""
        self._renew(self.screen)

    def show(self) -> None:
        """The screen is on top again."""
        self._renew(self.screen)

    def hide(self) -> None:
        """Another screen lies over this one: none of these keys works now."""
        self._ranges = ()
        self.say(EMPTY)

    def _renew(self, screen: Screen[object]) -> None:
        if screen is not self.screen or screen is not self.app.screen:
            return
        ranges: list[tuple[int, int, str]] = []
        line, used = EMPTY, 0
        chosen, gap = fitting(self._offered(), self.size.width, getattr(screen, "FIRST_KEYS", ()))
        for binding, enabled in chosen:
            length = _length(binding, gap)
            style = "" if enabled else "dim"
            name, said = f" {key_name(binding.key)} ", binding.description + " " * (gap - 2)
            line = line + plain(name, f"bold $accent {style}".strip()) + plain(said, style)
            ranges.append((used, used + length, binding.key))
            used += length
        self._ranges = tuple(ranges)
        self.say(line)

    def _offered(self) -> list[tuple[Binding, bool]]:
        seen: dict[str, tuple[Binding, bool]] = {}
        for _, binding, enabled, _tooltip in self.screen.active_bindings.values():
            if binding.show and binding.action not in seen:
                seen[binding.action] = (binding, enabled)
        return list(seen.values())

    def on_click(self, event: events.Click) -> None:
        """As if the key under the mouse were pressed."""
        for start, end, key in self._ranges:
            if start <= event.x < end:
                self.app.simulate_key(key)


Offered = tuple[Binding, bool]
"""A key and whether it works now."""


def fitting(offered: list[Offered], width: int, first: Sequence[str] = ()) -> tuple[list[Offered], int]:
    """Those that fit, and the blanks for each: closer together where there are more keys than room.

    The way out (back, help, quit) is always there. Room goes to the first of `first`, to what the panel and the screen
    have of their own, to the ways to other screens, to what begins work, to what works anywhere; last to the keys of a
    chart, which are many. They stand in this order too, but for `first`. What does not fit is behind `?`.
    """
    way_out = [pair for pair in offered if pair[0].id in _WAY_OUT]
    others = sorted((pair for pair in offered if pair[0].id not in _WAY_OUT), key=lambda pair: _rank(pair[0], first))
    roomy = sum(_length(binding, _ROOMY) for binding, _ in offered) - 1 <= width
    gap = _ROOMY if roomy else _CLOSE
    room = width - sum(_length(binding, gap) for binding, _ in way_out)
    chosen: list[Offered] = []
    for pair in others:
        length = _length(pair[0], gap)
        if length <= room:
            room -= length
            chosen.append(pair)
    chosen.sort(key=lambda pair: 0 if pair[0].id in first else 1)
    return chosen + way_out, gap


def _rank(binding: Binding, first: Sequence[str]) -> int:
    if binding.id in first[:1]:
        return 0
    if binding.id in _WORK:
        return 3
    return {"run": 2, "app": 4, "chart": 5}.get((binding.id or "").partition(".")[0], 1)


_WAY_OUT = ("app.back", "app.help", "app.quit")
_WORK = frozenset({"run.evaluate", "run.diagnose", "run.explain", "run.scores", "run.filter"})
"""Ways to other screens that begin work, or that another key is close to."""
_ROOMY, _CLOSE = 3, 2


def _length(binding: Binding, gap: int) -> int:
    return len(key_name(binding.key)) + len(binding.description) + gap
