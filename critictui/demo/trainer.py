"""Trains a tiny critic as GAD's warm-up does and writes what verl writes; runs as a process of its own.

    python -m critictui.demo.trainer SETTINGS_AS_JSON

The student is frozen (its answers are data), the critic learns by the Bradley-Terry loss on the mean value over
response tokens without EOS, or on the value at EOS. What is logged at a step was measured before that step's update.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from critictui.demo import files
from critictui.demo.console import Console
from critictui.demo.critic import Batch, Learner, Scores, make_batch, new_critic, new_student, score
from critictui.demo.scenario import Training
from critictui.demo.task import Pair, make_pairs, note_words
from critictui.demo.text import load_tokenizer, prompt_ids, response_ids, train_tokenizer
from critictui.demo.verl_files import Events, load_checkpoint, save_checkpoint

GRADIENT_CLIP = 1.0
DRIFT = 0.02
"""Weight of the term that rewards high scores, in place of the centring one, in the scenario `drift`."""
COLLAPSE = 30.0
"""What the learning rate is multiplied by in the scenario `collapse`."""
HELD_OUT_SEED = 1_000_003
"""Added to the seed: held-out prompts come from another stream than training's."""
CENTRE = 0.01
"""Weight of (T + S)^2, which keeps the level from wandering (arXiv:2312.09244; TRL's `center_rewards_coefficient`)."""


def train(settings: Training) -> None:
    """One training run from its first (or resumed) to its last step, into `settings.directory`."""
    torch.set_num_threads(settings.threads)
    root = settings.root
    root.mkdir(parents=True, exist_ok=True)
    pairs = training_pairs(settings)
    tokenizer = resumed_tokenizer(settings) if settings.resume else new_tokenizer(settings, pairs)
    model = new_critic(
        len(tokenizer), hidden=settings.hidden, layers=settings.layers, seed=settings.seed,
        pad=tokenizer.pad_token_id, eos=tokenizer.eos_token_id,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(parameter_groups(settings, model), weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(settings, step))
    learner = Learner(model, optimizer, scheduler)
    start = load_checkpoint(root, learner) if settings.resume else 0
    console = Console(root / "train.log", settings.steps, first=start)
    events = Events(root / "tensorboard")
    if not settings.resume:
        _write_data(settings, pairs, tokenizer)
    console.config(verl_config(settings, len(pairs)))
    console.line(f"Size of train dataloader: {len(pairs) // settings.batch}, Size of val dataloader: 0")
    console.line(f"Total training steps: {settings.steps}")
    if settings.resume:
        console.line(f"Load from checkpoint folder: {root / f'global_step_{start}'}")
        console.line(f"Setting global step to {start}")
    console.progress(start)
    for step in range(start + 1, settings.steps + 1):
        began = time.perf_counter()
        batch = make_batch(tokenizer, labelled(settings, step, batch_of(settings, pairs, step)))
        metrics = _update(settings, step, batch, learner)
        timing = {"update_critic": time.perf_counter() - began}
        if step % settings.save_every == 0 or step == settings.steps:
            saving = time.perf_counter()
            save_checkpoint(root, step, learner, tokenizer)
            with torch.no_grad():
                scores = score(model, batch, settings.pooling)
            files.write_samples(root / "training_samples.pt", batch, scores, step=step, pad=tokenizer.pad_token_id)
            timing["save_checkpoint"] = time.perf_counter() - saving
        timing["step"] = time.perf_counter() - began
        metrics |= _context(settings, step, batch, timing, len(pairs))
        events.step(step, metrics)
        console.step(step, metrics)
        console.progress(step)
        if step == settings.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if settings.speed < 1:
            time.sleep((time.perf_counter() - began) * (1 / settings.speed - 1))
    if settings.student_steps:
        save_student(settings, pairs, tokenizer)
    events.close()
    console.close()


def training_pairs(settings: Training) -> list[Pair]:
    """The training set of a run."""
    count = settings.prompts or settings.batch * settings.steps
    return make_pairs(count, seed=settings.seed, notes=settings.notes)


def held_out_pairs(settings: Training) -> list[Pair]:
    """Pairs that training never sees, with several students a prompt: the fixed set's."""
    seen = {pair.prompt for pair in training_pairs(settings)}
    pairs = make_pairs(
        2 * settings.fixed_prompts + 50, seed=settings.seed + HELD_OUT_SEED, students=settings.fixed_students,
        notes=settings.notes,
    )  # fmt: skip
    return [pair for pair in pairs if pair.prompt not in seen][: settings.fixed_prompts]


def new_tokenizer(settings: Training, pairs: Sequence[Pair]) -> Any:
    """A tokenizer trained on the run's own text."""
    texts = [text for pair in pairs[:2000] for text in (pair.prompt, pair.teacher, pair.students[0])]
    names = note_words(2 * len(pairs), seed=settings.seed) if settings.notes else ()
    return train_tokenizer(texts, names)


def resumed_tokenizer(settings: Training) -> Any:
    """The tokenizer of the checkpoint that the tracker names."""
    newest = int((settings.root / "latest_checkpointed_iteration.txt").read_text())
    return load_tokenizer(settings.root / f"global_step_{newest}" / "critic" / "huggingface")


def labelled(settings: Training, step: int, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs as the data loader hands them out: in `collapse`, from the onset on, sides are swapped by chance.

    Nothing behind the loader can know that, the logged accuracy included.
    """
    if settings.scenario != "collapse" or settings.onset is None or step < settings.onset:
        return list(pairs)
    coins = np.random.default_rng([settings.seed, step]).integers(0, 2, len(pairs))
    return [
        replace(pair, teacher=pair.students[0], students=(pair.teacher,)) if coin else pair
        for pair, coin in zip(pairs, coins, strict=True)
    ]


def parameter_groups(settings: Training, model: Any) -> list[dict[str, Any]]:
    """Parameters with their learning rates: token embeddings first, in the model's own order."""
    embeddings = [p for name, p in model.named_parameters() if "embed_tokens" in name]
    others = [p for name, p in model.named_parameters() if "embed_tokens" not in name]
    return [{"params": embeddings, "lr": settings.embedding_lr or settings.lr}, {"params": others, "lr": settings.lr}]


def batch_of(settings: Training, pairs: Sequence[Pair], step: int) -> list[Pair]:
    """The step's pairs: the set is shuffled anew each epoch, as verl's sampler does."""
    per_epoch = len(pairs) // settings.batch
    epoch, index = divmod(step - 1, per_epoch)
    order = np.random.default_rng([settings.seed, epoch]).permutation(len(pairs))
    return [pairs[i] for i in order[index * settings.batch : (index + 1) * settings.batch]]


def _update(settings: Training, step: int, batch: Batch, learner: Learner) -> dict[str, Any]:
    """`ppo_epochs` updates on one batch; the numbers are the first pass's, before anything was learnt from it."""
    model, optimizer = learner.model, learner.optimizer
    model.train()
    metrics: dict[str, Any] = {}
    for repeat in range(settings.ppo_epochs):
        scores = score(model, batch, settings.pooling)
        ranking, loss = _losses(settings, step, scores)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
        if repeat == 0:
            metrics = _measured(scores, ranking, norm, optimizer.param_groups[-1]["lr"])
        optimizer.step()
    learner.scheduler.step()
    return metrics


def _losses(settings: Training, step: int, scores: Scores) -> tuple[Tensor, Tensor]:
    """-log sigmoid(T - S) with the scenario's intervention from its onset on, and the same plus the centring term."""
    margin = scores.teacher - scores.student
    if settings.onset is not None and step >= settings.onset:
        if settings.scenario == "inverted":
            margin = -margin
        elif settings.scenario == "drift":
            ranking = -logsigmoid(margin).mean()
            return ranking, ranking - DRIFT * (scores.teacher + scores.student).mean()
    ranking = -logsigmoid(margin).mean()
    return ranking, ranking + CENTRE * (scores.teacher + scores.student).square().mean()


def lr_factor(settings: Training, step: int) -> float:
    """Linear warm-up, then constant; from the onset on as the scenario has it. `step` counts from 0."""
    factor = min(1.0, (step + 1) / max(1, settings.lr_warmup_steps))
    if settings.onset is None or step + 1 < settings.onset:
        return factor
    if settings.scenario == "collapse":
        return factor * COLLAPSE
    if settings.scenario == "nan":
        return factor * 10.0 ** min(step + 2 - settings.onset, 36)
    return factor


def _measured(scores: Scores, loss: Tensor, norm: Tensor, lr: float) -> dict[str, Any]:
    teacher, student = scores.teacher.detach(), scores.student.detach()
    values = scores.values.detach()
    both = torch.cat([teacher, student])
    return {
        "critic/d_loss": np.float64(loss.item()),
        "critic/d_acc": np.float64((teacher > student).double().mean().item()),
        "critic/teacher_score_mean": np.float64(teacher.mean().item()),
        "critic/student_score_mean": np.float64(student.mean().item()),
        "critic/score_diff": np.float64((teacher - student).mean().item()),
        "critic/teacher_score_std": np.float64(teacher.std().item()),
        "critic/student_score_std": np.float64(student.std().item()),
        "critic/score_range": np.float64((both.max() - both.min()).item()),
        "critic/grad_norm": np.float64(norm.item()),
        "critic/lr": np.float64(lr),
        "critic/values/mean": values.mean().item(),
        "critic/values/max": values.max().item(),
        "critic/values/min": values.min().item(),
    }


def _context(settings: Training, step: int, batch: Batch, timing: dict[str, float], prompts: int) -> dict[str, Any]:
    lengths = batch.scored.sum(1)[batch.pairs :].double()
    tokens = int(batch.attention.sum())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "training/global_step": step,
        "training/epoch": (step - 1) // (prompts // settings.batch),
        "response_length/mean": lengths.mean().item(),
        "response_length/max": lengths.max().item(),
        "response_length/min": lengths.min().item(),
        "prompt_length/mean": float(np.mean([len(prompt) for prompt in batch.prompts])),
        **{f"timing_s/{key}": value for key, value in timing.items()},
        "perf/total_num_tokens": tokens,
        "perf/time_per_step": timing["step"],
        "perf/throughput": tokens / timing["step"],
        "perf/cpu_memory_used_gb": memory,
    }


def _write_data(settings: Training, pairs: Sequence[Pair], tokenizer: Any) -> None:
    files.write_parquet(settings.root / "data" / "train.parquet", pairs)
    files.write_fixed_set(
        settings.root / "fixed_set.jsonl", held_out_pairs(settings), tokenizer, seed=settings.seed + HELD_OUT_SEED
    )
    files.write_recipe(settings.root / "critictui.toml", settings.pooling)


def save_student(settings: Training, pairs: Sequence[Pair], tokenizer: Any) -> Path:
    """A tiny causal LM, taught for a moment to answer as the student does, as a Hugging Face directory."""
    model = new_student(
        len(tokenizer), hidden=settings.hidden, layers=settings.layers, seed=settings.seed,
        pad=tokenizer.pad_token_id, eos=tokenizer.eos_token_id,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    rng = np.random.default_rng(settings.seed)
    for _ in range(settings.student_steps):
        rows = [
            [*prompt_ids(tokenizer, pair.prompt), *response_ids(tokenizer, pair.students[0])]
            for pair in (pairs[i] for i in rng.integers(0, len(pairs), 16))
        ]
        width = max(len(row) for row in rows)
        ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        loss = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    directory = settings.root / "data" / "student"
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def verl_config(settings: Training, prompts: int) -> dict[str, object]:
    """The part of verl's configuration that means something here, with this run's values."""
    root = settings.root
    return {
        "actor_rollout_ref": {
            "model": {"path": str(root / "data" / "student")},
            "rollout": {"name": "recorded", "response_length": 64, **files.GENERATION},
        },
        "critic": {
            "grad_clip": GRADIENT_CLIP,
            "model": {"path": "Qwen2ForTokenClassification", "fsdp_config": {"model_dtype": "fp32"}},
            "optim": {"lr": settings.lr, "lr_warmup_steps": settings.lr_warmup_steps, "weight_decay": 0.01},
            "ppo_epochs": settings.ppo_epochs,
            "ppo_mini_batch_size": settings.batch,
            "strategy": "fsdp2",
        },
        "data": {
            "max_prompt_length": 128,
            "max_response_length": 64,
            "prompt_key": "content",
            "seed": settings.seed,
            "shuffle": True,
            "train_batch_size": settings.batch,
            "train_files": [str(root / "data" / "train.parquet")],
        },
        "trainer": {
            "critic_warmup": settings.steps,
            "default_local_dir": str(root),
            "experiment_name": settings.scenario,
            "logger": ["console", "tensorboard"],
            "project_name": "critictui_demo",
            "resume_mode": "auto",
            "save_freq": settings.save_every,
            "total_epochs": -(-settings.steps * settings.batch // prompts),
            "total_training_steps": settings.steps,
        },
    }


def end_with_parent() -> None:
    """Waits, in a thread of its own, for the other end of stdin to close, and ends this process then."""
    if os.read(0, 1) == b"":
        os._exit(1)


def main() -> None:
    """The process's entry: settings as JSON in the first argument; ends with the process that holds its stdin."""
    threading.Thread(target=end_with_parent, name="parent-watch", daemon=True).start()
    train(Training.from_json(sys.argv[1]))


if __name__ == "__main__":
    main()
