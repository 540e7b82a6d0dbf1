"""The demo's other files: pairs go in; training data, the fixed set and saved responses come out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from critictui.demo.critic import Batch, Scores
from critictui.demo.scenario import Pooling
from critictui.demo.task import Pair
from critictui.demo.text import response_ids
from critictui.worker.tokenizer import template_hash, tokenizer_hash

GENERATION = {"temperature": 1.0, "top_p": 1.0, "n": 1}
"""The students' answers are drawn from their distribution as it is."""


RECIPES: dict[Pooling, str] = {"mean": "gad-fork", "last": "gad"}
"""The recipe that names each pooling."""


def write_recipe(path: Path, pooling: Pooling) -> None:
    """The run's own `critictui.toml`, where its scores are not the usual ones: nothing else in a verl run says so."""
    if RECIPES[pooling] != "gad-fork":
        path.write_text(f'recipe = "{RECIPES[pooling]}"\n', encoding="utf-8")


def write_parquet(path: Path, pairs: Sequence[Pair]) -> None:
    """Columns `content` and `teacher_response`, as GAD's training data."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"content": [p.prompt for p in pairs], "teacher_response": [p.teacher for p in pairs]})
    pq.write_table(table, path)


def write_fixed_set(path: Path, pairs: Sequence[Pair], tokenizer: Any, *, seed: int) -> None:
    """One header line, then one line a prompt with the teacher's and the students' stored answers, ids included."""
    header = {
        "schema": 1,
        "kind": "critictui-fixed-set",
        "provenance": {"source": "critictui demo", "seed": seed, "prompts": len(pairs)},
        "tokenizer_sha256": tokenizer_hash(tokenizer),
        "template_sha256": template_hash(tokenizer),
        "generation": GENERATION,
    }
    rows = [json.dumps(header, ensure_ascii=False)]
    for pair in pairs:
        students = [
            {"text": text, "ids": response_ids(tokenizer, text), "finish_reason": "stop", "seed": index}
            for index, text in enumerate(pair.students)
        ]
        teacher = {"text": pair.teacher, "ids": response_ids(tokenizer, pair.teacher)}
        row = {"id": pair.id, "prompt": pair.prompt, "teacher": teacher, "students": students}
        rows.append(json.dumps(row, ensure_ascii=False))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_samples(path: Path, batch: Batch, scores: Scores, *, step: int, pad: int) -> None:
    """Saved responses as training code saves them: prompt and student response in `input_ids`, both responses apart.

    Prompts are padded on the left and responses on the right, as verl lays out a batch; masks cover EOS too. The scores
    are those of the weights in `global_step_{step}`, by the run's own pooling.
    """
    n = batch.pairs
    prompts, prompt_mask = _padded(batch.prompts, pad, left=True)
    teachers, teacher_mask = _padded(batch.responses[:n], pad)
    students, student_mask = _padded(batch.responses[n:], pad)
    teacher, student = scores.teacher.detach(), scores.student.detach()
    torch.save(
        {
            "input_ids": torch.cat([prompts, students], 1),
            "attention_mask": torch.cat([prompt_mask, student_mask], 1),
            "student_responses": students,
            "teacher_responses": teachers,
            "student_response_mask": student_mask,
            "teacher_response_mask": teacher_mask,
            "teacher_scores": teacher,
            "student_scores": student,
            "batch_d_acc": float((teacher > student).float().mean()),
            "step": step,
        },
        path,
    )


def _padded(rows: Sequence[Sequence[int]], pad: int, *, left: bool = False) -> tuple[Tensor, Tensor]:
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        where = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, where] = torch.tensor(row)
        mask[i, where] = 1
    return ids, mask
