"""From the command to the screen: reading begins before the screen is imported, so that its first frame has charts."""

from __future__ import annotations

import contextlib
import gc
import sys
from pathlib import Path

from critictui.arrays import load_numpy
from critictui.config import Config


def watch(target: Path, config: Config) -> int:
    """Show the run until the user leaves; the exit status: 0, 1 after a crash, 128 + n after signal n."""
    gc.disable()  # a start makes hundreds of thousands of objects that stay; the app turns it on again
    load_numpy()
    from critictui.monitor.monitor import Monitor

    monitor = Monitor(target, config)
    with contextlib.suppress(RuntimeError):  # no thread to be had: the app tries again, and says so
        monitor.start()
    from critictui.tui.app import CriticApp
    from critictui.tui.ending import Ending, restore_terminal
    from critictui.tui.strays import strays_logged

    app = CriticApp(target, config, monitor)
    ending = Ending(app.leave)
    ending.install()
    with strays_logged(app.tell_failure):
        app.run()
    crashed = app.crash_log is not None or app.return_code
    if ending.status is None and crashed:
        restore_terminal(None)
    ending.done()
    if ending.status is not None:
        return ending.status
    if crashed:
        where = f" The details are in {app.crash_log}." if app.crash_log is not None else ""
        sys.stderr.write(f"critictui: the screen ended by an error of its own; the run was not touched.{where}\n")
    return app.return_code or 0
