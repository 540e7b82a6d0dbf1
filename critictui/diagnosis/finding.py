"""What diagnose and explain say: findings about a checkpoint, ranked causes of a disagreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FindingSeverity = Literal["info", "warning", "critical"]
CauseVerdict = Literal["proven", "likely", "unlikely", "ruled-out", "untested"]

FINDING_IDS = (
    "head-missing", "head-duplicated", "head-not-trained", "head-identical", "weights-damaged", "incomplete",
    "wrong-shape", "wrong-tokenizer", "score-definition", "accuracy-definition", "eos-mismatch", "truncation",
    "prompt-echo", "prompt-garbled", "sampling-mismatch", "train-average", "memorised", "collapsed", "by-chance",
    "length-bias", "value-outliers", "value-collapse",
)  # fmt: skip
"""Of findings and causes alike."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one checkpoint that a person should know."""

    id: str
    severity: FindingSeverity
    message: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Findings, worst first, and the verdict: sound, doubtful (a warning) or broken (a critical finding)."""

    verdict: Literal["sound", "doubtful", "broken"]
    findings: tuple[Finding, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    """What was loaded and how it behaves: for the screen's tables and small charts."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A possible reason why training and test disagree, judged."""

    id: str
    verdict: CauseVerdict
    message: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The ranked causes, most likely first, under one headline."""

    headline: str
    causes: tuple[Cause, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
