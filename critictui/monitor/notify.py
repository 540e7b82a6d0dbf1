"""Alerts that leave the terminal: a command, a webhook, or anything apprise speaks; never in the way of the monitor."""

from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from critictui.health.alert import SEVERITIES, Severity
from critictui.monitor.news import News
from critictui.run.facts import RunSnapshot

if TYPE_CHECKING:
    from urllib.parse import SplitResult

SECONDS = 300.0
"""Default of `min_seconds`: the same rule of the same run is not sent more often."""
_PATIENCE = 20.0
_WAITING = 100
_KEYS = ("command", "webhook", "apprise", "min_severity", "min_seconds", "resolved")


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent."""

    run: str
    rule: str
    severity: Severity
    metric: str
    step: int
    message: str
    advice: str
    state: str = "firing"
    """Or `resolved`."""

    @property
    def title(self) -> str:
        """One line."""
        if self.state == "resolved":
            return f"{self.run}: {self.rule} resolved at step {self.step}"
        return f"{self.run}: {self.severity} {self.rule} at step {self.step}"


@dataclass(frozen=True, slots=True)
class Sent:
    """How one way of sending went."""

    way: str
    """`command`, `webhook https://host` or `apprise slack`: without the secrets in an address."""
    ok: bool
    said: str


SAMPLE = Message(
    run="sample-run",
    rule="margin-collapse",
    severity="critical",
    metric="critic/score_diff",
    step=310,
    message="This is a test: nothing is wrong.",
    advice="If you can read this, alerts will reach you here.",
)


def message_of(news: News, path: Path, run: RunSnapshot | None) -> Message:
    """An event as it is sent: at the step where it fired, or was resolved."""
    name = run.name if run is not None else path.name
    alert = news.alert
    over = alert.state == "resolved"
    at = alert.resolved_step if over else alert.fired_step
    step, advice = alert.step if at is None else at, "" if over else alert.advice
    return Message(name, alert.rule, alert.severity, alert.metric, step, news.message, advice, alert.state)


def ways(config: Mapping[str, object]) -> tuple[list[tuple[str, Callable[[Message], str]]], list[str]]:
    """(name, send) for every way that `[notify]` sets up, and a sentence for each setting that is not usable."""
    found: list[tuple[str, Callable[[Message], str]]] = []
    problems = [f"notify: {key!r} is no setting; there are {', '.join(_KEYS)}" for key in config if key not in _KEYS]
    found += [
        ("command", partial(_run_command, command)) for command in _texts(config, "command", problems, whole=True)
    ]
    for address in _texts(config, "webhook", problems):
        parts = _split(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            problems.append("notify: webhook must be an address that begins with http:// or https://")
            continue
        found.append((f"webhook {parts.scheme}://{parts.hostname}", partial(_post, address)))
    found += [(f"apprise {a.split(':', 1)[0]}", partial(_apprise, a)) for a in _texts(config, "apprise", problems)]
    return found, problems


def _split(address: str) -> SplitResult:
    from urllib.parse import urlsplit

    return urlsplit(address)


def _texts(config: Mapping[str, object], key: str, problems: list[str], *, whole: bool = False) -> list[str]:
    value = config.get(key)
    if not value:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return [shlex.join(value)] if whole else list(value)
    problems.append(f"notify: {key} must be text, or a list of texts")
    return []


def send_now(config: Mapping[str, object], message: Message) -> list[Sent]:
    """Send by every way, one after the other, and say how each went. Nothing is raised."""
    found, problems = ways(config)
    sent = [Sent("configuration", ok=False, said=problem) for problem in problems]
    for name, send in found:
        try:
            sent.append(Sent(name, ok=True, said=send(message)))
        except Exception as error:  # noqa: BLE001  other people's services: whatever they do is a sentence here
            sent.append(Sent(name, ok=False, said=_words(error)[:300]))
    return sent


class _NotSentError(Exception):
    """A way of sending failed; the message says why in words of ours."""


def _words(error: Exception) -> str:
    """An error in words; addresses with their secrets do not go to a screen or a log."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    said = " ".join(word if "://" not in word else "(address)" for word in text.split())
    known = isinstance(error, (_NotSentError, OSError)) and said
    return said if known else f"{type(error).__name__}: {said}"


def _run_command(command: str, message: Message) -> str:
    """The command gets the message as JSON on stdin and in `CRITICTUI_*`; no shell is involved.

    Raises _NotSentError.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise _NotSentError(f"the command cannot be split into words ({error})") from None
    if not words:
        raise _NotSentError("the command is empty")
    try:
        return _run(words, message, shell_signs=_SHELL.intersection(words))
    except OSError as error:
        raise _NotSentError(f"{words[0]}: {error.strerror}; give the path of a program") from None
    except subprocess.TimeoutExpired:
        raise _NotSentError(f"{words[0]} did not end within {_PATIENCE:.0f} s") from None


_SHELL = frozenset({"|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1", "&>"})


def _run(words: list[str], message: Message, *, shell_signs: Iterable[str]) -> str:
    environment = {f"CRITICTUI_{key.upper()}": str(value) for key, value in asdict(message).items()}
    result = subprocess.run(
        words,
        input=json.dumps(asdict(message)).encode(),
        env={**os.environ, **environment, "CRITICTUI_TITLE": message.title},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=_PATIENCE,
        check=False,
        start_new_session=True,
    )
    if result.returncode:
        lines = result.stderr.decode("utf-8", "replace").strip().split("\n")
        said = next(
            (line for line in reversed(lines) if not line.startswith("Try ")), ""
        )  # 'Try x --help' says nothing
        no_shell = f"; no shell reads {' '.join(sorted(shell_signs))}: give sh -c '...'" if shell_signs else ""
        raise _NotSentError(f"exit status {result.returncode} {said}".rstrip() + no_shell)
    return "exit status 0"


def _post(address: str, message: Message) -> str:
    """`text` is what Slack, Mattermost and their like show; the rest is for programs."""
    body = {"text": "\n".join(filter(None, (message.title, message.message, message.advice))), **asdict(message)}
    import urllib.request  # with http and ssl 40 ms of the start that few have a use for

    request = urllib.request.Request(  # noqa: S310  only http and https get here
        address, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
        return f"status {answer.status}"


def _apprise(address: str, message: Message) -> str:
    try:
        import apprise
    except ImportError:
        raise _NotSentError("needs the extra: pip install 'critictui[notify]'") from None
    service = apprise.Apprise()
    if not service.add(address):
        raise _NotSentError("apprise does not understand this address")
    kinds = {"info": "info", "warning": "warning", "critical": "failure"}
    body = "\n".join(filter(None, (message.message, message.advice)))
    if not service.notify(title=message.title, body=body, notify_type=kinds[message.severity]):
        raise _NotSentError("the service did not take it")
    return "sent"


class Notifier:
    """Sends from a thread of its own: `send` only puts the message in a bounded queue."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self._config = config
        found, problems = ways(config)
        self._active = bool(found)
        self._problems = tuple(problems)
        self._failed: dict[str, str] = {}
        self._lost = 0
        self._least = _severity(config.get("min_severity"))
        seconds = config.get("min_seconds", SECONDS)
        self._seconds = float(seconds) if isinstance(seconds, (int, float)) else SECONDS
        self._resolved = config.get("resolved") is not False
        self._sent_at: dict[tuple[str, str, str, str], float] = {}
        self._queue: queue.Queue[Message | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    @property
    def notices(self) -> tuple[str, ...]:
        """What is not configured well, did not arrive, or was dropped."""
        lost = (f"notify: {self._lost} messages were dropped, the queue was full",) if self._lost else ()
        return (*self._problems, *(f"notify: {way}: {said}" for way, said in tuple(self._failed.items())), *lost)

    def send(self, message: Message) -> bool:
        """Queue a message, unless it is too mild or the same was sent a short while ago. Never waits."""
        if not self._active or SEVERITIES.index(message.severity) < self._least:
            return False
        if message.state == "resolved" and not self._resolved:
            return False
        key = (message.run, message.rule, message.metric, message.state)
        now = time.monotonic()
        if now - self._sent_at.get(key, -self._seconds) < self._seconds:
            return False
        self._sent_at[key] = now
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self._lost += 1
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="critictui-notify", daemon=True)
            self._thread.start()
        return True

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            for sent in send_now(self._config, message):
                if sent.ok:
                    self._failed.pop(sent.way, None)
                elif sent.way != "configuration":
                    self._failed[sent.way] = sent.said

    def close(self, patience: float = 5.0) -> None:
        """Send what is waiting, for at most `patience` seconds."""
        if self._thread is None:
            return
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(timeout=patience)


def _severity(value: object) -> int:
    return SEVERITIES.index(value) if value in SEVERITIES else SEVERITIES.index("warning")
