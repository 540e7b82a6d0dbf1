"""The side thread looks where checkpoints are expected, and walks a large tree seldom."""

from __future__ import annotations

from pathlib import Path

import pytest

from critictui.checkpoint import find
from critictui.monitor import side


class Clock:
    """Time that passes when it is told to; a walk costs a second of it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.walks = 0

    def monotonic(self) -> float:
        return self.now

    def walk(self, run_dir: Path, *, previous: object) -> list[object]:
        del run_dir, previous
        self.walks += 1
        self.now += 1.0
        return []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Clock:
    clock = Clock()
    monkeypatch.setattr(side, "time", clock)
    monkeypatch.setattr(find, "find_checkpoints", clock.walk)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    return clock


def walks_within(looked: side._Looked, clock: Clock, seconds: int) -> int:
    before = clock.walks
    for _ in range(seconds):
        clock.now += 1.0
        looked.look()
    return clock.walks - before


def test_a_walk_of_a_second_is_repeated_every_five_minutes_while_no_directory_changes(
    clock: Clock, tmp_path: Path
) -> None:
    looked = side._Looked(tmp_path)
    looked.look()
    assert walks_within(looked, clock, 290) == 0
    assert walks_within(looked, clock, 20) == 1


@pytest.mark.parametrize("place", ["global_step_10", "checkpoints/global_step_10"])
def test_a_new_directory_where_checkpoints_are_expected_is_walked_to_soon(
    clock: Clock, tmp_path: Path, place: str
) -> None:
    (tmp_path / "checkpoints").mkdir()
    looked = side._Looked(tmp_path)
    looked.look()
    (tmp_path / place).mkdir()
    assert walks_within(looked, clock, 25) == 1
    assert walks_within(looked, clock, 200) == 0
