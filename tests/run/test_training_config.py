"""The training's configuration: found where Hydra, verl, wandb and LLaMA-Factory leave it, and never made up."""

from __future__ import annotations

import os
import pprint
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critictui.run.config_text import printed_scalars, yaml_scalars
from critictui.run.training_config import find_training_config

CONFIG = {
    "actor_rollout_ref": {
        "actor": {"ppo_mini_batch_size": 128, "optim": {"lr": 1e-06, "betas": [0.9, 0.999]}},
        "model": {"path": "/models/student", "override_config": {}},
        "rollout": {"temperature": 0.6, "top_p": 0.9, "top_k": -1, "n": 4, "val_kwargs": {"temperature": 0, "n": 1}},
    },
    "algorithm": {"adv_estimator": "gae", "filter": {"enable": False, "metric": None}},
    "critic": {"model": {"path": "/models/critic"}, "ppo_mini_batch_size": 64, "forward": {"a": {"b": 1}}},
    "data": {
        "max_prompt_length": 1024,
        "max_response_length": 2048,
        "train_batch_size": 256,
        "train_files": ["/data/a-rather-long-directory-name/train-00000.parquet", "/data/b/train-00001-of-2.parquet"],
    },
    "trainer": {"critic_warmup": 300, "total_epochs": 2, "logger": ["console", "tensorboard"]},
}


def check(run_dir: Path, source: str) -> None:
    found = find_training_config(run_dir)
    assert found is not None
    assert source in found.source
    assert (found.temperature, found.top_p, found.top_k, found.n) == (0.6, 0.9, -1, 4)
    assert (found.max_prompt_length, found.max_response_length, found.train_batch_size) == (1024, 2048, 256)
    assert (found.ppo_mini_batch_size, found.total_epochs, found.critic_warmup) == (64, 2, 300)
    assert (found.critic_model, found.actor_model) == ("/models/critic", "/models/student")
    assert list(found.train_files) == CONFIG["data"]["train_files"]  # type: ignore[index]


def yaml(value: dict[str, object], indent: int = 0) -> str:
    lines = []
    for key, item in value.items():
        pad = " " * indent
        if isinstance(item, dict):
            lines.append(f"{pad}{key}:" + (" {}\n" if not item else "\n" + yaml(item, indent + 2)))
        elif isinstance(item, list):
            lines.append(f"{pad}{key}:\n" + "".join(f"{pad}- {x}\n" for x in item))
        else:
            lines.append(f"{pad}{key}: {'null' if item is None else item}\n")
    return "".join(lines)


def test_hydras_file_is_read_with_its_references(tmp_path: Path) -> None:
    text = yaml(CONFIG).replace("max_response_length: 2048", "max_response_length: ${a.length}").replace(
        "adv_estimator: gae", "adv_estimator: gae # comment\n  note: |\n    temperature: 9\n    data:\n  other: &x 1"
    )  # fmt: skip
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(text + "a:\n  length: 2048\n")
    check(tmp_path, ".hydra/config.yaml")


@pytest.mark.parametrize("width", [80, 120, 100_000])
def test_the_configuration_that_verl_prints_is_read_out_of_its_log(tmp_path: Path, width: int) -> None:
    ray = "\x1b[36m(TaskRunner pid=77)\x1b[0m "
    other = "\x1b[36m(WorkerDict pid=78)\x1b[0m {'temperature': 99}"
    lines = [ray + line for line in pprint.pformat(CONFIG, width=width).split("\n")]
    lines[2:2] = [other, ray + "/site-packages/x.py:302: UserWarning: critic: off", other]
    (tmp_path / "train.log").write_text("\n".join(["starting", *lines, ray + "step:1 - a:1", ""]))
    check(tmp_path, "train.log")


def test_wandbs_file_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "wandb" / "run-20260101_000000-abc" / "files"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml({"_wandb": {"value": 1}, **{k: {"value": v} for k, v in CONFIG.items()}}))
    check(tmp_path, "(wandb)")


def test_the_overrides_of_the_command_are_better_than_nothing(tmp_path: Path) -> None:
    command = (
        "+ python3 -m verl.trainer.main_ppo actor_rollout_ref.rollout.temperature=0.6 data.train_batch_size=256 \\\n"
    )
    (tmp_path / "run.out").write_text(command)
    found = find_training_config(tmp_path)
    assert found is not None
    assert (found.temperature, found.train_batch_size, found.top_p) == (0.6, 256, None)


def test_the_sampling_of_validation_is_not_taken_for_that_of_training(tmp_path: Path) -> None:
    text = "actor_rollout_ref:\n  rollout:\n    val_kwargs:\n      temperature: 0\n    n: 4\n"
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(text)
    found = find_training_config(tmp_path)
    assert found is not None
    assert (found.temperature, found.n) == (None, 4)


def test_a_folder_without_any_has_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("temperature: 0.6\n{'a': 1}\n")
    assert find_training_config(tmp_path) is None
    assert find_training_config(tmp_path / "absent") is None


@given(st.text(alphabet="ab: -\n'\"[]{}#|>${}.0", max_size=200))
def test_any_text_is_read_or_passed_over(text: str) -> None:
    assert isinstance(yaml_scalars(text), dict)
    assert isinstance(printed_scalars(text.split("\n")), dict)


keys = st.text(alphabet="abcdef_", min_size=1, max_size=6)
scalars = st.integers(-99, 99) | st.booleans() | st.none() | st.text(alphabet="xyz/-", min_size=1, max_size=9)
trees = st.recursive(scalars, lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=4), max_leaves=20)


@given(st.dictionaries(keys, trees, min_size=1, max_size=4), st.sampled_from([40, 80, 4000]))
def test_what_pprint_wrote_comes_back(value: dict[str, object], width: int) -> None:
    def flat(item: object, name: str) -> dict[str, object]:
        if not isinstance(item, dict):
            return {name: item}
        found: dict[str, object] = {}
        for k, v in item.items():
            found |= flat(v, f"{name}.{k}" if name else k)
        return found

    assert printed_scalars(pprint.pformat(value, width=width).split("\n")) == flat(value, "")


@pytest.mark.skipif("CRITICTUI_DATA" not in os.environ, reason="CRITICTUI_DATA is not set: the real logs are not here")
def test_the_real_logs_give_the_values_printed_in_them() -> None:
    root = Path(os.environ["CRITICTUI_DATA"]) / "real/logs/verl"
    for path in root.glob("*.txt"):
        config = find_training_config(path)
        assert config is not None
        text = path.read_bytes()
        found = re.search(rb"'train_batch_size': (\d+)", text)
        assert found is not None
        assert config.train_batch_size == int(found.group(1))
        assert (config.temperature, config.top_p, config.n) == (1.0, 1.0, 5)
        assert config.actor_model == "Qwen/Qwen2-7B-Instruct"
        assert config.total_epochs == 15
