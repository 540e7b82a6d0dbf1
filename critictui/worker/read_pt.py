"""Reads a `.pt` file of plain values: with torch's restricted unpickler, and with nothing else."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import torch

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.zip_archive import open_archive
from critictui.scoring.last_lines import last_lines
from critictui.scoring.recipe import ScoringError

LARGEST = 8 << 30


class PlainError(Exception):
    """A file holds more than plain values, or is damaged; the message is the reason alone."""


def load_plain(path: Path) -> object:
    """What `torch.save` wrote, if it is made of tensors, lists, dicts and plain values. Raises PlainError, OSError.

    An archive is looked through before torch sees it: torch inflates compressed entries to whatever size they claim.
    """
    if path.stat().st_size > LARGEST:
        raise PlainError("larger than 8 GiB")
    try:
        with path.open("rb") as file:
            archived = file.read(2) == b"PK"
        if archived:
            with closing(open_archive(path)):
                pass
        return torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except (OSError, MemoryError):
        raise
    except CheckpointError as error:
        raise PlainError(str(error).removeprefix(f"{path}: ")) from None
    except Exception as error:  # a foreign file in a foreign library: whatever it raises means "not plain"
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise PlainError(last_lines(first, 1, 120)) from error


def load_pt(path: Path) -> object:
    """Rows of a fixed set as `torch.save` wrote them. Raises ScoringError."""
    try:
        return load_plain(path)
    except OSError as error:
        raise ScoringError(f"{path}: {error.strerror or error}") from None
    except PlainError as error:
        raise ScoringError(
            f"{path}: holds more than lists, dicts, text and numbers, and is not read ({error}); "
            "save the rows as plain lists and text, as JSONL or as parquet"
        ) from None
