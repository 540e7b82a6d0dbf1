"""The bell: says that something in some directories may have changed, so that nobody waits for the next poll."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from critictui.monitor.inotify import Inotify

_MOST_FOLDERS = 512


class _Watcher(Protocol):
    def arm(self, folders: Iterable[Path]) -> OSError | None: ...

    def close(self) -> None: ...


class Bell:
    """Rings at changes in the directories it is armed for.

    It may ring for nothing, and it may stay silent: polling is the truth. What it cannot do is said in `notice`.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self.notice = ""
        self._ring = ring
        self._watcher: _Watcher | None = None
        self._dead = False
        self._remote: dict[Path, bool] = {}

    def arm(self, folders: Iterable[Path]) -> None:
        """Watch these directories, and ring at the next change in one of them."""
        local = self._local(folders)
        if self._dead or not local:
            return
        if self._watcher is None:
            try:
                self._watcher = Inotify(self._ring) if sys.platform == "linux" else Observed(self._ring)
            except (OSError, AttributeError, ImportError) as error:
                self._give_up(error)
                return
        failed = self._watcher.arm(local)
        if failed is not None and failed.errno in {errno.ENOSPC, errno.EMFILE, errno.ENOMEM}:
            self.close()
            self._give_up(failed)

    def _local(self, folders: Iterable[Path]) -> list[Path]:
        from critictui.run.mounts import is_remote

        chosen: list[Path] = []
        remote = 0
        for folder in folders:
            if folder not in self._remote:
                self._remote[folder] = is_remote(folder)
            if self._remote[folder]:
                remote += 1
            elif len(chosen) < _MOST_FOLDERS:
                chosen.append(folder)
        if remote and not self._dead:
            self.notice = "on a network file system: files are looked at once a second"
        elif not self._dead:
            self.notice = ""
        return chosen

    def _give_up(self, error: Exception) -> None:
        self._dead = True
        number = error.errno if isinstance(error, OSError) else None
        reason = {
            errno.ENOSPC: "no inotify watches are left (fs.inotify.max_user_watches)",
            errno.EMFILE: "no inotify instances are left (fs.inotify.max_user_instances)",
        }.get(number or 0, str(error) or "this system has no inotify")
        self.notice = f"{reason}: files are looked at once a second"

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None


class Observed:
    """The bell of other systems, by watchdog."""

    def __init__(self, ring: Callable[[], None]) -> None:
        from watchdog.observers import Observer

        self._ring = ring
        self._observer = Observer()
        self._observer.daemon = True
        self._observer.start()
        self._watched: set[Path] = set()

    def arm(self, folders: Iterable[Path]) -> OSError | None:
        """Watch the folders that are not watched yet."""
        from watchdog.events import FileSystemEvent, FileSystemEventHandler

        ring = self._ring

        class Ringing(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                if event.event_type in {"modified", "created", "deleted", "moved"}:
                    ring()

        for folder in set(folders) - self._watched:
            try:
                self._observer.schedule(Ringing(), str(folder))
            except OSError as error:
                return error
            self._watched.add(folder)
        return None

    def close(self) -> None:
        """Stop the observer's threads."""
        self._observer.stop()
        self._observer.join(timeout=2)
