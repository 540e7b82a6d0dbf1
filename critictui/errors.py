"""The two ways a command fails: the input is not fit (exit status 2), or the job broke (exit status 3)."""

from __future__ import annotations


class InputError(Exception):
    """Bad input. The message is one line that names the file and the remedy. Each room has one subclass."""


class JobFailedError(Exception):
    """A job ended without a result: out of memory, crashed, hung, cancelled. The message says which."""
