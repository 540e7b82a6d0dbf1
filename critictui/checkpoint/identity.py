"""Which very files a checkpoint consists of, so that a score is never made of two of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from critictui.checkpoint.checkpoint import Checkpoint, CheckpointError, VanishedError


def identity(checkpoint: Checkpoint) -> str:
    """A digest of the step and of each weight and config file's name, device, inode, size and mtime.

    Equal before and after a piece of work: it was one checkpoint all the while. Raises VanishedError if a file is gone.
    """
    digest = hashlib.sha256(repr((checkpoint.step, str(checkpoint.path))).encode())
    for file in (*checkpoint.files, *_configs(checkpoint.path)):
        try:
            stat = file.stat()
        except FileNotFoundError as error:
            raise VanishedError(
                f"{checkpoint.path}: checkpoint removed ({file.name} is gone); choose a newer one"
            ) from error
        except OSError as error:
            raise CheckpointError(f"{file}: {error.strerror}; check the permissions and the mount") from error
        digest.update(repr((file.name, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()[:32]


def verify(checkpoint: Checkpoint, before: str, during: str = "scoring") -> None:
    """Raise VanishedError unless the checkpoint is still the very one whose `identity` was `before`."""
    try:
        now = identity(checkpoint)
    except VanishedError as error:
        raise VanishedError(f"{checkpoint.path}: checkpoint removed during {during}; choose a newer one") from error
    if now != before:
        raise VanishedError(f"{checkpoint.path}: checkpoint replaced during {during}; start again")


def _configs(path: Path) -> list[Path]:
    """The config files that are there: one that disappears changes the digest."""
    return [p for p in (path / "config.json", path / "huggingface" / "config.json") if p.is_file()]
