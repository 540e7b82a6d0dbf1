"""The keys of a chart, and what the help panel says about it."""

from __future__ import annotations

from textual.binding import Binding, BindingType

HELP = """\
## Chart

The bright line is the debiased exponential moving average. Behind it a band goes from the smallest to the largest value
of each column, or, where there are few points, a quiet line through the points themselves. Where two lines share a cell
they take turns.

● with a bar: a score on the fixed set and its 95 % interval. ★ best point, where a metric has a good direction.
┊ an epoch begins, ╎ a restart. ╌ a threshold that an alert is beyond, or chance, or zero. ▲ ● on the top row: an alert
fired. × on the bottom row: NaN or infinity.

↑ ↓ values beyond the edge, with how many they are and how far they go: a few far points, 4 % at most, do not set the
y range where they would stretch it more than five times, unless the newest is among them. In the line they count as
the edge. o shows everything.

Runs laid over each other have letters, at the end of each line and before each value; the lower border says which is
which.

The arrow keys move a cursor that reads the values of all lines, in every panel at once; comma and full stop move it
by one point, where a column holds several.
A click sets it, a double click shows all data, Ctrl and the wheel zoom.
"""

KEYS: list[BindingType] = [
    Binding("left", "cursor(-1)", "Cursor", id="chart.cursor-left", show=False, tooltip="The cursor to the left"),
    Binding("right", "cursor(1)", "Cursor", id="chart.cursor-right", show=False, tooltip="The cursor to the right"),
    Binding("comma", "point(-1)", "Point before", id="chart.point-before", show=False, tooltip="One point back"),
    Binding("full_stop", "point(1)", "Next point", id="chart.point-next", show=False, tooltip="One point on"),
    Binding("home", "cursor_end(-1)", "First point", id="chart.cursor-first", show=False),
    Binding("end", "cursor_end(1)", "Last point", id="chart.cursor-last", show=False),
    Binding("escape", "drop_cursor", "Drop cursor", id="chart.cursor-drop", show=False),
    Binding("shift+left", "pan(-0.25)", "Pan", id="chart.pan-left", show=False, tooltip="A quarter back in the run"),
    Binding("shift+right", "pan(0.25)", "Pan", id="chart.pan-right", show=False, tooltip="A quarter on in the run"),
    Binding("plus,equals_sign", "zoom(2)", "Zoom", id="chart.zoom-in", show=False, tooltip="Closer around the cursor"),
    Binding("minus", "zoom(0.5)", "Zoom out", id="chart.zoom-out", show=False, tooltip="Further away"),
    Binding("0", "fit", "Fit", id="chart.fit", show=False, tooltip="All data, following what comes"),
    Binding("s", "smooth(1)", "Smooth", id="chart.smoother", tooltip="A larger smoothing factor"),
    Binding("S", "smooth(-1)", "Rougher", id="chart.rougher", show=False, tooltip="A smaller one"),
    Binding("y", "toggle_log", "Log y", id="chart.log-y", show=False, tooltip="Logarithmic y; values <= 0 are gaps"),
    Binding(
        "o", "toggle_whole", "Outliers", id="chart.outliers", show=False, tooltip="Far points set the y range or not"
    ),
    Binding("t", "next_x_mode", "X axis", id="chart.x-axis", show=False, tooltip="By step, relative time, wall clock"),
    Binding("b", "toggle_band", "Band", id="chart.band", show=False, tooltip="The band, or none"),
]
