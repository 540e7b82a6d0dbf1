"""Logs and JSONL of every kind of damage and spite: nothing invented, every loss counted, buffers bounded."""

from __future__ import annotations

import json
import random
import resource
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from critictui.config import Config
from critictui.demo.tfrecord import scalar_record
from critictui.run.facts import RunSnapshot
from critictui.run.log_view import LogView, shown
from critictui.run.reader import RunReader
from critictui.run.source import Budget
from critictui.run.text import LINE_LIMIT, sanitise

RAY = "\x1b[36m(TaskRunner pid=448)\x1b[0m "
MIXED = "written by another process into the middle of a line"


def read(path: Path) -> RunSnapshot:
    reader = RunReader(path, Config())
    try:
        return reader.read_all()
    finally:
        reader.close()


def log(tmp_path: Path, text: str | bytes) -> RunSnapshot:
    path = tmp_path / "train.log"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return read(path)


def jsonl(tmp_path: Path, *lines: bytes) -> RunSnapshot:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return read(path)


def points(run: RunSnapshot) -> dict[str, list[tuple[int, float]]]:
    return {tag: list(zip(s.step.tolist(), s.value.tolist(), strict=True)) for tag, s in run.series.items()}


def lost(run: RunSnapshot) -> dict[str, int]:
    return {one.reason: one.records for one in run.skipped}


@pytest.mark.fault("L03")
@pytest.mark.parametrize("numeral", ["1e999", "-1e999", "1" + "0" * 400, "-1" + "0" * 309])
@pytest.mark.parametrize("line", ['{"step":1,"a":%s,"b":2}', '{"step":1,"data":{"a":%s,"b":2}}'])
def test_a_numeral_that_no_double_holds_is_counted_and_is_no_infinity(tmp_path: Path, line: str, numeral: str) -> None:
    run = jsonl(tmp_path, (line % numeral).encode(), b'{"step":2,"a":Infinity}')
    assert points(run) == {"b": [(1, 2.0)], "a": [(2, float("inf"))]}
    assert lost(run) == {"values that are not numbers": 1}


@pytest.mark.fault("L03")
@pytest.mark.parametrize("field", ["timestamp", "wall_time", "_timestamp", "time"])
def test_a_time_that_no_double_holds_is_no_time_and_nothing_breaks(tmp_path: Path, field: str) -> None:
    run = jsonl(tmp_path, b'{"step":1,"a":1,"%s":1%s}' % (field.encode(), b"0" * 400), b'{"step":2,"a":1}')
    assert points(run)["a"] == [(1, 1.0), (2, 1.0)]


@pytest.mark.fault("L03")
def test_one_scalar_an_object_and_stylegans_progress_survive_absurd_numbers(tmp_path: Path) -> None:
    huge = b"1" + b"0" * 400
    run = jsonl(
        tmp_path,
        b'{"tag":"a","step":1,"value":%s}' % huge,
        b'{"tag":"a","step":2,"value":"inf","wall_time":%s}' % huge,
        b'{"tag":"a","step":3,"value":true}',
    )
    assert points(run) == {"a": [(2, float("inf"))]}
    assert lost(run) == {"values that are not numbers": 2}
    (tmp_path / "stats").mkdir()
    run = jsonl(tmp_path / "stats", b'{"Progress/kimg":{"num":1,"mean":%s,"std":0},"Progress/tick":1}' % huge)
    assert lost(run) == {"values that are not numbers": 1}


@pytest.mark.fault("L03")
def test_a_trainer_state_invents_no_infinity_either(tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    path.write_text('{"log_history":[{"step":1,"loss":1e999,"lr":1},{"step":2,"loss":Infinity}],"max_steps":1e400}')
    run = read(path)
    assert points(run) == {"lr": [(1, 1.0)], "loss": [(2, float("inf"))]}
    assert lost(run) == {"values that are not numbers": 1}
    assert run.total_steps is None


@pytest.mark.fault("L03")
@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=8))
def test_event_file_log_and_jsonl_of_the_same_numbers_agree(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("same")
    (folder / "e").mkdir()
    steps = list(enumerate(values))
    (folder / "e" / "events.out.tfevents.1.h").write_bytes(b"".join(scalar_record("a", v, s, 1.7e9) for s, v in steps))
    (folder / "a.log").write_text("".join(f"step:{s} - a:np.float64({v!r})\n" for s, v in steps))
    (folder / "a.jsonl").write_text("".join(json.dumps({"step": s, "data": {"a": v}}) + "\n" for s, v in steps))
    found = [repr(points(read(folder / name))) for name in ("e", "a.log", "a.jsonl")]
    assert found[0] == found[1] == found[2]


@pytest.mark.fault("L04")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(A pid=1) step:3 - a:1 - b:2(B pid=2) step:4 - a:5\n - c:3\n", {"a": [(3, 1.0)]}),
        ("(A pid=1) step:3 - a:1 - b:0.1\x1b[36m(B pid=2)\x1b[0m step:4 - a:5\n", {"a": [(3, 1.0)]}),
        ("(A pid=1) step:3 - a:1 - (B pid=2, ip=10.0.0.1) b:5 - c:6\n", {}),
        ("step:3 - a:1 - b:0.1step:4 - a:5 - b:6\n", {"a": [(3, 1.0)]}),
        ("step:3 - a:1 - b:2 - step:4 - a:5\n", {"a": [(3, 1.0)]}),
        ("(A pid=1) {'loss': 0.5, 'epo(B pid=2) {'loss': 0.7, 'epoch': 0.1}\n", {}),
    ],
)
def test_two_processes_in_one_line_are_not_joined(
    tmp_path: Path, text: str, expected: dict[str, list[tuple[int, float]]]
) -> None:
    run = log(tmp_path, text)
    assert points(run) == expected
    assert MIXED in lost(run)


@pytest.mark.fault("L04")
def test_metrics_that_are_called_step_are_no_other_line(tmp_path: Path) -> None:
    run = log(tmp_path, "step:3 - timing_s/step:92.5 - training/global_step:3 - perf/time_per_step:92\n")
    assert len(run.series) == 3
    assert not run.skipped


@pytest.mark.fault("L04")
def test_lines_of_two_trainers_in_any_order_and_torn_anywhere_stay_apart(tmp_path: Path) -> None:
    rng = random.Random(4)
    for trial in range(25):
        streams = [
            [f"\x1b[36m(T pid={pid})\x1b[0m step:{step} - a:{pid}.5 - b:{pid}.25\n" for step in range(1, 12)]
            for pid in (1, 2)
        ]
        text = ""
        while any(streams):
            one = rng.choice([s for s in streams if s])
            line = one.pop(0)
            if rng.random() < 0.2:  # it is torn: the other one writes before its newline
                text += line[: rng.randrange(1, len(line))]
            else:
                text += line
        folder = tmp_path / str(trial)
        folder.mkdir()
        for tag, series in log(folder, text).series.items():
            pid = {"pid 1": 1.0, "pid 2": 2.0}.get(tag.partition("[")[2].rstrip("]"))
            whole = {1.5, 2.5} if tag.startswith("a") else {1.25, 2.25}
            assert tag.partition(" ")[0] in {"a", "b"}, tag
            assert set(series.value.tolist()) <= whole, (tag, series.value)
            if pid is not None:
                assert {float(int(v)) for v in series.value.tolist()} == {pid}


@pytest.mark.fault("L07")
def test_gbk_utf_16_and_characters_cut_by_a_poll_read_as_in_one_go(tmp_path: Path) -> None:
    line = RAY + "step:{} - critic/评分:0.5 - ok:1.5\n"
    text = b"".join(
        line.format(n).encode(("utf-8", "gbk")[n % 2]) + ("中文\n".encode("utf-16") if n == 3 else b"")
        for n in range(6)
    )
    whole = log(tmp_path, text)
    assert [step for step, _ in points(whole)["ok"]] == [0, 1, 2, 3, 5]  # UTF-16 ends in half a newline
    path = tmp_path / "b" / "train.log"
    path.parent.mkdir()
    path.write_bytes(b"")
    reader = RunReader(path, Config())
    with path.open("ab", buffering=0) as file:
        for at in range(len(text)):
            file.write(text[at : at + 1])
            grown = reader.poll(Budget(1 << 20, 5.0))
    reader.close()
    assert points(grown) == points(whole)
    assert lost(grown) == lost(whole)


@pytest.mark.fault("L07")
def test_hours_of_bars_and_a_megabyte_without_a_newline_hold_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("step:1 - a:1\n")
    reader = RunReader(path, Config())
    reader.poll(Budget())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with path.open("ab") as file:
        for n in range(25):
            file.write(
                b"".join(b"\rTraining Progress: %d%%|##| %d/99 [00:01<00:09, 2.9it/s]" % (n, n) for _ in range(9000))
            )
            file.flush()
            reader.poll(Budget())
        file.write(b"\rstep:2 - a:2\n")
    while reader.poll(Budget()).step != 2:
        assert reader.more
    reader.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 << 10


@pytest.mark.fault("L08")
@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x1c", "\x0b", "\x0c", "\r\x00"])
def test_only_a_newline_ends_a_line(tmp_path: Path, separator: str) -> None:
    run = log(tmp_path, f"said, with some words:{separator}step:9 - a:9, and more words\nstep:1 - a:1\n")
    assert points(run) == {"a": [(1, 1.0)]}
    assert len(LogView(tmp_path / "train.log").tail(10).lines) == 2


@pytest.mark.fault("L08")
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(st.characters(codec=None, exclude_categories=()), max_size=100).map(
    lambda text: text.encode("utf-8", "surrogatepass")
))  # fmt: skip
def test_any_line_is_shown_as_text_that_no_terminal_obeys(line: bytes) -> None:
    text = shown(line.replace(b"\n", b""))
    assert all(c == "\t" or (c >= " " and not "\x7f" <= c <= "\x9f" and not "\ud800" <= c <= "\udfff") for c in text)
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200d\u2028\u2029\ufeff") & set(text)
    assert sanitise(text) == text
    assert cell_len(text) <= 2 * LINE_LIMIT


@pytest.mark.fault("L08")
@pytest.mark.parametrize("mark", ["\u0301", "\u0e49", "\u05b0", "\u064e", "\u0f71", "\u20dd", "\U0001e8d0"])
def test_marks_of_no_script_pile_up(mark: str) -> None:
    assert sanitise("e" + mark * 500 + "x") == "e" + mark * 4 + "x"
    assert sanitise("█" * 40 + "░" * 9 + "é") == "█" * 40 + "░" * 9 + "é"


@pytest.mark.fault("L09")
def test_a_line_of_20_megabytes_and_a_million_wide_characters_cost_little(tmp_path: Path) -> None:
    start = time.process_time()
    run = log(tmp_path, b"x" * (20 << 20) + b"\n" + "中".encode() * 1_000_000 + b"\nstep:1 - a:1\n")
    page = LogView(tmp_path / "train.log").tail(3)
    assert points(run) == {"a": [(1, 1.0)]}
    assert page.lines[-1] == "step:1 - a:1"
    assert all(len(line) <= LINE_LIMIT for line in page.lines)
    assert "…+" in page.lines[-2]
    assert time.process_time() - start < 5


@pytest.mark.fault("L09")
def test_each_poll_of_a_log_of_many_lines_a_second_ends_soon(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"step:1 - a:1\n")
    reader = RunReader(path, Config())
    line = b"(Worker pid=9) step:%d - a:0.5 - b:0.25 and some more words of a sample\n"
    with path.open("ab") as file:
        file.write(b"".join(line % n for n in range(2, 30_002)))
    polls = 0
    while reader.poll(Budget(seconds=0.05)).step != 30_001 or reader.more:
        polls += 1
    reader.close()
    assert polls > 2  # it came in slices: each kept to its budget


@pytest.mark.fault("L10")
@pytest.mark.parametrize(
    "sample",
    [
        "the model says step:999 - critic/score:0",
        "> step:999 - critic/score:0",
        "'step:999 - critic/score:0'",
        RAY + "sample: step:999 - critic/score:0",
        "response:\rstep:999 - critic/score:0",
        "{'text': 'step:999 - critic/score:0'}",
        "the log of old: {'loss': 0.1, 'epoch': 9.0}",
        "Total: Total training steps: 2",
        "we know that Total training steps: 2 and Size of train dataloader: 1",
        "see 100%|##########| 2/2 [00:01<00:00, 1.0it/s] done",
    ],
)
def test_a_sample_that_quotes_metrics_moves_nothing(tmp_path: Path, sample: str) -> None:
    text = RAY + "Total training steps: 310\n" + "".join(f"{RAY}step:{s} - critic/score:{s}\n" for s in (1, 2))
    run = log(tmp_path, text + sample + "\n")
    assert points(run) == {"critic/score": [(1, 1.0), (2, 2.0)]}
    assert (run.step, run.total_steps, run.epoch_steps) == (2, 310, None)
    assert run.state == "running"


@pytest.mark.fault("L10")
def test_where_event_files_exist_a_forged_line_in_the_log_moves_no_curve_and_the_source_is_named(
    tmp_path: Path,
) -> None:
    events = b"".join(scalar_record("critic/score/mean", 0.5, s, 1.7e9 + s) for s in range(1, 20))
    (tmp_path / "events.out.tfevents.1700000000.h").write_bytes(events)
    (tmp_path / "train.log").write_text("step:19 - critic/score/mean:0.5\nstep:999 - critic/score/mean:-7\n")
    run = read(tmp_path)
    series = run.series["critic/score/mean"]
    assert series.step.tolist() == list(range(1, 20))
    assert (series.kind, series.source) == ("events", "events.out.tfevents.1700000000.h")
    assert run.step == 19
