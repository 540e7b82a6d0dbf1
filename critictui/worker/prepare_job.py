"""The job `prepare`: training data and a student in, a fixed set out; an interrupted one goes on where it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from critictui.scoring.endpoint import Sampling, refuse_odd
from critictui.scoring.fixed_set import FixedPrompt, Response
from critictui.scoring.jobs import Finished, Job, Progress
from critictui.scoring.read_set import SET_SCHEMA
from critictui.scoring.result import TEMPLATE, TOKENIZER
from critictui.scoring.rollouts import Render, join_rollouts
from critictui.scoring.source_data import Prompt, SourceData, SourceRow, all_prompts, chosen, merged, read_source
from critictui.scoring.write_set import SetWriter
from critictui.worker.jobs_table import Tell
from critictui.worker.makers import maker_for


def run(job: Job, tell: Tell) -> Finished:
    """Make a fixed set.

    Options: `data`, `out`, the column names `prompt`, `teacher`, `student`, `num_samples` (null: all), `at_most` (fewer
    will do), `sampling` (the fields of Sampling), `batch_size`, `tokenizer` (a folder, of what was not written by a
    model here); where responses come from: `student_dir`, `endpoint` with `model` and `api_key_env`, `rollouts`, or the
    column `student`, of which at most `stored_responses` a prompt are taken. Raises ScoringError.
    """
    options = job.options
    sampling = Sampling(**_mapping(options.get("sampling")))  # type: ignore[arg-type]
    refuse_odd(sampling.to_dict())
    data, rows, notes = _sampled(options, sampling)
    tokenizer = _tokenizer(options)
    problems, bad = list(data.problems), data.bad_rows
    if options.get("rollouts"):
        prompts = all_prompts(Path(data.path), str(options.get("prompt") or "content"), _loader(Path(data.path)))
        place = Path(str(options["rollouts"]))
        joined, complaints = join_rollouts(rows, prompts, place, sampling.responses, tokenizer and _render(tokenizer))
        rows, problems, bad = merged(joined), problems + complaints.kept, bad + complaints.count
    maker = maker_for(job, sampling, tell)
    with SetWriter(
        Path(str(options["out"])), {**_header(options, data), **_hashes(tokenizer), **maker.header()}
    ) as writer:
        left = [row for row in rows if row.id not in writer.done]
        kept = len(rows) - len(left)
        tell(Progress(maker.phase, kept, len(rows), message=f"{kept} prompts are there already" if kept else ""))
        for row, students in maker.make(left):
            writer.add(FixedPrompt(row.id, row.prompt, Response(row.teacher), students))
        path = writer.finish([row.id for row in rows])
    notes += _empty(writer.done.values())
    answer = {"schema": 1, "path": str(path), "prompts": len(rows), "bad_rows": bad, "problems": problems[:20]}
    pairs = sum(len(item.students) for item in writer.done.values())
    return Finished({**answer, "pairs": pairs, "notes": notes}, saved=path)


def _empty(items: Iterable[FixedPrompt]) -> list[str]:
    """A word about responses without text."""
    students = [student for item in items for student in item.students]
    reasons = Counter(s.finish_reason or "unknown" for s in students if not s.text)
    if not reasons:
        return []
    why = ", ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
    return [f"{sum(reasons.values())} of {len(students)} responses are empty; finish reason: {why}"]


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _sampled(options: Mapping[str, object], sampling: Sampling) -> tuple[SourceData, list[SourceRow], list[str]]:
    """The data, the prompts that were sampled of it, and what is to be said of that.

    Of stored responses a row is not a prompt: several rows of one are its students, so they are joined before.
    """
    path, number = Path(str(options["data"])), options.get("num_samples")
    count, at_most = int(str(number)) if number is not None else None, bool(options.get("at_most"))
    student = options.get("student")
    data = read_source(
        path,
        prompt=str(options.get("prompt") or "content"),
        teacher=str(options.get("teacher") or "teacher_response"),
        student=str(student) if student else None,
        count=None if student else count,
        seed=sampling.seed,
        at_most=at_most,
        load_pt=_loader(path),
    )
    rows, notes, there = list(data.rows), list[str](), data.total
    if student:
        rows = merged(rows)
        there = len(rows)
        rows = [rows[i] for i in chosen(there, count, sampling.seed, str(path), of="prompts", at_most=at_most)]
        rows = _fewer(rows, options.get("stored_responses"), notes)
    if at_most and count is not None and there < count:
        notes.append(f"{path}: all {there} prompts are taken, as there are fewer than {count}")
    return data, rows, notes


def _fewer(rows: list[SourceRow], limit: object, notes: list[str]) -> list[SourceRow]:
    if limit is None:
        return rows
    kept = [replace(row, students=row.students[: int(str(limit))]) for row in rows]
    dropped = sum(len(row.students) for row in rows) - sum(len(row.students) for row in kept)
    if dropped:
        notes.append(f"{dropped} stored responses are left out: --responses {limit} to a prompt")
    return kept


def _loader(path: Path) -> Callable[[Path], object] | None:
    """What reads a `.pt`, where the file is one: torch is imported for nothing else."""
    with path.open("rb") if path.is_file() else open("/dev/null", "rb") as file:  # noqa: PTH123
        if file.read(4)[:2] != b"PK":
            return None
    from critictui.worker.read_pt import load_pt

    return load_pt


def _tokenizer(options: Mapping[str, object]) -> Any:
    """The one that was named, or None."""
    if not options.get("tokenizer"):
        return None
    from critictui.worker.tokenizer import read_tokenizer

    return read_tokenizer(Path(str(options["tokenizer"])))


def _hashes(tokenizer: Any) -> dict[str, object]:
    """What a header says of a tokenizer."""
    if tokenizer is None:
        return {}
    from critictui.worker.tokenizer import template_hash, tokenizer_hash

    return {TOKENIZER: tokenizer_hash(tokenizer), TEMPLATE: template_hash(tokenizer)}


def _render(tokenizer: Any) -> Render:
    """How its chat template renders a prompt: without the special tokens, as verl does, and whole."""
    from critictui.worker.tokens import prompt_ids

    def render(prompt: Prompt) -> Iterator[str]:
        ids = prompt_ids(tokenizer, prompt, where="the named tokenizer").tolist()
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
