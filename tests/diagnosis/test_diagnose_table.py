"""Every finding that `diagnose` can give: a checkpoint or fixed set built to have exactly that fault is named for it.

Faulty checkpoints are copies of the demo's trained critic with one thing changed. The table of `docs/explain.md` is
written by `python -m docs.explain_table`, which runs these cases.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from critictui.config import Config  # noqa: E402
from critictui.demo.task import make_pairs  # noqa: E402
from critictui.diagnosis.finding import Diagnosis  # noqa: E402
from critictui.diagnosis.inquiry import can_measure, diagnosis_of, subject_of  # noqa: E402
from critictui.scoring.read_set import read_fixed_set  # noqa: E402
from critictui.scoring.recipe import recipe_from  # noqa: E402
from critictui.scoring.results import save_result  # noqa: E402
from critictui.worker.diagnose import measure  # noqa: E402
from critictui.worker.load import load_critic  # noqa: E402
from critictui.worker.score import prepare_tokens, score_critic, tree_values  # noqa: E402

pytestmark = pytest.mark.xdist_group("diagnosis")

Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Workshop:
    """The sound critic as a Hugging Face folder, and a place for faulty copies."""

    sound: Path
    fixed: Path
    scratch: Path
    write_set: Callable[..., Path]
    demo_run: Callable[[str], Path]

    def copy(self, change: Change, name: str = "checkpoint-9", run: str = "") -> Path:
        """A copy with changed tensors in a run of its own (or in `run`); returns the checkpoint's folder."""
        run = run or f"run-{len(list(self.scratch.iterdir()))}"
        target = self.scratch / run / name
        shutil.copytree(self.sound, target)
        weights = load_file(target / "model.safetensors")
        change(weights)
        save_file({k: v.contiguous() for k, v in weights.items()}, target / "model.safetensors", {"format": "pt"})
        return target

    def pairs(self, name: str, pairs: list[Any], **header: object) -> Path:
        return self.write_set(self.scratch / f"{name}.jsonl", pairs, **header)


@pytest.fixture(scope="module")
def workshop(demo_run, tiny_critic, tiny_tokenizer, write_set, tmp_path_factory) -> Workshop:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("diagnose")
    sound = root / "sound" / "checkpoint-9"
    tiny_critic.save_pretrained(sound)
    tiny_tokenizer.save_pretrained(sound)
    (root / "copies").mkdir()
    fixed = write_set(root / "fixed.jsonl", make_pairs(80, seed=77))
    return Workshop(sound, fixed, root / "copies", write_set, demo_run)


def nothing(_weights: dict[str, Any]) -> None:
    pass


def diagnosed(target: Path, fixed: Path, recipe: str | None = None, *, twice: bool = False) -> Diagnosis:
    """As `critictui diagnose` does it, with the worker's part in this process."""
    subject = subject_of(target, Config(recipe=recipe or "gad-fork"), fixed)
    if not can_measure(subject):
        return diagnosis_of(subject, None)
    critic = load_critic(subject.checkpoint)
    again = (lambda: load_critic(subject.checkpoint, seed=1)) if twice else None
    return diagnosis_of(subject, measure(critic, read_fixed_set(fixed), recipe_from(recipe), second_load=again))


# --- what was loaded


def head_is_gone(w: Workshop) -> Diagnosis:
    return diagnosed(w.copy(lambda t: [t.pop(k) for k in list(t) if k.startswith("score")]), w.fixed)


def two_heads(w: Workshop) -> Diagnosis:
    return diagnosed(w.copy(lambda t: t.update({"v_head.summary.weight": t["score.weight"] * 2})), w.fixed)


def head_of_zeros(w: Workshop) -> Diagnosis:
    return diagnosed(w.copy(lambda t: t["score.weight"].zero_()), w.fixed)


def head_as_initialised(w: Workshop) -> Diagnosis:
    """Wide enough (1024) for the test of an initialisation to have power; files alone, as its scores are noise."""
    from transformers import Qwen2Config, Qwen2ForTokenClassification

    torch.manual_seed(5)
    shape = {"hidden_size": 1024, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 300}
    config = Qwen2Config(**shape, num_attention_heads=4, num_key_value_heads=1, head_dim=32, num_labels=1)
    target = w.scratch / "wide" / "checkpoint-9"
    Qwen2ForTokenClassification(config).save_pretrained(target)
    return diagnosis_of(subject_of(target, Config()), None)


def head_of_an_earlier_step(w: Workshop) -> Diagnosis:
    w.copy(lambda t: t["model.norm.weight"].mul_(1.01), "checkpoint-5", "same-head")
    return diagnosed(w.copy(nothing, "checkpoint-9", "same-head"), w.fixed)


def all_weights_of_an_earlier_step(w: Workshop) -> Diagnosis:
    w.copy(nothing, "checkpoint-5", "same-weights")
    return diagnosed(w.copy(nothing, "checkpoint-9", "same-weights"), w.fixed)


def weights_not_finite(w: Workshop) -> Diagnosis:
    return diagnosed(w.copy(lambda t: t["model.layers.1.mlp.up_proj.weight"][3].fill_(math.nan)), w.fixed)


def weights_cut_short(w: Workshop) -> Diagnosis:
    target = w.copy(nothing)
    file = target / "model.safetensors"
    os.truncate(file, file.stat().st_size - 1000)
    return diagnosed(target, w.fixed)


def layer_is_gone(w: Workshop) -> Diagnosis:
    return diagnosed(w.copy(lambda t: [t.pop(k) for k in list(t) if ".layers.1." in k]), w.fixed)


def shard_is_gone(w: Workshop) -> Diagnosis:
    source = max(w.demo_run("healthy").glob("global_step_*"), key=lambda p: int(p.name.rpartition("_")[2]))
    target = w.scratch / "verl" / source.name / "critic"
    shutil.copytree(source / "critic", target, ignore=shutil.ignore_patterns("optim*", "extra*"))
    shutil.copy(source / "data.pt", target.parent)
    (target / "model_world_size_2_rank_1.pt").unlink()
    return diagnosed(target, w.fixed)


def head_of_two_labels(w: Workshop) -> Diagnosis:
    return diagnosed(w.copy(lambda t: t.update({"score.weight": t["score.weight"].repeat(2, 1)})), w.fixed)


# --- texts and tokens


def other_tokenizer(w: Workshop) -> Diagnosis:
    return diagnosed(w.sound, w.pairs("other-tokenizer", make_pairs(40, seed=3), tokenizer_sha256="0" * 64))


def other_template(w: Workshop) -> Diagnosis:
    return diagnosed(w.sound, w.pairs("other-template", make_pairs(40, seed=3), template_sha256="0" * 64))


def eos_on_one_side(w: Workshop) -> Diagnosis:
    """The students' raw ids were stored without EOS; the teacher's text gets one."""
    fixed = w.pairs("one-sided", make_pairs(60, seed=3))
    critic = load_critic(subject_of(w.sound, Config()).checkpoint)
    rows = [json.loads(line) for line in fixed.read_text().splitlines()]
    for row in rows[1:]:
        for student in row["students"]:
            student["ids"] = critic.tokenizer(student["text"], add_special_tokens=False)["input_ids"]
    fixed.write_text("\n".join(json.dumps(row) for row in rows))
    return diagnosed(w.sound, fixed, "gad-fork,eos=include")


def responses_cut(w: Workshop) -> Diagnosis:
    return diagnosed(w.sound, w.fixed, "gad-fork,max_response_tokens=14")


def prompt_echoed(w: Workshop) -> Diagnosis:
    pairs = [replace(p, students=tuple(f"{p.prompt} {s}" for s in p.students)) for p in make_pairs(40, seed=3)]
    return diagnosed(w.sound, w.pairs("echo", pairs))


def prompt_as_repr(w: Workshop) -> Diagnosis:
    pairs = [replace(p, prompt=str([{"role": "user", "content": p.prompt}])) for p in make_pairs(60, seed=3)]
    return diagnosed(w.sound, w.pairs("repr", pairs))


# --- what it does


def forgetting(w: Workshop, fixed: Path, share: float) -> Change:
    """The head loses this share of the one direction in which teachers and students of `fixed` differ on average."""
    critic = load_critic(subject_of(w.sound, Config()).checkpoint)
    made = prepare_tokens(critic, read_fixed_set(fixed), recipe_from(None))
    every = tree_values(replace(critic, head_weight=torch.eye(64), head_bias=None), made.trees)
    hidden = [[torch.tensor(every[t][b][1:].mean(0)) for t, b in spots] for spots in made.places]
    apart = torch.stack([h[0] - torch.stack(h[1:]).mean(0) for h in hidden]).mean(0).float()

    def forget(t: dict[str, Any]) -> None:
        head = t["score.weight"][0]
        head -= share * (head @ apart) / (apart @ apart) * apart
        head *= 4  # what is left is small

    return forget


def critic_collapsed(w: Workshop) -> Diagnosis:
    return diagnosed(w.copy(forgetting(w, w.fixed, 1.0)), w.fixed)


def prefers_the_student(w: Workshop) -> Diagnosis:
    return diagnosed(w.copy(lambda t: (t["score.weight"].neg_(), t["score.bias"].neg_())), w.fixed)


def few_pairs(w: Workshop) -> Diagnosis:
    """Ten pairs, of which every other one has its sides swapped."""
    pairs = make_pairs(10, seed=3)
    pairs[::2] = [replace(p, teacher=p.students[0], students=(p.teacher,)) for p in pairs[::2]]
    return diagnosed(w.sound, w.pairs("few", pairs))


def score_follows_length(w: Workshop) -> Diagnosis:
    target = w.copy(lambda t: (t["score.weight"].mul_(0.12), t["score.bias"].fill_(0.35)))
    return diagnosed(target, w.fixed, "gad-fork,pooling=sum")


def values_too_large(w: Workshop) -> Diagnosis:
    return diagnosed(w.copy(lambda t: t["score.weight"].mul_(20)), w.fixed)


def values_close_together(w: Workshop) -> Diagnosis:
    return diagnosed(w.copy(lambda t: t["score.weight"].mul_(0.01)), w.fixed)


def values_all_the_same(w: Workshop) -> Diagnosis:
    """The final norm is dead: whatever is read, the head sees zeros."""
    return diagnosed(w.copy(lambda t: t["model.norm.weight"].zero_()), w.fixed)


def earlier_step_was_better(w: Workshop, log: str = "") -> Diagnosis:
    """Two scored checkpoints; the later one lost part of what the earlier one knew, and is still above chance."""
    fixed = w.pairs("three-students", make_pairs(160, seed=77, students=3))
    run = w.scratch / f"past-its-best-{len(log)}"
    worse = forgetting(w, fixed, 0.95)
    for target in (w.copy(nothing, "checkpoint-5", run.name), w.copy(worse, "checkpoint-9", run.name)):
        critic = load_critic(subject_of(target, Config()).checkpoint)
        save_result(run, *score_critic(critic, read_fixed_set(fixed), recipe_from(None)))
    (run / "train.log").write_text(log)
    return diagnosed(run / "checkpoint-9", fixed)


def pairs_learned_by_heart(w: Workshop) -> Diagnosis:
    """The same, while the log shows a second epoch in which d_acc rose."""
    return earlier_step_was_better(w, "".join(
        f"step:{i} - training/epoch:{i // 6} - critic/d_acc:{0.98 if i >= 6 else 0.74 + 0.01 * i:.3f}\n"
        for i in range(1, 10)
    ))  # fmt: skip


def nothing_wrong(w: Workshop) -> Diagnosis:
    run = w.demo_run("healthy")
    return diagnosed(run, run / "fixed_set.jsonl", twice=True)


FINDINGS: dict[str, tuple[str, str, Callable[[Workshop], Diagnosis]]] = {
    "the head was not saved": ("head-missing", "critical", head_is_gone),
    "two heads were saved": ("head-duplicated", "critical", two_heads),
    "the head is zero": ("head-not-trained", "critical", head_of_zeros),
    "the head is as it was initialised": ("head-not-trained", "warning", head_as_initialised),
    "the head is that of an earlier step": ("head-identical", "warning", head_of_an_earlier_step),
    "all weights are those of an earlier step": ("head-identical", "warning", all_weights_of_an_earlier_step),
    "a weight is not finite": ("weights-damaged", "critical", weights_not_finite),
    "the file is cut short": ("incomplete", "critical", weights_cut_short),
    "a layer is missing": ("incomplete", "critical", layer_is_gone),
    "a rank's shard is missing": ("incomplete", "critical", shard_is_gone),
    "the head has two labels": ("wrong-shape", "critical", head_of_two_labels),
    "the fixed set is of another tokenizer": ("wrong-tokenizer", "critical", other_tokenizer),
    "the fixed set is of another chat template": ("wrong-tokenizer", "warning", other_template),
    "EOS on one side, and it is scored": ("eos-mismatch", "critical", eos_on_one_side),
    "responses are cut": ("truncation", "warning", responses_cut),
    "students repeat the prompt": ("prompt-echo", "critical", prompt_echoed),
    "prompts are the repr of a chat": ("prompt-garbled", "critical", prompt_as_repr),
    "the critic collapsed": ("collapsed", "critical", critic_collapsed),
    "the critic prefers the student": ("collapsed", "critical", prefers_the_student),
    "ten pairs": ("by-chance", "info", few_pairs),
    "the score follows length": ("length-bias", "warning", score_follows_length),
    "values beyond 10": ("value-outliers", "warning", values_too_large),
    "values lie close together": ("value-collapse", "warning", values_close_together),
    "all values are the same": ("value-collapse", "critical", values_all_the_same),
    "an earlier step scored better": ("collapsed", "warning", earlier_step_was_better),
    "an earlier step scored better, the second epoch is learned": (
        "memorised",
        "warning",
        pairs_learned_by_heart,
    ),
}


@pytest.mark.parametrize("fault", FINDINGS)
def test_a_fault_is_named_first_and_alone(fault, workshop, record_property):
    expected, severity, build = FINDINGS[fault]
    diagnosis = build(workshop)
    record_property("finding", [fault, [[f.id, f.severity] for f in diagnosis.findings]])
    said = [(f.id, f.severity, f.message) for f in diagnosis.findings]
    assert said, diagnosis
    assert said[0][:2] == (expected, severity), said
    assert {id_ for id_, how, _ in said if how != "info"} <= {expected}, said
    assert diagnosis.verdict == {"critical": "broken", "warning": "doubtful", "info": "sound"}[severity]


def test_a_sound_checkpoint_has_no_finding_above_info(workshop, record_property):
    diagnosis = nothing_wrong(workshop)
    record_property("finding", ["nothing", [[f.id, f.severity] for f in diagnosis.findings]])
    assert diagnosis.verdict == "sound"
    assert {f.severity for f in diagnosis.findings} <= {"info"}, diagnosis.findings


def test_the_collapsed_demo_is_not_sound(workshop):
    run = workshop.demo_run("collapse")
    diagnosis = diagnosed(run, run / "fixed_set.jsonl")
    assert diagnosis.verdict != "sound"
    assert diagnosis.findings[0].id == "collapsed", diagnosis.findings


def test_every_finding_that_can_be_given_has_a_case():
    import critictui.checkpoint.audit as audit_source
    import critictui.checkpoint.head as head_source
    import critictui.diagnosis.conduct as conduct
    import critictui.diagnosis.diagnose as diagnose
    import critictui.diagnosis.history as history
    from critictui.diagnosis.finding import FINDING_IDS

    sources = " ".join(
        Path(m.__file__ or "").read_text() for m in (audit_source, head_source, conduct, diagnose, history)
    )
    given = {id_ for id_ in FINDING_IDS if f'"{id_}"' in sources}
    assert given == {id_ for id_, _, _ in FINDINGS.values()}


def random_head_loader(path: Path) -> Any:
    """What a careless loader does with a checkpoint that has lost its head: nothing raises, the head is new."""
    from transformers import AutoModelForTokenClassification

    sound = load_critic(subject_of(path.parents[2] / "sound" / "checkpoint-9", Config()).checkpoint)

    def load() -> Any:
        model = AutoModelForTokenClassification.from_pretrained(path, num_labels=1).eval()
        weight, bias = model.score.weight.detach()[0], model.score.bias.detach()[0]
        return replace(sound, backbone=model.model, head_weight=weight, head_bias=bias)

    return load


def test_a_second_load_shows_a_random_head_that_no_loader_reports(workshop):
    headless = workshop.copy(lambda t: [t.pop(k) for k in list(t) if k.startswith("score")])
    load = random_head_loader(headless)
    measured = measure(load(), read_fixed_set(workshop.fixed), recipe_from(None), second_load=load)
    subject = subject_of(workshop.sound, Config())
    first = diagnosis_of(subject, measured).findings[0]
    assert (first.id, first.severity) == ("head-missing", "critical")
    assert "a second load gives other scores" in first.message


def test_a_second_load_of_the_sound_checkpoint_is_the_same_to_the_bit(workshop):
    subject = subject_of(workshop.sound, Config())
    critic = load_critic(subject.checkpoint)
    small = read_fixed_set(workshop.pairs("small", make_pairs(12, seed=3)))
    measured = measure(critic, small, recipe_from(None), second_load=lambda: load_critic(subject.checkpoint, seed=7))
    assert measured["second_load"] == 0.0


def test_what_is_measured_is_what_a_plain_forward_gives(workshop, tiny_critic, tiny_tokenizer):
    """Token values, scores and profile of a response, against transformers' own model."""
    fixed = read_fixed_set(workshop.pairs("plain", make_pairs(6, seed=3)))
    critic = load_critic(subject_of(workshop.sound, Config()).checkpoint)
    measured = measure(critic, fixed, recipe_from(None))
    values = []
    for sample in measured["samples"]:
        item = next(p for p in fixed.prompts if p.id == sample["prompt_id"])
        text = item.teacher.text if sample["role"] == "teacher" else item.students[0].text
        chat = [{"role": "user", "content": item.prompt}]
        before = tiny_tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        after = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = tiny_critic(input_ids=torch.tensor([before + after])).logits[0, len(before) :, 0]
        values.append(logits.double().numpy())
        assert (sample["prompt_tokens"], sample["scored_tokens"]) == (len(before), len(after))
        assert sample["score"] == pytest.approx(float(values[-1].mean()), abs=1e-4)
        assert sample["value_max"] == pytest.approx(float(values[-1].max()), abs=1e-4)
    every = np.concatenate(values)
    assert measured["values"]["std"] == pytest.approx(float(every.std(ddof=1)), abs=1e-4)
    assert measured["values"]["n"] == len(every)


def critictui(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "critictui.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def test_the_command_line_measures_in_a_worker_and_prints_one_object(workshop):
    run = workshop.demo_run("healthy")
    before = sorted(p for p in run.rglob("*") if p.is_file())
    done = critictui("diagnose", run, "--json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["schema"] == 1
    assert said["verdict"] == "sound"
    assert all(set(f) == {"id", "severity", "message", "evidence", "advice"} for f in said["findings"])
    assert said["facts"]["second_load"] == 0.0
    assert said["facts"]["pairs"] == 120
    assert said["facts"]["head"]["weight_name"] == "score.weight"
    assert sorted(p for p in run.rglob("*") if p.is_file()) == before


def test_the_command_line_says_broken_with_status_1_for_a_checkpoint_without_a_head(workshop):
    headless = workshop.copy(lambda t: [t.pop(k) for k in list(t) if k.startswith("score")])
    done = critictui("diagnose", headless)
    assert done.returncode == 1
    assert done.stdout.startswith("verdict: broken\n!! head-missing: ")
    assert "\x1b" not in done.stdout


def test_the_documented_table_holds_these_faults_and_their_findings():
    from docs.explain_table import PAGE, table_rows

    _, *rows = table_rows(PAGE.read_text("utf-8"), "findings")
    first = {fault: said.replace("*", "").split(", ")[0] for fault, said in rows}
    expected = {fault: f"{id_} ({severity})" for fault, (id_, severity, _) in FINDINGS.items()}
    assert {k: v for k, v in first.items() if k != "nothing"} == expected
    assert "**" not in dict(rows)["nothing"]
