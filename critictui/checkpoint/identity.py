"""Which very files a checkpoint consists of, so that a score is never made of two of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from critictui.checkpoint.beside import files_beside
from critictui.checkpoint.checkpoint import Checkpoint, CheckpointError, VanishedError


def identity(checkpoint: Checkpoint, tokenizer: Path | None = None) -> str:
    """A digest of the step and of name, device, inode, size and mtime of each file that takes part in a score.

    Those are the weights, and beside them configurations, tokenizer and chat template: one that appears or goes away
    changes it too. tokenizer: a folder that stands in for the checkpoint's own. Equal before and after a piece of work:
    it was one checkpoint all the while. Raises VanishedError if a weight file is gone.
    """
    digest = hashlib.sha256(repr((checkpoint.step, str(checkpoint.path))).encode())
    for file in (*checkpoint.files, *files_beside(checkpoint.path, tokenizer)):
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


def verify(checkpoint: Checkpoint, before: str, during: str = "scoring", tokenizer: Path | None = None) -> None:
    """Raise VanishedError unless the checkpoint is still the very one whose `identity` was `before`."""
    try:
        now = identity(checkpoint, tokenizer)
    except VanishedError as error:
        raise VanishedError(f"{checkpoint.path}: checkpoint removed during {during}; choose a newer one") from error
    if now != before:
        raise VanishedError(f"{checkpoint.path}: checkpoint changed or replaced during {during}; start again")
