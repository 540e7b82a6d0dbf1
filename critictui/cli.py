"""The command line: parse, call, print. Everything slow is imported inside the command that needs it."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import click

from critictui import __version__
from critictui.arrays import load_numpy
from critictui.cli_options import (
    FROM_0,
    FROM_1,
    PATH,
    SEED,
    SHARE,
    TEMPERATURE,
    Recipe,
    with_config,
    with_device,
    with_fixed_set,
    with_json,
    with_recipe,
    with_scoring,
    with_target,
    with_tokenizer,
)
from critictui.config import Config, load_config
from critictui.errors import InputError, JobFailedError, refuse_unreadable


class _WatchByDefault(click.Group):
    """`critictui RUN_DIR` is `critictui watch RUN_DIR`; output into a closed pipe is no error."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = not args or args[0].startswith("-") or args[0] in self.commands
        if not known and (Path(args[0]).exists() or "/" in args[0]):
            args = ["watch", *args]
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            if known:
                raise
            near = difflib.get_close_matches(args[0], self.commands, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            said = f"{args[0]!r} is neither a command nor a file or directory here{meant}"
            raise click.UsageError(said, ctx) from None

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """The group's own help and version are printed here."""
        with _reader_may_go():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """All that a command prints is printed here."""
        with _reader_may_go():
            return super().invoke(ctx)


@contextlib.contextmanager
def _reader_may_go() -> Iterator[None]:
    """A reader that has seen enough (`| head`) ends us quietly, with the status that SIGPIPE gives other tools."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered goes nowhere
        raise click.exceptions.Exit(141) from None


@click.group(cls=_WatchByDefault, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="critictui")
def cli() -> None:
    """Watch, score and explain the critics that teach language models."""


def _settings(target: Path | None, config_file: Path | None, **flags: object) -> Config:
    if config_file is not None:
        refuse_unreadable(config_file, "pass an existing TOML file to --config")
    from critictui.health.settings import LIMITS
    from critictui.run.profiles import KNOWN

    known = replace(KNOWN, rules=LIMITS)
    config = load_config(target, explicit=config_file, flags=flags, known=known)
    for notice in config.notices:
        click.echo(f"critictui: {notice}", err=True)
    return config


def _existing(target: Path) -> Path:
    if not target.exists():
        raise InputError(f"{target}: no such file or directory; give a run directory, or a file in one")
    return target


def _run_at(target: Path) -> Path:
    """A path whose metrics are to be read. Raises RunError for one that cannot have any."""
    from critictui.run.kinds import refuse_other_files

    refuse_other_files(_existing(target))
    return target


def _print(value: Mapping[str, object]) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2))


def _notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        click.echo(f"critictui: {note}", err=True)


@cli.command()
@with_target
@with_config
@click.option("--format", "fmt", type=click.Choice(["jsonl", "csv", "parquet"]), help="Default: by the name of -o.")
@click.option("-o", "--output", type=PATH, help="Default: stdout.")
@click.option("--everything", is_flag=True, help="Hyper-parameters, text and histograms too.")
def export(target: Path, config_file: Path | None, fmt: str | None, output: Path | None, everything: bool) -> None:
    """Every scalar as a table. TARGET: a run directory, or one file."""
    from critictui.reports.export import export as write
    from critictui.reports.export import format_of, said_of_losses
    from critictui.run.text import sanitise_line

    run = write(_run_at(target), format_of(fmt, output), output, everything, _settings(target, config_file))
    _notes((*said_of_losses(run.skipped), *(sanitise_line(notice, 600) for notice in run.notices)))


@cli.command()
@with_target
@with_scoring
@click.option("--markdown", is_flag=True, help="A report in Markdown.")
def diagnose(
    target: Path, fixed_set: Path | None, recipe: Recipe, as_json: bool, config_file: Path | None, markdown: bool,
    **read: Any,
) -> int:  # fmt: skip
    """Is this checkpoint sound? TARGET: a checkpoint, or a run (its newest complete one)."""
    from critictui.diagnosis import commands, render
    from critictui.scoring.progress_line import ProgressLine

    config = commands.recipe_config(_settings(_existing(target), config_file, **read), recipe)
    line = ProgressLine()
    diagnosis, notes = commands.diagnose_target(target, config, line.tell, fixed_set)
    line.end()
    _notes(notes)
    if as_json:
        _print(render.diagnosis_json(diagnosis))
    else:
        text = render.diagnosis_markdown(diagnosis, target.name) if markdown else render.diagnosis_text(diagnosis)
        click.echo(text)
    return 1 if diagnosis.verdict == "broken" else 0


@cli.command()
@with_target
@click.option("--samples", required=True, type=PATH, help="What training saved.")
@with_recipe
@with_tokenizer
@with_device
@with_json
@with_config
@click.option("--save-recipe", is_flag=True, help="Make the recipe that was found the run's own (critictui.toml).")
def replay(
    target: Path, samples: Path, recipe: Recipe, as_json: bool, config_file: Path | None, save_recipe: bool,
    **read: Any,
) -> int:  # fmt: skip
    """Recompute scores that training recorded; find the recipe that reproduces them."""
    from critictui.diagnosis import commands
    from critictui.diagnosis import replay as judged
    from critictui.scoring.progress_line import ProgressLine

    config = commands.recipe_config(_settings(_existing(target), config_file, **read), recipe)
    line = ProgressLine()
    found = commands.replay_target(target, samples, config, line.tell)
    line.end()
    if as_json:
        _print(judged.replay_json(found))
    else:
        click.echo(judged.in_words(found))
    if save_recipe:
        click.echo(f"saved to {commands.save_recipe(target, found)}", err=True)
    return 0 if found.found is not None else 1


@cli.command()
@with_target
@click.option("--claim", "claims", multiple=True, help="A number that a test measured: d_acc=0.4575, teacher=-0.50 ...")
@click.option("--pairs", type=FROM_1, help="Teacher-student pairs behind the claim.")
@click.option("--script", type=PATH, help="The scoring script; it is read, never run.")
@click.option("--samples", type=PATH, help="Responses that training saved.")
@click.option("--checkpoint", type=PATH, help="The checkpoint that was tested.")
@with_scoring
@click.option("--markdown", is_flag=True, help="A report in Markdown.")
def explain(
    target: Path, claims: tuple[str, ...], pairs: int | None, script: Path | None, samples: Path | None,
    checkpoint: Path | None, fixed_set: Path | None, recipe: Recipe,
    as_json: bool, config_file: Path | None, markdown: bool, **read: Any,
) -> int:  # fmt: skip
    """Why do training and test disagree? Ranked causes with their evidence."""
    from critictui.diagnosis import commands, render
    from critictui.diagnosis.claims import parse_claims
    from critictui.diagnosis.inquiry import Question
    from critictui.diagnosis.script import read_script
    from critictui.scoring.progress_line import ProgressLine

    claim = parse_claims(claims, pairs)
    reading = read_script(script) if script is not None else None
    config = commands.recipe_config(_settings(_run_at(target), config_file, **read), recipe)
    options = commands.ExplainOptions(Question(claim, reading, samples), checkpoint, fixed_set)
    line = ProgressLine()
    explanation, notes = commands.explain_run(target, config, line.tell, options)
    line.end()
    _notes(notes)
    if as_json:
        _print(render.explanation_json(explanation))
    else:
        title = target.resolve().name
        text = render.explanation_markdown(explanation, title) if markdown else render.explanation_text(explanation)
        click.echo(text)
    return 1 if any(c.verdict in {"proven", "likely"} for c in explanation.causes) else 0


@cli.command()
@click.option("--data", required=True, type=PATH, help="Training data: parquet, JSONL or .pt.")
@click.option("-o", "--out", required=True, type=PATH, help="The fixed set to make.")
@click.option("--student", type=PATH, help="The student: a Hugging Face folder.")
@click.option("--endpoint", help="An OpenAI-compatible server, as http://host:8000/v1.")
@click.option("--model", help="The model that the server is asked for.")
@click.option("--api-key-env", default="OPENAI_API_KEY", show_default=True, help="The variable that holds its key.")
@click.option("--rollouts", type=PATH, help="verl's rollout_data_dir, joined with the data.")
@click.option("--student-column", help="A column that holds the student's responses.")
@click.option("--prompt-column", default="content", show_default=True)
@click.option("--teacher-column", default="teacher_response", show_default=True)
@click.option("--tokenizer", type=PATH, help="Whose chat template rendered rollouts; its hashes go into the set.")
@click.option("--num-samples", type=FROM_0, help="Prompts; 0 takes all. Default: 100, or all where there are fewer.")
@click.option("--responses", type=FROM_1, help="Student responses a prompt. Default: 4; of a column, all.")
@click.option("--seed", type=SEED, default=42, show_default=True)
@click.option("--temperature", type=TEMPERATURE, default=0.6, show_default=True)
@click.option("--top-p", type=SHARE, default=0.9, show_default=True)
@click.option("--top-k", type=FROM_0, default=0, show_default=True, help="0 keeps all tokens.")
@click.option("--max-new-tokens", type=FROM_1, default=512, show_default=True)
@click.option(
    "--batch-size", type=FROM_1, default=8, show_default=True, help="Responses in flight; it changes the pace alone."
)
@with_device
@click.option("--share-gpu", is_flag=True, help="Use a GPU that training is on, at its present use.")
@with_json
def prepare(as_json: bool, **flags: Any) -> int:
    """Make the fixed set: prompts sampled once, student responses generated once, both stored."""
    from critictui.scoring import prepare as making

    return making.prepare(flags, as_json=as_json, print_json=_print)


@cli.command()
@with_target
@with_scoring
@click.option("--run-dir", type=PATH, help="Keep the result there; default: the target's run.")
@click.option("--read-only", is_flag=True, default=None, help="Write nothing into the run directory.")
@click.option("--share-gpu", is_flag=True, help="Use a GPU that training is on, at its present use.")
@click.option("--follow", is_flag=True, help="Go on: score each new complete checkpoint of the run.")
@click.option("--detach", is_flag=True, help="Start it and return; the result appears in the run directory.")
@click.option("--launch", type=click.Choice(["local", "slurm", "ray"]), help="Where the worker runs.")
@click.option("--partition", help="Slurm's partition.")
@click.option("--time", help="Slurm's time limit.")
@click.option("--account", help="Slurm's account.")
@click.option("--gpus", help="GPUs of the job, 0 for none; with Slurm also a type, as h100:1. Default: 1.")
@click.option("--address", help="Ray's dashboard, as http://host:8265.")
@click.option("--submit-arg", multiple=True, help="One more argument for sbatch, or KEY=VALUE of Ray's request.")
def score(
    target: Path, fixed_set: Path | None, recipe: Recipe, device: str | None, tokenizer: str | None,
    columns: dict[str, str] | None, as_json: bool, config_file: Path | None, run_dir: Path | None,
    read_only: bool | None, share_gpu: bool, follow: bool, detach: bool, launch: str | None, **asked: object,
) -> int:  # fmt: skip
    """Score a critic on a fixed set. TARGET: a checkpoint, or a run (its newest complete one)."""
    from critictui.scoring import commands
    from critictui.scoring.progress_line import ProgressLine

    flags = {"recipe": recipe, "device": device, "read_only": read_only, "launch": launch}
    config = _settings(_existing(target), config_file, tokenizer=tokenizer, columns=columns, **flags)
    config = commands.config_for(config, asked)
    commands.refuse_run_dir(run_dir)
    how = commands.How(share_gpu, as_json, ProgressLine(), _print, run_dir)
    if follow:
        return commands.follow_run(target, config, fixed_set, how)
    if detach:
        return commands.score_detached(target, config, fixed_set, how)
    return commands.score_once(target, config, fixed_set, how)


@cli.command()
@with_target
@click.option("--headless", is_flag=True, help="No screen: one line an event, until a signal ends it.")
@click.option("--read-only", is_flag=True, default=None, help="Write nothing into the run directory.")
@click.option("--theme", help="A theme's name.")
@click.option("--ascii", "ascii_only", is_flag=True, default=None, help="Draw with ASCII alone.")
@click.option("--auto-score", is_flag=True, default=None, help="Score each new complete checkpoint by itself.")
@with_fixed_set
@with_config
def watch(
    target: Path, headless: bool, read_only: bool | None, theme: str | None,
    ascii_only: bool | None, auto_score: bool | None, fixed_set: Path | None, config_file: Path | None,
) -> int:  # fmt: skip
    """Watch a run (or a directory of many) as it trains. `critictui RUN_DIR` does the same."""
    flags: dict[str, object] = {"read_only": read_only, "theme": theme, "ascii": ascii_only, "auto_score": auto_score}
    if fixed_set is not None:
        flags["fixed_set"] = str(fixed_set.absolute())
    config = _settings(_run_at(target), config_file, **flags)
    if headless:
        load_numpy()
        from critictui.monitor.daemon import watch_headless

        return watch_headless(target, config)
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        raise InputError("watch needs a terminal; use `critictui check RUN_DIR`, or `watch --headless RUN_DIR`")
    from critictui.tui.start import watch as watch_on_screen

    return watch_on_screen(target, config)


@cli.command()
@with_target
@with_json
@click.option(
    "--fail-on",
    type=click.Choice(["info", "warning", "critical"]),
    default="critical",
    show_default=True,
    help="Exit with status 1 when an alert of this severity, or worse, fires.",
)
@with_config
def check(target: Path, as_json: bool, fail_on: str, config_file: Path | None) -> int:
    """Read a run once, apply the rules, print the verdict."""
    load_numpy()
    from critictui.monitor import check as checking

    report = checking.check(target, _settings(_run_at(target), config_file))
    if as_json:
        _print(report)
    else:
        click.echo(checking.render_check(report))
    return 1 if checking.reached(report, fail_on) else 0


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option("--rule", help="Only this rule.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A threshold, e.g. decline.drop=0.06.")
@with_json
@with_config
def backtest(
    runs: tuple[Path, ...], rule: str | None, pairs: tuple[str, ...], as_json: bool, config_file: Path | None
) -> None:
    """When each rule would have fired on past runs."""
    from critictui.health.backtest import as_text, pairs_of
    from critictui.health.backtest import backtest as replayed

    config = _settings(None, config_file)
    result = replayed([_run_at(run) for run in runs], config, rule, pairs_of(pairs))
    if as_json:
        _print(result)
    else:
        click.echo(as_text(result))


@cli.command()
@with_target
@click.option("-o", "--output", type=PATH, required=True, help="The page, an HTML file.")
@with_config
def report(target: Path, output: Path, config_file: Path | None) -> None:
    """A page with pictures: curves, alerts, scores, pairs. TARGET: a run directory, or one file."""
    load_numpy()
    from critictui.monitor.check import judge_once
    from critictui.reports.page import write_page

    config = _settings(_run_at(target), config_file)
    judged = judge_once(target, config)
    charts = write_page(output, judged.run, judged.scores, judged.judgement, config)
    click.echo(f"{output}: {judged.judgement.verdict}, {charts} charts, {len(judged.scores)} scores")


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@with_json
@with_config
def compare(runs: tuple[Path, ...], as_json: bool, config_file: Path | None) -> None:
    """Runs side by side, each against the first: at the same step, on the same fixed set, and how they were set."""
    load_numpy()
    from critictui.reports.compare import compare as compared
    from critictui.reports.render_comparison import comparison_json, comparison_text

    found = compared([_run_at(run) for run in runs], _settings(None, config_file))
    if as_json:
        _print(comparison_json(found))
    else:
        click.echo(comparison_text(found))


@cli.command()
@click.option("--test", "test_only", is_flag=True, required=True, help="Send a sample and say what happened.")
@with_config
def notify(test_only: bool, config_file: Path | None) -> int:
    """Try the notifications that the configuration sets up."""
    from critictui.monitor.notify import SAMPLE, send_now

    del test_only
    sent = send_now(_settings(None, config_file).notify, SAMPLE)
    if not sent:
        raise InputError(
            "no way to notify is set up; add `command`, `webhook` or `apprise` under [notify] in the config"
        )
    for one in sent:
        click.echo(f"{'sent' if one.ok else 'FAILED'}  {one.way}: {one.said}")
    return 0 if all(one.ok for one in sent) else 3


@cli.command()
@click.option("--scenario", default="healthy", show_default=True, help="healthy, collapse, memorise, drift, ...")
@click.option("--dir", "directory", type=PATH, help="Where to; default: a temporary directory.")
@click.option("--headless", is_flag=True, help="No screen: a line every few steps.")
@click.option("--trainer", type=click.Choice(["verl", "trl"]), default="verl", help="Whose files are written.")
@click.option("--pooling", type=click.Choice(["mean", "last"]), help="Of verl's scores: over the response, or at EOS.")
@click.option("--steps", type=int, help="Default: 240, about a minute.")
@click.option("--speed", type=float, help="Of a training at most 1; of a replay, times the recorded pace.")
@with_config
def demo(headless: bool, config_file: Path | None, **options: Any) -> int:
    """Train a tiny real critic and watch it live."""
    from critictui.demo.command import run_demo

    def on_screen(run: Path) -> int:
        from critictui.tui.start import watch as show

        return show(run, _settings(run, config_file))

    return run_demo(**options, watch=None if headless or not sys.stdout.isatty() else on_screen, say=click.echo)


def _end_in_order() -> None:
    """SIGTERM and SIGHUP end a command as Ctrl-C does: what it started is ended, what it half wrote is removed.

    A signal that was ignored when we came (nohup) stays so; a screen and `watch --headless` set their own handlers.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)


def _complain(message: str) -> None:
    """On stderr, if anybody still reads it; a message may quote the names in a file."""
    from critictui.run.text import sanitise

    with contextlib.suppress(OSError):
        click.echo(sanitise(message), err=True)


def main() -> None:
    """The entry point: exceptions become one line and an exit status, here and nowhere else."""
    _end_in_order()
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        status = 130
    except click.exceptions.NoArgsIsHelpError as error:
        _complain(error.format_message())
        status = 2
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else "critictui"
        _complain(f"critictui: {' '.join(error.format_message().split()).rstrip('.')}; see `{command} --help`")
        status = 2
    except (InputError, click.ClickException) as error:
        _complain(f"critictui: {error}")
        status = 2
    except JobFailedError as error:
        _complain(f"critictui: {error}")
        status = 3
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
