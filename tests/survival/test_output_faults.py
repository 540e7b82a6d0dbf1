"""What is written survives other writers, crashes, full disks and foreign files; where nothing can be, it works."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs the extra [score]")

from critictui.scoring.recipe import Recipe
from critictui.scoring.result import FixedSetRef, ResponseRow, ScoreResult
from critictui.scoring.result_json import result_from_json, result_to_json
from critictui.scoring.results import (
    LEFTOVER_SECONDS,
    NotSavedError,
    ResultsFolder,
    clean_leftovers,
    read_rows,
    save_again,
    save_result,
    scores_dirs,
    unsaved_rows,
)
from critictui.scoring.summary import summarise

LONG = os.environ.get("CRITICTUI_LONG") == "1"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


def score(step: int = 310, text: str = "why") -> tuple[ScoreResult, list[ResponseRow]]:
    """A result of two pairs, with its rows."""
    rows = [
        ResponseRow("p0", "why?", role, index, f"{text} {index}", value, 5, value, 1.0, 0.0, 1.0, False, "stop")
        for role, index, value in (("teacher", 0, 1.0), ("student", 0, 0.0), ("student", 1, 2.0))
    ]
    result = summarise(
        rows,
        recipe=Recipe(),
        fixed_set=FixedSetRef("/sets/set.jsonl", "cd" * 32, 1, 2),
        step=step,
        checkpoint=f"/runs/a/global_step_{step}/critic",
        fingerprint="ab" * 16,
        values={"mean": 0.5, "std": 1.5, "min": -4.0, "max": 5.0},
        tokens=15,
        seconds={"load": 1.0, "score": 2.0, "total": 3.0},
        device="cpu",
        dtype="float32",
        versions={},
        warnings=(),
    )
    return result, rows


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file below a folder: inode, mtime and bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- two writers ---

WRITER = """
import json, os, sys, time
from dataclasses import replace
from pathlib import Path
from critictui.health.alert import Alert
from critictui.monitor.alarm_log import AlarmLog
from critictui.scoring.results import save_result
from critictui.scoring.result_json import result_from_json
os.fsync = lambda _: None  # 800 of them take a minute on some disks, and nobody pulls the plug here
run, own = Path(sys.argv[1]), int(sys.argv[3])
base = result_from_json(json.loads(Path(sys.argv[2]).read_text()))
log = AlarmLog(run)
print("ready", flush=True)
sys.stdin.read()
alerts = []
for number in range(200):
    save_result(run, replace(base, step=7 if number % 4 == 0 else number, d_acc=(own * 1000 + number) / 10000), [])
    tag = f"both/{number}" if number % 2 else f"{own}/{number}"
    alerts.append(Alert("drift", "warning", "firing", tag, 3, 5, None, 6, 0.1, 1.0, "drifts", "look"))
    log.record(alerts)
"""


@pytest.mark.fault("O01")
def test_of_two_monitors_that_save_two_hundred_times_each_nothing_is_lost_and_nothing_doubled(
    run: Path, tmp_path: Path
) -> None:
    (tmp_path / "base.json").write_text(json.dumps(result_to_json(score()[0])))
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(run), str(tmp_path / "base.json"), str(own)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for own in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
    onlooker = ResultsFolder(run)
    while any(writer.poll() is None for writer in writers):
        onlooker.poll()
        assert onlooker.notices == ()  # never half a file
        time.sleep(0.05)
    assert [writer.returncode for writer in writers] == [0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    saved = [result.d_acc for result in onlooker.poll()]
    assert sorted(saved) == sorted((own * 1000 + number) / 10000 for own in range(2) for number in range(200))
    lines = [json.loads(line) for line in (run / "critictui" / "alarms.jsonl").read_text().splitlines()]
    written = sorted(line["metric"] for line in lines if line["state"] == "firing")
    assert written == sorted(
        [f"both/{n}" for n in range(1, 200, 2)] + [f"{own}/{n}" for own in range(2) for n in range(0, 200, 2)]
    )


# --- a crash within a save ---

SAVER = """
import json, sys
from pathlib import Path
from critictui.scoring.result_json import result_from_json
from critictui.scoring.results import rows_of_answer, save_result
answer = json.loads(Path(sys.argv[2]).read_text())
rows = rows_of_answer(answer)
result = result_from_json({k: v for k, v in answer.items() if k != "unsaved_rows"})
save_result(Path(sys.argv[1]), result, rows)
"""
CALLS = "write,pwrite64,fsync,link,linkat,unlink,unlinkat,mkdir,mkdirat,rename,renameat,renameat2"


@pytest.mark.fault("O02")
def test_a_save_that_is_killed_at_any_system_call_leaves_a_whole_result_or_none(strace: str, tmp_path: Path) -> None:
    result, rows = score()
    (tmp_path / "answer.json").write_text(json.dumps({**result_to_json(result), "unsaved_rows": unsaved_rows(rows)}))
    seen: set[int] = set()
    for when in range(1, 60) if LONG else (2, 5, 8, 9, 60):
        run = tmp_path / f"run-{when}"
        run.mkdir()
        inject = f"inject={CALLS}:signal=KILL:when={when}"
        command = [strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}", "-e", inject]
        done = subprocess.run(
            [*command, sys.executable, "-c", SAVER, str(run), str(tmp_path / "answer.json")],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        folder = ResultsFolder(run)
        found = folder.poll()
        seen.add(len(found))
        assert folder.notices == ()
        assert all(result_to_json(one) == result_to_json(result) and read_rows(one) == rows for one in found)
        if done.returncode == 0:
            break
        scores = run / "critictui" / "scores"
        left = list(scores.glob(".*")) if scores.is_dir() else []
        clean_leftovers(scores)
        assert [path for path in left if not path.exists()] == []  # it may be somebody's who is not dead
        for path in left:
            os.utime(path, (time.time() - 2 * LEFTOVER_SECONDS,) * 2)
        save_result(run, result, rows)
        (again,) = folder.poll()  # no second copy where the first one was whole
        assert read_rows(again) == rows
        assert list(scores.glob(".*")) == []
    else:
        pytest.fail("no save came through")
    assert seen == {0, 1}


@pytest.mark.fault("O02")
def test_what_a_crash_left_of_a_screens_state_is_ignored_and_cleaned_after_an_age(tmp_path: Path) -> None:
    from critictui.tui.state import ScreenState, load_state, save_state

    path = tmp_path / "screens" / "ab.json"
    assert save_state(path, ScreenState(log_y=True)) == ""
    old, fresh = path.with_name("ab.json.1.tmp"), path.with_name("cd.json.2.tmp")
    for file in (old, fresh):
        file.write_text('{"schema": 1, "lo')
    os.utime(old, (time.time() - 7200,) * 2)
    assert load_state(path) == (ScreenState(log_y=True), "")
    assert save_state(path, ScreenState(log_y=False)) == ""
    assert not old.exists()
    assert fresh.exists()


# --- a full disk ---


def fill_bytes(disk: Path) -> None:
    """Until not one more page fits."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def fill_inodes(disk: Path) -> None:
    """Until not one more file fits."""
    (disk / "fillers").mkdir()
    try:
        for number in range(1000):
            (disk / "fillers" / str(number)).touch()
    except OSError:
        pass


@pytest.mark.fault("O03")
@pytest.mark.parametrize("fill", [fill_bytes, fill_inodes])
def test_a_disk_that_is_full_takes_no_half_score_and_takes_it_whole_when_there_is_room_again(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, fill: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(small_disk / "state"))
    run = small_disk / "run"
    run.mkdir()
    earlier, rows = score(300)
    save_result(run, earlier, rows)
    before = contents(run)
    fill(small_disk)
    result, rows = score(310)
    with pytest.raises(NotSavedError, match=r"not saved: .*disk full.*free some space"):
        save_result(run, result, rows)
    answer = json.loads(json.dumps({**result_to_json(result), "unsaved_rows": unsaved_rows(rows)}))
    with pytest.raises(NotSavedError):
        save_again(run, answer)
    assert contents(run) == before
    assert [r.step for r in ResultsFolder(run).poll()] == [300]
    for left in (small_disk / "filler", small_disk / "fillers"):
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    save_again(run, answer)
    found = ResultsFolder(run).poll()
    assert [r.step for r in found] == [300, 310]
    assert read_rows(found[1]) == rows


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Sets the largest file that this process may write (bytes)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.fault("O03")
def test_a_limit_on_the_size_of_files_costs_no_score(run: Path, small_files: Callable[[int], None]) -> None:
    result, rows = score(text="x" * 100)
    small_files(512)
    with pytest.raises(NotSavedError, match="not saved"):
        save_result(run, result, rows)
    small_files(1 << 30)
    assert all(list(folder.glob("*")) == [] for folder in scores_dirs(run) if folder.is_dir())
    save_again(run, {**result_to_json(result), "unsaved_rows": unsaved_rows(rows)})
    assert len(ResultsFolder(run).poll()) == 1


@pytest.mark.fault("O03")
@pytest.mark.torch
def test_a_worker_whose_disk_is_full_hands_the_score_back_to_be_saved_without_scoring_again(
    small_disk: Path, demo_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critictui.scoring.jobs import Finished, Job
    from critictui.worker.__main__ import answer_for

    monkeypatch.setenv("XDG_STATE_HOME", str(small_disk / "state"))
    fill_bytes(small_disk)
    fixed_set = demo_checkpoint.parents[1] / "fixed_set.jsonl"
    job = Job("score", str(demo_checkpoint), str(fixed_set), str(small_disk / "run"), device="cpu")
    (small_disk / "run").mkdir()
    answer = answer_for(job, lambda _: None)
    assert isinstance(answer, Finished), answer
    assert answer.saved is None
    assert any("not saved" in str(warning) for warning in answer.result["warnings"])  # type: ignore[attr-defined]
    (small_disk / "filler").unlink()
    path = save_again(small_disk / "run", answer.result)
    (found,) = ResultsFolder(small_disk / "run").poll()
    assert found.path == path
    assert found.d_acc == answer.result["d_acc"]
    assert len(read_rows(found)) == len(answer.result["unsaved_rows"])  # type: ignore[arg-type]


# --- a run that nobody may write into ---


@pytest.fixture(params=["read-only mount", "immutable"])
def protected(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A run with a log, a score and alarms in it, that even root cannot write into."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount, or make files immutable")
    run = tmp_path / "run"
    run.mkdir()
    (run / "train.log").write_text("".join(f"step:{n} - critic/score/mean:{n / 10}\n" for n in range(5)))
    if request.param == "immutable":
        made = subprocess.run(["chattr", "-R", "+i", str(run)], capture_output=True, check=False)
        undo = ["chattr", "-R", "-i", str(run)]
    else:
        made = subprocess.run(["mount", "--bind", "-o", "ro", str(run), str(run)], capture_output=True, check=False)
        undo = ["umount", "-l", str(run)]
    if made.returncode:
        pytest.skip(f"a {request.param} directory cannot be made here")
    yield run
    subprocess.run(undo, check=False)


@pytest.mark.fault("O04")
def test_of_a_run_that_cannot_be_written_in_scores_and_alarms_are_kept_elsewhere_and_found(
    protected: Path, tmp_path: Path
) -> None:
    from critictui.health.alert import Alert
    from critictui.monitor.alarm_log import AlarmLog

    with pytest.raises(OSError):
        (protected / "probe").touch()
    before = contents(protected)
    result, rows = score()
    path = save_result(protected, result, rows)
    assert path.is_relative_to(tmp_path / "state")
    assert [r.path for r in ResultsFolder(protected).poll()] == [path]
    alert = Alert("drift", "warning", "firing", "m", 3, 5, None, 6, 0.1, 1.0, "drifts", "look")
    log = AlarmLog(protected)
    assert log.record([alert]) == [alert]
    assert log.notice == ""
    assert log.path.is_relative_to(tmp_path / "state")
    assert AlarmLog(protected).record([alert]) == []
    done = critictui("check", str(protected), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 4
    assert contents(protected) == before
    assert [entry.name for entry in protected.iterdir()] == ["train.log"]


# --- a poor environment ---


def critictui(*words: str, prefix: tuple[str, ...] = (), **given: object) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-P", "-m", "critictui", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **given)  # type: ignore[call-overload, no-any-return]


def bare(**variables: str) -> dict[str, str]:
    """No environment but the way to our own source."""
    places = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, places)), **variables}


@pytest.fixture
def log_run(tmp_path: Path) -> Path:
    run = tmp_path / "log-run"
    run.mkdir()
    (run / "train.log").write_text("".join(f"step:{n} - critic/score/mean:{n / 10}\n" for n in range(5)))
    return run


@pytest.mark.fault("O05")
@pytest.mark.parametrize(
    "environment",
    [{}, {"HOME": "/nowhere"}, {"HOME": "/dev/null", "TMPDIR": "/nowhere"}, {"HOME": "", "XDG_CONFIG_HOME": "~/x"}],
    ids=["none", "no such home", "a file for a home", "an empty home"],
)
def test_it_starts_with_no_environment_to_speak_of(log_run: Path, environment: dict[str, str]) -> None:
    done = critictui("check", str(log_run), "--json", env=bare(**environment), cwd=log_run)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["step"] == 4
    assert [entry.name for entry in log_run.iterdir()] == ["train.log"]


@pytest.mark.fault("O05", "O04")
def test_a_user_without_name_and_home_reads_and_is_told_where_nothing_can_be_kept(log_run: Path) -> None:
    """As in a container that is started under a number."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, with setpriv")
    for folder in (log_run, *log_run.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    stranger = ("setpriv", "--reuid=41234", "--regid=41234", "--clear-groups")
    probe = subprocess.run([*stranger, sys.executable, "-c", "import numpy, click"], env=bare(), check=False)
    if probe.returncode:
        pytest.skip("another user cannot read this environment")
    done = critictui("check", str(log_run), prefix=stranger, env=bare(), cwd=log_run)
    assert done.returncode == 0, done.stderr
    code = (
        "import sys; from pathlib import Path; from critictui.config import load_config\n"
        "from critictui.scoring.results import NotSavedError, save_result\n"
        "from critictui.scoring.result_json import result_from_json\n"
        "from critictui.tui.state import ScreenState, save_state, state_path\n"
        "import json; run = Path(sys.argv[1])\n"
        "print(load_config(run).notices, save_state(state_path(run), ScreenState()))\n"
        "try: save_result(run, result_from_json(json.loads(sys.argv[2])), [])\n"
        "except NotSavedError as error: print(error)\n"
    )
    words = [*stranger, sys.executable, "-P", "-c", code, str(log_run), json.dumps(result_to_json(score()[0]))]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=bare(), cwd=log_run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("() ")
    assert "the screen starts with its defaults" in done.stdout
    assert "not saved" in done.stdout
    assert "set XDG_STATE_HOME" in done.stdout
    assert [entry.name for entry in log_run.iterdir()] == ["train.log"]


@pytest.mark.fault("O05")
@pytest.mark.parametrize(
    "garbage",
    [b"\x00\xff\xfe", b"[" * 100_000, b'theme = "\x1b]0;x\x07', b"refresh = -1\nx = 1"],
    ids=["bytes", "deep", "half", "values"],
)
def test_a_configuration_of_garbage_is_a_notice_and_the_defaults(log_run: Path, tmp_path: Path, garbage: bytes) -> None:
    from critictui.config import load_config

    (log_run / "critictui.toml").write_bytes(garbage)
    found = load_config(log_run, environ={})
    assert found.notices
    defaults = load_config(None, environ={})
    assert all(getattr(found, f.name) == getattr(defaults, f.name) for f in fields(found) if f.name != "notices")
    assert (log_run / "critictui.toml").read_bytes() == garbage


@pytest.mark.fault("O05")
@pytest.mark.parametrize("recipe", ['{preset = ["x"]}', "{preset = 3}", '{pooling = ["mean"]}', '"\\u001b]0;x"'])
def test_a_recipe_of_garbage_is_refused_in_words(log_run: Path, recipe: str) -> None:
    from critictui.config import load_config
    from critictui.scoring.recipe import ScoringError, recipe_from

    (log_run / "critictui.toml").write_text(f"recipe = {recipe}\n")
    with pytest.raises(ScoringError, match="recipe"):
        recipe_from(load_config(log_run, environ={}).recipe)


@pytest.mark.fault("O05", "C06")
def test_a_name_in_a_checkpoint_sends_nothing_to_the_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-7"
    folder.mkdir()
    header = json.dumps(
        {"\x1b]0;owned\x07\x1b[31m\u202etensor\nx": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}
    )
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(4))
    (folder / "config.json").write_text("{}")
    done = critictui("score", str(folder), "--fixed-set", "/nowhere/set.jsonl")
    assert done.returncode == 2
    assert "tensor" in done.stderr
    assert "F99" in done.stderr
    assert not set(done.stderr) & set("\x1b\x07\u202e")


@pytest.mark.fault("O05")
def test_the_screen_opens_with_a_home_that_is_none_and_a_configuration_of_garbage(log_run: Path) -> None:
    from benchmarks.terminal import PtySession, terminal_env

    (log_run / "critictui.toml").write_bytes(b"\x00\xff")
    environment = {**terminal_env(log_run / "home"), **bare(HOME="/dev/null", TMPDIR="/nowhere")}
    environment = {name: value for name, value in environment.items() if not name.startswith("XDG_")}
    code = (
        "import sys; from pathlib import Path; from critictui.config import load_config\n"
        "from critictui.tui.start import watch; p = Path(sys.argv[1]); sys.exit(watch(p, load_config(p)))"
    )
    session = PtySession(
        [sys.executable, "-c", code, str(log_run)], 120, 36, environment, cwd=Path(__file__).parents[2]
    )
    try:
        assert session.pump(60, lambda sent: b"step 4" in sent)
        session.press("q")
        assert session.pump(60, lambda sent: b"\x1b[?1049l" in sent)
    finally:
        session.close()
    assert b"Traceback" not in bytes(session.sent)


@pytest.mark.fault("O05", "W07")
@pytest.mark.torch
def test_a_score_needs_neither_home_nor_temporary_files_nor_shared_memory(
    demo_copy: Callable[..., Path], tmp_path: Path
) -> None:
    run = demo_copy("healthy")
    unshared: tuple[str, ...] = ()
    if os.geteuid() == 0 and shutil.which("unshare"):
        script = 'mount --make-rprivate / && umount -l /dev/shm; exec "$@"'
        trial = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", "true"], capture_output=True, check=False)
        unshared = ("unshare", "-m", "sh", "-c", script, "sh") if trial.returncode == 0 else ()
    done = critictui(
        "score",
        str(run),
        "--fixed-set",
        str(run / "fixed_set.jsonl"),
        "--json",
        "--device",
        "cpu",
        prefix=unshared,
        env=bare(HOME="/nowhere", TMPDIR="/nowhere", PATH=os.environ.get("PATH", "")),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (saved,) = ResultsFolder(run).poll()
    assert result_from_json(json.loads(done.stdout)).d_acc == saved.d_acc


# --- foreign state ---


@pytest.mark.fault("O06")
def test_a_state_of_a_gigabyte_or_of_a_later_version_is_ignored_with_a_notice_and_left_alone(tmp_path: Path) -> None:
    from critictui.tui.state import ScreenState, load_state, save_state

    for name, data in (("later", b'{"schema": 99, "new": 1}'), ("garbage", b"\x00{"), ("huge", None)):
        path = tmp_path / f"{name}.json"
        path.write_bytes(data or b"{")
        if data is None:
            os.truncate(path, 1 << 30)
        size = path.stat().st_size
        state, notice = load_state(path)
        assert state == ScreenState()
        assert str(path) in notice
        assert save_state(path, ScreenState(log_y=True)) != ""
        assert path.stat().st_size == size
    fifo = tmp_path / "fifo.json"
    os.mkfifo(fifo)
    state, notice = load_state(fifo)  # nobody writes into it: reading it would wait for ever
    assert state == ScreenState()
    assert notice


@pytest.mark.fault("O06")
@pytest.mark.parametrize("kind", ["huge", "garbage", "a later version's", "a pipe", "a folder"])
def test_an_alarm_log_that_is_none_costs_no_alarm_and_is_left_alone(run: Path, kind: str) -> None:
    from critictui.health.alert import Alert
    from critictui.monitor.alarm_log import AlarmLog

    path = run / "critictui" / "alarms.jsonl"
    path.parent.mkdir()
    begins = {
        "garbage": b"\x00\xff" * 5000 + b"\n{half",
        "a later version's": b'{"key": 5, "state": {"a": [1]}, "severity": []}\n[1]\nnull\n',
    }.get(kind, b"")
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.write_bytes(begins)
    if kind == "huge":
        os.truncate(path, 1 << 30)
    alerts = [Alert("drift", "warning", "firing", f"m/{n}", 3, 5, None, 6, 0.1, 1.0, "drifts", "look") for n in (1, 2)]
    log = AlarmLog(run)
    assert log.record(alerts[:1]) == alerts[:1]
    assert log.record(alerts) == alerts[1:]
    assert log.notice == ""
    assert AlarmLog(run).record(alerts) == []
    if kind in {"a pipe", "a folder"}:
        assert not path.is_file()
        return
    with path.open("rb") as file:
        assert file.read(len(begins)) == begins
        file.seek(-4096, os.SEEK_END) if kind == "huge" else file.seek(0)
        written = file.read()
    assert [written.count(f'"m/{n}"'.encode()) for n in (1, 2)] == [1, 1]
