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


def settle(parent: int, *, outlive: bool) -> None:
    """Lower every priority of this process; unless it may outlive its parent, have the kernel end it then.

    parent: the process id that started us; when it is gone already, this process ends at once. Best effort: what a
    container forbids is left as it is.
    """
    with contextlib.suppress(OSError):
        os.nice(10)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        number = _IOPRIO_SET.get(platform.machine())
        if number is not None:
            libc.syscall(number, 1, 0, _IDLE_CLASS)
        if not outlive:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if not outlive and parent and os.getppid() != parent:
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
