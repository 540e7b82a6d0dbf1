"""docs/configuration.md says everything that can be configured, and what it shows can be used as it stands."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest

from critictui.config import _TYPES, Config, load_config
from critictui.health.settings import LIMITS
from critictui.monitor import notify
from critictui.run.profiles import KNOWN
from critictui.scoring.recipe import Recipe, recipe_from
from critictui.tui import key_table
from critictui.tui.themes import read_theme
from docs import configuration_tables
from docs.explain_table import table_rows

PAGE = configuration_tables.PAGE.read_text("utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
SETTINGS, THEME, RECIPE = EXAMPLES


@pytest.fixture(autouse=True)
def _no_user_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("critictui.config.user_config_path", lambda: tmp_path / "user.toml")


def test_the_tables_are_those_of_the_code() -> None:
    assert configuration_tables.page_now() == PAGE, "run: python -m docs.configuration_tables"


def test_every_field_of_the_configuration_is_a_setting_with_words() -> None:
    rows = table_rows(PAGE, "settings")[1:]
    assert {row[0].strip("`") for row in rows} == set(_TYPES)
    assert set(_TYPES) | {"launchers", "notices"} == {field.name for field in fields(Config)}
    assert all(row[3] for row in rows)


def test_the_example_is_read_whole_and_without_a_complaint(tmp_path: Path) -> None:
    (tmp_path / "critictui.toml").write_text(SETTINGS)
    config = load_config(tmp_path, environ={}, known=replace(KNOWN, rules=LIMITS))
    assert config.notices == ()
    assert set(tomllib.loads(SETTINGS)) <= set(_TYPES)
    assert key_table.unknown_ids(config.keys) == []
    assert notify.ways(config.notify)[1] == []
    assert config.launch == "slurm"
    assert config.profiles["lab"].recognised_by


def test_the_examples_of_a_theme_and_a_recipe_are_good(tmp_path: Path) -> None:
    path = tmp_path / "dusk.toml"
    path.write_text(THEME)
    assert read_theme(path).name == "dusk"
    assert recipe_from(tomllib.loads(RECIPE)["recipe"]).ties == "half"


def test_every_key_of_a_recipe_and_of_notify_is_named() -> None:
    recipe = PAGE.partition("## Recipe")[2].partition("## Launcher")[0]
    assert all(f"`{field.name}`" in recipe for field in fields(Recipe))
    assert all(f"| `{key}` |" in PAGE for key in notify._KEYS)


def test_the_readme_leads_to_it() -> None:
    assert "(docs/configuration.md)" in (configuration_tables.PAGE.parents[1] / "README.md").read_text("utf-8")
