"""Going back to a mark of the rules brings back what was known then, also from a later session."""

from __future__ import annotations

import numpy as np

from critictui.config import Config
from critictui.health.history import Row
from critictui.health.judge import Machine
from critictui.run import metrics as m


def rows(last: int, restart: int) -> list[Row]:
    """A row a step, of a second session from `restart` on."""
    noise = np.random.default_rng(3).normal(0, 0.02, (last + 1, 3))
    return [
        Row((int(step >= restart), step), {
            m.D_ACC: 0.75 + noise[step, 0], m.SCORE_DIFF: 3 + noise[step, 1], m.D_LOSS: 0.5 + noise[step, 2],
        })
        for step in range(1, last + 1)
    ]  # fmt: skip


def test_a_machine_that_went_back_into_an_earlier_session_knows_what_it_knew_there() -> None:
    every = rows(200, restart=190)
    machine = Machine(Config())
    for row in every:
        machine.play([row], ())
    assert machine.context.known, "the second session goes on with the noise of the first"
    back = machine.rewind((0, 189))
    assert back[0] == 0
    fresh = Machine(Config())
    fresh.play([row for row in every if row.key <= back], ())
    assert machine.context.known == fresh.context.known == {}
    assert {name: level.baseline for name, level in machine.context.levels.items()} == {
        name: level.baseline for name, level in fresh.context.levels.items()
    }
