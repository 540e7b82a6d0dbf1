"""The key table: every key of every screen with the id under which the configuration may rebind it.

It is the help screen too: what is not in here cannot be pressed. The keys of charts and lists stand with their widgets.
"""

from __future__ import annotations

from textual.binding import Binding, BindingType

ANYWHERE: list[BindingType] = [
    Binding("question_mark", "help", "Help", id="app.help", tooltip="What the panel shows, and every key"),
    Binding("q", "quit", "Quit", id="app.quit", tooltip="Leave; the run goes on"),
    Binding("space", "pause", "Pause", id="app.pause", tooltip="Hold the screen still; reading goes on"),
    Binding("T", "change_theme", "Theme", id="app.theme", show=False, tooltip="Another theme, remembered"),
    Binding(
        "ctrl+z", "suspend_process", "Suspend", id="app.suspend", show=False, priority=True,
        tooltip="To the shell; fg returns",
    ),
    Binding(
        "ctrl+l", "redraw", "Redraw", id="app.redraw", show=False, priority=True, tooltip="Paint everything anew",
    ),
]  # fmt: skip

VIEWS: list[BindingType] = [
    Binding("e", "app.evaluate('score_newest')", "Evaluate", id="run.evaluate", tooltip="Score the newest checkpoint"),
    Binding("d", "app.evaluate('diagnose')", "Diagnose", id="run.diagnose", tooltip="Is the newest checkpoint sound?"),
    Binding("x", "app.evaluate('explain')", "Explain", id="run.explain", tooltip="Why do training and test disagree?"),
    Binding("C", "app.cancel_work", "Cancel", id="work.cancel", tooltip="End what the worker does; what waits is next"),
    Binding("E", "app.evaluate('scores')", "Scores", id="run.scores", tooltip="Every score of this run, and its pairs"),
    Binding("m", "app.open('metrics')", "Metrics", id="run.metrics", tooltip="Every metric as a small chart"),
    Binding("slash", "app.open('filter')", "Filter", id="run.filter", tooltip="Find metrics by name"),
    Binding("a", "app.open('alerts')", "Alerts", id="run.alerts", tooltip="Every alert, worst first"),
    Binding("c", "app.open('checkpoints')", "Checkpoints", id="run.checkpoints", tooltip="All checkpoints and scores"),
    Binding("l", "app.open('log')", "Log", id="run.log", tooltip="The console log"),
    Binding("i", "app.open('facts')", "Facts", id="run.facts", tooltip="Files, sessions, what was skipped and why"),
    Binding("r", "app.open('runs')", "Runs", id="run.runs", tooltip="Other runs here; lay several over each other"),
]

BACK = Binding("escape", "back", "Back", id="app.back", tooltip="One step back")

DASHBOARD: list[BindingType] = [
    Binding("enter", "enlarge", "Enlarge", id="dashboard.enlarge", show=False, tooltip="This chart on the full screen"),
    Binding("p", "unpin", "Unpin", id="dashboard.unpin", show=False, tooltip="Take a pinned metric off the dashboard"),
    Binding("pagedown,right_square_bracket", "page(1)", "More", id="dashboard.next-page", tooltip="More panels"),
    Binding("pageup,left_square_bracket", "page(-1)", "Panels before", id="dashboard.previous-page", show=False),
    *[
        Binding(
            str(n), f"enlarge({n})", f"Enlarge {n}", id=f"dashboard.panel-{n}", show=False,
            tooltip="The first, second, ... panel on the full screen",
        )
        for n in range(1, 10)
    ],
]  # fmt: skip

METRICS: list[BindingType] = [
    Binding("slash", "filter", "Filter", id="metrics.filter", tooltip="Glob, or a regular expression"),
    Binding("enter", "enlarge", "Enlarge", id="metrics.enlarge", tooltip="This chart on the full screen"),
    Binding("p", "pin", "Pin", id="metrics.pin", tooltip="Onto the dashboard, or off it"),
    Binding("right_square_bracket", "group(1)", "Next group", id="metrics.next-group"),
    Binding("left_square_bracket", "group(-1)", "Group before", id="metrics.previous-group", show=False),
]

CHART: list[BindingType] = [
    Binding("p", "pin", "Pin", id="full.pin", tooltip="Onto the dashboard, or off it"),
    Binding("n", "neighbour(1)", "Next chart", id="full.next"),
    Binding("N", "neighbour(-1)", "Chart before", id="full.previous", show=False),
]

ALERT: list[BindingType] = [
    Binding("escape", "back", "Back", id="app.back", tooltip="One step back", priority=True),
    Binding("n", "neighbour(1)", "Next", id="alert.next", tooltip="The next alert of the list"),
    Binding("p,N", "neighbour(-1)", "Previous", id="alert.previous", tooltip="The alert before it"),
    Binding("a", "acknowledge", "Acknowledge", id="alert.acknowledge", tooltip="Seen; it stays in the list"),
    Binding("z", "snooze", "Snooze 1 h", id="alert.snooze", tooltip="Quiet for an hour"),
    Binding("j", "jump", "Show the step", id="alert.jump", tooltip="The chart, at the step where it began"),
]

CHECKPOINTS: list[BindingType] = [
    Binding("e", "score", "Evaluate", id="checkpoints.score", tooltip="Score this checkpoint on the fixed set"),
    Binding("d", "diagnose", "Diagnose", id="checkpoints.diagnose", tooltip="Is this checkpoint sound?"),
    Binding("x", "explain", "Explain", id="checkpoints.explain", tooltip="Training and test at this checkpoint"),
    Binding("E", "scores", "Scores", id="checkpoints.scores", tooltip="Its scores and pairs"),
]

SCORE_DIALOG: list[BindingType] = [
    Binding("enter", "screen.start", "Start", id="score.start", tooltip="Begin, on the chosen device"),
    Binding("s", "screen.share", "Share GPU", id="score.share", tooltip="Take a GPU that training is on: your risk"),
    Binding("C", "app.cancel_work", "Cancel", id="work.cancel", tooltip="End what the worker does; what waits is next"),
    Binding("escape,q", "screen.dismiss", "Close", id="score.close"),
]

THEMES: list[BindingType] = [
    Binding("enter", "choose", "Take it", id="themes.choose", tooltip="This theme, remembered for this run"),
    Binding("escape,q,T", "screen.leave", "Leave it", id="themes.leave", tooltip="The theme that was there before"),
]

SCORES: list[BindingType] = [
    Binding("enter", "screen.pairs", "Pairs", id="scores.pairs", tooltip="Every pair of this score, by margin"),
]

PAIRS: list[BindingType] = [
    Binding("enter", "screen.read", "Read", id="pairs.read", tooltip="Prompt, teacher and student"),
    Binding("o", "screen.order", "Order", id="pairs.order", tooltip="Worst first, or best first"),
    Binding("w", "screen.wrong", "Wrong only", id="pairs.wrong", tooltip="Only those that are not right, or all"),
    Binding("slash", "screen.filter", "Filter", id="pairs.filter", tooltip="Part of a text, a glob, or a regex"),
]

PAIR: list[BindingType] = [
    Binding("n", "neighbour(1)", "Next pair", id="pair.next"),
    Binding("N", "neighbour(-1)", "Pair before", id="pair.previous", show=False),
    Binding("up,k", "scroll(-1)", "Up", id="pair.up", show=False),
    Binding("down,j", "scroll(1)", "Down", id="pair.down", show=False),
    Binding("pageup", "scroll(-15)", "Page up", id="pair.page-up", show=False),
    Binding("pagedown,space", "scroll(15)", "Page down", id="pair.page-down", show=False),
]

REPORT: list[BindingType] = [
    Binding("g", "measure", "Go on", id="report.measure", tooltip="Measure too, though it takes long"),
    Binding("R", "again", "Again", id="report.again", tooltip="Forget what was found, look anew"),
    Binding("y", "copy", "Copy", id="report.copy", tooltip="The report as Markdown, to the terminal's clipboard"),
    Binding("w", "save", "Save", id="report.save", tooltip="The report as a Markdown file"),
]

DIAGNOSIS: list[BindingType] = [
    Binding("s", "samples", "Samples", id="diagnosis.samples", tooltip="Tokens, values and score of each"),
]

EXPLANATION: list[BindingType] = [
    Binding("t", "test", "Test numbers", id="explanation.test", tooltip="Numbers that another test measured; a script"),
]

LOG: list[BindingType] = [
    Binding("f", "follow", "Follow", id="log.follow", tooltip="Stay at the end as it grows"),
    Binding("slash", "search", "Search", id="log.search"),
    Binding("n", "next_match(-1)", "Match before", id="log.match-before"),
    Binding("N", "next_match(1)", "Match after", id="log.match-after", show=False),
    Binding("w", "wrap", "Wrap", id="log.wrap", show=False, tooltip="Long lines whole or cut"),
    Binding("f2", "next_file", "Other file", id="log.next-file", show=False),
]

RUNS: list[BindingType] = [
    Binding("space", "mark", "Overlay", id="runs.overlay", tooltip="Lay this run over the shown one, or take it off"),
    Binding("o", "order", "Order", id="runs.order", tooltip="By name, the worst first, the newest first"),
]

ALL: tuple[list[BindingType], ...] = (
    ANYWHERE, VIEWS, [BACK], DASHBOARD, METRICS, CHART, ALERT, CHECKPOINTS, LOG, RUNS,
    SCORE_DIALOG, THEMES, SCORES, PAIRS, PAIR, REPORT, DIAGNOSIS, EXPLANATION,
)  # fmt: skip
