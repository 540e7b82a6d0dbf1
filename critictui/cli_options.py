"""What commands have in common on the command line: paths, ranges, recipes, columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from critictui.errors import InputError

Recipe = str | Mapping[str, object] | None
"""What --recipe says."""

PATH = click.Path(path_type=Path, readable=False)
"""Whoever reads a path says what is wrong with it, and what to do."""
FROM_0, FROM_1, SEED = click.IntRange(min=0), click.IntRange(min=1), click.IntRange(0, (1 << 32) - 1)
TEMPERATURE, SHARE = click.FloatRange(min=0, max=100), click.FloatRange(0, 1, min_open=True)
with_config = click.option("--config", "config_file", type=PATH, help="A TOML file of settings.")
with_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout and nothing else.")
with_target = click.argument("target", type=PATH)


def _recipe_of(ctx: click.Context, parameter: click.Parameter, text: str | None) -> Recipe:
    """A recipe as it stands in a result's JSON, or the text as it is."""
    del ctx, parameter
    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InputError(f"--recipe {text!r:.60} is no JSON object; give one as in a result, or preset,key=value,...")
    return value


with_fixed_set = click.option("--fixed-set", type=PATH, help="A fixed set made by `prepare`.")
with_device = click.option("--device", help="auto, cpu, cuda:0 ...")


def _absolute(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> str | None:
    """As it is meant here: a configuration's paths are relative to the run."""
    del ctx, parameter
    return str(path.absolute()) if path is not None else None


def _columns_of(ctx: click.Context, parameter: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str] | None:
    del ctx, parameter
    found = {name: column for name, equals, column in (pair.partition("=") for pair in pairs) if equals and column}
    wrong = [pair for pair in pairs if pair.partition("=")[0] not in found]
    if wrong:
        said = "write prompt=NAME, teacher_response=NAME or student_response=NAME"
        raise InputError(f"--column {wrong[0]!r:.60}: {said}")
    return found or None


with_tokenizer = click.option(
    "--tokenizer", type=PATH, callback=_absolute, help="A folder that stands in for the checkpoint's own tokenizer."
)
with_columns = click.option(
    "--column", "columns", multiple=True, callback=_columns_of, metavar="NAME=COLUMN",
    help="Of a fixed set of rows: what its prompt, teacher_response or student_response is called.",
)  # fmt: skip
with_recipe = click.option(
    "--recipe", callback=_recipe_of,
    help="auto, a preset (gad-fork, gad, verl-ppo, trl, openrlhf), preset,key=value,..., or a JSON object.",
)  # fmt: skip


def with_scoring(command: Callable[..., Any]) -> Callable[..., Any]:
    """All that says how a critic is scored: set, recipe, tokenizer, columns, device; also --json and --config."""
    options = (with_fixed_set, with_recipe, with_tokenizer, with_columns, with_device, with_json, with_config)
    for option in reversed(options):
        command = option(command)
    return command
