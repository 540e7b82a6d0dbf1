"""Numbers as trainers print them: an exact ASCII grammar, because `float()` also takes `1_000` and Arabic digits."""

from __future__ import annotations

import math
import re

_PLAIN = rb"[+-]?(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+"
_NAMED = rb"[+-]?(?:[nN][aA][nN]|[iI]nf(?:inity)?)"
_NUMBER = rb"(?:" + _PLAIN + rb"|" + _NAMED + rb")"
_EXACT = re.compile(_NUMBER)
_WRAPPED = re.compile(
    rb"(?:(?:np|numpy|jnp|torch)\.)?(?:b?float(?:16|32|64)?|u?int(?:8|16|32|64)?|longdouble|tensor|array|Array)"
    rb"\(\s*(" + _NUMBER + rb")\s*"
    rb"(?:,\s*(?:device='[\w:.-]{1,40}'|dtype=[\w.']{1,40}|grad_fn=<\w{1,60}>|requires_grad=(?:True|False)"
    rb"|weak_type=(?:True|False))\s*){0,5}\)"
)
_LONGEST = 400


def number(text: bytes) -> float | None:
    """The value of a numeral, bare or in a wrapper (`np.float64(0.5)`, `tensor(0.3, device='cuda:0')`), else None.

    A finite numeral that a double cannot hold is refused as well: it would come out as an infinity nobody wrote.
    """
    if len(text) > _LONGEST:
        return None
    if _EXACT.fullmatch(text) is None:
        wrapped = _WRAPPED.fullmatch(text)
        if wrapped is None:
            return None
        text = wrapped.group(1)
    value = float(text)
    if math.isinf(value) and b"n" not in text.lower():
        return None
    return value


def step_number(value: object) -> int | None:
    """A step from a parsed JSON value or a float: a whole number that 64 bits hold, else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        if not math.isfinite(value) or not value.is_integer():
            return None
        value = int(value)
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return value
    return None
