"""Are the files of a checkpoint of one save? What their trainer wrote beside them and their times say, no more."""

from __future__ import annotations

import pickletools
import re
from contextlib import closing

from critictui.checkpoint.checkpoint import Checkpoint, CheckpointError
from critictui.checkpoint.zip_archive import open_archive

_STATE = "extra_state"
_LARGEST = 4 << 20
_OPCODES = 10_000
_BETWEEN = ("BINPUT", "LONG_BINPUT", "MEMOIZE")
_APART_SECONDS = 600.0
"""Between the first and the last file of one save; a slow mount takes minutes."""


def scheduled_steps(checkpoint: Checkpoint) -> dict[str, int]:
    """File name to the step of its learning rate's schedule, of verl's `extra_state_...` beside each rank's shard."""
    found: dict[str, int] = {}
    for shard in checkpoint.files:
        file = shard.with_name(re.sub(r"^model(?=_)", _STATE, shard.name))
        if file == shard:
            continue
        try:
            with closing(open_archive(file)) as archive:
                step = _last_epoch(archive.read(archive.prefix + "data.pkl", _LARGEST))
        except (CheckpointError, OSError):
            continue
        if step is not None:
            found[file.name] = step
    return found


def _last_epoch(pickled: bytes) -> int | None:
    """The number behind the schedule's key; opcodes are read as text, nothing of the pickle is built or run."""
    named = False
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if named and isinstance(argument, int) and opcode.name.startswith(("BININT", "LONG")):
                return argument
            named = argument == "last_epoch" or (named and opcode.name in _BETWEEN)
            if number > _OPCODES:
                break
    except (ValueError, UnicodeError):
        return None
    return None


def contradiction(checkpoint: Checkpoint) -> str:
    """Which two ranks are of different steps by what lies beside their shards, in words; empty where none are."""
    steps = scheduled_steps(checkpoint)
    first = next(iter(steps.items()), None)
    other = next((item for item in steps.items() if first is not None and item[1] != first[1]), None)
    if first is None or other is None:
        return ""
    return f"{other[0]} is of update {other[1]}, {first[0]} of update {first[1]}; the ranks are not of one step"


def doubt(checkpoint: Checkpoint) -> str:
    """That files of several saves would not be told apart, in words; empty where there is one file."""
    times: list[float] = []
    for file in checkpoint.files:
        try:
            times.append(file.stat().st_mtime)
        except OSError:
            continue
    if len(times) < 2:
        return ""
    apart = max(times) - min(times)
    written = f", and they were written {apart / 60:.0f} minutes apart" if apart > _APART_SECONDS else ""
    return f"nothing in the {len(times)} weight files shows that they are of one step{written}"
