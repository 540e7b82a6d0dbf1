"""Findings and causes with their evidence: an answer goes in, the rows and details of a report come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from textual.content import Content

from critictui.diagnosis.finding import Cause, Diagnosis, Explanation, Finding
from critictui.run.panels import Role
from critictui.run.pyramid import Pyramid
from critictui.run.series import Series
from critictui.tui import words
from critictui.tui.chart.model import ChartData, Line
from critictui.tui.glyphs import Glyphs
from critictui.tui.text import EMPTY, elided, joined, lines, plain
from critictui.tui.widgets.rows import cells

_STYLES = {
    "critical": "bold $text-error", "warning": "bold $text-warning", "info": "$text-accent",
    "proven": "bold $text-error", "likely": "bold $text-warning", "unlikely": "$foreground",
    "untested": "$foreground-muted", "ruled-out": "$text-success",
    "broken": "bold $text-error", "doubtful": "bold $text-warning", "sound": "bold $text-success",
}  # fmt: skip
_ABOUT_VALUES = {"value-collapse", "value-outliers", "collapsed", "eos-mismatch"}
"""Findings that the values along the response show best."""
_LEAST_PLOT, _MOST_PLOT = 12, 40


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One row of a report and what stands behind it."""

    sign: str
    state: str
    """critical, proven, numbers ..."""
    name: str
    sentence: str
    detail: Callable[[int], Content]
    """From a width in cells to the text below."""
    chart: ChartData | None = None

    @property
    def style(self) -> str:
        """How state and sign are coloured; both are words as well."""
        return _STYLES.get(self.state, "$foreground-muted")


def sign_of(state: str, glyphs: Glyphs) -> str:
    """A sign for a severity, a verdict of a cause, or a checkpoint's."""
    return {
        "critical": glyphs.critical, "warning": glyphs.warning, "info": glyphs.info,
        "proven": glyphs.critical, "likely": glyphs.warning, "unlikely": glyphs.info,
        "untested": glyphs.pending, "ruled-out": glyphs.resolved,
        "broken": glyphs.critical, "doubtful": glyphs.warning, "sound": glyphs.healthy,
    }.get(state, glyphs.dot)  # fmt: skip


def item_line(item: Item, width: int, glyphs: Glyphs) -> Content:
    """`▲ critical  head-missing    a second load gives other scores`."""
    name = 20 if width >= 70 else 0
    return cells(
        [
            (joined((f"{item.sign} {item.state}", item.style)), 11, "left"),
            (plain(item.name, "bold"), name, "left"),
            (plain(item.sentence if name else f"{item.name}: {item.sentence}"), max(width - 13 - name - 2, 4), "left"),
        ]
    )


def diagnosis_lead(diagnosis: Diagnosis, glyphs: Glyphs, *, measured: bool) -> Content:
    """The verdict in words, and what it rests on."""
    count: dict[str, int] = {}
    for finding in diagnosis.findings:
        count[finding.severity] = count.get(finding.severity, 0) + 1
    said = ", ".join(f"{n} {severity}" for severity, n in count.items())
    basis = "" if measured else "; so far from its files alone"
    sign = sign_of(diagnosis.verdict, glyphs)
    worst = diagnosis.findings[0].message if diagnosis.findings else "nothing was found"
    more = f" ({said})" if said else ""
    return joined((f"{sign} {diagnosis.verdict}", _STYLES[diagnosis.verdict]), f": {worst}{more}{basis}")


def diagnosis_items(diagnosis: Diagnosis, glyphs: Glyphs) -> list[Item]:
    """Findings, worst first, then the numbers they were judged from."""
    facts = diagnosis.facts
    profile = profile_chart(facts)
    items = [
        Item(
            sign_of(f.severity, glyphs), f.severity, f.id, f.message, _finding_detail(f),
            profile if f.id in _ABOUT_VALUES else None,
        )
        for f in diagnosis.findings
    ]  # fmt: skip
    if "d_acc" in facts:
        behaviour = _behaviour_words(facts)
        sentence = f"d_acc {_figure(facts.get('d_acc'))}, margin {_figure(facts.get('margin'))}, token values"
        items.append(Item(glyphs.dot, "numbers", "behaviour", sentence, lambda width: behaviour, profile))
    loaded = _loaded_words(facts)
    items.append(Item(glyphs.dot, "numbers", "loaded", _loaded_sentence(facts), lambda width: loaded))
    return items


def explanation_lead(explanation: Explanation) -> Content:
    """The headline."""
    return plain(explanation.headline, "bold")


def explanation_items(explanation: Explanation, glyphs: Glyphs) -> list[Item]:
    """Causes, most likely first, then the numbers and the simulated ways to score."""
    ways = [w for w in _sequence(explanation.facts.get("simulated")) if isinstance(w, Mapping)]
    test = explanation.facts.get("test_d_acc")
    claim = test if isinstance(test, float) else math.nan
    items = [
        Item(sign_of(c.verdict, glyphs), c.verdict, c.id, c.message, _cause_detail(c, ways, claim, glyphs))
        for c in explanation.causes
    ]
    if ways:
        sentence = f"{len(ways)} ways to score, simulated on this checkpoint and fixed set"
        items.append(
            Item(glyphs.dot, "numbers", "simulated", sentence, lambda width: ways_table(ways, claim, width, glyphs))
        )
    numbers = {k: v for k, v in explanation.facts.items() if k != "simulated"}
    items.append(Item(glyphs.dot, "numbers", "figures", "what was compared", lambda width: table(numbers)))
    return items


def _finding_detail(finding: Finding) -> Callable[[int], Content]:
    def made(width: int) -> Content:
        del width
        return _detail(finding.message, "do", finding.advice, finding.evidence)

    return made


def _cause_detail(
    cause: Cause, ways: Sequence[Mapping[str, object]], claim: float, glyphs: Glyphs
) -> Callable[[int], Content]:
    own = [w for w in ways if w.get("cause") == cause.id or w.get("way") == "real"]

    def made(width: int) -> Content:
        said = _detail(cause.message, "next", cause.next_step, cause.evidence)
        if len(own) > 1 or (own and own[0].get("cause") == cause.id):
            said = lines([said, EMPTY, ways_table(own, claim, width, glyphs)])
        return said

    return made


def _detail(message: str, label: str, advice: str, evidence: Mapping[str, object]) -> Content:
    said = [plain(message, "bold")]
    if advice:
        said.append(joined((f"{label}: ", "$accent"), advice))
    if evidence:
        said += [EMPTY, table(evidence)]
    return lines(said)


def table(values: Mapping[str, object]) -> Content:
    """Names and figures, one a line; lists below their name."""
    flat = list(_flat(values))
    width = min(max((len(name) for name, _ in flat), default=0), 34)
    return lines(
        joined((f"{elided(name, width):<{width}}  ", "$foreground-muted"), _figure(value)) for name, value in flat
    )


def _flat(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            found += _flat(value, f"{name} ")
        elif isinstance(value, (list, tuple)) and value and all(isinstance(v, str) for v in value):
            found += [(name if i == 0 else "", v) for i, v in enumerate(value)]
        else:
            found.append((name, value))
    return found


def _figure(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return words.number(value, 4)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 100_000 else str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_figure(v) for v in value)
    return "-" if value is None else str(value)


# --- diagnose


def _loaded_sentence(facts: Mapping[str, object]) -> str:
    parameters = facts.get("parameters")
    head = facts.get("head")
    said = f"{_figure(parameters)} parameters" if parameters is not None else "nothing could be read"
    if isinstance(head, Mapping):
        said += f", head {head.get('weight_name')}"
    return said


def _loaded_words(facts: Mapping[str, object]) -> Content:
    names = ("checkpoint", "step", "layout", "parameters", "dtypes", "fingerprint")
    shown: dict[str, object] = {name: facts[name] for name in names if name in facts}
    head = facts.get("head")
    if isinstance(head, Mapping):
        shown |= {f"head {k}": v for k, v in head.items() if k != "sha256"}
    return table(shown)


def _behaviour_words(facts: Mapping[str, object]) -> Content:
    rows = [
        joined(("score", "bold"), "          mean      std      min      max   responses"),
        *(_spread_row(name, facts.get(name)) for name in ("teacher", "student")),
        joined(("token values", "bold"), "   mean      std      min      max   tokens"),
        _spread_row("", facts.get("values")),
        EMPTY,
    ]
    low, high = facts.get("d_acc_low"), facts.get("d_acc_high")
    shares = {
        "d_acc": f"{_figure(facts.get('d_acc'))} ({_figure(low)} to {_figure(high)}), {facts.get('pairs')} pairs",
        "margin": facts.get("margin"),
        "ties": _share(facts.get("tie_rate")),
        "token values beyond 10": _share(facts.get("above_10")),
        "spread at the first token": facts.get("first_token_std"),
        "spread at the last token": facts.get("last_token_std"),
        "responses that are cut": _share(facts.get("truncated")),
        "teacher's ending in EOS": _share(facts.get("eos_teacher")),
        "students' ending in EOS": _share(facts.get("eos_student")),
        "EOS shifts a score by": facts.get("eos_shift"),
        "score against length": f"{_figure(facts.get('length_spearman'))} (rank correlation)",
        "a second load differs by": facts.get("second_load"),
    }
    return lines([*rows, table(shares)])


def _spread_row(name: str, spread: object) -> Content:
    if not isinstance(spread, Mapping):
        return plain(f"{name}: -")
    figures = "".join(f"{_figure(spread.get(k)):>9}" for k in ("mean", "std", "min", "max"))
    return plain(f"{name:<10}{figures}   {_figure(spread.get('n'))}")


def _share(value: object) -> str:
    return f"{value:.1%}" if isinstance(value, float) and math.isfinite(value) else "-"


def profile_chart(facts: Mapping[str, object]) -> ChartData | None:
    """Mean value along the responses, first token to last; None where it was not measured."""
    found: list[Line] = []
    roles: tuple[Role, Role] = ("teacher", "student")
    for role in roles:
        values = np.array([v if isinstance(v, float) else math.nan for v in _sequence(facts.get(f"profile_{role}"))])
        if len(values) and np.isfinite(values).any():
            found.append(Line(role, _series(role, values), role))
    return ChartData(title="value along the response, per cent", lines=tuple(found)) if found else None


def _series(name: str, value: np.ndarray) -> Series:
    n = len(value)
    step = (np.arange(1, n + 1) * 100 // n).astype(np.int64)
    none = np.full(n, math.nan)
    return Series(name, name, "derived", "diagnose", step, none, value, np.zeros(n, np.int64), Pyramid())


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()


# --- explain


def ways_table(ways: Sequence[Mapping[str, object]], claim: float, width: int, glyphs: Glyphs) -> Content:
    """Each simulated way with its d_acc on a line from 0 to 1; `|` is the test's number."""
    name = min(max((len(str(w.get("way", ""))) for w in ways), default=4), 22)
    plot = min(max(width - name - 43, 0), _MOST_PLOT)  # name, 15 for d_acc, 2, 16 for the margin, 8 for the answer
    plot = plot if plot >= _LEAST_PLOT else 0
    head = f"{'way to score':<{name}}  {'d_acc':<15}{'0' + ' ' * (plot - 2) + '1  ' if plot else ''}{'margin':<16}"
    rows = [plain(head + "lands?", "$foreground-muted")]
    for way in ways:
        d_acc, spread = _float(way.get("d_acc")), _float(way.get("d_acc_std"))
        number = f"{d_acc:.3f}" + (f" {glyphs.plus_minus}{spread:.3f}" if spread > 0 else "")
        margin, margin_std = _float(way.get("margin")), _float(way.get("margin_std"))
        gap = f"{words.number(margin)}" + (f" {glyphs.plus_minus}{words.number(margin_std)}" if margin_std > 0 else "")
        lands = way.get("lands") is True
        label = elided(str(way.get("way", "")), name, glyphs.more)
        rows.append(
            joined(
                (f"{label:<{name}}  ", "bold" if way.get("way") == "real" else ""),
                f"{number:<15}",
                (_dots(d_acc, spread, claim, plot, glyphs) + "  " if plot else ""),
                f"{gap:<16}",
                ("yes", "bold $text-warning") if lands else ("no", "$foreground-muted"),
            )
        )
    mark = f"{'|' if glyphs.ascii else '│'} is the test's number; " if plot else ""
    rows.append(plain(f"{mark}'yes': the test lies within sampling error of this way", "$foreground-muted"))
    return lines(rows)


def _dots(value: float, spread: float, claim: float, width: int, glyphs: Glyphs) -> str:
    cellsof = ["." if glyphs.ascii else "·"] * width
    if math.isfinite(value):
        spread = spread if math.isfinite(spread) else 0.0
        for i in range(_cell(value - spread, width), _cell(value + spread, width) + 1):
            cellsof[i] = "-" if glyphs.ascii else "─"
    if math.isfinite(claim):
        cellsof[_cell(claim, width)] = "|" if glyphs.ascii else "│"
    if math.isfinite(value):
        here = _cell(value, width)
        both = math.isfinite(claim) and here == _cell(claim, width)
        cellsof[here] = ("@" if both else "o") if glyphs.ascii else ("◉" if both else "●")
    return "".join(cellsof)


def _cell(share: float, width: int) -> int:
    return min(max(round(share * (width - 1)), 0), width - 1)


def _float(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
