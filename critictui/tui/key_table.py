"""All keys together, wherever they stand: what the configuration may rebind, and what its page lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textual.binding import Binding

from critictui.tui import keys


def ids() -> list[str]:
    """Every id of the table, as the configuration may name it."""
    return [b.id for group in keys.ALL for b in group if isinstance(b, Binding) and b.id is not None]


def widget_ids() -> set[str]:
    """The ids of the keys that stand with their widgets and screens."""
    return {b.id for b in _of_widgets() if b.id is not None}


def every() -> list[Binding]:
    """Every key that can be rebound, wherever it stands."""
    tables = [b for group in keys.ALL for b in group if isinstance(b, Binding)]
    return [b for b in (*tables, *_of_widgets()) if b.id is not None]


def _of_widgets() -> list[Binding]:
    from critictui.tui.chart.widget import Chart
    from critictui.tui.screens.help import HelpScreen
    from critictui.tui.screens.log import LogScreen
    from critictui.tui.screens.metrics import FilterInput, MetricsScreen
    from critictui.tui.widgets.checkpoints import CheckpointPanel
    from critictui.tui.widgets.health import HealthPanel
    from critictui.tui.widgets.rows import Rows

    nodes = (Chart, Rows, HealthPanel, CheckpointPanel, MetricsScreen, FilterInput, LogScreen, HelpScreen)
    return [b for node in nodes for b in node.BINDINGS if isinstance(b, Binding)]


def unknown_ids(configured: Iterable[str]) -> list[str]:
    """What the configuration rebinds and nothing has."""
    wanted = set(configured)
    return sorted(wanted - set(ids()) - widget_ids()) if wanted else []


def collisions(configured: Mapping[str, str]) -> list[str]:
    """Keys that the configuration gives to two things of one place, of which only one can have it: in words."""
    if not configured:
        return []
    bound = {b.id: set((configured.get(b.id) or b.key).split(",")) for b in every() if b.id is not None}
    usual = {b.id: set(b.key.split(",")) for b in every() if b.id is not None}
    said = []
    for one in (name for name in configured if name in bound):
        for other, pressed in bound.items():
            twice = other in configured and list(configured).index(other) < list(configured).index(one)
            if other == one or twice or not _one_place(one, other) or usual[one] & usual[other]:
                continue
            said += [f"{key} is both {one} and {other}" for key in sorted(bound[one] & pressed)]
    return said


def _one_place(one: str, other: str) -> bool:
    """Whether both are keys of one screen or panel, or of all screens. That one screen has its own use for a key that
    works anywhere else is no collision.
    """
    places = {one.partition(".")[0], other.partition(".")[0]}
    return len(places) == 1 or places <= _ANYWHERE


_ANYWHERE = frozenset({"app", "run", "work"})
