"""The few signs that the screens use, in Unicode and in ASCII; which set serves is decided once, from the terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Signs that stand beside words: a state is never told by colour or sign alone."""

    ascii: bool
    critical: str
    warning: str
    info: str
    healthy: str
    unknown: str
    pending: str
    resolved: str
    cursor: str
    plus_minus: str
    dot: str
    dash: str
    arrow: str
    more: str

    def severity(self, name: str) -> str:
        """The sign of a severity, a verdict or an alert's state."""
        signs = {
            "critical": self.critical,
            "warning": self.warning,
            "info": self.info,
            "healthy": self.healthy,
            "pending": self.pending,
            "resolved": self.resolved,
        }
        return signs.get(name, self.unknown)


UNICODE = Glyphs(
    ascii=False,
    critical="▲",
    warning="●",
    info="○",
    healthy="✓",
    unknown="?",
    pending="◌",
    resolved="✓",
    cursor="›",
    plus_minus="±",
    dot="·",
    dash="–",
    arrow="→",
    more="…",
)
ASCII = Glyphs(
    ascii=True,
    critical="!",
    warning="*",
    info="i",
    healthy="+",
    unknown="?",
    pending="~",
    resolved="+",
    cursor=">",
    plus_minus="+-",
    dot="|",
    dash="-",
    arrow="->",
    more="..",
)


_NO_FONT = re.compile(r"|dumb|unknown|linux|ansi|sun|cons25.*|vt\d.*|wyse.*")
"""Values of TERM of terminals whose font has no braille, stars or round corners, whatever the locale says."""


def ascii_only(wanted: bool, encoding: str | None = None, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether nothing but ASCII may be sent: asked for, a terminal without the signs, or a locale that is not UTF-8."""
    if wanted or _NO_FONT.fullmatch(environ.get("TERM", "")):
        return True
    if encoding is None:
        encoding = _locale_encoding(environ)
    return encoding.lower().replace("-", "").replace("_", "") not in {"utf8", "utf"}


def _locale_encoding(environ: Mapping[str, str]) -> str:
    """What the locale says: Python itself turns the C locale into UTF-8, and the terminal may not follow."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        value = environ.get(name)
        if value:
            if value in {"C", "POSIX"}:
                return "ascii"
            _, dot, codeset = value.partition(".")
            return codeset.split("@")[0] if dot else "utf-8"
    return getattr(sys.stdout, "encoding", None) or "utf-8"
