"""A tokenizer from elsewhere and columns of other names: on the command line, in the configuration, on a cluster."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.find import resolve_target
from critictui.cli import cli
from critictui.config import Config, load_config
from critictui.diagnosis.inquiry import job, subject_of
from critictui.errors import InputError
from critictui.scoring.elsewhere import job_script
from critictui.scoring.order import already_scored, order_score, require_finished
from critictui.scoring.recipe import ScoringError

pytest.importorskip("torch", reason="needs the extra [score]")
pytestmark = pytest.mark.torch

COLUMNS = {"prompt": "question", "teacher_response": "good", "student_response": "bad"}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"question": f"what is {n} ?", "good": f"{n} is odd .", "bad": f"{n} is wet ."} for n in range(9)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def bare(demo_copy: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """A run whose newest checkpoint has no tokenizer, and the folder that has it."""
    run = demo_copy("healthy")
    folder = resolve_target(run).path / "huggingface"
    shutil.copytree(folder, tmp_path / "base")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink()
    return run, tmp_path / "base"


def scored(*arguments: object) -> dict[str, object]:
    done = CliRunner().invoke(cli, ["score", *map(str, arguments), "--json", "--device", "cpu"])
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


def test_a_checkpoint_without_a_tokenizer_is_scored_with_one_from_elsewhere(bare: tuple[Path, Path]) -> None:
    run, base = bare
    with pytest.raises(CheckpointError, match=r"the checkpoint has no tokenizer; .* name its folder with --tokenizer"):
        order_score(run, Config(device="cpu"), run / "fixed_set.jsonl", readings=())
    with pytest.raises(CheckpointError, match=r"there is no tokenizer; give --tokenizer a folder that has one"):
        order_score(run, Config(device="cpu", tokenizer=str(run)), run / "fixed_set.jsonl", readings=())
    assert scored(run, "--fixed-set", run / "fixed_set.jsonl", "--tokenizer", base)["d_acc"] > 0.6  # type: ignore[operator]


def test_what_was_scored_with_another_tokenizer_is_not_scored_already(bare: tuple[Path, Path], tmp_path: Path) -> None:
    run, base = bare
    shutil.copytree(base, run / "tokenizer")
    config = Config(device="cpu", tokenizer="tokenizer", fixed_set="fixed_set.jsonl")
    order = order_score(run, config, readings=())
    from critictui.scoring.client import run_job_sync

    require_finished(run_job_sync(order.job, lambda _: None))
    assert already_scored(order_score(run, config, readings=())) is not None
    (base / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    other = Config(device="cpu", tokenizer=str(base), fixed_set="fixed_set.jsonl")
    assert already_scored(order_score(run, other, readings=())) is None


def test_columns_are_named_by_flags(demo_run: Callable[..., Path], rows: Path, tmp_path: Path) -> None:
    run = demo_run("healthy")
    said = r"'prompt' or 'content' is missing; there are question, good, bad; name it with --column prompt=NAME"
    with pytest.raises(ScoringError, match=said):
        order_score(run, Config(device="cpu"), rows, readings=())
    (tmp_path / "kept").mkdir()
    flags = [f"--column={name}={column}" for name, column in COLUMNS.items()]
    value = scored(run, "--fixed-set", rows, "--run-dir", tmp_path / "kept", *flags)
    assert value["pairs"] == 9


def test_a_flag_that_names_no_column_is_refused(demo_run: Callable[..., Path], rows: Path) -> None:
    done = CliRunner().invoke(cli, ["score", str(demo_run("healthy")), "--column", "question"], standalone_mode=False)
    assert isinstance(done.exception, InputError)
    assert "--column 'question': write prompt=NAME" in str(done.exception)


def test_the_configuration_names_both_and_every_job_has_them(bare: tuple[Path, Path], rows: Path) -> None:
    run, base = bare
    shutil.copytree(base, run / "tokenizer")
    columns = "".join(f'{name} = "{column}"\n' for name, column in COLUMNS.items())
    (run / "critictui.toml").write_text(f'tokenizer = "tokenizer"\n[columns]\n{columns}')
    config = load_config(run, environ={})
    assert config.notices == ()
    wanted = {"tokenizer": str(run / "tokenizer"), "columns": COLUMNS}
    order = order_score(run, config, rows, readings=())
    assert {name: order.job.options[name] for name in wanted} == wanted
    asked = job("diagnose", subject_of(run, config, rows), "cpu", seeds=3)
    assert asked.options == {**wanted, "seeds": 3}
    command = shlex.split(job_script(order, gpu=False).split("exec ", 1)[1])
    assert command[command.index("--tokenizer") + 1] == wanted["tokenizer"]
    assert {c for c in command if c.startswith("--column=")} == {f"--column={n}={c}" for n, c in COLUMNS.items()}


def test_with_critictui_data_a_trl_checkpoint_without_a_tokenizer_is_scored(tmp_path: Path) -> None:
    place = os.environ.get("CRITICTUI_DATA")
    if not place:
        pytest.skip("CRITICTUI_DATA is not set: the checkpoints written by trl are not here")
    data = Path(place) / "checkpoints"
    lines = [{"prompt": f"p {n}", "teacher_response": f"t {n}", "student_response": f"s {n}"} for n in range(5)]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    target = (data / "trl_sharded_with_head", "--fixed-set", tmp_path / "set.jsonl", "--run-dir", tmp_path)
    assert scored(*target, "--tokenizer", data / "merged_by_verl")["pairs"] == 5
