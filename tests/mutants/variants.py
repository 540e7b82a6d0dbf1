"""Deliberately broken variants of the product, and the tests of which at least one must fail on each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One broken variant: text that is replaced once in one file."""

    name: str
    file: str
    """Below `critictui/`."""
    old: str
    new: str
    tests: tuple[str, ...]
    """Arguments for pytest."""
    times: int = 1
    """How often the text stands in the file; all are replaced."""

    def apply(self, root: Path) -> None:
        """Break the copy of the tree at `root`. AssertionError where the text is no longer there."""
        path = root / "critictui" / self.file
        text = path.read_text(encoding="utf-8")
        found = text.count(self.old)
        assert found == self.times, f"{self.name}: its text stands {found} times in {self.file}, not {self.times}"
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


_EVENTS = "tests/run/test_run_events.py"
_TEXT = "tests/survival/test_text_faults.py"
_REPLAY = "tests/survival/test_alarm_replay.py"
_SURVIVED = "tests/mutants/test_what_survived.py"
_CHECKPOINT = "tests/survival/test_checkpoint_faults.py"

MUTANTS = (
    Mutant(
        "the checksum of a payload is not looked at", "run/framing.py",
        "_masked(found) == _words(buffer, payload + sizes)", "np.ones(len(payload), np.bool_)", (_EVENTS,),
    ),
    Mutant(
        "the checksum of a length is not looked at", "run/framing.py",
        "claimed if masked_crc(header[:8]) == crc and claimed <= LARGEST", "claimed if claimed <= LARGEST", (_EVENTS,),
    ),
    Mutant(
        "the checksum of an archive's entry is not looked at", "checkpoint/zip_archive.py",
        "if entry.crc and zlib.crc32(data) != entry.crc:", "if entry.crc < 0:",
        ("tests/checkpoint/test_zip_archive.py",),
    ),
    Mutant(
        "text goes into a widget as markup", "tui/text.py",
        "    return Content.styled(clean, style) if style else Content(clean)\n\n\ndef whole",
        "    return Content.from_markup(clean)\n\n\ndef whole", ("tests/tui/test_no_bare_text.py",),
    ),
    Mutant(
        "C1 controls reach the terminal", "run/text.py", r'_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"',
        r'_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f"', ("tests/run/test_text.py",),
    ),
    Mutant(
        "direction controls reach the terminal", "run/text.py",
        r'"[{_CONTROLS}{_DIRECTION}{_INVISIBLE}{_SURROGATES}]"',
        r'"[{_CONTROLS}{_INVISIBLE}{_SURROGATES}]"', ("tests/run/test_text.py",),
    ),
    Mutant(
        "weights are mapped into memory", "checkpoint/weights.py",
        "data = os.pread(self.fds[piece.file], count * size, piece.offset + at * size)",
        "data = __import__('mmap').mmap(self.fds[piece.file], 0, prot=1)[piece.offset + at * size :][: count * size]",
        (_CHECKPOINT, "-k", "mapped"),
    ),
    Mutant(
        "a pickle may run code", "worker/read_pt.py", "weights_only=True", "weights_only=False",
        (_CHECKPOINT, "-k", "pt_file"),
    ),
    Mutant(
        "a tensor that the model does not have is passed over (strict=False)", "worker/load.py",
        "        if own not in current:\n            raise",
        "        if own not in current:\n            continue\n            raise",
        ("tests/worker/test_load.py", "-k", "unexpected"),
    ),
    Mutant(
        "the kernel does not end a worker with its parent", "worker/process.py",
        "prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)", "prctl(_PR_SET_PDEATHSIG, 0)", (_SURVIVED, "-k", "parent"),
    ),
    Mutant(
        "inotify alone: nothing is polled", "monitor/monitor.py", "POLL = 1.0", "POLL = 3600.0",
        ("tests/monitor/test_monitor.py", "-k", "bell_that_never_rings or without_inotify"),
    ),
    Mutant(
        "a file that failed once is dead", "run/followed.py", "self._retry_at = time.monotonic() + pause",
        "self._retry_at = time.monotonic() + pause + 1e9", (_EVENTS, "-k", "read_error"),
    ),
    Mutant(
        "bytes that became others are not seen", "run/witness.py",
        "            return all(s.holds(file, k) for s in self._stretches for k in range(len(s.blocks)))",
        "            return True", ("tests/run/test_console.py", "-k", "hole or regrown"),
    ),
    Mutant(
        "files are ordered by their names and not by the time in them", "run/lanes.py",
        "    return float(stamp.group(1)) if stamp else 0.0", "    return 0.0",
        (_SURVIVED, "-k", "prefixes"),
    ),
    Mutant(
        "files are ordered by when they were last written", "run/lanes.py",
        "    return float(stamp.group(1)) if stamp else 0.0", "    return -float(stamp.group(1)) if stamp else 0.0",
        ("tests/run/test_run_reader.py", "-k", "ordered_by or new_session"),
    ),
    Mutant(
        "float() reads numbers", "run/numeral.py", "    if _EXACT.fullmatch(text) is None:",
        "    try:\n        return float(text)\n    except ValueError:\n        pass\n"
        "    if _EXACT.fullmatch(text) is None:",
        ("tests/run/test_numeral.py",),
    ),
    Mutant(
        "a numeral beyond a double is infinite", "run/json_records.py",
        "            if not any(map(math.isinf, numbers)):", "            if numbers:", (_TEXT, "-k", "numeral"),
    ),
    Mutant(
        "liveness is event time", "run/reader.py", "            return time.monotonic() - self._grew_at\n",
        "            return max(0.0, time.time() - self._store.stamps[1])\n",
        ("tests/survival/test_event_file_faults.py", "-k", "liveness"),
    ),
    Mutant(
        "a line that never ends is kept whole", "run/tailing.py",
        "        if len(self.carry) > self.cap:\n            self.dropped",
        "        if len(self.carry) > 1 << 40:\n            self.dropped",
        ("tests/run/test_console.py", "-k", "never_ends"),
    ),
    Mutant(
        "a line is shown however long it is", "run/text.py",
        "    if len(text) <= limit and not rest:\n        return text",
        "    if text is not None:\n        return text", ("tests/run/test_log_view.py",),
    ),
    Mutant(
        "two processes in one line are joined", "run/log_lines.py", "own = _own_length(rest)", "own = len(rest)",
        (_TEXT, "-k", "joined"),
    ),
    Mutant(
        "a step line is believed anywhere in a line", "run/console.py",
        '        if content.startswith(b"step:"):\n            return step_line(content, cut=cut)',
        '        if b"step:" in content:\n            return step_line(content[content.find(b"step:") :], cut=cut)',
        (_TEXT, "-k", "quotes"),
    ),
    Mutant(
        "an announcement is believed anywhere in a line", "run/console.py", "_TOTAL.match(content)",
        "_TOTAL.search(content)", (_TEXT, "-k", "quotes"),
    ),
    Mutant(
        "a restart does not part a tag that was silent then", "run/lanes.py",
        "shown.stream is stream and shown.session == session", "shown.stream is stream",
        ("tests/run/test_run_reader.py", "-k", "falls_silent"),
    ),
    Mutant(
        "a half-written step is judged", "monitor/watch.py",
        "        row = unfinished_row(run)\n", "        row = None\n",
        (_REPLAY, "-k", "pieces"),
    ),
    Mutant(
        "an alarm without ground stands for ever", "monitor/alarm_log.py", "_MISSED = 30.0", "_MISSED = 1e9",
        (_REPLAY, "-k", "withdrawn"),
    ),
    Mutant(
        "an alarm ends when its file is away for a moment", "monitor/alarm_log.py", "_MISSED = 30.0", "_MISSED = 0.0",
        (_REPLAY, "-k", "away_for_a_moment"),
    ),
    Mutant(
        "alarms that another monitor wrote are written again", "monitor/alarm_log.py",
        "for change, line in self._waiting.items() if change not in written]", "for line in self._waiting.values()]",
        (_SURVIVED, "-k", "doubled"),
    ),
    Mutant(
        "half a line stays in the alarm log of a full disk", "monitor/alarm_log.py", "os.ftruncate(descriptor, size)",
        "os.fsync(descriptor)", ("tests/monitor/test_alarm_log.py", "-k", "full_disk"),
    ),
    Mutant(
        "the noise that an earlier session knew is left out of the rules' marks", "health/judge.py",
        "context.known,\n", "context.before,\n", ("tests/mutants/test_marks.py",), times=2,
    ),
    Mutant(
        "a score is written where it will be read", "scoring/results.py", "        write(temporary)\n",
        "        write(path)\n        return\n", ("tests/scoring/test_results.py",),
    ),
    Mutant(
        "a message with any number is believed", "scoring/protocol.py",
        "    except (KeyError, TypeError, ValueError, OverflowError) as error:",
        "    except (KeyError, TypeError, ValueError) as error:", ("tests/fuzz/test_fuzz.py", "-k", "protocol"),
    ),
)  # fmt: skip
