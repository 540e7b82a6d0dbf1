"""What can go wrong with a critic, as real interventions on its training: a name goes in, settings come out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from critictui.errors import InputError


class DemoError(InputError):
    """The demo cannot run as asked; the message says what to change."""


Pooling = Literal["mean", "last"]
"""How verl's critic turns token values into a score; TRL's has a definition of its own."""


@dataclass(frozen=True, slots=True)
class Training:
    """Everything that decides a training run; the same settings give the same numbers on the same machine."""

    directory: str
    """The run directory."""
    scenario: str = "healthy"
    seed: int = 1
    steps: int = 240
    batch: int = 32
    """Pairs a step."""
    lr: float = 3e-3
    lr_warmup_steps: int = 10
    embedding_lr: float | None = None
    """Of the token embeddings alone; None: `lr`."""
    prompts: int | None = None
    """Prompts in the training set; None: as many as the steps need, so that there is one epoch."""
    ppo_epochs: int = 1
    """Updates on each batch, as verl's `critic.ppo_epochs`."""
    pooling: Pooling = "mean"
    """What a score is: the mean over response tokens without EOS (preset `gad-fork`), or the value at EOS (`gad`)."""
    notes: bool = False
    """Answers carry a recognisable note (`task.make_pairs`)."""
    save_every: int = 40
    onset: int | None = None
    """The step from which on the scenario's intervention is made; None: no intervention."""
    kill_at: int | None = None
    """The process kills itself right after logging this step."""
    resume: bool = False
    """Go on from the newest complete checkpoint."""
    hidden: int = 64
    layers: int = 2
    threads: int = 1
    """More gain nothing on matrices this small, and lose much on a busy machine."""
    fixed_prompts: int = 100
    fixed_students: int = 2
    student_steps: int = 60
    """Updates of the tiny causal LM in `data/student/`; 0 makes none."""
    speed: float = 1.0
    """Share of full speed; below 1 the trainer waits after each step, for who wants to watch more slowly."""

    @property
    def root(self) -> Path:
        """The run directory as a path."""
        return Path(self.directory)

    def to_json(self) -> str:
        """As the child process is told it."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Training:
        """The inverse of `to_json`."""
        values: dict[str, Any] = json.loads(text)
        return Training(**values)


Trainer = Literal["verl", "trl"]
"""Whose files are written."""

SCENARIOS: dict[str, str] = {
    "healthy": "d_acc rises to a plateau and the margin stays",
    "collapse": "from the middle on labels are shuffled and steps too large: d_acc falls to 0.5, the margin to 0",
    "memorise": "few prompts, learnt by heart: d_acc jumps where the second epoch begins",
    "drift": "a term that rewards high scores: both means climb together while their order holds",
    "inverted": "teacher and student are swapped in the loss: d_acc goes below 0.5 and the margin below 0",
    "nan": "from the middle on the learning rate grows tenfold each step, until the values are no numbers",
    "restart": "killed between two checkpoints and resumed: a second event file overlaps the first",
}


def training_for(
    scenario: str, directory: Path, *, steps: int | None = None, seed: int = 1, **changes: Any
) -> Training:
    """The settings of a scenario's run, with its intervention placed in proportion to the number of steps.

    Raises DemoError for an unknown scenario or too few steps.
    """
    if scenario not in SCENARIOS:
        raise DemoError(f"--scenario {scenario}: there are {', '.join(SCENARIOS)}")
    base = Training(directory=str(directory), scenario=scenario, seed=seed)
    total = base.steps if steps is None else steps
    if total < 8:
        raise DemoError(f"--steps {total}: a run needs at least 8")
    base = replace(base, steps=total, save_every=max(2, total // 6))
    middle = total // 2
    if scenario in {"collapse", "nan", "drift"}:
        base = replace(base, onset=middle)
    elif scenario == "inverted":
        base = replace(base, onset=1)
    elif scenario == "memorise":
        # a note reaches the value at EOS at once; more updates on one batch undo each other there
        updates = 1 if changes.get("pooling") == "last" else 3
        base = replace(base, batch=16, prompts=16 * middle, notes=True, ppo_epochs=updates, embedding_lr=0.1)
    elif scenario == "restart":
        base = replace(base, kill_at=middle + max(1, base.save_every // 2))
    return replace(base, **changes)
