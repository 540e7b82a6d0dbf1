"""Configuration: later layers win, and a bad value is a sentence, not a crash."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critictui.config import Config, ProfileSettings, load_config
from critictui.health.context import WATCHED
from critictui.health.settings import LIMITS, Settings
from critictui.run.profiles import KNOWN


@pytest.fixture(autouse=True)
def _no_user_file(monkeypatch, tmp_path):
    monkeypatch.setattr("critictui.config.user_config_path", lambda: tmp_path / "user.toml")


def test_later_layers_win(tmp_path):
    (tmp_path / "user.toml").write_text('theme = "a"\nstage = "warmup"\ndevice = "cpu"\nrefresh = 2')
    run = tmp_path / "run"
    run.mkdir()
    (run / "critictui.toml").write_text('theme = "b"\ndevice = "cuda:1"\nrefresh = 3')
    config = load_config(run, environ={"CRITICTUI_THEME": "c", "CRITICTUI_REFRESH": "1"}, flags={"theme": "d"})
    assert (config.theme, config.refresh, config.device, config.stage) == ("d", 1.0, "cuda:1", "warmup")
    assert config.notices == ()


def test_an_explicit_file_stands_between_user_and_run(tmp_path):
    (tmp_path / "user.toml").write_text('theme = "user"\ndevice = "user"')
    explicit = tmp_path / "mine.toml"
    explicit.write_text('theme = "explicit"')
    config = load_config(None, explicit=explicit, environ={})
    assert (config.theme, config.device) == ("explicit", "user")


def test_tables_of_several_files_are_joined_by_rule(tmp_path):
    (tmp_path / "user.toml").write_text("[thresholds.inverted]\nlevel = 0.4\n[aliases]\nmine = 'critic/d_acc'")
    (tmp_path / "critictui.toml").write_text("[thresholds.drift]\nsigma = 6\n[aliases]\nyours = 'critic/lr'")
    config = load_config(tmp_path, environ={})
    assert config.thresholds == {"inverted": {"level": 0.4}, "drift": {"sigma": 6}}
    assert config.aliases == {"mine": "critic/d_acc", "yours": "critic/lr"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("thema = 'x'", "'thema' is no setting"),
        ("refresh = 'fast'", "refresh must be int or float"),
        ("refresh = 0", "not between 0.1 and 30"),
        ("refresh = nan", "refresh: a number in it is beyond 64 bits, or none"),
        ("refresh = 1" + "0" * 5000, "not read"),
        ("refresh = 0x1" + "0" * 5000, "refresh: a number in it is beyond 64 bits"),
        ("pairs_per_step = 0x1" + "0" * 5000, "beyond 64 bits"),
        ("[thresholds.drift]\nsigma = 1" + "0" * 400, "thresholds: a number in it is beyond 64 bits"),
        ("[thresholds.drift]\nsigma = -inf", "thresholds: a number in it is beyond 64 bits, or none"),
        ("stage = 'later'", "not one of auto, warmup, adversarial"),
        ("pairs_per_step = true", "pairs_per_step must be int"),
        ("[thresholds]\ndrift = 3", "thresholds.drift must be a table"),
        ("[aliases]\na = 3", "aliases.a must be text"),
        ("this is not toml", "not read"),
        ("\x00\x01", "not read"),
        ("a = " + "[" * 3000, "not read"),
    ],
)
def test_a_bad_value_is_named_and_the_default_stays(tmp_path, text, said):
    (tmp_path / "critictui.toml").write_text(text)
    config = load_config(tmp_path, environ={})
    assert any(said in notice and "critictui.toml" in notice for notice in config.notices), config.notices
    defaults = Config()
    assert (config.refresh, config.stage, config.pairs_per_step) == (
        defaults.refresh, defaults.stage, defaults.pairs_per_step,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[aliases]\n'my/acc' = 'd_acc'",
            "aliases.my/acc = 'd_acc': no metric has this name; did you mean critic/d_acc?",
        ),
        ("[aliases]\na = 'nonsense'", "no metric has this name; there are critic/d_acc,"),
        ("[profiles.x.aliases]\na = 'margin'", "profiles.x.aliases.a = 'margin': no metric has this name"),
        ("[profiles]\nx = 3", "profiles.x must be a table, as in [profiles.x]"),
        ("[profiles.x]\naliases = 3", "profiles.x.aliases must be a table"),
        ("[profiles.x]\nrecognised_by = 'a'", "profiles.x.recognised_by must be a list of tags"),
        ("[profiles.x]\nalias = 3", "profiles.x.alias is no setting: aliases, recognised_by"),
        ("profile = 'y'", "profile = 'y' is not one of auto, gad-fork,"),
        ("[thresholds.drifts]\nsigma = 6", "thresholds.drifts: there is no such rule; there are non-finite,"),
        ("[thresholds.drift]\nsigma = 6", "thresholds.drift.sigma is no setting: enabled, shift"),
        ("[thresholds.decline]\ndrop = 'x'", "decline.drop must be a number from 0 to 1, not 'x'; 0.04 is used"),
        ("[thresholds.decline]\ndrop = -5", "decline.drop must be a number from 0 to 1, not -5; 0.04 is used"),
        ("[thresholds.decline]\ndrop = true", "decline.drop must be a number from 0 to 1, not True"),
        ("[thresholds.decline]\ndrop = [1]", "decline.drop must be a number from 0 to 1, not [1]"),
        ("[thresholds.decline]\nenabled = 'no'", "decline.enabled must be true or false, not 'no'; the rule stays on"),
        ("[thresholds.saturation]\nd_acc = 9", "saturation.d_acc must be a number from 0 to 1, not 9; 0.98 is used"),
        ("[thresholds.saturation]\nwindow = -3", "saturation.window must be a whole number from 1 on, not -3"),
        ("[thresholds.saturation]\nwindow = 2.5", "saturation.window must be a whole number from 1 on, not 2.5"),
        ("[thresholds.'decline:val/x']\ndrop = -1", "thresholds.decline:val/x.drop must be a number from 0 on"),
    ],
)
def test_a_name_that_nothing_has_is_named_with_what_there_is(tmp_path, text, said):
    (tmp_path / "critictui.toml").write_text(text)
    config = load_config(tmp_path, environ={}, known=replace(KNOWN, rules=LIMITS))
    assert any(said in notice and "critictui.toml" in notice for notice in config.notices), config.notices
    assert not config.aliases
    assert config.profile == "auto"
    assert not any(config.thresholds.values())


def test_every_default_is_one_of_the_values_that_it_may_have_and_a_metric_of_its_own_has_its_own_scale(tmp_path):
    lines = [
        f"[thresholds.{rule}]\n" + "\n".join(f"{k} = {limits.default}" for k, limits in known.items())
        for rule, known in LIMITS.items()
    ]
    lines += ["[thresholds.'decline:val/reward']\ndrop = 7\nenabled = false"]
    (tmp_path / "critictui.toml").write_text("\n".join(lines))
    config = load_config(tmp_path, environ={}, known=replace(KNOWN, rules=LIMITS))
    assert config.notices == ()
    settings = Settings(config.thresholds)
    assert settings.number("decline", "drop", "val/reward") == 7
    assert not settings.enabled("decline", "val/reward")


def test_profiles_of_several_files_are_joined_and_one_is_chosen(tmp_path):
    (tmp_path / "user.toml").write_text(
        "profile = 'mine'\n[profiles.mine]\nrecognised_by = ['a/*']\n[profiles.mine.aliases]\n'a/x' = 'critic/d_acc'"
    )
    (tmp_path / "critictui.toml").write_text("[profiles.mine.aliases]\n'a/y' = 'timing_s/step'")
    config = load_config(tmp_path, environ={}, known=KNOWN)
    assert config.notices == ()
    assert config.profile == "mine"
    assert config.profiles == {
        "mine": ProfileSettings({"a/x": "critic/d_acc", "a/y": "timing_s/step"}, ("a/*",)),
    }


def test_every_name_that_a_rule_reads_may_be_the_end_of_an_alias():
    assert set(KNOWN.metrics) >= WATCHED


def test_a_missing_explicit_file_is_said(tmp_path):
    config = load_config(None, explicit=tmp_path / "none.toml", environ={})
    assert "none.toml: no such file" in config.notices[0]


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(tmp_path_factory, data):
    run = tmp_path_factory.mktemp("run")
    (run / "critictui.toml").write_bytes(data)
    assert isinstance(load_config(run, environ={}), Config)
