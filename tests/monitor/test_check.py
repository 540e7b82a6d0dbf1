"""`check` and the daemon: the contract's object for every target, safe words, an exit status that means something."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from critictui.cli import cli
from critictui.config import Config
from critictui.health.alert import Alert, Judgement
from critictui.health.judge import Judge
from critictui.monitor.check import check, reached, render_check
from critictui.run.source import RunError

Write = Callable[..., None]
FIELDS = {
    "rule", "severity", "state", "metric", "since_step", "fired_step", "resolved_step", "step", "value", "threshold",
    "message", "advice",
}  # fmt: skip


def firing(severity: str, message: str = "it fell") -> Alert:
    return Alert(
        "margin-collapse", severity, "firing", "critic/score_diff", 3, 5, None, 6, float("nan"), 1.0, message, "look"  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture(autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


def test_the_report_has_the_contracts_fields(
    run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "update", lambda *_: Judgement("critical", (firing("critical"),)))
    write_steps(run_dir, 1, 30)
    (run_dir / "train.log").open("a").write("step:31 - critic/d_acc:nan - flag:True\n")
    report = check(run_dir, Config())
    contract = "schema run state step updated verdict metrics alerts skipped"
    page = (Path(__file__).parents[2] / "docs" / "scoring.md").read_text()
    assert " ".join(list(report)[:9]) == contract
    assert [key for key in list(report)[9:] if f"`{key}`" not in page] == []
    assert report["schema"] == 1
    assert report["step"] == 31
    assert report["verdict"] == "critical"
    assert report["state"] == "running"
    assert report["metrics"]["critic/d_acc"] == {"step": 31, "value": "nan"}  # type: ignore[index]
    assert set(report["alerts"][0]) == FIELDS  # type: ignore[index]
    assert report["skipped"][0]["records"] == 1  # type: ignore[index]
    assert set(report["skipped"][0]) == {"file", "offset", "bytes", "records", "reason"}  # type: ignore[index]
    json.dumps(report, allow_nan=False)


def test_a_file_a_directory_and_its_parent_give_the_same(run_dir: Path, write_steps: Write) -> None:
    write_steps(run_dir, 1, 30)
    reports = [check(target, Config()) for target in (run_dir, run_dir / "train.log", run_dir.parent)]
    assert [r["step"] for r in reports] == [30, 30, 30]
    assert reports[0]["metrics"] == reports[1]["metrics"] == reports[2]["metrics"]


def test_the_last_values_are_found_whatever_the_trainer_calls_them(run_dir: Path) -> None:
    rows = [
        f"{{'loss': '0.6', 'mean_reward': '0.25', 'accuracy': '0.75', 'margin': '{step}', 'epoch': '{step / 4}'}}"
        for step in (1, 2)
    ]
    (run_dir / "train.log").write_text("\n".join(rows) + "\n")
    said = render_check(check(run_dir, Config()))
    assert "d_acc 0.75, score_diff 2, teacher_score_mean 1.25, student_score_mean -0.75" in said


def test_an_empty_directory_is_empty_and_not_an_error(run_dir: Path) -> None:
    report = check(run_dir, Config())
    assert (report["state"], report["verdict"], report["step"]) == ("empty", "unknown", None)
    assert "no scalars" in render_check(report)


def test_several_runs_are_named_and_none_is_picked(tmp_path: Path, write_steps: Write) -> None:
    for name in ("alpha", "beta"):
        (tmp_path / name).mkdir()
        write_steps(tmp_path / name, 1, 3)
    with pytest.raises(RunError, match=r"holds 2 runs.*(alpha.*beta|beta.*alpha)"):
        check(tmp_path, Config())


@pytest.mark.parametrize(
    ("severity", "level", "status"),
    [("critical", "critical", 1), ("warning", "critical", 0), ("warning", "warning", 1), ("info", "info", 1)],
)
def test_the_exit_status_says_whether_the_level_was_reached(
    run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch, severity: str, level: str, status: int
) -> None:
    monkeypatch.setattr(Judge, "update", lambda *_: Judgement("warning", (firing(severity),)))
    write_steps(run_dir, 1, 3)
    result = CliRunner().invoke(cli, ["check", str(run_dir), "--json", "--fail-on", level], standalone_mode=False)
    assert result.return_value == status
    assert json.loads(result.stdout)["alerts"][0]["severity"] == severity


def test_what_is_resolved_fails_nothing() -> None:
    report = {"alerts": [{"severity": "critical", "state": "resolved"}, {"severity": "info", "state": "firing"}]}
    assert not reached(report, "warning")
    assert reached(report, "info")


def test_what_is_over_says_so_once(run_dir: Path, write_steps: Write) -> None:
    write_steps(run_dir, 1, 3)
    report = check(run_dir, Config())
    over = {**firing("critical").to_json(), "state": "resolved", "resolved_step": 202752}
    text = render_check({**report, "alerts": [over]})
    assert "!! critical margin-collapse (resolved at 202752): it fell" in text
    assert "resolved, resolved" not in text


def test_the_words_are_safe_whatever_the_run_says(
    run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "\x1b]0;owned\x07\x9b2J\u202eevil\nnext"
    monkeypatch.setattr(Judge, "update", lambda *_: Judgement("critical", (firing("critical", hostile),)))
    write_steps(run_dir, 1, 3, name="a\x1b[31m\n.log")
    text = render_check(check(run_dir, Config()))
    assert not {c for c in text if (ord(c) < 32 and c != "\n") or 0x7F <= ord(c) <= 0x9F or c == "\u202e"}
    assert "critical margin-collapse" in text


def test_a_name_that_is_no_text_is_no_obstacle(tmp_path: Path, write_steps: Write) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/run-\xff"))
    folder.mkdir()
    write_steps(folder, 1, 3, name=os.fsdecode(b"train-\xfe.log"))
    for arguments in (["--json"], []):
        found = subprocess.run(
            [sys.executable, "-m", "critictui", "check", os.fsencode(folder), *arguments],
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert (found.returncode, found.stderr) == (0, b"")
        assert b"run-?" in found.stdout or b"run-\xef\xbf\xbd" in found.stdout


def test_without_a_terminal_watch_says_what_to_use_instead(run_dir: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "critictui", "watch", str(run_dir)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode == 2
    assert "--headless" in found.stderr
    assert found.stdout == ""


def critictui(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "critictui", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_a_directory_with_nothing_yet_is_empty_and_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("later")
    found = critictui("check", tmp_path)
    assert found.returncode == 0
    assert "unknown (empty, no step yet)" in found.stdout
    assert "looked for event files (*tfevents*), logs" in found.stdout
    (tmp_path / "train.log").write_text("loading the model\n")
    assert check(tmp_path, Config())["state"] == "empty"
    assert "no metric is in what was found yet" in critictui("check", tmp_path).stdout


@pytest.mark.parametrize(
    ("command", "name", "data", "said"),
    [
        ("check", "notes.md", b"# later\n", "no metrics in it"),
        ("export", "notes.txt", b"later\n", "no metrics in it"),
        ("check", "noise.log", bytes(range(256)) * 8, "no metrics in it"),
        ("watch", "model.pt", b"PK\x03\x04" + bytes(64), "no metrics in it"),
        ("check", "events.out.tfevents.1.h", b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
        ("backtest", "events.out.tfevents.2.h", b"\x1f\x8b" + bytes(64), "an archive: unpack it"),
    ],
    ids=["markdown", "text", "noise", "model", "lfs", "archive"],
)
def test_a_file_that_is_no_source_is_bad_input(tmp_path: Path, command: str, name: str, data: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    found = critictui(command, path)
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.startswith(f"critictui: {path}: {said}")
    assert found.stderr.endswith("; give a run directory, an event file, a log or JSONL of metrics\n")
    assert found.stderr.count("\n") == 1


def test_an_empty_file_may_be_a_log_that_has_not_begun(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.touch()
    found = critictui("check", path)
    assert found.returncode == 0
    assert "the file is empty" in found.stdout


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_the_daemon_prints_events_and_ends_with_the_signals_status(
    run_dir: Path, write_steps: Write, number: signal.Signals, status: int
) -> None:
    write_steps(run_dir, 1, 5)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "critictui", "watch", "--headless", str(run_dir)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    seen: list[str] = []
    started = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line)
            if "running, step 5" in line:
                started.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert started.wait(60), seen
        process.send_signal(number)
        assert process.wait(30) == status
    finally:
        process.kill()
        process.wait()
    reader.join(10)
    assert not any("\x1b" in line for line in seen)


def test_a_restart_an_alert_a_checkpoint_and_a_score_are_events(
    watching: Any, run_dir: Path, write_steps: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critictui.monitor.events import events_between

    write_steps(run_dir, 1, 10)
    _, listener = watching(run_dir)
    before = listener.until_step(10)
    assert any("running, step 10" in e for e in events_between(None, before))
    assert events_between(before, before) == []
    monkeypatch.setattr(Judge, "update", lambda *_: Judgement("critical", (firing("critical"),)))
    write_steps(run_dir, 6, 12)
    after = listener.until(lambda s: s.main.run.step == 12 and s.main.judgement.verdict == "critical")
    events = events_between(before, after)
    assert any("critical margin-collapse firing at step 5: it fell" in e for e in events)
    assert any("verdict critical" in e for e in events)
    assert any("restarted" in e and "step 6" in e for e in events)


def test_the_check_of_a_long_run_is_quick(run_dir: Path, write_steps: Write) -> None:
    write_steps(run_dir, 1, 3000)
    began = time.process_time()
    assert check(run_dir, Config())["step"] == 3000
    assert time.process_time() - began < 10


def test_the_words_for_a_person_are_short_and_count_right(run_dir: Path) -> None:
    lines = [f"step:{k} - my/metric:{1 / (k + 2)} - b:x" for k in range(1, 6)]
    (run_dir / "train.log").write_text("\n".join(lines) + "\n")
    text = render_check({**check(run_dir, Config()), "known_as": {"critic/d_acc": "my/metric"}})
    assert "1 metric; last values: d_acc 0.1429" in text
    assert "0 bytes" not in text
    assert "not judged yet: no metric of a critic is logged" in text


def test_a_run_that_died_before_its_first_step_is_not_about_to_begin(run_dir: Path) -> None:
    (run_dir / "train.log").write_text('Traceback (most recent call last):\n  File "a.py"\nTypeError: no \x1b[2Jllm\n')
    report = check(run_dir, Config())
    assert (report["state"], report["error"]) == ("empty", "train.log: TypeError: no llm")
    text = render_check(report)
    assert "!! an error, and no step after it: train.log: TypeError: no llm" in text
    assert "about to begin" not in text
    assert "died before its first step" in text


def test_a_directory_of_checkpoints_alone_is_said_to_be_one(demo_checkpoint: Path) -> None:
    text = render_check(check(demo_checkpoint, Config()))
    assert "1 checkpoint (" in text
    assert "no event files or logs found below" in text
