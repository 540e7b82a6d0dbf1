"""Where foreign bytes come in, one function a door: any input gives a result or a declared error."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.pickle_records import load_records
from critictui.checkpoint.safetensors_header import read_header
from critictui.checkpoint.weights import parse_json
from critictui.config import Known, load_config
from critictui.health.settings import LIMITS
from critictui.monitor.alarm_log import AlarmLog
from critictui.run import console, jsonl, trainer_state
from critictui.run.config_text import printed_scalars, yaml_scalars
from critictui.run.console import ConsoleLog
from critictui.run.event_record import MalformedError, decode
from critictui.run.events import EventFile
from critictui.run.framing import candidates, frames
from critictui.run.jsonl import JsonLines
from critictui.run.log_view import LogView
from critictui.run.source import Budget, Source
from critictui.run.text import LINE_LIMIT, sanitise, sanitise_line
from critictui.run.trainer_state import TrainerState
from critictui.run.training_config import find_training_config
from critictui.scoring.protocol import ProtocolError, job_from_json, message_from_json, unframe
from critictui.scoring.results import ResultsFolder

_BUDGET = Budget(1 << 20, 5.0)
_NEVER = {*range(9), *range(11, 32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_KNOWN = Known(("critic/d_acc",), ("verl",), LIMITS)


@dataclass(frozen=True)
class Target:
    """One door."""

    run: Callable[[bytes], None]
    declared: tuple[type[Exception], ...] = ()
    """Errors that are an answer; any other one is a crash."""

    def __call__(self, data: bytes) -> None:
        try:
            self.run(data)
        except self.declared:
            return


def _file(name: str, data: bytes) -> Path:
    """A file in this process's own directory, below the one for temporary files."""
    path = Path(tempfile.gettempdir(), f"critictui-fuzz-{os.getpid()}", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _read(source: Source, size: int) -> None:
    """Read a source to its end, and check its books."""
    polls, more = 0, True
    while more:
        reading = source.poll(_BUDGET)
        more, polls = reading.more, polls + 1
        assert polls < 50, "it never ends"
        assert reading.facts.state != "error" or source.kind == "trainer-state", reading.facts.message
        assert 0 <= reading.facts.read <= max(size, reading.facts.size)
        for s in reading.scalars:
            assert len(s.tag) == len(s.step) == len(s.wall_time) == len(s.value) == len(s.position)
            assert not len(s.tag) or int(s.tag.max()) < len(s.tags)
        for lost in reading.skipped:
            assert lost.reason
            assert lost.records >= 0 <= lost.bytes
    source.close()


def events(data: bytes) -> None:
    """Record framing, and what the records hold."""
    found = frames(data)
    assert found.end <= len(data)
    for _, length in candidates(data):
        assert length >= 0
    _read(EventFile(_file("events.out.tfevents.1.h", data), "events"), len(data))
    decode(data)


def log(data: bytes) -> None:
    """A console log, as a source and as pages to read."""
    console.looks_like(data, "train.log")
    path = _file("train.log", data)
    _read(ConsoleLog(path, "train.log"), len(data))
    page = LogView(path).tail(50)
    assert all(len(line) <= LINE_LIMIT and "\n" not in line and "\x1b" not in line for line in page.lines)
    LogView(path).search(data[:40].decode("latin-1"), after=0)


def text(data: bytes) -> None:
    """The sanitiser: nothing that a terminal obeys, nothing invisible that turns text around, bounded, idempotent."""
    wide = data[: len(data) // 2 * 2].decode("utf-16-le", "replace")
    for foreign in (data.decode("utf-8", "surrogateescape"), wide):
        limit = 1 + len(data) % 97
        for shown in (sanitise(foreign), sanitise(foreign, limit), sanitise_line(foreign, limit)):
            assert not {ord(c) for c in shown} & _NEVER, ascii(shown)
            assert not any(0xD800 <= ord(c) <= 0xDFFF for c in shown)
            assert len(shown) <= LINE_LIMIT
            assert sanitise(shown) == shown
        assert len(sanitise(foreign, limit)) <= limit
        assert sanitise(sanitise(foreign, limit), limit) == sanitise(foreign, limit)


def safetensors(data: bytes) -> None:
    """A safetensors header."""
    path = _file("model.safetensors", data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for tensor in read_header(path, descriptor).values():
            assert all(size >= 0 for size in tensor.shape)
    finally:
        os.close(descriptor)


def archive(data: bytes) -> None:
    """A zip archive of `torch.save`, and the records in its pickle."""
    from critictui.checkpoint.archive import open_state_dict

    state = open_state_dict(_file("model_world_size_1_rank_0.pt", data))
    try:
        for pieces in state.tensors.values():
            assert all(0 <= piece.offset <= len(data) for piece in pieces)
    finally:
        state.close()


def pickle(data: bytes) -> None:
    """The opcodes of a pickle."""
    load_records(data, "x.pt")


def config(data: bytes) -> None:
    """Configuration: ours, and what trainers and models leave behind."""
    folder = _file("config/critictui.toml", data).parent
    for notice in load_config(folder, environ={}, known=_KNOWN).notices:
        assert "critictui.toml" in notice, notice
    foreign = data.decode("utf-8", "replace")
    yaml_scalars(foreign)
    printed_scalars(foreign.split("\n"))
    _file("hydra/.hydra/config.yaml", data)
    find_training_config(_file("hydra/a.log", data).parent)
    parse_json(_file("config.json", data))


def json_files(data: bytes) -> None:
    """Metrics as JSONL, a trainer's state, a score's result, the alarm log."""
    jsonl.looks_like(data, "metrics.jsonl")
    trainer_state.looks_like(data, "trainer_state.json")
    _read(JsonLines(_file("metrics.jsonl", data), "metrics.jsonl"), len(data))
    _read(TrainerState(_file("trainer_state.json", data), "trainer_state.json"), len(data))
    run = _file("run/critictui/scores/step-1.json", data).parents[2]
    results = ResultsFolder(run)
    assert len(results.poll()) + len(results.notices) == 1
    _file("run/critictui/alarms.jsonl", data)
    kept = AlarmLog(run)
    assert kept.acknowledged([]) == frozenset()
    kept.record([], (1 << 40, 1 << 40))


def protocol(data: bytes) -> None:
    """What a worker is told and says."""
    value = unframe(data)
    for reader in (message_from_json, job_from_json):
        try:
            reader(value)
        except ProtocolError:
            continue


TARGETS: dict[str, Target] = {
    "events": Target(events, (MalformedError,)),
    "log": Target(log),
    "text": Target(text),
    "safetensors": Target(safetensors, (CheckpointError,)),
    "archive": Target(archive, (CheckpointError,)),
    "pickle": Target(pickle, (CheckpointError,)),
    "config": Target(config, (CheckpointError,)),
    "json": Target(json_files),
    "protocol": Target(protocol, (ProtocolError,)),
}
