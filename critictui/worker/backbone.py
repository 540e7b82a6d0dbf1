"""A configuration in, an empty backbone out: built by transformers without weights, remote code or random numbers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from critictui.checkpoint.checkpoint import CheckpointError
from critictui.checkpoint.model_config import ModelConfig

_STRIPPED = frozenset(
    {"auto_map", "dtype", "torch_dtype", "attn_implementation", "trust_remote_code", "custom_pipelines"}
)
_BOTH_WAYS = frozenset({"xlnet", "bert-generation"})
"""Called causal language models, and bidirectional where nothing else is asked for."""
_MOST = {
    "hidden_size": 1 << 20,
    "vocab_size": 1 << 24,
    "intermediate_size": 1 << 22,
    "num_hidden_layers": 2_000,
    "num_attention_heads": 1 << 14,
    "num_key_value_heads": 1 << 14,
    "num_experts": 1 << 14,
    "num_local_experts": 1 << 14,
    "head_dim": 1 << 16,
    "max_position_embeddings": 1 << 30,
}


def offline() -> None:
    """No download and no remote code, whatever a configuration asks for. Call before transformers is imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


_importing = threading.Lock()


def import_transformers(*, models: bool = False) -> None:
    """Import what loading uses: transformers imports its parts on first use, and not safely in two threads at once.

    models: also what the code of every decoder imports, with Qwen2's for them all.
    """
    offline()
    with _importing:
        from transformers import CONFIG_MAPPING, AutoModel, AutoTokenizer, PreTrainedTokenizerFast, utils  # noqa: F401

        utils.is_scipy_available = _no  # it would import it for a loss of object detection
        if models:
            import transformers.models.qwen2.modeling_qwen2  # noqa: F401


def _no() -> bool:
    return False


def clean_values(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration's values without what chooses code: `auto_map`, private keys (`_attn_implementation_internal`:
    CVE-2026-4372), and without its dtype, at every depth."""
    cleaned: dict[str, Any] = {}
    for key, value in values.items():
        if key.startswith("_") or key in _STRIPPED:
            continue
        cleaned[key] = clean_values(value) if isinstance(value, dict) else value
    return cleaned


def build_backbone(config: ModelConfig, attention: str) -> tuple[nn.Module, Any]:
    """The model without `lm_head` and its transformers configuration; parameters on the meta device, buffers real.

    Raises CheckpointError for a model type that this transformers does not know by itself or that is no causal decoder,
    absurd sizes or a quantised model.
    """
    import_transformers()
    from transformers import CONFIG_MAPPING, AutoModel

    kind = config.values.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise CheckpointError(
            f"{config.path}: model_type {str(kind)[:60]!r} is not one that transformers knows without remote code; "
            "remote code is never run"
        )
    if not _decodes(kind):
        raise _no_decoder(config, kind)
    if config.values.get("quantization_config"):
        raise CheckpointError(
            f"{config.path}: a quantised model is not scored; give the checkpoint before quantisation"
        )
    for key, most in _MOST.items():
        number = config.number(key)
        if number is not None and not 0 < number <= most:
            raise CheckpointError(f"{config.path}: {key} is {number}, which no model has; copy the config again")
    try:
        settings = CONFIG_MAPPING[kind].from_dict(clean_values(config.values))
        with _without_weights():
            model = AutoModel.from_config(settings, attn_implementation=attention, trust_remote_code=False)
    except MemoryError:
        raise
    except Exception as error:  # a foreign config in a foreign library may raise anything
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{config.path}: transformers cannot build this {kind}: {first}") from error
    if settings.is_encoder_decoder or _looks_ahead(model):
        raise _no_decoder(config, kind)
    model.config.use_cache = False
    return model.eval().requires_grad_(False), settings


def _decodes(kind: str) -> bool:
    """Whether transformers knows models of this type as causal language models, with pictures or without.

    What it also has a masked language model for is an encoder, and its sequence classifier runs layers of its own
    (BERT's pooler, RoBERTa's and ModernBERT's dense layer) between the last hidden state and the head.
    """
    from transformers.models.auto import modeling_auto as auto

    encoders = (auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)
    decoders = (auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    if kind in _BOTH_WAYS or any(kind in mapping for mapping in encoders):
        return False
    return kind.endswith("_text") or any(kind in mapping for mapping in decoders)


def _looks_ahead(model: nn.Module) -> bool:
    """Whether a token's hidden state depends on what follows it; an encoder of pictures may."""
    text = getattr(model, "language_model", model)
    return any(getattr(module, "is_causal", None) is False for module in text.modules()) or hasattr(text, "pooler")


def _no_decoder(config: ModelConfig, kind: str) -> CheckpointError:
    return CheckpointError(
        f"{config.path}: {kind} is no causal decoder; only critics of a causal decoder and one linear head are scored"
    )


@contextmanager
def _without_weights() -> Iterator[None]:
    """Every parameter goes to the meta device as it is registered, before anything is written into it; none is drawn.

    Buffers stay real: those that no checkpoint stores (rotary frequencies) are computed by the constructor.
    """
    from transformers import PreTrainedModel

    original = nn.Module.register_parameter
    drawing = PreTrainedModel.initialize_weights

    def register(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and param.device.type != "meta":
            param = nn.Parameter(torch.empty_like(param, device="meta"), requires_grad=False)
        original(module, name, param)

    # the worker loads one model at a time, before it has other threads that build modules
    nn.Module.register_parameter = register  # type: ignore[method-assign, assignment]
    PreTrainedModel.initialize_weights = lambda _: None
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        nn.Module.register_parameter = original  # type: ignore[method-assign]
        PreTrainedModel.initialize_weights = drawing
