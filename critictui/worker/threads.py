"""How many threads a critic's arithmetic is worth: one for a small critic on the CPU, else what torch chooses."""

from __future__ import annotations

import torch

from critictui.worker.model import Critic

_SMALL = 10_000_000
"""Parameters below which matrices are too small to share. Measured on the demo's critic (0.1 million) with two busy
cores: 180 responses take 0.2 s on one thread and 6 s on two, which mostly wait for each other."""


def fit_threads(critic: Critic) -> None:
    """Set this process's threads for the critic that it has just loaded."""
    if critic.device.type == "cpu" and critic.parameters < _SMALL:
        torch.set_num_threads(1)
