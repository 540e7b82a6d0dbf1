"""A diagnosis or an explanation: the answer first, its reasons as a list, the evidence of the chosen one below."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.monitor.snapshot import Snapshot, WatchedRun
from critictui.scoring.results import state_dir
from critictui.tui import keys
from critictui.tui.chart.model import View
from critictui.tui.chart.widget import Chart
from critictui.tui.evaluation.inquiry import Inquiry, inquiry_key
from critictui.tui.evaluation.items import Item, item_line
from critictui.tui.evaluation.threads import in_thread
from critictui.tui.screens.base import RunScreen
from critictui.tui.shell import bench_of, inquiries_of
from critictui.tui.text import EMPTY, lines, passage, plain, set_title
from critictui.tui.widgets.job_line import progress_words
from critictui.tui.widgets.rows import Rows
from critictui.tui.widgets.words import Passage, Words

_WIDE = 140
_CHART = 10


class ReportScreen(RunScreen):
    """What both have in common; the screen only shows the inquiry, which goes on without it."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.REPORT]
    AUTO_FOCUS = "#report-items"
    kind: type[Inquiry]

    def __init__(self, checkpoint: Checkpoint | None, main: WatchedRun) -> None:
        super().__init__()
        self._checkpoint, self._main = checkpoint, main
        self._items: list[Item] = []
        self._version = -1
        self.inquiry: Inquiry | None = None

    def compose_body(self) -> ComposeResult:
        """Lead, state of the work, list, evidence."""
        app = self.shell
        yield Passage(id="report-lead")
        yield Passage(id="report-work")
        with Container(id="report-body"):
            yield Rows(id="report-items", classes="titled")
            with VerticalScroll(id="report-detail", classes="titled"):
                yield Passage(id="report-text")
                chart = Chart(view=View(smoothing=0.0), ascii=app.glyphs.ascii, mono=app.no_color, id="report-chart")
                chart.can_focus = False
                chart.add_class("panel")
                yield chart

    def on_mount(self) -> None:
        """Show what is known of this question, and find out the rest."""
        self.query_one("#report-chart").display = False
        self._open(self._main)

    def _open(self, main: WatchedRun, *, confirmed: bool = False) -> None:
        asked = inquiries_of(self.shell)
        found = asked.get(inquiry_key(self.kind.kind, self.kind.run_of(main), self._checkpoint))
        if found is None:
            found = asked.remember(self.kind(self.shell, bench_of(self.shell), self._checkpoint, main))
        self.inquiry = found
        self.run_worker(self._begin(found, main, confirmed=confirmed), name="inquiry", exit_on_error=False)

    async def _begin(self, inquiry: Inquiry, main: WatchedRun, *, confirmed: bool) -> None:
        await inquiry.begin(main, confirmed=confirmed)

    def on_resize(self, event: events.Resize) -> None:
        """List and evidence side by side where there is room."""
        self.set_class(event.size.width >= _WIDE, "-wide")
        self._version = -1
        self.work_moved()

    def work_moved(self) -> None:
        """The inquiry is a step further."""
        if not self.composed or self.inquiry is None:
            return
        self._show_work(self.inquiry)
        if self.inquiry.version != self._version:
            self._version = self.inquiry.version
            self._show_answer(self.inquiry)
            self.refresh_bindings()

    def show(self, snapshot: Snapshot) -> None:
        """The answer is about a checkpoint, not about the newest step."""
        del snapshot
        self.work_moved()

    def lead(self, inquiry: Inquiry) -> Content:
        """The answer in a line or two."""
        raise NotImplementedError

    def items(self, inquiry: Inquiry) -> list[Item]:
        """The reasons."""
        raise NotImplementedError

    def _show_answer(self, inquiry: Inquiry) -> None:
        lead = self.query_one("#report-lead", Words)
        panel = self.query_one("#report-items", Rows)
        if not inquiry.answered:
            lead.say(plain("looking at the files ..." if not inquiry.problem else "no answer", "$foreground-muted"))
            panel.show(lambda i, w: EMPTY, 0)
            return
        lead.say(self.lead(inquiry))
        before = self._chosen()
        self._items = self.items(inquiry)
        same = next((i for i, item in enumerate(self._items) if before is not None and item.name == before.name), 0)
        keep = same if panel.index else 0
        panel.show(lambda i, w: item_line(self._items[i], w, self.shell.glyphs), len(self._items), index=keep)
        set_title(panel, plain(self.list_title(inquiry)))
        self._show_detail()

    def list_title(self, inquiry: Inquiry) -> str:
        """What the list is of."""
        raise NotImplementedError

    def _show_work(self, inquiry: Inquiry) -> None:
        glyphs = self.shell.glyphs
        said: list[Content] = []
        bench = bench_of(self.shell)
        state = bench.state_of(inquiry.key)
        if state == "running" and bench.running is not None:
            words = progress_words(bench.running.progress, glyphs, bar=16)
            said.append(plain("measuring: ", "$accent") + plain(f" {glyphs.dot} ").join(words))
        elif state == "waiting" and bench.running is not None:
            said.append(plain(f"measuring begins when {bench.running.task.title} is done", "$accent"))
        elif inquiry.stage in {"gathering", "judging"}:
            said.append(plain("reading the files ..." if inquiry.stage == "gathering" else "judging ...", "$accent"))
        if inquiry.asked:
            said.append(plain(f"{glyphs.warning} {inquiry.asked}", "$text-warning"))
        if inquiry.problem:
            first, _, rest = inquiry.problem.partition("\n")
            said.append(plain(f"{glyphs.critical} {first}", "$text-error"))
            if rest:
                said.append(passage(rest, "$foreground-muted"))
        said += [plain(f"{glyphs.info} {note}", "$foreground-muted") for note in inquiry.notes]
        work = self.query_one("#report-work", Words)
        work.display = bool(said)
        work.say(lines(said))

    def _chosen(self) -> Item | None:
        index = self.query_one("#report-items", Rows).index
        return self._items[index] if index < len(self._items) else None

    def on_rows_moved(self, message: Rows.Moved) -> None:
        """Another one's evidence."""
        message.stop()
        self._show_detail()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Enter reads the evidence: the arrows scroll it then."""
        message.stop()
        self.query_one("#report-detail").focus()

    def _show_detail(self) -> None:
        item = self._chosen()
        box = self.query_one("#report-detail", VerticalScroll)
        if item is None:
            return
        set_title(box, plain(f"{item.name}: evidence" if item.state != "numbers" else item.name))
        width = max(self.size.width * (2 if self.has_class("-wide") else 4) // 4 - 4, 20)
        text = self.query_one("#report-text", Words)
        text.say(item.detail(width))
        chart = self.query_one("#report-chart", Chart)
        chart.display = item.chart is not None
        chart.styles.height = _CHART
        if item.chart is not None:
            chart.set_data(item.chart)
        box.scroll_home(animate=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what works is offered."""
        inquiry = self.inquiry
        if action == "measure":
            return inquiry is not None and inquiry.stage == "asks"
        if action == "again":
            return inquiry is not None and inquiry.stage in {"done", "asks"}
        if action in {"copy", "save"}:
            return inquiry is not None and inquiry.answered
        return super().check_action(action, parameters)

    def action_back(self) -> None:
        """From the evidence to the list, then out."""
        if self.focused is self.query_one("#report-detail"):
            self.query_one("#report-items").focus()
        else:
            super().action_back()

    def action_measure(self) -> None:
        """The user knows that it takes long."""
        if self.inquiry is not None and self.inquiry.stage == "asks":
            self._open(self.inquiry.main, confirmed=True)

    def action_again(self) -> None:
        """Forget the answer, find it anew with what is known of the run now."""
        snapshot = self.shell.snapshot
        if self.inquiry is None or self.inquiry.stage not in {"done", "asks"}:
            return
        inquiries_of(self.shell).forget(self.inquiry.key)
        self._version = -1
        self._open(snapshot.main if snapshot is not None and snapshot.main is not None else self._main)

    def action_copy(self) -> None:
        """OSC 52: the terminal's clipboard, over SSH and in tmux where they let it through."""
        if self.inquiry is not None and self.inquiry.answered:
            self.app.copy_to_clipboard(self.inquiry.markdown())
            self.shell.say("the report is in the clipboard, if this terminal takes OSC 52; w writes it to a file")

    async def action_save(self) -> None:
        """Into the user's state directory: nothing but scores and alarms is written into a run."""
        inquiry = self.inquiry
        if inquiry is None or not inquiry.answered:
            return
        path = report_path(inquiry)
        text = inquiry.markdown()
        try:
            await in_thread(lambda: _write(path, text), "save")
        except OSError as error:
            self.shell.say(f"{path}: not saved ({error.strerror or error}); y copies the report", "error")
        else:
            self.shell.say(f"saved: {path}")


def report_path(inquiry: Inquiry, now: float | None = None) -> Path:
    """`$XDG_STATE_HOME/critictui/<run>/reports/diagnose-step-310-20261122-204512.md`."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    step = inquiry.checkpoint.step if inquiry.checkpoint is not None else None
    where = f"-step-{step}" if step is not None else ""
    return state_dir(inquiry.run_dir) / "reports" / f"{inquiry.kind}{where}-{stamp}.md"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8", errors="replace")
    temporary.replace(path)
