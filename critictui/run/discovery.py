"""Runs under a path: a directory tree goes in, a slice of time at a time, and the runs found so far come out.

A run is what one directory of event files belongs to: the highest directory, below the target, that holds no other.
So the log and the checkpoints beside the event directory belong to it. Where there is at most one event directory,
the target itself is the run. Files of metrics outside of every such directory are runs by themselves, by directory,
or each its own where one directory holds several logs.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from critictui.run.grouping import FoundFile, FoundRun, grouped
from critictui.run.kinds import kind_of, plausible, why_not
from critictui.run.text import sanitise_line

_LEFT_OUT = frozenset({"critictui", "__pycache__", "node_modules", "site-packages", "huggingface", "wandb", "mlruns"})
_SHARDS = ("global_step_",)
"""Directories with nothing but a checkpoint in them; `checkpoint-N` of Hugging Face keeps a trainer's state."""
_LOOK_AGAIN = 3.0
_SHARE = 300
"""A search of everything is repeated only after this many times its cost: a third of a percent of a core."""
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 600.0
"""Seconds; a first search costs much more than those after it, which look at time stamps alone."""
_MOST_NEAR = 256
"""Directories that hold metrics, whose time stamps are looked at every time: there the next file is expected."""
_MOST_DOUBTS = 2000
_ENTRIES_A_CHECK = 32
_MOST_NAMED = 3
_TRIES = 3
_LONGEST_NAME = 120
_REGROUP = 1.2


class Scanner:
    """Searches for runs under `target`, a directory or one file. `step` does a slice of it; call it now and then."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.scanned = 0
        """Directory entries looked at so far."""
        self.passed_over = 0
        """Look-alikes, special files and loops that were not followed."""
        self.notices: tuple[str, ...] = ()
        self.complete = False
        """Everything was seen once."""
        self._files: dict[Path, FoundFile] = {}
        self._doubts: dict[Path, int] = {}
        self._folders: dict[str, int] = {}
        """The mtime of each directory that was listed; 0 where that failed and is to be tried again."""
        self._homes: dict[tuple[int, int], str] = {}
        """Device and inode to the path under which it was met first."""
        self._failed: dict[Path, None] = {}
        """Files that could not be looked at: they are tried again."""
        self._waiting: deque[Path] = deque([target])
        self._work: Iterator[None] | None = None
        self._next_look = 0.0
        self._next_near = 0.0
        self._spent = 0.0
        self._everything = True
        self._near: dict[Path, None] = {target: None}
        self._runs: tuple[FoundRun, ...] = ()
        self._version = 0
        self._grouped = (-1, 0)
        self._passed: set[Path] = set()
        self._alike: dict[Path, str] = {}

    def step(self, seconds: float) -> bool:
        """Search for at most about `seconds`. True while the first search is not through."""
        began = time.monotonic()
        deadline = began + seconds
        if self._work is None:
            if not self._waiting and began < min(self._next_look, self._next_near):
                return False
            self._everything = bool(self._waiting) or began >= self._next_look
            self._work = self._search()
        for count, _ in enumerate(self._work):
            if count % _ENTRIES_A_CHECK == 0 and time.monotonic() >= deadline:
                self._spent += time.monotonic() - began
                return not self.complete
        self._rest(began)
        return False

    def _rest(self, began: float) -> None:
        """A search is through: by what it cost, when is the next one?"""
        now = time.monotonic()
        first, self._work, self.complete = not self.complete, None, True
        spent, self._spent = self._spent + now - began, 0.0
        pause = min(max(_LOOK_AGAIN, _SHARE * spent), _FIRST_PAUSE if first else _LONGEST_PAUSE)
        if self._everything:
            self._next_look = now + pause
        self._next_near = now + (_LOOK_AGAIN if self._everything else pause)

    def finish(self) -> None:
        """Search everything, for commands that read a directory once."""
        while self.step(1.0):
            pass
        for _ in range(_TRIES):
            for _ in self._try_again():
                pass

    @property
    def runs(self) -> tuple[FoundRun, ...]:
        """The runs found so far, by name. Grouping them costs time, so while many are coming it is done seldom."""
        version, count = self._grouped
        due = self.complete or len(self._files) >= _REGROUP * count
        if self._version != version and due:
            self._runs = grouped(self.target, self._files.values())
            self._grouped = (self._version, len(self._files))
        return self._runs

    def _search(self) -> Iterator[None]:
        """All the work there is, an entry at a time."""
        if self.complete:
            yield from self._look_again()
        elif not self.target.is_dir():
            self._waiting.clear()
            self._consider(self.target, named=False)
        while self._waiting:
            yield from self._list(self._waiting.popleft())
        if not self.complete:
            self._version += 1  # what was put off is grouped now

    def _look_again(self) -> Iterator[None]:
        """Directories whose time stamp moved, and files that were in doubt and grew."""
        near = [str(path) for path in self._near if str(path) in self._folders]
        for folder in list(self._folders) if self._everything else near:
            yield
            try:
                moved = os.stat(folder).st_mtime_ns != self._folders[folder]  # noqa: PTH116  a path object costs more
            except OSError as error:
                if isinstance(error, FileNotFoundError) and Path(folder) != self.target:
                    del self._folders[folder]  # what was read of it is kept, and its parent tells of its return
                continue
            if moved:
                self._waiting.append(Path(folder))
        if not self._everything:
            return
        yield from self._try_again()
        for path, size in list(self._doubts.items()):
            yield
            try:
                if path.stat().st_size != size:
                    self._consider(path, named=path != self.target)
            except OSError:
                self._doubts.pop(path, None)
        if not self._folders:
            self._waiting.append(self.target)

    def _try_again(self) -> Iterator[None]:
        """Look once more at files that could not be looked at."""
        failed, self._failed = self._failed, {}
        for path in failed:
            yield
            self._consider(path, named=path != self.target)

    def _list(self, path: Path) -> Iterator[None]:
        """Look at the entries of one directory."""
        try:
            found = path.stat()
            name = str(path)
            home = self._homes.setdefault((found.st_dev, found.st_ino), name)
            if home != name:
                if _same_directory(home, found):
                    self._pass_over(path)
                    return
                self._homes[found.st_dev, found.st_ino] = name
            self._folders[name] = 0
            with os.scandir(path) as entries:
                for entry in entries:
                    self.scanned += 1
                    self._look_at(entry)
                    yield
            self._folders[name] = found.st_mtime_ns
            self._no_longer(path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._folders.setdefault(str(path), 0)
            self._pass_over(path, error)

    def _look_at(self, entry: os.DirEntry[str]) -> None:
        name = entry.name
        try:
            if entry.is_dir():
                if not name.startswith((".", *_SHARDS)) and name not in _LEFT_OUT:
                    path = Path(entry.path)
                    if name.startswith("checkpoint-"):
                        state = path / "trainer_state.json"
                        if state.is_file():
                            self._consider(state)
                    elif str(path) not in self._folders:
                        self._waiting.append(path)
            elif plausible(name) and not name.startswith("."):
                self._consider(Path(entry.path))
        except OSError as error:
            self._pass_over(Path(entry.path), error)

    def _consider(self, path: Path, *, named: bool = True) -> None:
        """Take a file if it holds metrics, remember it if it may yet, or pass it over."""
        if path in self._files:
            return
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                self._pass_over(path)
                return
            kind = kind_of(path, named=named)
        except OSError as error:
            if len(self._failed) < _MOST_DOUBTS and not isinstance(error, FileNotFoundError):
                self._failed[path] = None
            self._pass_over(path, error)
            return
        if kind is not None:
            self._files[path] = FoundFile(path, kind, found.st_mtime)
            if len(self._near) < _MOST_NEAR:
                self._near |= {path.parent: None, path.parent.parent: None}
            self._doubts.pop(path, None)
            self._no_longer(path)
            self._version += 1
            return
        if "tfevents" in path.name and path not in self._alike:
            self._alike[path] = why_not(path)
            self._pass_over(path)
            self.notices = _notices(self._alike, self.target)
        if path in self._doubts or len(self._doubts) < _MOST_DOUBTS:
            self._doubts[path] = found.st_size

    def _no_longer(self, path: Path) -> None:
        """Whatever was said of this path does not hold any more."""
        if self._alike.pop(path, None) is not None:
            self.notices = _notices(self._alike, self.target)

    def _pass_over(self, path: Path, error: OSError | None = None) -> None:
        if path not in self._passed:
            self.passed_over += 1
            if len(self._passed) < _MOST_DOUBTS:
                self._passed.add(path)
                if error is not None and not isinstance(error, FileNotFoundError):
                    self._alike[path] = said_of(error)
                    self.notices = _notices(self._alike, self.target)


def _same_directory(path: str, found: os.stat_result) -> bool:
    try:
        here = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    return (here.st_dev, here.st_ino) == (found.st_dev, found.st_ino)


def said_of(error: OSError) -> str:
    """An error of the file system in words."""
    return "permission denied" if isinstance(error, PermissionError) else (error.strerror or str(error)).lower()


def _elided(name: str) -> str:
    """A long path without its middle: the ends tell it."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}…{name[-_LONGEST_NAME // 2 :]}"


def _notices(alike: dict[Path, str], target: Path) -> tuple[str, ...]:
    """One sentence a reason, with the first few names."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in alike.items():
        by_reason.setdefault(reason, []).append(_elided(os.path.relpath(path, target)))
    out = []
    for reason, names in by_reason.items():
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        out.append(sanitise_line(f"passed over {', '.join(names[:_MOST_NAMED])}{more}: {reason}"))
    return tuple(out)
