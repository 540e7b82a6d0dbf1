"""Reads a `.pt` file of plain rows: with torch's restricted unpickler, and with nothing else."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from critictui.scoring.recipe import ScoringError

LARGEST = 8 << 30


def load_pt(path: Path) -> object:
    """What `torch.save` wrote, if it is made of tensors, lists, dicts and plain values. Raises ScoringError."""
    try:
        if path.stat().st_size > LARGEST:
            raise ScoringError(f"{path}: larger than 8 GiB; save the rows as JSONL or parquet")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except OSError as error:
        raise ScoringError(f"{path}: {error.strerror or error}") from None
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, TypeError) as error:
        first = str(error).partition("\n")[0]
        raise ScoringError(
            f"{path}: holds more than lists, dicts, text and numbers, and is not read ({first:.100}); "
            "save the rows as plain lists and text, as JSONL or as parquet"
        ) from None
