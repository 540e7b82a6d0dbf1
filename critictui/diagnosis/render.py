"""Diagnoses and explanations as JSON, as plain text and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from critictui.diagnosis.finding import Cause, Diagnosis, Explanation, Finding

SCHEMA = 1
_MARK = {
    "critical": "!!", "warning": "! ", "info": "  ",
    "proven": "!!", "likely": "! ", "unlikely": "- ", "untested": "? ", "ruled-out": "  ",
}  # fmt: skip


def diagnosis_json(diagnosis: Diagnosis) -> dict[str, object]:
    """The object of `diagnose --json`."""
    return {
        "schema": SCHEMA,
        "verdict": diagnosis.verdict,
        "findings": [
            {
                "id": f.id,
                "severity": f.severity,
                "message": f.message,
                "evidence": plain(f.evidence),
                "advice": f.advice,
            }
            for f in diagnosis.findings
        ],
        "facts": plain(diagnosis.facts),
    }


def explanation_json(explanation: Explanation) -> dict[str, object]:
    """The object of `explain --json`."""
    return {
        "schema": SCHEMA,
        "headline": explanation.headline,
        "causes": [
            {
                "id": c.id,
                "verdict": c.verdict,
                "message": c.message,
                "evidence": plain(c.evidence),
                "next_step": c.next_step,
            }
            for c in explanation.causes
        ],
        "facts": plain(explanation.facts),
    }


def plain(value: object) -> object:
    """JSON values only: tuples become lists, numbers that are not finite their names."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Sequence):
        return [plain(v) for v in value]
    return float(value) if hasattr(value, "__float__") else str(value)


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """For a terminal without a screen: the verdict, then the findings, worst first."""
    lines = [f"verdict: {diagnosis.verdict}"]
    for f in diagnosis.findings:
        lines.append(f"{_MARK[f.severity]} {f.id}: {f.message}")
        if f.advice:
            lines.append(f"     {f.advice}")
    return "\n".join(lines)


def explanation_text(explanation: Explanation) -> str:
    """For a terminal without a screen: the headline, then the causes in their order."""
    lines = [explanation.headline, ""]
    for c in explanation.causes:
        lines.append(f"{_MARK[c.verdict]} {c.verdict:<9}  {c.id}: {c.message}")
        if c.next_step and c.verdict != "ruled-out":
            lines.append(f"              next: {c.next_step}")
    return "\n".join(lines)


def diagnosis_markdown(diagnosis: Diagnosis, title: str) -> str:
    """A report to paste into an issue or a chat."""
    return _markdown(
        f"Diagnosis of {title}", f"Verdict: **{diagnosis.verdict}**", [_row(f) for f in diagnosis.findings]
    )


def explanation_markdown(explanation: Explanation, title: str) -> str:
    """A report to paste into an issue or a chat."""
    return _markdown(
        f"Why training and test disagree: {title}", explanation.headline, [_row(c) for c in explanation.causes]
    )


def _row(item: Finding | Cause) -> tuple[str, str, str, str]:
    if isinstance(item, Finding):
        return item.severity, item.id, item.message, item.advice
    return item.verdict, item.id, item.message, item.next_step


def _markdown(heading: str, lead: str, rows: Sequence[tuple[str, str, str, str]]) -> str:
    lines = [
        f"# {_cell(heading)}",
        "",
        _cell(lead),
        "",
        "| verdict | what | evidence | next |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
