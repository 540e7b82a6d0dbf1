"""What was read of a file, as checksums: bytes go in as they are read, whether the file still has them comes out.

Bytes that were read can become others: a hole is filled, a bit is repaired, a file is written over in place. The
little that a change can cost is compared at once; the rest of a large file by and by, at a rate that is bounded.
"""

from __future__ import annotations

import time

import google_crc32c

from critictui.run.followed import FollowedFile, Look

_BLOCK = 1 << 16
_ALL_AT_ONCE = 1 << 18
"""As much is compared whole at every change; of more, the end and the damage."""
_SLICE, _EVERY = 8 << 20, 1.0
"""Of a large file that grows, bytes that are compared again, and each how many seconds: 0.4 % of a core."""
_REST = 10.0
"""A comparison of everything that was touched is repeated only after this many times its cost."""
_MOST_NOTES = 64
_WHOLE_NOTE, _END_OF_NOTE = 1 << 14, 1 << 12


class Digest:
    """Checksums of the bytes that were read from one offset on, a block at a time."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.length = 0
        self.blocks: list[int] = []

    @property
    def end(self) -> int:
        """Offset after the last byte."""
        return self.start + self.length

    def update(self, data: bytes) -> None:
        """Take the bytes that follow."""
        at = 0
        while at < len(data):
            filled = self.length % _BLOCK
            part = data[at : at + _BLOCK - filled]
            if filled:
                self.blocks[-1] = google_crc32c.extend(self.blocks[-1], part)
            else:
                self.blocks.append(google_crc32c.value(part))
            self.length += len(part)
            at += len(part)

    def holds(self, file: FollowedFile, block: int) -> bool:
        """Whether the file still has the bytes of one block. Raises OSError."""
        wanted = min(_BLOCK, self.length - block * _BLOCK)
        data = file.read(self.start + block * _BLOCK, wanted)
        return len(data) == wanted and google_crc32c.value(data) == self.blocks[block]


class Witness:
    """All that was read of one file, in stretches that are each read forwards, and the damage that was met."""

    def __init__(self) -> None:
        self._stretches: list[Digest] = []
        self._notes: list[tuple[int, int, int]] = []
        self._pass: tuple[int, int] | None = None
        """Stretch and block from which a comparison of everything goes on."""
        self._wanted = False
        self._urgent = False
        self._next = 0.0
        self._spent = 0.0

    def stretch(self, start: int) -> Digest:
        """A new stretch that begins at `start`."""
        digest = Digest(start)
        self._stretches.append(digest)
        return digest

    def note(self, offset: int, data: bytes) -> None:
        """Remember damage, or what showed that it is some, to see at once when it changes; of much, the ends."""
        ends = [(offset, data)]
        if len(data) > _WHOLE_NOTE:
            ends = [(offset, data[:_END_OF_NOTE]), (offset + len(data) - _END_OF_NOTE, data[-_END_OF_NOTE:])]
        self._notes = [*self._notes, *((at, len(part), google_crc32c.value(part)) for at, part in ends)][-_MOST_NOTES:]

    @property
    def busy(self) -> bool:
        """The file was written over, perhaps, and the comparison of everything is not through."""
        return self._urgent and (self._pass is not None or time.monotonic() >= self._next)

    @property
    def waits(self) -> bool:
        """Something is left to be compared."""
        return self._wanted or self._pass is not None

    def still_holds(self, file: FollowedFile, look: Look, deadline: float) -> bool:
        """Whether the file still has what was read, as far as that is known by now. Raises OSError."""
        if look == "replaced" or (look != "same" and not self._after_change(file)):
            return False
        return self._go_on(file, deadline)

    def _after_change(self, file: FollowedFile) -> bool:
        """As far as that is said at once; the rest is for `_go_on`."""
        if any(stretch.end > file.size for stretch in self._stretches if stretch.length):
            return False
        if any(google_crc32c.value(file.read(offset, length)) != crc for offset, length, crc in self._notes):
            return False
        if sum(stretch.length for stretch in self._stretches) <= _ALL_AT_ONCE:
            return all(s.holds(file, k) for s in self._stretches for k in range(len(s.blocks)))
        self._wanted = True
        self._urgent |= file.touched
        last = max(self._stretches, key=lambda stretch: stretch.end)
        return all(last.holds(file, k) for k in range(len(last.blocks))[-2:])

    def _go_on(self, file: FollowedFile, deadline: float) -> bool:
        """Compare some more of what is left to compare; False where the file has other bytes. Raises OSError."""
        began = time.monotonic()
        if not self.waits or began < self._next:
            return True
        if self._pass is None:
            self._pass, self._wanted, self._spent = (0, 0), False, 0.0
        number, block = self._pass
        left = _SLICE
        while number < len(self._stretches):
            stretch = self._stretches[number]
            if block >= len(stretch.blocks):
                number, block = number + 1, 0
                continue
            if not stretch.holds(file, block):
                return False
            block += 1
            left -= _BLOCK
            if (left <= 0 and not self._urgent) or time.monotonic() > deadline:
                break
        now = time.monotonic()
        self._spent += now - began
        self._next = 0.0 if self._urgent else now + _EVERY
        self._pass = (number, block)
        if number >= len(self._stretches):
            self._next = now + max(_EVERY, _REST * self._spent)
            self._pass, self._urgent = None, self._urgent and self._wanted
        return True
