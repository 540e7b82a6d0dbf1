"""Answers that are known: a scored run, a diagnosis, an explanation."""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.checkpoint.find import resolve_target
from critictui.diagnosis.finding import Cause, Diagnosis, Explanation, Finding
from critictui.monitor.snapshot import Snapshot
from critictui.scoring.recipe import Recipe
from critictui.scoring.result import FixedSetRef, ResponseRow, ScoreResult
from critictui.scoring.results import save_result
from critictui.scoring.statistics import compare_paired, pairs_of
from critictui.scoring.summary import summarise
from critictui.tui.evaluation.diagnosis_inquiry import DiagnosisInquiry
from critictui.tui.evaluation.explanation_inquiry import ExplanationInquiry
from critictui.tui.screens.diagnosis import DiagnosisScreen
from critictui.tui.screens.explanation import ExplanationScreen

HOSTILE = "a [bold]text[/] with \x1b]52;c;aGk=\x07 and \x1b[31mcolour, \u202ereversed"


def make_rows(scores: list[tuple[float, list[float]]]) -> list[ResponseRow]:
    """A teacher and its students a prompt."""
    rows = []
    for number, (teacher, students) in enumerate(scores):
        for index, value in enumerate([teacher, *students]):
            role = "student" if index else "teacher"
            text = f"{role} of {number}" if number else HOSTILE
            rows.append(
                ResponseRow(f"p{number}", f"question {number}", role, max(index - 1, 0), text, value, 12, value, 1.0,
                            value - 2, value + 2, False, "stop")
            )  # fmt: skip
    return rows


def make_result(step: int, rows: list[ResponseRow], **extra: object) -> ScoreResult:
    """Their score."""
    return summarise(
        rows, recipe=Recipe(), fixed_set=FixedSetRef("/sets/fixed.jsonl", "cd" * 32, 3, 5), step=step,
        checkpoint=f"/runs/warmup-v10/global_step_{step}/critic", fingerprint=f"{step:032d}",
        values={"mean": 0.5, "std": 1.5, "min": -4.0, "max": 5.0}, tokens=96, seconds={"total": 3.0}, device="cpu",
        dtype="float32", versions={}, extra=extra,
    )  # fmt: skip


GROUPS = [(2.0, [0.5, 3.5]), (1.0, [1.0, -1.0]), (0.0, [0.25])]


@pytest.fixture
def scored(tmp_path: Path, made_of: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """Two scored checkpoints on disk, the second compared with the first; the run is `run`, where we are."""
    monkeypatch.chdir(tmp_path)
    before, after = make_rows([(1.0, [2.0, 0.0]), (0.0, [1.0, -1.0]), (3.0, [2.0])]), make_rows(GROUPS)
    first = make_result(300, before)
    compared = {"step": 300, "d_acc": first.d_acc, **compare_paired(pairs_of(after), pairs_of(before)).to_dict()}
    second = make_result(310, after, previous=compared)
    kept = [
        dataclasses.replace(result, path=save_result(Path("run"), result, rows))
        for result, rows in ((first, before), (second, after))
    ]
    snapshot = made_of()
    watched = dataclasses.replace(snapshot.watched[0], scores=tuple(kept), own_scores=tuple(kept))
    return dataclasses.replace(snapshot, watched=(watched,))


SAMPLE = {
    "prompt_id": "p1", "role": "student", "text_chars": 30, "prompt_tokens": 9, "response_tokens": 12,
    "scored_tokens": 11, "value_min": -2.0, "value_max": 3.0, "value_mean": 0.5, "score": 0.5, "ends_in_eos": True,
    "truncated": False, "text": HOSTILE,
}  # fmt: skip
SPREAD = {"mean": 0.4, "std": 1.2, "min": -3.0, "max": 4.0, "n": 200}
DIAGNOSIS = Diagnosis(
    "broken",
    (
        Finding("head-missing", "critical", "a second load differs", {"difference": 0.7}, "load it strictly"),
        Finding("length-bias", "warning", "score follows length", {"spearman": 0.41}, "balance lengths"),
    ),
    {
        "checkpoint": "/runs/x", "step": 310, "parameters": 7_615_616_513, "dtypes": ["bfloat16"],
        "layout": "verl-fsdp", "fingerprint": "0" * 32,
        "head": {"weight_name": "score.weight", "mean": 0.001, "std": 0.02, "bias": None, "sha256": "0" * 64},
        "d_acc": 0.4575, "d_acc_low": 0.409, "d_acc_high": 0.506, "margin": 0.01, "pairs": 400, "tie_rate": 0.0,
        "teacher": SPREAD, "student": SPREAD, "values": SPREAD, "above_10": 0.0,
        "profile_teacher": [0.1 * i for i in range(20)], "profile_student": [-0.1 * i for i in range(20)],
        "samples": [SAMPLE, SAMPLE | {"score": -1.0, "role": "teacher", "scored_tokens": 0}],
    },
)  # fmt: skip
WAYS = [
    {"way": "real", "cause": "", "d_acc": 0.76, "d_acc_std": 0.0, "margin": 5.8, "margin_std": 0.0, "lands": False},
    {"way": "random-head-hf", "cause": "head-missing", "d_acc": 0.47, "d_acc_std": 0.18, "margin": -0.01,
     "margin_std": 0.1, "lands": True},
]  # fmt: skip
EXPLANATION = Explanation(
    "Training logged d_acc 0.760 at step 310, the test says 0.458: most likely head-missing.",
    (
        Cause("head-missing", "likely", "A random head gives 0.47 ± 0.18", {"d_acc": 0.47}, "load it with score"),
        Cause("by-chance", "ruled-out", "400 pairs: 40.9 to 50.6 %"),
        Cause("sampling-mismatch", "untested", "no training config was found", {}, "show critictui the config"),
    ),
    {"logged_d_acc": 0.76, "test_d_acc": 0.4575, "simulated": WAYS},
)  # fmt: skip


class Answered(DiagnosisInquiry):
    """A diagnosis that is there."""

    async def begin(self, main: object = None, *, confirmed: bool = False) -> None:
        self.diagnosis, self._behaviour = DIAGNOSIS, ("", {})
        self.stage, self.version = "done", 1
        self._bench.told()


class Explained(ExplanationInquiry):
    """An explanation that is there."""

    async def begin(self, main: object = None, *, confirmed: bool = False) -> None:
        self.explanation, self.stage = EXPLANATION, "done"
        self.version += 1
        self._bench.told()


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiagnosisScreen, "kind", Answered)
    monkeypatch.setattr(ExplanationScreen, "kind", Explained)


@pytest.fixture
def rows_of() -> Callable[[list[tuple[float, list[float]]]], list[ResponseRow]]:
    """`rows_of([(teacher, [student, ...]), ...])`."""
    return make_rows


@pytest.fixture
def result_of() -> Callable[..., ScoreResult]:
    """`result_of(step, rows, **extra)`."""
    return make_result


@pytest.fixture
def diagnosis() -> Diagnosis:
    """Broken: one critical finding, one warning, and what was measured."""
    return DIAGNOSIS


@pytest.fixture
def explanation() -> Explanation:
    """Most likely a random head."""
    return EXPLANATION


# --- a run and a worker

PROLOGUE = """
import json, os, signal, socket, struct, sys, time
channel = socket.socket(fileno=int(sys.argv[sys.argv.index("--channel") + 1]))
def exactly(n):
    data = b""
    while len(data) < n:
        data += channel.recv(n - len(data))
    return data
job = json.loads(exactly(struct.unpack(">I", exactly(4))[0]))
def send(**value):
    body = json.dumps(value).encode()
    channel.sendall(struct.pack(">I", len(body)) + body)
def progress(phase="score", done=45, total=100, rate=1204.0, left=12.0):
    send(type="progress", phase=phase, done=done, total=total, tokens_per_second=rate, seconds_left=left, message="")
def finish(result, saved=None):
    send(type="finished", result=result, saved=saved)
def fail(reason, message):
    send(type="failed", reason=reason, message=message)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Callable[[str], list[str]]:
    """A real program in the worker's place that behaves as its source says, and notes that it ran."""

    def make(source: str) -> list[str]:
        path = tmp_path / "worker.py"
        note = f"open({str(tmp_path / 'ran')!r}, 'a').write(f'{{os.getpid()}} {{job[\"kind\"]}}\\n')\n"
        path.write_text(PROLOGUE + note + textwrap.dedent(source))
        return [sys.executable, str(path)]

    return make


def write_critic(folder: Path) -> Path:
    """A checkpoint of two small tensors, written without torch: enough to be audited, not to be scored."""
    hidden, vocabulary = 8, 16
    tensors = {"model.embed_tokens.weight": (vocabulary, hidden), "score.weight": (1, hidden)}
    header: dict[str, object] = {}
    data = b""
    for name, shape in tensors.items():
        numbers = [((i * 37) % 19 - 9) / 10 for i in range(shape[0] * shape[1])]
        packed = struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    encoded = json.dumps(header).encode()
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "config.json").write_text(
        json.dumps({"model_type": "qwen2", "hidden_size": hidden, "vocab_size": vocabulary, "num_labels": 1})
    )
    return folder


@dataclasses.dataclass(frozen=True)
class Case:
    """A run directory with one checkpoint, and its snapshot."""

    run: Path
    checkpoint: Checkpoint
    snapshot: Snapshot


@pytest.fixture
def case(tmp_path: Path, made_of: Callable[..., Snapshot]) -> Case:
    """A complete checkpoint of step 310 and a fixed set, not scored."""
    run = tmp_path / "run"
    checkpoint = resolve_target(write_critic(run / "checkpoint-310"))
    row = {"prompt": "why?", "teacher_response": "because", "student_response": "so"}
    (run / "fixed_set.jsonl").write_text(f"{json.dumps(row)}\n" * 40)
    snapshot = made_of()
    watched = snapshot.watched[0]
    watched = dataclasses.replace(
        watched, run=dataclasses.replace(watched.run, path=run), checkpoints=(checkpoint,), scores=(), own_scores=()
    )
    return Case(run, checkpoint, dataclasses.replace(snapshot, watched=(watched,)))


@pytest.fixture
def critic_in() -> Callable[[Path], Path]:
    """`critic_in(folder)`: a small checkpoint there."""
    return write_critic
