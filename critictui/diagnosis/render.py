"""Diagnoses and explanations as JSON, as plain text and as Markdown."""

# ruff: noqa: E501  (a row is one sentence on one line)

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

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
    lines = [f"verdict: {_verdict(diagnosis)}"]
    for f in diagnosis.findings:
        lines.append(f"{_MARK[f.severity]} {f.id}: {f.message}")
        if f.advice:
            lines.append(f"     {f.advice}")
    return "\n".join([*lines, "", *(f"   {name:<12} {text}" for name, text in looked_at(diagnosis.facts))])


def _verdict(diagnosis: Diagnosis) -> str:
    """`sound`, or how far it goes where nothing was measured."""
    if diagnosis.verdict == "sound" and diagnosis.facts.get("measured") is False:
        return "sound, as far as its files show: nothing was scored"
    return diagnosis.verdict


def looked_at(facts: Mapping[str, object]) -> list[tuple[str, str]]:
    """What was loaded and measured, as (name, words): said whether or not anything is wrong with it."""
    rows: list[tuple[str, str]] = []
    if "parameters" in facts:
        dtypes = ", ".join(map(str, cast("Sequence[object]", facts["dtypes"])))
        rows.append(
            (
                "weights",
                f"{facts['parameters']:,} parameters, {dtypes}, {facts['layout']}, fingerprint {str(facts['fingerprint'])[:10]}",
            )
        )
    head = facts.get("head")
    if isinstance(head, Mapping):
        bias = f", bias {head['bias']:.3g}" if head["bias"] is not None else ", no bias"
        rows.append(("head", f"{head['weight_name']}: mean {head['mean']:.3g}, std {head['std']:.3g}{bias}"))
    for role in ("teacher", "student"):
        s = facts.get(role)
        if isinstance(s, Mapping):
            rows.append(
                (
                    f"{role}s",
                    f"{s['n']} responses, mean {s['mean']:z.2f}, std {s['std']:.2f}, {s['min']:z.2f} to {s['max']:z.2f}",
                )
            )
    if "pairs" in facts:
        rows.append(
            (
                "d_acc",
                f"{facts['d_acc']:.3f} ({facts['d_acc_low']:.3f} to {facts['d_acc_high']:.3f}) on {facts['pairs']} pairs, margin {facts['margin']:z.2f}, {facts['tie_rate']:.1%} ties",
            )
        )
    values = facts.get("values")
    if isinstance(values, Mapping):
        rows.append(
            (
                "values",
                f"{values['n']} tokens, mean {values['mean']:z.2f}, std {values['std']:.2f}, {values['min']:z.2f} to {values['max']:z.2f}",
            )
        )
    again = facts.get("second_load")
    if isinstance(again, float) and math.isfinite(again):
        same = "the same values to the bit" if again == 0 else f"values up to {again:.2g} apart"
        rows.append(("second load", f"under another seed: {same}"))
    return rows


def explanation_text(explanation: Explanation) -> str:
    """For a terminal without a screen: the headline, then the causes in their order."""
    lines = [explanation.headline, ""]
    for ids, c in _together(explanation.causes):
        lines.append(f"{_MARK[c.verdict]} {c.verdict:<9}  {', '.join(ids)}: {c.message}")
        if c.next_step and c.verdict != "ruled-out":
            lines.append(f"              next: {c.next_step}")
    return "\n".join(lines)


def _together(causes: Sequence[Cause]) -> list[tuple[list[str], Cause]]:
    """Causes of which the very same is to be said, in one line at the first one's place."""
    same: dict[tuple[str, str, str], tuple[list[str], Cause]] = {}
    for c in causes:
        same.setdefault((c.verdict, c.message, c.next_step), ([], c))[0].append(c.id)
    return list(same.values())


def diagnosis_markdown(diagnosis: Diagnosis, title: str) -> str:
    """A report to paste into an issue or a chat."""
    report = _markdown(
        f"Diagnosis of {title}", f"Verdict: {_verdict(diagnosis)}", [_row(f) for f in diagnosis.findings]
    )
    rows = [f"| {_cell(name)} | {_cell(text)} |" for name, text in looked_at(diagnosis.facts)]
    return report + "\n".join(["", "| looked at | |", "| --- | --- |", *rows, ""]) if rows else report


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
    """Foreign text (paths, tensor names, script lines) is text here too: no markup, no new row, no HTML."""
    escaped = "".join(f"\\{c}" if c in "\\|`*_[]" else c for c in text)
    return " ".join(escaped.replace("<", "&lt;").replace(">", "&gt;").split())
