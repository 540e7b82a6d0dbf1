"""The last line: the keys that work now, the most needed first, as many as there is room for."""

from __future__ import annotations

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

    def _renew(self, screen: Screen[object]) -> None:
        if screen is not self.screen:
            return
        ranges: list[tuple[int, int, str]] = []
        line, used = EMPTY, 0
        for binding, enabled in fitting(self._offered(), self.size.width):
            name = key_name(binding.key)
            length = _length(binding)
            style = "" if enabled else "dim"
            line = line + plain(f" {name} ", f"bold $accent {style}".strip()) + plain(binding.description + " ", style)
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


def fitting(offered: list[tuple[Binding, bool]], width: int) -> list[tuple[Binding, bool]]:
    """Those that fit, in this order: the panel's and the screen's own, the ways to other screens, the way out.

    The way out (back, help, quit) is never crowded out by the others.
    """
    way_out = [pair for pair in offered if pair[0].id in _WAY_OUT]
    others = [pair for pair in offered if pair[0].id not in _WAY_OUT]
    others.sort(key=lambda pair: _rank(pair[0]))
    room = width - sum(_length(binding) for binding, _ in way_out) + 1
    chosen: list[tuple[Binding, bool]] = []
    for pair in others:
        room -= _length(pair[0])
        if room < 0:
            break
        chosen.append(pair)
    return chosen + way_out


def _rank(binding: Binding) -> int:
    """A screen's own keys, the ways to other screens, what works anywhere; those of a chart, which are many, last."""
    prefix = (binding.id or "").partition(".")[0]
    return {"run": 1, "app": 2, "chart": 3}.get(prefix, 0)


_WAY_OUT = ("app.back", "app.help", "app.quit")


def _length(binding: Binding) -> int:
    return len(key_name(binding.key)) + len(binding.description) + 3
