"""The texts in a chart's border: title and last values above, what the cursor reads below."""

from __future__ import annotations

import math

from rich.cells import cell_len
from textual.color import Color
from textual.content import Content
from textual.style import Style

from critictui.tui.chart.frame import Frame
from critictui.tui.chart.glyphs import Glyphs
from critictui.tui.chart.layers import letters_of
from critictui.tui.chart.model import ChartData, View
from critictui.tui.chart.palette import Palette
from critictui.tui.chart.picture import line_ink
from critictui.tui.chart.reading import Reading, last_values, readings
from critictui.tui.chart.safe import shown
from critictui.tui.chart.ticks import clock, duration, exact, short

_FEWEST_RULE = 2
Part = tuple[str, Style]


def title(data: ChartData, view: View, width: int, palette: Palette, glyphs: Glyphs, *, rule: Color) -> Content:
    """`score mean ──── teacher 2.77 · student -3.08`, in at most `width` cells; names go first, then values."""
    name = shown(data.title, ascii_only=not glyphs.braille)
    quiet = Style(foreground=palette.colours["label"])
    flags = _flags(view)
    tail = f" {flags}" if flags else ""
    values = last_values(data)
    for named in (True, False):
        parts = _values(values, data, palette, glyphs, named=named)
        length = sum(cell_len(text) for text, _ in parts)
        room = width - cell_len(name) - cell_len(tail) - length - 2
        if room >= _FEWEST_RULE and parts:
            bold = Style(bold=True)
            return Content.assemble(
                (name, bold), (tail, quiet), (f" {glyphs.rule * room} ", Style(foreground=rule)), *parts
            )
    return Content(_cut(name, width, glyphs)).stylize(Style(bold=True))


def _values(values: list[Reading], data: ChartData, palette: Palette, glyphs: Glyphs, *, named: bool) -> list[Part]:
    quiet = Style(foreground=palette.colours["label"])
    signs = _signs(data, palette, glyphs)
    parts: list[Part] = []
    for reading in values:
        colour = _colour(palette, _ink(reading))
        label = shown(reading.line.label, ascii_only=not glyphs.braille) + " " if named and len(data.lines) > 1 else ""
        parts += [(f" {glyphs.dot} ", quiet)] if parts else []
        parts.append((f"{signs[reading.index]}{label}{short(reading.value)}{_unit(data)}", colour))
    newest = data.points[-1] if data.points else None
    if newest is not None and math.isfinite(newest.value):
        half = (newest.high - newest.low) / 2
        spread = f" {'±' if glyphs.braille else '+-'}{short(half)}" if math.isfinite(half) and half > 0 else ""
        parts += [(f" {glyphs.dot} ", quiet)] if parts else []
        text = f"{glyphs.point} {'fixed ' if named else ''}{short(newest.value)}{spread}"
        parts.append((text, _colour(palette, line_ink(newest.role, 0))))
    return parts


def _signs(data: ChartData, palette: Palette, glyphs: Glyphs) -> list[str]:
    """What stands before each value so that it is known without its colour; '' where colours say it."""
    if len(data.lines) < 2 or not (palette.mono or glyphs.markers):
        return [""] * len(data.lines)
    letters = letters_of(data.lines)
    if not glyphs.markers:
        return [f"{letter} " for letter in letters]
    return [f"{glyphs.markers[i % len(glyphs.markers)]}{letter} " for i, letter in enumerate(letters)]


def _colour(palette: Palette, ink: int) -> Style:
    return Style() if palette.mono else Style(foreground=palette.line_colour(ink))


def _flags(view: View) -> str:
    words = ["log"] * view.log_y + ["robust"] * view.robust_y
    if view.smoothing != View().smoothing:
        words.append(f"ema {view.smoothing:g}" if view.smoothing else "raw")
    return " ".join(words)


def _unit(data: ChartData) -> str:
    return f" {shown(data.unit, ascii_only=True)}" if data.unit else ""


def _ink(reading: Reading) -> int:
    return line_ink(reading.line.role, reading.line.run)


def _cut(text: str, width: int, glyphs: Glyphs) -> str:
    if cell_len(text) <= width:
        return text
    more = "…" if glyphs.braille else ".."
    while text and cell_len(text) + len(more) > width:
        text = text[:-1]
    return text + more if text else ""


def subtitle(frame: Frame | None, view: View, width: int, palette: Palette, glyphs: Glyphs) -> Content:
    """`step 212  14:30:05  teacher 2.3107 · student -3.021`, or nothing without a cursor."""
    if frame is None or view.cursor_step is None:
        return Content("")
    found = readings(frame, view.cursor_step)
    if not found:
        return Content("")
    quiet = Style(foreground=palette.colours["label"])
    head = f"step {found[0].step}"
    moment = _moment(found[0], frame, quiet)
    signs = _signs(frame.data, palette, glyphs)
    for named, number in ((True, exact), (False, exact), (False, short)):
        texts: list[Part] = [(head, Style(bold=True)), *(moment if named else [])]
        for reading in found:
            label = shown(reading.line.label, ascii_only=not glyphs.braille) + " " if named and len(found) > 1 else ""
            other = f" (step {reading.step})" if reading.step != found[0].step and named else ""
            text = f"  {signs[reading.index]}{label}{number(reading.value)}{other}"
            texts.append((text, _colour(palette, _ink(reading))))
        content = Content.assemble(*texts)
        if content.cell_length <= width:
            return content
    return Content(_cut(head, width, glyphs))


def _moment(reading: Reading, frame: Frame, style: Style) -> list[Part]:
    if not math.isfinite(reading.wall_time):
        return []
    if frame.view.x_mode == "relative":
        return [(f"  {duration(frame.x_of_step(reading.step))}", style)]
    return [(f"  {clock(reading.wall_time, 0, full=True)}", style)]
