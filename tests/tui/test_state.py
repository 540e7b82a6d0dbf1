"""What the screen remembers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from critictui.tui.state import ScreenState, load_state, save_state, state_path


def test_what_was_saved_is_restored(tmp_path: Path) -> None:
    state = ScreenState(theme="critic-light", pins=("critic/lr", "actor/[x]"), smoothing=0.5, x_mode="wall", log_y=True)
    path = tmp_path / "a" / "state.json"
    assert save_state(path, state) == ""
    assert load_state(path) == (state, "")
    assert [p.name for p in path.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "42", '{"schema": 99}', "[" * 5000, '{"schema": 1'])
def test_a_malformed_file_is_left_alone_and_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    state, notice = load_state(path)
    assert state == ScreenState()
    assert str(path) in notice
    assert save_state(path, ScreenState(log_y=True)) != ""
    assert path.read_text() == text


def test_a_bad_value_costs_that_value_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    raw = {
        "schema": 1,
        "theme": 7,
        "pins": ["ok", 3, "", "ok", None],
        "smoothing": 1e300,
        "x_mode": "sideways",
        "log_y": 1,
    }
    path.write_text(json.dumps({**raw, "show_band": False, "filter": "x" * 9999}))
    state, notice = load_state(path)
    assert notice == ""
    assert state == ScreenState(pins=("ok",), smoothing=0.999, show_band=False)


def test_a_directory_that_cannot_be_written_is_said_and_no_more(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "not kept" in save_state(blocked / "state.json", ScreenState()) or "not read" in save_state(
        blocked / "state.json", ScreenState()
    )


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with path.open("wb") as file:
        file.truncate(3 << 20)
    assert load_state(path) == (ScreenState(), f"{path}: larger than 1 MiB, not a screen's state; it is left alone")


def test_two_names_of_one_directory_share_a_state(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert state_path(tmp_path / "link") == state_path(tmp_path / "run") != state_path(tmp_path)
