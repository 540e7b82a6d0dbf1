"""Writes a fixed set a prompt at a time: an interrupted run keeps what is done, and the next one goes on there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from critictui.scoring.fixed_set import FixedPrompt, Response
from critictui.scoring.read_set import own_row
from critictui.scoring.recipe import ScoringError
from critictui.scoring.result_json import strict_json
from critictui.scoring.results import publish
from critictui.scoring.row_values import RowError


def prompt_to_json(item: FixedPrompt) -> dict[str, object]:
    """One line of the set."""
    prompt: object = item.prompt
    if not isinstance(prompt, str):
        prompt = [{"role": m.role, "content": m.content} for m in item.prompt]  # type: ignore[union-attr]
    return {
        "id": item.id,
        "prompt": prompt,
        "teacher": _response(item.teacher, student=False),
        "students": [_response(student, student=True) for student in item.students],
    }


def _response(response: Response, *, student: bool) -> dict[str, object]:
    made: dict[str, object] = {"text": response.text}
    if response.ids is not None:
        made["ids"] = list(response.ids)
    if student:
        made |= {"finish_reason": response.finish_reason, "seed": response.seed}
    return made


def line(value: Mapping[str, object]) -> bytes:
    """A JSON line; the same value gives the same bytes."""
    return json.dumps(strict_json(value), ensure_ascii=False, allow_nan=False).encode() + b"\n"


class SetWriter:
    """A fixed set in the making: `FILE.partial` grows a line a prompt, `FILE` appears whole at the end.

    Use it as a context manager. `done` holds what an earlier run with the same header made.
    """

    def __init__(self, path: Path, header: Mapping[str, object]) -> None:
        """Open or go on.

        Raises ScoringError when the set is there already, when a partial one was made with other parameters, when
        another process is at it, or when it cannot be written.
        """
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.header = line(header)
        self.done: dict[str, FixedPrompt] = {}
        if path.exists():
            raise ScoringError(f"{path}: exists and is never overwritten; choose another name or move it away")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = self.partial.open("a+b")
        except OSError as error:
            raise ScoringError(f"{self.partial}: {error.strerror or error}; choose another place") from None
        try:
            self._go_on()
        except BaseException:
            self._file.close()
            raise

    def _go_on(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ScoringError(f"{self.partial}: another `prepare` is at it; wait, or choose another name") from None
        except OSError:
            pass  # a file system without locks
        self._file.seek(0)
        head = self._file.readline()
        nothing_done = self._file.tell() == os.fstat(self._file.fileno()).st_size
        if not head.endswith(b"\n") or (nothing_done and head != self.header):
            self._file.truncate(0)
            self._append(self.header)
            return
        if head != self.header:
            raise ScoringError(
                f"{self.partial}: was begun with other data or parameters; repeat those, or move it away to start anew"
            )
        whole = len(head)
        for text in self._file:
            try:
                item = own_row(json.loads(text)) if text.endswith(b"\n") else None
            except (ValueError, RowError):
                item = None
            if item is None:
                break
            self.done[item.id] = item
            whole += len(text)
        self._file.truncate(whole)  # what a crash cut short is made again

    def _append(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise ScoringError(f"{self.partial}: {error.strerror or error}; free some space and start again") from None

    def add(self, item: FixedPrompt) -> None:
        """Keep one finished prompt; it is on disk when this returns. Raises ScoringError when the disk is full."""
        self._append(line(prompt_to_json(item)))
        self.done[item.id] = item

    def finish(self, order: Sequence[str]) -> Path:
        """Write the set with its prompts in this order, and drop the partial file. Raises ScoringError."""
        data = self.header + b"".join(line(prompt_to_json(self.done[name])) for name in order)

        def write(temporary: Path) -> None:
            temporary.write_bytes(data)

        try:
            publish(self.path, write)
        except FileExistsError:
            raise ScoringError(f"{self.path}: appeared meanwhile; what was made is in {self.partial}") from None
        except OSError as error:
            raise ScoringError(f"{self.path}: {error.strerror or error}; what was made is in {self.partial}") from None
        with contextlib.suppress(OSError):
            self.partial.unlink()
        return self.path

    def __enter__(self) -> SetWriter:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the partial file; what is in it stays. One without a single prompt is removed."""
        if not self.done:
            with contextlib.suppress(OSError):
                self.partial.unlink()
        self._file.close()
