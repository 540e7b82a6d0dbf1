"""Only a causal decoder with one linear head is scored: what runs more than that is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.model_config import ModelConfig
from critictui.worker.backbone import build_backbone
from critictui.worker.load import load_critic

pytestmark = [pytest.mark.torch, pytest.mark.fault("C15")]

SMALL: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "eos_token_id": 2,
    "num_labels": 1,
}


@pytest.mark.parametrize("kind", ["bert", "electra", "distilbert", "modernbert"])
@pytest.mark.parametrize("task", ["SequenceClassification", "TokenClassification"])
def test_an_encoder_is_refused_in_one_line(tmp_path: Path, kind: str, task: str) -> None:
    import transformers

    config = transformers.AutoConfig.for_model(kind, **SMALL)
    model = getattr(transformers, f"AutoModelFor{task}").from_config(config, dtype=torch.float32)
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load_critic(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    several = "the value head has several layers" in str(caught.value)  # a dense layer of the head's own family
    assert several or f"{kind} is no causal decoder" in str(caught.value)


@pytest.mark.parametrize("kind", ["t5", "bart", "whisper", "xlnet", "bert-generation", "clip", "deberta-v2"])
def test_types_that_are_no_decoders_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(CheckpointError, match=f"config.json: {kind} is no causal decoder"):
        build_backbone(ModelConfig(tmp_path / "config.json", {"model_type": kind}), "sdpa")


def test_a_decoder_that_was_made_bidirectional_is_refused(tmp_path: Path) -> None:
    values = {**SMALL, "model_type": "gemma3_text", "head_dim": 12, "use_bidirectional_attention": True}
    with pytest.raises(CheckpointError, match="gemma3_text is no causal decoder"):
        build_backbone(ModelConfig(tmp_path / "config.json", values), "sdpa")


@pytest.mark.parametrize(
    "kind", ["qwen2", "qwen3", "llama", "mistral", "gemma2", "gemma3_text", "phi3", "gpt_neox", "gpt2", "qwen2_5_vl"]
)
def test_causal_decoders_are_built(tmp_path: Path, kind: str) -> None:
    values = {**SMALL, "model_type": kind, "head_dim": 12}
    if kind == "qwen2_5_vl":
        vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 48}
        values = {
            "model_type": kind,
            "text_config": {**SMALL, "model_type": "qwen2_5_vl_text"},
            "vision_config": vision,
        }
    model, _ = build_backbone(ModelConfig(tmp_path / "config.json", json.loads(json.dumps(values))), "eager")
    assert sum(p.numel() for p in model.parameters()) > 0
