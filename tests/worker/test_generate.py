"""A fixed set is the same, byte for byte, whatever the batch, the order, and how often it was interrupted."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from critictui.checkpoint.checkpoint import Checkpoint
from critictui.scoring.endpoint import Sampling
from critictui.scoring.jobs import Finished, Job, Progress
from critictui.scoring.read_set import read_fixed_set
from critictui.scoring.recipe import ScoringError
from critictui.scoring.source_data import SourceRow
from critictui.worker import lanes, prepare_job
from critictui.worker.generate import Student, generate, load_student, next_token
from critictui.worker.tokenizer import open_tokenizer, template_hash, tokenizer_hash

pytestmark = pytest.mark.torch

WORDS = ("alpha", "beta", "gamma", "delta", "river", "stone", "light", "proof")


def make_student(path: Path, tokenizer: Any, kind: str = "qwen2", **changes: Any) -> Path:
    """A causal language model with random weights, saved as students are."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {
        "vocab_size": 384,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "eos_token_id": 2,
        "bos_token_id": None,
    }
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(settings | changes)))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def student_path(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    return make_student(tmp_path_factory.mktemp("student"), tokenizer)


@pytest.fixture(scope="session")
def student(student_path: Path) -> Student:
    return load_student(student_path, "cpu")


@pytest.fixture(scope="session")
def rows() -> list[SourceRow]:
    generator = random.Random(4)
    texts = [" ".join(generator.choice(WORDS) for _ in range(generator.randint(2, 25))) for _ in range(9)]
    return [SourceRow(str(number), text, "alpha beta", ()) for number, text in enumerate(texts)]


SAMPLING = Sampling(temperature=0.9, top_p=0.95, max_new_tokens=20, responses=3, seed=42)


def made(student: Student, rows: list[SourceRow], batch_size: int, sampling: Sampling = SAMPLING) -> dict[str, Any]:
    return {row.id: responses for row, responses in generate(student, rows, sampling, batch_size=batch_size)}


def test_responses_depend_on_neither_batch_size_nor_order(student: Student, rows: list[SourceRow]) -> None:
    expected = made(student, rows, 1)
    assert student.lanes == lanes.LANES
    assert len({r.ids for responses in expected.values() for r in responses}) > 20
    shuffled = rows[::-1]
    for batch_size in (2, 5, 8, 13, 100):
        assert made(student, shuffled, batch_size) == expected
    assert made(student, rows[4:5], 8) == {"4": expected["4"]}


def test_tiles_write_what_a_row_alone_with_a_cache_would(student_path: Path, rows: list[SourceRow]) -> None:
    tiled, alone = load_student(student_path, "cpu", "float64"), load_student(student_path, "cpu", "float64")
    alone.model.config._attn_implementation = "sdpa"
    alone.lanes = 0
    assert made(tiled, rows, 8) == made(alone, rows, 8)


@pytest.mark.parametrize(("kind", "window"), [("mistral", 6), ("llama", None)])
def test_other_architectures_too(
    tmp_path: Path, tokenizer: Any, rows: list[SourceRow], kind: str, window: int | None
) -> None:
    changes = {} if window is None else {"sliding_window": window}
    path = make_student(tmp_path / kind, tokenizer, kind, **changes)
    tiled, alone = load_student(path, "cpu", "float64"), load_student(path, "cpu", "float64")
    alone.model.config._attn_implementation = "sdpa"
    alone.lanes = 0
    assert tiled.lanes == lanes.LANES
    assert made(tiled, rows[:4], 3) == made(alone, rows[:4], 3)


def test_greedy_is_what_transformers_generates(student: Student, student_path: Path, rows: list[SourceRow]) -> None:
    from transformers import AutoModelForCausalLM

    from critictui.worker.tokens import prompt_ids

    model = AutoModelForCausalLM.from_pretrained(student_path).eval()
    sampling = Sampling(temperature=0, max_new_tokens=15, responses=1)
    found = made(student, rows, 4, sampling)
    for row in rows:
        ids = torch.tensor(prompt_ids(student.tokenizer, row.prompt))[None]
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=15)
        assert found[row.id][0].ids == tuple(whole[0, ids.shape[1] :].tolist())


def test_only_new_tokens_are_text_and_the_end_is_kept(student: Student, rows: list[SourceRow]) -> None:
    responses = [r for found in made(student, rows, 8).values() for r in found]
    for response in responses:
        assert response.ids is not None
        assert (response.ids[-1] in student.ends) == (response.finish_reason == "stop")
        assert (len(response.ids) == 20) or response.finish_reason == "stop"
        assert "<|im_" not in response.text
        assert "assistant" not in response.text
    assert {r.finish_reason for r in responses} == {"stop", "length"}
    assert len({r.seed for r in responses}) == len(responses)


def test_draws_follow_the_distribution_that_transformers_draws_from() -> None:
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    generator = np.random.default_rng(0)
    for temperature, top_p, top_k in ((0.6, 0.9, 0), (1.3, 1.0, 5), (0.8, 0.35, 0), (1.0, 0.7, 12)):
        logits = generator.normal(size=40).astype(np.float32) * 2
        scores = TemperatureLogitsWarper(temperature)(None, torch.tensor(logits, dtype=torch.float64)[None])
        if top_k:
            scores = TopKLogitsWarper(top_k)(None, scores)
        if top_p < 1:
            scores = TopPLogitsWarper(top_p)(None, scores)
        expected = scores.softmax(-1)[0].numpy()
        sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
        chances = (np.arange(20000) + 0.5) / 20000
        drawn = np.bincount([next_token(logits, sampling, float(c)) for c in chances], minlength=40) / 20000
        np.testing.assert_allclose(drawn, expected, atol=1.1e-4)


def test_a_student_without_all_weights_is_refused(tmp_path: Path, student_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(student_path / "model.safetensors")
    del tensors["model.norm.weight"]
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((student_path / name).read_bytes())
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ScoringError, match=r"model\.norm\.weight"):
        load_student(tmp_path, "cpu")
    with pytest.raises(ScoringError, match=r"config\.json"):
        load_student(tmp_path / "nothing", "cpu")


def test_a_student_reads_prompts_with_the_tokens_that_scoring_and_training_read_them_with(
    tmp_path: Path, student_path: Path
) -> None:
    """Its model type would have transformers put another pre-tokenizer in the place of the stored one."""
    from tokenizers import Tokenizer, pre_tokenizers

    shutil.copytree(student_path, tmp_path / "student")
    stored = Tokenizer.from_file(str(tmp_path / "student" / "tokenizer.json"))
    stored.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    stored.save(str(tmp_path / "student" / "tokenizer.json"))
    critic = Checkpoint(tmp_path / "student", 5, "hf", "complete", "", 0, (), 0.0)
    trained, student = open_tokenizer(critic, None), load_student(tmp_path / "student", "cpu").tokenizer
    assert student("alpha 9 beta")["input_ids"] == trained("alpha 9 beta")["input_ids"]
    assert tokenizer_hash(student) == tokenizer_hash(trained)
    assert template_hash(student) == template_hash(trained)


# the whole job


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import pandas

    generator = random.Random(1)
    said = [" ".join(generator.choice(WORDS) for _ in range(6)) for _ in range(30)]
    prompts: list[object] = [
        [{"role": "system", "content": "be brief"}, {"role": "user", "content": f"{text} {n}"}]
        for n, text in enumerate(said)
    ]
    path = tmp_path_factory.mktemp("data") / "train.parquet"
    pandas.DataFrame({"content": prompts, "teacher_response": said}).to_parquet(path)
    return path


def job(data: Path, out: Path, model: Path, **options: Any) -> Job:
    sampling = {"temperature": 0.8, "top_p": 0.9, "top_k": 0, "max_new_tokens": 12, "responses": 2, "seed": 42}
    given = {"data": str(data), "out": str(out), "num_samples": 7, "sampling": sampling, "student_dir": str(model)}
    return Job("prepare", device="cpu", options={**given, **options})


def test_prepare_twice_with_other_batch_sizes_gives_the_same_file(
    tmp_path: Path, data: Path, student_path: Path
) -> None:
    import pandas

    seen: list[Progress] = []
    files = []
    for batch_size in (1, 3, 16):
        out = tmp_path / f"set-{batch_size}.jsonl"
        finished = prepare_job.run(job(data, out, student_path, batch_size=batch_size), seen.append)
        assert isinstance(finished, Finished)
        files.append(out.read_bytes())
    assert files[0] == files[1] == files[2]
    found = read_fixed_set(tmp_path / "set-1.jsonl")
    frame = pandas.read_parquet(data).sample(7, random_state=42)
    assert [int(p.id) for p in found.prompts] == frame.index.tolist()
    assert [p.teacher.text for p in found.prompts] == frame["teacher_response"].tolist()
    assert [p.prompt[1].content for p in found.prompts] == [m[1]["content"] for m in frame["content"]]  # type: ignore[union-attr]
    assert found.pairs == 14
    assert found.header["generation"]["temperature"] == 0.8  # type: ignore[index]
    assert len(str(found.header["tokenizer_sha256"])) == 64
    assert not list(tmp_path.glob("*.partial"))
    assert any(p.phase == "generate" and p.done == p.total for p in seen)


def test_an_interrupted_run_goes_on_and_ends_in_the_same_file(
    tmp_path: Path, data: Path, student_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    prepare_job.run(job(data, whole, student_path), lambda _: None)
    inner = prepare_job.SetWriter.add
    kept: list[str] = []

    def stops_after_three(self: Any, item: Any) -> None:
        if len(kept) == 3:
            raise KeyboardInterrupt
        inner(self, item)
        kept.append(item.id)

    monkeypatch.setattr(prepare_job.SetWriter, "add", stops_after_three)
    with pytest.raises(KeyboardInterrupt):
        prepare_job.run(job(data, cut, student_path), lambda _: None)
    assert not cut.exists()
    with (tmp_path / "cut.jsonl.partial").open("ab") as file:
        file.write(b'{"id": "99", "prompt": "cut sh')  # a crash in the middle of a line
    again: list[str] = []
    monkeypatch.setattr(prepare_job.SetWriter, "add", lambda self, item: (again.append(item.id), inner(self, item)))
    prepare_job.run(job(data, cut, student_path, batch_size=2), lambda _: None)
    assert cut.read_bytes() == whole.read_bytes()
    assert len(again) == 4
    assert not set(again) & set(kept)


def test_a_partial_set_of_other_parameters_is_not_mixed_in(tmp_path: Path, data: Path, student_path: Path) -> None:
    out = tmp_path / "set.jsonl"
    row = {"id": "1", "prompt": "why ?", "teacher": {"text": "so"}, "students": [{"text": "no"}]}
    (tmp_path / "set.jsonl.partial").write_text(f'{{"schema": 1, "other": true}}\n{json.dumps(row)}\n')
    with pytest.raises(ScoringError, match="other data or parameters"):
        prepare_job.run(job(data, out, student_path), lambda _: None)
    out.write_text("mine")
    with pytest.raises(ScoringError, match="never overwritten"):
        prepare_job.run(job(data, out, student_path), lambda _: None)
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_samples": 500}, "has 30 rows, 500 were asked for"),
        ({"prompt": "question"}, "'question' is missing; there are content, teacher_response; .*--prompt-column"),
        ({"student_dir": None}, "once"),
        ({"endpoint": "http://x"}, "once"),
        ({"sampling": {"top_p": 0.0}}, "--top-p 0.0: must be above 0 and at most 1"),
        ({"sampling": {"seed": -1}}, "--seed -1: must be 0 or more"),
        ({"sampling": {"temperature": float("nan")}}, "--temperature nan: not a finite number"),
        ({"sampling": {"max_new_tokens": 0}}, "--max-new-tokens 0: must be 1 or more"),
    ],
)
def test_what_cannot_be_prepared_is_said(
    tmp_path: Path, data: Path, student_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScoringError, match=said):
        prepare_job.run(job(data, tmp_path / "s.jsonl", student_path, **options), lambda _: None)


def test_stored_responses_are_imported_and_grouped_by_prompt(tmp_path: Path) -> None:
    torch.save(
        [
            {"prompt": "p1", "teacher_response": "t1", "student_response": "s1"},
            {"prompt": "p2", "teacher_response": "t2", "student_response": "s2"},
            {"prompt": "p1", "teacher_response": "t1", "student_response": "s3"},
            {"prompt": "p3", "teacher_response": float("nan"), "student_response": "s4"},
        ],
        tmp_path / "samples.pt",
    )
    options = {"student_dir": None, "student": "student_response", "prompt": "prompt", "num_samples": None}
    out = tmp_path / "set.jsonl"
    finished = prepare_job.run(job(tmp_path / "samples.pt", out, Path(), **options), lambda _: None)
    found = read_fixed_set(out)
    assert [[s.text for s in p.students] for p in found.prompts] == [["s1", "s3"], ["s2"]]
    assert finished.result["bad_rows"] == 1


def import_job(data: Path, out: Path, **options: Any) -> dict[str, object]:
    """What `prepare --student-column` does of what the report's scripts saved."""
    given = {
        "student_dir": None,
        "student": "student_response",
        "prompt": "prompt",
        "num_samples": 100,
        "at_most": True,
    }
    return dict(prepare_job.run(job(data, out, Path(), **{**given, **options}), lambda _: None).result)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Forty prompts of three rows each."""
    rows = [
        {"prompt": f"p{n}", "teacher_response": f"t{n}", "student_response": f"s{n}-{k}"}
        for k in range(3)
        for n in range(40)
    ]
    torch.save(rows, tmp_path / "samples.pt")
    return tmp_path / "samples.pt"


def test_of_stored_responses_prompts_are_sampled_with_all_their_rows(tmp_path: Path, stored: Path) -> None:
    answer = import_job(stored, tmp_path / "set.jsonl", num_samples=10, at_most=False)
    found = read_fixed_set(tmp_path / "set.jsonl")
    assert (answer["prompts"], answer["pairs"], answer["notes"]) == (10, 30, [])
    assert all([s.text for s in p.students] == [f"s{p.id}-{k}" for k in range(3)] for p in found.prompts)
    with pytest.raises(ScoringError, match="has 40 prompts, 41 were asked for"):
        import_job(stored, tmp_path / "more.jsonl", num_samples=41, at_most=False)


def test_without_a_number_all_prompts_of_a_small_file_are_taken_and_that_is_said(
    tmp_path: Path, stored: Path, data: Path, student_path: Path
) -> None:
    answer = import_job(stored, tmp_path / "set.jsonl")
    assert (answer["prompts"], answer["pairs"]) == (40, 120)
    assert answer["notes"] == [f"{stored}: all 40 prompts are taken, as there are fewer than 100"]
    sampling = {"max_new_tokens": 1, "responses": 1}
    options = {"num_samples": 100, "at_most": True, "sampling": sampling}
    made = prepare_job.run(job(data, tmp_path / "made.jsonl", student_path, **options), lambda _: None).result
    assert made["prompts"] == 30


def test_stored_responses_beyond_the_number_asked_for_are_left_out_and_counted(tmp_path: Path, stored: Path) -> None:
    answer = import_job(stored, tmp_path / "set.jsonl", stored_responses=2)
    assert answer["pairs"] == 80
    assert "40 stored responses are left out: --responses 2 to a prompt" in answer["notes"]  # type: ignore[operator]


def test_an_imported_set_knows_the_tokenizer_that_was_named(
    tmp_path: Path, stored: Path, student_path: Path, tokenizer: Any
) -> None:
    import_job(stored, tmp_path / "set.jsonl", tokenizer=str(student_path))
    header = read_fixed_set(tmp_path / "set.jsonl").header
    assert header["tokenizer_sha256"] == tokenizer_hash(tokenizer)
    assert header["template_sha256"] == template_hash(tokenizer)


def test_rollouts_of_training_are_joined_with_the_data(tmp_path: Path, data: Path) -> None:
    import pandas

    frame = pandas.read_parquet(data)
    folder = tmp_path / "rollouts"
    folder.mkdir()
    for step in (2, 10):
        lines = [
            json.dumps(
                {
                    "input": f"system\nbe brief\nuser\n{frame['content'][n][1]['content']}\nassistant\n",
                    "output": f"o{step}-{n}",
                }
            )
            for n in range(20)
        ]
        (folder / f"{step}.jsonl").write_text("\n".join([*lines, "{broken"]) + "\n")
    out = tmp_path / "set.jsonl"
    options: dict[str, Any] = {"student_dir": None, "rollouts": str(folder), "num_samples": None}
    finished = prepare_job.run(job(data, out, Path(), **options), lambda _: None)
    found = read_fixed_set(out)
    assert [[s.text for s in p.students] for p in found.prompts] == [[f"o2-{n}", f"o10-{n}"] for n in range(20)]
    assert finished.result["bad_rows"] == 2


def test_rollouts_are_told_by_the_template_of_a_named_tokenizer(
    tmp_path: Path, data: Path, student_path: Path, tokenizer: Any
) -> None:
    import pandas

    chats = [[dict(m) for m in chat] for chat in pandas.read_parquet(data)["content"]]
    own = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}>"
    shutil.copytree(student_path, tmp_path / "own")
    (tmp_path / "own" / "chat_template.jinja").write_text(own)
    texts = [tokenizer.apply_chat_template(c, chat_template=own, tokenize=False) for c in chats[:2]]
    texts.append(tokenizer.apply_chat_template(chats[2], tokenize=False, add_generation_prompt=True))
    folder = tmp_path / "rollouts"
    folder.mkdir()
    (folder / "1.jsonl").write_text("".join(json.dumps({"input": t, "output": "o"}) + "\n" for t in texts))
    options: dict[str, Any] = {"student_dir": None, "rollouts": str(folder), "num_samples": None}
    prepare_job.run(job(data, tmp_path / "a", Path(), tokenizer=str(tmp_path / "own"), **options), lambda _: None)
    assert [p.id for p in read_fixed_set(tmp_path / "a").prompts] == ["0", "1"]
    prepare_job.run(job(data, tmp_path / "b", Path(), tokenizer=str(student_path), **options), lambda _: None)
    assert [p.id for p in read_fixed_set(tmp_path / "b").prompts] == ["2"]
    prepare_job.run(job(data, tmp_path / "c", Path(), **options), lambda _: None)  # ChatML is known without it
    assert [p.id for p in read_fixed_set(tmp_path / "c").prompts] == ["2"]
    (folder / "1.jsonl").write_text("".join(json.dumps({"input": t, "output": "o"}) + "\n" for t in texts[:2]))
    with pytest.raises(ScoringError, match="--tokenizer"):
        prepare_job.run(job(data, tmp_path / "d", Path(), **options), lambda _: None)


def test_a_model_that_is_not_the_same_in_every_lane_is_found_out(
    student_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner: Callable[..., np.ndarray] = lanes.step
    monkeypatch.setattr(
        lanes, "step", lambda *a: inner(*a) * (1 + np.arange(len(a[1]), dtype=np.float32)[:, None] * 1e-7)
    )
    assert load_student(student_path, "cpu").lanes == 1
