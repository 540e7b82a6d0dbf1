"""What makes a worker harmless: last in line for a core, first for the out-of-memory killer, gone with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import sys

UNNEEDED = ("accelerate", "sklearn", "torchvision", "torchaudio", "tensorflow", "jax", "flax", "librosa", "cv2", "timm")
"""What transformers imports where it finds it and a critic has no use for: seconds of every start in a training
container, and where torchvision does not fit its torch, an exception."""
_PR_SET_PDEATHSIG = 1
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IDLE_CLASS = 3 << 13


def step_back() -> None:
    """Lower every priority of this process. Best effort: what a container forbids is left as it is."""
    with contextlib.suppress(OSError):
        os.nice(10)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")
    with contextlib.suppress(OSError, AttributeError):
        number = _IOPRIO_SET.get(platform.machine())
        if number is not None:
            ctypes.CDLL(None, use_errno=True).syscall(number, 1, 0, _IDLE_CLASS)


def end_with(parent: int) -> None:
    """Have the kernel end this process when `parent`, which started it, ends; at once if that is gone already."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() != parent:
        end_group()


def hide_unneeded() -> None:
    """Let this process's imports find none of `UNNEEDED`. Call it before transformers is imported."""
    for name in UNNEEDED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # Python's own way to say "not there"


def end_group() -> None:
    """End this process and all that it started, at once."""
    if os.getpgid(0) == os.getpid():
        with contextlib.suppress(OSError):
            os.killpg(0, signal.SIGKILL)
    os._exit(137)


def quiet_standard_output() -> None:
    """Whatever a library prints goes where errors go: standard output is nobody's channel here."""
    os.dup2(2, 1)
