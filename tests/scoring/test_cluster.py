"""Scores made by Slurm and by Ray: what is asked of them, what is made of their answers, and the script a node runs.

Slurm's commands stand in PATH as small programs that write down what they are asked and say what a test wants; Ray's
dashboard is a server on this machine. `test_a_real_cluster_scores` runs against the real ones where the environment
names them: CRITICTUI_SLURM=1 with sbatch in PATH, CRITICTUI_RAY=http://host:8265.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from critictui.config import Config, load_config
from critictui.errors import InputError
from critictui.scoring.cluster import NOT_SHARED, JobState, Submitted
from critictui.scoring.commands import config_for
from critictui.scoring.elsewhere import Pace, cluster_of, job_script, score_elsewhere
from critictui.scoring.jobs import Failed, Finished, Progress
from critictui.scoring.order import Order, order_score
from critictui.scoring.ray_jobs import USUAL, RayJobs, dashboard_of
from critictui.scoring.recipe import ScoringError
from critictui.scoring.result import FixedSetRef
from critictui.scoring.results import ResultsFolder, save_result
from critictui.scoring.slurm import Slurm

pytest.importorskip("torch", reason="needs the extra [score]")
pytestmark = pytest.mark.torch
FAST = Pace(first=0.01, most=0.01, appear=0.0)


@pytest.fixture
def order(demo_copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Order:
    """What is to be scored: a copy of the demo's run."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = demo_copy("healthy")
    return order_score(run, Config(), run / "fixed_set.jsonl", elsewhere=True)


@pytest.fixture
def finish(order: Order, make_result: Callable[..., Any]) -> Callable[[], None]:
    """Call it to do what the node does at its end: save a result that fits the order."""

    def save() -> None:
        reference = FixedSetRef(order.job.fixed_set, order.set_sha256, 2, 4)
        result, rows = make_result(fixed_set=reference, fingerprint=order.audit.fingerprint)
        save_result(Path(order.job.run_dir), result, rows)

    return save


class Site:
    """Slurm's commands in a folder, with what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, body in {
            "sbatch": 'cat > "$HERE/script"; cat "$HERE/refusal" >&2 2>/dev/null && exit 1; echo 42',
            "scontrol": 'n=$(cat "$HERE/asked" 2>/dev/null || echo 0); echo $((n + 1)) > "$HERE/asked"\n'
            'line=$(sed -n "$((n + 1))p" "$HERE/states"); [ -n "$line" ] || line=$(tail -n 1 "$HERE/states")\n'
            'case "$line" in !*) echo "${line#!}" >&2; exit 1;; esac; echo "$line"',
            "sacct": 'cat "$HERE/accounted"',
            "scancel": "",
        }.items():
            program = folder / name
            program.write_text(f'#!/bin/sh\nHERE="{folder}"\necho "{name} $*" >> "$HERE/calls"\n{body}\n')
            program.chmod(0o755)

    def says(self, *states: str) -> None:
        """What scontrol answers, one look after the other; `!` in front: on stderr, with status 1."""
        (self.folder / "states").write_text("".join(f"{state}\n" for state in states))

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return Site(folder)


def state(name: str, reason: str = "None", node: str = "(null)", code: str = "0:0") -> str:
    return f"JobId=42 JobName=x JobState={name} Reason={reason} NodeList={node} ExitCode={code}"


def test_a_job_is_followed_in_words_until_its_result_is_there(site: Site, order: Order, finish) -> None:
    site.says(
        state("PENDING", "Priority"),
        state("PENDING", "Priority"),
        "!slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        state("RUNNING", node="gpu7"),
        state("COMPLETED", node="gpu7"),
    )
    heard: list[str] = []

    def listen(progress: Progress) -> None:
        heard.append(progress.message.partition(": ")[2])
        if progress.phase == "running":
            finish()

    outcome = score_elsewhere(order, Slurm(partition="gpu"), listen, pace=FAST)
    assert isinstance(outcome, Finished)
    assert outcome.result["checkpoint_fingerprint"] == order.audit.fingerprint
    assert outcome.saved is not None
    assert outcome.saved.is_file()
    log = Path(os.environ["XDG_STATE_HOME"]) / "critictui"
    assert heard[0].startswith(f"submitted, to score {order.checkpoint.path} on {order.job.fixed_set}; its log: {log}")
    assert heard[1:4] == ["queued (Priority)", "the cluster does not answer; asking again", "running (on gpu7)"]
    assert heard[4].startswith("done after ")


def test_sbatch_is_asked_for_what_the_configuration_and_the_flags_say(site: Site, order: Order, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(
        '[launch]\nwhere = "slurm"\n[launch.slurm]\npartition = "gpu"\naccount = "ml"\n'
        'gpus = "h100:2"\nextra = ["--qos=low"]\n'
    )
    config = load_config(explicit=settings, environ={})
    assert config.notices == ()
    asked = {"partition": None, "time": "0:20:00", "gpus": None, "submit_arg": ("--exclusive",), "address": None}
    cluster = cluster_of(config_for(config, asked))
    assert cluster is not None
    site.says(state("COMPLETED"))
    score_elsewhere(order, cluster, lambda _: None, pace=FAST)
    asked_for = site.calls[0].split()
    assert asked_for[:2] == ["sbatch", "--parsable"]
    assert f"--job-name=critictui-score-step-{order.checkpoint.step}" in asked_for
    assert asked_for[-6:] == [
        *("--partition=gpu", "--time=0:20:00", "--account=ml", "--gres=gpu:h100:2", "--qos=low", "--exclusive"),
    ]
    script = (site.folder / "script").read_text()
    assert "--launch local --json" in script
    assert "--device cuda" in script
    assert "--gres" not in " ".join(Slurm.from_settings({"gpus": 0}).arguments("t", tmp_path))


def test_a_job_that_fails_gives_its_last_lines_without_escapes(site: Site, order: Order) -> None:
    site.says(state("FAILED", "NonZeroExitCode", code="3:0"))

    def listen(progress: Progress) -> None:
        if progress.phase == "queued":
            log = Path(progress.message.rpartition(" ")[2])
            log.write_text("".join(f"line {n}\n" for n in range(30)) + "\x1b[31mout of memory\x1b[0m\x07\n")

    outcome = score_elsewhere(order, Slurm(), listen, pace=FAST)
    assert isinstance(outcome, Failed)
    first, *rest = outcome.message.splitlines()
    assert first == "Slurm job 42 failed (exit status 3)"
    assert rest[0] == "line 23"
    assert rest[-1].startswith("out of memory")
    assert "\x1b" not in outcome.message
    assert "\x07" not in outcome.message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ((state("TIMEOUT")), "failed (TIMEOUT)"),
        ((state("FAILED", code="0:9")), "failed (signal 9)"),
        ((state("FAILED", code=f"{NOT_SHARED}:0")), "failed (the node does not see the files)"),
    ],
)
def test_how_a_job_failed_is_said(site: Site, order: Order, fields: str, said: str) -> None:
    site.says(fields)
    outcome = score_elsewhere(order, Slurm(), lambda _: None, pace=FAST)
    assert isinstance(outcome, Failed)
    assert said in outcome.message


def test_a_result_that_does_not_appear_is_a_failure_that_names_the_folder(site: Site, order: Order) -> None:
    site.says(state("COMPLETED"))
    outcome = score_elsewhere(order, Slurm(), lambda _: None, pace=FAST)
    assert isinstance(outcome, Failed)
    assert f"no result of it appears in {order.job.run_dir}/critictui/scores" in outcome.message


def test_a_job_that_slurm_has_forgotten_is_judged_by_the_accounting_or_by_its_result(
    site: Site, order: Order, finish
) -> None:
    site.says("!slurm_load_jobs error: Invalid job id specified")
    (site.folder / "accounted").write_text("OUT_OF_MEMORY|0:125\n")
    outcome = score_elsewhere(order, Slurm(), lambda _: None, pace=FAST)
    assert isinstance(outcome, Failed)
    assert "OUT_OF_MEMORY" in outcome.message
    (site.folder / "accounted").write_text("")
    outcome = score_elsewhere(order, Slurm(), lambda _: None, pace=FAST)
    assert isinstance(outcome, Failed)
    assert "is not known to the cluster any more" in outcome.message
    finish()
    assert isinstance(score_elsewhere(order, Slurm(), lambda _: None, pace=FAST), Finished)


def test_an_interrupt_cancels_the_job_and_goes_on(site: Site, order: Order) -> None:
    site.says(state("RUNNING"))

    def interrupt(progress: Progress) -> None:
        if progress.phase == "running":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_elsewhere(order, Slurm(), interrupt, pace=FAST)
    assert site.calls[-1] == "scancel 42"


def test_a_job_is_cancelled_when_told_to_stop(site: Site, order: Order) -> None:
    site.says(state("PENDING"))
    stop = threading.Event()
    outcome = score_elsewhere(
        order, Slurm(), lambda p: stop.set() if p.phase == "queued" else None, stop=stop, pace=FAST
    )
    assert isinstance(outcome, Failed)
    assert outcome.reason == "cancelled"
    assert site.calls[-1] == "scancel 42"


def test_a_job_on_another_cluster_is_asked_for_there(site: Site) -> None:
    site.says(state("RUNNING", node="n1"))
    job = Submitted("42;west", "log")
    assert Slurm().look(job) == JobState("running", "on n1")
    Slurm().cancel(job)
    assert site.calls == ["scontrol --clusters=west --oneliner show job 42", "scancel --clusters=west 42"]


def test_what_slurm_refuses_is_one_line(site: Site, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.folder / "refusal").write_text("sbatch: error: invalid partition specified: moon\n")
    with pytest.raises(ScoringError, match="invalid partition specified: moon; mend") as raised:
        score_elsewhere(order, Slurm(), lambda _: None, pace=FAST)
    assert "\n" not in str(raised.value)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ScoringError, match="sbatch is not in PATH"):
        score_elsewhere(order, Slurm(), lambda _: None, pace=FAST)


# the script


def test_the_script_scores_under_the_recipe_that_was_ordered(order: Order) -> None:
    template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}it's \"$HOME\""
    recipe = {"pooling": "sum", "chat_template": template, "ties": "half"}
    ordered = order_score(
        order.checkpoint.path, Config(recipe=recipe), Path(order.job.fixed_set), run_dir=Path(order.job.run_dir),
        elsewhere=True,
    )  # fmt: skip
    done = subprocess.run(["sh"], input=job_script(ordered, gpu=False), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.partition("\n")[2])["recipe"]["chat_template"] == template
    [saved] = ResultsFolder(Path(order.job.run_dir)).poll()
    assert saved.recipe["pooling"] == "sum"


def test_a_node_that_does_not_see_the_run_says_so(order: Order) -> None:
    shutil.rmtree(order.checkpoint.path)
    done = subprocess.run(["sh"], input=job_script(order, gpu=False), capture_output=True, text=True, check=False)
    assert done.returncode == NOT_SHARED
    assert f"does not see {order.checkpoint.path}" in done.stderr


# Ray


class Dashboard:
    """Ray's job API as far as we use it."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, Any], str]] = []
        self.states: list[dict[str, object]] = []
        self.refuse: tuple[int, str] | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or "{}")
                outer.requests.append(("POST", self.path, body, self.headers.get("authorization", "")))
                if outer.refuse:
                    return self._send(*outer.refuse)
                answer = {"submission_id": body["submission_id"]} if self.path == "/api/jobs/" else {"stopped": True}
                return self._send(200, json.dumps(answer))

            def do_GET(self) -> None:
                if self.path.endswith("/logs"):
                    return self._send(500, "Traceback\nthe node has gone")
                answer = outer.states.pop(0) if len(outer.states) > 1 else outer.states[0]
                return self._send(200, json.dumps(answer))

            def _send(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    pytest.importorskip("httpx", reason="needs the extra [score]")
    made = Dashboard()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_ray_is_asked_for_a_gpu_and_followed_to_the_result(dashboard: Dashboard, order: Order, finish) -> None:
    dashboard.states = [
        {"status": "PENDING", "message": "Job has not started yet."},
        {"status": "RUNNING", "message": "", "driver_agent_http_address": "http://10.0.0.7:52365"},
        {"status": "SUCCEEDED", "message": "Job finished successfully.", "driver_exit_code": 0},
    ]
    heard: list[str] = []

    def listen(progress: Progress) -> None:
        heard.append(progress.message.partition(": ")[2])
        if progress.phase == "running":
            finish()

    settings = {"address": dashboard.url, "gpus": 0.5, "extra": {"entrypoint_num_cpus": 2}}
    cluster = RayJobs.from_settings(settings, {"RAY_AUTH_TOKEN": "secret"})
    outcome = score_elsewhere(order, cluster, listen, pace=FAST)
    assert isinstance(outcome, Finished)
    assert heard[1:3] == ["queued (Job has not started yet.)", "running (on 10.0.0.7)"]
    method, path, body, authorization = dashboard.requests[0]
    assert (method, path, authorization) == ("POST", "/api/jobs/", "Bearer secret")
    assert body["entrypoint_num_gpus"] == 0.5
    assert body["entrypoint_num_cpus"] == 2
    assert "--launch local --json" in body["entrypoint"]
    assert "--device cuda" in body["entrypoint"]
    assert body["submission_id"].startswith(f"critictui-score-step-{order.checkpoint.step}-")


def test_a_failed_job_of_ray_gives_what_the_cluster_kept_of_its_log(dashboard: Dashboard, order: Order) -> None:
    kept = (
        "failed, last logs:\necho script\n\ncritictui: a score begins on n7\ncritictui: cuda: no such GPU is visible\n"
    )
    dashboard.states = [{"status": "FAILED", "driver_exit_code": 2, "message": kept}]
    outcome = score_elsewhere(order, RayJobs(dashboard.url), lambda _: None, pace=FAST)
    assert isinstance(outcome, Failed)
    first, second = outcome.message.splitlines()
    assert first.endswith("failed (exit status 2)")
    assert second == "critictui: cuda: no such GPU is visible"


def test_ray_stops_a_job_on_an_interrupt(dashboard: Dashboard, order: Order) -> None:
    dashboard.states = [{"status": "RUNNING", "message": ""}]

    def interrupt(progress: Progress) -> None:
        if progress.phase == "running":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_elsewhere(order, RayJobs(dashboard.url), interrupt, pace=FAST)
    job = dashboard.requests[0][2]["submission_id"]
    assert dashboard.requests[-1][1] == f"/api/jobs/{job}/stop"


def test_what_ray_refuses_and_an_address_where_nobody_is_are_one_line(dashboard: Dashboard, order: Order) -> None:
    dashboard.refuse = (400, "Traceback (most recent call last):\nTypeError: entrypoint_num_cpus must be a number")
    with pytest.raises(ScoringError, match="did not take the job: HTTP 400: TypeError: entrypoint_num_cpus") as raised:
        score_elsewhere(order, RayJobs(dashboard.url), lambda _: None, pace=FAST)
    assert "\n" not in str(raised.value)
    with pytest.raises(ScoringError, match=r"127\.0\.0\.1:9: no Ray dashboard answers"):
        score_elsewhere(order, RayJobs("http://127.0.0.1:9"), lambda _: None, pace=FAST)


@pytest.mark.parametrize(
    ("settings", "environ", "address"),
    [
        ({}, {}, USUAL),
        ({}, {"RAY_ADDRESS": "auto"}, USUAL),
        ({}, {"RAY_ADDRESS": "head:6379"}, "http://head:8265"),
        ({}, {"RAY_ADDRESS": "ray://head:10001"}, "http://head:8265"),
        ({}, {"RAY_ADDRESS": "https://ray.example/x/"}, "https://ray.example/x"),
        ({}, {"RAY_ADDRESS": "head:6379", "RAY_API_SERVER_ADDRESS": "http://api:1"}, "http://api:1"),
        ({"address": "head:9000"}, {"RAY_ADDRESS": "other:6379"}, "http://head:9000"),
        ({"address": "head"}, {}, "http://head:8265"),
        ({"address": "[::1]:9000"}, {}, "http://[::1]:9000"),
    ],
)
def test_the_dashboard_is_found_from_what_people_call_rays_address(settings, environ, address) -> None:
    assert RayJobs.from_settings(settings, environ).address == address


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ScoringError, match="is no address of a Ray cluster"):
        dashboard_of("head:port")


# settings


@pytest.mark.parametrize(
    ("launch", "asked", "said"),
    [
        ("local", {"partition": "gpu"}, "--partition is for --launch slurm, not for local"),
        ("local", {"gpus": "1"}, "--gpus is for --launch slurm or ray, not for local"),
        ("ray", {"account": "ml"}, "--account is for --launch slurm, not for ray"),
        ("slurm", {"address": "x"}, "--address is for --launch ray, not for slurm"),
        ("ray", {"gpus": "h100:1"}, "with Ray it is a number"),
        ("ray", {"submit_arg": ("--qos=low",)}, "a field of the request"),
        ("ray", {"submit_arg": ("entrypoint_num_cpus=2",)}, None),
        ("ray", {"submit_arg": ("qos",)}, "a field of the request"),
        ("slurm", {"gpus": "many"}, "give a number, or a type with it"),
    ],
)
def test_a_flag_that_the_launcher_has_no_use_for_is_refused(launch: str, asked, said: str | None) -> None:
    config = Config(launch=launch)
    if said is None:
        config_for(config, asked)
        return
    with pytest.raises(InputError, match=said):
        cluster_of(config_for(config, asked))


def test_bad_settings_become_a_sentence_and_the_default(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(
        '[launch]\nwhere = "moon"\n[launch.slurm]\npartition = 3\nqos = "low"\ngpus = true\n[launch.kubernetes]\n'
    )
    config = load_config(explicit=settings, environ={})
    assert config.launch == "local"
    assert config.launchers == {"slurm": {}}
    said = "\n".join(config.notices)
    for part in ("launch.where", "launch.slurm.partition must be str", "launch.slurm.qos is no setting",
                 "launch.slurm.gpus must be", "launch.kubernetes"):  # fmt: skip
        assert part in said


@pytest.mark.parametrize("launch", ["slurm", "ray"])
def test_a_real_cluster_scores(launch: str, demo_copy: Callable[..., Path], tmp_path: Path) -> None:
    named = os.environ.get(f"CRITICTUI_{launch.upper()}")
    if not named:
        pytest.skip(f"CRITICTUI_{launch.upper()} names no cluster")
    run = demo_copy("healthy")
    where = ("--address", named) if launch == "ray" else ()
    done = subprocess.run(
        [sys.executable, "-m", "critictui", "score", str(run), "--fixed-set", str(run / "fixed_set.jsonl"), "--json",
         "--launch", launch, "--gpus", "0", *where],
        capture_output=True, text=True, check=False, env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [saved] = ResultsFolder(run).poll()
    assert json.loads(done.stdout)["d_acc"] == saved.d_acc
    assert "running" in done.stderr or "done after" in done.stderr
