"""What the screen said: a toast goes away, a warning is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["information", "warning", "error"]

SECONDS: Final[dict[Severity, float]] = {"information": 3.0, "warning": 5.0, "error": 8.0}
"""How long each is on the screen."""
MOST_KEPT: Final = 200


@dataclass(frozen=True, slots=True)
class Said:
    """A warning or an error, in words."""

    when: float
    """Wall clock time in seconds."""
    severity: Severity
    text: str
