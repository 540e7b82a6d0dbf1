"""The texts in a chart's border: title and last values above, below what the cursor reads or which run is which."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from textual.color import Color
from textual.content import Content
from textual.style import Style

from critictui.tui.chart.frame import Frame
from critictui.tui.chart.glyphs import DASHES, Glyphs
from critictui.tui.chart.model import ChartData, View
from critictui.tui.chart.names import long_names, run_letter, short_names
from critictui.tui.chart.palette import Palette
from critictui.tui.chart.picture import braille, braille_codes, ink_of, line_ink, stroke
from critictui.tui.chart.reading import Reading, last_values, readings, value_text
from critictui.tui.chart.safe import elided, shown
from critictui.tui.chart.ticks import clock, duration

_FEWEST_RULE = 2
_SHORTEST_NAME = 6
"""Cells that a title is cut to before values are left out."""
_SWATCH = 6
"""Cells of a line that show how it is drawn."""
_EMPTY = "\u2800"
"""A braille cell without dots."""
_CURSOR_DIGITS = 4
Part = tuple[str, Style]


@dataclass(frozen=True, slots=True)
class Look:
    """What colours and characters a chart has, to write its texts in."""

    palette: Palette
    glyphs: Glyphs
    rule: Color
    """Of the border."""

    @property
    def quiet(self) -> Style:
        """For what is no value."""
        return Style(foreground=self.palette.colours["label"])

    @property
    def gap(self) -> Part:
        """Between two values."""
        return (f" {self.glyphs.dot} ", self.quiet)

    def ink(self, ink: int) -> Style:
        """The colour of a line."""
        return Style() if self.palette.mono else Style(foreground=self.palette.line_colour(ink))

    def text(self, text: str) -> str:
        """Foreign text that may be shown."""
        return shown(text, ascii_only=not self.glyphs.braille)


@dataclass(frozen=True, slots=True)
class _Wish:
    """How much of a title is to be said."""

    named: bool = False
    """Whole names before the values, else letters."""
    asides: bool = False
    spread: bool = True
    """The interval of the newest fixed-set score."""
    grouped: bool = False
    """Of several runs the letter once, before all values of the run, and no dot before it."""
    runs: int = 99
    """Of so many runs; the rest is three dots."""


_WHOLE = (_Wish(named=True, asides=True), _Wish(asides=True), _Wish(), _Wish(grouped=True))
"""With the whole title, from all values to those of the lines."""
_CUT = (_Wish(grouped=True), *(_Wish(spread=False, grouped=True, runs=n) for n in (99, 5, 4, 3, 2, 1)))
"""With a title that is cut."""
_FLAGGED = 2
"""Of these so many are tried before what the view does to the line is left unsaid."""
_NAMED_FROM = 100
"""Cells from which the smoothing is named even where nobody changed it."""


def title(data: ChartData, view: View, width: int, look: Look) -> Content:
    """`score mean ──── teacher 2.77 · student -3.08`, in at most `width` cells.

    Where that is too long the names before the values become letters, then the title is cut in its middle and goes;
    the newest value is the last thing to go.
    """
    name = look.text(data.title)
    words = _flags(view, whole=width >= _NAMED_FROM)
    tails = dict.fromkeys((f" {words}" if words else "", ""))
    whole = cell_len(name)
    tries = [(wish, whole, next(iter(tails))) for wish in _WHOLE]
    cut_ones = [(wish, tail) for tail in tails if tail for wish in _CUT[:_FLAGGED]]
    cut_ones += [(wish, tail) for wish in _CUT for tail in tails]
    tries += [(wish, least, tail) for least in (_SHORTEST_NAME, 0) for wish, tail in cut_ones]
    for wish, least, tail in tries:
        parts = _values(data, wish, look)
        room = width - sum(cell_len(text) for text, _ in parts) - cell_len(tail) - 2 - _FEWEST_RULE
        if parts and room >= min(least, whole):
            cut = elided(name, room, look.glyphs.more)
            line = look.glyphs.rule * (room + _FEWEST_RULE - cell_len(cut))
            bold, rule = Style(bold=True), Style(foreground=look.rule)
            return Content.assemble((cut, bold), (tail, look.quiet), (f" {line} ", rule), *parts)
    alone = _values(data, _CUT[-1], look)[:1]
    if alone and cell_len(alone[0][0]) <= width:
        return Content.assemble(*alone)
    return Content(elided(name, width, look.glyphs.more)).stylize(Style(bold=True))


def _values(data: ChartData, wish: _Wish, look: Look) -> list[Part]:
    """The newest values, each behind its name, and the newest score on the fixed set."""
    newest = data.points[-1] if data.points and math.isfinite(data.points[-1].value) else None
    alone = len(data.lines) + len(data.asides) < 2 and not (wish.named and newest is not None)
    names = [""] if alone else _names(data, look, whole=wish.named)
    parts: list[Part] = []
    told = last_values(data)
    for reading in told:
        aside = reading.index >= len(data.lines)
        if reading.line.run >= wish.runs or (aside and not wish.asides):
            continue
        style = look.quiet if aside else look.ink(ink_of(reading.line))
        name = names[reading.index]
        if wish.grouped and len(data.runs) > 1:
            again = reading.index and data.lines[reading.index - 1].run == reading.line.run
            parts.append(("/" if again else " " if parts else "", look.quiet))
            name = "" if again else f"{run_letter(reading.line.run)} "
        else:
            parts += [look.gap] if parts else []
        parts.append((f"{name}{value_text(reading.line, reading.value)}{_unit(data)}", style))
    if newest is not None and data.lines:
        half = (newest.high - newest.low) / 2
        value, spread = (value_text(data.lines[0], number) for number in (newest.value, half))
        spread = f" {look.glyphs.plus_minus}{spread}" if wish.spread and half > 0 and math.isfinite(half) else ""
        parts += [look.gap] if parts else []
        text = f"{look.glyphs.point} {'fixed ' if wish.named else ''}{value}{spread}"
        parts.append((text, look.ink(line_ink(newest.role, 0))))
    cut = any(reading.line.run >= wish.runs for reading in told)
    return [*parts, look.gap, (look.glyphs.more, look.quiet)] if cut else parts


def _names(data: ChartData, look: Look, *, whole: bool) -> list[str]:
    """What stands before each value, asides behind lines: the marker, where lines have one, and the name or letter.

    The letter stands before the whole name too where it is what tells the line apart in the plot.
    """
    markers = look.glyphs.markers if len(data.lines) > 1 else ""
    found = []
    for index, (long, short) in enumerate(zip(long_names(data), short_names(data), strict=True)):
        drawn = index < len(data.lines)
        marker = markers[index % len(markers)] if drawn and markers else ""
        lettered = whole and drawn and len(data.runs) < 2 and (marker or look.palette.mono) and len(data.lines) > 1
        found.append(f"{marker}{f'{short} ' if lettered else ''}{look.text(long) if whole else short} ")
    return found


def _flags(view: View, *, whole: bool) -> str:
    words = ["log"] * view.log_y + ["whole"] * view.whole_y
    if whole or view.smoothing != View().smoothing:
        words.append(f"ema {view.smoothing:g}" if view.smoothing else "raw")
    return " ".join(words)


def _unit(data: ChartData) -> str:
    return f" {shown(data.unit, ascii_only=True)}" if data.unit else ""


def subtitle(data: ChartData, frame: Frame | None, view: View, width: int, look: Look) -> Content:
    """`step 212  22 Nov 14:30  teacher 2.311 · student -3.021` under a cursor; else, of several runs, their legend."""
    found = readings(frame, view.cursor_step) if frame is not None and view.cursor_step is not None else []
    if frame is None or not found:
        return legend(data, width, look)
    head: Part = (f"step {found[0].step}  ", Style(bold=True))
    drawn = [reading for reading in found if reading.index < len(data.lines)]
    for named, digits, before, read in (
        (True, _CURSOR_DIGITS, [head, *_moment(found[0], frame, look)], found),
        (True, _CURSOR_DIGITS, [head], found),
        (False, _CURSOR_DIGITS, [head], found),
        (False, 3, [head], found),
        (False, 3, [head], drawn),
        (False, 3, [], drawn),
    ):
        content = Content.assemble(*before, *_read(data, read, look, named=named, digits=digits))
        if content.cell_length <= width:
            return content
    return Content(elided(head[0].strip(), width, look.glyphs.more))


def _read(data: ChartData, found: list[Reading], look: Look, *, named: bool, digits: int) -> list[Part]:
    """The values at the cursor."""
    names = _names(data, look, whole=named) if len(data.lines) + len(data.asides) > 1 else [""]
    parts: list[Part] = []
    for reading in found:
        style = look.quiet if reading.index >= len(data.lines) else look.ink(ink_of(reading.line))
        other = f" (step {reading.step})" if reading.step != found[0].step and named else ""
        parts += [look.gap] if parts else []
        parts.append((f"{names[reading.index]}{value_text(reading.line, reading.value, digits)}{other}", style))
    return parts


def _moment(reading: Reading, frame: Frame, look: Look) -> list[Part]:
    if not math.isfinite(reading.wall_time):
        return []
    if frame.view.x_mode == "relative":
        return [(f"{duration(frame.x_of_step(reading.step))}  ", look.quiet)]
    return [(f"{clock(reading.wall_time, math.inf, full=True)}  ", look.quiet)]


def legend(data: ChartData, width: int, look: Look) -> Content:
    """`A ⠤⠤⠤⠤ warmup-v10 · B ⠤⠄⠤⠄ warmup-v9`: which letter and which line is which run; '' where there is one run.

    Where that is too wide the pieces of line go first, then the names are cut; the letters stay as long as they fit.
    """
    if len(data.runs) < 2:
        return Content("")
    names = [look.text(name) for name in data.runs]
    for drawn in (True, False):
        keys = [run_key(data, run, look, drawn=drawn) for run in range(len(names))]
        room = width - sum(key.cell_length + 1 for key in keys) - cell_len(look.gap[0]) * (len(keys) - 1)
        if sum(map(cell_len, names)) <= room:
            break
    longest = max(map(cell_len, names))
    while longest and sum(min(cell_len(name), longest) for name in names) > room:
        longest -= 1
    parts: list[Content] = []
    for key, name in zip(keys, names, strict=True):
        parts += [Content.styled(*look.gap)] if parts else []
        parts += [key, Content(f" {elided(name, longest, look.glyphs.more)}".rstrip())]
    made = Content("").join(parts)
    return made if made.cell_length <= width else Content("")


def run_key(data: ChartData, run: int, look: Look, *, drawn: bool) -> Content:
    """The letter of a run, and how its first line looks."""
    own = next((index for index, line in enumerate(data.lines) if line.run == run), None)
    if own is None:
        return Content.styled(run_letter(run), look.quiet)
    letter = Content.styled(run_letter(run), look.ink(ink_of(data.lines[own])))
    return letter + Content(" ") + swatch(data, own, look) if drawn else letter


def swatch(data: ChartData, index: int, look: Look) -> Content:
    """A piece of a line as the chart draws it."""
    line = data.lines[index]
    style = look.ink(ink_of(line))
    if look.glyphs.markers:
        return Content.styled(look.glyphs.markers[index % len(look.glyphs.markers)], style)
    pattern = DASHES[(max(line.run, index) if look.palette.mono else line.run) % len(DASHES)]
    skipped = max(pattern[0] - 4, 0) if pattern else 0  # a long first dash would be all that one sees
    dots = stroke(np.full(2 * _SWATCH + skipped, 1.0), 4, pattern)[:, skipped:]
    return Content.styled("".join(braille(braille_codes(dots))[0].tolist()).rstrip(_EMPTY), style)
