"""The worker process: one job comes in over a channel of its own, progress and one answer go out, and it ends."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from critictui.checkpoint.checkpoint import VanishedError
from critictui.checkpoint.find import find_checkpoints
from critictui.errors import InputError
from critictui.scoring.jobs import Failed, Finished, Job, JobMessage, Progress
from critictui.scoring.protocol import LENGTH, ProtocolError, frame, job_from_json, message_to_json, unframe
from critictui.worker.jobs_table import work_for
from critictui.worker.process import end_group, end_with, hide_unneeded, quiet_standard_output, step_back

HEARTBEAT_SECONDS = 2.0
IDLE_SECONDS = 900.0
"""An early worker for which no job came holds half a gigabyte: it ends, and a job that comes later gets another one."""
_EXTRA = {"torch", "transformers", "scipy", "pandas", "pyarrow", "httpx", "jinja2", "tokenizers", "safetensors"}


class Channel:
    """Our end of the conversation; several threads may speak."""

    def __init__(self, descriptor: int) -> None:
        """Take over a connected socket's descriptor."""
        self._socket = socket.socket(fileno=descriptor)
        os.set_inheritable(descriptor, False)  # no child of ours may keep it open
        self._lock = threading.Lock()
        self.detached = False
        self._last = Progress("start", 0, 1)

    def read_job(self, seconds: float | None = None) -> Job:
        """Wait for the job, at most so long. Raises ProtocolError, EOFError, TimeoutError."""
        self._socket.settimeout(seconds)
        (length,) = LENGTH.unpack(self._exactly(LENGTH.size))
        job = job_from_json(unframe(self._exactly(length)))
        self._socket.settimeout(None)
        return job

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(min(count - len(data), 1 << 16))
            if not piece:
                raise EOFError
            data += piece
        return data

    def send(self, message: JobMessage) -> None:
        """Say something; nobody may be there to hear it."""
        with self._lock:
            if isinstance(message, Progress):
                self._last = message
            try:
                self._socket.sendall(frame(message_to_json(message)))
            except OSError:
                if not self.detached:
                    end_group()

    def beat(self, stop: threading.Event) -> None:
        """Repeat the last progress until told to stop: who listens knows that we live."""
        while not stop.wait(HEARTBEAT_SECONDS):
            self.send(self._last)

    def watch(self) -> None:
        """End this process when the other end closes."""
        with contextlib.suppress(OSError):
            while self._socket.recv(1 << 12):
                pass
        if not self.detached:
            end_group()

    def start(self, target: Callable[[], None]) -> None:
        """Run in a thread that does not keep the process alive."""
        threading.Thread(target=target, daemon=True).start()


def main(argv: list[str] | None = None) -> int:
    """Do one job. The exit status says nothing: the answer went over the channel."""
    parser = argparse.ArgumentParser(prog="critictui.worker", description="Started by critictui; not for use by hand.")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--parent", type=int, default=0)
    parser.add_argument("--early", action="store_true", help="the job comes later: import what a score needs meanwhile")
    arguments = parser.parse_args(argv)
    quiet_standard_output()
    hide_unneeded()
    step_back()
    channel = Channel(arguments.channel)
    torch_is_there = threading.Event()
    if arguments.early:  # never for a job that outlives its parent
        end_with(arguments.parent)
        channel.start(lambda: import_early(torch_is_there))
    try:
        job = channel.read_job(IDLE_SECONDS if arguments.early else None)
    except (EOFError, OSError, ProtocolError) as error:
        print(f"no job came: {error}", file=sys.stderr)  # noqa: T201
        sys.stderr.flush()
        os._exit(1)  # not before the imports are done, otherwise
    channel.detached = bool(job.options.get("detach"))
    if not channel.detached:
        end_with(arguments.parent)
    channel.send(Progress("import", 0, 1))
    stop = threading.Event()
    channel.start(lambda: channel.beat(stop))
    channel.start(channel.watch)
    if arguments.early:
        torch_is_there.wait()  # two threads in the same imports trip over each other
    answer = answer_for(job, channel.send)
    stop.set()
    channel.send(answer)
    sys.stderr.flush()
    os._exit(0)  # torch's threads and CUDA's teardown have nothing left to do for us


def import_early(torch_is_there: threading.Event) -> None:
    """Import torch, transformers, then statistics. What cannot be imported is said by the job that needs it."""
    with contextlib.suppress(Exception):
        import_module("critictui.worker.score_job")
    torch_is_there.set()
    with contextlib.suppress(Exception):
        import_module("critictui.worker.backbone").import_transformers(models=True)
    with contextlib.suppress(Exception):
        import_module("scipy.stats")


def answer_for(job: Job, tell: Callable[[Progress], None]) -> Finished | Failed:
    """Do the job; whatever is raised becomes an answer. This is the process's boundary."""
    try:
        return work_for(job.kind)(job, tell)
    except KeyError as error:
        if error.args == (job.kind,):
            return Failed("refused", f"this version has no job of kind {job.kind!r}")
        return _unexpected(error)
    except VanishedError as error:
        return Failed("vanished", f"{error}{next_best(job)}")
    except InputError as error:
        return Failed("refused", str(error))
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        if name in _EXTRA:
            return Failed(
                "missing-extra",
                f"scoring needs {name}, which cannot be imported ({error}): pip install 'critictui[score]'",
            )
        return _unexpected(error)
    except MemoryError as error:
        return Failed("memory", f"host memory ran out {error}".strip())
    except Exception as error:  # noqa: BLE001
        if type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error):
            return Failed("memory", str(error).partition("\n")[0])
        return _unexpected(error)


def next_best(job: Job) -> str:
    """What may be scored instead of a checkpoint that went away: the run's newest complete one, in words."""
    if not job.run_dir:
        return ""
    found = find_checkpoints(Path(job.run_dir))
    newest = next((c for c in found if c.state == "complete" and str(c.path) != job.checkpoint), None)
    return "" if newest is None else f"; the newest complete one is {newest.path}"


def _unexpected(error: BaseException) -> Failed:
    traceback.print_exc()
    return Failed("error", f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


if __name__ == "__main__":
    sys.exit(main())
