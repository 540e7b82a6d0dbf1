"""The command line: parse, call, print. Everything slow is imported inside the command that needs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from critictui import __version__
from critictui.config import Config, load_config
from critictui.errors import InputError, JobFailedError

Command = TypeVar("Command", bound=Callable[..., Any])


class _WatchByDefault(click.Group):
    """`critictui RUN_DIR` is `critictui watch RUN_DIR`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = not args or args[0].startswith("-") or args[0] in self.commands
        if not known and (Path(args[0]).exists() or "/" in args[0]):
            args = ["watch", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=_WatchByDefault, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="critictui")
def cli() -> None:
    """Watch, score and explain the critics that teach language models."""


_config = click.option("--config", "config_file", type=click.Path(path_type=Path), help="A TOML file of settings.")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout and nothing else.")
_target = click.argument("target", type=click.Path(path_type=Path))


def _settings(target: Path | None, config_file: Path | None, **flags: object) -> Config:
    config = load_config(target, explicit=config_file, flags=flags)
    for notice in config.notices:
        click.echo(f"critictui: {notice}", err=True)
    return config


def _existing(target: Path) -> Path:
    if not target.exists():
        raise InputError(f"{target}: no such file or directory; give a run directory, or a file in one")
    return target


def _print(value: Mapping[str, object]) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2))


_fixed_set = click.option("--fixed-set", type=click.Path(path_type=Path), help="A fixed set made by `prepare`.")
_device = click.option("--device", help="auto, cpu, cuda:0 ...")
_recipe = click.option("--recipe", help="A preset (gad-fork, gad, verl-ppo), or preset,key=value,...")


def _progress(message: object) -> None:
    """A job's phases as lines on stderr, when a person is there to read them."""
    from critictui.scoring.jobs import Progress

    if isinstance(message, Progress) and sys.stderr.isatty():
        share = f" {message.done / message.total:4.0%}" if message.total > 1 or 0 < message.done < 1 else ""
        click.echo(f"\r\x1b[K{message.phase}{share}", err=True, nl=False)


def _end_progress() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)


def _notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        click.echo(f"critictui: {note}", err=True)


@cli.command()
@_target
@_fixed_set
@_recipe
@_device
@_json
@_config
@click.option("--markdown", is_flag=True, help="A report in Markdown.")
def diagnose(
    target: Path, fixed_set: Path | None, recipe: str | None, device: str | None,
    as_json: bool, config_file: Path | None, markdown: bool,
) -> int:  # fmt: skip
    """Is this checkpoint sound? TARGET: a checkpoint, or a run (its newest complete one)."""
    from critictui.diagnosis import commands, render

    config = commands.recipe_config(_settings(_existing(target), config_file, device=device), recipe)
    diagnosis, notes = commands.diagnose_target(target, config, _progress, fixed_set)
    _end_progress()
    _notes(notes)
    if as_json:
        _print(render.diagnosis_json(diagnosis))
    else:
        text = render.diagnosis_markdown(diagnosis, target.name) if markdown else render.diagnosis_text(diagnosis)
        click.echo(text)
    return 1 if diagnosis.verdict == "broken" else 0


@cli.command()
@_target
@click.option("--samples", required=True, type=click.Path(path_type=Path), help="What training saved.")
@_recipe
@_device
@_json
@_config
@click.option("--save-recipe", is_flag=True, help="Make the recipe that was found the run's own (critictui.toml).")
def replay(
    target: Path, samples: Path, recipe: str | None, device: str | None,
    as_json: bool, config_file: Path | None, save_recipe: bool,
) -> int:  # fmt: skip
    """Recompute scores that training recorded; find the recipe that reproduces them."""
    from critictui.diagnosis import commands
    from critictui.diagnosis import replay as judged

    config = commands.recipe_config(_settings(_existing(target), config_file, device=device), recipe)
    found = commands.replay_target(target, samples, config, _progress)
    _end_progress()
    if as_json:
        _print(judged.replay_json(found))
    else:
        click.echo(judged.in_words(found))
    if save_recipe:
        click.echo(f"saved to {commands.save_recipe(target, found)}", err=True)
    return 0 if found.found is not None else 1


@cli.command()
@_target
@click.option("--claim", "claims", multiple=True, help="A number that a test measured: d_acc=0.4575, teacher=-0.50 ...")
@click.option("--pairs", type=int, help="Teacher-student pairs behind the claim.")
@click.option("--script", type=click.Path(path_type=Path), help="The scoring script; it is read, never run.")
@click.option("--samples", type=click.Path(path_type=Path), help="Responses that training saved.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="The checkpoint that was tested.")
@_fixed_set
@_recipe
@_device
@_json
@_config
@click.option("--markdown", is_flag=True, help="A report in Markdown.")
def explain(
    target: Path, claims: tuple[str, ...], pairs: int | None, script: Path | None, samples: Path | None,
    checkpoint: Path | None, fixed_set: Path | None, recipe: str | None, device: str | None,
    as_json: bool, config_file: Path | None, markdown: bool,
) -> int:  # fmt: skip
    """Why do training and test disagree? Ranked causes with their evidence."""
    from critictui.diagnosis import commands, render
    from critictui.diagnosis.claims import parse_claims
    from critictui.diagnosis.inquiry import Question
    from critictui.diagnosis.script import read_script

    claim = parse_claims(claims, pairs)
    reading = read_script(script) if script is not None else None
    config = commands.recipe_config(_settings(_existing(target), config_file, device=device), recipe)
    options = commands.ExplainOptions(Question(claim, reading, samples), checkpoint, fixed_set)
    explanation, notes = commands.explain_run(target, config, _progress, options)
    _end_progress()
    _notes(notes)
    if as_json:
        _print(render.explanation_json(explanation))
    else:
        title = target.resolve().name
        text = render.explanation_markdown(explanation, title) if markdown else render.explanation_text(explanation)
        click.echo(text)
    return 1 if any(c.verdict in {"proven", "likely"} for c in explanation.causes) else 0


@cli.command()
@_target
@_fixed_set
@_recipe
@_device
@_json
@_config
@click.option("--read-only", is_flag=True, default=None, help="Write nothing into the run directory.")
@click.option("--share-gpu", is_flag=True, help="Use a GPU that training is on, at its present use.")
@click.option("--launch", type=click.Choice(["local", "slurm", "ray"]), help="Where the worker runs.")
@click.option("--follow", is_flag=True, help="Go on: score each new complete checkpoint of the run.")
@click.option("--detach", is_flag=True, help="Start it and return; the result appears in the run directory.")
def score(
    target: Path, fixed_set: Path | None, recipe: str | None, device: str | None, as_json: bool,
    config_file: Path | None, read_only: bool | None, share_gpu: bool, launch: str | None, follow: bool, detach: bool,
) -> int:  # fmt: skip
    """Score a critic on a fixed set. TARGET: a checkpoint, or a run (its newest complete one)."""
    from critictui.scoring import commands

    config = _settings(
        _existing(target), config_file, recipe=recipe, device=device, read_only=read_only, launch=launch
    )
    how = commands.How(share_gpu=share_gpu, as_json=as_json, tell=_progress, end=_end_progress, print_json=_print)
    if follow:
        return commands.follow_run(target, config, fixed_set, how)
    if detach:
        return commands.score_detached(target, config, fixed_set, how)
    return commands.score_once(target, config, fixed_set, how)


def main() -> None:
    """The entry point: exceptions become one line and an exit status, here and nowhere else."""
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        status = 130
    except click.ClickException as error:
        error.show()
        status = 2
    except InputError as error:
        click.echo(f"critictui: {error}", err=True)
        status = 2
    except JobFailedError as error:
        click.echo(f"critictui: {error}", err=True)
        status = 3
    except BrokenPipeError:
        sys.stderr.close()
        status = 141
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
