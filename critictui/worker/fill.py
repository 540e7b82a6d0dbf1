"""Pieces of files in, tensors out: parallel `pread` straight into preallocated memory, cast on the way where need be.

Never mmap: a checkpoint that is truncated meanwhile would be a SIGBUS instead of a message. Host memory is the
destination plus one buffer of `CHUNK` bytes a thread.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.checksum import Sealed, Seals, Strip, joined
from critictui.checkpoint.stored import ITEM_SIZE, Piece, StoredTensor
from critictui.checkpoint.weights import Weights, reading
from critictui.worker.checking import Checking
from critictui.worker.page_cache import forget, is_cold

CHUNK = 4 << 20
"""Bytes a read: large enough that a call costs nothing, small enough that the cast finds them in the cache."""
_ALIGN = 64


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """One tensor to be read and where to."""

    stored: StoredTensor
    target: Tensor


@dataclass(frozen=True, slots=True)
class _Run:
    """Contiguous in the file and in the (flattened) target."""

    fill: Fill
    file: int
    offset: int
    begin: int
    count: int


def allocate(sizes: Sequence[tuple[tuple[int, ...], torch.dtype]], device: torch.device) -> list[Tensor]:
    """Empty tensors of the given shapes and dtypes. On the host they share one block of huge pages where there are any.

    One block of 2 MiB pages costs a 500th of the page faults of many 4 KiB ones: half of the time of a load from the
    page cache. Raises MemoryError.
    """
    if device.type != "cpu":
        return [torch.empty(shape, dtype=dtype, device=device) for shape, dtype in sizes]
    offsets: list[int] = []
    total = 0
    for shape, dtype in sizes:
        offsets.append(total)
        total += -(-math.prod(shape) * dtype.itemsize // _ALIGN) * _ALIGN
    try:
        # private: Python's default is shared memory, which gets no huge pages
        block = mmap.mmap(-1, max(total, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"the host cannot give {total / 1e9:.1f} GB for the model") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them: slower, nothing else
            block.madvise(mmap.MADV_HUGEPAGE)
    flat = torch.frombuffer(block, dtype=torch.uint8)
    made: list[Tensor] = []
    for (shape, dtype), offset in zip(sizes, offsets, strict=True):
        size = math.prod(shape) * dtype.itemsize
        made.append(flat[offset : offset + size].view(dtype).view(shape))
    return made


def fill_tensors(
    weights: Weights,
    fills: Sequence[Fill],
    progress: Callable[[float], None],
    *,
    threads: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Checking:
    """Read every tensor into its target, which may have another floating dtype or lie on a GPU.

    stop: asked between chunks; once it says so, the rest is left unread.
    Raises CheckpointError where a file ends early, or a chunk holds values that are not finite or (in a matrix of the
    layers) nothing but zeros, or an entry read from the disk does not have its checksum. What this alone brings into
    the page cache is given up chunk by chunk. Returns the check of the checksums that is still to be waited for.
    """
    total = sum(fill.stored.nbytes for fill in fills) or 1
    runs = [run for fill in fills for run in _runs(fill)]
    on_gpu = any(fill.target.device.type == "cuda" for fill in fills)
    reader = (_GpuReader if on_gpu else _Reader)(weights, progress, total, stop)
    count = threads or max(1, min(8, os.cpu_count() or 1))
    lanes = _Lanes(runs, count)
    intra = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, "load", initializer=torch.set_num_threads, initargs=(1,))
    try:
        work = [pool.submit(reader.read_all, lanes.shares(number)) for number in range(count)]
        done, _ = wait(work, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    finally:
        reader.stopped = True
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(intra)
        for fd in reader.cold:  # what read-ahead brought, and pages that two chunks share
            forget(fd)
    reader.finish()
    progress(1.0)
    return Checking(reader.unchecked(), reader.cold)


def _runs(fill: Fill) -> Iterator[_Run]:
    for piece in fill.stored.pieces:
        yield from _piece_runs(fill, piece)


def _piece_runs(fill: Fill, piece: Piece) -> Iterator[_Run]:
    outer, length, inner = fill.stored.split(piece.dim)
    size = ITEM_SIZE[fill.stored.dtype]
    row = piece.length * inner
    step = CHUNK // size
    for block in range(outer):
        for at in range(0, row, step):
            count = min(step, row - at)
            begin = block * length * inner + piece.begin * inner + at
            yield _Run(fill, piece.file, piece.offset + (block * row + at) * size, begin, count)


class _Lanes:
    """What is to be read, a lane a thread: each goes through its own stretch of the files in their order, as disks and
    their read-ahead like it, and helps at the end of the longest other one when it is through."""

    def __init__(self, runs: Sequence[_Run], count: int) -> None:
        shares = list(_shares(sorted(runs, key=lambda run: (run.file, run.offset))))
        cuts = [len(shares) * number // count for number in range(count + 1)]
        self._lanes = [deque(shares[begin:end]) for begin, end in pairwise(cuts)]

    def shares(self, number: int) -> Iterator[list[_Run]]:
        """The shares of this lane, then those that others leave."""
        own = self._lanes[number]
        while True:
            with contextlib.suppress(IndexError):  # empty, or emptied by another thread this moment
                yield own.popleft()
                continue
            longest = max(self._lanes, key=len)
            if not longest:
                return
            with contextlib.suppress(IndexError):
                yield longest.pop()


def _shares(runs: Sequence[_Run]) -> Iterator[list[_Run]]:
    """Of about one chunk each, so that thousands of small tensors do not cost a turn each."""
    share: list[_Run] = []
    size = 0
    for run in runs:
        share.append(run)
        size += run.count * ITEM_SIZE[run.fill.stored.dtype]
        if size >= CHUNK:
            yield share
            share, size = [], 0
    if share:
        yield share


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the host."""
    return tensor.view(torch.uint8).numpy().data


class _Reader:
    """What the reading threads share: the files, the count of bytes, and a buffer for each of them."""

    _pinned = False

    def __init__(
        self, weights: Weights, progress: Callable[[float], None], total: int, stop: Callable[[], bool]
    ) -> None:
        self.stopped = False
        self.cold = frozenset(fd for fd in weights.fds if is_cold(fd))
        """Files that were not in the page cache before: what this brings in is given up again."""
        self._stop = stop
        self._weights = weights
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = threading.Lock()
        self._own = threading.local()
        self._seals = Seals(weights)
        self._strips: dict[Sealed, list[Strip]] = {}

    def read_all(self, shares: Iterator[list[_Run]]) -> None:
        for runs in shares:
            for run in runs:
                if self.stopped or self._stop():
                    return
                self._read(run)
            self._end_strip()
            with self._lock:
                self._done += sum(run.count * ITEM_SIZE[run.fill.stored.dtype] for run in runs)
                share = self._done / self._total
            self._progress(min(share, 1.0))

    def _read(self, run: _Run) -> None:
        stored = run.fill.stored
        target = run.fill.target.view(-1)[run.begin : run.begin + run.count]
        source = getattr(torch, stored.dtype)
        if target.dtype == source:
            self._pread(run, _bytes(target))
            _check(target, stored, self._weights)
            return
        loaded = self._own_buffer()[: run.count * source.itemsize]
        self._pread(run, _bytes(loaded))
        _check(loaded.view(source), stored, self._weights)
        target.copy_(loaded.view(source))

    def finish(self) -> None:
        """What is left to do when every run has been read."""

    def unchecked(self) -> list[Sealed]:
        """Entries that were read and whose checksums are not known yet.

        Raises CheckpointError where one that is known is not the entry's.
        """
        left: list[Sealed] = []
        for entry, strips in self._strips.items():
            crc = joined(entry, strips)
            if crc is None:
                left.append(entry)
            elif crc != entry.crc:
                raise entry.damaged()
        return left

    def _sum_up(self, run: _Run, data: memoryview) -> None:
        """Take the checksum of what came from the disk on, strip by strip; of the rest note that it was read."""
        fd = self._weights.fds[run.file]
        entry = self._seals.at(fd, run.offset)
        if entry is None:
            return
        if fd not in self.cold:
            self._strips.setdefault(entry, [])
            return
        own: tuple[Sealed, Strip] | None = getattr(self._own, "strip", None)
        if own is not None and own[0] == entry and own[1].begin + own[1].length == run.offset:
            before = own[1]
            strip = Strip(before.begin, before.length + len(data), zlib.crc32(data, before.crc))
        else:
            self._end_strip()
            strip = Strip(run.offset, len(data), zlib.crc32(data))
        self._own.strip = (entry, strip)

    def _end_strip(self) -> None:
        own: tuple[Sealed, Strip] | None = getattr(self._own, "strip", None)
        if own is not None:
            with self._lock:
                self._strips.setdefault(own[0], []).append(own[1])
            self._own.strip = None

    def _own_buffer(self) -> Tensor:
        buffer: Tensor | None = getattr(self._own, "buffer", None)
        if buffer is None:
            buffer = self._own.buffer = torch.empty(CHUNK, dtype=torch.uint8, pin_memory=self._pinned)
        return buffer

    def _pread(self, run: _Run, into: memoryview) -> None:
        path = self._weights.files[run.file]
        at = 0
        with reading(path):
            while at < len(into):
                got = os.preadv(self._weights.fds[run.file], [into[at:]], run.offset + at)
                if got == 0:
                    raise CheckpointError(f"{path}: cut short in {run.fill.stored.name}; copy the file again")
                at += got
        self._sum_up(run, into)
        if self._weights.fds[run.file] in self.cold:
            forget(self._weights.fds[run.file], run.offset, len(into))


class _GpuReader(_Reader):
    """The same with targets on a GPU: a stream and a pinned buffer a thread; the GPU casts and adds up.

    Each chunk's sum stays on the GPU until all are there: only a sum that looks wrong costs a second look.
    """

    _pinned = True

    def __init__(
        self, weights: Weights, progress: Callable[[float], None], total: int, stop: Callable[[], bool]
    ) -> None:
        super().__init__(weights, progress, total, stop)
        self._sums: list[tuple[_Run, Tensor]] = []

    def _read(self, run: _Run) -> None:
        source = getattr(torch, run.fill.stored.dtype)
        target = run.fill.target.view(-1)[run.begin : run.begin + run.count]
        loaded = self._own_buffer()[: run.count * source.itemsize]
        self._pread(run, _bytes(loaded))
        stream = self._stream(target.device)
        with torch.cuda.stream(stream):
            if target.dtype == source:
                arrived = target.copy_(loaded.view(source), non_blocking=True)
            else:  # cast on the GPU: a copy that casts would do it on the host first
                arrived = loaded.to(target.device, non_blocking=True).view(source)
                target.copy_(arrived)
            if source.is_floating_point:
                self._sums.append((run, arrived.sum(dtype=torch.promote_types(source, torch.float32))))
            stream.synchronize()  # the buffer is used again

    def finish(self) -> None:
        """Look again at every chunk whose sum is 0 or not finite. Raises CheckpointError."""
        if not self._sums:
            return
        sums = torch.stack([total.double() for _, total in self._sums]).cpu()
        for at in torch.nonzero(~sums.isfinite() | (sums == 0)).flatten().tolist():
            run = self._sums[at][0]
            chunk = run.fill.target.view(-1)[run.begin : run.begin + run.count]
            _check(chunk, run.fill.stored, self._weights)

    def _stream(self, device: torch.device) -> torch.cuda.Stream:
        stream: torch.cuda.Stream | None = getattr(self._own, "stream", None)
        if stream is None:
            stream = self._own.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        return stream


def _check(chunk: Tensor, stored: StoredTensor, weights: Weights) -> None:
    """Non-finite values and holes of NULs, from one sum over what the cache still holds (20 GB/s and more)."""
    if not chunk.is_floating_point() or chunk.numel() == 0:
        return
    total = float(chunk.sum(dtype=torch.float64 if chunk.dtype == torch.float64 else torch.float32))
    if not math.isfinite(total) and not bool(chunk.isfinite().all()):
        bad = int((~chunk.isfinite()).sum())
        raise CheckpointError(f"{weights.path}: {stored.name}: {bad} values are not finite; the weights are damaged")
    matrix = len(stored.shape) >= 2 and "embed" not in stored.name and chunk.numel() >= 1024
    if total == 0 and matrix and not bool(chunk.any()):
        raise CheckpointError(
            f"{weights.path}: {stored.name}: {chunk.numel()} values in a row are 0; the weights are damaged"
        )
