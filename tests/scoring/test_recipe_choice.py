"""A recipe that nobody asked for is the usual one, or TRL's where TRL's own settings lie beside the weights."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest

from critictui.checkpoint.origin import TRL_REWARD, trainer_of
from critictui.scoring.recipe import PRESETS, ScoringError, recipe_from
from critictui.scoring.recipe_choice import choose_recipe


def pickled(module: str, name: str) -> bytes:
    """What torch pickles of an object of that class: the class by name, made without arguments, empty state."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b")\x81}b."


def leave_arguments(checkpoint: Path, data: bytes) -> Path:
    """`training_args.bin` as `torch.save` lays it out."""
    with zipfile.ZipFile(checkpoint / "training_args.bin", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("training_args/data.pkl", data)
        archive.writestr("training_args/version", b"3\n")
    return checkpoint


def trl(checkpoint: Path) -> Path:
    return leave_arguments(checkpoint, pickled("trl.trainer.reward_config", "RewardConfig"))


def test_trls_settings_give_trls_recipe_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert trainer_of(trl(tmp_path)) == TRL_REWARD
    chosen = choose_recipe("auto", tmp_path)
    assert chosen.recipe == PRESETS["trl"]
    assert chosen.reason == (
        "recipe trl: training_args.bin is of TRL's RewardTrainer (pairs of plain text: --recipe trl-text)"
    )


@pytest.mark.parametrize(("config", "preset"), [("{}", "trl-text"), ('{"chat_template": "x"}', "trl"), ("[", "trl")])
def test_a_tokenizer_that_has_no_chat_template_was_trained_on_plain_text(
    tmp_path: Path, config: str, preset: str
) -> None:
    (tmp_path / "tokenizer_config.json").write_text(config)
    assert choose_recipe("auto", trl(tmp_path)).recipe == PRESETS[preset]


def test_what_was_asked_for_is_taken_whoever_wrote_the_checkpoint(tmp_path: Path) -> None:
    chosen = choose_recipe("gad,ties=half", trl(tmp_path))
    assert (chosen.recipe.pooling, chosen.recipe.ties, chosen.reason) == ("last", "half", "")
    assert choose_recipe({"pooling": "sum"}, tmp_path).recipe.pooling == "sum"
    with pytest.raises(ScoringError, match="'median' is no preset"):
        choose_recipe("median", tmp_path)


class Runs:
    """Would touch a file, if its pickle were loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "data",
    [
        pickled("transformers.training_args", "TrainingArguments"),
        pickled("llamafactory.hparams.training_args", "TrainingArguments"),
        pickled("swift.trainers.arguments", "RewardConfig"),
        pickled("__main__", "RewardConfig"),
        b"\x80\x02}X\x18\x00\x00\x00trl.trainer.reward_configq\x00K\x01s.",
        b"\x80\x02X\xff\xff\xff\x7fshort",
        b"",
        b"\x80\x02" + b"0" * 200,
    ],
)
def test_others_settings_and_what_cannot_be_read_prove_nothing(tmp_path: Path, data: bytes) -> None:
    chosen = choose_recipe("auto", leave_arguments(tmp_path, data))
    assert (chosen.recipe, chosen.reason) == (PRESETS["gad-fork"], "")


def test_nothing_of_the_settings_is_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    assert trainer_of(leave_arguments(tmp_path, pickle.dumps(Runs(canary), protocol=2))) != TRL_REWARD
    assert not canary.exists()


def test_a_checkpoint_without_settings_gets_the_usual_recipe(tmp_path: Path) -> None:
    (tmp_path / "trainer_state.json").write_text('{"log_history": [{"mean_reward": 0.1, "margin": 0.2}]}')
    assert choose_recipe("auto", tmp_path).recipe == PRESETS["gad-fork"]
    (tmp_path / "training_args.bin").write_bytes(b"PK\x03\x04")
    assert choose_recipe("auto", tmp_path).recipe == PRESETS["gad-fork"]


TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


def test_a_chat_template_is_read_where_its_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    file.write_text(TEMPLATE + "\n")
    for spec in (f"gad,chat_template={file}", {"preset": "gad", "chat_template": str(file)}):
        chosen = choose_recipe(spec, tmp_path).recipe
        assert chosen.chat_template == TEMPLATE + "\n"
        assert chosen.pooling == "last"
    assert choose_recipe({"chat_template": TEMPLATE}, tmp_path).recipe.chat_template == TEMPLATE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "own.jinja: No such file"),
        (b"\xff\xfe{", "own.jinja: not UTF-8"),
        (b"always the same", "own.jinja: a chat template that ignores the messages"),
        (b"{{ 'always the same' }}", "own.jinja: a chat template that ignores the messages"),
        (b"x" * (1 << 21), "own.jinja: larger than 1 MiB"),
    ],
    ids=["missing", "not UTF-8", "plain text", "constant", "large"],
)
def test_a_chat_template_that_is_none_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "own.jinja").write_bytes(content)
    with pytest.raises(ScoringError, match=said):
        choose_recipe(f"chat_template={tmp_path / 'own.jinja'}", tmp_path)


def test_a_result_that_was_made_with_a_path_for_a_template_is_read_all_the_same() -> None:
    assert recipe_from({"chat_template": "/gone/own.jinja"}).chat_template == "/gone/own.jinja"
