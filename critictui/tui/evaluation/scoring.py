"""Scores from the screen: an order becomes a task of the bench, its answer a result that every monitor finds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from critictui.scoring.jobs import Failed, Finished
from critictui.scoring.order import ELSEWHERE, Order
from critictui.scoring.result import ScoreResult
from critictui.scoring.result_json import result_from_json
from critictui.scoring.summary import in_words
from critictui.tui.evaluation.bench import Bench, Ended, RunJob, Task
from critictui.tui.evaluation.plan import Plan, order_for
from critictui.tui.evaluation.threads import in_thread

if TYPE_CHECKING:
    from critictui.tui.evaluation.host import Host


Made = Callable[[Order], Awaitable[Finished | Failed]]
"""Makes a score, here or on a node."""


def score_key(checkpoint: Path) -> tuple[object, ...]:
    """A checkpoint is scored once at a time, whatever the device."""
    return ("score", checkpoint)


def score_task(
    app: Host, bench: Bench, plan: Plan, device: str, *, share: bool, then: Callable[[Ended], None] | None = None
) -> Task:
    """The task that scores this plan's checkpoint on this device; `then` is told how it ended."""
    title = f"scoring {plan.step_words}"

    async def work(run: RunJob) -> Ended:
        def order() -> Order:
            return order_for(plan, app.config, device, share=share)

        async def made(checked: Order) -> Finished | Failed:
            if checked.placement.device == ELSEWHERE and plan.cluster is not None:
                return await bench.elsewhere(checked, plan.cluster)
            return await run(checked.job)

        ended = await _score(app, bench, title, order, made)
        if then is not None:
            then(ended)
        return ended

    def on_top() -> bool:
        return getattr(app.screen, "lists_scores", False)

    return Task("score", score_key(plan.checkpoint.path), title, work, on_top)


async def _score(app: Host, bench: Bench, title: str, order: Callable[[], Order], made: Made) -> Ended:
    checked = await in_thread(order, "order")
    outcome = await made(checked)
    if isinstance(outcome, Failed):
        return failure(title, outcome)
    if "unsaved_rows" in outcome.result:
        result = bench.keep_unsaved(Path(checked.job.run_dir), outcome.result)
        return Ended(good=True, said=f"{result_words(result)}\nnot saved: kept in memory, and tried again")
    result = result_of(outcome.result)
    if app.monitor is not None:
        app.monitor.wake()
    return Ended(good=True, said=result_words(result))


def result_of(answer: Mapping[str, object]) -> ScoreResult:
    """A job's answer as a result; raises ScoringError."""
    return result_from_json({k: v for k, v in answer.items() if k != "unsaved_rows"})


def result_words(result: ScoreResult) -> str:
    """The first two lines of the result in words, and where the rest is."""
    first, *rest = in_words(result).splitlines()
    return "\n".join([first, *rest[:1], "E shows it with its pairs"])


def failure(title: str, failed: Failed) -> Ended:
    """What happened, in words; the worker's last lines follow on lines of their own."""
    if failed.reason == "cancelled":
        return Ended(good=False, said=f"{title}: cancelled", cancelled=True)
    lead = {"memory": "out of memory: ", "vanished": "the checkpoint went away: "}.get(failed.reason, "")
    message = failed.message
    first = message.partition("\n")[0].lower()
    return Ended(good=False, said=f"{title}: {'' if lead[:-2] in first else lead}{message}")
