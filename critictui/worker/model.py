"""A loaded critic: a backbone without `lm_head`, a value head of our own, and the way to its tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from pathlib import Path

    from critictui.checkpoint.checkpoint import Audit, Checkpoint
    from critictui.worker.checking import Checking


@dataclass(eq=False)
class Critic:
    """A critic whose every tensor came from its checkpoint, in eval mode and without gradients.

    `backbone(input_ids=..., attention_mask=..., position_ids=..., use_cache=False).last_hidden_state` gives
    (batch, length, hidden) in `dtype`; `values` turns that into token values.
    """

    checkpoint: Checkpoint
    audit: Audit
    config: Any
    """The transformers configuration that the backbone was built from."""
    backbone: nn.Module
    head_weight: Tensor
    """(hidden,) in float32 (float64 if the critic is), on `device`."""
    head_bias: Tensor | None
    """() in the same dtype, None where the checkpoint has none."""
    device: torch.device
    dtype: torch.dtype
    """Of the backbone's weights."""
    load_seconds: float
    identity: str
    """`checkpoint.identity` as it was before the first byte was read."""
    open_tokenizer: Callable[[], Any] = field(repr=False)
    checking: Checking | None = field(default=None, repr=False)
    """The checksums of the archives that were read, on their way."""
    tokenizer_path: Path | None = None
    """The folder that stands in for the checkpoint's own tokenizer."""

    def values(self, hidden: Tensor) -> Tensor:
        """Token values (...,) of hidden states (..., hidden): float32, or float64 where the critic is float64.

        The head is applied in that precision whatever the backbone's dtype: bf16 rounding of the values alone would
        cost up to 0.4 % of a score.
        """
        weight = self.head_weight
        out = hidden.to(weight.dtype) @ weight
        return out if self.head_bias is None else out + self.head_bias

    @cached_property
    def tokenizer(self) -> Any:
        """The critic's own tokenizer, loaded offline on first use; CheckpointError names the file that is missing."""
        return self.open_tokenizer()

    def verify(self, *, wait: bool = True) -> None:
        """Raise unless what was loaded was whole and is still there (call it after scoring).

        VanishedError: the files are not the very ones any more. CheckpointError: bytes that do not have the checksum
        that was stored with them. wait: until every checksum is known; else only those that are known count.
        """
        from critictui.checkpoint.checkpoint import CheckpointError
        from critictui.checkpoint.identity import verify

        damage: CheckpointError | None = None
        try:
            if self.checking is not None:
                self.checking.ask(wait=wait)
        except CheckpointError as error:
            damage = error
        verify(self.checkpoint, self.identity, tokenizer=self.tokenizer_path)
        if damage is not None:  # that no replacement explains
            raise damage

    @property
    def parameters(self) -> int:
        """Weights in backbone and head, tied ones once."""
        head = self.head_weight.numel() + (0 if self.head_bias is None else 1)
        return sum(p.numel() for p in self.backbone.parameters()) + head
