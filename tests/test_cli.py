"""The edge: exceptions become one line on stderr and an exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import click
import pytest

from critictui import cli
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
    out, err = process.communicate()
    assert (process.returncode, out) == (128 + number, "tidied\n")
    assert "Traceback" not in err


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
