"""What the screen remembers of a run between two looks at it: a small JSON file in the user's state directory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import stat
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from critictui.places import state_home

SCHEMA = 1
_LARGEST = 1 << 20
_MOST_PINS = 200
_LONGEST_TAG = 4096
_TEMPORARY = ".tmp"
_LEFTOVER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class ScreenState:
    """Layout, theme, pins and view of one run's screen."""

    theme: str = ""
    """Empty: the configured one."""
    configured_theme: str = ""
    """The configured theme when `theme` was chosen: a new one in the configuration wins over the memory."""
    pins: tuple[str, ...] = ()
    """Tags shown behind the four main panels, in order."""
    smoothing: float = 0.9
    x_mode: str = "step"
    log_y: bool = False
    whole_y: bool = False
    show_band: bool = True
    follow_log: bool = True
    filter: str = ""
    """The metric filter that was typed last."""


def state_path(target: Path) -> Path:
    """The file for one watched path; watching it by another name finds the same file."""
    identity = hashlib.sha256(os.fsencode(target.resolve())).hexdigest()[:16]
    return state_home() / "screens" / f"{identity}.json"


def load_state(path: Path) -> tuple[ScreenState, str]:
    """The remembered state, or the default and one sentence that says why it was not used."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return ScreenState(), f"{path}: no regular file; the screen starts with its defaults"
        if found.st_size > _LARGEST:
            return ScreenState(), f"{path}: larger than 1 MiB, not a screen's state; it is left alone"
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        return ScreenState(), ""
    except (OSError, ValueError, RecursionError) as error:
        return ScreenState(), f"{path}: not read ({error.__class__.__name__}); the screen starts with its defaults"
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        return ScreenState(), f"{path}: not a state of this version; the screen starts with its defaults"
    return _checked(raw), ""


def save_state(path: Path, state: ScreenState) -> str:
    """Write it whole or not at all. A sentence that says why it was not kept, or ''.

    A file that this version cannot read is never overwritten: it may be a later version's.
    """
    _, problem = load_state(path)
    if problem:
        return problem
    text = json.dumps({"schema": SCHEMA, **asdict(state)}, indent=1)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clean(path.parent)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        return f"{path}: the screen's state is not kept ({error.strerror or error})"
    return ""


def _clean(folder: Path) -> None:
    """Remove what writers left behind that died before they were through."""
    for file in folder.glob(f"*{_TEMPORARY}"):
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime > _LEFTOVER_SECONDS:
                file.unlink()


def _checked(raw: dict[str, object]) -> ScreenState:
    """Each field by itself: one bad value costs that value and no other."""
    state = ScreenState()
    for name in ("theme", "configured_theme", "filter"):
        value = raw.get(name)
        if isinstance(value, str) and len(value) <= _LONGEST_TAG:
            state = replace(state, **{name: value})  # type: ignore[arg-type]
    for name in ("log_y", "whole_y", "show_band", "follow_log"):
        value = raw.get(name)
        if isinstance(value, bool):
            state = replace(state, **{name: value})  # type: ignore[arg-type]
    pins = raw.get("pins")
    if isinstance(pins, list):
        good = [p for p in pins if isinstance(p, str) and 0 < len(p) <= _LONGEST_TAG]
        state = replace(state, pins=tuple(dict.fromkeys(good[:_MOST_PINS])))
    smoothing = raw.get("smoothing")
    if isinstance(smoothing, (int, float)) and not isinstance(smoothing, bool) and math.isfinite(smoothing):
        state = replace(state, smoothing=min(max(float(smoothing), 0.0), 0.999))
    if raw.get("x_mode") in {"step", "relative", "wall"}:
        state = replace(state, x_mode=str(raw["x_mode"]))
    return state
