"""Notifications: each way of sending works, fails in words, keeps its secrets, and never holds the monitor up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from critictui.cli import cli
from critictui.errors import InputError
from critictui.monitor import notify
from critictui.monitor.notify import SAMPLE, Message, Notifier, Sent, send_now


class Server:
    def __init__(self, status: int = 200) -> None:
        self.bodies: list[dict[str, object]] = []
        self.arrived = threading.Event()
        outer = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                outer.bodies.append(json.loads(self.rfile.read(size)))
                self.send_response(status)
                self.end_headers()
                outer.arrived.set()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server.server_port}/hook?token=secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def with_rule(rule: str, severity: str = "critical") -> Message:
    return Message("run", rule, severity, "m", 1, "words", "advice")  # type: ignore[arg-type]


def test_a_webhook_gets_the_message_as_json(server: Server) -> None:
    sent = send_now({"webhook": server.address}, SAMPLE)
    assert [one.ok for one in sent] == [True]
    body = server.bodies[0]
    assert body["rule"] == "margin-collapse"
    assert "This is a test" in str(body["text"])


def test_a_command_gets_it_on_stdin_and_in_its_environment_without_a_shell(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [
        "python3",
        "-c",
        f"import os,sys; open({str(out)!r},'w').write(sys.stdin.read()+os.environ['CRITICTUI_RULE'])",
    ]
    hostile = with_rule("$(touch /tmp/x); `id`")
    assert send_now({"command": command}, hostile)[0].ok
    assert out.read_text().endswith("$(touch /tmp/x); `id`")
    assert json.loads(out.read_text().removesuffix(hostile.rule))["message"] == "words"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"webhook": "http://127.0.0.1:9/secret"}, "refused"),
        ({"webhook": "file:///etc/passwd"}, "must be an address"),
        ({"command": "sh -c 'echo went wrong >&2; exit 3'"}, "exit status 3 went wrong"),
        ({"command": "/no/such/command"}, "/no/such/command: No such file or directory; give the path"),
        ({"command": "unclosed 'quote"}, "cannot be split into words"),
        ({"command": "cat | wc -l"}, "no shell reads |: give sh -c"),
        ({"command": "ls >/dev/null &"}, "no shell reads &"),
        ({"command": " "}, "the command is empty"),
        ({"apprise": "nosuch://secret"}, "does not understand"),
        ({"webhook": 5}, "must be text"),
        ({"webhok": "x"}, "no setting"),
    ],
)
def test_what_fails_is_said_without_the_secret(config: dict[str, object], words: str) -> None:
    sent = send_now(config, SAMPLE)
    assert [one.ok for one in sent] == [False]
    assert words in sent[0].said
    assert "Error" not in sent[0].said
    assert "secret" not in sent[0].way + sent[0].said


def test_an_error_status_is_a_failure() -> None:
    server = Server(status=500)
    assert "500" in send_now({"webhook": server.address}, SAMPLE)[0].said
    server.server.shutdown()
    server.server.server_close()


def test_the_same_rule_is_not_sent_again_within_the_time(server: Server) -> None:
    notifier = Notifier({"webhook": server.address, "min_seconds": 60})
    assert notifier.send(with_rule("drift"))
    assert not notifier.send(with_rule("drift"))
    assert notifier.send(with_rule("decline"))
    notifier.close()
    assert [body["rule"] for body in server.bodies] == ["drift", "decline"]


def test_what_is_too_mild_is_not_sent(server: Server) -> None:
    notifier = Notifier({"webhook": server.address, "min_severity": "critical"})
    assert not notifier.send(with_rule("drift", "warning"))
    assert notifier.send(with_rule("drift", "critical"))
    notifier.close()
    assert len(server.bodies) == 1


def test_a_way_that_hangs_holds_nobody_up_and_drops_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*_: object) -> list[Sent]:
        release.wait(30)
        return []

    monkeypatch.setattr(notify, "send_now", hang)
    notifier = Notifier({"command": "true", "min_seconds": 0})
    began = time.monotonic()
    sent = [notifier.send(with_rule(f"r{i}")) for i in range(300)]
    assert time.monotonic() - began < 2
    assert 0 < sum(sent) <= 101 + 1
    assert any("dropped" in notice for notice in notifier.notices)
    release.set()


def test_what_did_not_arrive_is_a_notice_until_it_does(tmp_path: Path) -> None:
    switch = tmp_path / "works"
    notifier = Notifier({"command": f"test -e {switch}", "min_seconds": 0})
    notifier.send(with_rule("a"))
    notifier.close()
    assert "exit status 1" in notifier.notices[0]
    switch.touch()
    again = Notifier({"command": f"test -e {switch}", "min_seconds": 0})
    again.send(with_rule("a"))
    again.close()
    assert again.notices == ()


def test_the_dry_run_says_what_happened(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    config = tmp_path / "c.toml"
    config.write_text(f'[notify]\nwebhook = "{server.address}"\ncommand = "false"\n')
    result = CliRunner().invoke(cli, ["notify", "--test", "--config", str(config)], standalone_mode=False)
    assert result.return_value == 3
    assert "sent  webhook http://127.0.0.1" in result.stdout
    assert "FAILED  command: " in result.stdout
    config.write_text("")
    nothing = CliRunner().invoke(cli, ["notify", "--test", "--config", str(config)], standalone_mode=False)
    assert isinstance(nothing.exception, InputError)


def test_what_is_over_is_sent_too_unless_it_is_not_wanted(server: Server) -> None:
    over = replace(with_rule("drift"), state="resolved", step=205)
    assert over.title == "run: drift resolved at step 205"
    notifier = Notifier({"webhook": server.address})
    assert notifier.send(with_rule("drift"))
    assert notifier.send(over)  # the time between two of a rule is for each by itself
    notifier.close()
    assert [body["state"] for body in server.bodies] == ["firing", "resolved"]
    assert not Notifier({"webhook": server.address, "resolved": False}).send(over)
