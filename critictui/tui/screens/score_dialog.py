"""Before a score starts: which checkpoint, set, recipe and device, and whether training would be put at risk."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.durations import duration
from critictui.monitor.snapshot import WatchedRun
from critictui.scoring.order import ELSEWHERE
from critictui.tui import keys, words
from critictui.tui.evaluation.bench import Bench
from critictui.tui.evaluation.plan import Choice, Plan, make_plan, recipe_words, run_dir_of, step_words
from critictui.tui.evaluation.scoring import score_key, score_task
from critictui.tui.evaluation.threads import in_thread
from critictui.tui.glyphs import Glyphs
from critictui.tui.shell import bench_of
from critictui.tui.supervised import Supervised
from critictui.tui.text import EMPTY, elided, joined, lines, plain, set_title
from critictui.tui.widgets.keybar import KeyBar
from critictui.tui.widgets.rows import Rows
from critictui.tui.widgets.words import Passage, Words

if TYPE_CHECKING:
    from critictui.tui.shell import Shell

_LABEL = 12


class Devices(Rows):
    """The devices to choose from, with the dialogue's keys."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.SCORE_DIALOG]


class ScoreDialog(Supervised, ModalScreen[None]):
    """Enter starts, Escape does not."""

    CSS_PATH = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*keys.SCORE_DIALOG]
    AUTO_FOCUS = "#devices"

    def __init__(self, checkpoint: Checkpoint, main: WatchedRun) -> None:
        super().__init__()
        self._checkpoint, self._main = checkpoint, main
        self._plan: Plan | None = None
        self._choices: tuple[Choice, ...] = ()
        self._share = False
        self._started = self._gone = False

    @property
    def shell(self) -> Shell:
        """The app."""
        return cast("Shell", self.app)

    def compose(self) -> ComposeResult:
        """Facts, the devices, what the chosen one means, the keys."""
        with VerticalScroll(id="score-dialog", classes="dialogue", can_focus=False):
            yield Passage(plain("looking at the checkpoint, the fixed set and the GPUs ..."), id="score-facts")
            yield Devices(id="devices")
            yield Passage(id="device-said")
            yield KeyBar(id="dialogue-keys")

    def on_mount(self) -> None:
        """Look in a thread: the checkpoint may lie on a slow disk."""
        set_title(self.query_one("#score-dialog"), plain(f"score {step_words(self._checkpoint)}"))
        self.set_class(self.shell.glyphs.ascii, "-ascii")
        self.run_worker(self._look(), name="plan", group="plan", exit_on_error=False)

    async def _look(self) -> None:
        config, scores = self.shell.config, self._main.scores
        checkpoint, run_dir = self._checkpoint, run_dir_of(self._main)
        peaks = self.shell.gpu_peaks()
        self._plan = await in_thread(lambda: make_plan(checkpoint, run_dir, config, scores, peaks), "plan")
        usual = self._plan.usual_device(config)
        wanted = next((i for i, c in enumerate(self._plan.choices(share=False)) if c.device == usual), 0)
        self._show(wanted)
        if not self._gone and self.can_start() and self._is_here():
            bench_of(self.shell).expect()

    def on_unmount(self) -> None:
        """Escape: the worker that was started for this has nothing to do."""
        self._gone = True
        if not self._started:
            bench_of(self.shell).unexpect()

    def work_moved(self) -> None:
        """What is on the bench decides whether this may start."""
        if self._plan is not None:
            self._show()

    def _show(self, index: int | None = None) -> None:
        plan = self._plan
        assert plan is not None
        bench = bench_of(self.shell)
        devices = self.query_one("#devices", Rows)
        self._choices = plan.choices(share=self._share)
        self.query_one("#score-facts", Words).say(plan_words(plan, self.shell.glyphs, self._width()))
        devices.styles.height = 0 if plan.problem else min(len(self._choices), 6)
        devices.show(self._line, len(self._choices), index=index)
        self.query_one("#device-said", Words).say(self._said(plan, bench))
        self.refresh_bindings()

    def _width(self) -> int:
        return max(min(int(self.size.width * 0.9), 100) - 4, 20)

    def on_rows_moved(self, message: Rows.Moved) -> None:
        """Another device."""
        message.stop()
        self.work_moved()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Enter."""
        message.stop()
        self.action_start()

    def _line(self, index: int, width: int) -> Content:
        choice = self._choices[index]
        devices = self.query_one("#devices", Rows)
        glyphs = self.shell.glyphs
        sign = glyphs.cursor if index == devices.index else " "
        where = f" {glyphs.arrow} {choice.placement.device}" if choice.device == "auto" else ""
        state = "" if choice.ok else "refused"
        return joined(
            f"{sign} {elided(choice.label, max(width - 24, 8), glyphs.more)}{where}  ", (state, "$text-error")
        )

    def _chosen(self) -> Choice | None:
        index = self.query_one("#devices", Rows).index
        return self._choices[index] if index < len(self._choices) else None

    def _said(self, plan: Plan, bench: Bench) -> Content:
        """What the chosen device means, and what is on the bench already."""
        choice = self._chosen()
        said: list[Content] = [EMPTY]
        if not plan.problem and choice is not None:
            said.append(device_words(plan, choice, share=self._share, glyphs=self.shell.glyphs))
        state = bench.state_of(score_key(plan.checkpoint.path))
        if state != "none":
            said.append(plain(f"this checkpoint is {'being scored now' if state == 'running' else 'waiting its turn'}"))
        elif bench.waiting is not None:
            said.append(plain(f"no more is taken: {bench.waiting.title} waits already", "$text-warning"))
        elif bench.running is not None:
            said.append(plain(f"it begins when {bench.running.task.title} is done", "$text-accent"))
        return lines(said)

    def can_start(self) -> bool:
        """Whether Enter does anything."""
        choice = self._chosen() if self._plan is not None else None
        if self._plan is None or self._plan.problem or choice is None or not choice.ok:
            return False
        bench = bench_of(self.shell)
        return bench.waiting is None and bench.state_of(score_key(self._plan.checkpoint.path)) == "none"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what works is offered."""
        if action == "start":
            return self.is_mounted and self.can_start()
        if action == "share":
            return self._plan is not None and bool(self._plan.gpus)
        return super().check_action(action, parameters)

    def _is_here(self) -> bool:
        """Whether the chosen device is this machine's."""
        choice = self._chosen()
        return choice is not None and choice.placement.device != ELSEWHERE

    def action_share(self) -> None:
        """Take a GPU that training is on, at its present use: the user's risk."""
        self._share = not self._share
        self.work_moved()

    def action_start(self) -> None:
        """To the bench."""
        choice = self._chosen() if self._plan is not None else None
        if self._plan is None or choice is None or not self.can_start():
            return
        bench = bench_of(self.shell)
        self._started = True
        task = score_task(self.shell, bench, self._plan, choice.device, share=self._share)
        self.dismiss(None)
        bench.offer(task)


def plan_words(plan: Plan, glyphs: Glyphs, width: int) -> Content:
    """The facts, one a line, and what stands in the way."""
    room = max(width - _LABEL - 1, 16)
    rows = [_row("checkpoint", elided(str(plan.checkpoint.path), room, glyphs.more))]
    if plan.audit is not None:
        dtypes = ", ".join(plan.audit.dtypes)
        rows.append(_row("", f"{plan.audit.parameters:,} parameters in {dtypes}, {words.size(plan.checkpoint.size)}"))
    if plan.fixed_set is not None:
        rows.append(_row("fixed set", elided(str(plan.fixed_set), room, glyphs.more)))
    rows.append(_row("recipe", recipe_words(plan.recipe)))
    if plan.recipe_reason:
        rows.append(_row("", plan.recipe_reason))
    if plan.scored is not None:
        low, high = plan.scored.interval
        same = f"{words.share(plan.scored.d_acc)} ({words.share(low)} to {words.share(high)})"
        rows.append(_row("scored", f"already, this set and recipe: d_acc {same}"))
    if plan.problem:
        rows += [EMPTY, plain(f"{glyphs.critical} {plan.problem}", "$text-error")]
    else:
        rows += [EMPTY, plain("where", "bold")]
    return lines(rows)


def device_words(plan: Plan, choice: Choice, *, share: bool, glyphs: Glyphs) -> Content:
    """The memory in numbers, the refusal, the time on the CPU."""
    placement = choice.placement
    if not choice.ok:
        more = "; s takes the risk, another device does not" if plan.gpus and not share else ""
        return plain(f"{glyphs.critical} {placement.message}{more}", "$text-error")
    said = [plain(placement.message)]
    if placement.device == "cpu":
        said.append(plain(f"{_time_words(plan)} on {plan.cores} cores"))
    if share and placement.device != "cpu":
        warned = "shared with training at its present use: if training grows, one of them runs out of memory"
        said.append(plain(f"{glyphs.warning} {warned}", "$text-warning"))
    return lines(said)


def _time_words(plan: Plan) -> str:
    """`about 9s: 5s to start and load, 4s to compute`."""
    start = _rough(plan.start_seconds)
    if plan.cpu_seconds is None:
        return f"about {start} to start and load, then an unknown time"
    if plan.cpu_seconds < 1:
        return f"about {start}, nearly all of it to start and load,"
    return f"about {_rough(plan.start_seconds + plan.cpu_seconds)}: {start} to start and load, the rest to compute"


def _rough(seconds: float) -> str:
    return f"{round(seconds)}s" if seconds < 60 else duration(seconds)


def _row(label: str, text: str) -> Content:
    return joined((f"{label:<{_LABEL}} ", "$foreground-muted"), text)
