"""A terminal screen goes in, a picture comes out: cells of a pyte screen, drawn with their colours.

Braille, blocks and box lines are drawn as shapes, so that they join at any size whatever the font holds; all other
characters come from a monospaced font.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pyte
from PIL import Image, ImageDraw, ImageFont

CELL = (10, 21)
"""Pixels of a cell at scale 1."""
FOREGROUND, BACKGROUND = "#d5dce4", "#0d1117"
"""What `default` means."""

_FONTS = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSansMono{bold}.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationMono-{regular}.ttf",
    "/Library/Fonts/DejaVuSansMono{bold}.ttf",
)
_SIXTEEN = {
    "black": "#15191e", "red": "#e5534b", "green": "#57ab5a", "brown": "#c69026", "blue": "#539bf5",
    "magenta": "#b083f0", "cyan": "#39c5cf", "white": "#adbac7", "brightblack": "#636e7b", "brightred": "#ff938a",
    "brightgreen": "#8ddb8c", "brightbrown": "#eac55f", "brightyellow": "#eac55f", "brightblue": "#96d0ff",
    "brightmagenta": "#dcbdfb", "bfightmagenta": "#dcbdfb", "brightcyan": "#56d4dd", "brightwhite": "#ffffff",
}  # fmt: skip
_BLOCKS_LOWER = " ▁▂▃▄▅▆▇█"
_BLOCKS_LEFT = " ▏▎▍▌▋▊▉█"
_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_BOX = {
    "─": _LEFT | _RIGHT, "│": _UP | _DOWN, "┌": _DOWN | _RIGHT, "┐": _DOWN | _LEFT, "└": _UP | _RIGHT,
    "┘": _UP | _LEFT, "├": _UP | _DOWN | _RIGHT, "┤": _UP | _DOWN | _LEFT, "┬": _LEFT | _RIGHT | _DOWN,
    "┴": _LEFT | _RIGHT | _UP, "┼": 15, "╵": _UP, "╷": _DOWN, "╴": _LEFT, "╶": _RIGHT, "━": _LEFT | _RIGHT,
    "┃": _UP | _DOWN,
}  # fmt: skip
_ROUND = {"╭": (_DOWN, _RIGHT), "╮": (_DOWN, _LEFT), "╰": (_UP, _RIGHT), "╯": (_UP, _LEFT)}
_DASHED = {"┊": (4, True), "┆": (3, True), "╎": (2, True), "┄": (3, False), "┈": (4, False), "╌": (2, False)}
_DOTS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
"""Column and row of each bit of a braille character."""


def draw_screen(screen: pyte.Screen, *, scale: int = 2, margin: int = 8) -> Image.Image:
    """The screen as an RGB image; `scale` multiplies the cell, `margin` is in pixels at scale 1."""
    width, height = CELL[0] * scale, CELL[1] * scale
    edge = margin * scale
    size = (screen.columns * width + 2 * edge, screen.lines * height + 2 * edge)
    image = Image.new("RGB", size, _most_common_background(screen))
    brush = ImageDraw.Draw(image)
    for row in range(screen.lines):
        line = screen.buffer[row]
        for column in range(screen.columns):
            cell = line[column]
            box = (edge + column * width, edge + row * height, width, height)
            front, back = _colours(cell)
            brush.rectangle((box[0], box[1], box[0] + width - 1, box[1] + height - 1), fill=back)
            if cell.data and not cell.data.isspace():
                _draw_character(brush, cell.data, box, front, bold=cell.bold, scale=scale)
            if cell.underscore:
                under = box[1] + height - scale
                brush.line((box[0], under, box[0] + width - 1, under), fill=front, width=scale)
    return image


def save_screen(screen: pyte.Screen, path: Path, *, scale: int = 2) -> None:
    """The screen as a PNG with a small palette: a few ten kilobytes."""
    image = draw_screen(screen, scale=scale)
    image.quantize(colors=128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)


def _colours(cell: pyte.screens.Char) -> tuple[str, str]:
    front, back = _hex(cell.fg, FOREGROUND), _hex(cell.bg, BACKGROUND)
    return (back, front) if cell.reverse else (front, back)


def _hex(name: str, default: str) -> str:
    if name == "default":
        return default
    return _SIXTEEN.get(name) or f"#{name}"


def _most_common_background(screen: pyte.Screen) -> str:
    counts: dict[str, int] = {}
    for row in range(screen.lines):
        for column in range(screen.columns):
            back = _colours(screen.buffer[row][column])[1]
            counts[back] = counts.get(back, 0) + 1
    return max(counts, key=lambda colour: counts[colour]) if counts else BACKGROUND


Box = tuple[int, int, int, int]


def _draw_character(
    brush: ImageDraw.ImageDraw, character: str, box: Box, colour: str, *, bold: bool, scale: int
) -> None:
    thin = max(1, round(1.2 * scale))
    if len(character) == 1 and 0x2800 <= ord(character) <= 0x28FF:
        _draw_braille(brush, ord(character) - 0x2800, box, colour)
    elif character in _BLOCKS_LOWER:
        top = box[3] - round(box[3] * _BLOCKS_LOWER.index(character) / 8)
        brush.rectangle((box[0], box[1] + top, box[0] + box[2] - 1, box[1] + box[3] - 1), fill=colour)
    elif character in _BLOCKS_LEFT:
        right = round(box[2] * _BLOCKS_LEFT.index(character) / 8)
        brush.rectangle((box[0], box[1], box[0] + right - 1, box[1] + box[3] - 1), fill=colour)
    elif character == "▀":
        brush.rectangle((box[0], box[1], box[0] + box[2] - 1, box[1] + box[3] // 2), fill=colour)
    elif character in _BOX:
        _draw_arms(brush, _BOX[character], box, colour, thin * (2 if character in "━┃" else 1))
    elif character in _ROUND:
        _draw_round(brush, _ROUND[character], box, colour, thin)
    elif character in _DASHED:
        _draw_dashed(brush, _DASHED[character], box, colour, thin)
    else:
        font = _font(bold, box[3])
        brush.text((box[0] + box[2] / 2, box[1] + box[3] * 0.76), character, fill=colour, font=font, anchor="ms")


def _draw_braille(brush: ImageDraw.ImageDraw, code: int, box: Box, colour: str) -> None:
    left, top, width, height = box
    radius = min(width / 4, height / 8) * 0.8
    for bit, (column, row) in enumerate(_DOTS):
        if code >> bit & 1:
            x, y = left + width * (column + 0.5) / 2, top + height * (row + 0.5) / 4
            brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _draw_arms(brush: ImageDraw.ImageDraw, arms: int, box: Box, colour: str, thick: int) -> None:
    left, top, width, height = box
    x, y = left + width // 2, top + height // 2
    if arms & (_LEFT | _RIGHT):
        ends = (left if arms & _LEFT else x, left + width - 1 if arms & _RIGHT else x)
        brush.rectangle((ends[0], y - thick // 2, ends[1], y - thick // 2 + thick - 1), fill=colour)
    if arms & (_UP | _DOWN):
        ends = (top if arms & _UP else y, top + height - 1 if arms & _DOWN else y)
        brush.rectangle((x - thick // 2, ends[0], x - thick // 2 + thick - 1, ends[1]), fill=colour)


def _draw_round(brush: ImageDraw.ImageDraw, arms: tuple[int, int], box: Box, colour: str, thick: int) -> None:
    left, top, width, height = box
    x, y, radius = left + width // 2, top + height // 2, width // 2
    down, right = arms[0] == _DOWN, arms[1] == _RIGHT
    centre = (x + (radius if right else -radius), y + (radius if down else -radius))
    start = {(True, True): 180, (True, False): 270, (False, True): 90, (False, False): 0}[(down, right)]
    around = (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)
    brush.arc((around[0] - thick // 2, around[1] - thick // 2, around[2] + thick // 2, around[3] + thick // 2),
              start, start + 90, fill=colour, width=thick)  # fmt: skip
    end = (y + radius, top + height - 1) if down else (top, y - radius)
    brush.rectangle((x - thick // 2, end[0], x - thick // 2 + thick - 1, end[1]), fill=colour)


def _draw_dashed(brush: ImageDraw.ImageDraw, dashes: tuple[int, bool], box: Box, colour: str, thick: int) -> None:
    count, upright = dashes
    left, top, width, height = box
    length = height if upright else width
    for number in range(count):
        start, end = (
            length * number / count + length / count * 0.2,
            length * (number + 1) / count - length / count * 0.2,
        )
        if upright:
            x = left + width // 2 - thick // 2
            brush.rectangle((x, top + start, x + thick - 1, top + end), fill=colour)
        else:
            y = top + height // 2 - thick // 2
            brush.rectangle((left + start, y, left + end, y + thick - 1), fill=colour)


@lru_cache(8)
def _font(bold: bool, height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for pattern in _FONTS:
        path = Path(pattern.format(bold="-Bold" if bold else "", regular="Bold" if bold else "Regular"))
        if path.is_file():
            return ImageFont.truetype(str(path), round(height * 0.76))
    return ImageFont.load_default(round(height * 0.7))
