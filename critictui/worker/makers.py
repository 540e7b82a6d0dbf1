"""Where a fixed set's student responses come from: what is stored already, a server, or a model on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from critictui.scoring import memory
from critictui.scoring.endpoint import Endpoint, Sampling, answers
from critictui.scoring.fixed_set import Response
from critictui.scoring.jobs import Job, Progress
from critictui.scoring.recipe import ScoringError
from critictui.scoring.source_data import SourceRow
from critictui.worker.jobs_table import Tell

Made = Iterator[tuple[SourceRow, tuple[Response, ...]]]


class Stored:
    """Responses that the data or the rollouts hold already."""

    phase = "import"

    def __init__(self, sampling: Sampling, source: str) -> None:
        self._sampling = sampling
        self._source = source

    def header(self) -> dict[str, object]:
        return {"generation": {"by": self._source, "seed": self._sampling.seed}}

    def make(self, rows: Sequence[SourceRow]) -> Made:
        return ((row, row.students) for row in rows)


class Server:
    """Responses that a server writes."""

    phase = "generate"

    def __init__(self, options: Mapping[str, object], sampling: Sampling, tell: Tell) -> None:
        key = str(options.get("api_key_env") or "OPENAI_API_KEY")
        self._endpoint = Endpoint(str(options["endpoint"]), str(options.get("model") or ""), key, say=self._wait)
        self._sampling = sampling
        self._at_once = int(str(options.get("batch_size") or 8))
        self._tell = tell
        self._last = Progress("generate", 0, 1)
        # the set's header names it, so that no other one goes on with the set
        with self._endpoint.open() as client:
            self._endpoint.model = self._endpoint.find_model(client)

    def _wait(self, text: str) -> None:
        self._tell(replace(self._last, message=text))

    def header(self) -> dict[str, object]:
        where = {"by": "endpoint", "endpoint": self._endpoint.url, "model": self._endpoint.model}
        return {"generation": {**where, **self._sampling.to_dict()}}

    def make(self, rows: Sequence[SourceRow]) -> Made:
        def progress(done: int, total: int) -> None:
            self._last = Progress("generate", done, total)
            self._tell(self._last)

        return answers(self._endpoint, rows, self._sampling, at_once=self._at_once, progress=progress)


class Model:
    """Responses that a model on disk writes; it is loaded before anything is promised about the set."""

    phase = "generate"

    def __init__(self, job: Job, sampling: Sampling, tell: Tell) -> None:
        from critictui.worker.generate import load_student

        self._path = Path(str(job.options["student_dir"]))
        self._sampling = sampling
        self._tell = tell
        self._batch_size = int(str(job.options.get("batch_size") or 8))
        dtype = str(job.options.get("dtype") or "auto")
        tell(Progress("load", 0, 1, message=str(self._path)))
        self._student = load_student(self._path, _device(job, self._path, dtype), dtype)

    def header(self) -> dict[str, object]:
        from critictui.worker.score import versions
        from critictui.worker.tokenizer import template_hash, tokenizer_hash

        tokenizer, model = self._student.tokenizer, self._student.model
        generation = {
            "by": "transformers",
            "student": str(self._path),
            "student_fingerprint": _fingerprint(self._path),
            **self._sampling.to_dict(),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": model.device.type,
            "versions": versions(),
        }
        return {
            "tokenizer_sha256": tokenizer_hash(tokenizer),
            "template_sha256": template_hash(tokenizer),
            "generation": generation,
        }

    def make(self, rows: Sequence[SourceRow]) -> Made:
        from critictui.worker.generate import generate
        from critictui.worker.score_job import reporter

        report = reporter(self._tell, "generate")
        return generate(self._student, rows, self._sampling, batch_size=self._batch_size, progress=report)


def maker_for(job: Job, sampling: Sampling, tell: Tell) -> Stored | Server | Model:
    given = [name for name in ("student_dir", "endpoint", "rollouts", "student") if job.options.get(name)]
    if len(given) != 1:
        raise ScoringError(
            "say where the student's responses come from, once: --student DIR, --endpoint URL, --rollouts DIR or "
            "--student-column NAME"
        )
    if given == ["student_dir"]:
        return Model(job, sampling, tell)
    if given == ["endpoint"]:
        return Server(job.options, sampling, tell)
    return Stored(sampling, "rollouts" if given == ["rollouts"] else "data")


def _device(job: Job, path: Path, dtype: str) -> str:
    """The device by the same rules as a score: training is never put at risk."""
    import torch

    size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    need = memory.need_of(size // 2, dtype)
    readings = memory.read_gpus() if torch.cuda.is_available() else ()
    chosen = memory.place(job.device, readings, need, share=bool(job.options.get("share_gpu")))
    if not chosen.device:
        raise ScoringError(chosen.message)
    return chosen.device


def _fingerprint(path: Path) -> str:
    from critictui.checkpoint.audit import audit
    from critictui.checkpoint.checkpoint import CheckpointError

    try:
        return audit(path).fingerprint
    except CheckpointError:
        return ""
