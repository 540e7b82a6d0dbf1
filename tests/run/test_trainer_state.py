"""`trainer_state.json`: the whole history of the newest state, half-written files waited for, damage said."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from critictui.run import trainer_state
from critictui.run.source import Budget
from critictui.run.trainer_state import TrainerState, looks_like


def state(steps: int, most: int = 300) -> str:
    history = [
        {"epoch": s / 100, "loss": 0.7 - s / 1000, "grad_norm": 1.5, "step": s} for s in range(10, steps + 1, 10)
    ]
    return json.dumps({"global_step": steps, "max_steps": most, "num_train_epochs": 3, "log_history": history})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trainer_state.json"


def test_the_history_is_read_with_what_it_says_of_the_run(file: Path) -> None:
    file.write_text(state(200))
    reading = TrainerState(file, "trainer_state.json").poll(Budget())
    (scalars,) = reading.scalars
    assert set(scalars.tags) == {"epoch", "loss", "grad_norm"}
    loss = scalars.value[scalars.tag == scalars.tags.index("loss")]
    assert loss.tolist() == pytest.approx([0.7 - s / 1000 for s in range(10, 201, 10)])
    assert (reading.hints.total_steps, reading.hints.epoch_steps, reading.hints.finished) == (300, 100, False)
    assert not reading.reset


def test_a_new_state_replaces_the_old_one_and_an_equal_one_is_not_read(file: Path) -> None:
    file.write_text(state(200))
    source = TrainerState(file, "s")
    source.poll(Budget())
    assert source.poll(Budget()).scalars == ()
    other = file.with_suffix(".new")
    other.write_text(state(300))
    other.replace(file)
    reading = source.poll(Budget())
    assert reading.reset
    assert reading.scalars[0].step.max() == 300
    assert reading.hints.finished


def test_half_a_file_is_waited_for_and_then_read(file: Path) -> None:
    text = state(200)
    source = TrainerState(file, "s")
    for cut in (0, 1, len(text) // 2, len(text) - 1):
        file.write_text(text[:cut])
        reading = source.poll(Budget())
        assert (reading.scalars, reading.skipped) == ((), ())
        assert reading.facts.state == "waiting"
    file.write_text(text)
    assert len(source.poll(Budget()).scalars) == 1


def test_a_file_that_stays_broken_is_said_to_be(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(trainer_state.time, "monotonic", lambda: now[0])
    file.write_text("{")
    source = TrainerState(file, "s")
    source.poll(Budget())
    now[0] += 10
    reading = source.poll(Budget())
    assert reading.facts.state == "error"
    assert reading.skipped[0].reason == "damaged JSON"
    assert source.poll(Budget()).skipped == ()
    file.write_text(state(20))
    assert source.poll(Budget()).facts.state == "live"


def test_a_deleted_state_keeps_its_data_and_a_new_one_is_read(file: Path) -> None:
    file.write_text(state(20))
    source = TrainerState(file, "s")
    source.poll(Budget())
    file.unlink()
    reading = source.poll(Budget())
    assert reading.facts.state == "gone"
    assert not reading.reset
    file.write_text(state(30))
    assert source.poll(Budget()).scalars[0].step.max() == 30


@pytest.mark.parametrize(
    "text",
    ["[]", "1", '{"log_history": 5}', '{"log_history": [1, {"step": "x"}, {"step": 1.5}, {"loss": 1}]}', "[" * 50_000],
)
def test_anything_else_gives_nothing_and_raises_nothing(file: Path, text: str) -> None:
    file.write_text(text)
    assert TrainerState(file, "s").poll(Budget()).scalars == ()


def test_nan_and_null_in_the_history(file: Path) -> None:
    file.write_text('{"log_history": [{"step": 1, "loss": NaN, "x": null}]}')
    reading = TrainerState(file, "s").poll(Budget())
    assert math.isnan(reading.scalars[0].value[0])
    assert reading.skipped[0].records == 1


def test_it_is_known_by_its_name_and_its_first_character() -> None:
    assert looks_like(b'{"best_metric": null', "checkpoint-100/trainer_state.json")
    assert not looks_like(b"version https://git-lfs", "trainer_state.json")
    assert not looks_like(b"{}", "state.json")
