"""The grammar of trainers' console lines: known prefixes off, then a step line, a dict line, a bar, or nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from critictui.run.numeral import number

_ANSI = re.compile(rb"\x1b(?:\[[0-?]*+[ -/]*+[@-~]?|\][^\x07\x1b\n]*+(?:\x07|\x1b\\)?|[ -/]*+[0-~]?)")
_BAR = (
    rb"(?:[^|\r\n\[\]{}']{0,80}:\s*)?\s*[0-9]{1,3}%\|[^|\r\n]{0,400}\|\s*([0-9]+)/([0-9]+)"
    rb"\s*\[[0-9:?]+<[0-9:?]+[^\]\r\n]{0,200}\]"
)
_PREFIXES = re.compile(
    rb"(?:\s"
    rb"|\((?:[\w.:-]{1,80} )?pid=([0-9]{1,10})(?:, ip=[0-9a-fA-F.:]{2,45})?\)"
    rb"|\[(?:rank|default)[0-9]{1,5}\]:"
    rb"|[0-9]{1,5}: "
    rb"|\[?[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9:]{4,5})?\]?"
    rb"|(?:DEBUG|INFO|WARNING)(?=[ :\t])[: -]*"
    rb"|\[(?:DEBUG|INFO|WARNING)\|[^\]\r\n]{1,80}\](?: [\w.:]{1,100})? >> "
    rb"|" + _BAR + rb")*+"
)
_BAR_ALONE = re.compile(rb"\s*+" + _BAR + rb"\s*+")
_STEP = re.compile(rb"step:([0-9]{1,18})(?= - |\s*$)")
_FOREIGN_PREFIX = re.compile(rb"\((?:[\w.:-]{1,80} )?pid=[0-9]{1,10}[,)]")
_FOREIGN_STEP = re.compile(rb"step:(?:(?<= - step:)[0-9]{1,18}(?= - |\s*$)|(?<=[0-9.)]step:)[0-9]{1,18}(?= - ))")
"""Another line's beginning: two processes wrote into one line. Each begins with a literal, which is found at once."""
_REPEATED = re.compile(rb"\s*\[repeated [0-9]+x across cluster\].*$", re.DOTALL)
_ITEM = re.compile(
    rb"\s*+(?:'((?:[^'\\\r\n]|\\.)*+)'|\"((?:[^\"\\\r\n]|\\.)*+)\")\s*+:\s*+"
    rb"(?:'([^'\\\r\n]*+)'|\"([^\"\\\r\n]*+)\"|([A-Za-z][\w.]*+\([^()\r\n]*+\)|[^,'\"{}\[\]()\r\n]++))\s*+(,|\})"
)


@dataclass(frozen=True, slots=True)
class StepLine:
    """A line `step:310 - critic/d_acc:0.768 - ...`, or a dict of metrics (then `step` may be None)."""

    step: int | None
    pairs: tuple[tuple[str, float], ...]
    refused: int
    """Fields whose value is no number by the grammar."""
    style: str
    """verl, hf or ms-swift."""
    total_steps: int | None = None
    foreign: int = 0
    """Bytes at its end that another process, or another line, has written into it."""
    repeated: bool = False
    """Ray's mark that this line only repeats what another process said."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What stood in front of the content of a line."""

    pid: str
    bar: tuple[int, int] | None
    """(done, total) of the last progress bar in it."""
    content: bytes


def plain(line: bytes) -> bytes:
    """The line without ANSI sequences."""
    return _ANSI.sub(b"", line) if b"\x1b" in line else line


def split_prefix(line: bytes) -> Prefix:
    r"""What a line says after its known prefixes: Ray's, launchers', timestamps, bars glued in front or ended by `\r`.

    `line` is without ANSI sequences. Content that stands after anything unknown is not at the start of a line, so a
    sample text that quotes a step line in its middle is not taken for one.
    """
    found = _PREFIXES.match(line)
    assert found is not None
    head = found.group()
    bar = (int(found.group(2)[:18]), int(found.group(3)[:18])) if found.group(2) else None
    pid = found.group(1).decode() if found.group(1) else ""
    return Prefix(pid, bar, line[len(head) :])


def bars_only(segment: bytes) -> bool:
    """Whether a piece between carriage returns holds nothing but prefixes and bars."""
    return not split_prefix(plain(segment)).content


def bar_alone(line: bytes) -> tuple[int, int] | None:
    """(done, total) of a bar without description at the start of `line`, up to its closing bracket."""
    first = next((s for s in plain(line).split(b"\r") if s.strip()), b"")
    found = _BAR_ALONE.match(first)
    if found is None or b":" in first[: first.find(b"%|")]:
        return None
    return int(found.group(1)[:18]), int(found.group(2)[:18])


def step_line(content: bytes, *, cut: bool = False) -> StepLine | None:
    """verl's console line, or None. `cut`: the end of the line is missing, so its last field is not believed."""
    marker = _STEP.match(content)
    if marker is None:
        return None
    rest = content[marker.end() :]
    repeated = b"[repeated " in rest
    if repeated:
        rest = _REPEATED.sub(b"", rest)
    pairs: list[tuple[str, float]] = []
    refused = 0
    own = _own_length(rest)
    foreign = len(rest) - own
    if foreign:
        rest, cut = rest[:own], True
    fields = rest.rstrip().split(b" - ")[1:]
    if cut and fields:
        fields.pop()
    orphan = False
    for text in fields:
        if b":" not in text:
            # Part of a text value or of a key: where one ends cannot be known, so its neighbour is not believed.
            orphan, refused = True, refused + 1
            continue
        pair = None if orphan else _pair(text)
        orphan = False
        if pair is None:
            refused += 1
        else:
            pairs.append(pair)
    return StepLine(int(marker.group(1)), tuple(pairs), refused, "verl", foreign=foreign, repeated=repeated)


def holds_another(content: bytes) -> bool:
    """Whether another process has written into a line."""
    return _own_length(content) < len(content)


def _own_length(content: bytes) -> int:
    """Bytes before another line's beginning; all of them where there is none."""
    found = _FOREIGN_STEP.search(content)
    own = len(content) if found is None else found.start()
    if found is not None and content[:own].endswith(b" - "):
        own -= 3
    prefix = _FOREIGN_PREFIX.search(content, 0, own) if b"pid=" in content else None
    return own if prefix is None else prefix.start()


def _pair(text: bytes) -> tuple[str, float] | None:
    key, _, tail = text.rpartition(b":")
    value = number(tail)
    if value is None and tail.endswith(b")"):
        key, _, wrapped = text.partition(b":tensor(")
        value = number(b"tensor(" + wrapped) if wrapped else None
    if value is None or not key or key != key.strip():
        return None
    return key.decode("utf-8", "replace"), value


def dict_line(content: bytes) -> StepLine | None:
    """A flat Python dict of metrics on one line, as Hugging Face trainers print it, or None.

    Values are numerals or, from newer versions, numerals in quotes. A dict is one of metrics if it has an epoch or a
    step; any other dict in a log (a configuration, sampling parameters) is nothing to us.
    """
    if not content.startswith(b"{"):
        return None
    fields: dict[str, bytes] = {}
    at = 1
    while True:
        item = _ITEM.match(content, at)
        if item is None or len(fields) > 5000:
            return None
        key = item.group(1) if item.group(1) is not None else item.group(2)
        value = next(g for g in item.groups()[2:5] if g is not None)
        fields[key.decode("utf-8", "replace")] = value.strip()
        at = item.end()
        if item.group(6) == b"}":
            break
    if content[at:].strip() or not fields.keys() & _METRIC_KEYS:
        return None
    return _from_fields(fields)


_METRIC_KEYS = frozenset({"epoch", "step", "global_step", "global_step/max_steps"})
_TEXTS = frozenset({"elapsed_time", "remaining_time", "percentage", "memory(GiB)", "global_step/max_steps"})


def _from_fields(fields: dict[str, bytes]) -> StepLine:
    step = total = None
    style = "hf"
    progress = re.fullmatch(rb"([0-9]{1,15})/([0-9]{1,15})", fields.get("global_step/max_steps", b""))
    if progress:
        step, total, style = int(progress.group(1)), int(progress.group(2)), "ms-swift"
    for key in ("step", "global_step"):
        if step is None and key in fields and fields[key].isdigit() and len(fields[key]) <= 18:
            step = int(fields[key])
    pairs = []
    refused = 0
    for key, text in fields.items():
        value = number(text)
        if value is not None:
            pairs.append((key, value))
        elif key not in _TEXTS:
            refused += 1
    return StepLine(step, tuple(pairs), refused, style, total)
