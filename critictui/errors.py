"""The two ways a command fails: the input is not fit (exit status 2), or the job broke (exit status 3)."""

from __future__ import annotations

import stat
from pathlib import Path


class InputError(Exception):
    """Bad input. The message is one line that names the file and the remedy. Each room has one subclass."""


class JobFailedError(Exception):
    """A job ended without a result: out of memory, crashed, hung, cancelled. The message says which."""


def refuse_unreadable(path: Path, remedy: str) -> None:
    """Raise InputError unless `path` is a file with something in it that may be read; `remedy`: `give ...`."""
    try:
        found = path.stat()
        kind = "a directory" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path}: {kind}; {remedy}")
        if found.st_size == 0:
            raise InputError(f"{path}: the file is empty; {remedy}")
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; {remedy}") from None
