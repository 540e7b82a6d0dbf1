"""A file that appears under its name only when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from critictui.errors import InputError


class WriteError(InputError):
    """The file cannot be written; the message names it and the remedy."""


@contextmanager
def renamed(output: Path) -> Iterator[Path]:
    """A path beside `output` to write to; it takes the name of `output` at the end, or goes. Raises WriteError."""
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(output)
    except OSError as error:
        raise WriteError(f"{output}: cannot be written ({error.strerror}); choose another place with -o") from error
    finally:
        with suppress(OSError):
            part.unlink()
