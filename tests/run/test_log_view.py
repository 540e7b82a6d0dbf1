"""The log pane's reader: every line once, paging both ways, search that agrees with a plain one, safe text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critictui.run import log_view
from critictui.run.log_view import LogView, shown
from critictui.run.source import RunError
from critictui.run.text import LINE_LIMIT, sanitise


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "train.log"
    path.write_text("".join(f"line {i} {'x' * (i % 97)}\n" for i in range(5000)))
    return path


def test_the_tail_is_the_last_lines(log: Path) -> None:
    page = LogView(log).tail(3)
    assert [line.split()[1] for line in page.lines] == ["4997", "4998", "4999"]
    assert page.end == page.size == log.stat().st_size


def test_paging_up_and_down_shows_every_line_once(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_view, "_CHUNK", 1000)
    view, expected = LogView(log), log.read_text().split("\n")[:-1]
    up: list[str] = []
    page = view.tail(37)
    while page.lines:
        up[:0] = page.lines
        page = view.tail(37, before=page.start)
    assert [line.rstrip() for line in up] == [line.rstrip() for line in expected]
    down: list[str] = []
    page = view.page(41, after=0)
    while page.lines:
        down += page.lines
        page = view.page(41, after=page.end)
    assert down == up


@pytest.mark.fault("L07")
def test_a_last_line_without_newline_is_shown(log: Path) -> None:
    with log.open("a") as file:
        file.write("not yet whole")
    assert LogView(log).tail(2).lines[-1] == "not yet whole"
    assert LogView(log).page(10, after=log.stat().st_size - 13).lines == ("not yet whole",)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60_000), st.sampled_from(["line 4[0-9]99", "LINE", "line 12 ", "(unclosed", "x{96}", "absent"]))
def test_search_finds_what_a_plain_search_finds(
    tmp_path_factory: pytest.TempPathFactory, at: int, pattern: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "search.log"
    if not path.exists():
        path.write_text("".join(f"line {i} {'x' * (i % 97)} (unclosed\n" for i in range(1500)))
    data = path.read_bytes()
    at = data.rfind(b"\n", 0, min(at, len(data))) + 1
    flags = 0 if pattern.lower() != pattern else re.IGNORECASE
    plain = re.compile(re.escape(pattern).encode() if pattern.startswith("(") else pattern.encode(), flags)
    after = plain.search(data, at)
    hit = LogView(path).search(pattern, after=at)
    assert hit.offset == (None if after is None else data.rfind(b"\n", 0, after.start()) + 1)
    earlier = [data.rfind(b"\n", 0, m.start()) + 1 for m in plain.finditer(data[:at])]
    assert LogView(path).search(pattern, before=at).offset == (earlier[-1] if earlier else None)


def test_a_search_stops_at_its_limit_and_goes_on_from_there(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_view, "_CHUNK", 4096)
    view, reached, rounds = LogView(log), 0, 0
    while (hit := view.search("line 4999", after=reached, limit=10_000)).offset is None:
        assert hit.reached > reached
        reached, rounds = hit.reached, rounds + 1
    assert rounds > 5
    assert hit.line.startswith("line 4999")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"\x1b[31mred\x1b[0m\r", "red"),
        (b"10%|\r20%|\r30%| 3/10", "30%| 3/10"),
        (b"\x1b[36m(A pid=1)\x1b[0m \rbar 30%| 3/10", "(A pid=1) bar 30%| 3/10"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("a\u202eb".encode(), "a\\u202eb"),
        ("a\u2028b\x85c".encode(), "a\\u2028b\\x85c"),
    ],
)
@pytest.mark.fault("L07")
def test_a_line_is_shown_safely_in_its_last_state(line: bytes, text: str) -> None:
    assert shown(line) == text


@pytest.mark.fault("L09")
def test_a_line_of_20_megabytes_costs_one_look_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "wide.log"
    path.write_bytes(b"first\n" + b"\xe4\xb8\xad" * 2_000_000)
    page = LogView(path).page(2, after=0)
    assert page.lines[0] == "first"
    for line in LogView(path).tail(5).lines:
        assert len(line) <= LINE_LIMIT
    assert "…+" in shown(b"x" * 20_000_000)


@pytest.mark.parametrize("size", [16_385, 66_000, 3_000_000, 20_000_000])
@pytest.mark.fault("L09")
def test_a_line_that_was_cut_is_no_longer_than_a_line_may_be_and_counts_what_is_missing(size: int) -> None:
    line = shown(b"x" * size)
    kept, _, missing = line.partition("…+")
    assert len(kept) + int(missing) == size
    assert sanitise(line) == line


def test_a_log_that_is_gone_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be shown"):
        LogView(tmp_path / "absent.log").tail(5)
