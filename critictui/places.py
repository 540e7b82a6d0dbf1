"""Where configuration, state and caches of this user lie; a place where nothing can be kept, where there is no home.

In a container a process may run as a user without a name and without HOME: then nothing is read and nothing is kept,
and whoever wants to write hears so from the kernel.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

NOWHERE = Path("/dev/null/no-home")
"""Below a file, so that nobody can make it, root included."""


def config_dir() -> Path:
    """`~/.config/critictui`, or where the platform keeps such files."""
    return _or_nowhere(lambda: platformdirs.user_config_path("critictui"))


def state_home() -> Path:
    """`~/.local/state/critictui`, or where the platform keeps such files; `XDG_STATE_HOME` has its say everywhere."""
    given = os.environ.get("XDG_STATE_HOME")
    return Path(given) / "critictui" if given else _or_nowhere(lambda: platformdirs.user_state_path("critictui"))


def cache_dir() -> Path:
    """`~/.cache/critictui`, or where the platform keeps such files."""
    return _or_nowhere(lambda: platformdirs.user_cache_path("critictui"))


def expanded(text: str) -> Path:
    """A path that somebody wrote, `~` resolved where there is a home."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  (Path's own raises where there is none)


def _or_nowhere(place: Callable[[], Path]) -> Path:
    try:
        found = place()
    except RuntimeError:
        return NOWHERE
    return found if found.is_absolute() else NOWHERE
