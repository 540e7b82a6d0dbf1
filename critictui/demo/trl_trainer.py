"""The same task with TRL's RewardTrainer, writing what TRL writes; runs as a process of its own.

    python -m critictui.demo.trl_trainer SETTINGS_AS_JSON

Event files under `runs/`, `checkpoint-N/` with `trainer_state.json`, and the console's dictionaries in `train.log`.
TRL's critic is a sequence classifier: its score is the value at the last token of the rendered chat.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback
from trl import RewardConfig, RewardTrainer

from critictui.demo import files
from critictui.demo.critic import new_classifier
from critictui.demo.scenario import Training
from critictui.demo.task import Pair
from critictui.demo.trainer import (
    CENTRE,
    DRIFT,
    GRADIENT_CLIP,
    batch_of,
    end_with_parent,
    held_out_pairs,
    labelled,
    lr_factor,
    new_tokenizer,
    parameter_groups,
    training_pairs,
)


def train(settings: Training) -> None:
    """One training run into `settings.directory`, resumed from its newest checkpoint where the settings say so."""
    torch.set_num_threads(settings.threads)
    pairs = training_pairs(settings)
    tokenizer = new_tokenizer(settings, pairs)
    model = new_classifier(
        len(tokenizer), hidden=settings.hidden, layers=settings.layers, seed=settings.seed,
        pad=tokenizer.pad_token_id, eos=tokenizer.eos_token_id,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(parameter_groups(settings, model), weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(settings, step))
    held_out = held_out_pairs(settings)
    if not settings.resume:
        files.write_parquet(settings.root / "data" / "train.parquet", pairs)
        files.write_fixed_set(settings.root / "fixed_set.jsonl", held_out, tokenizer, seed=settings.seed)
    trainer = _scenario_trainer(settings)(
        model=model,
        args=_arguments(settings),
        train_dataset=Dataset.from_list(_training_rows(settings, pairs)),
        eval_dataset=Dataset.from_list([_row(pair.prompt, pair.teacher, pair.students[0]) for pair in held_out]),
        processing_class=tokenizer,
        optimizers=(optimizer, scheduler),
        callbacks=[_Kill(settings.kill_at)] if settings.kill_at else [],
    )
    trainer.train(resume_from_checkpoint=settings.resume)


def _arguments(settings: Training) -> RewardConfig:
    return RewardConfig(
        output_dir=settings.directory,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        max_steps=settings.steps,
        learning_rate=settings.lr,
        max_grad_norm=GRADIENT_CLIP,
        center_rewards_coefficient=CENTRE,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=settings.save_every,
        save_steps=settings.save_every,
        report_to=["tensorboard"],
        seed=settings.seed,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )


def _scenario_trainer(settings: Training) -> type[RewardTrainer]:
    class InStepOrder(RewardTrainer):  # type: ignore[misc]
        """Takes the rows as they come, shuffled before, so that an intervention has a step to begin at; and makes it.

        What is logged is measured on the true sides: only the loss is another.
        """

        def _get_train_sampler(self, dataset: Any = None) -> SequentialSampler:
            return SequentialSampler(dataset if dataset is not None else self.train_dataset)

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **more: Any) -> Any:
            begun = settings.onset is not None and self.state.global_step + 1 >= settings.onset
            wrong = settings.scenario if begun and self.model.training else ""
            if wrong == "drift":
                self.args.center_rewards_coefficient = None
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **more)
            if wrong == "drift":
                loss = loss - 2 * DRIFT * outputs.logits.mean()
            elif wrong == "inverted":
                chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
                loss = loss + logsigmoid(chosen - rejected).mean() - logsigmoid(rejected - chosen).mean()
            return (loss, outputs) if return_outputs else loss

    return InStepOrder


class _Kill(TrainerCallback):  # type: ignore[misc]
    """Ends the process without a word after a step was logged."""

    def __init__(self, step: int | None) -> None:
        self._step = step

    def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def _training_rows(settings: Training, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """The rows of every step of an epoch in their order, as the data loader hands them out."""
    rows = []
    for step in range(1, min(settings.steps, len(pairs) // settings.batch) + 1):
        batch = labelled(settings, step, batch_of(settings, pairs, step))
        rows += [_row(pair.prompt, pair.teacher, pair.students[0]) for pair in batch]
    return rows


def _row(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }


def main() -> None:
    """The process's entry: settings as JSON in the first argument; what TRL prints goes to `train.log`."""
    settings = Training.from_json(sys.argv[1])
    threading.Thread(target=end_with_parent, name="parent-watch", daemon=True).start()
    settings.root.mkdir(parents=True, exist_ok=True)
    with (settings.root / "train.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    train(settings)


if __name__ == "__main__":
    main()
