"""How many colours the terminal has; and any colour becomes the nearest of the 240 fixed ones that 256 colours mean.

Textual hands colours to Rich, which rounds each channel by itself: a quiet blue tint becomes navy, a grey one teal.
Here distance is measured as eyes do (CIE 1976 L*a*b*), so that quiet colours stay quiet.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from rich.color import Color as RichColor
from rich.color import ColorType
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

Depth = Literal["full", "256", "16"]
Triple = tuple[int, int, int]

_STEPS: Final = (0, 95, 135, 175, 215, 255)
FIXED: Final[tuple[Triple, ...]] = (
    *((r, g, b) for r in _STEPS for g in _STEPS for b in _STEPS),
    *((grey, grey, grey) for grey in range(8, 239, 10)),
)
"""Colours 16 to 255 of xterm: a cube of six steps a channel, then 24 greys. The sixteen before them are the user's."""


def depth_of(console: Console) -> Depth:
    """What the terminal says of itself (COLORTERM, TERM); one that says nothing gets its own sixteen colours."""
    system = console.color_system
    return "full" if system == "truecolor" else "256" if system == "256" else "16"


@lru_cache(4096)
def nearest(red: int, green: int, blue: int) -> int:
    """The number, 16 to 255, of the fixed colour that looks most like this one."""
    wanted = _lab((red, green, blue))
    return 16 + min(range(len(FIXED)), key=lambda i: _distance(wanted, _labs()[i]))


def fixed(colour: Color) -> Color:
    """The fixed colour that looks most like this one; a colour of the terminal's own stays."""
    return colour if colour.ansi is not None else Color(*FIXED[nearest(*colour.rgb) - 16])


def contrast(one: Color, other: Color) -> float:
    """1 to 21, WCAG 2.1: (L1 + 0.05) / (L2 + 0.05)."""
    low, high = sorted((_luminance(one.rgb), _luminance(other.rgb)))
    return (high + 0.05) / (low + 0.05)


@lru_cache(256)
def nearest_seen(colour: Color, background: Color, least: float, most: float) -> Color:
    """The fixed colour that looks most like this one among those with a contrast to the background in these bounds."""
    wanted = _lab(colour.rgb)
    seen = [i for i, rgb in enumerate(FIXED) if least <= contrast(Color(*rgb), background) <= most]
    return Color(*FIXED[min(seen, key=lambda i: _distance(wanted, _labs()[i]))]) if seen else fixed(colour)


class FixedColours(LineFilter):
    """Applied to every line that goes to a terminal of 256 colours, Textual's own widgets included."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments in fixed colours."""
        del background
        return [Segment(text, style and _fixed_style(style), control) for text, style, control in segments]


@lru_cache(4096)
def _fixed_style(style: Style) -> Style:
    front, back = (_fixed_rich(colour) for colour in (style.color, style.bgcolor))
    return style + Style(color=front, bgcolor=back)


def _fixed_rich(colour: RichColor | None) -> RichColor | None:
    if colour is None or colour.type is not ColorType.TRUECOLOR or colour.triplet is None:
        return colour
    return RichColor.from_ansi(nearest(*colour.triplet))


@lru_cache(1)
def _labs() -> tuple[tuple[float, float, float], ...]:
    return tuple(_lab(rgb) for rgb in FIXED)


def _linear(rgb: Triple) -> tuple[float, float, float]:
    r, g, b = (c / 255 for c in rgb)
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (r, g, b))
    return red, green, blue


def _luminance(rgb: Triple) -> float:
    r, g, b = _linear(rgb)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _lab(rgb: Triple) -> tuple[float, float, float]:
    """CIE L*a*b* of an sRGB colour, white point D65."""
    r, g, b = _linear(rgb)
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _distance(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
