"""The job `prepare`: training data and a student in, a fixed set out; an interrupted one goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from critictui.scoring import memory
from critictui.scoring.endpoint import Endpoint, Sampling, answers
from critictui.scoring.fixed_set import FixedPrompt, Response
from critictui.scoring.jobs import Finished, Job, Progress
from critictui.scoring.read_set import SET_SCHEMA
from critictui.scoring.recipe import ScoringError
from critictui.scoring.rollouts import Render, join_rollouts
from critictui.scoring.source_data import Prompt, SourceData, SourceRow, all_prompts, read_source
from critictui.scoring.write_set import SetWriter
from critictui.worker.jobs_table import Tell

Made = Iterator[tuple[SourceRow, tuple[Response, ...]]]


def run(job: Job, tell: Tell) -> Finished:
    """Make a fixed set.

    Options: `data`, `out`, the column names `prompt`, `teacher`, `student`, `num_samples` (null: all), `sampling` (the
    fields of Sampling), `batch_size`; where responses come from: `student_dir`, `endpoint` with `model` and
    `api_key_env`, `rollouts`, or the column `student`. Raises ScoringError.
    """
    options = job.options
    sampling = Sampling(**_mapping(options.get("sampling")))  # type: ignore[arg-type]
    _check(sampling)
    data = _read(options, sampling)
    rows, problems, bad = list(data.rows), list(data.problems), data.bad_rows
    if options.get("rollouts"):
        prompts = all_prompts(Path(data.path), str(options.get("prompt") or "content"), _loader(Path(data.path)))
        place = Path(str(options["rollouts"]))
        rows, complaints = join_rollouts(rows, prompts, place, sampling.responses, _render(options))
        problems, bad = problems + complaints.kept, bad + complaints.count
    maker = _maker(job, sampling, tell)
    rows = maker.merged(rows)
    with SetWriter(Path(str(options["out"])), {**_header(options, data), **maker.header()}) as writer:
        left = [row for row in rows if row.id not in writer.done]
        kept = len(rows) - len(left)
        tell(Progress(maker.phase, kept, len(rows), message=f"{kept} prompts are there already" if kept else ""))
        for row, students in maker.make(left):
            writer.add(FixedPrompt(row.id, row.prompt, Response(row.teacher), students))
        path = writer.finish([row.id for row in rows])
    answer = {"schema": 1, "path": str(path), "prompts": len(rows), "bad_rows": bad, "problems": problems[:20]}
    return Finished({**answer, "pairs": sum(len(item.students) for item in writer.done.values())}, saved=path)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _check(sampling: Sampling) -> None:
    wrong = (
        ("--temperature", sampling.temperature < 0),
        ("--top-p", not 0 < sampling.top_p <= 1),
        ("--max-new-tokens", sampling.max_new_tokens < 1),
        ("--responses", sampling.responses < 1),
    )
    for name, is_wrong in wrong:
        if is_wrong:
            raise ScoringError(f"{name} is out of its range")


def _read(options: Mapping[str, object], sampling: Sampling) -> SourceData:
    path, count = Path(str(options["data"])), options.get("num_samples")
    student = options.get("student")
    return read_source(
        path,
        prompt=str(options.get("prompt") or "content"),
        teacher=str(options.get("teacher") or "teacher_response"),
        student=str(student) if student else None,
        count=int(str(count)) if count is not None else None,
        seed=sampling.seed,
        load_pt=_loader(path),
    )


def _loader(path: Path) -> Callable[[Path], object] | None:
    """What reads a `.pt`, where the file is one: torch is imported for nothing else."""
    with path.open("rb") if path.is_file() else open("/dev/null", "rb") as file:  # noqa: PTH123
        if file.read(4)[:2] != b"PK":
            return None
    from critictui.worker.read_pt import load_pt

    return load_pt


def _render(options: Mapping[str, object]) -> Render | None:
    """How the named tokenizer's chat template renders a prompt: without its special tokens, as verl does, and whole."""
    if not options.get("tokenizer"):
        return None
    from critictui.worker.tokenizer import read_tokenizer
    from critictui.worker.tokens import prompt_ids

    folder = Path(str(options["tokenizer"]))
    tokenizer = read_tokenizer(folder)

    def render(prompt: Prompt) -> Iterator[str]:
        ids = prompt_ids(tokenizer, prompt, where=str(folder)).tolist()
        yield tokenizer.decode(ids, skip_special_tokens=True)
        yield tokenizer.decode(ids)

    return render


def _header(options: Mapping[str, object], data: SourceData) -> dict[str, object]:
    """What is known of the data; nothing in it differs between two runs of the same command."""
    columns = {name: options.get(name) for name in ("prompt", "teacher", "student")}
    provenance = {
        "source": "critictui prepare",
        "data": data.path,
        "data_sha256": data.sha256,
        "rows": data.total,
        "num_samples": options.get("num_samples"),
        "columns": columns,
    }
    return {"schema": SET_SCHEMA, "kind": "critictui-fixed-set", "provenance": provenance}


class _Stored:
    """Responses that the data or the rollouts hold already."""

    phase = "import"

    def __init__(self, sampling: Sampling, source: str) -> None:
        self._sampling = sampling
        self._source = source

    def header(self) -> dict[str, object]:
        return {"generation": {"by": self._source, "seed": self._sampling.seed}}

    def merged(self, rows: Sequence[SourceRow]) -> list[SourceRow]:
        """Rows of one prompt and teacher become one prompt with all their students, under the first one's id."""
        groups: dict[tuple[object, str], SourceRow] = {}
        for row in rows:
            key = (row.prompt, row.teacher)
            first = groups.get(key)
            groups[key] = row if first is None else replace(first, students=first.students + row.students)
        return list(groups.values())

    def make(self, rows: Sequence[SourceRow]) -> Made:
        return ((row, row.students) for row in rows)


class _Server:
    """Responses that a server writes."""

    phase = "generate"

    def __init__(self, options: Mapping[str, object], sampling: Sampling, tell: Tell) -> None:
        key = str(options.get("api_key_env") or "OPENAI_API_KEY")
        self._endpoint = Endpoint(str(options["endpoint"]), str(options.get("model") or ""), key)
        self._sampling = sampling
        self._at_once = int(str(options.get("batch_size") or 8))
        self._tell = tell

    def header(self) -> dict[str, object]:
        where = {"by": "endpoint", "endpoint": self._endpoint.url, "model": self._endpoint.model}
        return {"generation": {**where, **self._sampling.to_dict()}}

    def merged(self, rows: Sequence[SourceRow]) -> list[SourceRow]:
        return list(rows)

    def make(self, rows: Sequence[SourceRow]) -> Made:
        def progress(done: int, total: int) -> None:
            self._tell(Progress("generate", done, total))

        return answers(self._endpoint, rows, self._sampling, at_once=self._at_once, progress=progress)


class _Model:
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

    def merged(self, rows: Sequence[SourceRow]) -> list[SourceRow]:
        return list(rows)

    def make(self, rows: Sequence[SourceRow]) -> Made:
        from critictui.worker.generate import generate
        from critictui.worker.score_job import reporter

        report = reporter(self._tell, "generate")
        return generate(self._student, rows, self._sampling, batch_size=self._batch_size, progress=report)


def _maker(job: Job, sampling: Sampling, tell: Tell) -> _Stored | _Server | _Model:
    given = [name for name in ("student_dir", "endpoint", "rollouts", "student") if job.options.get(name)]
    if len(given) != 1:
        raise ScoringError(
            "say where the student's responses come from, once: --student DIR, --endpoint URL, --rollouts DIR or "
            "--student-column NAME"
        )
    if given == ["student_dir"]:
        return _Model(job, sampling, tell)
    if given == ["endpoint"]:
        return _Server(job.options, sampling, tell)
    return _Stored(sampling, "rollouts" if given == ["rollouts"] else "data")


def _device(job: Job, path: Path, dtype: str) -> str:
    """The device by the same rules as a score: training is never put at risk."""
    import torch

    size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    need = memory.need_bytes(size // 2, dtype)
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
