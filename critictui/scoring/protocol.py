"""How a job and its messages travel: a four-byte length (big endian), then that many bytes of JSON."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from critictui.scoring.jobs import Failed, Finished, Job, JobKind, JobMessage, Progress
from critictui.scoring.result_json import strict_json

LENGTH = struct.Struct(">I")
LARGEST = 64 << 20
"""Bytes of one message; more is garbage on the channel."""
_REASONS = frozenset({"refused", "memory", "crashed", "cancelled", "vanished", "hung", "missing-extra", "error"})


class ProtocolError(Exception):
    """What came over the channel is no message."""


def frame(value: Mapping[str, object]) -> bytes:
    """One message's bytes. Numbers that are not finite become null."""
    body = json.dumps(strict_json(value), ensure_ascii=True, allow_nan=False).encode()
    if len(body) > LARGEST:
        raise ProtocolError(f"a message of {len(body)} bytes is larger than {LARGEST}")
    return LENGTH.pack(len(body)) + body


def unframe(body: bytes) -> dict[str, object]:
    """The JSON object of one message's body. Raises ProtocolError."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"no JSON on the channel ({error!s:.60})") from None
    if not isinstance(value, dict):
        raise ProtocolError("no JSON object on the channel")
    return value


def job_to_json(job: Job) -> dict[str, object]:
    """A job as its worker reads it."""
    return {
        "kind": job.kind,
        "checkpoint": job.checkpoint,
        "fixed_set": job.fixed_set,
        "run_dir": job.run_dir,
        "recipe": dict(job.recipe),
        "device": job.device,
        "options": dict(job.options),
    }


def job_from_json(value: Mapping[str, object]) -> Job:
    """Raises ProtocolError where it is no job."""
    kind = value.get("kind")
    if kind not in get_args(JobKind):
        raise ProtocolError(f"{kind!r:.40} is no kind of job")
    texts = {name: value.get(name, "") for name in ("checkpoint", "fixed_set", "run_dir")}
    device, recipe, options = value.get("device", "auto"), value.get("recipe", {}), value.get("options", {})
    if not (all(isinstance(t, str) for t in (*texts.values(), device)) and isinstance(recipe, dict)):
        raise ProtocolError("not a job: a field has the wrong type")
    if not isinstance(options, dict):
        raise ProtocolError("not a job: options must be an object")
    return Job(kind=kind, recipe=recipe, device=str(device), options=options, **texts)  # type: ignore[arg-type]


def message_to_json(message: JobMessage) -> dict[str, object]:
    """A message as it travels."""
    match message:
        case Progress():
            return {
                "type": "progress",
                "phase": message.phase,
                "done": message.done,
                "total": message.total,
                "tokens_per_second": message.tokens_per_second,
                "seconds_left": message.seconds_left,
                "message": message.message,
            }
        case Finished():
            saved = None if message.saved is None else str(message.saved)
            return {"type": "finished", "result": message.result, "saved": saved}
        case Failed():
            return {"type": "failed", "reason": message.reason, "message": message.message}


def message_from_json(value: Mapping[str, object]) -> JobMessage:
    """Raises ProtocolError where it is no message."""
    try:
        match value.get("type"):
            case "progress":
                left = value["seconds_left"]
                return Progress(
                    phase=str(value["phase"]),
                    done=_number(value["done"]),
                    total=_number(value["total"]),
                    tokens_per_second=_number(value["tokens_per_second"]),
                    seconds_left=None if left is None else _number(left),
                    message=str(value["message"]),
                )
            case "finished":
                result, saved = value["result"], value["saved"]
                if isinstance(result, dict) and (saved is None or isinstance(saved, str)):
                    return Finished(result=result, saved=None if saved is None else Path(saved))
            case "failed":
                if value["reason"] in _REASONS:
                    return Failed(reason=value["reason"], message=str(value["message"]))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"not a message ({type(error).__name__}: {error!s:.60})") from None
    raise ProtocolError(f"not a message: type {value.get('type')!r:.40}")


def _number(value: object) -> float:
    if value is None:
        return 0.0
    if not isinstance(value, (int, float)):
        raise TypeError("a number was expected")
    return float(value)
