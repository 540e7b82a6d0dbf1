"""The run list as text: every column whole, no verdict that nobody gave."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from textual.pilot import Pilot

from critictui.monitor.snapshot import RunRow, Snapshot
from critictui.tui.siblings import told_apart

NOW = 1_800_000_000.0
Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
TextOf = Callable[..., str]
Made = Callable[..., Snapshot]


async def test_no_column_of_the_run_list_is_cut_and_an_unjudged_run_has_no_verdict(
    showing: Showing, made_of: Made, text_of: TextOf
) -> None:
    rest = ("fsdp-fsdp-sp1-fsdp1", "torchtitan-tp1-pp1-cp1-dp1", "torchtitan-tp1-pp1-cp1-dp2", "torchtitan-tp2-pp1")
    names = [f"verl_sft_test/gsm8k-{name}-pad-no_padding-use_remove_padding-True-mode-spmd.jsonl" for name in rest]
    rows = [RunRow(Path(f"/runs/{n}"), n, "finished", 10_698_752, 0.7, 3.1, "", NOW - 86400 * 9) for n in names]
    rows += [RunRow(Path(f"/runs/{k}"), f"{k:02d}", "empty", None, None, None, "", NOW, read=False) for k in range(40)]
    snapshot = dataclasses.replace(made_of(), rows=tuple(rows))
    for size in ((80, 24), (120, 36)):
        async with showing(snapshot, size) as pilot:
            said = text_of(pilot.app)
            assert "step 10698752" in said
            assert "not judged" in said
            assert "not read yet" in said
            assert "unknown" not in said
            width = size[0] - 3 - (36 if size[0] < 90 else 67)
            assert all(name in said for name in told_apart(names, width))
            assert size[0] < 90 or "Jan 06 08:00" in said


async def test_the_worst_or_the_newest_run_comes_first_when_asked(
    showing: Showing, made_of: Made, text_of: TextOf
) -> None:
    verdicts = {"a": "healthy", "b": "", "c": "warning", "d": "critical", "e": "warning"}
    rows = [
        RunRow(Path(f"/runs/{name}"), name, "finished", 10, 0.7, 3.1, verdict, NOW - k)
        for k, (name, verdict) in enumerate(verdicts.items())
    ]
    rows[2] = dataclasses.replace(rows[2], modified=NOW + 5)
    async with showing(dataclasses.replace(made_of(), rows=tuple(rows)), (80, 24)) as pilot:

        def order() -> str:
            found = [re.search(r" ([a-e]) +finished", line) for line in text_of(pilot.app).splitlines()]
            return "".join(match.group(1) for match in found if match)

        assert order() == "abcde"
        for wanted, title in (("dceba", "the worst first"), ("cabde", "the newest first"), ("abcde", "5 runs")):
            await pilot.press("o")
            await pilot.pause()
            assert order() == wanted
            assert title in text_of(pilot.app)
