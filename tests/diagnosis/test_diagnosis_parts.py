"""Claims, landings, rendering and the gathering of evidence, each by itself and without torch."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.config import Config
from critictui.diagnosis.claims import Claim, parse_claims
from critictui.diagnosis.commands import read_run
from critictui.diagnosis.finding import Cause, Diagnosis, Explanation, Finding
from critictui.diagnosis.inquiry import (
    Question,
    explanation_of,
    find_samples,
    need_subject,
    run_of,
    subject_of,
)
from critictui.diagnosis.render import (
    diagnosis_json,
    diagnosis_markdown,
    diagnosis_text,
    explanation_json,
    explanation_markdown,
    explanation_text,
)
from critictui.diagnosis.script import DiagnosisError
from critictui.diagnosis.simulation import Simulation, Variant, VariantStats, landing, landings, simulation_from
from critictui.scoring.order import usual_fixed_set

# --- claims


def test_the_numbers_of_the_case_are_read():
    claim = parse_claims(["d_acc=45.75%", "score_diff=0.01", "teacher=-0.50", "student=-0.49"], 400)
    assert claim == Claim(0.4575, 0.01, -0.50, -0.49, 400)
    assert claim.level == pytest.approx(-0.495)


@pytest.mark.parametrize("text", ["d_acc=0.4575", " critic/d_acc = 45.75% ", "accuracy=45.75 %"])
def test_a_share_is_the_same_however_it_is_written(text):
    assert parse_claims([text.replace(" %", "%")], None) == Claim(d_acc=0.4575)


def test_the_margin_follows_from_the_means():
    claim = parse_claims(["teacher_score_mean=2.77", "critic/student_score_mean=-3.08"], None)
    assert claim is not None
    assert claim.margin_or_difference == pytest.approx(5.85)
    assert bool(claim)


def test_no_claims_are_none():
    assert parse_claims([], None) is None


@pytest.mark.parametrize(
    ("texts", "pairs", "words"),
    [
        (["d_acc"], None, "write name=value"),
        (["loss=1"], None, "write name=value with one of d_acc"),
        (["d_acc=45.75"], None, "write 0.4575, or 45.75%"),
        (["d_acc=-0.1"], None, "a share between 0 and 1"),
        (["margin=nan"], None, "no finite number"),
        (["margin=5%"], None, "no finite number"),
        (["teacher=x"], None, "no finite number"),
        (["d_acc=0.5"], 0, "must be above 0"),
        ([], 400, "stand behind a --claim"),
    ],
)
def test_a_bad_claim_is_refused_with_the_remedy(texts, pairs, words):
    with pytest.raises(DiagnosisError, match=words):
        parse_claims(texts, pairs)


# --- landings


def variant(id_: str, d_acc: float, margin: float, level: float, heads: float = 0.0, seeds: int = 1) -> Variant:
    """A way of scoring whose seeds scatter by `heads`, as critictui would simulate it on 400 prompts."""
    rng = np.random.default_rng(len(id_))
    stats = []
    for _ in range(seeds):
        a, m, v = rng.normal([d_acc, margin, level], [heads, heads, heads])
        stats.append(
            VariantStats(min(max(a, 0), 1), min(max(a, 0), 1), 0.5, 0, m, 2.0, v + m / 2, v - m / 2, 1.0, 400, 400)
        )
    return Variant(id_, "" if id_ == "real" else "head-missing", f"the {id_} way", tuple(stats))


def drawn(rng: np.random.Generator, v: Variant, pairs: int) -> Claim:
    """What a test of so many pairs measures when it scores in this way, seen through our own finite simulation."""
    s = v.stats[0]
    ours = s.pairs
    share = np.clip(rng.normal(s.d_acc, math.sqrt(s.d_acc * (1 - s.d_acc) / ours)), 0, 1)
    d_acc = rng.binomial(pairs, share) / pairs
    margin = s.margin + rng.normal(0, s.margin_std * math.sqrt(1 / ours + 1 / pairs))
    level = (s.teacher + s.student) / 2 + rng.normal(0, s.level_std * math.sqrt(1 / ours + 1 / pairs))
    return Claim(float(d_acc), float(margin), float(level + margin / 2), float(level - margin / 2), pairs)


@pytest.mark.parametrize("pairs", [100, 400, 2000])
def test_a_claim_drawn_from_a_variant_lands_on_it_in_99_of_100_cases(pairs):
    rng = np.random.default_rng(7)
    v = variant("real", 0.76, 1.2, 0.3)
    hits = sum(landing(v, drawn(rng, v, pairs)).lands for _ in range(2000))
    assert 0.98 <= hits / 2000 <= 0.998


def test_a_claim_from_elsewhere_does_not_land():
    rng = np.random.default_rng(8)
    right, wrong = variant("real", 0.76, 1.2, 0.3), variant("template-slice", 0.55, 0.3, 0.3)
    hits = sum(landing(right, drawn(rng, wrong, 400)).lands for _ in range(500))
    assert hits == 0


def test_of_two_ways_that_land_the_narrow_one_is_first():
    """A random head covers much; numbers that a definite mistake gives are rather that mistake's."""
    narrow, wide = variant("template-slice", 0.5, 0.05, 0.3), variant("random", 0.5, 0.0, 0.0, heads=0.2, seeds=20)
    real = variant("real", 0.76, 1.2, 0.3)
    first, second, last = landings(Simulation(real, (wide, narrow)), Claim(0.5, 0.05, 0.325, 0.275, 400))
    assert (first.variant.id, first.lands) == ("template-slice", True)
    assert (second.variant.id, second.lands) == ("random", True)
    assert (last.variant.id, last.lands) == ("real", False)


def test_students_of_one_prompt_do_not_count_as_independent():
    v = variant("real", 0.76, 1.2, 0.3)
    four = Variant("real", "", "x", (VariantStats(**{**_fields(v.stats[0]), "prompts": 100}),))
    claim = Claim(d_acc=0.70, pairs=400)
    assert abs(landing(four, claim).z["d_acc"]) < abs(landing(v, claim).z["d_acc"])


def _fields(stats: VariantStats) -> dict[str, float]:
    return {name: getattr(stats, name) for name in stats.__slots__}


def test_a_simulation_survives_json():
    v = variant("real", 0.76, 1.2, 0.3)
    stored = {"id": "real", "cause": "", "label": "own", "stats": [_fields(v.stats[0])]}
    result = json.loads(json.dumps({"variants": [stored], "length_bias": 0.2, "tokenizer": "ab"}))
    found = simulation_from(result)
    assert found.real.stats == v.stats
    assert (found.length_bias, found.tokenizer) == (0.2, "ab")


# --- rendering

HOSTILE = "a|b\n# <img src=x> [click](http://x) `rm` *now* \\"
FOUND = Diagnosis(
    "broken",
    (Finding("weights-damaged", "critical", HOSTILE, {"worst": math.nan, "n": np.float32(2.5)}, "copy it again"),),
    {"second_load": math.inf, "checkpoint": "/x"},
)
WHY = Explanation(
    "Training says one thing",
    (
        Cause("head-missing", "proven", HOSTILE, {"z": {"d_acc": -math.inf}}, "load it strictly"),
        Cause("prompt-echo", "untested", "not simulated", {}, "give a set"),
        Cause("truncation", "untested", "not simulated", {}, "give a set"),
        Cause("by-chance", "ruled-out", "no", {}, "never shown"),
    ),
    {"simulated": ({"d_acc": math.nan},)},
)


@pytest.mark.parametrize("said", [diagnosis_json(FOUND), explanation_json(WHY)])
def test_json_is_strict_whatever_was_measured(said):
    text = json.dumps(said, allow_nan=False)
    assert json.loads(text)["schema"] == 1
    assert "NaN" not in text


@pytest.mark.parametrize("report", [diagnosis_markdown(FOUND, HOSTILE), explanation_markdown(WHY, HOSTILE)])
def test_foreign_text_is_no_markup_in_a_report(report):
    lines = report.splitlines()
    assert sum(line.startswith("# ") for line in lines) == 1
    row = next(line for line in lines if line.startswith(("| critical", "| proven")))
    cells = row.replace("\\\\", "").replace("\\|", "").split("|")
    assert len(cells) == 6
    assert "<img" not in report
    unescaped = re.sub(r"\\.", "", report)
    for markup in ("[", "]", "`", "*"):
        assert markup not in unescaped


def test_text_says_the_worst_first_and_the_same_thing_once():
    assert diagnosis_text(FOUND).startswith("verdict: broken\n!! weights-damaged: ")
    lines = explanation_text(WHY).splitlines()
    assert lines[0] == WHY.headline
    assert "?  untested   prompt-echo, truncation: not simulated" in lines
    assert not any("never shown" in line for line in lines)


def test_what_was_not_scored_is_not_called_sound_without_a_word():
    assert "nothing was scored" in diagnosis_text(Diagnosis("sound", (), {"measured": False}))
    assert diagnosis_text(Diagnosis("sound", (), {"measured": True})).splitlines()[0] == "verdict: sound"


# --- gathering


def test_the_run_of_a_checkpoint_is_above_it():
    assert run_of(Path("/r/global_step_5/critic")) == Path("/r")
    assert run_of(Path("/r/checkpoint-5")) == Path("/r")


@pytest.mark.parametrize("below", ["", "global_step_60", "global_step_60/critic"])
def test_a_checkpoint_is_found_from_the_run_or_from_its_folder(demo_run, below):
    run = demo_run("healthy")
    subject = subject_of(run / below, Config())
    assert subject.run_dir == run
    assert subject.fixed_set == run / "fixed_set.jsonl"
    assert subject.checkpoint.step == (60 if below else 72)
    assert subject.checkpoint.path not in {n.checkpoint.path for n in subject.neighbours}
    assert len(subject.neighbours) == 5


def test_a_run_without_a_checkpoint_has_no_subject(tmp_path):
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        subject_of(tmp_path, Config())
    with pytest.raises(DiagnosisError, match="no complete checkpoint"):
        need_subject(None, tmp_path)


def test_the_configured_fixed_set_comes_before_the_one_in_the_run(tmp_path):
    assert usual_fixed_set(tmp_path, Config(), ()) is None
    (tmp_path / "fixed_test_set.pt").touch()
    assert usual_fixed_set(tmp_path, Config(), ()) == tmp_path / "fixed_test_set.pt"
    (tmp_path / "fixed_set.jsonl").touch()
    assert usual_fixed_set(tmp_path, Config(), ()) == tmp_path / "fixed_set.jsonl"
    assert usual_fixed_set(tmp_path, Config(fixed_set="other.jsonl"), ()) == tmp_path / "other.jsonl"


def test_the_newest_saved_responses_are_found(tmp_path):
    assert find_samples(tmp_path) is None
    for age, name in enumerate(["training_samples_step_20.pt", "training_samples_step_10.pt"]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    assert find_samples(tmp_path) == tmp_path / "training_samples_step_20.pt"


# --- what cannot be judged is said to be so


def logged(path: Path, values: list[float]) -> Path:
    (path / "train.log").write_text("".join(f"step:{i} - critic/d_acc:{v:.4f}\n" for i, v in enumerate(values, 1)))
    return path


def verdicts(explanation: Explanation) -> dict[str, str]:
    return {c.id: c.verdict for c in explanation.causes}


def test_without_any_test_nothing_about_the_test_is_ruled_out(tmp_path):
    explanation = explanation_of(read_run(logged(tmp_path, [0.75] * 20), Config()), None, Question(), None, None)
    found = verdicts(explanation)
    about_the_test = {
        "head-missing",
        "score-definition",
        "accuracy-definition",
        "prompt-echo",
        "truncation",
        "by-chance",
    }
    assert {found[c] for c in about_the_test} == {"untested"}
    assert "no test to compare with" in explanation.headline


def test_without_a_checkpoint_the_curve_alone_is_judged(tmp_path):
    run = read_run(logged(tmp_path, [0.76 + 0.01 * (i % 3) for i in range(30)]), Config())
    found = verdicts(explanation_of(run, None, Question(Claim(d_acc=0.4575, pairs=400)), None, None))
    assert found["by-chance"] == "ruled-out"
    assert found["train-average"] == found["collapsed"] == found["memorised"] == "ruled-out"
    assert found["head-missing"] == found["score-definition"] == "untested"


def test_a_claim_without_pairs_leaves_chance_untested(tmp_path):
    run = read_run(logged(tmp_path, [0.76 + 0.01 * (i % 3) for i in range(30)]), Config())
    explanation = explanation_of(run, None, Question(Claim(d_acc=0.4575)), None, None)
    chance = next(c for c in explanation.causes if c.id == "by-chance")
    assert (chance.verdict, chance.next_step) == ("untested", "pass --pairs N")


def test_a_claim_of_means_alone_has_a_headline(tmp_path):
    run = read_run(logged(tmp_path, [0.75] * 20), Config())
    headline = explanation_of(run, None, Question(Claim(teacher=-0.5, student=-0.49)), None, None).headline
    assert "-0.01" in headline


def test_a_run_that_went_on_is_judged_at_the_checkpoints_step(demo_run):
    run = demo_run("memorise")
    first = subject_of(run / "global_step_24", Config())
    explanation = explanation_of(read_run(run, Config()), first, Question(Claim(d_acc=0.72, pairs=400)), None, None)
    assert explanation.facts["step"] == 24
    average = next(c for c in explanation.causes if c.id == "train-average")
    assert "that number is of another critic" in average.message


@pytest.mark.parametrize(("head", "verdict"), [("reward_head", "likely"), ("", "proven")])
def test_a_head_under_another_name_is_no_proof_that_there_is_none(tmp_path, forms, head, verdict):
    critic = forms.write_hf(tmp_path / "critic", forms.weights(head=head))
    run = read_run(logged(tmp_path, [0.76 + 0.01 * (i % 3) for i in range(30)]), Config())
    said = explanation_of(run, subject_of(critic, Config()), Question(Claim(d_acc=0.4575, pairs=400)), None, None)
    missing = next(cause for cause in said.causes if cause.id == "head-missing")
    assert missing.verdict == verdict
    assert ("reward_head.weight" in missing.message) == bool(head)
