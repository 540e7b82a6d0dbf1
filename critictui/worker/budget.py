"""How many tokens one forward pass may hold, from the memory that is free."""

from __future__ import annotations

from typing import Any

import torch

from critictui.scoring import memory
from critictui.worker.model import Critic

CPU_TOKENS = 4096
"""Above it a CPU gains nothing and its caches lose."""
GPU_TOKENS = 65536
SHARE = 0.5
"""Of what is free: the rest stays for fragments, and on a GPU for training's own growth."""


def bytes_per_token(config: Any, item: int) -> int:
    """Activations that live at once for one token of one layer: residuals, the MLP's two halves, queries to output.

    An upper estimate for decoders with a gated MLP; `item` is the size of one number in bytes.
    """
    hidden = int(getattr(config, "hidden_size", 4096))
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    heads = int(getattr(config, "num_attention_heads", 32))
    width = heads * int(getattr(config, "head_dim", None) or hidden // max(heads, 1))
    return item * (6 * hidden + 3 * inner + 6 * width) + 4 * 2 * hidden


def token_budget(critic: Critic) -> int:
    """Tokens of one packed row on the critic's device, at least 256; a GPU gives no more than was asked of it."""
    item = torch.empty((), dtype=critic.dtype).element_size()
    each = bytes_per_token(critic.config, item)
    if critic.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(critic.device)
        return max(256, min(GPU_TOKENS, min(int(free * SHARE), memory.ACTIVATIONS) // each))
    return max(256, min(CPU_TOKENS, int(free_host_memory() * SHARE) // each))


def free_host_memory() -> int:
    """Bytes that the kernel says are available; 2 GiB where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123  (no path of ours)
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 2 << 30


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out: torch says so in three ways."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
    )
