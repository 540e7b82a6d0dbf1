"""Finished scores on disk: immutable files that any number of monitors and jobs can add to and read at once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from critictui.places import state_home
from critictui.scoring.recipe import ScoringError
from critictui.scoring.result import ResponseRow, ScoreResult
from critictui.scoring.result_json import at, dumps, result_from_json, result_to_json
from critictui.scoring.rows import holds_rows, read_rows, write_rows

__all__ = [
    "NotSavedError",
    "ResultsFolder",
    "read_rows",
    "result_name",
    "save_again",
    "save_result",
    "scores_dirs",
    "state_dir",
]

LARGEST_RESULT = 4 << 20
"""Bytes; a result is a few kilobytes."""
LEFTOVER_SECONDS = 3600.0
_TEMPORARY = ".writing-"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class NotSavedError(ScoringError):
    """The score is whole but no disk took it: keep it in memory and save it again later."""


def state_dir(run_dir: Path) -> Path:
    """Where a run's files go when it cannot be written in: `$XDG_STATE_HOME/critictui/<name>-<hash of the path>`."""
    resolved = Path(os.path.abspath(run_dir))  # noqa: PTH100  (resolve() would ask a dead NFS mount)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", resolved.name)[:60] or "run"
    digest = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:10]
    return state_home() / f"{name}-{digest}"


def scores_dirs(run_dir: Path) -> tuple[Path, Path]:
    """The two folders that may hold a run's scores: in the run, and in the user's state."""
    return run_dir / "critictui" / "scores", state_dir(run_dir) / "scores"


def result_name(result: ScoreResult) -> str:
    """`step-000310-<checkpoint>-<set>-<recipe>`: the same score made twice has the same name.

    The recipe as it took effect: `ScoreResult.definition`.
    """
    step = "none" if result.step is None else f"{result.step:06d}"
    parts = [result.checkpoint_fingerprint[:10], result.fixed_set.sha256[:10], result.definition]
    return "-".join(["step", step, *(re.sub(r"[^A-Za-z0-9]", "", part) or "none" for part in parts)])


def save_result(
    run_dir: Path | None, result: ScoreResult, rows: Sequence[ResponseRow], *, read_only: bool = False
) -> Path:
    """Write a result and its rows; returns the JSON file. Nothing that exists is ever changed.

    An equal score that is there already is returned as it is; another score of the same name gets `-2`, `-3`, ... The
    run directory is tried first, unless `read_only` (or None), then the user's state directory. Raises NotSavedError
    where neither took it; nothing half-written stays behind.
    """
    folders = list(scores_dirs(run_dir)) if run_dir is not None else [state_dir(Path("no-run")) / "scores"]
    if read_only and run_dir is not None:
        folders = folders[1:]
    problems: list[str] = []
    for folder in folders:
        try:
            return _save_in(folder, result, rows)
        except OSError as error:
            reason = "disk full" if error.errno in _FULL else (error.strerror or str(error))
            problems.append(f"{folder}: {reason}")
    raise NotSavedError(
        f"not saved: {'; '.join(problems)}; free some space there, or set XDG_STATE_HOME to a folder with room"
    )


def unsaved_rows(rows: Sequence[ResponseRow]) -> list[dict[str, object]]:
    """Rows as a job's answer carries them (key `unsaved_rows`) when no disk took the score."""
    return [asdict(row) for row in rows]


def save_again(run_dir: Path | None, answer: Mapping[str, object], *, read_only: bool = False) -> Path:
    """Save a score that was made but could not be saved, without scoring again. Raises NotSavedError as before."""
    rows = rows_of_answer(answer)
    values = {key: value for key, value in answer.items() if key != "unsaved_rows"}
    return save_result(run_dir, result_from_json(values), rows, read_only=read_only)


def rows_of_answer(answer: Mapping[str, object]) -> list[ResponseRow]:
    """The responses that a job's answer carries because no disk took them. Raises ScoringError where it has none."""
    kept = answer.get("unsaved_rows", [])
    if not isinstance(kept, list):
        raise ScoringError("this answer of a job carries no unsaved score")
    return [ResponseRow(**_with_nan(row)) for row in kept]


def _with_nan(row: Mapping[str, object]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in row.items()}


def _save_in(folder: Path, result: ScoreResult, rows: Sequence[ResponseRow]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    clean_leftovers(folder)
    stem = result_name(result)
    text = dumps(result).encode()
    for number in range(1, 10_000):
        path = folder / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
        if path.exists():
            if _same_score(path, result):
                return path
            continue
        rows_path = path.with_suffix(".parquet")
        ours = True
        try:
            # the rows first: whoever sees the result finds its rows
            publish(rows_path, lambda file: write_rows(file, rows))
        except FileExistsError:
            # of a writer that died, or of one that is between its two links: perhaps with this very score
            ours = False
            if not holds_rows(rows_path, rows):
                continue
        try:
            publish(path, lambda file: _write_bytes(file, text))
        except FileExistsError:
            if _same_score(path, result):
                return path
            continue
        except OSError:
            if ours:
                with contextlib.suppress(OSError):
                    rows_path.unlink()
            raise
        return path
    raise OSError(errno.EEXIST, "ten thousand results of one name")


def _same_score(path: Path, result: ScoreResult) -> bool:
    """Whether the file holds this very score; when and how fast it was made does not matter."""
    try:
        there = result_to_json(_read_result(path))
    except (ScoringError, OSError):
        return False
    mine = result_to_json(result)
    ignored = {"seconds", "warnings", "extra", "versions", "checkpoint", "fixed_set"}
    return all(there.get(key) == value for key, value in mine.items() if key not in ignored)


def publish(path: Path, write: Callable[[Path], None]) -> None:
    """Make a file appear whole or not at all, and never in place of another: temporary file, fsync, link(2).

    Raises FileExistsError when the name is taken, OSError when the disk does not take it; the temporary file is gone.
    """
    temporary = path.parent / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}{path.suffix}"
    try:
        write(temporary)
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _link(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    with contextlib.suppress(OSError):
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        # over NFS a link may succeed and its answer get lost: two names on the file mean that it did
        if temporary.stat().st_nlink < 2:
            raise
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        # a file system without hard links: claim the name, then replace our own empty claim
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        try:
            temporary.replace(path)
        except OSError:
            path.unlink()
            raise


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def clean_leftovers(folder: Path, *, age: float = LEFTOVER_SECONDS) -> int:
    """Remove temporary files that a crash left behind and that are older than `age` seconds; returns how many."""
    removed = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(_TEMPORARY):
                continue
            with contextlib.suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > age:
                    Path(entry.path).unlink()
                    removed += 1
    return removed


# reading what is there


@dataclass(frozen=True, slots=True)
class _Seen:
    signature: tuple[int, int, int]
    result: ScoreResult | None
    notice: str


class ResultsFolder:
    """A run's scores as they appear on disk, whoever made them. Files are read once; what is no result is named."""

    def __init__(self, run_dir: Path) -> None:
        """Look into both folders of a run; neither needs to exist."""
        self._folders = scores_dirs(run_dir)
        self._seen: dict[Path, _Seen] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        """One sentence for each file that was passed over; it is never deleted."""
        return tuple(seen.notice for seen in self._seen.values() if seen.notice)

    def poll(self) -> tuple[ScoreResult, ...]:
        """Every result there is now, oldest step first. Never raises; a folder that cannot be listed is a notice."""
        found: dict[Path, _Seen] = {}
        for folder in self._folders:
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except FileNotFoundError:
                continue
            except OSError as error:
                # what was read before stays: a mount that hiccups takes no score away
                found.update({path: seen for path, seen in self._seen.items() if path.parent == folder})
                found[folder] = _Seen((0, 0, 0), None, f"{folder}: {error.strerror or error}")
                continue
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    path = Path(entry.path)
                    seen = self._look(path)
                    if seen is not None:
                        found[path] = seen
        self._seen = found
        results = [seen.result for seen in found.values() if seen.result is not None]
        return tuple(sorted(results, key=lambda r: (r.step is None, r.step or 0, r.path.name if r.path else "")))

    def _look(self, path: Path) -> _Seen | None:
        try:
            status = path.stat()
        except OSError:
            return None
        signature = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._seen.get(path)
        if known is not None and known.signature == signature:
            return known
        try:
            return _Seen(signature, _read_result(path), "")
        except (ScoringError, OSError) as error:
            text = str(error)
            return _Seen(signature, None, text if str(path) in text else f"{path}: {text}")


def _read_result(path: Path) -> ScoreResult:
    import stat as modes

    status = path.stat()
    if not modes.S_ISREG(status.st_mode):
        raise ScoringError(f"{path}: not a regular file")
    if status.st_size > LARGEST_RESULT:
        raise ScoringError(f"{path}: {status.st_size} bytes, too large for a score result; not read")
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(LARGEST_RESULT + 1))
    except (ValueError, RecursionError, UnicodeDecodeError) as error:
        raise ScoringError(f"{path}: not a score result ({error!s:.80})") from None
    return at(result_from_json(value, path), path)
