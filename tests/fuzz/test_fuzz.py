"""The short form of fuzzing: every door on valid files, and on a few hundred spoiled ones from a fixed seed."""

from __future__ import annotations

import random
import resource
import tempfile
import time
from pathlib import Path

import pytest
from fuzz.corpus import CORPUS, spoiled
from fuzz.targets import TARGETS

SEED = 20260607
COUNT = 200
SECONDS = 1.0
"""Of processor time an input may cost."""
KILOBYTES = 200 << 10


@pytest.fixture(autouse=True)
def _own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


@pytest.mark.parametrize("name", TARGETS)
def test_spoiled_input_gives_a_result_or_a_declared_error_in_bounded_time_and_memory(name: str) -> None:
    rng = random.Random(f"{SEED} {name}")
    print(f"seed {SEED}, target {name}")  # noqa: T201  shown when it fails
    TARGETS[name](CORPUS[name][0])  # whatever is imported late is imported now
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, data in enumerate(spoiled(CORPUS[name], rng, COUNT)):
        start = time.process_time()
        try:
            TARGETS[name](data)
        except Exception as error:
            error.add_note(f"target {name}, input {number}: {data[:300]!r}")
            raise
        assert time.process_time() - start < SECONDS, (number, data[:300])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < KILOBYTES


def test_every_target_has_a_corpus() -> None:
    assert CORPUS.keys() == TARGETS.keys()


FOUND: list[tuple[str, bytes]] = [
    ("config", b"pairs_per_step = -" + b"9" * 5000),
    ("config", b"refresh = 0x1" + b"0" * 5000),
    ("config", b"[thresholds.drift]\nsigma = 1" + b"0" * 400),
    ("json", b'{"tag":"a","step":1,"value":1,"wall_time":1' + b"0" * 400 + b"}\n"),
    ("json", b'{"step":1,"a":1,"timestamp":1' + b"0" * 400 + b"}\n"),
    ("json", b'{"Progress/kimg":{"num":1,"mean":1' + b"0" * 400 + b',"std":0}}\n'),
    (
        "protocol",
        b'{"type":"progress","phase":"","done":1' + b"0" * 400 + b',"total":1,"seconds_left":null,"message":""}',
    ),
]
"""What once broke a target."""


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_stays_mended(name: str, data: bytes) -> None:
    TARGETS[name](data)
