"""Student responses from an OpenAI-compatible server: one request a response, retried, several at once."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from critictui.scoring.fixed_set import Response
from critictui.scoring.recipe import ScoringError
from critictui.scoring.source_data import SourceRow

ATTEMPTS = 6
LONGEST_WAIT = 60.0
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How responses are drawn; what a fixed set's header records."""

    temperature: float = 0.6
    top_p: float = 0.9
    top_k: int = 0
    """0 keeps all tokens."""
    max_new_tokens: int = 512
    responses: int = 4
    seed: int = 42

    def to_dict(self) -> dict[str, object]:
        """As the header stores it."""
        return {name: getattr(self, name) for name in self.__slots__}


_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda x: x >= 0, "0 or more"),
    "top_p": (lambda x: 0 < x <= 1, "above 0 and at most 1"),
    "top_k": (lambda x: x >= 0, "0 or more"),
    "max_new_tokens": (lambda x: x >= 1, "1 or more"),
    "responses": (lambda x: x >= 1, "1 or more"),
    "seed": (lambda x: 0 <= x < 1 << 32, "0 or more, below 2^32"),
    "num_samples": (lambda x: x >= 0, "1 or more, or 0 for all"),
    "batch_size": (lambda x: x >= 1, "1 or more"),
}


def refuse_odd(values: Mapping[str, object]) -> None:
    """Raise ScoringError for a number that no set can be made with, named as its flag; None was not given."""
    for name, (fits, words) in _RANGES.items():
        value = values.get(name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ScoringError(f"--{name.replace('_', '-')} {value}: not a finite number")
        if isinstance(value, (int, float)) and not fits(value):
            raise ScoringError(f"--{name.replace('_', '-')} {value}: must be {words}")


def row_seed(seed: int, prompt_id: str, index: int) -> int:
    """The seed of one response: it depends on nothing but the set's seed, the prompt and the response's number."""
    import hashlib

    return int.from_bytes(hashlib.sha256(f"{seed}:{prompt_id}:{index}".encode()).digest()[:4], "big") >> 1


@dataclass(slots=True)
class Endpoint:
    """A server that completes chats. The key comes from the environment and goes nowhere but into the request."""

    url: str
    model: str = ""
    key_variable: str = "OPENAI_API_KEY"
    timeout: float = 600.0
    pause: Callable[[float], None] = time.sleep
    """Waits between attempts; tests replace it."""
    say: Callable[[str], None] = lambda _: None
    """Told of each wait, in words."""

    def open(self) -> Any:
        """An httpx client. Raises ScoringError without the extra."""
        try:
            import httpx
        except ImportError:
            raise ScoringError("an endpoint needs httpx: pip install 'critictui[score]'") from None
        key = os.environ.get(self.key_variable, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(timeout=httpx.Timeout(self.timeout, connect=15.0), headers=headers)

    def _address(self, name: str) -> str:
        base = self.url.rstrip("/").removesuffix("/chat/completions")
        return f"{base}/{name}"

    def find_model(self, client: Any) -> str:
        """The model that was named, else the one that the server has. Raises ScoringError when it has several."""
        if self.model:
            return self.model
        try:
            answer = self._ask(client, "GET", "models", None)
        except ScoringError as error:
            raise ScoringError(f"{error}; if the server does not list its models, name one with --model") from None
        names = [str(entry.get("id")) for entry in answer.get("data", []) if isinstance(entry, dict)]
        if len(names) != 1:
            some = ", ".join(names[:5]) or "none"
            raise ScoringError(f"{self.url}: name the model with --model; the server has {some}")
        return names[0]

    def complete(
        self, client: Any, model: str, messages: list[dict[str, str]], sampling: Sampling, seed: int
    ) -> Response:
        """One response, as the server gives it; empty where it was cut before any text came. Raises ScoringError."""
        body: dict[str, object] = {
            "model": model,
            "messages": messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "seed": seed,
            "n": 1,
        }
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        answer = self._ask(client, "POST", "chat/completions", body)
        try:
            choice = answer["choices"][0]
            text, reason = choice["message"]["content"], choice.get("finish_reason")
        except (KeyError, IndexError, TypeError):
            raise ScoringError(f"{self.url}: the answer is no chat completion") from None
        if not isinstance(text, (str, type(None))):
            raise ScoringError(f"{self.url}: the answer has no text (content is {type(text).__name__})")
        return Response(text or "", finish_reason=reason if isinstance(reason, str) else "", seed=seed)

    def _ask(self, client: Any, method: str, name: str, body: dict[str, object] | None) -> dict[str, Any]:
        import httpx

        problem = ""
        for attempt in range(ATTEMPTS):
            delay = min(LONGEST_WAIT, 2.0**attempt)
            try:
                answer = client.request(method, self._address(name), json=body)
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise ScoringError(f"{self.url:.120}: no address ({error!s:.80}); give http://host:port/v1") from None
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error!s:.100}"
            else:
                if answer.status_code == 200:
                    return self._object(answer)
                said = "".join(c if c.isprintable() else " " for c in answer.text[:200])
                problem = f"HTTP {answer.status_code}" + (f": {said}" if said else "")
                if answer.status_code not in _AGAIN:
                    raise ScoringError(f"{self._address(name)}: {problem}{self._remedy(answer.status_code)}")
                after = answer.headers.get("retry-after", "")
                delay = min(LONGEST_WAIT, float(after)) if after.isdigit() else delay
            if attempt < ATTEMPTS - 1:
                self.say(f"retry {attempt + 2} of {ATTEMPTS} in {delay:g} s: {problem.removeprefix('HTTP '):.60}")
                self.pause(delay)
        raise ScoringError(
            f"{self._address(name)}: gave up after {ATTEMPTS} attempts ({problem}); start again to go on"
        )

    def _remedy(self, status: int) -> str:
        if status not in {401, 403}:
            return ""
        there = "is not accepted" if os.environ.get(self.key_variable) else "is not set"
        return f"; {self.key_variable} {there}: put the key there, or name its variable with --api-key-env"

    def _object(self, answer: Any) -> dict[str, Any]:
        try:
            value = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ScoringError(f"{self.url}: the answer is no JSON object; is this an OpenAI-compatible endpoint?")
        return value


def answers(
    endpoint: Endpoint,
    rows: Sequence[SourceRow],
    sampling: Sampling,
    *,
    at_once: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Iterator[tuple[SourceRow, tuple[Response, ...]]]:
    """Each row with its responses, as soon as the last of them is there. Raises ScoringError and asks no more."""
    stop = threading.Event()

    def one(client: Any, model: str, row: SourceRow, index: int) -> Response | None:
        if stop.is_set():
            return None
        return endpoint.complete(client, model, _messages(row), sampling, row_seed(sampling.seed, row.id, index))

    total, done = len(rows) * sampling.responses, 0
    with endpoint.open() as client, ThreadPoolExecutor(max(1, at_once)) as pool:
        model = endpoint.find_model(client)
        try:
            where: dict[Future[Response | None], tuple[int, int]] = {}
            for number, row in enumerate(rows):
                for index in range(sampling.responses):
                    where[pool.submit(one, client, model, row, index)] = (number, index)
            gathered: dict[int, dict[int, Response]] = {number: {} for number in range(len(rows))}
            open_: set[Future[Response | None]] = set(where)
            while open_:
                finished, open_ = wait(open_, return_when=FIRST_COMPLETED)
                # those that failed come last: what arrived together with a failure is kept
                for future in sorted(finished, key=lambda f: f.exception() is not None):
                    number, index = where[future]
                    response = future.result()
                    assert response is not None
                    gathered[number][index] = response
                    done += 1
                    progress(done, total)
                    if len(gathered[number]) == sampling.responses:
                        found = gathered.pop(number)
                        yield rows[number], tuple(found[i] for i in range(sampling.responses))
        finally:
            stop.set()


def _messages(row: SourceRow) -> list[dict[str, str]]:
    if isinstance(row.prompt, str):
        return [{"role": "user", "content": row.prompt}]
    return [{"role": message.role, "content": message.content} for message in row.prompt]
