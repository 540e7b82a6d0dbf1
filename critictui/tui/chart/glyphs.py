"""The characters a chart is made of: a set for Unicode terminals and one of nothing but ASCII."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character a thing; every one is a single cell wide."""

    braille: bool
    """Curves are dots of braille cells; else one of `markers` a cell."""
    seam: str
    cursor: str
    bad: str
    """Stands on the bottom row where a column holds a value that is not finite."""
    above: str
    below: str
    """Values are cut off beyond the edge."""
    point: str
    bar: str
    bar_low: str
    """The upper half of a cell: where an interval ends downwards."""
    bar_high: str
    best: str
    critical: str
    warning: str
    info: str
    grid: str
    dash: str
    band: tuple[str, str, str]
    """Band of the first line, the second, both."""
    markers: str
    """A line each; the first is the most prominent."""
    dot: str
    """Between values in a title."""
    minus: str
    at_most: str
    rule: str
    """The stretch of the border between title and values."""

    def severity(self, severity: str) -> str:
        """The mark of an alert."""
        return {"critical": self.critical, "warning": self.warning}.get(severity, self.info)


UNICODE = Glyphs(
    braille=True,
    seam="┊",
    cursor="│",
    bad="×",
    above="↑",
    below="↓",
    point="●",
    bar="│",
    bar_low="╵",
    bar_high="╷",
    best="★",
    critical="▲",
    warning="●",
    info="○",
    grid="·",
    dash="╌",
    band=("⠂", "⠐", "⠒"),
    markers="",
    dot="·",
    minus="-",
    at_most="≤",
    rule="─",
)

ASCII = Glyphs(
    braille=False,
    seam=":",
    cursor="|",
    bad="x",
    above="^",
    below="v",
    point="@",
    bar="|",
    bar_low="'",
    bar_high=".",
    best="B",
    critical="!",
    warning="*",
    info="i",
    grid=".",
    dash="-",
    band=("`", ",", ";"),
    markers="#o+=%&~",
    dot="|",
    minus="-",
    at_most="<=",
    rule="-",
)

DASHES: tuple[tuple[int, ...], ...] = ((), (7, 4), (2, 3), (8, 3, 2, 3))
"""On and off along a line in dots: solid, dashed, dotted, dash-dot; by run; by line where there is no colour."""
