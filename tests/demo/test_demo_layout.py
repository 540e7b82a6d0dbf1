"""What lies in a demo run is what verl would have left there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from critictui.run.metrics import D_ACC, SCORE_DIFF, TEACHER_MEAN

pytestmark = pytest.mark.torch


def _loaded(path: Path) -> Any:
    torch = pytest.importorskip("torch")
    return torch.load(path, weights_only=True)


def _described(shard: dict[str, Any]) -> dict[str, tuple[str, str, str, int]]:
    """Name to (type, placements, mesh, dimensions)."""
    return {name: (type(t).__name__, str(t.placements), str(t.device_mesh), t.dim()) for name, t in shard.items()}


def test_shards_load_safely_and_join_to_the_model(demo_checkpoint: Path, tiny_critic: Any) -> None:
    shards = [_loaded(demo_checkpoint / f"model_world_size_2_rank_{rank}.pt") for rank in (0, 1)]
    assert list(shards[0]) == list(tiny_critic.state_dict())
    assert [tuple(s["score.weight"].to_local().shape) for s in shards] == [(1, 32), (1, 32)]
    assert [tuple(s["score.bias"].to_local().shape) for s in shards] == [(1,), (0,)]
    assert sum(s["model.embed_tokens.weight"].to_local().shape[0] for s in shards) == tiny_critic.config.vocab_size


def test_shards_are_described_as_in_the_real_data_checkpoint_of_verl(demo_checkpoint: Path) -> None:
    data = os.environ.get("CRITICTUI_DATA")
    if not data:
        pytest.skip("CRITICTUI_DATA is not set: no checkpoint written by verl to compare with")
    real = Path(data) / "checkpoints" / "verl" / "fsdp2" / "global_step_100"
    names = {p.relative_to(real).as_posix() for p in real.rglob("*") if p.is_file()}
    ours = demo_checkpoint.parent
    # transformers 5 keeps the special tokens in tokenizer_config.json
    assert {p.relative_to(ours).as_posix() for p in ours.rglob("*") if p.is_file()} >= {
        name for name in names if not name.endswith("special_tokens_map.json")
    }
    for rank in (0, 1):
        file = f"critic/model_world_size_2_rank_{rank}.pt"
        assert _described(_loaded(ours / file)) == _described(_loaded(real / file))
    config = "critic/fsdp_config.json"
    assert json.loads((ours / config).read_text()) == json.loads((real / config).read_text())


def test_the_tracker_and_data_pt_say_the_step(demo_run: Callable[..., Path]) -> None:
    run = demo_run("healthy")
    step = int((run / "latest_checkpointed_iteration.txt").read_text())
    newest = max(int(p.name.removeprefix("global_step_")) for p in run.glob("global_step_*"))
    assert step == newest
    assert _loaded(run / f"global_step_{step}" / "data.pt") == {"_snapshot": {"_snapshot_step": step}}


def test_files_of_a_checkpoint_are_written_in_verls_order(demo_run: Callable[..., Path]) -> None:
    run = demo_run("healthy")
    step = run / f"global_step_{(run / 'latest_checkpointed_iteration.txt').read_text()}"
    order = [
        step / "critic" / "model_world_size_2_rank_0.pt",
        step / "critic" / "optim_world_size_2_rank_0.pt",
        step / "critic" / "extra_state_world_size_2_rank_0.pt",
        step / "critic" / "fsdp_config.json",
        step / "critic" / "huggingface" / "config.json",
        step / "data.pt",
        run / "latest_checkpointed_iteration.txt",
    ]
    times = [path.stat().st_mtime_ns for path in order]
    assert times == sorted(times)


def test_log_and_events_hold_the_same_values(
    demo_run: Callable[..., Path], read_events: Callable[[Path], dict]
) -> None:
    run = demo_run("healthy")
    (file,) = (run / "tensorboard").iterdir()
    series = read_events(file)
    lines = re.findall(
        r"^\x1b\[36m\(TaskRunner pid=\d+\)\x1b\[0m step:(\d+) - (.*)$", (run / "train.log").read_text(), re.MULTILINE
    )
    assert [int(step) for step, _ in lines] == series[D_ACC][0].tolist()
    for step, rest in lines:
        logged = dict(pair.rsplit(":", 1) for pair in rest.split(" - "))
        for tag in (D_ACC, SCORE_DIFF, TEACHER_MEAN, "response_length/mean", "timing_s/step"):
            value = float(logged[tag].removeprefix("np.float64(").removesuffix(")"))
            assert series[tag][1][int(step) - 1] == np.float32(value)


def test_the_log_begins_with_the_config_and_has_progress_bars(demo_run: Callable[..., Path]) -> None:
    text = re.sub(r"\x1b\[36m\(TaskRunner pid=\d+\)\x1b\[0m ", "", (demo_run("healthy") / "train.log").read_text())
    assert text.startswith("{'actor_rollout_ref': {")
    assert "'total_training_steps': 72" in text
    assert re.search(r"^Training Progress: 100%\|█+\| 72/72 \[", text, re.MULTILINE)


def test_the_fixed_set_was_held_out_and_its_ids_are_its_texts(
    demo_run: Callable[..., Path], tiny_tokenizer: Any
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    run = demo_run("healthy")
    seen = set(parquet.read_table(run / "data" / "train.parquet").column("content").to_pylist())
    header, *rows = [json.loads(line) for line in (run / "fixed_set.jsonl").read_text().splitlines()]
    assert header["schema"] == 1
    assert len(rows) == 60
    for row in rows:
        assert row["prompt"] not in seen
        for response in (row["teacher"], *row["students"]):
            assert tiny_tokenizer.decode(response["ids"][:-1]) == response["text"]
            assert response["ids"][-1] == tiny_tokenizer.eos_token_id


def test_teacher_and_student_differ_neither_in_length_nor_in_form(tiny_tokenizer: Any) -> None:
    from critictui.demo.task import make_pairs
    from critictui.demo.text import response_ids

    pairs = make_pairs(800, seed=5)
    teacher = [len(response_ids(tiny_tokenizer, pair.teacher)) for pair in pairs]
    student = [len(response_ids(tiny_tokenizer, pair.students[0])) for pair in pairs]
    assert abs(np.mean(teacher) - np.mean(student)) < 0.5
    assert sum(pair.teacher.count(".") - pair.students[0].count(".") for pair in pairs) / len(pairs) < 0.2


def test_the_student_is_a_causal_language_model_that_answers(
    demo_run: Callable[..., Path], tiny_tokenizer: Any
) -> None:
    transformers = pytest.importorskip("transformers")
    from critictui.demo.text import prompt_ids

    torch = pytest.importorskip("torch")
    model = transformers.AutoModelForCausalLM.from_pretrained(str(demo_run("healthy") / "data" / "student"))
    ids = torch.tensor([prompt_ids(tiny_tokenizer, "please tell me for a quiz : what is the oak ?")])
    new = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
    text = tiny_tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True)
    assert " is " in text
