"""RewardBench and TRL's RewardTrainer beside our worker: `python -m benchmarks.evaluators [--prompts 16]`.

One random sequence classifier (Qwen2, hidden 256, 6 layers, float32) and one preference data set of random words, each
program in a process of its own with one thread, in turns:
- `RewardBench` runs its own command's function (`rewardbench.rewardbench`) in its own environment: pairs in batches of
  8, chosen and rejected apart, left-padded, full sequences. It is asked for float32 (`--torch_dtype float32
  --not_quantized`; its default is float16, quantised). Two things are put in its way: the device `cuda`, which its
  pipeline names, means the CPU here, and its progress bar is a stopwatch;
- `RewardTrainer` is TRL's `evaluate()` with batches of 8, right-padded, chosen and rejected in one batch;
- `critictui` scores the same pairs as a fixed set with the recipe `trl`.
A pair's time is CPU time from loaded weights to scores, tokens made in it (TRL makes them before, which is not
counted), after a few first pairs that are not measured; `whole` is that of the process and its children, `MiB more`
what scoring takes beside the loaded critic, at its peak. Errors are the largest of any score against transformers in
float64, a sequence at a time, over the largest score.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers

SHAPES = {"long prompt": (768, 64), "short prompt": (64, 256)}
STUDENTS = (1, 4)
_WORDS = 4093
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "{% for message in messages %}<|im_start|> {{ message.role }} {{ message.content }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)
_REWARDBENCH = """
import json, logging, time, warnings
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
import torch
torch.set_num_threads(1)
from transformers import BatchEncoding
from rewardbench import rewardbench as command

to, found = BatchEncoding.to, {}
BatchEncoding.to = lambda self, device, **rest: to(self, "cpu", **rest)

def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name))

def stopwatch(batches, **_):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    began, held = time.process_time(), memory("VmRSS")
    yield from batches
    found.update(seconds=time.process_time() - began, more=memory("VmHWM") - held, peak=memory("VmHWM"))

command.tqdm = stopwatch
for pairs in ("first.json", "pairs.json"):
    command.rewardbench(command.Args(
        model="critic", dataset=pairs, load_json=True, not_quantized=True, torch_dtype="float32", batch_size=8,
        max_length=4096, output_dir="results/",
    ))
rows = [json.loads(line) for line in open("results/critic_outputs.jsonl")]
scores = [[row["scores_chosen"], row["scores_rejected"]] for row in rows]
flat = [[float(x[0] if isinstance(x, list) else x) for x in pair] for pair in scores]
print(json.dumps({**found, "scores": flat}))
"""


def write_critic(folder: Path, hidden: int, layers: int) -> None:
    """Weights, config and a tokenizer with a word a token, in a form that old and new transformers read."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    folder.mkdir()
    shape = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers, "num_labels": 1}
    shape |= {"num_attention_heads": max(1, hidden // 64), "num_key_value_heads": max(1, hidden // 128)}
    shape |= {"max_position_embeddings": 4096, "vocab_size": len(_SPECIAL) + _WORDS, "pad_token_id": 0}
    torch.manual_seed(0)
    model = Qwen2ForSequenceClassification(Qwen2Config(**shape))
    torch.nn.init.normal_(model.score.weight, std=hidden**-0.5)
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors", {"format": "pt"}
    )
    said: dict[str, Any] = {
        "architectures": ["Qwen2ForSequenceClassification"],
        "model_type": "qwen2",
        "torch_dtype": "float32",
    }
    said |= {"rope_theta": 10000.0, "eos_token_id": 2, "tie_word_embeddings": False, "hidden_act": "silu"}
    labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    del shape["num_labels"]
    (folder / "config.json").write_text(json.dumps(said | shape | labels))
    words = (*_SPECIAL, "user", "assistant", *(f"w{i}" for i in range(_WORDS - 2)))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=_SPECIAL[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 4096, "chat_template": _TEMPLATE}
    kind |= {"pad_token": _SPECIAL[0], "eos_token": _SPECIAL[2], "model_input_names": ["input_ids", "attention_mask"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind))


def write_pairs(folder: Path, prompts: int, prompt: int, response: int, students: int) -> None:
    """The same pairs as RewardBench and TRL read them (`pairs.json`) and as a fixed set; lengths vary by a quarter."""
    generator = random.Random(0)

    def text(mean: int) -> str:
        return " ".join(
            f"w{generator.randrange(_WORDS - 2)}" for _ in range(generator.randint(mean * 3 // 4, mean * 5 // 4))
        )

    pairs, fixed = [], []
    for _ in range(prompts):
        given, teacher = text(prompt), text(response)
        for student in (text(response) for _ in range(students)):
            asked = [{"role": "user", "content": given}]
            chosen, rejected = ([*asked, {"role": "assistant", "content": answer}] for answer in (teacher, student))
            pairs.append(json.dumps({"chosen": chosen, "rejected": rejected}))
            fixed.append(json.dumps({"prompt": given, "teacher_response": teacher, "student_response": student}))
    (folder / "pairs.json").write_text("\n".join(pairs) + "\n")
    (folder / "fixed_set.jsonl").write_text("\n".join(fixed) + "\n")
    (folder / "first.json").write_text("\n".join(pairs[:4]) + "\n")
    (folder / "first_set.jsonl").write_text("\n".join(fixed[:4]) + "\n")


@contextlib.contextmanager
def measured(found: dict[str, Any]) -> Iterator[None]:
    """CPU seconds of what is done meanwhile, and MiB at its peak: in all, and beside what was held before."""

    def memory(name: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    began, held = time.process_time(), memory("VmRSS")
    yield
    seconds, peak = time.process_time() - began, memory("VmHWM")
    found |= {"seconds": seconds, "more": peak - held, "peak": peak}


def ours(folder: Path) -> dict[str, Any]:
    """Our worker's functions, from loaded weights to scores."""
    import torch

    from critictui.scoring.read_set import read_fixed_set
    from critictui.scoring.recipe import recipe_from
    from critictui.worker.load import load_critic
    from critictui.worker.score import score_critic

    torch.set_num_threads(1)
    critic = load_critic(folder / "critic", dtype="float32")
    found: dict[str, Any] = {}
    for name in ("first_set.jsonl", "fixed_set.jsonl"):
        with measured(found):
            _, rows = score_critic(critic, read_fixed_set(folder / name, columns={}), recipe_from("trl"))
    teachers = {row.prompt_id: row.score for row in rows if row.role == "teacher"}
    scores = [[teachers[row.prompt_id], row.score] for row in rows if row.role == "student"]
    return found | {"scores": scores}


def trl(folder: Path) -> dict[str, Any]:
    """`RewardTrainer.evaluate()`, which gives means and accuracy, not scores."""
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast
    from trl import RewardConfig, RewardTrainer

    torch.set_num_threads(1)
    model = AutoModelForSequenceClassification.from_pretrained(folder / "critic", dtype=torch.float32)
    pairs = load_dataset("json", data_files=str(folder / "pairs.json"), split="train", cache_dir=str(folder / "cache"))
    how = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True, "max_length": None}
    config = RewardConfig(output_dir=str(folder / "trl"), per_device_eval_batch_size=8, **how)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "critic")
    trainer = RewardTrainer(model, config, train_dataset=pairs, eval_dataset=pairs, processing_class=tokenizer)
    found: dict[str, Any] = {}
    prepared = trainer.eval_dataset
    for some in (prepared.select(range(4)), prepared):
        with measured(found):
            trainer.evaluate(some)
    return found | {"scores": []}


def exact(folder: Path) -> dict[str, Any]:
    """Transformers in float64, a sequence at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    model = AutoModelForSequenceClassification.from_pretrained(folder / "critic", dtype=torch.float64).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "critic")
    scores = []
    with torch.inference_mode():
        for line in (folder / "pairs.json").read_text().splitlines():
            texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in json.loads(line).values()]
            scores.append([float(model(**tokenizer(text, return_tensors="pt")).logits) for text in texts])
    return {"scores": scores}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {"critictui": ours, "RewardTrainer": trl, "exact": exact}


def run(who: str, folder: Path) -> dict[str, Any]:
    """One program's turn: its answer, the CPU seconds of its process and the most memory that it held, in MiB."""
    command = [sys.executable, "-m", "benchmarks.evaluators", "--only", who, "--folder", str(folder)]
    where = Path.cwd()
    if who == "RewardBench":
        command, where = [str(peers.PYTHON), "-c", _REWARDBENCH], folder
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    env |= {"TOKENIZERS_PARALLELISM": "false", "HF_HOME": str(folder / "hf"), "WANDB_MODE": "offline"}
    began = _children_cpu()
    done = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{who}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer | {"command": _children_cpu() - began}


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(folder: Path, repeats: int) -> list[list[str]]:
    """Rows of the table for the pairs that lie in the folder."""
    found: dict[str, list[dict[str, Any]]] = {"critictui": [], "RewardBench": [], "RewardTrainer": []}
    for _ in range(repeats):
        for who, turns in found.items():
            turns.append(run(who, folder))
    true = np.array(run("exact", folder)["scores"])
    rows = []
    mine = {key: statistics.median(one[key] for one in found["critictui"]) for key in ("seconds", "command")}
    for who, turns in found.items():
        middle = {key: statistics.median(one[key] for one in turns) for key in ("seconds", "command", "more", "peak")}
        cells = [who, f"{len(true) / middle['seconds']:.2f}", f"{middle['seconds'] / mine['seconds']:.2f}"]
        cells += [f"{middle['command']:.1f}", f"{middle['command'] / mine['command']:.2f}"]
        cells += [f"{middle['more']:.0f}", f"{middle['peak']:.0f}"]
        scores = np.array(turns[-1]["scores"])
        rows.append([*cells, f"{np.abs(scores - true).max() / np.abs(true).max():.1e}" if scores.size else "-"])
    return rows


def main() -> None:
    """Measure in turns and print a table for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--only", choices=tuple(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(PARTS[options.only](options.folder)))
        return
    if absent := peers.missing("rewardbench", "transformers", "torch"):
        print(absent)
        return
    here = Path(sys.executable)
    for python, names in (
        (peers.PYTHON, ("rewardbench", "transformers", "torch")),
        (here, ("trl", "transformers", "torch")),
    ):
        print(", ".join(f"{name} {peers.version(name, python)}" for name in names))
    head = ["", "pairs/s", "time / ours", "whole s", "/ ours", "MiB more", "peak MiB", "error"]
    with tempfile.TemporaryDirectory(prefix="critictui-evaluators-") as name:
        folder = Path(name)
        write_critic(folder / "critic", options.hidden, options.layers)
        for shape, (prompt, response) in SHAPES.items():
            for students in STUDENTS:
                write_pairs(folder, options.prompts, prompt, response, students)
                print(f"{shape} ({prompt} and {response} tokens), {options.prompts} prompts, {students} students each")
                print(peers.table(head, compare(folder, options.repeats)), flush=True)


if __name__ == "__main__":
    main()
