"""Slurm takes a job: one `sbatch`, then `scontrol` says where it is and `scancel` ends it. No library of Slurm's."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from critictui.scoring.cluster import NOT_SHARED, JobState, Submitted
from critictui.scoring.last_lines import TAIL_BYTES, last_lines
from critictui.scoring.recipe import ScoringError

SECONDS = 60.0
"""For one command of Slurm's; a controller under load takes many seconds."""
_RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING"}
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "SUSPENDED", "STOPPED"}
"""Job states of squeue(1); what is neither here nor there nor COMPLETED has ended badly."""


@dataclass(frozen=True, slots=True)
class Slurm:
    """What a job asks for; an empty field leaves it to the site."""

    partition: str = ""
    time: str = ""
    account: str = ""
    gres: str = "gpu:1"
    """Empty asks for no GPU."""
    extra: tuple[str, ...] = ()
    """More arguments for sbatch."""

    name = "Slurm"

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> Slurm:
        """From `[launch.slurm]`: `partition`, `time`, `account`, `gpus` (a number, or as `h100:1`), `extra`."""
        gpus = str(settings.get("gpus", 1)).strip().removeprefix("gpu:")
        if not re.fullmatch(r"(?:[\w.-]+:)?\d{1,3}", gpus, re.ASCII):
            raise ScoringError(f"[launch.slurm] gpus = {gpus!r:.40}: give a number, or a type with it, as h100:1")
        extra = settings.get("extra", ())
        assert isinstance(extra, (list, tuple))
        return cls(
            partition=str(settings.get("partition", "")),
            time=str(settings.get("time", "")),
            account=str(settings.get("account", "")),
            gres="" if gpus.rpartition(":")[2].strip("0") == "" else f"gpu:{gpus}",
            extra=tuple(str(argument) for argument in extra),
        )

    @property
    def gpus(self) -> bool:
        """Whether the job gets a GPU."""
        return bool(self.gres)

    def arguments(self, title: str, logs: Path) -> list[str]:
        """The arguments of sbatch; those of the user come last, so that they win."""
        asked = {"partition": self.partition, "time": self.time, "account": self.account, "gres": self.gres}
        return [
            *("--parsable", f"--job-name={title}", f"--output={logs / 'slurm-%j.log'}", "--nodes=1", "--ntasks=1"),
            *(f"--{name}={value}" for name, value in asked.items() if value),
            *self.extra,
        ]

    def submit(self, script: str, title: str, logs: Path) -> Submitted:
        """Hand in a script. Raises ScoringError where Slurm is not there or refuses it."""
        try:
            done = _slurm(["sbatch", *self.arguments(title, logs)], script)
        except FileNotFoundError:
            raise ScoringError("sbatch is not in PATH: --launch slurm works where Slurm's commands are") from None
        except (OSError, subprocess.SubprocessError) as error:
            raise ScoringError(f"sbatch could not be run ({error!s:.200}); is Slurm well here?") from None
        if done.returncode:
            said = last_lines(done.stderr, count=2).replace("\n", "; ")
            raise ScoringError(f"Slurm did not take the job: {said}; mend [launch.slurm] in the config, or the flags")
        number = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
        if not re.fullmatch(r"\d+(?:;[\w.-]+)?", number, re.ASCII):
            raise ScoringError(f"sbatch answered {number!r:.60}, not a job's number; is it a wrapper?")
        return Submitted(number, str(logs / f"slurm-{number.partition(';')[0]}.log"))

    def look(self, job: Submitted) -> JobState | None:
        """What the controller says of the job, else the accounting, else that it is gone."""
        try:
            done = _slurm(["scontrol", *_cluster_of(job), "--oneliner", "show", "job", _number_of(job)])
        except (OSError, subprocess.SubprocessError):
            return None
        if done.returncode == 0:
            return _state_of(dict(re.findall(r"(\w+)=(\S+)", done.stdout)))
        # the controller forgets a job some minutes after its end
        return _accounted(job) if "Invalid job id" in done.stderr else None

    def printed(self, job: Submitted) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError), Path(job.log).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
        return ""

    def cancel(self, job: Submitted) -> None:
        """End it."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            _slurm(["scancel", *_cluster_of(job), _number_of(job)])


def _slurm(command: Sequence[str], given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(command), input=given, capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS
    )


def _number_of(job: Submitted) -> str:
    return job.id.partition(";")[0]


def _cluster_of(job: Submitted) -> list[str]:
    """A job that `--clusters` sent elsewhere has its cluster's name behind its number."""
    name = job.id.partition(";")[2]
    return [f"--clusters={name}"] if name else []


def _state_of(fields: Mapping[str, str]) -> JobState:
    """From the fields of `scontrol show job`, or of the accounting by the same names."""
    state = fields.get("JobState", "")
    if state in _WAITING:
        return JobState("queued", fields.get("Reason", "").replace("None", ""))
    if state in _RUNNING:
        return JobState("running", f"on {fields.get('NodeList', '?')}")
    if state == "COMPLETED":
        return JobState("done")
    status, _, number = fields.get("ExitCode", "").partition(":")
    if state != "FAILED":
        return JobState("failed", state)
    if status == str(NOT_SHARED):
        return JobState("failed", "the node does not see the files")
    return JobState("failed", f"exit status {status}" if number in {"", "0"} else f"signal {number}")


def _accounted(job: Submitted) -> JobState:
    command = ["sacct", *_cluster_of(job), "--noheader", "--parsable2", "--allocations", "--format=State,ExitCode",
               f"--jobs={_number_of(job)}"]  # fmt: skip
    try:
        done = _slurm(command)
    except (OSError, subprocess.SubprocessError):
        return JobState("gone")
    state, _, status = done.stdout.strip().partition("|")
    if done.returncode or not state:
        return JobState("gone")
    return _state_of({"JobState": state.partition(" ")[0], "ExitCode": status})
