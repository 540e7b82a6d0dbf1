"""Shared fixtures: runs of the demo's tiny critic, trained once and copied for every session that asks for them.

`demo_run(scenario)` is the run directory of a short real training, `demo_run(scenario, pooling="last")` of a shorter
one that scores by the value at EOS; do not write into it. `demo_copy(scenario)` is a
copy for this test alone. `recorded_run(scenario)` is a full-length recorded run, without checkpoints. `tiny_critic` and
`tiny_tokenizer` are the healthy run's last checkpoint, loaded.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("short", derandomize=True, print_blob=True)
settings.register_profile("long", print_blob=True)
settings.load_profile("long" if os.environ.get("CRITICTUI_LONG") else "short")
"""The short form finds the same in the same tree every time; `make faults` tries what nobody has tried."""

SHORT = {
    "steps": 72,
    "batch": 24,
    "threads": 1,
    "fixed_prompts": 60,
    "student_steps": 25,
}
"""The short form: learns to about 0.78 on held-out pairs in ten seconds."""
SHORTER = {**SHORT, "steps": 24, "batch": 16, "fixed_prompts": 20, "student_steps": 0}
"""Enough to make scores differ, in three seconds."""
_ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _sources() -> str:
    digest = hashlib.sha256(repr([sorted(SHORT.items()), sorted(SHORTER.items())]).encode())
    for path in sorted((_ROOT / "critictui" / "demo").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _session_directory(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """One directory for all workers of a session."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(request.config, "workerinput") else base


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Callable[..., Path]:
    """`demo_run("healthy")`: a run directory as the demo leaves it. Shared by all tests: copy it before writing.

    Trained by the demo's own process. Kept in pytest's cache for as long as the demo's sources stay as they are.
    """
    pytest.importorskip("torch")
    session = _session_directory(tmp_path_factory, request)
    kept = Path(request.config.cache.mkdir("demo")) / _sources()  # type: ignore[union-attr]

    def run(scenario: str = "healthy", pooling: str = "mean") -> Path:
        from critictui.demo.live import train_in_child
        from critictui.demo.scenario import training_for

        name = scenario if pooling == "mean" else f"{scenario}-{pooling}"
        target = session / "demo-runs" / name
        with _locked(session / f"demo-{name}.lock"):
            if target.is_dir():
                return target
            with _locked(kept / f"{name}.lock"):
                ready = kept / name
                if not ready.is_dir():
                    fresh = kept / f"{name}.unfinished"
                    shutil.rmtree(fresh, ignore_errors=True)
                    size = SHORT if pooling == "mean" else SHORTER
                    student = size["student_steps"] if scenario == "healthy" else 0
                    how = {**size, "student_steps": student, "pooling": pooling}
                    train_in_child(training_for(scenario, fresh, **how))
                    fresh.rename(ready)
            shutil.copytree(ready, target.with_suffix(".unfinished"))
            target.with_suffix(".unfinished").rename(target)
        return target

    return run


@pytest.fixture
def demo_copy(demo_run: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """`demo_copy("healthy")`: a copy of `demo_run("healthy")` that this test may change."""

    def copy(scenario: str = "healthy") -> Path:
        target = tmp_path / f"run-{scenario}"
        if not target.exists():
            shutil.copytree(demo_run(scenario), target)
        return target

    return copy


@pytest.fixture
def recorded_run(tmp_path: Path) -> Callable[..., Path]:
    """`recorded_run("collapse")`: log and event files of a full-length run (240 steps), in a moment, without torch."""

    def play_back(scenario: str = "healthy") -> Path:
        from critictui.demo.recording import load_recording, play

        target = tmp_path / f"recorded-{scenario}"
        if not target.exists():
            play(load_recording(scenario), target, speed=0)
        return target

    return play_back


@pytest.fixture(scope="session")
def demo_checkpoint(demo_run: Callable[..., Path]) -> Path:
    """`global_step_N/critic` of the healthy run's last step, FSDP2 shards of two ranks."""
    run = demo_run("healthy")
    step = (run / "latest_checkpointed_iteration.txt").read_text().strip()
    return run / f"global_step_{step}" / "critic"


@pytest.fixture(scope="session")
def tiny_tokenizer(demo_checkpoint: Path) -> Any:
    """The healthy run's tokenizer (transformers, with chat template)."""
    from critictui.demo.text import load_tokenizer

    return load_tokenizer(demo_checkpoint / "huggingface")


@pytest.fixture(scope="session")
def tiny_critic(demo_checkpoint: Path) -> Any:
    """The healthy run's last critic: `Qwen2ForTokenClassification`, eval mode, float32; deepcopy before changing it."""
    from critictui.demo.verl_files import load_critic

    return load_critic(demo_checkpoint)


@pytest.fixture(scope="session")
def forms() -> ModuleType:
    """What writes a critic in every form that checkpoints have; skipped without torch, which writes them."""
    pytest.importorskip("torch", reason="needs the extra [score]")
    return importlib.import_module("forms")
