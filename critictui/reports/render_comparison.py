"""A comparison of runs as JSON, and as text for a person at a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from critictui.health.alert import plain_number
from critictui.reports.compare import WINDOW, Comparison, OnTheSet, Side
from critictui.run import metrics
from critictui.run.text import json_text, sanitise_line
from critictui.scoring.comparison import difference_words
from critictui.scoring.result import ScoreResult
from critictui.scoring.statistics import LEVEL

_SCHEMA = 1
_COLUMNS = {
    metrics.D_ACC: "d_acc", metrics.SCORE_DIFF: "margin",
    metrics.TEACHER_MEAN: "teacher", metrics.STUDENT_MEAN: "student",
    metrics.TEACHER_STD: "T std", metrics.STUDENT_STD: "S std", metrics.D_LOSS: "loss", metrics.GRAD_NORM: "grad norm",
}  # fmt: skip
"""What the text shows, in this order, where any run has it; the JSON has every metric of a known name."""


def comparison_json(comparison: Comparison) -> dict[str, object]:
    """As `compare --json` prints it."""
    return {
        "schema": _SCHEMA,
        "step": comparison.step,
        "window": WINDOW,
        "runs": [_side_json(side) for side in comparison.sides],
        "fixed_set": [_on_the_set_json(one, comparison.sides) for one in comparison.on_the_set],
        "settings": {name: [_json_value(v) for v in row] for name, row in comparison.differs.items()},
    }


def _side_json(side: Side) -> dict[str, object]:
    return {
        "run": json_text(side.path),
        "state": side.run.state,
        "step": side.run.step,
        "metrics": {
            name: {"tag": json_text(v.tag), "step": v.step, "mean": plain_number(v.mean), "points": v.n}
            for name, v in side.levels.items()
        },
        "score": _score_json(side.newest) if side.newest is not None else None,
    }


def _score_json(score: ScoreResult) -> dict[str, object]:
    return {
        "step": score.step,
        "d_acc": plain_number(score.d_acc),
        "d_acc_ci": [plain_number(bound) for bound in score.d_acc_ci],
        "score_diff": plain_number(score.score_diff),
        "pairs": score.pairs,
        "tie_rate": plain_number(score.tie_rate),
        "fixed_set_sha256": score.fixed_set.sha256,
        "checkpoint": json_text(score.checkpoint),
    }


def _on_the_set_json(one: OnTheSet, sides: Sequence[Side]) -> dict[str, object]:
    places = [ord(letter) - ord("A") for letter in one.letters]
    base: dict[str, object] = {
        "run": json_text(sides[places[0]].path),
        "against": json_text(sides[places[1]].path),
        "steps": list(one.steps),
    }
    if one.found is None:
        return {**base, "not_compared": one.reason}
    values = {name: _json_value(value) for name, value in one.found.to_dict().items()}
    return {**base, "on": json_text(one.on), "unlike": list(one.unlike), **values}


def _json_value(value: object) -> object:
    if isinstance(value, (tuple, list)):
        return [_json_value(entry) for entry in value]
    if isinstance(value, float):
        return plain_number(value)
    return value if isinstance(value, int) or value is None else json_text(value)


def comparison_text(comparison: Comparison) -> str:
    """For a person at a terminal. Foreign text in it is made safe."""
    sides = comparison.sides
    shown = [name for name in _COLUMNS if any(name in side.levels for side in sides)]
    head = ["", "run", "state", *(_COLUMNS[name] for name in shown)]
    rows = [
        [
            side.letter,
            _safe(side.run.name),
            f"{side.run.state} {'-' if side.run.step is None else side.run.step}",
            *(_number(side.levels[name].mean) if name in side.levels else "-" for name in shown),
        ]
        for side in sides
    ]
    at = "a run has no step yet: the newest numbers" if comparison.step is None else f"at step {comparison.step}"
    lines = [f"{at}, the mean of the last {WINDOW} points:", *_table(head, rows), ""]
    lines += ["on the fixed set:", *(f"  {side.letter}  {_score_words(side)}" for side in sides)]
    lines += [f"  {_on_the_set_words(one)}" for one in comparison.on_the_set]
    if comparison.differs:
        lines += ["", "set differently:"]
        values = [[name, *(_setting(v) for v in row)] for name, row in comparison.differs.items()]
        lines += _table(["", *(side.letter for side in sides)], values)
    return "\n".join(lines)


def _score_words(side: Side) -> str:
    score = side.newest
    if score is None:
        others = len(side.scores)
        more = f" on its own set by its own recipe; it has {others} other score{'' if others == 1 else 's'}"
        return f"not scored{more if others else ''}"
    low, high = score.interval
    step = "step ?" if score.step is None else f"step {score.step}"
    said = f"{step}: d_acc {score.d_acc:.1%} ({low:.1%} to {high:.1%}), margin {score.score_diff:z.3f}"
    return f"{said}, {score.counted_words}"


def _on_the_set_words(one: OnTheSet) -> str:
    this, other = one.letters
    if one.found is None:
        return f"{this} is not compared with {other}: {one.reason}"
    found = one.found
    said = difference_words(
        found.d_acc_difference, found.d_acc_difference_ci, found.p_value, found.pairs, found.prompts
    )
    verdict = "a real difference" if found.p_value <= LEVEL else "no difference that could be told from chance"
    on = f" on {_safe(one.on)}" if one.on else ""
    unlike = f" (not the same {', '.join(one.unlike)})" if one.unlike else ""
    return f"{this} (step {one.steps[0]}) against {other} (step {one.steps[1]}){on}: {said}: {verdict}{unlike}"


def _setting(value: object) -> str:
    if value is None:
        return "-"
    return _safe(", ".join(map(str, value)) if isinstance(value, (tuple, list)) else value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    words = [i for i in range(len(head)) if head[i] in {"", "run", "state"}]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]


def _number(value: float) -> str:
    return f"{value:z.3f}" if abs(value) < 1000 else f"{value:.4g}"


def _safe(text: object) -> str:
    return sanitise_line(str(text), 80)
