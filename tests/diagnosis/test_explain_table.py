"""Every known fault is put first by `explain`, and nothing beside it is called proven or likely.

The claims are measured by naive scoring functions written here, on other prompts than those that the mistakes are
simulated on. The table of `docs/explain.md` is written by `python -m docs.explain_table`, which runs these cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from critictui.config import Config  # noqa: E402
from critictui.demo import task  # noqa: E402
from critictui.demo.task import make_pairs  # noqa: E402
from critictui.diagnosis.claims import Claim  # noqa: E402
from critictui.diagnosis.commands import read_run  # noqa: E402
from critictui.diagnosis.finding import Explanation  # noqa: E402
from critictui.diagnosis.inquiry import Question, Subject, explanation_of, subject_of  # noqa: E402
from critictui.diagnosis.script import read_script  # noqa: E402
from critictui.scoring.read_set import read_fixed_set  # noqa: E402
from critictui.scoring.recipe import PRESETS, Recipe  # noqa: E402
from critictui.scoring.result import ScoreResult  # noqa: E402
from critictui.worker.load import load_critic  # noqa: E402
from critictui.worker.replay import replay  # noqa: E402
from critictui.worker.samples import read_samples  # noqa: E402
from critictui.worker.score import score_critic  # noqa: E402
from critictui.worker.simulate import simulate  # noqa: E402

pytestmark = pytest.mark.xdist_group("diagnosis")

PAIRS = 300
CUT = 42
"""A length that leaves the demo's students a few tokens behind their prompts; `Naive.cut` cuts there too."""


@dataclass(frozen=True)
class Bench:
    """A sound run, its checkpoint, and the mistakes simulated on a fixed set of its task."""

    run: Path
    critic: object
    subject: Subject
    simulated: dict[str, object]
    simulated_last: dict[str, object]
    """The same under the recipe of the last token with EOS."""
    own: ScoreResult
    """critictui's score of the checkpoint on that fixed set."""
    others: list[object]
    """Pairs that no fixed set holds."""
    scratch: Path
    demo_run: Callable[[str], Path]


@pytest.fixture(scope="module")
def bench(demo_run, write_set, tmp_path_factory) -> Bench:
    torch.set_num_threads(1)
    scratch = tmp_path_factory.mktemp("explain")
    run = demo_run("healthy")
    fixed = write_set(scratch / "fixed_set.jsonl", make_pairs(PAIRS, seed=77))
    small = write_set(scratch / "small_set.jsonl", make_pairs(100, seed=78))
    subject = subject_of(run, Config(), fixed)
    critic = load_critic(subject.checkpoint)
    return Bench(
        run, critic, subject,
        simulate(critic, read_fixed_set(fixed), Recipe(), limits=(CUT,)),
        simulate(critic, read_fixed_set(small), PRESETS["gad"], limits=(CUT,)),
        score_critic(critic, read_fixed_set(fixed), Recipe())[0],
        make_pairs(PAIRS, seed=99), scratch, demo_run,
    )  # fmt: skip


def fresh_head(size: int) -> tuple[np.ndarray, float]:
    random = np.random.default_rng(31337).uniform(-1, 1, size + 1) / math.sqrt(size)
    return random[:size].astype(np.float32), float(random[size])


def measured(bench: Bench, naive: type, way: str, pairs: list[object]) -> Claim:
    """What a script that scores in one of `Naive`'s ways measures on `pairs` with the checkpoint's own head."""
    own = naive(bench.critic)
    return own.claim(getattr(own, way), pairs)


def script(bench: Bench, source: str):
    path = bench.scratch / "score.py"
    path.write_text(source)
    return read_script(path)


def explained(bench: Bench, claim: Claim | None, *, last: bool = False, **change: object) -> Explanation:
    subject = replace(bench.subject, **change.pop("subject", {}))
    if last:
        subject = replace(subject, recipe=PRESETS["gad"].to_dict())
    question = Question(claim, change.pop("script", None))
    run = read_run(change.pop("run", bench.run), Config())
    simulated = change.pop("simulated", bench.simulated_last if last else bench.simulated)
    return explanation_of(run, subject, question, simulated, change.pop("replayed", None))


def own_result(bench: Bench, fixed: Path):
    return score_critic(bench.critic, read_fixed_set(fixed), Recipe())[0]


def logged_run(path: Path, d_acc: np.ndarray, teacher: float = 0.4) -> Path:
    """A run directory whose log says these d_acc; the margin follows them."""
    path.mkdir(exist_ok=True)
    lines = [
        f"step:{i} - critic/d_acc:{a:.5f} - critic/score_diff:{6 * (a - 0.5):.5f} "
        f"- critic/teacher_score_mean:{teacher:.4f}"
        for i, a in enumerate(d_acc, 1)
    ]
    (path / "train.log").write_text("\n".join(lines) + "\n")
    return path


# --- the cases: cause id -> explanation


def case_head_missing(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    script_of = naive(bench.critic, fresh_head(len(bench.critic.head_weight)))
    source = (
        "base = AutoModelForCausalLM.from_pretrained(p)\nm = AutoModelForCausalLMWithValueHead.from_pretrained(base)"
    )
    return explained(bench, script_of.claim(script_of.right, bench.others), script=script(bench, source))


def case_template_slice(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    return explained(bench, measured(bench, naive, "template_slice", bench.others))


def case_last_token(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    return explained(bench, measured(bench, naive, "last_token", bench.others))


def case_whole_chat(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    return explained(bench, measured(bench, naive, "whole_chat", bench.others))


def case_right_padding(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    return explained(bench, naive(bench.critic).padded_claim(bench.others))


def case_prompt_echo(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    return explained(bench, measured(bench, naive, "echoed", bench.others))


def case_truncation(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    source = f"outputs = model.generate(**inputs, max_length={CUT}, do_sample=True)"
    claim = measured(bench, naive, "cut_at_the_end", bench.others)
    return explained(bench, claim, last=True, script=script(bench, source))


def case_eos_mismatch(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    return explained(bench, measured(bench, naive, "one_sided_eos", bench.others), last=True)


def case_accuracy_definition(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    claim = measured(bench, naive, "right", bench.others)
    soft = own_result(bench, write_set(bench.scratch / "others.jsonl", bench.others)).d_acc_soft
    return explained(bench, replace(claim, d_acc=soft))


def case_logged_soft(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    """Training logs mean sigmoid(T - S) as d_acc, as some forks do; the test counts pairs won."""
    subject = replace(bench.subject, scores=(bench.own,))
    rng = np.random.default_rng(3)
    curve = np.clip(bench.own.d_acc_soft + rng.normal(0, 0.01, 60), 0, 1)
    lines = [
        f"step:{i} - critic/d_acc:{a:.5f} - critic/score_diff:{bench.own.score_diff + rng.normal(0, 0.05):.5f}"
        for i, a in enumerate(curve, 1)
    ]
    run = bench.scratch / "soft"
    run.mkdir()
    (run / "train.log").write_text("\n".join(lines) + "\n")
    return explanation_of(read_run(run, Config()), subject, Question(), None, None)


def case_prompt_garbled(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    garbled = [replace(p, prompt=str([{"role": "user", "content": p.prompt}])) for p in make_pairs(60, seed=5)]
    fixed = write_set(bench.scratch / "garbled.jsonl", garbled)
    return _own(bench, fixed)


def _own(bench: Bench, fixed: Path) -> Explanation:
    """critictui's own score of this set is the test."""
    subject = {"scores": (own_result(bench, fixed),), "fixed_set": fixed}
    return explained(bench, None, subject=subject, simulated=None)


def case_sampling_mismatch(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    before = task.STUDENT_RIGHT
    task.STUDENT_RIGHT = task.TEACHER_RIGHT
    try:
        better = make_pairs(PAIRS, seed=12)
    finally:
        task.STUDENT_RIGHT = before
    claim = measured(bench, naive, "right", better)
    return explained(bench, claim, script=script(bench, "API = {'temperature': 0.2, 'top_p': 1.0}"))


def case_train_average(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    rng = np.random.default_rng(3)
    d_acc = np.clip(np.linspace(0.95, 0.62, 200) + rng.normal(0, 0.02, 200), 0, 1)
    claim = Claim(d_acc=float(d_acc[-10:].mean()) + 0.01, pairs=400)
    run = logged_run(bench.scratch / "falling", d_acc)
    return explanation_of(read_run(run, Config()), None, Question(claim), None, None)


def case_by_chance(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    return explained(bench, Claim(d_acc=0.60, pairs=10))


def case_memorised(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    return _scenario(bench, "memorise")


def case_collapsed(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    return _scenario(bench, "collapse")


def _scenario(bench: Bench, name: str) -> Explanation:
    """The demo's run of that name, tested by critictui's own score of its newest checkpoint on its fixed set."""
    run = bench.demo_run(name)
    subject = subject_of(run, Config())
    assert subject.fixed_set is not None
    result, _ = score_critic(load_critic(subject.checkpoint), read_fixed_set(subject.fixed_set), Recipe())
    return explanation_of(read_run(run, Config()), replace(subject, scores=(result,)), Question(), None, None)


def case_length_bias(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    """A critic scored by the sum of values that are all above 0: the longer the response, the higher the score."""
    fixed = write_set(bench.scratch / "lengths.jsonl", make_pairs(100, seed=6))
    critic = replace(bench.critic, head_bias=torch.tensor(20.0))
    result = score_critic(critic, read_fixed_set(fixed), Recipe(pooling="sum"))[0]
    subject = {"scores": (result,), "fixed_set": fixed, "config": Config(recipe="gad-fork,pooling=sum")}
    return explained(bench, None, subject=subject, simulated=None)


def case_wrong_tokenizer(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    """A fixed set whose ids came from a tokenizer that numbers its tokens otherwise."""
    pairs = make_pairs(60, seed=8)
    fixed = write_set(bench.scratch / "other_ids.jsonl", pairs, tokenizer_sha256="0" * 64)
    text = fixed.read_text().replace('"finish_reason": "stop"', '"ids": [9, 8, 7], "finish_reason": "stop"')
    fixed.write_text(text)
    return _own(bench, fixed)


def case_replayed_recipe(bench: Bench, naive: type, write_set: Callable[..., Path]) -> Explanation:
    """Training scored the mean; the test's recipe is the last token: replay finds it."""
    samples = read_samples(next(bench.run.rglob("training_samples*.pt")))
    replayed = replay(bench.critic, samples, PRESETS["gad"])
    claim = measured(bench, naive, "last_token", bench.others)
    return explained(bench, claim, simulated=None, replayed=replayed)


CASES: dict[str, tuple[str, Callable[..., Explanation]]] = {
    "a random head is scored": ("head-missing", case_head_missing),
    "the last n tokens of a templated chat": ("score-definition", case_template_slice),
    "the last n tokens after right padding": ("score-definition", case_right_padding),
    "the last token instead of the mean": ("score-definition", case_last_token),
    "the chat's very last token, as TRL scores": ("score-definition", case_whole_chat),
    "another recipe than training's, replayed": ("score-definition", case_replayed_recipe),
    "soft accuracy against hard": ("accuracy-definition", case_accuracy_definition),
    "soft accuracy in the training log": ("accuracy-definition", case_logged_soft),
    "the prompt echoed in the student's text": ("prompt-echo", case_prompt_echo),
    "str() of the chat as prompt": ("prompt-garbled", case_prompt_garbled),
    "max_length counts the prompt": ("truncation", case_truncation),
    "EOS on one side": ("eos-mismatch", case_eos_mismatch),
    "other sampling of the student": ("sampling-mismatch", case_sampling_mismatch),
    "an average over the run": ("train-average", case_train_average),
    "second epoch, pairs seen before": ("memorised", case_memorised),
    "the critic collapsed": ("collapsed", case_collapsed),
    "ten pairs": ("by-chance", case_by_chance),
    "score follows length": ("length-bias", case_length_bias),
    "another tokenizer's ids": ("wrong-tokenizer", case_wrong_tokenizer),
}


@pytest.mark.parametrize("fault", CASES)
def test_a_fault_is_first_and_alone(fault, bench, naive, write_set, record_property):
    cause, build = CASES[fault]
    explanation = build(bench, naive, write_set)
    record_property("causes", [fault, [[c.id, c.verdict] for c in explanation.causes]])
    named = [(c.id, c.verdict) for c in explanation.causes if c.verdict in {"proven", "likely"}]
    assert named, [(c.id, c.verdict, c.message) for c in explanation.causes]
    assert named[0][0] == cause, (named, explanation.causes[0].message)
    assert [c for c, _ in named] == [cause], [(c.id, c.verdict, c.message) for c in explanation.causes[:3]]


def test_a_sound_test_has_no_cause(bench, naive, record_property):
    explanation = explained(bench, measured(bench, naive, "right", bench.others))
    record_property("causes", ["nothing", [[c.id, c.verdict] for c in explanation.causes]])
    assert not [c for c in explanation.causes if c.verdict in {"proven", "likely"}], explanation.headline
    assert "agree" in explanation.headline


def test_the_right_way_written_naively_is_critictuis_own(bench, naive, write_set):
    claim = measured(bench, naive, "right", bench.others)
    result = own_result(bench, write_set(bench.scratch / "same.jsonl", bench.others))
    assert claim.d_acc == pytest.approx(result.extra["d_acc_ties_lose"])
    assert claim.margin == pytest.approx(result.score_diff, abs=1e-4)


def test_a_replay_that_finds_no_recipe_is_said(bench, naive):
    samples = read_samples(next(bench.run.rglob("training_samples*.pt")))
    size = len(bench.critic.head_weight)
    other = replace(bench.critic, head_weight=torch.randn(size, generator=torch.Generator().manual_seed(1)))
    explanation = explained(bench, Claim(d_acc=0.5, pairs=400), replayed=replay(other, samples, Recipe()))
    cause = next(c for c in explanation.causes if c.id == "score-definition")
    assert "None of " in cause.message
    assert cause.verdict != "proven"


def test_the_documented_table_holds_these_faults_and_their_causes():
    from docs.explain_table import PAGE, table_rows

    heading, *rows = table_rows(PAGE.read_text("utf-8"), "causes")
    named = {
        fault: [heading[i] for i, cell in enumerate(cells, 1) if "proven" in cell or "likely**" in cell]
        for fault, *cells in rows
    }
    assert named == {fault: [cause] for fault, (cause, _) in CASES.items()} | {"nothing": []}
