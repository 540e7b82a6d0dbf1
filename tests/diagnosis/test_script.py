"""Known mistakes are found in a script's source, and a sound script has none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critictui.diagnosis.script import MISTAKES, DiagnosisError, read_script

SOUND = """
import torch
from transformers import AutoTokenizer, AutoModelForTokenClassification

model = AutoModelForTokenClassification.from_pretrained(path, num_labels=1)
model.eval()
tokenizer = AutoTokenizer.from_pretrained(path)

def score(messages, response_ids):
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    ids = torch.tensor([prompt + response_ids])
    with torch.no_grad():
        values = model(ids).logits[0, :, 0]
    return values[len(prompt):].mean().item()

def generate(prompt):
    inputs = tokenizer(prompt, return_tensors="pt")
    outputs = student.generate(**inputs, max_new_tokens=512, temperature=0.6, top_p=0.9, do_sample=True)
    return tokenizer.decode(outputs[0][inputs["input_ids"].shape[1]:], skip_special_tokens=True)

correct = sum(teacher_score > student_score for teacher_score, student_score in pairs)
recent = history[-10:]
model.train(False)
trainer.train()
"""

FAULTY = {
    "wrapped-backbone": """
self.base = AutoModelForCausalLM.from_pretrained(path)
self.critic = AutoModelForCausalLMWithValueHead(self.base)
""",
    "trl-loader": "model = AutoModelForCausalLMWithValueHead.from_pretrained(critic_path)",
    "own-linear-head": "head = torch.nn.Linear(model.config.hidden_size, 1)",
    "not-strict": "model.load_state_dict(state, strict=False)",
    "ignored-sizes": "m = AutoModelForTokenClassification.from_pretrained(p, ignore_mismatched_sizes=True)",
    "str-of-content": "prompt = str(row['content'])",
    "prompt-echo": """
outputs = model.generate(**inputs, max_new_tokens=64)
text = tokenizer.decode(outputs[0], skip_special_tokens=True)
""",
    "max-length-counts-prompt": "outputs = model.generate(**inputs, max_length=512, do_sample=True)",
    "tokenizer-truncation": "batch = tokenizer(texts, truncation=True, max_length=1024)",
    "template-slice": """
text = tokenizer.apply_chat_template(messages, tokenize=False)
score = values[:, -n:].mean()
""",
    "padded-slice": """
batch = tokenizer(texts, padding=True, return_tensors="pt")
score = values[i, -response_length:].mean()
""",
    "ties-counted": "wins += student_score <= teacher_score",
    "swallowed-exception": """
def get_critic_score(prompt, response):
    try:
        return model(prompt + response)
    except Exception as error:
        print(error)
        return 0.0, 0
""",
    "train-mode": "self.critic_model.train()",
}


@pytest.fixture
def read(tmp_path):
    def reading(source: str | bytes):
        path = tmp_path / "score.py"
        path.write_bytes(source.encode() if isinstance(source, str) else source)
        return read_script(path)

    return reading


def test_a_sound_script_has_no_mistakes(read):
    reading = read(SOUND)
    assert reading.findings == ()
    assert reading.sampling == {"max_new_tokens": 512, "temperature": 0.6, "top_p": 0.9}


def test_every_known_mistake_has_a_case():
    assert set(FAULTY) == set(MISTAKES)


@pytest.mark.parametrize("mistake", FAULTY)
def test_a_mistake_is_named_with_its_line(read, mistake):
    source = FAULTY[mistake]
    (finding,) = read(source).findings
    assert finding.mistake == mistake
    assert finding.code == source.split("\n")[finding.line - 1].strip()
    assert (finding.cause, finding.message) == MISTAKES[mistake]


@pytest.mark.parametrize("mistake", FAULTY)
def test_a_mistake_in_a_sound_script_is_the_only_one(read, mistake):
    assert read(SOUND + FAULTY[mistake]).mistakes() == {mistake}


def test_left_padding_makes_the_slice_sound(read):
    assert not read("tokenizer.padding_side = 'left'\n" + FAULTY["padded-slice"]).findings


def test_sampling_is_read_from_a_dict_of_parameters(read):
    reading = read("API = {'student': {'temperature': 0.8, 'top_p': 0.9, 'repetition_penalty': 1.2, 'n': 8}}")
    assert reading.sampling == {"temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.2, "n": 8}
    assert reading.sampling_lines["temperature"] == 1


@pytest.mark.parametrize("source", ["def (", b"\x00", "(" * 5000, "x = 1".encode("utf-16")])
def test_what_is_no_python_is_refused_with_its_name(read, source):
    with pytest.raises(DiagnosisError, match=r"score\.py"):
        read(source)


def test_a_missing_script_is_refused_with_its_name(tmp_path):
    with pytest.raises(DiagnosisError, match=r"none\.py: cannot be read"):
        read_script(tmp_path / "none.py")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("script") / "score.py"
    path.write_bytes(data)
    with contextlib.suppress(DiagnosisError):
        assert read_script(path).path == str(path)


@pytest.mark.parametrize(
    "loaded",
    [
        'head.load_state_dict({"weight": state["score.weight"], "bias": state["score.bias"]})',
        'head.weight.data.copy_(state["score.weight"])',
        'head.weight = torch.nn.Parameter(state["score.weight"])',
        "critic.load_state_dict(state)",
    ],
)
def test_a_head_whose_weights_are_loaded_is_no_random_one(read, loaded):
    made = "head = nn.Linear(hidden, out_features=1)\ncritic = Critic(backbone, head)\n"
    assert read(made + loaded).findings == ()
    assert read(made).mistakes() == {"own-linear-head"}


def test_weights_of_the_backbone_fill_no_head_and_a_loose_load_proves_nothing(read):
    made = "self.backbone = AutoModel.from_pretrained(path)\nself.v_head = nn.Linear(hidden, 1)\n"
    assert read(made + "self.backbone.load_state_dict(state)").mistakes() == {"own-linear-head"}
    assert read(made + "self.load_state_dict(state, strict=False)").mistakes() == {"own-linear-head", "not-strict"}
