"""The characters a chart is made of: a set for Unicode terminals and one of nothing but ASCII."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character a thing; every one is a single cell wide."""

    braille: bool
    """Curves are dots of braille cells; else one of `markers` a cell."""
    seam: str
    """Where an epoch begins; `restart` where the run was started again."""
    restart: str
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
    at_most: str
    plus_minus: str
    more: str
    """Where text was cut out."""
    rule: str
    """The stretch of the border between title and values."""

    def severity(self, severity: str) -> str:
        """The mark of an alert."""
        return {"critical": self.critical, "warning": self.warning}.get(severity, self.info)


UNICODE = Glyphs(
    braille=True,
    seam="┊",
    restart="╎",
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
    at_most="≤",
    plus_minus="±",
    more="…",
    rule="─",
)

ASCII = Glyphs(
    braille=False,
    seam=":",
    restart="I",
    cursor="|",
    bad="x",
    above="^",
    below="v",
    point="@",
    bar="|",
    bar_low="'",
    bar_high=".",
    best="$",
    critical="!",
    warning="*",
    info="i",
    grid=".",
    dash="-",
    band=("`", ",", ";"),
    markers="#o+=%&~",
    dot="|",
    at_most="<=",
    plus_minus="+-",
    more="..",
    rule="-",
)

DASHES: tuple[tuple[int, ...], ...] = ((), (7, 4), (2, 3), (8, 3, 2, 3), (1, 5), (12, 3, 2, 3, 2, 3))
"""On and off along a line in dots: solid, dashed, dotted, dash-dot ...; by run; by line where there is no colour."""
