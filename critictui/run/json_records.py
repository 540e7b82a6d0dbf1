"""What one JSON object of a metrics file says: its step, its time and its numbers, whichever trainer wrote it."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from critictui.run.numeral import step_number

STEP_KEYS = (
    "step",
    "global_step",
    "_step",
    "current_steps",
    "iteration",
    "iter",
    "train/global_step",
    "trainer/global_step",
)
_TIME_KEYS = ("timestamp", "_timestamp", "wall_time", "time")
_TOTAL_KEYS = ("total_steps", "max_steps")
_DEEPEST = 32
_SNAPSHOT = re.compile(r"network-snapshot-([0-9]{1,15})\.")
_NAMED = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class _Constant(float):
    """An infinity that was written as one: a numeral too large for a double becomes infinite too, and is refused."""


def constant(name: str) -> float:
    """`parse_constant` of JSON whose numbers `flatten` is to tell apart."""
    return _Constant(name)


_DECODER = json.JSONDecoder(parse_constant=constant)


@dataclass(frozen=True, slots=True)
class Record:
    """One object's numbers."""

    step: int | None
    wall_time: float
    pairs: tuple[tuple[str, float], ...]
    refused: int
    """Values that should be numbers and are not: null, a number too large for a double."""
    profile: str = ""
    total_steps: int | None = None


def objects(line: str) -> Iterator[tuple[Mapping[str, object] | None, int]]:
    """The objects on a line, and how many characters were lost, as (object, 0) or (None, characters).

    Two writers of one file glue lines together (`}}{{"step": 2 ...`). After damage only an object with its own step
    is believed: the piece that follows might be the inside of a broken one.
    """
    at, damaged = 0, False
    end = len(line)
    while at < end:
        start = line.find("{", at)
        if start < 0:
            if line[at:].strip():
                yield None, end - at
            return
        lost = len(line[at:start].strip())
        try:
            value, stop = _DECODER.raw_decode(line, start)
        except (ValueError, RecursionError):
            following = _next_object(line, start + 1)
            yield None, (following if following >= 0 else end) - start + lost
            if following < 0:
                return
            at, damaged = following, True
            continue
        if lost:
            yield None, lost
            damaged = True
        if damaged and not any(key in value for key in STEP_KEYS):
            yield None, stop - start
        else:
            yield value, 0
        at = stop


def _next_object(line: str, at: int) -> int:
    """Where the next object that begins with its step starts, or -1: a linear search, not a try at every brace."""
    found = [line.find(f'{{"{key}"', at) for key in STEP_KEYS]
    return min((f for f in found if f >= 0), default=-1)


def record(value: Mapping[str, object]) -> Record:
    """Numbers of an object: verl's file logger, StyleGAN's statistics, LLaMA-Factory's log, or plain."""
    data = value.get("data")
    if isinstance(data, dict) and "step" in value:
        pairs, refused = flatten(data)
        return Record(step_number(value["step"]), _time(value), pairs, refused, "verl")
    if isinstance(value.get("tag"), str) and "value" in value and "step" in value:
        return _long(value)
    results = value.get("results")
    if isinstance(results, dict) and isinstance(value.get("metric"), str):
        found = _SNAPSHOT.search(str(value.get("snapshot_pkl", "")))
        pairs, refused = flatten({f"Metrics/{k}": v for k, v in results.items()})
        return Record(int(found.group(1)) if found else None, _time(value), pairs, refused)
    step, key = None, ""
    for candidate in STEP_KEYS:
        step = step_number(value.get(candidate))
        if step is not None:
            key = candidate
            break
    if step is None:
        step = _progress(value)
    total = next((t for k in _TOTAL_KEYS if (t := step_number(value.get(k))) is not None), None)
    hidden = {key, *_TOTAL_KEYS, *_TIME_KEYS}
    pairs, refused = flatten({k: v for k, v in value.items() if k not in hidden})
    return Record(step, _time(value), pairs, refused, "llama-factory" if key == "current_steps" else "", total)


def _progress(value: Mapping[str, object]) -> int | None:
    """StyleGAN's own x axis: thousands of images, cut to a whole number as its TensorBoard writer does."""
    progress = value.get("Progress/kimg")
    mean = _double(progress.get("mean")) if isinstance(progress, dict) else None
    return step_number(float(math.floor(mean))) if mean is not None and math.isfinite(mean) else None


def _long(value: Mapping[str, object]) -> Record:
    """One scalar an object, as `critictui export` writes it."""
    number = value["value"]
    if isinstance(number, str):
        number = _NAMED.get(number.lower())
        number = None if number is None else _Constant(number)
    found, wall = _double(number), _double(value.get("wall_time"))
    pairs = ((str(value["tag"]), found),) if found is not None else ()
    return Record(step_number(value["step"]), math.nan if wall is None else wall, pairs, 1 - len(pairs))


def _time(value: Mapping[str, object]) -> float:
    for key in _TIME_KEYS:
        found = _double(value.get(key))
        if found is not None and found > 1e8:
            return found
    return math.nan


def _double(value: object) -> float | None:
    """A JSON number; None for anything else, and for one that a double cannot hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return None if math.isinf(number) and not isinstance(value, _Constant) else number


def flatten(value: Mapping[str, object]) -> tuple[tuple[tuple[str, float], ...], int]:
    """(tag, value) of every number in nested dicts, joined by `/`, and how many values were refused.

    Text, flags and lists are no scalars and are passed over; null is a number that was lost, and is refused. StyleGAN's
    `{"num", "mean", "std"}` gives the mean under the tag itself, as its TensorBoard writer does.
    """
    if set(map(type, value.values())) <= {int, float}:  # nearly every line that a trainer writes
        with contextlib.suppress(OverflowError):
            numbers = tuple(map(float, value.values()))  # type: ignore[arg-type]
            if not any(map(math.isinf, numbers)):
                return tuple(zip(value, numbers, strict=True)), 0
    pairs: list[tuple[str, float]] = []
    refused = 0
    stack: list[tuple[str, object, int]] = [(k, v, 0) for k, v in reversed(list(value.items()))]
    while stack:
        tag, item, depth = stack.pop()
        if isinstance(item, dict):
            if depth >= _DEEPEST:
                refused += 1
            elif item.keys() == {"num", "mean", "std"}:
                stack += [(f"{tag}/{k}", item[k], depth + 1) for k in ("std", "num")] + [(tag, item["mean"], depth + 1)]
            else:
                stack += [(f"{tag}/{k}", v, depth + 1) for k, v in reversed(item.items())]
        elif isinstance(item, (bool, str, list)):
            continue
        elif isinstance(item, (int, float)):
            number = _double(item)
            if number is None:
                refused += 1
            else:
                pairs.append((tag, number))
        else:
            refused += 1
    return tuple(pairs), refused
