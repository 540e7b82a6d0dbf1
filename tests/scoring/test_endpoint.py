"""Responses from an OpenAI-compatible server, a real one on this machine that misbehaves on request."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from critictui.scoring.endpoint import Endpoint, Sampling, answers, row_seed
from critictui.scoring.fixed_set import Message
from critictui.scoring.recipe import ScoringError
from critictui.scoring.source_data import SourceRow

pytest.importorskip("httpx", reason="needs the extra [score]")

Answer = Callable[[int, dict[str, Any]], tuple[int, dict[str, str], bytes]]


class Server:
    """Counts requests and answers them as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any], str]] = []
        self.models = ["student-7b"]
        self.answer: Answer = lambda _number, body: (200, {}, completion(f"said {body['seed']}"))
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, {}, json.dumps({"data": [{"id": m} for m in outer.models]}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer._lock:
                    outer.requests.append((self.path, body, self.headers.get("authorization", "")))
                    number = len(outer.requests)
                self._send(*outer.answer(number, body))

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                if status == 0:
                    self.connection.close()
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


def completion(text: object, reason: str = "stop") -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": reason}]}).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


ROWS = [SourceRow("3", "why?", "t", ()), SourceRow("9", (Message("system", "x"), Message("user", "how?")), "t", ())]
SAMPLING = Sampling(temperature=0.6, top_p=0.9, max_new_tokens=64, responses=3, seed=42)


def asked(server: Server, waits: list[float] | None = None, **options: Any) -> dict[str, list[str]]:
    def pause(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    endpoint = Endpoint(server.url, pause=pause, **options)
    return {row.id: [r.text for r in found] for row, found in answers(endpoint, ROWS, SAMPLING, at_once=4)}


def test_each_response_is_one_request_with_its_own_seed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    found = asked(server)
    assert found == {row.id: [f"said {row_seed(42, row.id, i)}" for i in range(3)] for row in ROWS}
    assert len(server.requests) == 6
    path, body, key = server.requests[0]
    assert path == "/v1/chat/completions"
    assert key == "Bearer secret-key"
    assert {k: body[k] for k in ("model", "temperature", "top_p", "max_tokens", "n")} == {
        "model": "student-7b",
        "temperature": 0.6,
        "top_p": 0.9,
        "max_tokens": 64,
        "n": 1,
    }
    sent = [b["messages"] for _, b, _ in server.requests]
    assert [{"role": "user", "content": "why?"}] in sent
    assert [{"role": "system", "content": "x"}, {"role": "user", "content": "how?"}] in sent


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_what_fails_for_a_moment_is_tried_again(server: Server, status: int) -> None:
    plain = server.answer
    server.answer = lambda number, body: (status, {}, b"busy") if number % 3 == 1 else plain(number, body)
    waits: list[float] = []
    assert len(asked(server, waits)["3"]) == 3
    assert waits
    assert all(0 < w <= 60 for w in waits)


def test_the_server_says_how_long_to_wait(server: Server) -> None:
    plain = server.answer
    server.answer = lambda number, body: (429, {"retry-after": "7"}, b"") if number == 1 else plain(number, body)
    waits: list[float] = []
    asked(server, waits)
    assert waits == [7.0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, b"bad \x1b[31mkey"), r"HTTP 401: bad  .*MY_KEY is not set: .*--api-key-env"),
        ((404, b"no"), "HTTP 404"),
        ((200, b"<html>"), "no JSON object"),
        ((200, b"{}"), "no chat completion"),
        ((200, completion(["a part"])), "no text"),
        ((503, b"down"), "gave up after 6 attempts"),
    ],
)
def test_what_stays_wrong_is_said(server: Server, answer: tuple[int, bytes], said: str) -> None:
    server.answer = lambda _n, _b: (answer[0], {}, answer[1])
    with pytest.raises(ScoringError, match=said) as caught:
        asked(server, key_variable="MY_KEY")
    assert "\x1b" not in str(caught.value)


def test_each_wait_is_told(server: Server) -> None:
    plain = server.answer
    server.answer = lambda number, body: (503, {}, b"") if number <= 2 else plain(number, body)
    said: list[str] = []
    rows = [SourceRow("3", "why?", "t", ())]
    endpoint = Endpoint(server.url, pause=lambda _: None, say=said.append)
    list(answers(endpoint, rows, Sampling(responses=1), at_once=1))
    assert said == ["retry 2 of 6 in 1 s: 503", "retry 3 of 6 in 2 s: 503"]


def test_a_wait_is_seen_in_the_progress_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from critictui.scoring import prepare
    from critictui.scoring.jobs import Progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with prepare._bar() as tell:
        tell(Progress("generate", 1, 4))
        tell(Progress("generate", 1, 4, message="retry 2 of 6 in 4 s: 503"))
        assert screen.getvalue().count("retry 2 of 6 in 4 s: 503  [") == 1
        tell(Progress("generate", 2, 4))
    assert "generate  [" in screen.getvalue().rpartition("retry")[2]


def test_a_response_that_was_cut_before_any_text_is_an_empty_one(server: Server) -> None:
    server.answer = lambda _n, _b: (200, {}, completion(None, "length"))
    [(_, (response,))] = answers(Endpoint(server.url), ROWS[:1], Sampling(responses=1), at_once=1)
    assert (response.text, response.finish_reason) == ("", "length")


def test_an_address_that_is_none_is_said_at_once() -> None:
    waits: list[float] = []
    endpoint = Endpoint("localhost:8000/v1", pause=waits.append)
    with pytest.raises(ScoringError, match="no address"), endpoint.open() as client:
        endpoint.find_model(client)
    assert waits == []


def test_a_server_with_several_models_must_be_told_which(server: Server) -> None:
    server.models = ["a", "b"]
    with pytest.raises(ScoringError, match=r"--model; the server has a, b"):
        asked(server)
    assert asked(server, model="b")["3"]
    assert {body["model"] for _, body, _ in server.requests} == {"b"}


def test_a_set_is_prepared_resumed_and_holds_no_key(
    server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critictui.scoring.jobs import Job
    from critictui.scoring.read_set import read_fixed_set
    from critictui.worker import prepare_job

    monkeypatch.setenv("MY_KEY", "secret-key")
    monkeypatch.setattr("critictui.scoring.endpoint.ATTEMPTS", 1)
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"content": f"q{n}", "teacher_response": f"t{n}"}) + "\n" for n in range(12)))
    out = tmp_path / "set.jsonl"
    options = {"data": str(data), "out": str(out), "num_samples": 5, "endpoint": server.url, "batch_size": 1}
    job = Job("prepare", options={**options, "api_key_env": "MY_KEY", "sampling": {"responses": 2}})
    plain = server.answer
    server.answer = lambda number, body: plain(number, body) if number <= 6 else (500, {}, b"gone")
    with pytest.raises(ScoringError, match="start again"):
        prepare_job.run(job, lambda _: None)
    assert not out.exists()
    server.answer = plain
    before = len(server.requests)
    prepare_job.run(job, lambda _: None)
    assert len(server.requests) - before == 4  # three prompts were there already
    found = read_fixed_set(out)
    assert found.pairs == 10
    assert found.header["generation"]["model"] == "student-7b"  # type: ignore[index]
    assert found.header["generation"]["temperature"] == 0.6  # type: ignore[index]
    assert all(s.text == f"said {s.seed}" for p in found.prompts for s in p.students)
    assert b"secret-key" not in out.read_bytes()


def prepared(server: Server, folder: Any, **options: Any) -> Any:
    from critictui.scoring.jobs import Job
    from critictui.worker import prepare_job

    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps({"content": f"q{n}", "teacher_response": f"t{n}"}) + "\n" for n in range(4)))
    given = {"data": str(data), "out": str(folder / "set.jsonl"), "endpoint": server.url, "batch_size": 1}
    return prepare_job.run(Job("prepare", options={**given, "sampling": {"responses": 1}, **options}), lambda _: None)


def test_another_model_never_goes_on_with_a_set(server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critictui.scoring.endpoint.ATTEMPTS", 1)
    plain = server.answer
    server.answer = lambda number, body: plain(number, body) if number <= 2 else (500, {}, b"gone")
    with pytest.raises(ScoringError, match="start again"):
        prepared(server, tmp_path)
    server.answer, server.models = plain, ["another-7b"]
    with pytest.raises(ScoringError, match="begun with other data or parameters"):
        prepared(server, tmp_path)
    server.models = ["student-7b"]
    assert prepared(server, tmp_path).result["pairs"] == 4


def test_empty_responses_are_kept_and_counted(server: Server, tmp_path: Any) -> None:
    plain = server.answer
    server.answer = lambda number, body: (200, {}, completion(None, "length")) if number == 2 else plain(number, body)
    answer = prepared(server, tmp_path).result
    assert answer["pairs"] == 4
    assert answer["notes"] == ["1 of 4 responses are empty; finish reason: length (1)"]


def test_a_failure_before_anything_was_made_leaves_nothing_behind(server: Server, tmp_path: Any) -> None:
    server.answer = lambda _n, _b: (400, {}, b"no")
    with pytest.raises(ScoringError, match="HTTP 400"):
        prepared(server, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["data.jsonl"]
