"""Columns keep what was put into them through every move, and views that were taken before it."""

from __future__ import annotations

import numpy as np
import pytest

from critictui.run import columns
from critictui.run.columns import Columns


def numbers(first: int, count: int) -> tuple[np.ndarray, ...]:
    step = np.arange(first, first + count)
    return step, step * 0.5, -step.astype(np.float64), step * 7


@pytest.mark.parametrize("full", [False, True], ids=["pages", "no page left"])
def test_rows_stay_through_every_move(full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if full:

        def refuse(*args: object, **kwargs: object) -> None:
            raise OSError(12, "Cannot allocate memory")

        monkeypatch.setattr(columns.mmap, "mmap", refuse)
    rows = Columns()
    views = []
    for first in range(0, 30_000, 250):
        rows.append(*numbers(first, 249))
        rows.append_one(first + 249, (first + 249) * 0.5, -(first + 249.0), (first + 249) * 7)
        views.append((rows.step, rows.wall, rows.value, rows.position))
    for number, view in enumerate(views, 1):
        for got, wanted in zip(view, numbers(0, 250 * number), strict=True):
            np.testing.assert_array_equal(got, wanted)
            with pytest.raises(ValueError, match="read-only"):
                got[0] = 1


def test_no_time_takes_no_room_until_a_row_has_one() -> None:
    rows = Columns()
    step, _, value, position = numbers(0, 5000)
    rows.append(step, np.full(5000, np.nan), value, position)
    assert rows.wall.strides == (0,)
    before = rows.wall
    rows.append_one(5000, 7.5, 1.0, 35_000)
    rows.append_one(5001, np.nan, 1.0, 35_007)
    assert np.isnan(before).all()
    assert len(before) == 5000
    np.testing.assert_array_equal(rows.wall, [*[np.nan] * 5000, 7.5, np.nan])
    rows.append(step[:2], np.array([np.nan, 9.0]), value[:2], position[:2])
    np.testing.assert_array_equal(rows.wall[-4:], [7.5, np.nan, np.nan, 9.0])


@pytest.mark.parametrize("one", [False, True], ids=["many rows", "one row"])
@pytest.mark.parametrize("far", [2**31 - 2, 2**31 - 1, 2**31, 2**40])
def test_a_position_beyond_two_gigabytes_is_kept(far: int, one: bool) -> None:
    rows = Columns()
    rows.append(*numbers(0, 3))
    before = rows.position
    if one:
        rows.append_one(3, 0.0, 0.0, far)
    else:
        rows.append(*(column[:1] for column in numbers(3, 1)[:3]), np.array([far]))
    rows.append_one(4, 0.0, 0.0, far + 7)
    assert rows.position.tolist() == [0, 7, 14, far, far + 7]
    assert rows.last_position == far + 7
    assert before.tolist() == [0, 7, 14]


def test_a_life_that_begins_beyond_two_gigabytes_cuts_only_what_lies_behind_it() -> None:
    from critictui.run.streams import Rows, Stream

    stream = Stream("a.log", "1", "log", starts=(14, 2**31 - 1, 2**33))
    early, late = Rows(), Rows()
    for position in (0, 14):
        early.add_one(position, 0.0, 0.0, position)
    for position in (2**31 - 1, 2**33):
        late.add_one(position, 0.0, 0.0, position)
    stream.rows.update(early=early, late=late)
    assert [(life, part) for life, _, part in stream.pieces("early")] == [(0, slice(0, 1)), (1, slice(1, 2))]
    assert [(life, part) for life, _, part in stream.pieces("late")] == [(2, slice(0, 1)), (3, slice(1, 2))]
