"""Which trainer wrote a checkpoint: the files beside its weights go in, the class of its arguments comes out.

`training_args.bin` is a pickle of the trainer's settings. Its first opcodes name their class; they are read as text and
nothing of it is built or run. Names of metrics are no proof: other trainers log under TRL's.
"""

from __future__ import annotations

import json
import pickletools
from contextlib import closing
from pathlib import Path

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.zip_archive import open_archive

TRL_REWARD = "trl.trainer.reward_config.RewardConfig"
"""The arguments of TRL's `RewardTrainer`, under this name since TRL 0.7."""
_ARGUMENTS = "training_args.bin"
_LARGEST = 1 << 20
_OPCODES = 64


def trainer_of(checkpoint: Path) -> str:
    """`module.Class` of the arguments that the checkpoint was trained with; empty where nothing shows it."""
    path = checkpoint / _ARGUMENTS
    try:
        with closing(open_archive(path)) as archive:
            pickled = archive.read(f"{archive.prefix}data.pkl", _LARGEST)
    except (CheckpointError, OSError):
        return ""
    return _first_class(pickled)


def _first_class(pickled: bytes) -> str:
    """The class of the pickle's outermost object; it stands before everything that the object holds."""
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if opcode.name == "GLOBAL" and isinstance(argument, str):
                return argument.replace(" ", ".", 1)
            if number > _OPCODES:
                break
    except (ValueError, UnicodeError):
        return ""
    return ""


def has_chat_template(checkpoint: Path) -> bool | None:
    """Whether the tokenizer beside the weights brings a chat template; None where there is no tokenizer to ask."""
    if (checkpoint / "chat_template.jinja").is_file() or (checkpoint / "chat_template.json").is_file():
        return True
    path = checkpoint / "tokenizer_config.json"
    try:
        if path.stat().st_size > _LARGEST:
            return None
        return "chat_template" in json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
