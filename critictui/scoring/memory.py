"""Whether a device has room for a score beside training: readings and a need in, a yes or no with numbers out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from critictui.scoring.host_memory import HostReading, read_host
from critictui.scoring.recipe import ScoringError

GIB = 1 << 30
HEAD_ROOM = 4 * GIB
"""What is left free beside us for training's fragments and NCCL's buffers."""
CONTEXT = GIB
"""CUDA's own context and cuBLAS workspaces."""
ACTIVATIONS = 4 * GIB
"""At least this much for packed rows; more is used where it is free."""
HOST_RUNTIME = GIB // 2
"""Python, torch and transformers: 0.36 GiB resident were measured after their import."""
HOST_ACTIVATIONS = 2 * GIB
"""At most this much for a row of 4,096 tokens on the CPU: 1.7 GiB for a 7B, by the worker's own estimate a token. A
small critic takes less, at most a quarter of its weights."""
HOST_HEAD_ROOM = 4 * GIB
"""What is left free on the host for training's data loaders and the page cache; on a small machine a tenth of it."""
CPU_RATE = 25e9
"""Floating point operations a second and core in single precision; a server core does that on large matrices."""
START_SECONDS = 5.0
"""From the order to the first byte of weights: Python, torch and transformers. 4.6 s of processor time were measured on
two shared cores, 4 to 8 s by the clock."""
LOAD_RATE = 0.5e9
"""Bytes of weights a second: 0.2 to 0.4e9 were measured on a virtual machine that touches memory for the first time, a
server's page cache gives more, a network disk about this."""
_SIZES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "auto": 2}


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU at one moment, bytes."""

    index: int
    name: str
    total: int
    free: int
    processes: int | None
    """How many processes compute on it; None when the driver does not tell (another container's are not seen)."""
    peak: int | None = None
    """The most that was ever in use while we watched, over at least one training step; None when nobody watched."""

    @property
    def used(self) -> int:
        """What is in use now."""
        return self.total - self.free


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that scoring takes: on a GPU, or in the host's memory where the CPU does it."""

    gpu: int
    host: int


@dataclass(frozen=True, slots=True)
class Room:
    """The judgement on one device: whether to go there, and the sentence that says why."""

    ok: bool
    message: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a job goes: `cuda:1`, `cpu`, or nowhere (empty), and why."""

    device: str
    message: str


def need_of(parameters: int, dtype: str = "auto") -> Need:
    """Weights in their precision (`auto`: half on a GPU, single on the CPU), a few rows of activations, the runtime."""
    on_gpu = parameters * _SIZES.get(dtype, 4)
    on_host = parameters * (4 if dtype == "auto" else _SIZES.get(dtype, 4))
    return Need(on_gpu + ACTIVATIONS + CONTEXT, on_host + min(HOST_ACTIVATIONS, on_host // 4) + HOST_RUNTIME)


def judge_host(reading: HostReading | None, need: int) -> Room:
    """Whether `need` bytes of the host's memory may be taken: the kernel ends training as readily as it ends us."""
    if reading is None:
        return Room(True, f"needs {_gib(need)}; how much is free on this machine is not known")
    head_room = min(HOST_HEAD_ROOM, reading.total // 10)
    where = f" (limit of the {reading.limit})" if reading.limit else ""
    numbers = (
        f"the CPU needs {_gib(need)} + {_gib(head_room)} head-room, "
        f"free {_gib(reading.free)} of {_gib(reading.total)}{where}"
    )
    if reading.free - need < head_room:
        return Room(False, f"{numbers}: refused, this machine could run out of memory")
    return Room(True, f"{numbers}: there is room")


def judge(reading: GpuReading, need: int, *, share: bool = False) -> Room:
    """Whether `need` bytes may be taken from a GPU.

    Training that shares it must never run out of memory because of us: its use moves by tens of GiB between phases
    (rollout, update, a sleeping vLLM), so what is free now proves nothing. A GPU in use is refused unless its highest
    use is known; `share` takes the risk on the user's word, against the present use.
    """
    where = f"GPU {reading.index}"
    busy = reading.processes != 0 or reading.used > 2 * GIB
    highest = max(reading.used, reading.peak) if reading.peak is not None else reading.used
    left = reading.total - highest - need
    numbers = (
        f"{where} needs {_gib(need)} + {_gib(HEAD_ROOM)} head-room, free {_gib(reading.free)} of {_gib(reading.total)}"
    )
    if left < HEAD_ROOM:
        return Room(False, f"{numbers}: refused, training could run out of memory")
    if busy and reading.peak is None and not share:
        return Room(False, f"{numbers}: refused, the GPU is in use and its highest use is not known")
    return Room(True, f"{numbers}: there is room")


def refuse_unknown(device: str) -> None:
    """Raise ScoringError for a device that does not exist here; whether it has room is another question."""
    if device not in {"auto", "cpu"} and not any(reading.index == _index(device) for reading in read_gpus()):
        raise ScoringError(f"device {device!r:.40}: no such GPU is visible; use --device cpu or auto")


def place(
    device: str,
    readings: Sequence[GpuReading],
    need: Need,
    *,
    share: bool = False,
    host: HostReading | None = None,
) -> Placement:
    """The device for a job: the one asked for, or with `auto` the GPU with most room, else the CPU if that has room.

    host: the host's memory; read now where it is not given.
    """
    if device == "cpu":
        return _on_cpu("on the CPU, as asked", need, host)
    if device == "auto":
        judged = [(reading.free, reading.index, judge(reading, need.gpu, share=share)) for reading in readings]
        fit = [entry for entry in judged if entry[2].ok]
        if fit:
            _, index, room = max(fit, key=lambda entry: (entry[0], -entry[1]))
            return Placement(f"cuda:{index}", room.message)
        why = "; ".join(room.message for _, _, room in judged) if judged else "no GPU is visible"
        return _on_cpu(f"on the CPU: {why}", need, host)
    index = _index(device)
    reading = next((r for r in readings if r.index == index), None)
    if reading is None:
        return Placement("", f"device {device!r:.40}: no such GPU is visible; use --device cpu or auto")
    room = judge(reading, need.gpu, share=share)
    return Placement(f"cuda:{index}" if room.ok else "", room.message)


def _on_cpu(why: str, need: Need, host: HostReading | None) -> Placement:
    room = judge_host(host if host is not None else read_host(), need.host)
    return Placement("cpu" if room.ok else "", f"{why}; {room.message}")


def _index(device: str) -> int:
    _, _, number = device.partition(":")
    return int(number) if number.isdigit() else (0 if device == "cuda" else -1)


def read_gpus() -> tuple[GpuReading, ...]:
    """Every GPU that this process may use, through NVML; none where there is no driver. Never raises.

    `CUDA_VISIBLE_DEVICES` is honoured where it lists numbers; the worker numbers devices as it does.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001  (no NVML, no driver, a driver that mismatches: each raises its own)
        return ()
    readings: list[GpuReading] = []
    try:
        for place_, index in enumerate(_visible(pynvml.nvmlDeviceGetCount())):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            name = pynvml.nvmlDeviceGetName(handle)
            try:
                processes: int | None = len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
            except pynvml.NVMLError:
                processes = None
            text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
            readings.append(GpuReading(place_, text, int(memory.total), int(memory.free), processes))
    except Exception:  # noqa: BLE001  (a GPU that fell off the bus raises what it likes)
        return ()
    return tuple(readings)


def _visible(count: int) -> list[int]:
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return list(range(count))
    numbers = [part.strip() for part in listed.split(",") if part.strip()]
    if not all(part.isdigit() and int(part) < count for part in numbers):
        return []  # MIG or UUIDs: not told apart here, so nothing is claimed about them
    return [int(part) for part in numbers]


def cpu_seconds(parameters: int, tokens: int, cores: int | None = None) -> float:
    """A rough time for `tokens` on the CPU: two operations a weight and token."""
    available = cores or len(os.sched_getaffinity(0))
    return 2.0 * parameters * tokens / (CPU_RATE * available)


def start_seconds(size: int) -> float:
    """A rough time until the first token is computed: the worker starts and loads `size` bytes of weights."""
    return START_SECONDS + size / LOAD_RATE


def _gib(amount: int) -> str:
    return f"{amount / GIB:.1f} GiB"
