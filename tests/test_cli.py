"""The edge: exceptions become one line on stderr and an exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from critictui import cli
from critictui.config import Config
from critictui.errors import InputError, JobFailedError


def run(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "critictui", *map(str, args)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [(InputError("x: bad; mend it"), 2), (JobFailedError("it died"), 3), (click.exceptions.Abort(), 130)],
)
def test_exceptions_become_a_status(monkeypatch, capsys, error, status):
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == status
    assert capsys.readouterr().err.count("\n") == (1 if str(error) else 0)


def test_a_path_that_does_not_exist_is_named(tmp_path):
    result = run("check", tmp_path / "gone")
    assert result.returncode == 2
    assert str(tmp_path / "gone") in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["export", "check", "--help"])
def test_a_reader_that_goes_away_ends_a_command_quietly(tmp_path, command):
    lines = "".join(f"step:{n} - critic/d_acc:0.7 - critic/score_diff:1.0\n" for n in range(5000))
    (tmp_path / "train.log").write_text(lines)
    reader, writer = os.pipe()
    arguments = [command] if command.startswith("-") else [command, str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "critictui", *arguments], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    os.close(reader)
    assert process.communicate()[1] == ""
    assert process.returncode == 141


@pytest.mark.parametrize(
    "arguments",
    [("check",), ("check", "--nope"), ("check", ".", "--fail-on"), ("check", ".", "--fail-on", "x"), ("wach", "x")],
)
def test_wrong_usage_is_one_line_that_names_the_help(arguments):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("critictui: ")
    assert result.stderr.endswith("--help`\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_command_in_order_with_its_status(tmp_path, number):
    fifo = tmp_path / "train.jsonl"  # what it reads never comes
    os.mkfifo(fifo)
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # under nohup it is ignored, and stays so
        "from critictui import cli\n"
        "@cli.cli.command('hang')\n"
        "def hang():\n"
        "    try:\n"
        "        print('ready', flush=True)\n"
        f"        open({str(fifo)!r}).read()\n"
        "    finally:\n"
        "        print('tidied', flush=True)\n"
        "sys.argv = ['critictui', 'hang']\n"
        "cli.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "tidied\n")
    assert "Traceback" not in err


LINES = "".join(f"step:{n} - critic/d_acc:0.7 - critic/score_diff:1.0\n" for n in range(40))


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A folder with a run and what is none."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "train.log").write_text(LINES)
    (tmp_path / "dir").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "noise").write_bytes(bytes(range(1, 256)) * 9)
    (tmp_path / "rows.jsonl").write_text('{"content": "q", "teacher_response": "t"}\n')
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("check gone", "gone: no such file or directory; give a run directory"),
        ("check noise", "noise: no metrics in it; give a run directory"),
        ("check run --config dir", "dir: a directory; pass an existing TOML file to --config"),
        ("check run --config empty", "empty: the file is empty; pass an existing TOML file"),
        ("export dir", "dir: no event file, log or JSONL of metrics in it"),
        ("export run -o dir", "dir: cannot be written (Is a directory); choose another place"),
        ("export run -o gone/x.csv", "gone/x.csv: cannot be written (No such file or directory)"),
        ("export run --format parquet", "name a file with -o"),
        ("export run -o x.xyz", "x.xyz: no format is called 'xyz'; name one with --format"),
        ("nosuch", "'nosuch' is neither a command nor a file or directory here"),
        ("chek run", "; did you mean check?"),
        ("backtest dir", "dir: no event file, log or JSONL of metrics in it"),
        ("backtest run --set decline.drop=nan", "--set decline.drop=nan: not a number"),
        ("backtest run --set decline.drop=-5", "--set decline.drop=-5: must be a number from 0 to 1"),
        ("backtest run --set decline.enabled=no", "--set decline.enabled=no: must be true or false"),
        ("backtest run --rule nope", "--rule nope: no such rule; there are"),
        ("diagnose dir", "dir: no checkpoint found; give a checkpoint's folder or a run"),
        ("diagnose run --fixed-set gone", "gone: No such file or directory; give a fixed set"),
        ("diagnose run --recipe median", "'median' is no preset; there are"),
        ("replay run --samples dir", "dir: a directory; pass what training saved to --samples"),
        ("replay run --samples empty", "empty: the file is empty; pass what training saved"),
        ("replay run --samples noise", "noise: neither a whole .pt archive nor JSON lines"),
        ("explain dir", "dir: neither metrics nor a checkpoint in it; give a run directory"),
        ("explain run --claim d_acc=nan", "--claim d_acc=nan: the value is no finite number"),
        ("explain run --claim d_acc=0.5 --pairs 0", "'--pairs': 0 is not in the range x>=1"),
        ("explain run --fixed-set noise", "noise: no usable row in it"),
        ("explain run --script empty", "empty: the file is empty; pass the scoring script"),
        ("explain run --samples noise", "noise: neither a whole .pt archive nor JSON lines"),
        ("explain run --device moon", "device 'moon': no such GPU is visible; use --device cpu or auto"),
        ("explain run --recipe {", "no JSON object"),
        ("prepare --data dir -o out", "dir: a directory; give training data"),
        ("prepare --data empty -o out", "empty: the file is empty; give training data"),
        ("prepare --data rows.jsonl -o noise", "noise: exists and is never overwritten"),
        ("prepare --data rows.jsonl -o out --student dir", "dir: no config.json; give a Hugging Face folder"),
        ("prepare --data rows.jsonl -o out --rollouts gone", "gone: no such file or directory; give verl's"),
        ("prepare --data rows.jsonl -o out --num-samples -1", "-1 is not in the range x>=0"),
        ("prepare --data rows.jsonl -o out --temperature nan", "--temperature nan: not a finite number"),
        ("score run --run-dir gone", "gone: no such directory; give an existing run directory"),
        ("demo --dir noise --headless", "noise: exists and is not an empty directory"),
        ("notify --test", "no way to notify is set up"),
    ],
)
def test_bad_input_is_one_line_that_names_it_and_the_remedy(bad, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(bad)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(bad / "dir"))
    monkeypatch.setattr(cli, "_end_in_order", lambda: None)
    monkeypatch.setattr(sys, "argv", ["critictui", *arguments.split()])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    printed = capsys.readouterr()
    assert (stopped.value.code, printed.out) == (2, "")
    assert said in printed.err
    assert printed.err.startswith("critictui: ")
    assert printed.err.count("\n") == 1


def test_an_unknown_command_is_a_usage_error():
    result = run("wach", "x")
    assert result.returncode == 2
    assert "wach" in result.stderr


def test_a_directory_alone_means_watch(tmp_path):
    result = run(tmp_path)
    assert result.returncode == 2
    assert "terminal" in result.stderr


def test_the_version_is_said():
    assert run("--version").stdout.startswith("critictui, version ")


def test_watch_scores_on_the_fixed_set_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def watched(_target: Path, config: Config) -> int:
        taken.append(config.fixed_set)
        return 0

    monkeypatch.setattr("critictui.monitor.daemon.watch_headless", watched)
    monkeypatch.chdir(tmp_path)
    arguments = ["watch", str(tmp_path), "--headless", "--auto-score", "--fixed-set", "mine.jsonl"]
    assert cli.cli.main(arguments, standalone_mode=False) == 0
    assert taken == [str(tmp_path / "mine.jsonl")]
