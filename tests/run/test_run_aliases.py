from __future__ import annotations

import pytest

from critictui.run import metrics as m
from critictui.run.aliases import canonical, same_metric, stand_ins
from critictui.run.profiles import profile_of

TABLE = {
    m.D_ACC: ("critic/d_acc", "critic/accuracy", "rewards/accuracies", "accuracy", "eval/accuracy", "train/accuracy"),
    m.TEACHER_MEAN: (
        "critic/teacher_score_mean",
        "critic/teacher_value_mean",
        "rewards/chosen",
        "train/rewards/chosen",
    ),
    m.STUDENT_MEAN: ("critic/student_score_mean", "critic/student_value_mean", "rewards/rejected"),
    m.SCORE_DIFF: ("critic/score_diff", "critic/raw_score_diff", "rewards/margins", "margin", "eval_margin"),
    m.D_LOSS: ("critic/d_loss", "critic/ranking_loss", "critic/vf_loss", "loss", "train/loss", "eval_loss"),
    m.GRAD_NORM: ("critic/grad_norm", "grad_norm", "train/grad_norm"),
}


@pytest.mark.parametrize(("name", "tag"), [(name, tag) for name, tags in TABLE.items() for tag in tags])
def test_every_spelling_of_the_domain_means_its_metric(name, tag):
    assert canonical(tag, {}) == name


def test_an_unknown_tag_means_itself_and_the_user_has_the_last_word():
    assert canonical("actor/entropy", {}) == "actor/entropy"
    assert canonical("accuracy", {"accuracy": "mine"}) == "mine"


def test_the_exact_name_stands_before_an_alias_and_training_before_evaluation():
    assert stand_ins(["loss", "eval/accuracy", "train/accuracy", "critic/d_loss", "x"], {}) == {
        m.D_LOSS: "critic/d_loss",
        m.D_ACC: "train/accuracy",
    }
    assert stand_ins(["eval/accuracy", "critic/vf_loss", "critic/ranking_loss"], {}) == {
        m.D_ACC: "eval/accuracy",
        m.D_LOSS: "critic/ranking_loss",
    }


def test_the_spellings_of_one_trainer_have_one_key():
    assert same_metric("eval_loss") == same_metric("eval/loss") != same_metric("loss")
    assert same_metric("train/loss") == same_metric("loss")
    assert same_metric("critic/d_acc") == "critic/d_acc"


@pytest.mark.parametrize(
    ("profile", "tags", "hints"),
    [
        ("gad", ("critic/d_acc", "critic/teacher_value_mean", "timing_s/step"), ("verl",)),
        ("gad-fork", ("critic/d_acc", "critic/teacher_score_mean", "critic/score_diff"), ()),
        ("verl", ("actor/entropy", "critic/score/mean"), ()),
        ("trl", ("train/rewards/chosen", "train/loss"), ()),
        ("trl", ("eval/accuracy", "eval/margin", "eval/mean_reward"), ()),
        ("openrlhf", ("train/chosen_reward", "train/reject_reward"), ()),
        ("llama-factory", ("loss", "rewards/chosen"), ("llama-factory",)),
        ("ms-swift", ("loss", "margin"), ("ms-swift",)),
        ("", ("Loss/D",), ("",)),
    ],
)
def test_the_profile_follows_from_tags_and_from_the_form_of_the_file(profile, tags, hints):
    assert profile_of(tags, hints) == profile
