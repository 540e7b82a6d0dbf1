"""A GPU is used only where training cannot run out of memory because of it, and the numbers are said."""

from __future__ import annotations

import pytest

from critictui.scoring import memory
from critictui.scoring.memory import GIB, GpuReading, judge, need_bytes, place


def gpu(index: int = 0, free: float = 140, processes: int | None = 0, peak: float | None = None) -> GpuReading:
    most = None if peak is None else int(peak * GIB)
    return GpuReading(index, "H200", 141 * GIB, int(free * GIB), processes, most)


NEED = need_bytes(7_000_000_000)


def test_the_need_is_weights_and_activations_in_their_precision() -> None:
    assert NEED == 14_000_000_000 + 5 * GIB
    assert need_bytes(7_000_000_000, "float32") == 28_000_000_000 + 5 * GIB


def test_an_idle_gpu_has_room() -> None:
    room = judge(gpu(), NEED)
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
def test_a_gpu_in_use_is_refused_unless_its_highest_use_leaves_room(reading: GpuReading, ok: bool, said: str) -> None:
    room = judge(reading, NEED)
    assert room.ok == ok
    assert said in room.message


def test_the_user_can_take_the_risk_but_not_beyond_what_is_free() -> None:
    assert judge(gpu(free=60, processes=1), NEED, share=True).ok
    assert not judge(gpu(free=20, processes=1), NEED, share=True).ok


def test_auto_takes_the_gpu_with_most_room_else_the_cpu_with_a_word() -> None:
    readings = (gpu(0, 100, 1), gpu(1, 139), gpu(2, 140))
    assert place("auto", readings, NEED).device == "cuda:2"
    busy = place("auto", readings[:1], NEED)
    assert busy.device == "cpu"
    assert "GPU 0 needs" in busy.message
    assert place("auto", (), NEED).message == "on the CPU: no GPU is visible"
    assert place("cpu", readings, NEED).device == "cpu"


def test_a_gpu_that_was_asked_for_is_refused_with_its_numbers() -> None:
    refused = place("cuda:0", (gpu(0, 20, 1),), NEED)
    assert refused.device == ""
    assert "free 20.0 GiB" in refused.message
    assert place("cuda", (gpu(),), NEED).device == "cuda:0"
    assert "no such GPU" in place("cuda:3", (gpu(),), NEED).message


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
