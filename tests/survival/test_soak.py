"""Days of watching, compressed: what the app holds levels off. `make soak` is the long form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.soak import Held, faults, soak

LONG = bool(os.environ.get("CRITICTUI_LONG"))


@pytest.mark.fault("S10")
@pytest.mark.slow
def test_what_a_long_watch_holds_levels_off(tmp_path: Path) -> None:
    points, lines, rounds = (5_000_000, 10_000_000, 40) if LONG else (60_000, 200_000, 9)
    assert faults(soak(points, lines, tmp_path, rounds)) == []


def test_each_kind_of_growth_is_seen() -> None:
    level = [Held(n * 1000, n, 100 << 20, 9, 20, 12, 30, 0) for n in range(12)]
    assert faults(level) == []
    for field, by in (("memory", 8 << 20), ("threads", 1), ("descriptors", 1), ("tasks", 3), ("widgets", 3)):
        leaking = [Held(**{**_fields(h), field: getattr(h, field) + n * by}) for n, h in enumerate(level)]
        assert len(faults(leaking)) == 1, field
    assert faults([*level[:-1], Held(**{**_fields(level[-1]), "errors": 2})]) == ["2 errors"]


def _fields(held: Held) -> dict[str, int]:
    return {name: getattr(held, name) for name in Held.__slots__}
