"""The edge: exceptions become one line on stderr and an exit status."""

from __future__ import annotations

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
