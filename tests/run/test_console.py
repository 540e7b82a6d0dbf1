"""Console logs: every style is read, nothing is invented, and any way of cutting the bytes gives the same scalars."""

from __future__ import annotations

import math
import os
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critictui.run.console import ConsoleLog, looks_like
from critictui.run.source import Budget, Reading
from critictui.run.tailing import LINE_CAP

Point = tuple[str, int, float, int, str]
RAY = "\x1b[36m(TaskRunner pid=448)\x1b[0m "


class Reader:
    """Polls a source and keeps what the store would keep."""

    def __init__(self, path: Path) -> None:
        self.source = ConsoleLog(path, path.name)
        self.points: list[Point] = []
        self.lost: dict[str, int] = {}
        self.last: Reading | None = None

    def poll(self, budget: Budget | None = None) -> Reader:
        while True:
            reading = self.source.poll(budget or Budget(1 << 20, 5))
            if reading.reset:
                self.points, self.lost = [], {}
            for s in reading.scalars:
                rows = zip(s.tag.tolist(), s.step.tolist(), s.value.tolist(), s.position.tolist(), strict=True)
                self.points += [(s.tags[t], step, value, at, s.writer) for t, step, value, at in rows]
            for skipped in reading.skipped:
                self.lost[skipped.reason] = self.lost.get(skipped.reason, 0) + skipped.records
            self.last = reading
            if not reading.more:
                return self

    def values(self) -> list[tuple[str, int, float]]:
        return [(tag, step, value) for tag, step, value, _, _ in sorted(self.points, key=lambda p: p[3])]


def read(path: Path, text: str | bytes) -> Reader:
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return Reader(path).poll()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "train.log"


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("step:3 - critic/d_acc:0.768 - critic/score_diff:5.85", {"critic/d_acc": 0.768, "critic/score_diff": 5.85}),
        (RAY + "step:3 - critic/d_acc:np.float64(0.5625)", {"critic/d_acc": 0.5625}),
        ("\x1b[2m\x1b[36m(main_task pid=64899)\x1b[0m step:3 - critic/lr(1e-4):0.100", {"critic/lr(1e-4)": 0.1}),
        ("(TaskRunner pid=7, ip=10.0.0.3) step:3 - a:1e-05", {"a": 1e-5}),
        ("Training Progress:  10%|█   | 3/30 [00:01<00:09, 2.9it/s]step:3 - a:1", {"a": 1.0}),
        (RAY + "\rTraining Progress:  10%|█   | 3/30 [00:01<00:09, 2.9it/s]\rstep:3 - a:1", {"a": 1.0}),
        ("step:3 - val/test:x/acc:0.5 - b:tensor(0.3, device='cuda:0')", {"val/test:x/acc": 0.5, "b": 0.3}),
        ("step:3 - a:1\r", {"a": 1.0}),
        ("2026-01-02 03:04:05,678 INFO step:3 - a:1", {"a": 1.0}),
        ("[rank0]: step:3 - a:1", {"a": 1.0}),
    ],
)
@pytest.mark.fault("L04")
def test_verls_line_is_read_behind_every_known_prefix(log: Path, line: str, pairs: dict[str, float]) -> None:
    assert read(log, line + "\n").values() == [(tag, 3, value) for tag, value in pairs.items()]


@pytest.mark.parametrize(
    "line",
    [
        "timing_s/step:92 - critic/score:0",
        "the model said: step:999 - critic/score:0",
        RAY + "response: step:999 - critic/score:0",
        "sample text\rstep:999 - critic/score:0",
        "step: 999 - critic/score:0",
        "step:-1 - critic/score:0",
        "step:٣ - critic/score:0",
        "{'n': 1, 'temperature': 1.0}",
        "config {'loss': 1.0, 'epoch': 1}",
        "step:1_000 - a:1",
    ],
)
@pytest.mark.fault("L10")
def test_what_only_quotes_a_step_line_gives_nothing(log: Path, line: str) -> None:
    assert read(log, line + "\n").points == []


@pytest.mark.fault("L03")
def test_values_that_are_no_numbers_are_counted(log: Path) -> None:
    reader = read(log, "step:1 - a:1_000 - b:٣ - c:1,234.5 - d:None - flag:True - e:0x10 - ok:2 - f:1e999\n")
    assert reader.values() == [("ok", 1, 2.0)]
    assert reader.lost == {"fields whose value is not a number": 7}


def test_a_text_value_with_the_separator_in_it_takes_its_neighbour_along(log: Path) -> None:
    reader = read(log, "step:1 - a:1 - name:two - words - b:2 - c:3\n")
    assert reader.values() == [("a", 1, 1.0), ("c", 1, 3.0)]
    assert reader.lost == {"fields whose value is not a number": 3}


@pytest.mark.fault("L03")
def test_nan_and_infinities_are_kept(log: Path) -> None:
    values = [v for _, _, v in read(log, "step:1 - a:nan - b:np.float64(inf) - c:-inf\n").values()]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


@pytest.mark.fault("L04")
def test_a_line_that_ray_marks_as_repeated_is_no_new_step(log: Path) -> None:
    again = "(WorkerDict pid=9) step:1 - a:1\x1b[32m [repeated 4x across cluster] (Ray deduplicates logs)\x1b[0m\n"
    reader = read(log, "(WorkerDict pid=8) step:1 - a:1\n" + again)
    assert len(reader.points) == 1
    assert reader.lost == {"a line that Ray marks as repeated": 1}


@pytest.mark.fault("L04")
def test_two_processes_that_print_by_turns_are_two_writers(log: Path) -> None:
    lines = [f"(A pid={pid}) step:{step} - a:{pid}\n" for step in range(3) for pid in (1, 2)]
    reader = read(log, "".join(lines))
    assert {(w, v) for _, _, v, _, w in reader.points} == {("pid 1", 1.0), ("pid 2", 2.0)}


@pytest.mark.fault("L04", "L06")
def test_a_restart_under_a_new_pid_stays_one_writer(log: Path) -> None:
    first = "".join(f"(A pid=1) step:{s} - a:{s}\n" for s in range(1, 6))
    second = "".join(f"(A pid=2) step:{s} - a:{-s}\n" for s in range(4, 8))
    reader = read(log, first + second)
    assert {w for *_, w in reader.points} == {""}
    assert [s for _, s, _ in reader.values()] == [1, 2, 3, 4, 5, 4, 5, 6, 7]


HF = "".join(
    f"{{'loss': {f'0.{i}'!r}, 'grad_norm': 1.5, 'rewards/accuracies': 0.{i}, 'epoch': 0.{i}}}\n"
    f"\r {i}0%|█ | {i * 10}/90 [00:0{i}<01:00, 1.9it/s]"
    for i in range(1, 9)
)


def test_the_step_of_a_dict_line_is_on_the_bar_drawn_after_it(log: Path) -> None:
    reader = read(log, "\r  0%|  | 0/90 [00:00<?, ?it/s]" + "\n" + HF + "\n")
    assert [(s, v) for t, s, v in reader.values() if t == "loss"] == [(i * 10, i / 10) for i in range(1, 9)]
    assert reader.last is not None
    assert reader.last.hints.total_steps == 90
    assert not reader.last.notices


def test_another_bar_before_the_training_is_not_taken_for_its_bar(log: Path) -> None:
    loading = "\r100%|██| 3/3 [00:01<00:00, 2.9it/s]\n" + "text\n" * 5000
    reader = read(log, loading + "\r  0%|  | 0/90 [00:00<?, ?it/s]\n" + HF + "\n")
    assert [s for t, s, _ in reader.values() if t == "loss"] == [i * 10 for i in range(1, 9)]


def test_dict_lines_without_any_step_are_counted_and_that_is_said(log: Path) -> None:
    reader = read(log, "{'loss': 0.7, 'epoch': 0.1}\n{'loss': 0.6, 'epoch': 0.2}\n")
    assert [(t, s) for t, s, _ in reader.values() if t == "loss"] == [("loss", 1), ("loss", 2)]
    assert reader.last is not None
    assert "name no step" in reader.last.notices[0]


def test_ms_swift_says_its_step_itself(log: Path) -> None:
    line = (
        "{'loss': 0.6, 'epoch': 0.02, 'global_step/max_steps': '10/500', 'percentage': '2.00%', 'elapsed_time': '9s'}\n"
    )
    reader = read(log, line)
    assert reader.values() == [("loss", 10, 0.6), ("epoch", 10, 0.02)]
    assert reader.last is not None
    assert reader.last.hints.total_steps == 500
    assert reader.lost == {}


def test_the_length_of_the_run_comes_from_what_the_trainer_says(log: Path) -> None:
    said = ("Size of train dataloader: 155, Size of val dataloader: 1", "Total training steps: 310", "step:1 - a:1")
    text = "".join(f"{RAY}{line}\n" for line in said)
    hints = read(log, text).last
    assert hints is not None
    assert (hints.hints.total_steps, hints.hints.epoch_steps, hints.hints.finished) == (310, 155, False)
    log.write_text(log.read_text() + RAY + "\rTraining Progress: 100%|██| 310/310 [1:00:00<00:00, 11s/it]\n")
    last = Reader(log).poll().last
    assert last is not None
    assert last.hints.finished


MIXED = (
    RAY + "\rTraining Progress:   0%|          | 0/3 [00:00<?, ?it/s]\n"
    "中文 sample \u2028 with \x85 separators\r\n"
    + RAY + "step:1 - critic/d_acc:np.float64(0.5) - x:nan2 - critic/评分:1.5\n"
    + "Training Progress:  33%|█▏ | 1/3 [00:01<00:02,  1.60it/s]" + RAY + "step:2 - critic/d_acc:0.75\r\n"
    + "\rA: 1%| | 1/9 [00:00<?, ?it/s]" * 40
    + "\rstep:3 - critic/d_acc:0.8\nstep:4 - critic/d_acc:0.9"
).encode()  # fmt: skip


@pytest.mark.parametrize("text", [MIXED, b"\r 0%| | 0/90 [00:00<?, ?it/s]\n" + HF.encode() + b"\n"], ids=["verl", "hf"])
@pytest.mark.fault("L07")
def test_fed_in_any_pieces_it_reads_the_same(tmp_path: Path, text: bytes) -> None:
    whole = read(tmp_path / "whole.log", text)
    assert whole.points
    random.seed(7)
    for trial, size in enumerate([1, 7, 64, 300, 900]):
        path = tmp_path / f"pieces{trial}.log"
        path.write_bytes(b"")
        reader = Reader(path)
        with path.open("ab", buffering=0) as file:
            at = 0
            while at < len(text):
                step = random.randint(1, size)
                file.write(text[at : at + step])
                at += step
                reader.poll()
        assert sorted(map(repr, reader.points)) == sorted(map(repr, whole.points))
        assert reader.lost == whole.lost


@pytest.mark.fault("L07")
def test_a_partial_last_line_is_kept_back_until_it_is_complete(log: Path) -> None:
    reader = read(log, "step:1 - a:0.7")
    assert reader.points == []
    with log.open("a") as file:
        file.write("68\n")
    assert reader.poll().values() == [("a", 1, 0.768)]


@pytest.mark.fault("L07")
def test_a_line_that_never_ends_does_not_grow_a_buffer(log: Path) -> None:
    reader = read(log, "step:1 - a:1\n")
    with log.open("ab") as file:
        for _ in range(20):
            file.write(b"\xe4\xb8\xad" * 20_000)
            file.flush()
            reader.poll()
            assert len(reader.source._tail.live.carry) <= LINE_CAP
        file.write(b"\nstep:2 - a:2\n")
    assert reader.poll().values() == [("a", 1, 1.0), ("a", 2, 2.0)]


@pytest.mark.fault("L07")
def test_hours_of_bars_without_a_newline_do_not_hide_the_step_behind_them(log: Path) -> None:
    reader = read(log, RAY)
    with log.open("a") as file:
        for i in range(3000):
            file.write(f"\rTraining Progress:  10%|█   | {i}/3000 [00:01<00:09, 2.9it/s]")
            if i % 500 == 0:
                file.flush()
                reader.poll()
                assert len(reader.source._tail.live.carry) <= LINE_CAP
        file.write("\rstep:3 - a:1\n")
    assert reader.poll().values() == [("a", 3, 1.0)]


@pytest.mark.fault("L09")
def test_of_a_step_line_that_is_too_long_the_whole_fields_are_read_and_the_rest_counted(tmp_path: Path) -> None:
    line = "step:5 - " + " - ".join(f"m/{i:06}:{i}" for i in range(10_000)) + "\n"
    batch = read(tmp_path / "a.log", line)
    pieces = Reader(tmp_path / "b.log")
    with (tmp_path / "b.log").open("wb", buffering=0) as file:
        for at in range(0, len(line), 10_000):
            file.write(line.encode()[at : at + 10_000])
            pieces.poll()
    assert batch.values() == pieces.values()
    assert all(tag == f"m/{int(value):06}" for tag, _, value in batch.values())
    assert batch.lost == pieces.lost == {"the end of a line longer than 64 KiB": 1}


@pytest.mark.parametrize("text", [MIXED, HF.encode() + b"\n"], ids=["verl", "hf"])
def test_with_hardly_any_time_each_poll_still_gets_on(log: Path, text: bytes) -> None:
    expected = read(log, text * 20).points
    assert Reader(log).poll(Budget(bytes=100, seconds=0.0)).points == expected


def test_the_end_of_a_large_log_comes_first_and_positions_give_the_order(log: Path) -> None:
    filler = "x" * 1000 + "\n"
    with log.open("w") as file:
        for step in range(400):
            file.write(f"step:{step} - a:{step}\n" + filler * 32)
    source = ConsoleLog(log, log.name)
    first = source.poll(Budget(1 << 20, 5))
    assert first.more
    assert first.facts.state == "filling"
    assert first.scalars[0].step[0] > 100
    reader = Reader(log)
    reader.source = source
    reader.points = [("a", int(s), float(v), int(p), "") for sc in first.scalars
                     for s, v, p in zip(sc.step, sc.value, sc.position, strict=True)]  # fmt: skip
    assert [s for _, s, _ in reader.poll(Budget(1 << 18, 5)).values()] == list(range(400))
    assert reader.last is not None
    assert reader.last.facts.read == reader.last.facts.size


def test_a_large_log_of_dict_lines_is_read_in_order(log: Path) -> None:
    with log.open("w") as file:
        for step in range(1, 20):
            file.write(f"{{'loss': 0.5, 'epoch': {step / 100}}}\n" + "x" * 600_000 + "\n")
    assert [s for t, s, _ in Reader(log).poll().values() if t == "loss"] == list(range(1, 20))


def test_a_file_that_was_truncated_is_read_anew(log: Path) -> None:
    reader = read(log, "step:1 - a:1\nstep:2 - a:2\n")
    log.write_text("step:1 - a:5\n")
    assert reader.poll().values() == [("a", 1, 5.0)]


def test_a_file_that_was_replaced_by_a_longer_one_is_read_anew(log: Path) -> None:
    reader = read(log, "step:1 - a:1\n")
    other = log.with_suffix(".new")
    other.write_text("step:1 - a:5\nstep:2 - a:6\n")
    other.replace(log)
    assert reader.poll().values() == [("a", 1, 5.0), ("a", 2, 6.0)]


def test_a_file_truncated_and_regrown_behind_our_back_is_read_anew(log: Path) -> None:
    reader = read(log, "step:1 - a:1\n")
    log.write_text("step:1 - a:5\nstep:2 - a:6\n")
    assert reader.poll().values() == [("a", 1, 5.0), ("a", 2, 6.0)]


def test_a_deleted_file_keeps_its_data_and_goes_on_when_it_returns(log: Path) -> None:
    reader = read(log, "step:1 - a:1\n")
    text = log.read_text()
    log.unlink()
    reader.poll()
    assert reader.last is not None
    assert reader.last.facts.state == "gone"
    assert reader.values() == [("a", 1, 1.0)]
    log.write_text(text + "step:2 - a:2\n")
    assert reader.poll().values() == [("a", 1, 1.0), ("a", 2, 2.0)]


def test_a_hole_that_is_filled_later_ends_as_a_fresh_read(log: Path) -> None:
    text = b"step:1 - a:1\nstep:2 - a:2\nstep:3 - a:3\n"
    reader = read(log, text[:13] + b"\0" * 13 + text[26:])
    assert [s for _, s, _ in reader.values()] == [1]
    assert reader.lost == {"NUL bytes: a hole in the file": 1}
    with log.open("r+b") as file:
        file.write(text)
    with log.open("ab") as file:
        file.write(b"step:4 - a:4\n")
    assert [s for _, s, _ in reader.poll().values()] == [1, 2, 3, 4]
    assert reader.lost == {}


@pytest.mark.fault("L08")
def test_utf_8_that_is_broken_is_replaced_in_names_only(log: Path) -> None:
    assert read(log, b"\xff\xfe junk\nstep:1 - a\xff:1\n").values() == [("a\ufffd", 1, 1.0)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([
    b"step:1 - a:1", b"\n", b"\r", b"\0", b"\xff", b"{'loss': 1.0, 'epoch': 1}", b" 1%| | 1/9 [00:00<?, ?it/s]",
    b"(A pid=1) ", b"\x1b[36m", b" - b:2", b"x", b"{", b"step:", b"'", b"[repeated 2x across cluster]",
]), max_size=40), st.integers(0, 99))  # fmt: skip
@pytest.mark.fault("L07")
def test_any_bytes_in_two_pieces_read_as_in_one(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], cut: int
) -> None:
    text = b"".join(parts)
    folder = tmp_path_factory.mktemp("bytes")
    whole = read(folder / "a.log", text)
    at = len(text) * cut // 100
    reader = read(folder / "b.log", text[:at])
    with (folder / "b.log").open("ab") as file:
        file.write(text[at:])
    reader.poll()
    assert list(map(repr, reader.points)) == list(map(repr, whole.points))


def test_a_log_is_known_by_its_marks_or_by_its_name() -> None:
    assert looks_like(b"hello\n" + RAY.encode() + b"x\n", "output.txt")
    assert looks_like(b"plain words\n", "train.log")
    assert looks_like(b"{'loss': 0.5, 'epoch': 0.1}\n", "notes.txt")
    assert not looks_like(b"plain words\n", "README.txt")
    assert not looks_like(b"\0\0\0\0", "train.log")
    assert not looks_like(b'{"step": 1}\n', "metrics.jsonl")
    assert not looks_like(b"", "train.log")


def _real_logs() -> list[Path]:
    root = os.environ.get("CRITICTUI_DATA")
    if not root:
        return []
    return sorted(p for p in (Path(root) / "real/logs").rglob("*") if p.is_file() and p.suffix != ".jsonl")


@pytest.mark.skipif(not _real_logs(), reason="CRITICTUI_DATA is not set: the real logs are not here")
@pytest.mark.parametrize("path", _real_logs(), ids=lambda p: p.name[:40])
def test_every_step_of_the_real_logs_is_read(path: Path) -> None:
    expected: dict[int, int] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:  # what follows the last newline is not complete
        found = re.match(rb"(?:\x1b\[\d*m)*(?:\(\w+ pid=\d+\)\x1b\[0m )?step:(\d+) - (.*)", line)
        if found:
            fields = re.findall(rb"(?:^| - )[^ ]+?:(?:np\.\w+\()?(?:[-+.e\d]+|nan|inf)\)?(?= - |\s*$)", found.group(2))
            expected[int(found.group(1))] = expected.get(int(found.group(1)), 0) + len(fields)
    reader = Reader(path).poll(Budget())
    counts: dict[int, int] = {}
    for _, step, _, _, _ in reader.points:
        counts[step] = counts.get(step, 0) + 1
    assert counts == expected
    assert set(reader.lost) <= {"fields whose value is not a number"}
