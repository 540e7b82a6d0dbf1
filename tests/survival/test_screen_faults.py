# ruff: noqa: F811 - fixtures of the screens' own tests are imported by name
"""The screens as a machine of many parts: each part fails, all at once and one by one, and the rest goes on."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import functools
import gc
import importlib
import inspect
import os
import pkgutil
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.dom import DOMNode
from textual.message_pump import MessagePump
from tui.conftest import (  # noqa: F401
    made_of,
    make_app,
    own_state,
    settle,
    showing,
    snapshot_with,
    text_of,
)

import critictui.tui
from critictui.config import Config
from critictui.monitor.snapshot import Snapshot
from critictui.tui.app import CriticApp
from critictui.tui.messages import GpuRead, SnapshotTaken
from critictui.tui.screens.dashboard import Dashboard
from critictui.tui.screens.facts import FactsScreen
from critictui.tui.screens.log import LogScreen
from critictui.tui.screens.metrics import MetricsScreen
from critictui.tui.supervised import Supervised, crash_log_path

LONG = bool(os.environ.get("CRITICTUI_LONG"))
_HANDLER = ("on_", "action_", "watch_")
_BY_NAME = {"renew", "show", "show_header", "render", "render_line", "work_moved", "check_action"}
_KEPT = {"Supervised.on_worker_state_changed", "Shell.check_action", "Shell.action_quit"}
"""What reports the errors of others, and the way out."""


def classes() -> list[type]:
    """Every class of the screens' room that receives messages."""
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(critictui.tui.__path__, "critictui.tui."):
        loaded = importlib.import_module(module.name)
        for value in vars(loaded).values():
            if inspect.isclass(value) and issubclass(value, MessagePump) and value.__module__ == module.name:
                found[value.__qualname__] = value
    return list(found.values())


def callbacks(kind: type) -> set[str]:
    """Names of its methods that its own code gives to a timer, a worker or a later call."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(kind)))  # type: ignore[arg-type]
    given: set[str] = set()
    for call in ast.walk(tree):
        name = getattr(getattr(call, "func", None), "attr", "")
        if name in {
            "set_timer",
            "set_interval",
            "call_after_refresh",
            "call_later",
            "call_next",
            "run_worker",
            "subscribe",
        }:
            given |= {n.attr for n in ast.walk(call) if isinstance(n, ast.Attribute)}  # type: ignore[arg-type]
    return given


def parts() -> dict[str, tuple[type, str]]:
    """Every handler, action, watcher, drawing method, timer's and worker's function, by name: read from the code."""
    found = {}
    for kind in classes():
        extra = callbacks(kind)
        for name, value in vars(kind).items():
            if not inspect.isfunction(value):
                continue
            if name.startswith(_HANDLER) or name in _BY_NAME or name in extra - {"compose", "compose_body", "exit"}:
                found[f"{kind.__name__}.{name}"] = (kind, name)
    return {name: part for name, part in found.items() if name not in _KEPT}


class Faults:
    """Each of these parts raises the first time it is called once the faults are armed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, tuple[type, str]]) -> None:
        self.armed = False
        self.raised: list[str] = []
        for label, (kind, name) in chosen.items():
            monkeypatch.setattr(kind, name, self._wrapped(label, getattr(kind, name)))

    def _due(self, label: str) -> None:
        if self.armed and label not in self.raised:
            self.raised.append(label)
            raise RuntimeError(f"injected into {label}")

    def _wrapped(self, label: str, method: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(method):

            @functools.wraps(method)
            async def asynchronous(*args: Any, **kwargs: Any) -> Any:
                self._due(label)
                return await method(*args, **kwargs)

            return asynchronous

        @functools.wraps(method)
        def plain(*args: Any, **kwargs: Any) -> Any:
            self._due(label)
            return method(*args, **kwargs)

        return plain


_TOUR = (
    "escape", "1", "s", "left", "y", "escape", "m", "right", "pagedown", "p", "slash", "d", "escape", "enter", "escape",
    "a", "enter", "n", "z", "j", "escape", "escape", "c", "down", "escape", "l", "w", "up", "slash", "x", "enter",
    "escape", "i", "end", "r", "escape", "question_mark", "escape", "T", "down", "escape", "space", "space", "E",
    "escape", "x", "escape", "d", "escape", "e", "escape", "tab", "tab", "ctrl+l", "f2", "escape", "escape", "escape",
)  # fmt: skip


async def tour(
    pilot: Any, made: Callable[..., Snapshot], settle: Callable[..., Any], faults: Faults | None = None
) -> None:
    """Every screen and dialogue, keys on each, other sizes, other snapshots, a theme; a key that failed once more."""
    for number, key in enumerate(_TOUR):
        for _ in range(4):
            before = len(faults.raised) if faults is not None else 0
            await pilot.press(key)
            await settle(pilot)
            if faults is None or len(faults.raised) == before or key == "escape":
                break
        if number % 9 == 0:
            await pilot.resize_terminal(80 + number, 24 + number % 7)
            pilot.app.post_message(SnapshotTaken(made(step=400 + number)))
            pilot.app.post_message(GpuRead(()))
            await settle(pilot)


_OUT = {"q", "ctrl+q", "ctrl+c", "ctrl+z", "ctrl+p"}


async def every_key(pilot: Any, settle: Callable[..., Any]) -> None:
    """On each screen every key that works there, as its own code lists them."""
    for opened in ("", "m", "a", "c", "l", "i", "r", "question_mark", "E", "x", "d", "1"):
        keys: list[str] = []
        for number in range(60):
            for key in ("escape", "escape", "escape", "escape", *([opened] if opened else [])):
                await pilot.press(key)
            await settle(pilot)
            keys = keys or [key for key in pilot.app.screen.active_bindings if key not in _OUT]
            if number >= len(keys):
                break
            await pilot.press(keys[number])
            await settle(pilot)


async def healthy(pilot: Any, settle: Callable[..., Any], text_of: Callable[..., str]) -> None:
    """The app runs, every screen shows, and nothing says that it is out of date."""
    app = pilot.app
    for key, kind in (("m", MetricsScreen), ("i", FactsScreen), ("l", LogScreen)):
        for _ in range(4):
            await pilot.press("escape")
        await pilot.press(key)
        await settle(pilot)
        assert type(app.screen) is kind
        assert "not up to date" not in text_of(app)
        assert "cannot be drawn" not in text_of(app)
    for _ in range(4):
        await pilot.press("escape")
    await settle(pilot)
    assert isinstance(app.screen, Dashboard)


@pytest.mark.fault("S07")
async def test_every_part_fails_once_in_one_tour_and_the_app_goes_on(
    showing: Any, settle: Any, text_of: Any, snapshot_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = parts()
    faults = Faults(monkeypatch, found)
    async with showing(size=(120, 36)) as pilot:
        app = pilot.app
        faults.armed = True
        await tour(pilot, snapshot_with, settle, faults)
        if LONG:
            await tour(pilot, snapshot_with, settle, faults)
            await every_key(pilot, settle)
        faults.armed = False
        assert app.is_running
        assert app.return_code in {0, None}
        logged = crash_log_path().read_text()
        silent = [label for label in faults.raised if f"injected into {label}" not in logged]
        assert silent == []
        assert len(faults.raised) > len(found) * 0.4, f"the tour misses {sorted(found.keys() - set(faults.raised))}"
        await healthy(pilot, settle, text_of)
        app.errors = 0


@pytest.mark.fault("S07")
@pytest.mark.skipif(not LONG, reason="the long form: CRITICTUI_LONG=1")
@pytest.mark.parametrize("label", sorted(parts()))
async def test_each_part_fails_for_ever_and_the_others_go_on(
    label: str, showing: Any, settle: Any, snapshot_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, name = parts()[label]
    async with showing(size=(120, 36)) as pilot:

        def fail(*args: object, **kwargs: object) -> None:
            raise RuntimeError(f"injected into {label}")

        monkeypatch.setattr(kind, name, fail)
        await tour(pilot, snapshot_with, settle)
        assert pilot.app.is_running
        pilot.app.errors = 0


@pytest.mark.fault("S07")
async def test_a_view_that_fails_says_so_until_it_is_well_again(
    showing: Any, settle: Any, text_of: Any, snapshot_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("no [bold]such\x1b[2J thing")

    async with showing(size=(120, 36), refresh=30.0) as pilot:
        app = pilot.app
        with monkeypatch.context() as broken:
            broken.setattr(Dashboard, "show", fail)
            app.post_message(SnapshotTaken(snapshot_with(step=700)))
            await settle(pilot)
            await pilot.pause(0.1)
            await settle(pilot)
            line = text_of(app).splitlines()[1]
            assert "not up to date: RuntimeError: no [bold]such thing" in line
        app.post_message(SnapshotTaken(snapshot_with(step=701)))
        await pilot.pause(0.1)
        await settle(pilot)
        assert "not up to date" not in text_of(app)
        assert "step 701" in text_of(app)
        app.errors = 0


@pytest.mark.fault("S07")
async def test_a_chart_that_cannot_be_drawn_says_so_and_the_others_are_drawn(
    showing: Any, settle: Any, text_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critictui.tui.chart.widget import Chart

    drawn = Chart.render_line

    def fail(self: Chart, y: int) -> Any:
        if self.id == "chart-1":
            raise RuntimeError("no picture")
        return drawn(self, y)

    async with showing(size=(120, 36)) as pilot:
        monkeypatch.setattr(Chart, "render_line", fail)
        pilot.app.refresh(layout=True)
        for chart in pilot.app.screen.query(Chart):
            chart.refresh()
        await settle(pilot)
        text = text_of(pilot.app)
        assert "cannot be drawn: RuntimeError: no picture" in text
        assert "d_acc" in text
        assert "margin" in text
        pilot.app.errors = 0


@pytest.mark.fault("S07")
async def test_errors_of_threads_and_tasks_are_said_and_not_printed(
    showing: Any, settle: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    from critictui.tui.strays import strays_logged

    def fail() -> None:
        raise ValueError("a thread broke")

    async def fail_too() -> None:
        raise ValueError("a task broke")

    async with showing() as pilot:
        app = pilot.app
        with strays_logged(app.tell_failure):
            thread = threading.Thread(target=fail, name="stray")
            thread.start()
            thread.join()
        task = asyncio.get_running_loop().create_task(fail_too())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        await settle(pilot)
        assert app.errors == 2
        logged = crash_log_path().read_text()
        assert "a thread broke" in logged
        assert "a task broke" in logged
        app.errors = 0
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.fault("S07")
@pytest.mark.parametrize("opened", ["escape", "m", "l"])
async def test_the_error_of_a_screens_own_worker_is_said(showing: Any, settle: Any, opened: str) -> None:
    async def fail() -> None:
        raise RuntimeError(f"of a worker on {opened}")

    async with showing(size=(120, 36)) as pilot:
        app = pilot.app
        await pilot.press(opened)
        await settle(pilot)
        worker = app.screen.run_worker(fail(), name="ours", exit_on_error=False)
        while not worker.is_finished:
            await settle(pilot)
        await settle(pilot)
        assert app.is_running
        assert f"of a worker on {opened}" in crash_log_path().read_text()
        assert any(f"of a worker on {opened}" in str(one.message) for one in app._notifications)
        app.errors = 0


def test_everything_of_ours_that_gets_messages_is_supervised() -> None:
    bare = [
        c.__name__ for c in classes() if not issubclass(c, (Supervised, App)) and c.__module__.startswith("critictui")
    ]
    assert bare == []


@pytest.mark.fault("S08")
@pytest.mark.parametrize("seed", range(200 if LONG else 6))
async def test_eight_threads_post_while_it_ends(seed: int, made_of: Any, tmp_path: Path) -> None:
    """No thread fails or hangs, whenever the app ends."""
    rng = random.Random(seed)
    app = CriticApp(tmp_path, Config(), watching=False, clock=1.8e9)
    snapshots = [dataclasses.replace(made_of(), version=n) for n in range(4)]
    stop, failed = threading.Event(), []

    def post(number: int) -> None:
        chosen = random.Random(number)
        while not stop.is_set():
            try:
                app.post_message(SnapshotTaken(chosen.choice(snapshots)))
                app.post_message(GpuRead(()))
                app.tell_failure(RuntimeError("x"), "thread")
            except RuntimeError as error:
                if "closed" not in str(error):
                    failed.append(error)
                return
            except Exception as error:  # noqa: BLE001 - what this test is about
                failed.append(error)
                return
            time.sleep(chosen.random() * 0.002)

    threads = [threading.Thread(target=post, args=(n,), daemon=True) for n in range(8)]
    async with asyncio.timeout(60):
        async with app.run_test() as pilot:
            for thread in threads:
                thread.start()
            await asyncio.sleep(rng.random() * 0.3)
            app.exit()
            del pilot
    stop.set()
    for thread in threads:
        await asyncio.to_thread(thread.join, 30)
    assert not any(thread.is_alive() for thread in threads)
    assert failed == []


@pytest.mark.fault("S10")
async def test_a_screen_that_was_closed_is_forgotten_with_all_that_was_on_it(showing: Any, settle: Any) -> None:
    async with showing(size=(120, 36)) as pilot:
        shown: weakref.WeakSet[DOMNode] = weakref.WeakSet()
        kinds = set()
        for _ in range(3):
            for key in ("m", "enter", "escape", "a", "c", "l", "i", "r", "escape", "1", "escape"):
                await pilot.press(key)
                await settle(pilot)
                shown.update(pilot.app.screen.walk_children(with_self=True))
                kinds.add(type(pilot.app.screen))
        gc.unfreeze()  # what was there when the app had started is kept for good
        gc.collect()
        left = [type(node).__name__ for node in shown if not node.is_attached]
        assert len(kinds) > 5
        assert [name for name in left if name in {"Chart", "MiniChart"}] == []
        assert len([name for name in left if name.endswith("Screen")]) <= 2, left  # a worker's context may hold one


# F17 and the log.

_NAMES = [
    "x" * 65536,
    "",
    "/",
    "////",
    "a\nb",
    "\u05d0" * 40,
    "[/x]",
    "\x1b[2J",
    "日本語" * 100,
    "\ud800",
    " ",
    "../" * 50,
]


@pytest.mark.fault("F17")
async def test_five_hundred_tags_at_once_with_any_names_are_a_page_each(
    showing: Any, settle: Any, text_of: Any, snapshot_with: Any
) -> None:
    one = next(iter(snapshot_with().watched[0].run.series.values()))
    async with showing(size=(120, 36), refresh=30.0) as pilot:
        app = pilot.app
        await pilot.press("m")
        await settle(pilot)
        many = {f"{_NAMES[n % len(_NAMES)]}{n}": one for n in range(500)} | dict.fromkeys(_NAMES, one)
        app.post_message(SnapshotTaken(snapshot_with(series=many, metrics={})))
        await pilot.pause(0.1)
        for key in ("pagedown", "end", "enter", "escape", "p", "home", "escape", "i"):
            await pilot.press(key)
            await settle(pilot)
            assert not set("\x1b\x9b\ud800") & set(text_of(app))
        app.errors += 0


@pytest.mark.fault("L08", "L09")
async def test_a_log_with_lines_of_twenty_megabytes_takes_no_time_to_show(
    showing: Any, settle: Any, text_of: Any, snapshot_with: Any, tmp_path: Path
) -> None:
    log = tmp_path / "train.log"
    with log.open("wb") as file:
        file.write(
            "日本語".encode() * 333_333 + b"\n" + b"x" * (20 << 20) + b"\n" + b"\xff\xfe\x00\x9b2J \xe2\x80\xae\n"
        )
        file.write(b"the end\n")
    case = snapshot_with()
    source = dataclasses.replace(case.watched[0].run.sources[0], path="train.log", kind="log")
    shown = snapshot_with(path=tmp_path, sources=(source,))
    async with showing(shown, size=(120, 36)) as pilot:
        spent = time.thread_time()  # of the loop's thread: what a busy machine does beside it does not count
        await pilot.press("l")
        await settle(pilot)
        assert "the end" in text_of(pilot.app)
        for key in ("w", "up", "pageup", "home", "w", "right", "end"):
            await pilot.press(key)
            await settle(pilot)
        assert time.thread_time() - spent < 8.0  # the widget that shows text as it is takes 14 s for the first frame
        assert not set("\x1b\x9b\u202e\x00") & set(text_of(pilot.app))


@pytest.fixture(autouse=True)
def no_stray_threads() -> Iterator[None]:
    """Every thread that a test started has ended, or is one that waits for the process's end."""
    yield
    assert threading.active_count() < 40
