"""The terminal side of the app: Textual's driver, but never blocked by what is written nor ended by what is read."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from concurrent.futures import Future

from textual import events
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.messages import InBandWindowResize

from critictui.tui.ending import GUARDIAN, output_fd
from critictui.tui.messages import InputFailed, TerminalDrained
from critictui.tui.output import PatientWriter
from critictui.tui.typed import Typed

_MOST_UNREAD = 500
"""Messages that may wait for the app before more is read: a paste that the terminal does not mark is keys."""
LARGEST = 1000
"""Columns and lines that are painted at most, whatever size the terminal claims to have."""


class Terminal(LinuxDriver):
    """Drops frames, instead of freezing the app, while the terminal is stopped; survives any reply; can be stopped and
    continued by any signal.
    """

    _writer: PatientWriter | None = None
    _started = False
    _held = False
    """The terminal is in application mode."""
    _sent: Future[bool] | None = None

    def start_application_mode(self) -> None:
        """Also after a suspension, and then all must be painted anew."""
        GUARDIAN.tell(held=True)
        self._held = True
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self._started:
            self._on_drained()
        self._started = True

    def write(self, data: str) -> None:
        """Never blocks."""
        if self._writer is None:
            self._writer = PatientWriter(output_fd(), self._on_drained)
        self._writer.write(data)

    def close(self) -> None:
        """Give the terminal what waits for it, then end the threads; after a suspension there are new ones."""
        writer, self._writer = self._writer, None
        if writer is None or writer.close():
            GUARDIAN.tell(held=False)
        self._held = False
        super().close()

    def _on_drained(self) -> None:
        self._app.post_message(TerminalDrained())

    # Stopped and continued.

    # A handler may meet the thread of the screen anywhere, in the middle of a write too, whose lock the writer needs to
    # end: what gives the terminal back waits for the loop's next turn.

    def _sigtstp_application(self, *_: object) -> None:
        if self._held:
            self._loop.call_soon_threadsafe(self._stop)
        else:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _stop(self) -> None:
        if self._held:
            super()._sigtstp_application()

    def _sigcont_application(self, *_: object) -> None:
        """After a SIGSTOP nothing was given back: do so now, so that what is restored at the end is the shell's."""
        if not self._auto_restart:
            return
        if self._in_background():
            os.kill(os.getpid(), signal.SIGSTOP)
            return
        if self._held:
            self._loop.call_soon_threadsafe(self._begin_anew)
        else:
            self.resume_application_mode()

    def _begin_anew(self) -> None:
        if self._held:
            self.suspend_application_mode()
            self.resume_application_mode()

    def _in_background(self) -> bool:
        try:
            return os.tcgetpgrp(self.fileno) != os.getpgrp()
        except OSError:
            return False

    # What is read.

    def _get_terminal_size(self) -> tuple[int, int]:
        try:
            width, height = os.get_terminal_size(output_fd())
        except OSError:
            width, height = 0, 0
        return min(width or 80, LARGEST), min(height or 25, LARGEST)

    def _query_in_band_window_resize(self) -> None:
        """Sizes come from the kernel: one that comes as text may be anything."""

    def process_message(self, message: Message) -> None:
        """Anything but a size."""
        if not isinstance(message, (InBandWindowResize, events.Resize)):
            super().process_message(message)

    def send_message(self, message: Message) -> None:
        """To the app; `_sent` is done when the app has it."""
        post = self._app._post_message(message)  # noqa: SLF001 - as the driver that this is derived from does
        self._sent = asyncio.run_coroutine_threadsafe(post, loop=self._loop)

    def run_input_thread(self) -> None:
        """Read for as long as there is something to read from, but not faster than the app can follow."""
        typed = Typed(self._on_fault)
        poll = select.poll()
        poll.register(self.fileno, select.POLLIN)
        while not self.exit_event.is_set():
            if self._behind():
                self.exit_event.wait(0.005)
                continue
            ready = poll.poll(20 if typed.waiting else 100)
            if not ready:
                for message in typed.idle():
                    self.process_message(message)
                continue
            data = os.read(self.fileno, 4096)
            if not data:
                return  # hung up: the thread that watches for that ends the app
            for message in typed.feed(data):
                self.process_message(message)

    def _on_fault(self, error: Exception) -> None:
        self._app.post_message(InputFailed(error))

    def _behind(self) -> bool:
        return (self._sent is not None and not self._sent.done()) or self._app.message_queue_size > _MOST_UNREAD

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except (OSError, RuntimeError):
            return  # the terminal is gone, or the loop is closed: both mean the end, which others bring about
