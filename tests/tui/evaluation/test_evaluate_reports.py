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

from critictui.diagnosis.finding import Diagnosis, Explanation
from critictui.diagnosis.script import DiagnosisError
from critictui.monitor.snapshot import Snapshot
from critictui.scoring.comparison import comparison_words
from critictui.scoring.pairs import chosen_pairs, pairs_of_rows
from critictui.scoring.recipe import PRESETS
from critictui.scoring.result import ResponseRow, ScoreResult
from critictui.tui.app import CriticApp
from critictui.tui.evaluation.items import diagnosis_items, explanation_items, item_line, profile_chart, ways_table
from critictui.tui.evaluation.question import question_from
from critictui.tui.evaluation.said import score_facts, score_line
from critictui.tui.glyphs import ASCII, UNICODE
from critictui.tui.screens.diagnosis import DiagnosisScreen, SamplesScreen
from critictui.tui.screens.pairs import PairScreen, PairsScreen
from critictui.tui.screens.report import report_path
from critictui.tui.screens.scores import ScoresScreen

Showing = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Settle = Callable[[Pilot[None]], Awaitable[None]]
TextOf = Callable[[CriticApp], str]

GROUPS = [(2.0, [0.5, 3.5]), (1.0, [1.0, -1.0]), (0.0, [0.25])]

Rows = Callable[[list[tuple[float, list[float]]]], list[ResponseRow]]


# --- pairs


def test_pairs_come_worst_margin_first_and_ties_and_missing_scores_are_named(rows_of: Rows) -> None:
    pairs = pairs_of_rows(rows_of([*GROUPS, (float("nan"), [1.0])]))
    assert [p.margin for p in pairs[:-1]] == [-1.5, -0.25, 0.0, 1.5, 2.0]
    assert [p.verdict for p in pairs] == ["wrong", "wrong", "tie", "right", "right", "no score"]


def test_pairs_are_filtered_by_text_and_turned_round(rows_of: Rows) -> None:
    pairs = pairs_of_rows(rows_of(GROUPS))
    some = chosen_pairs(pairs, wrong_only=False, best_first=True, matches=lambda text: text == "question 1")
    assert [p.margin for p in some] == [2.0, 0.0]
    wrong = chosen_pairs(pairs, wrong_only=True, best_first=False, matches=lambda text: True)
    assert [p.verdict for p in wrong] == ["wrong", "wrong", "tie"]


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
        assert "McNemar by prompt p = " in text
        assert "no change that could be told from chance" in " ".join(text.split())


def test_one_pair_is_left_out_in_the_singular(rows_of: Rows, result_of: Callable[..., ScoreResult]) -> None:
    result = result_of(310, rows_of([(1.0, [0.0, float("nan")])]))
    assert any("1 pair is left out; 1 remain" in warning for warning in result.warnings)


def test_a_scores_set_and_recipe_are_names_and_their_hash_stands_in_the_detail(
    rows_of: Rows, result_of: Callable[..., ScoreResult]
) -> None:
    score = dataclasses.replace(result_of(310, rows_of([(1.0, [0.0])])), path=Path("x.json"))
    line = score_line(score, 140, UNICODE).plain
    assert "fixed.jsonl, gad-fork" in line
    assert score.series not in line
    assert score.series in score_facts(score, UNICODE).plain


@pytest.mark.parametrize("width", [60, 78, 118, 200])
def test_a_score_of_another_set_or_recipe_says_so_at_every_width(
    width: int, rows_of: Rows, result_of: Callable[..., ScoreResult]
) -> None:
    score = dataclasses.replace(
        result_of(310, rows_of([(1.0, [0.0])])), recipe=PRESETS["gad"].to_dict(), path=Path("x.json")
    )
    assert "other: fixed" in score_line(score, width, UNICODE, own=False).plain
    assert ("other: fixed.jsonl, gad" in score_line(score, width, UNICODE, own=False).plain) == (width > 60)
    assert "other" not in score_line(score, width, UNICODE).plain


async def test_the_list_of_scores_names_those_that_are_not_the_runs_own(
    scored: Snapshot, showing: Showing, settle: Settle, text_of: TextOf
) -> None:
    main = scored.watched[0]
    mixed = dataclasses.replace(scored, watched=(dataclasses.replace(main, own_scores=main.scores[:1]),))
    async with showing(mixed, (80, 24)) as pilot:
        await pilot.press("E")
        await settle(pilot)
        rows = [line for line in text_of(pilot.app).splitlines() if line.startswith((" 310", " 300"))]  # type: ignore[arg-type]
        assert ["other: fixed.jsonl, gad-fork" in row for row in rows] == [True, False]


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
        ({"step": 3}, "not compared with 3"),
        ({"step": 3, "pairs": 4, "p_value": "x", "d_acc_difference_ci": [None, 1]}, "- pts, p unknown"),
    ],
)
def test_a_foreign_comparison_in_a_result_file_harms_nothing(
    previous: object, said: str, rows_of: Rows, result_of: Callable[..., ScoreResult]
) -> None:
    result = result_of(310, rows_of(GROUPS), previous=previous)
    assert said in score_line(result, 120, UNICODE).plain
    assert (comparison_words(result) == "") == (said == "first of its set")


# --- answers


def test_state_is_told_by_sign_and_word(diagnosis: Diagnosis, explanation: Explanation) -> None:
    for glyphs in (UNICODE, ASCII):
        for items in (diagnosis_items(diagnosis, glyphs), explanation_items(explanation, glyphs)):
            lines = [item_line(item, 100, glyphs).plain for item in items]
            assert all(item.state in line for item, line in zip(items, lines, strict=True))
            assert len({item.sign for item in items}) >= 3
            if glyphs.ascii:
                assert all(line.isascii() or "±" in line for line in lines)


def test_the_ways_stand_on_a_line_from_0_to_1_with_the_tested_number(explanation: Explanation) -> None:
    ways = explanation.facts["simulated"]
    assert isinstance(ways, list)
    text = ways_table(ways, 0.4575, 120, UNICODE).plain
    real, random = text.splitlines()[1:3]
    assert real.index("●") > random.index("◉")
    assert real.index("│") == random.index("◉")
    assert "0.470 ±0.180" in random
    assert "yes" in random
    assert "no" in real
    assert ways_table(ways, float("nan"), 60, ASCII).plain.isascii()


def test_the_profile_is_a_chart_of_both_roles(diagnosis: Diagnosis) -> None:
    data = profile_chart(diagnosis.facts)
    assert data is not None
    assert [(line.label, len(line.series)) for line in data.lines] == [("teacher", 20), ("student", 20)]
    assert profile_chart({"profile_teacher": [None, None]}) is None


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
        deadline = time.monotonic() + 60
        while "broken" not in text_of(pilot.app):  # type: ignore[arg-type]
            assert time.monotonic() < deadline
            await settle(pilot)
        text = text_of(pilot.app)  # type: ignore[arg-type]
        assert "incomplete" in text
        assert "2 of 8 shards are still written" in text
