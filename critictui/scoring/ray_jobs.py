"""A running Ray cluster takes a job: its Jobs REST API (the dashboard's port, since Ray 2.0). No library of Ray's."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from critictui.scoring.cluster import BEGINS, NOT_SHARED, JobState, Submitted
from critictui.scoring.last_lines import TAIL_BYTES, last_lines
from critictui.scoring.recipe import ScoringError

USUAL = "http://127.0.0.1:8265"
"""Where a head node's dashboard answers."""
SECONDS = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class RayJobs:
    """A cluster, and what a job asks it for."""

    address: str = USUAL
    """`http://host:port` of its dashboard."""
    num_gpus: float = 1.0
    extra: Mapping[str, object] = field(default_factory=dict)
    """More fields of the request, such as `entrypoint_resources`."""
    token: str = ""
    """Of a cluster that asks for one; goes into the requests alone."""

    name = "Ray"

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], environ: Mapping[str, str]) -> RayJobs:
        """From `[launch.ray]`: `address` (else RAY_API_SERVER_ADDRESS, RAY_ADDRESS, this machine), `gpus`, `extra`."""
        server, gcs = environ.get("RAY_API_SERVER_ADDRESS", ""), environ.get("RAY_ADDRESS", "")
        given = str(settings.get("address") or server)
        gpus, extra = settings.get("gpus", 1), settings.get("extra", {})
        if not isinstance(gpus, (int, float)) or not 0 <= gpus < 1000:
            raise ScoringError(f"[launch.ray] gpus = {gpus!r:.40}: give a number, 0 for none")
        assert isinstance(extra, Mapping)
        return cls(
            address=dashboard_of(given) if given else dashboard_of(gcs, gcs=True),
            num_gpus=float(gpus),
            extra=extra,
            token=environ.get("RAY_AUTH_TOKEN", ""),
        )

    @property
    def gpus(self) -> bool:
        """Whether the job gets a GPU."""
        return self.num_gpus > 0

    def request(self, script: str, title: str) -> dict[str, object]:
        """The body that submits a job; the user's fields win."""
        return {
            "entrypoint": script,
            "submission_id": f"{title}-{secrets.token_hex(4)}",
            "entrypoint_num_gpus": self.num_gpus,
            **self.extra,
        }

    def submit(self, script: str, title: str, logs: Path) -> Submitted:
        """Hand in a script. Raises ScoringError where no cluster answers or it refuses the job."""
        del logs
        try:
            answer = self._ask("POST", "", self.request(script, title))
        except _NoAnswerError as error:
            raise ScoringError(
                f"{self.address}: no Ray dashboard answers ({error}); start one (`ray start --head`, ray[default]) or "
                "name it with --address, RAY_ADDRESS or [launch.ray] address"
            ) from None
        except _RefusedError as error:
            raise ScoringError(f"{self.address}: Ray did not take the job: {error}; mend [launch.ray]") from None
        job = str(answer.get("submission_id") or answer.get("job_id") or "")
        if not job:
            raise ScoringError(f"{self.address}: the answer names no job; is this a Ray dashboard?")
        return Submitted(job, f"`ray job logs --address {self.address} {job}`")

    def look(self, job: Submitted) -> JobState | None:
        """What the cluster says of the job."""
        try:
            answer = self._ask("GET", quote(job.id, safe=""))
        except _NoAnswerError:
            return None
        except _RefusedError as error:
            return JobState("gone") if error.status == 404 else None
        said = last_lines(str(answer.get("message") or ""), count=1)
        match answer.get("status"):
            case "PENDING":
                return JobState("queued", said)
            case "RUNNING":
                return JobState("running", f"on {node}" if (node := _node_of(answer)) else "")
            case "SUCCEEDED":
                return JobState("done")
            case "FAILED":
                code = answer.get("driver_exit_code")
                if code == NOT_SHARED:
                    return JobState("failed", "the node does not see the files")
                return JobState("failed", f"exit status {code}" if isinstance(code, int) else said)
            case status:
                return JobState("failed", f"{status}"[:60].lower())

    def printed(self, job: Submitted) -> str:
        """The end of its log, or what the cluster kept of it where the node does not answer any more."""
        name = quote(job.id, safe="")
        for path, key in ((f"{name}/logs", "logs"), (name, "message")):
            with contextlib.suppress(_NoAnswerError, _RefusedError):
                log = str(self._ask("GET", path).get(key) or "")
                _, begun, rest = log.rpartition(f"\n{BEGINS}")  # before it, Ray repeats the script
                return (rest.partition("\n")[2] if begun else log)[-TAIL_BYTES:]
        return ""

    def cancel(self, job: Submitted) -> None:
        """End it."""
        with contextlib.suppress(_NoAnswerError, _RefusedError):
            self._ask("POST", f"{quote(job.id, safe='')}/stop")

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """One request. Raises _NoAnswerError, _RefusedError."""
        try:
            import httpx
        except ImportError:
            raise ScoringError("--launch ray needs httpx: pip install 'critictui[score]'") from None
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            answer = httpx.request(
                method, f"{self.address}/api/jobs/{path}", json=body, headers=headers, timeout=SECONDS
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _NoAnswerError(f"{type(error).__name__}: {error!s:.120}") from None
        if answer.status_code >= 400:
            raise _RefusedError(answer.status_code, answer.text)
        try:
            value = answer.json() if answer.content else {}
        except ValueError:
            raise _NoAnswerError("it sends no JSON") from None
        return value if isinstance(value, dict) else {}


class _NoAnswerError(Exception):
    """Nobody answers at the address, or not as Ray does."""


class _RefusedError(Exception):
    """The cluster says no."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {last_lines(text, count=1)}")
        self.status = status


def dashboard_of(address: str, *, gcs: bool = False) -> str:
    """The dashboard's URL for what people call Ray's address: a URL, `host:port`, `host`, `ray://host:10001`, `auto`.

    gcs: a port without `http://` is that of Ray's store, as in RAY_ADDRESS; like that of `ray://` it is not the
    dashboard's, and the dashboard's usual port on the same host is taken.
    """
    address = address.strip().rstrip("/")
    if address.startswith(("http://", "https://")):
        return address
    try:
        parts = urlsplit(f"//{address.removeprefix('ray://')}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ScoringError(f"{address!r:.80} is no address of a Ray cluster; give one as http://host:8265") from None
    if address in {"", "auto", "local"} or not host:
        return USUAL
    own = port if port is not None and not gcs and not address.startswith("ray://") else 8265
    return f"http://{f'[{host}]' if ':' in host else host}:{own}"


def _node_of(answer: Mapping[str, object]) -> str:
    where = urlsplit(str(answer.get("driver_agent_http_address") or "")).hostname
    return where or ""
