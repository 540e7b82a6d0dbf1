"""Runs a job in a worker process of its own and always comes back: with a result, or with what happened instead."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from critictui.errors import JobFailedError
from critictui.places import cache_dir
from critictui.scoring.ending import death, end, gone
from critictui.scoring.jobs import Failed, Finished, Job, JobMessage, Progress
from critictui.scoring.last_lines import TAIL_BYTES, last_lines
from critictui.scoring.offspring import NAME, new_mark
from critictui.scoring.protocol import LARGEST, LENGTH, ProtocolError, frame, job_to_json, message_from_json, unframe

HEARTBEAT_SECONDS = 120.0
"""Silence after which a worker counts as hung. It speaks every two seconds, but reading torch's libraries from a slow
network disk holds Python's lock for longer than that."""
STALL_SECONDS = 1800.0
"""A worker that speaks but gets nowhere for so long counts as hung too."""
GRACE_SECONDS = 5.0
_MOST_LINES = 20
_LONGEST_LINE = 2000


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a worker may stay silent, stay put, and take to end (seconds)."""

    heartbeat: float = HEARTBEAT_SECONDS
    stall: float = STALL_SECONDS
    grace: float = GRACE_SECONDS


class Worker:
    """A worker process, from its start to its end; it does one job."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket, mark: str) -> None:
        """Use `start`."""
        self._process, self._channel, self._mark = process, channel, mark
        self._tail = _Tail()
        self._draining = asyncio.create_task(self._tail.drain(process))

    @classmethod
    async def start(cls, command: Sequence[str] = (), *, early: bool = False) -> Worker:
        """Start the process. early: before its job is known; it imports what a score needs while it waits.

        command: a worker other than ours, for tests; it gets `--channel FD --parent PID`. Raises OSError.
        """
        ours, theirs = socket.socketpair()
        mark = new_mark()
        try:
            words = [*worker_command(theirs.fileno(), command), *(["--early"] * early)]
            return cls(await _start(theirs, words, mark), ours, mark)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it can still take a job."""
        return self._process.returncode is None

    async def run(
        self,
        job: Job,
        on_message: Callable[[JobMessage], None] = lambda _: None,
        *,
        cancel: asyncio.Event | None = None,
        patience: Patience = Patience(),
    ) -> Finished | Failed:
        """Have it do the job, and return how that ended, as `run_job` does; the process is gone then."""
        outcome: Finished | Failed
        try:
            outcome = await _converse(self._process, self._channel, job, on_message, cancel=cancel, patience=patience)
        finally:
            await self.end(patience.grace)
        if isinstance(outcome, Failed):
            printed = self._tail.last_lines() if outcome.reason in {"crashed", "hung", "error"} else ""
            # a message may quote a checkpoint's own names
            said = last_lines(outcome.message, _MOST_LINES, _LONGEST_LINE)
            outcome = Failed(outcome.reason, "\n".join(filter(None, [said, printed])))
        on_message(outcome)
        return outcome

    async def end(self, grace: float = GRACE_SECONDS) -> None:
        """End it and all that it started; a cancelled caller waits for that too."""
        ended = asyncio.create_task(end(self._process, grace, self._mark))
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            await ended
            raise
        finally:
            # a child of the worker that left its group can hold the pipe open for ever
            await asyncio.wait({self._draining}, timeout=1.0)
            self._draining.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._draining
            self._channel.close()


async def run_job(
    job: Job,
    on_message: Callable[[JobMessage], None] = lambda _: None,
    *,
    cancel: asyncio.Event | None = None,
    patience: Patience = Patience(),
    command: Sequence[str] = (),
) -> Finished | Failed:
    """Run a job and return how it ended; never raises for what the worker does.

    on_message: called in this loop with every message, the last included. cancel: set it to end the job. A
    cancelled task ends the worker too, then raises CancelledError as usual. command: as in `Worker.start`. However it
    ends, no process of the worker's group is left.
    """
    try:
        worker = await Worker.start(command)
    except OSError as error:
        failed = Failed("crashed", f"the worker could not be started: {error.strerror or error}")
        on_message(failed)
        return failed
    return await worker.run(job, on_message, cancel=cancel, patience=patience)


def run_job_sync(job: Job, on_message: Callable[[JobMessage], None] = lambda _: None) -> Finished | Failed:
    """The same for the command line. KeyboardInterrupt ends the worker before it goes on."""
    return asyncio.run(run_job(job, on_message))


async def _start(channel: socket.socket, command: Sequence[str], mark: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        pass_fds=(channel.fileno(),),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        env={**worker_environment(), NAME: mark},
    )


def worker_command(channel: int, command: Sequence[str] = ()) -> list[str]:
    """The worker's argv. `-P`: a file in the current directory is never imported in place of a library."""
    start = list(command) or [sys.executable, "-P", "-m", "critictui.worker"]
    return [*start, "--channel", str(channel), "--parent", str(os.getpid())]


def worker_environment() -> dict[str, str]:
    """The worker's environment: it never asks the network for a model, and numbers GPUs as NVML does."""
    root = str(Path(__file__).resolve().parents[2])
    environment = {
        # rows of many lengths fragment a cache of fixed blocks: a bounded share of a GPU would be freed and taken anew
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "PYTHONUNBUFFERED": "1",
    }
    if root != sysconfig.get_paths()["purelib"]:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    if environment.get("PYTHONDONTWRITEBYTECODE") and not all(map(_compiled, ("torch", "transformers"))):
        # a container that keeps no bytecode would compile a million lines for every score: it is kept beside our state
        del environment["PYTHONDONTWRITEBYTECODE"]
        environment.setdefault("PYTHONPYCACHEPREFIX", str(cache_dir() / "bytecode"))
    return environment


def _compiled(package: str) -> bool:
    """Whether a package's bytecode lies beside its source."""
    spec = importlib.util.find_spec(package)
    return spec is None or spec.cached is None or Path(spec.cached).exists()


async def _converse(
    process: asyncio.subprocess.Process,
    channel: socket.socket,
    job: Job,
    on_message: Callable[[JobMessage], None],
    *,
    cancel: asyncio.Event | None,
    patience: Patience,
) -> Finished | Failed:
    """Send the job, then listen until the worker has answered, has died, is silent for too long, or is cancelled."""
    reader, writer = await asyncio.open_connection(sock=channel)
    writer.write(frame(job_to_json(job)))
    exited = asyncio.create_task(gone(process))
    cancelled = asyncio.create_task((cancel or asyncio.Event()).wait())
    reading: asyncio.Task[JobMessage] | None = None
    moved, last = time.monotonic(), (("", -1.0))
    try:
        while True:
            reading = reading or asyncio.create_task(_read(reader))
            watched: set[asyncio.Task[object]] = {reading, cancelled, exited}
            await asyncio.wait(watched, timeout=patience.heartbeat, return_when=asyncio.FIRST_COMPLETED)
            if cancelled.done():
                return Failed("cancelled", "cancelled")
            if exited.done() and not reading.done():
                # what it wrote before it died is still to be read; nothing more will come
                await asyncio.wait({reading}, timeout=0.5)
                if not reading.done():
                    return death(exited.result(), "")
            if not reading.done():
                return Failed("hung", f"the worker was silent for {patience.heartbeat:.0f} seconds and was ended")
            try:
                message = reading.result()
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                await asyncio.wait({exited}, timeout=patience.grace)
                cut = (
                    " in the middle of a message"
                    if isinstance(error, asyncio.IncompleteReadError) and error.partial
                    else ""
                )
                return death(exited.result() if exited.done() else None, cut)
            except ProtocolError as error:
                return Failed("crashed", f"the worker sent garbage: {error}")
            reading = None
            if not isinstance(message, Progress):
                # a clean worker ends by itself now; one that does not is ended
                await asyncio.wait({exited}, timeout=patience.grace)
                return message
            if (message.phase, message.done) != last:
                moved, last = time.monotonic(), (message.phase, message.done)
            elif time.monotonic() - moved > patience.stall:
                return Failed(
                    "hung", f"no progress in {message.phase!r} for {patience.stall:.0f} seconds; it was ended"
                )
            on_message(message)
    finally:
        for task in (reading, exited, cancelled):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError, OSError, ProtocolError):
                    await task
        writer.close()


async def _read(reader: asyncio.StreamReader) -> JobMessage:
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    if length > LARGEST:
        raise ProtocolError(f"a message of {length} bytes was announced")
    body = bytearray()
    while len(body) < length:  # never allocated by a length that somebody claims
        piece = await reader.read(min(1 << 16, length - len(body)))
        if not piece:
            raise asyncio.IncompleteReadError(bytes(body), length)
        body += piece
    return message_from_json(unframe(bytes(body)))


class _Tail:
    """The last bytes of what a worker printed; the rest is read and dropped, so that its pipe is never full."""

    def __init__(self) -> None:
        self._bytes = b""

    async def drain(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while piece := await process.stdout.read(1 << 16):
            self._bytes = (self._bytes + piece)[-TAIL_BYTES:]

    def last_lines(self) -> str:
        """The last lines without anything a terminal would obey."""
        return last_lines(self._bytes)


def start_detached(job: Job, log: Path) -> int:
    """Start a worker that outlives us and prints into `log`; returns its process id. Raises JobFailedError, OSError."""
    from dataclasses import replace

    ours, theirs = socket.socketpair()
    log.parent.mkdir(parents=True, exist_ok=True)
    with ours, theirs, log.open("ab") as output:
        process = subprocess.Popen(
            worker_command(theirs.fileno()),
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=worker_environment(),
        )
        theirs.close()
        ours.sendall(frame(job_to_json(replace(job, options={**job.options, "detach": True}))))
        # it has the job when it answers for the first time; only then may our end go away
        ours.settimeout(HEARTBEAT_SECONDS)
        if not ours.recv(1):
            raise JobFailedError(f"the detached worker ended before it began; its words are in {log}")
    return process.pid
