"""Waits for the end of the program that owns a terminal; restores the terminal where that program no longer could.

Runs by itself, in a session of its own, so that no key, no hang-up and no `kill` of the program's group reaches it.
Standard output is the terminal. Arguments: what to write to it, and its attributes, in hexadecimal. On standard input
comes `1` when the program takes the terminal and `0` when it gives it back; the end of the input is the end of the
program.
"""

import os
import sys
import termios


def restore(terminal: int, modes: bytes, attributes: str) -> None:
    """Write the modes as soon as the terminal reads, then set the attributes unless a shell has done so already."""
    while modes:
        modes = modes[os.write(terminal, modes) :]
    if termios.tcgetattr(terminal)[3] & termios.ISIG:
        return
    *flags, characters = attributes.split(",")
    wanted: list[int | list[bytes | int]] = [*(int(flag, 16) for flag in flags), list(bytes.fromhex(characters))]
    termios.tcsetattr(terminal, termios.TCSANOW, wanted)


def wait(pipe: int) -> bool:
    """Whether the program had the terminal when it ended."""
    said = b"0"
    while heard := os.read(pipe, 64):
        said = heard[-1:]
    return said == b"1"


def as_argument(attributes: list[object]) -> str:
    """What `termios.tcgetattr` gives, as `restore` takes it."""
    *flags, codes = attributes
    assert isinstance(codes, list)
    characters = bytes(code[0] if isinstance(code, bytes) else code for code in codes)
    return ",".join([*(f"{flag:x}" for flag in flags), characters.hex()])


if __name__ == "__main__" and wait(0):
    restore(1, bytes.fromhex(sys.argv[1]), sys.argv[2])
