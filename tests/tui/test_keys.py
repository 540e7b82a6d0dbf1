"""The key table."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter

from textual.binding import Binding
from textual.screen import Screen

from critictui.tui import key_table, screens


def screen_classes() -> list[type[Screen[object]]]:
    """Every screen of ours."""
    found = []
    for info in pkgutil.iter_modules(screens.__path__, "critictui.tui.screens."):
        module = importlib.import_module(info.name)
        found += [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Screen)]
    return [c for c in dict.fromkeys(found) if c.__module__.startswith("critictui.tui.screens.")]


def test_every_key_has_an_id_that_the_configuration_knows() -> None:
    known = {*key_table.ids(), *key_table.widget_ids()}
    for screen in screen_classes():
        for binding in screen.BINDINGS:
            assert isinstance(binding, Binding), binding
            assert binding.id in known, f"{screen.__name__}: {binding.key}"


def test_no_key_means_two_things_on_one_screen() -> None:
    for screen in screen_classes():
        own = [b for b in vars(screen).get("BINDINGS", []) if isinstance(b, Binding)]
        pressed = Counter(key for b in own for key in b.key.split(","))
        assert [key for key, n in pressed.items() if n > 1] == [], screen.__name__


def test_an_id_that_nothing_has_is_named() -> None:
    assert key_table.unknown_ids({"run.metrics": "f5", "log.up": "u", "nothing.here": "x"}) == ["nothing.here"]


def test_a_key_that_is_given_twice_is_named_and_one_of_another_screen_is_not() -> None:
    assert key_table.collisions({}) == []
    assert key_table.collisions({"run.alerts": "m"}) == ["m is both run.alerts and run.metrics"]
    assert key_table.collisions({"run.alerts": "m", "run.metrics": "a"}) == []
    assert key_table.collisions({"run.alerts": "m", "run.log": "m", "run.metrics": "f5"}) == [
        "m is both run.alerts and run.log"
    ]
    assert key_table.collisions({"log.follow": "w"}) == ["w is both log.follow and log.wrap"]
    assert key_table.collisions({"log.follow": "m"}) == [], "a screen may have a use of its own for a key"
