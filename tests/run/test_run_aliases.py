from __future__ import annotations

import pytest

from critictui.config import ProfileSettings
from critictui.run import metrics as m
from critictui.run.aliases import canonical, meaning, stand_ins, table_of
from critictui.run.profiles import BUILT_IN, profiles_of, recognise
from critictui.run.tags import same_metric

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
    assert canonical(tag) == name


def test_an_unknown_tag_means_itself_and_the_user_has_the_last_word():
    assert canonical("actor/entropy") == "actor/entropy"
    assert canonical("accuracy", table_of(None, {"accuracy": m.SCORE_DIFF})) == m.SCORE_DIFF


def test_the_exact_name_stands_before_an_alias_and_training_before_evaluation():
    assert stand_ins(["loss", "eval/accuracy", "train/accuracy", "critic/d_loss", "x"]) == {
        m.D_LOSS: "critic/d_loss",
        m.D_ACC: "train/accuracy",
    }
    assert stand_ins(["eval/accuracy", "critic/vf_loss", "critic/ranking_loss"]) == {
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
    found = recognise(tags, hints, profiles_of({})).profile
    assert (found.name if found is not None else "") == profile


def test_every_alias_of_a_built_in_profile_leads_to_a_metric():
    assert {name for profile in BUILT_IN for name in profile.aliases.values()} <= set(m.NAMES)
    assert {profile.name for profile in BUILT_IN} == {
        "gad-fork", "gad", "verl", "openrlhf", "trl", "llama-factory", "ms-swift"
    }  # fmt: skip


MINE = {"mine": ProfileSettings({"my/acc": m.D_ACC, "loss": m.GRAD_NORM}, ("my/*",))}


def test_the_users_profile_is_recognised_first_and_its_spellings_come_before_those_of_all():
    profiles = profiles_of(MINE)
    found = recognise(("train/my/acc", "loss", "critic/d_loss"), ("verl",), profiles)
    assert (found.profile, found.because) == (profiles["mine"], "train/my/acc")
    table = table_of(found.profile)
    assert stand_ins(["train/my/acc", "accuracy", "loss", "eval/my/acc"], table) == {
        m.D_ACC: "train/my/acc", m.GRAD_NORM: "loss"
    }  # fmt: skip
    assert meaning("eval/my/acc", table) is not None
    assert canonical("loss") == m.D_LOSS, "of other runs nothing changes"


def test_a_profile_can_be_forced_and_one_named_as_a_built_in_adds_to_it():
    forced = recognise(("critic/d_acc",), ("verl",), profiles_of(MINE), "mine")
    assert forced.profile is not None
    assert (forced.profile.name, forced.because) == ("mine", "the configuration")
    more = profiles_of({"gad": ProfileSettings({"critic/hit_rate": m.D_ACC}, ("critic/hit_rate",))})
    found = recognise(("critic/hit_rate",), (), more).profile
    assert found is not None
    assert found.aliases["critic/hit_rate"] == m.D_ACC
    assert found.aliases["critic/teacher_value_mean"] == m.TEACHER_MEAN


def test_of_a_known_profile_its_own_spelling_stands_for_the_metric():
    openrlhf = profiles_of({})["openrlhf"]
    assert stand_ins(["accuracy", "acc"], table_of(openrlhf)) == {m.D_ACC: "acc"}
    trl = profiles_of({})["trl"]
    assert stand_ins(["acc", "accuracy"], table_of(trl)) == {m.D_ACC: "accuracy"}
