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
