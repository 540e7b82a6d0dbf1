"""What would be printed over the screen goes to the crash log: tracebacks of threads, words of C libraries, a fault's
stack."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from critictui.tui.supervised import LARGEST_LOG, crash_log_path, log_error

Told = Callable[[Exception, str], object]
"""Takes an error and where it was; called in any thread."""


@contextlib.contextmanager
def strays_logged(tell: Told) -> Iterator[None]:
    """While this lasts nothing but the screen writes to the terminal; errors that no one catches are told."""
    before = threading.excepthook, sys.unraisablehook

    def in_thread(failed: threading.ExceptHookArgs) -> None:
        if isinstance(failed.exc_value, Exception):
            tell(failed.exc_value, f"thread {failed.thread.name if failed.thread is not None else '?'}")

    def unraisable(failed: Any) -> None:
        if isinstance(failed.exc_value, Exception):
            log_error(failed.exc_value, "clean-up")

    threading.excepthook, sys.unraisablehook = in_thread, unraisable
    saved = _moved()
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before
        if saved is not None:
            faulthandler.disable()
            os.dup2(saved, 2)
            os.close(saved)


def _moved() -> int | None:
    """Descriptor 2 at the crash log, where it is a terminal; a copy of what it was. None where it is left alone."""
    try:
        if not os.isatty(2):
            return None
        saved = os.dup(2)
    except OSError:
        return None
    os.dup2(_log(), 2)
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        faulthandler.enable(2)
    return saved


def _log() -> int:
    path, flags = crash_log_path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LARGEST_LOG:
            flags |= os.O_TRUNC
        return os.open(path, flags, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
