"""What comes from the terminal: bytes go in, messages come out, whatever the bytes are.

Textual's own thread ends the app, with a traceback on the screen, at a byte that is no UTF-8 and at a reply with a code
point that does not exist; and it waits for the end of a paste for ever.
"""

from __future__ import annotations

import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator

from textual import events
from textual._xterm_parser import XTermParser  # private, and pinned: it is what Textual's own drivers use
from textual.message import Message

from critictui.run.text import sanitise

_START, _END = "\x1b[200~", "\x1b[201~"
LONGEST_PASTE = 64 << 10
"""Characters of a paste that are kept; nothing that one types into takes more than a line."""
_SILENCE = 1.0
"""Seconds without input after which a paste whose end never came is over."""


class _Parser(XTermParser):
    """Sizes and pixels come from the kernel alone: a reply that nobody asked for must not scale the mouse."""

    @property
    def mouse_pixels(self) -> bool:
        """Never."""
        return False

    @mouse_pixels.setter
    def mouse_pixels(self, value: bool) -> None:
        del value


class Typed:
    """The state between two reads; used by one thread."""

    def __init__(self, fault: Callable[[Exception], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._fault = fault
        """Told of a reply that cannot be understood; what came with it is lost."""
        self._clock = clock
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._parser = _Parser()
        self._held = ""
        """The beginning of what may become a marker."""
        self._paste: list[str] | None = None
        self._room = 0
        self._heard = clock()

    @property
    def waiting(self) -> bool:
        """Whether `idle` has something to do soon."""
        return bool(self._held) or self._paste is not None

    def feed(self, data: bytes) -> Iterator[Message]:
        """Messages of what was read."""
        self._heard = self._clock()
        text, self._held = self._held + self._decode(data), ""
        while text:
            marker = _START if self._paste is None else _END
            before, found, text = text.partition(marker)
            if not found:
                kept = _beginning(before, marker)
                before, self._held = before[: len(before) - kept], before[len(before) - kept :]
            if self._paste is None:
                yield from self._keys(before)
                if found:
                    self._paste, self._room = [], LONGEST_PASTE
            else:
                self._paste.append(before[: self._room])
                self._room -= len(self._paste[-1])
                if found:
                    yield from self._pasted()

    def idle(self) -> Iterator[Message]:
        """Nothing came for a moment: what was kept back is no marker, and a paste without an end is over."""
        if self._paste is None:
            held, self._held = self._held, ""
            yield from self._keys(held)
        elif self._clock() - self._heard > _SILENCE:
            self._held = ""
            yield from self._pasted()
        yield from self._guarded(self._parser.tick)

    def _pasted(self) -> Iterator[Message]:
        text, self._paste = "".join(self._paste or ()), None
        yield events.Paste(sanitise(text, LONGEST_PASTE))

    def _keys(self, text: str) -> Iterator[Message]:
        if text:
            yield from self._guarded(lambda: self._parser.feed(text))

    def _guarded(self, parse: Callable[[], object]) -> Iterator[Message]:
        try:
            yield from parse()  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001 - the boundary to a parser that is not ours
            self._parser = _Parser()
            self._fault(error)


def _beginning(text: str, marker: str) -> int:
    """How many characters at the end of `text` may be the beginning of `marker`."""
    return next((n for n in range(min(len(marker) - 1, len(text)), 0, -1) if marker.startswith(text[-n:])), 0)
