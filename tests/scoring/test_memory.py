"""A GPU is used only where training cannot run out of memory because of it, and the numbers are said."""

from __future__ import annotations

from pathlib import Path

import pytest

from critictui.scoring import memory
from critictui.scoring.host_memory import HostReading, read_host
from critictui.scoring.memory import GIB, GpuReading, judge, need_of, place


def gpu(index: int = 0, free: float = 140, processes: int | None = 0, peak: float | None = None) -> GpuReading:
    most = None if peak is None else int(peak * GIB)
    return GpuReading(index, "H200", 141 * GIB, int(free * GIB), processes, most)


NEED = need_of(7_000_000_000)
ROOMY = HostReading(256 * GIB, 200 * GIB)


def test_the_need_is_weights_and_activations_in_their_precision() -> None:
    assert NEED.gpu == 14_000_000_000 + 5 * GIB
    assert NEED.host == 28_000_000_000 + 5 * GIB // 2  # the CPU computes in single precision
    assert need_of(7_000_000_000, "float32").gpu == 28_000_000_000 + 5 * GIB
    assert need_of(7_000_000_000, "bfloat16").host == 14_000_000_000 + 5 * GIB // 2


def test_an_idle_gpu_has_room() -> None:
    room = judge(gpu(), NEED.gpu)
    assert room.ok
    assert "needs 18.0 GiB + 4.0 GiB head-room, free 140.0 GiB of 141.0 GiB" in room.message


@pytest.mark.parametrize(
    ("reading", "ok", "said"),
    [
        (gpu(free=10, processes=1), False, "training could run out of memory"),
        (gpu(free=100, processes=1), False, "highest use is not known"),
        (gpu(free=100, processes=None), False, "highest use is not known"),
        (gpu(free=100, processes=0), False, "highest use is not known"),  # another container's processes are not seen
        (gpu(free=100, processes=1, peak=110), True, "there is room"),
        (gpu(free=100, processes=1, peak=120), False, "training could run out of memory"),
        (gpu(free=100, processes=1, peak=10), True, "there is room"),  # what is used now counts, if it is more
    ],
)
@pytest.mark.fault("W02")
def test_a_gpu_in_use_is_refused_unless_its_highest_use_leaves_room(reading: GpuReading, ok: bool, said: str) -> None:
    room = judge(reading, NEED.gpu)
    assert room.ok == ok
    assert said in room.message


@pytest.mark.fault("W02")
def test_the_user_can_take_the_risk_but_not_beyond_what_is_free() -> None:
    assert judge(gpu(free=60, processes=1), NEED.gpu, share=True).ok
    assert not judge(gpu(free=20, processes=1), NEED.gpu, share=True).ok


def test_auto_takes_the_gpu_with_most_room_else_the_cpu_with_a_word() -> None:
    readings = (gpu(0, 100, 1), gpu(1, 139), gpu(2, 140))
    assert place("auto", readings, NEED).device == "cuda:2"
    busy = place("auto", readings[:1], NEED, host=ROOMY)
    assert busy.device == "cpu"
    assert "GPU 0 needs" in busy.message
    assert place("auto", (), NEED, host=ROOMY).message.startswith(
        "on the CPU: no GPU is visible; the CPU needs 28.6 GiB"
    )
    assert place("cpu", readings, NEED, host=ROOMY).device == "cpu"


@pytest.mark.fault("W07")
def test_the_cpu_is_refused_with_the_numbers_where_the_host_has_no_room() -> None:
    short = HostReading(64 * GIB, 30 * GIB)
    for device, readings in (("auto", (gpu(free=10, processes=1),)), ("auto", ()), ("cpu", (gpu(),))):
        refused = place(device, readings, NEED, host=short)
        assert refused.device == ""
        assert "needs 28.6 GiB + 4.0 GiB head-room, free 30.0 GiB of 64.0 GiB: refused" in refused.message
    assert place("cpu", (), need_of(100_000_000), host=short).device == "cpu"
    tiny = HostReading(2 * GIB, int(1.8 * GIB))  # a small machine keeps a tenth of itself
    assert place("cpu", (), need_of(100_000), host=tiny).device == "cpu"
    assert place("cpu", (), need_of(300_000_000), host=tiny).device == ""


def a_host(root: Path, groups: str, files: dict[str, str]) -> HostReading | None:
    """The reading of a /proc and a /sys/fs/cgroup that say this."""
    files = {"proc/meminfo": "MemTotal: 67108864 kB\nMemAvailable: 52428800 kB\n", "proc/self/cgroup": groups, **files}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_host(root / "proc", root / "cgroup")


def test_the_hosts_memory_is_what_the_kernel_says_is_available(tmp_path: Path) -> None:
    assert a_host(tmp_path, "0::/\n", {"cgroup/memory.max": "max\n"}) == HostReading(64 * GIB, 50 * GIB)
    assert read_host(tmp_path / "none", tmp_path / "none") is None
    assert place("cpu", (), NEED, host=read_host()).message  # this machine's own reading is one, too


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        (
            "0::/slurm/job_1\n",  # the job's limit lies above its own step
            {
                "cgroup/slurm/memory.max": f"{16 * GIB}\n",
                "cgroup/slurm/memory.current": f"{10 * GIB}\n",
                "cgroup/slurm/memory.stat": f"anon 7\nactive_file {GIB}\ninactive_file {GIB}\n",
            },
        ),
        (
            "5:cpu:/\n4:memory:/away/in/another/place\n0::/\n",
            {
                "cgroup/memory/memory.limit_in_bytes": f"{16 * GIB}\n",
                "cgroup/memory/memory.usage_in_bytes": f"{9 * GIB}\n",
                "cgroup/memory/memory.stat": f"total_inactive_file {GIB}\ninactive_file 0\n",
            },
        ),
    ],
)
def test_a_lower_limit_of_the_control_group_counts_without_its_page_cache(
    tmp_path: Path, groups: str, files: dict[str, str]
) -> None:
    found = a_host(tmp_path, groups, files)
    assert found == HostReading(16 * GIB, 8 * GIB, "control group")
    assert (
        "free 8.0 GiB of 16.0 GiB (limit of the control group): refused" in place("auto", (), NEED, host=found).message
    )


def test_a_gpu_that_was_asked_for_is_refused_with_its_numbers() -> None:
    refused = place("cuda:0", (gpu(0, 20, 1),), NEED)
    assert refused.device == ""
    assert "free 20.0 GiB" in refused.message
    assert place("cuda", (gpu(),), NEED).device == "cuda:0"
    assert "no such GPU" in place("cuda:3", (gpu(),), NEED).message


@pytest.mark.fault("W01")
def test_without_a_driver_there_is_no_gpu() -> None:
    assert all(isinstance(reading, GpuReading) for reading in memory.read_gpus())


def test_visible_devices_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for listed, expected in (("1,0", [1, 0]), ("", []), ("GPU-abc", []), ("7", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
        assert memory._visible(2) == expected
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert memory._visible(2) == [0, 1]


def test_a_time_on_the_cpu_grows_with_weights_and_tokens() -> None:
    assert memory.cpu_seconds(1_000_000_000, 10_000, cores=4) == pytest.approx(200)


def test_the_time_until_the_first_token_is_the_start_and_the_load() -> None:
    assert memory.start_seconds(0) == memory.START_SECONDS
    assert memory.start_seconds(14_000_000_000) == pytest.approx(memory.START_SECONDS + 28)
