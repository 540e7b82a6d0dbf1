"""Scoring on a GPU: `python -m benchmarks.gpu [--layers 28] [--prompts 100] [--students 4] [--folder DIR]`.

A random critic in the shape of Qwen2.5-7B is written to disk in bf16 and read back, so that its files are in the page
cache. Then, in one run on one card:
- `ceiling`: a bf16 matrix product of 8192 by 8192, and the read rate of the same files into pinned memory;
- `load`: the critic's files into GPU memory against that read rate, and the peak of host memory;
- `score`: useful tokens (each prompt and response once) a second, their floating point operations (two a weight and
  token, and four a head dimension, head and visible key) over the measured matrix rate, and pairs a second against the
  usual script (batch 1, the whole language model, both sequences of each pair), in bf16 and in the float32 that
  `from_pretrained` gives by default, and against a padded loop of batch 8; errors against float32;
- `key`: a worker process as the command line and as the dialogue start it: seconds until it has imported, loaded, given
  the first score, ended.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import scoring as ways
from benchmarks.key import after, score_job

SHAPE = {"hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28, "num_key_value_heads": 4}
VOCABULARY = 152_064
SHAPES = {"long prompt": (1024, 128), "short prompt": (128, 512)}
HEAD = 128
PLAIN_PAIRS, FLOAT_PAIRS = 40, 12
WORDS = ("alpha", "beta", "gamma", "delta", "river", "stone", "light", "proof", "value", "seven", "eleven", "under")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--students", type=int, default=4)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--only", choices=("write", "load", "score", "key"), help="one part, on files that are there")
    options = parser.parse_args()
    folder = Path(options.folder) / "critictui-gpu"
    if options.only:
        print(json.dumps(PARTS[options.only](folder, options)))
        return
    if not _has_gpu():
        print("no GPU here: nothing is measured")
        return
    print(_card())
    for part in ("write", "load", "score", "key"):  # each in a process of its own: the GPU is empty again after it
        passed = [f"--{name}={getattr(options, name)}" for name in ("layers", "prompts", "students", "folder")]
        command = [sys.executable, "-m", "benchmarks.gpu", "--only", part, *passed]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        for name, value in json.loads(done.stdout.splitlines()[-1] if done.returncode == 0 else "{}").items():
            print(f"{part:6} {name:44} {value}", flush=True)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _card() -> str:
    import torch
    import transformers

    name = torch.cuda.get_device_name()
    return f"{time.strftime('%Y-%m-%d')} {name}, torch {torch.__version__}, transformers {transformers.__version__}"


def write(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The critic, its tokenizer and a fixed set of texts whose lengths are about those of the first shape."""
    import torch
    from safetensors.torch import save_file

    critic = folder / "global_step_100" / "critic"
    critic.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "qwen2", "num_hidden_layers": options.layers, "vocab_size": VOCABULARY, "num_labels": 1}
    config |= {**SHAPE, "max_position_embeddings": 32768, "rope_theta": 1e6, "eos_token_id": 2, "pad_token_id": 0}
    (critic / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False, "dtype": "bfloat16"}))
    hidden, inner, narrow = SHAPE["hidden_size"], SHAPE["intermediate_size"], SHAPE["num_key_value_heads"] * HEAD
    sizes = {"q": (hidden, hidden), "k": (narrow, hidden), "v": (narrow, hidden), "o": (hidden, hidden)}
    torch.manual_seed(0)
    parts: list[dict[str, torch.Tensor]] = [{"model.embed_tokens.weight": _draw(VOCABULARY, hidden)}]
    for layer in range(options.layers):
        at = f"model.layers.{layer}."
        made = {f"{at}self_attn.{name}_proj.weight": _draw(*size) for name, size in sizes.items()}
        made |= {f"{at}self_attn.{name}_proj.bias": _draw(sizes[name][0]) for name in "qkv"}
        made |= {f"{at}mlp.{name}_proj.weight": _draw(inner, hidden) for name in ("gate", "up")}
        made |= {f"{at}mlp.down_proj.weight": _draw(hidden, inner)}
        made |= {f"{at}{name}_layernorm.weight": 1 + _draw(hidden) for name in ("input", "post_attention")}
        parts.append(made)
    parts[-1] |= {"model.norm.weight": 1 + _draw(hidden), "score.weight": _draw(1, hidden)}
    index = {}
    for number, part in enumerate(parts):
        file = f"model-{number:05}.safetensors"
        save_file(part, critic / file)
        index |= dict.fromkeys(part, file)
    (critic / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    _write_tokenizer(critic)
    (folder / "fixed_set.jsonl").write_text("\n".join(_rows(options)) + "\n")
    return {"bytes": sum(f.stat().st_size for f in critic.iterdir())}


def _draw(*shape: int) -> Any:
    import torch

    return (torch.randn(*shape, device="cuda") * 0.02).bfloat16().cpu()


def _write_tokenizer(folder: Path) -> None:
    """A word a token, so that the texts have known lengths."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate((*special, *WORDS))}, unk_token=special[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=special[2], pad_token=special[0])
    made.chat_template = "{% for message in messages %}<|im_start|> {{ message.content }} <|im_end|> {% endfor %}"
    made.save_pretrained(folder)


def _rows(options: argparse.Namespace) -> list[str]:
    generator = random.Random(0)
    prompt, response = SHAPES["long prompt"]

    def text(mean: int) -> str:
        return " ".join(generator.choices(WORDS, k=generator.randint(mean * 3 // 4, mean * 5 // 4)))

    rows = []
    for _ in range(options.prompts):
        given, teacher = text(prompt), text(response)
        rows += [
            json.dumps({"prompt": given, "teacher_response": teacher, "student_response": text(response)})
            for _ in range(options.students)
        ]
    return rows


def load(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Files in the page cache into GPU memory, against reading the same files into pinned memory that is used again."""
    import torch

    from critictui.worker.load import load_critic

    critic = folder / "global_step_100" / "critic"
    torch.cuda.init()
    buffer = torch.empty(4 << 20, dtype=torch.uint8, pin_memory=True)
    size = sum(f.stat().st_size for f in critic.iterdir())
    view = buffer.numpy().data
    rates: dict[str, list[float]] = {"read": [], "load": []}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _turn in range(3):
        begin = time.perf_counter()
        for file in sorted(critic.glob("*.safetensors")):
            with file.open("rb", buffering=0) as stream:
                while stream.readinto(view):
                    pass
        rates["read"].append(size / (time.perf_counter() - begin))
        begin = time.perf_counter()
        loaded = load_critic(critic, device="cuda:0")
        rates["load"].append(size / (time.perf_counter() - begin))
        del loaded
        torch.cuda.empty_cache()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    read, loading = (statistics.median(rates[name]) for name in ("read", "load"))
    return {
        "page cache into one buffer, one thread, GB/s": f"{read / 1e9:.2f}",
        "load to the GPU, GB/s (each)": " ".join(f"{rate / 1e9:.2f}" for rate in rates["load"]),
        "load over read": f"{loading / read:.2f}",
        "host memory over the model, growth of peak": f"{grown / size:.3f}",
        "threads": min(8, os.cpu_count() or 1),
    }


def score(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The three ways, each warmed up, on both shapes."""
    import torch
    from transformers import Qwen2ForCausalLM

    from critictui.worker.forward import _ways, tree_values
    from critictui.worker.load import load_critic

    critic = load_critic(folder / "global_step_100" / "critic", device="cuda:0")
    with torch.device("meta"):
        model = Qwen2ForCausalLM(critic.config)
    model.model = critic.backbone
    head = torch.empty(VOCABULARY, SHAPE["hidden_size"], dtype=torch.bfloat16, device="cuda").normal_(std=0.02)
    model.lm_head.weight = torch.nn.Parameter(head, requires_grad=False)
    model.eval()
    rate = matrix_rate()
    found: dict[str, Any] = {"matrix product, bf16, TFLOP/s": f"{rate / 1e12:.0f}"}
    for name, (prompt, response) in SHAPES.items():
        trees = ways.random_trees(options.prompts, prompt, response, options.students)
        tree_values(critic, trees[:8])
        torch.cuda.reset_peak_memory_stats()
        seconds = min(_timed(lambda trees=trees: tree_values(critic, trees)) for _ in range(2))
        tokens = sum(tree.tokens for tree in trees)
        work = operations(critic, trees)
        found |= {
            f"{name}: way": _ways[critic],
            f"{name}: useful tokens/s": f"{tokens / seconds:.0f}",
            f"{name}: share of the matrix rate": f"{work / seconds / rate:.3f}",
            f"{name}: pairs/s": f"{len(ways.pairs_of(trees)) / seconds:.1f}",
            f"{name}: peak beyond the weights, GB": f"{_beyond(critic) / 1e9:.2f}",
        }
        few = trees[: max(1, PLAIN_PAIRS // options.students)]
        pace = len(ways.pairs_of(trees)) / seconds
        for way, call in (("script, bf16", ways.by_script), ("padded by 8, bf16", ways.by_padding)):
            call(model, critic.head_weight, few[:1])
            taken = _timed(lambda call=call, few=few: call(model, critic.head_weight, few))
            found[f"{name}: times the {way}"] = f"{pace * taken / len(ways.pairs_of(few)):.1f}"
    few = {
        name: ways.random_trees(max(1, FLOAT_PAIRS // options.students), *lengths, options.students)
        for name, lengths in SHAPES.items()
    }
    halves = {
        name: (ways.by_packing(critic, trees), ways.by_script(model, critic.head_weight, trees))
        for name, trees in few.items()
    }
    model.float()
    for name, trees in few.items():
        exact = np.array(ways.by_script(model, critic.head_weight, trees))
        taken = _timed(lambda trees=trees: ways.by_script(model, critic.head_weight, trees))
        pace = float(found[f"{name}: pairs/s"]) * taken / len(ways.pairs_of(trees))
        found[f"{name}: times the script, float32"] = f"{pace:.1f}"
        for way, scores in zip(("packed", "script"), halves[name], strict=True):
            error = np.abs(np.array(scores) - exact).max() / exact.std()
            found[f"{name}: error of {way} in bf16, of the scores' std"] = f"{error:.4f}"
    return found


def _beyond(critic: Any) -> int:
    import torch

    return int(torch.cuda.max_memory_allocated()) - critic.parameters * 2


def matrix_rate() -> float:
    """Floating point operations a second of a bf16 product of 8192 by 8192, the median of five, random numbers."""
    import torch

    one, two = torch.randn(2, 8192, 8192, device="cuda", dtype=torch.bfloat16)
    torch.matmul(one, two)
    taken = [_timed(lambda: [torch.matmul(one, two) for _ in range(10)]) / 10 for _ in range(5)]
    return 2 * 8192**3 / statistics.median(taken)


def operations(critic: Any, trees: list[Any]) -> float:
    """What the useful tokens need: the linear layers, and queries with the keys that they may see."""
    weights = sum(p.numel() for n, p in critic.backbone.named_parameters() if "embed_tokens" not in n)
    keys = 0.0
    for tree in trees:
        start = len(tree.prompt)
        keys += start * (start + 1) / 2
        keys += sum(n * start + n * (n + 1) / 2 for n in (len(branch.ids) for branch in tree.branches))
    width = SHAPE["num_attention_heads"] * HEAD
    return 2.0 * weights * sum(tree.tokens for tree in trees) + 4.0 * width * critic.config.num_hidden_layers * keys


def _timed(work: Any) -> float:
    import torch

    torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def key(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """What a key press waits for: twice without a dialogue, the first run being colder, then after 2 s in it."""
    job = score_job(folder, "auto")
    found: dict[str, Any] = {}
    for turn, reading in (("first time", None), ("second time", None), ("dialogue open for 2 s", 2.0)):
        found |= {f"{turn}: seconds to {name}": f"{at:.2f}" for name, at in after(job, reading).items()}
    return found


PARTS = {"write": write, "load": load, "score": score, "key": key}


if __name__ == "__main__":
    main()
