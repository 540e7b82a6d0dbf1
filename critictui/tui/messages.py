"""What reaches the screens from other threads, in the past tense; newer ones replace those that still wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from critictui.monitor.snapshot import Snapshot
    from critictui.tui.gpu import GpuMemory


class SnapshotTaken(Message):
    """The monitor looked at everything again."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        """Five hundred waiting snapshots are handled as one."""
        return isinstance(message, SnapshotTaken)


class GpuRead(Message):
    """The memory of the GPUs was read."""

    def __init__(self, gpus: tuple[GpuMemory, ...]) -> None:
        self.gpus = gpus
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        """Only the newest counts."""
        return isinstance(message, GpuRead)


class TerminalDrained(Message):
    """The terminal reads again after frames had to be dropped: everything must be drawn anew."""


class InputFailed(Message):
    """The terminal sent something that cannot be understood; it was dropped."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        """One is as good as a thousand."""
        return isinstance(message, InputFailed)


class ThreadFailed(Message):
    """A thread ended by an error that nobody expected."""

    def __init__(self, error: Exception, where: str) -> None:
        self.error = error
        self.where = where
        super().__init__()
