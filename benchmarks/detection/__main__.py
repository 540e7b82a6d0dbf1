"""`python -m benchmarks.detection`: measures, prints the tables and writes them into docs/detection.md."""

from __future__ import annotations

import argparse
import collections
import datetime
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.detection.bound import bounds
from benchmarks.detection.generator import HEALTHY, STEPS, Fault, Noise, Shape, faulty, healthy
from benchmarks.detection.measure import EXPECTED, Outcome, middle, outcomes, rate

REPORTED = 2_000_000
"""First seed of what is reported. Thresholds were chosen on seeds below 100 000."""
NOISES: tuple[Noise, ...] = ("white", "ar", "heavy")
ROUND = 12
"""Healthy runs of a kind in one round; a quarter as many of each fault under each noise."""
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
WARNING = ("warning", "critical")


def main() -> None:
    """Rounds over all kinds until the numbers asked for are reached or the time is up; every table says its n."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection")
    parser.add_argument("--healthy", type=int, default=400, help="runs of each healthy kind")
    parser.add_argument("--faulty", type=int, default=100, help="runs of each fault under each noise")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop beginning rounds after so long")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=Path, help="put the tables between the marks of this file")
    args = parser.parse_args()
    started = time.monotonic()
    found: dict[str, list[Outcome]] = collections.defaultdict(list)
    for first in range(0, max(args.healthy, 4 * args.faulty), ROUND):
        if time.monotonic() - started > 60 * args.minutes:
            break
        shapes = _round(first, args.healthy, args.faulty)
        done = outcomes([shape for members in shapes.values() for shape in members], processes=args.processes)
        names = [name for name, members in shapes.items() for _ in members]
        for name, one in zip(names, done, strict=True):
            found[name].append(one)
        print(f"{first + ROUND} of each healthy kind after {time.monotonic() - started:.0f} s", flush=True)
        text = tables(found, time.monotonic() - started)
        if args.write is not None:
            _write(args.write, text)
    print(tables(found, time.monotonic() - started))


def _round(first: int, most_healthy: int, most_faulty: int) -> dict[str, list[Shape]]:
    shapes: dict[str, list[Shape]] = {}
    for kind in HEALTHY:
        seeds = range(REPORTED + first, REPORTED + min(first + ROUND, most_healthy))
        shapes[kind] = [healthy(kind, seed) for seed in seeds]
    quarter = first // 4
    for fault in EXPECTED:
        for noise in NOISES:
            seeds = range(REPORTED + quarter, REPORTED + min(quarter + ROUND // 4, most_faulty))
            shapes[f"{fault}/{noise}"] = [faulty(_fault(fault), seed, noise) for seed in seeds]
    return {name: members for name, members in shapes.items() if members}


def _fault(name: str) -> Fault:
    return name  # type: ignore[return-value]


def tables(found: dict[str, list[Outcome]], seconds: float) -> str:
    """All tables as Markdown."""
    count = sum(len(members) for members in found.values())
    head = (
        f"Measured on {datetime.date.today().isoformat()}: {count} runs of {STEPS} steps, seeds from {REPORTED} on; "  # noqa: DTZ011
        f"95 % Wilson intervals; {seconds / 60:.0f} minutes."
    )
    return "\n\n".join([head, _false_alarms(found), _against_goals(found), _detections(found), _peers(found)])


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def _false_alarms(found: dict[str, list[Outcome]]) -> str:
    rows = []
    pooled: list[Outcome] = []
    for kind in HEALTHY:
        members = found.get(kind, [])
        if members:
            pooled += members
            rows.append(_false_row(kind, members))
    rows.append(_false_row("**all**", pooled))
    head = ("healthy runs", "n", "any warning or worse", "any critical", "which")
    return "### False alarms\n\n" + _table(head, rows)


def _false_row(kind: str, members: Sequence[Outcome]) -> tuple[object, ...]:
    rules = collections.Counter(rule for o in members for rule in {f.rule for f in o.fired if f.severity in WARNING})
    which = ", ".join(f"{rule} {n}" for rule, n in rules.most_common()) or "-"
    n = len(members)
    warned, critical = (sum(o.alarmed(levels) for o in members) for levels in (WARNING, ("critical",)))
    return kind, n, rate(warned, n), rate(critical, n), which


def _detections(found: dict[str, list[Outcome]]) -> str:
    rows = []
    for fault, rules in EXPECTED.items():
        for noise in NOISES:
            members = found.get(f"{fault}/{noise}", [])
            if not members:
                continue
            delays = [d for o in members if (d := o.delay(rules)) is not None]
            rows.append(
                (fault, noise, len(members), rate(len(delays), len(members)), middle(delays), ", ".join(sorted(rules)),
                 sum(bool(o.before()) for o in members))
            )  # fmt: skip
    head = ("fault", "noise", "n", "found", "delay: median (90 %)", "by", "alarmed before it")
    return "### Detection and delay\n\nDelay in steps from the first step that the fault touches.\n\n" + _table(
        head, rows
    )


GOALS: dict[str, tuple[str, Callable[[int], bool]]] = {
    "abrupt": ("100 %, median <= 3", lambda _: True),
    "linear": (">= 99 %, median <= 55", lambda _: True),
    "mild": (">= 95 %, median <= 25", lambda _: True),
    "mild-accuracy": ("-", lambda _: True),
    "memorise": (">= 99 % within 8 steps", lambda delay: delay <= 8),
}


def _against_goals(found: dict[str, list[Outcome]]) -> str:
    rows = []
    for fault, (goal, counts) in GOALS.items():
        for name, noises in (("all", NOISES), ("AR 0.8 alone", ("ar",))):
            members = [o for noise in noises for o in found.get(f"{fault}/{noise}", [])]
            delays = [d for o in members if (d := o.delay(EXPECTED[fault])) is not None and counts(d)]
            rows.append((fault, name, len(members), rate(len(delays), len(members)), middle(delays), goal))
    named = [o for noise in NOISES for o in found.get(f"memorise/{noise}", [])]
    hits = sum(any(f.rule == "step-change" and "memorised" in f.message for f in o.fired) for o in named)
    rows.append(("memorise, named so", "all", len(named), rate(hits, len(named)), "", ">= 99 %"))
    head = ("fault", "noise", "n", "found", "delay: median (90 %)", "goal")
    return "### Against the goals\n\n" + _table(head, rows) + "\n\n" + _possible()


@functools.cache
def _possible() -> str:
    text = (
        "What is possible under AR 0.8: the delay of an observer who knows phi, sigma, the level and the shape of the "
        "fall, and warns on 1 % of healthy runs (`benchmarks/detection/bound.py`)."
    )
    rows = [(one.fault, one.sees, f"{one.median:.0f} ({one.ninety:.0f})") for one in bounds()]
    return f"{text}\n\n" + _table(("fault", "sees", "delay: median (90 %)"), rows)


def _peers(found: dict[str, list[Outcome]]) -> str:
    from benchmarks.detection.peers import PEERS

    well = [o for kind in HEALTHY for o in found.get(kind, [])]
    names = ["critictui", *PEERS]
    faults = ("abrupt", "linear", "slow", "mild", "memorise", "inversion")
    rows = []
    for name in names:
        row: list[object] = [name, rate(sum(bool(_alarms(o, name)) for o in well), len(well))]
        for fault in faults:
            members = [o for noise in NOISES for o in found.get(f"{fault}/{noise}", [])]
            delays = [d for o in members if (d := _first_after(o, name)) is not None]
            clean = sum(not _early(o, name) for o in members)
            row.append(f"{rate(len(delays), len(members))}; {middle(delays)}; {clean}/{len(members)}")
        rows.append(row)
    head = ("detector", "healthy runs with an alarm", *(f"{fault}: found; delay; clean before" for fault in faults))
    text = "Peers see the logged accuracy; ours sees the run. An alarm is a warning or worse, of any rule."
    return f"### Next to the defaults of other tools\n\n{text}\n\n" + _table(head, rows)


def _alarms(outcome: Outcome, name: str) -> list[int]:
    if name == "critictui":
        return sorted(f.step for f in outcome.fired if f.severity in WARNING)
    return outcome.peers[name]


def _first_after(outcome: Outcome, name: str) -> int | None:
    assert outcome.onset is not None
    after = [step for step in _alarms(outcome, name) if step >= outcome.onset]
    return min(after) - outcome.onset if after else None


def _early(outcome: Outcome, name: str) -> bool:
    assert outcome.onset is not None
    return any(step < outcome.onset for step in _alarms(outcome, name))


def _write(path: Path, text: str) -> None:
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
