"""Diagnoses, explanations, scores and pairs on the screen: what they show of answers that are known."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from critictui.diagnosis.finding import Cause, Diagnosis, Explanation, Finding
from critictui.diagnosis.script import DiagnosisError
from critictui.monitor.snapshot import Snapshot
from critictui.scoring.recipe import Recipe
from critictui.scoring.result import FixedSetRef, ResponseRow, ScoreResult
from critictui.scoring.results import save_result
from critictui.scoring.statistics import compare_paired, pairs_of
from critictui.scoring.summary import summarise
from critictui.tui.app import CriticApp
from critictui.tui.evaluation.inquiries import DiagnosisInquiry, ExplanationInquiry, question_from
from critictui.tui.evaluation.items import diagnosis_items, explanation_items, item_line, profile_chart, ways_table
from critictui.tui.evaluation.pairs import chosen_pairs, pairs_of_rows
from critictui.tui.evaluation.said import comparison_words, score_line
from critictui.tui.glyphs import ASCII, UNICODE
from critictui.tui.screens.diagnosis import DiagnosisScreen, SamplesScreen
from critictui.tui.screens.explanation import ExplanationScreen
from critictui.tui.screens.pairs import PairScreen, PairsScreen
from critictui.tui.screens.report import report_path
from critictui.tui.screens.scores import ScoresScreen

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]
TextOf = Callable[[CriticApp], str]

HOSTILE = "a [bold]text[/] with \x1b]52;c;aGk=\x07 and \x1b[31mcolour, \u202ereversed"


def make_rows(scores: list[tuple[float, list[float]]]) -> list[ResponseRow]:
    """A teacher and its students a prompt."""
    rows = []
    for number, (teacher, students) in enumerate(scores):
        for index, value in enumerate([teacher, *students]):
            role = "student" if index else "teacher"
            text = f"{role} of {number}" if number else HOSTILE
            rows.append(
                ResponseRow(f"p{number}", f"question {number}", role, max(index - 1, 0), text, value, 12, value, 1.0,
                            value - 2, value + 2, False, "stop")
            )  # fmt: skip
    return rows


def make_result(step: int, rows: list[ResponseRow], **extra: object) -> ScoreResult:
    """Their score."""
    return summarise(
        rows, recipe=Recipe(), fixed_set=FixedSetRef("/sets/fixed.jsonl", "cd" * 32, 3, 5), step=step,
        checkpoint=f"/runs/warmup-v10/global_step_{step}/critic", fingerprint=f"{step:032d}",
        values={"mean": 0.5, "std": 1.5, "min": -4.0, "max": 5.0}, tokens=96, seconds={"total": 3.0}, device="cpu",
        dtype="float32", versions={}, extra=extra,
    )  # fmt: skip


GROUPS = [(2.0, [0.5, 3.5]), (1.0, [1.0, -1.0]), (0.0, [0.25])]


# --- pairs


def test_pairs_come_worst_margin_first_and_ties_and_missing_scores_are_named() -> None:
    pairs = pairs_of_rows(make_rows([*GROUPS, (float("nan"), [1.0])]))
    assert [p.margin for p in pairs[:-1]] == [-1.5, -0.25, 0.0, 1.5, 2.0]
    assert [p.verdict for p in pairs] == ["wrong", "wrong", "tie", "right", "right", "no score"]


def test_pairs_are_filtered_by_text_and_turned_round() -> None:
    pairs = pairs_of_rows(make_rows(GROUPS))
    some = chosen_pairs(pairs, wrong_only=False, best_first=True, matches=lambda text: text == "question 1")
    assert [p.margin for p in some] == [2.0, 0.0]
    wrong = chosen_pairs(pairs, wrong_only=True, best_first=False, matches=lambda text: True)
    assert [p.verdict for p in wrong] == ["wrong", "wrong", "tie"]


@pytest.fixture
def scored(tmp_path: Path, made_of: Callable[..., Snapshot]) -> Snapshot:
    """Two scored checkpoints on disk, the second compared with the first."""
    before, after = make_rows([(1.0, [2.0, 0.0]), (0.0, [1.0, -1.0]), (3.0, [2.0])]), make_rows(GROUPS)
    first = make_result(300, before)
    compared = {"step": 300, "d_acc": first.d_acc, **compare_paired(pairs_of(after), pairs_of(before)).to_dict()}
    second = make_result(310, after, previous=compared)
    kept = [
        dataclasses.replace(result, path=save_result(tmp_path / "run", result, rows))
        for result, rows in ((first, before), (second, after))
    ]
    snapshot = made_of()
    watched = dataclasses.replace(snapshot.watched[0], scores=tuple(kept))
    return dataclasses.replace(snapshot, watched=(watched,))


async def test_the_history_compares_each_score_with_the_one_before(
    scored: Snapshot, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(scored, (120, 36)) as pilot:
        await pilot.press("E")
        await settle(pilot)
        text = text_of(pilot.app)  # type: ignore[arg-type]
        assert isinstance(pilot.app.screen, ScoresScreen)
        rows = [line for line in text.splitlines() if line.startswith((" 310", " 300"))]
        assert rows[0].startswith(" 310")
        assert "pts, p = " in rows[0]
        assert "first of its set" in rows[1]
        assert "against step 300: d_acc" in text
        assert "McNemar p = " in text
        assert "no change that could be told from chance" in " ".join(text.split())


async def test_enter_lists_the_pairs_and_reads_one_whose_text_does_nothing(
    scored: Snapshot, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(scored, (120, 36)) as pilot:
        await pilot.press("E")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, PairsScreen)
        assert "5 pairs, 2 wrong" in text_of(pilot.app)  # type: ignore[arg-type]
        await pilot.press("w")
        await settle(pilot)
        assert "3 shown" in text_of(pilot.app)  # type: ignore[arg-type]
        await pilot.press("w", "slash")
        await settle(pilot)
        assert isinstance(pilot.app.focused, Input)
        await pilot.press(*"question_0".replace("_", " "), "enter")
        await settle(pilot)
        assert "2 shown with 'question 0'" in text_of(pilot.app)  # type: ignore[arg-type]
        await pilot.press("enter")
        await settle(pilot)
        text = text_of(pilot.app)  # type: ignore[arg-type]
        assert isinstance(pilot.app.screen, PairScreen)
        assert "margin -1.500 · wrong" in text
        assert "a [bold]text[/] with  and colour, \\u202ereversed" in text
        assert "\x1b" not in text
        assert "12 tokens" in text
        assert "values 0 to 4.00" in text
        await pilot.press("n")
        await settle(pilot)
        assert "pair 2 of 2" in text_of(pilot.app)  # type: ignore[arg-type]


async def test_without_its_rows_a_score_says_so_in_one_line(
    scored: Snapshot, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    path = scored.watched[0].scores[-1].path
    assert path is not None
    path.with_suffix(".parquet").unlink()
    async with showing(scored, (120, 30)) as pilot:
        await pilot.press("E")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert "the responses of this score cannot be read" in " ".join(text_of(pilot.app).split())  # type: ignore[arg-type]


async def test_enter_on_a_scored_checkpoint_shows_its_score(scored: Snapshot, showing: Showing, settle: Settle) -> None:
    async with showing(scored, (120, 30)) as pilot:
        await pilot.press("c")
        await settle(pilot)
        await pilot.press("down", "enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ScoresScreen)
        chosen = pilot.app.screen._chosen()
        assert chosen is not None
        assert chosen.step == 300


@pytest.mark.parametrize(
    ("previous", "said"),
    [
        ("x", "first of its set"),
        ({"step": "x"}, "first of its set"),
        ({"step": 3}, "- pts, p unknown"),
        ({"step": 3, "p_value": "x", "d_acc_difference_ci": [None, 1]}, "- pts, p unknown"),
    ],
)
def test_a_foreign_comparison_in_a_result_file_harms_nothing(previous: object, said: str) -> None:
    result = make_result(310, make_rows(GROUPS), previous=previous)
    assert said in score_line(result, 120, UNICODE).plain
    assert (comparison_words(result) == "") == (said == "first of its set")


# --- answers

SAMPLE = {
    "prompt_id": "p1", "role": "student", "text_chars": 30, "prompt_tokens": 9, "response_tokens": 12,
    "scored_tokens": 11, "value_min": -2.0, "value_max": 3.0, "value_mean": 0.5, "score": 0.5, "ends_in_eos": True,
    "truncated": False, "text": HOSTILE,
}  # fmt: skip
SPREAD = {"mean": 0.4, "std": 1.2, "min": -3.0, "max": 4.0, "n": 200}
DIAGNOSIS = Diagnosis(
    "broken",
    (
        Finding("head-missing", "critical", "a second load differs", {"difference": 0.7}, "load it strictly"),
        Finding("length-bias", "warning", "score follows length", {"spearman": 0.41}, "balance lengths"),
    ),
    {
        "checkpoint": "/runs/x", "step": 310, "parameters": 7_615_616_513, "dtypes": ["bfloat16"],
        "head": {"weight_name": "score.weight", "mean": 0.001, "std": 0.02, "sha256": "0" * 64},
        "d_acc": 0.4575, "d_acc_low": 0.409, "d_acc_high": 0.506, "margin": 0.01, "pairs": 400, "tie_rate": 0.0,
        "teacher": SPREAD, "student": SPREAD, "values": SPREAD, "above_10": 0.0,
        "profile_teacher": [0.1 * i for i in range(20)], "profile_student": [-0.1 * i for i in range(20)],
        "samples": [SAMPLE, SAMPLE | {"score": -1.0, "role": "teacher", "scored_tokens": 0}],
    },
)  # fmt: skip
WAYS = [
    {"way": "real", "cause": "", "d_acc": 0.76, "d_acc_std": 0.0, "margin": 5.8, "margin_std": 0.0, "lands": False},
    {"way": "random-head-hf", "cause": "head-missing", "d_acc": 0.47, "d_acc_std": 0.18, "margin": -0.01,
     "margin_std": 0.1, "lands": True},
]  # fmt: skip
EXPLANATION = Explanation(
    "Training logged d_acc 0.760 at step 310, the test says 0.458: most likely head-missing.",
    (
        Cause("head-missing", "likely", "A random head gives 0.47 ± 0.18", {"d_acc": 0.47}, "load it with score"),
        Cause("by-chance", "ruled-out", "400 pairs: 40.9 to 50.6 %"),
        Cause("sampling-mismatch", "untested", "no training config was found", {}, "show critictui the config"),
    ),
    {"logged_d_acc": 0.76, "test_d_acc": 0.4575, "simulated": WAYS},
)  # fmt: skip


def test_state_is_told_by_sign_and_word() -> None:
    for glyphs in (UNICODE, ASCII):
        for items in (diagnosis_items(DIAGNOSIS, glyphs), explanation_items(EXPLANATION, glyphs)):
            lines = [item_line(item, 100, glyphs).plain for item in items]
            assert all(item.state in line for item, line in zip(items, lines, strict=True))
            assert len({item.sign for item in items}) >= 3
            if glyphs.ascii:
                assert all(line.isascii() or "±" in line for line in lines)


def test_the_ways_stand_on_a_line_from_0_to_1_with_the_tested_number() -> None:
    text = ways_table(WAYS, 0.4575, 120, UNICODE).plain
    real, random = text.splitlines()[1:]
    assert real.index("●") > random.index("◉")
    assert real.index("│") == random.index("◉")
    assert "0.470 ±0.180" in random
    assert "yes" in random
    assert "no" in real
    assert ways_table(WAYS, float("nan"), 60, ASCII).plain.replace("±", "").isascii()


def test_the_profile_is_a_chart_of_both_roles() -> None:
    data = profile_chart(DIAGNOSIS.facts)
    assert data is not None
    assert [(line.label, len(line.series)) for line in data.lines] == [("teacher", 20), ("student", 20)]
    assert profile_chart({"profile_teacher": [None, None]}) is None


class Answered(DiagnosisInquiry):
    """A diagnosis that is there."""

    async def begin(self, main: object = None, *, confirmed: bool = False) -> None:
        self.diagnosis, self._behaviour = DIAGNOSIS, ("", {})
        self.stage, self.version = "done", 1
        self._bench.told()


class Explained(ExplanationInquiry):
    """An explanation that is there."""

    async def begin(self, main: object = None, *, confirmed: bool = False) -> None:
        self.explanation, self.stage = EXPLANATION, "done"
        self.version += 1
        self._bench.told()


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiagnosisScreen, "kind", Answered)
    monkeypatch.setattr(ExplanationScreen, "kind", Explained)


@pytest.mark.usefixtures("answered")
async def test_the_verdict_comes_first_and_the_chosen_finding_shows_its_evidence(
    showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(size=(120, 36)) as pilot:
        await pilot.press("d")
        await settle(pilot)
        text = text_of(pilot.app)  # type: ignore[arg-type]
        assert text.splitlines()[1].strip().startswith("▲ broken: a second load differs (1 critical, 1 warning)")
        assert "do: load it strictly" in text
        assert "difference" in text
        await pilot.press("down")
        await settle(pilot)
        assert "do: balance lengths" in text_of(pilot.app)  # type: ignore[arg-type]
        await pilot.press("down", "enter")
        await settle(pilot)
        text = text_of(pilot.app)  # type: ignore[arg-type]
        assert "token values" in text
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(pilot.app.screen, DiagnosisScreen)
        await pilot.press("s")
        await settle(pilot)
        text = text_of(pilot.app)  # type: ignore[arg-type]
        assert isinstance(pilot.app.screen, SamplesScreen)
        assert "0/12" in text
        assert "\x1b" not in text


@pytest.mark.usefixtures("answered")
async def test_the_report_is_copied_and_saved_as_markdown(
    showing: Showing, settle: Settle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with showing() as pilot:
        copied: list[str] = []
        monkeypatch.setattr(pilot.app, "copy_to_clipboard", copied.append)
        await pilot.press("d")
        await settle(pilot)
        await pilot.press("y", "w")
        await settle(pilot)
        assert copied[0].startswith("# Diagnosis of warmup-v10, step 310")
        saved = list((tmp_path / "state").rglob("*.md"))
        assert [path.read_text() for path in saved] == copied
        assert saved[0].name.startswith("diagnose-step-310-")
        inquiry = pilot.app.screen.inquiry  # type: ignore[attr-defined]
        assert report_path(inquiry, 0.0).name == "diagnose-step-310-19700101-000000.md"


@pytest.mark.usefixtures("answered")
async def test_numbers_of_another_test_are_typed_and_a_mistake_in_them_is_said(
    showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    async with showing(size=(120, 36)) as pilot:
        await pilot.press("x")
        await settle(pilot)
        text = text_of(pilot.app)  # type: ignore[arg-type]
        assert "most likely head-missing" in text.splitlines()[1]
        assert "random-head-hf" in text
        await pilot.press("t")
        await settle(pilot)
        await pilot.press(*"d_acc=7", "enter")
        await settle(pilot)
        assert any("d_acc is a share between 0 and 1" in str(n.message) for n in pilot.app._notifications)
        assert isinstance(pilot.app.focused, Input)
        pilot.app.focused.value = "d_acc=45.75% margin=0.01 pairs=400"
        await pilot.press("enter")
        await settle(pilot)
        assert "against d_acc=45.75% margin=0.01 pairs=400" in text_of(pilot.app)  # type: ignore[arg-type]


def test_a_question_is_read_from_one_line(tmp_path: Path) -> None:
    script = tmp_path / "my score.py"
    script.write_text("x = 1\n")
    question = question_from(f"d_acc=0.4575 teacher=-0.50 student=-0.49 pairs=400 '{script}'")
    assert question.claim is not None
    assert (question.claim.d_acc, question.claim.pairs) == (0.4575, 400)
    assert question.script is not None
    assert question_from("").claim is None


@pytest.mark.parametrize(
    "text", ["d_acc", "d_acc=x", "pairs=-3", "pairs=400", "'open", "script=/gone.py", "samples=/x"]
)
def test_a_question_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DiagnosisError):
        question_from(text)


# --- a checkpoint's files, without the worker


async def test_an_incomplete_checkpoint_is_diagnosed_from_its_files(
    showing: Showing, settle: Settle, text_of: TextOf, made_of: Callable[..., Snapshot], tmp_path: Path
) -> None:
    snapshot = made_of()
    watched = snapshot.watched[0]
    run = dataclasses.replace(watched.run, path=tmp_path)
    snapshot = dataclasses.replace(snapshot, watched=(dataclasses.replace(watched, run=run),))
    async with showing(snapshot, (120, 36)) as pilot:
        await pilot.press("c")
        await settle(pilot)
        await pilot.press("down", "down", "d")
        deadline = time.monotonic() + 20
        while "broken" not in text_of(pilot.app):  # type: ignore[arg-type]
            assert time.monotonic() < deadline
            await settle(pilot)
        text = text_of(pilot.app)  # type: ignore[arg-type]
        assert "incomplete" in text
        assert "2 of 8 shards are still written" in text
