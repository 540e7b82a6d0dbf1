"""How a score is defined: stored with every score, and two scores are compared only under the same recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Literal

from critictui.errors import InputError
from critictui.places import expanded


class ScoringError(InputError):
    """A score cannot be had; the message names the file and the remedy."""


_LARGEST_TEMPLATE = 1 << 20
EosRule = Literal["exclude", "include", "turn"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """From token values to one number a response.

    pooling: over the response's tokens. eos: how much of its end takes part: not even the end-of-sequence token, that
    token, or with it all that the chat template writes to close the `turn` (ChatML's line break), padding tokens aside.
    alignment: `token` scores token i by the value at i; `previous` by the value at i-1 (verl's PPO values).
    tokens: `concat` is prompt ids from the template with generation prompt, then raw response ids, never re-tokenised
    together (what training saw); `template` renders both as one chat and tokenises that; `text` tokenises prompt,
    response and EOS as one plain text with the tokenizer's own special tokens.
    """

    pooling: Literal["mean", "last", "sum"] = "mean"
    eos: EosRule = "exclude"
    alignment: Literal["token", "previous"] = "token"
    tokens: Literal["concat", "template", "text"] = "concat"
    chat_template: str | None = None
    """Jinja text; None takes the checkpoint's own."""
    max_prompt_tokens: int | None = None
    max_response_tokens: int | None = None
    ties: Literal["report", "win", "lose", "half"] = "report"
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    """auto: bfloat16 on a GPU, float32 on a CPU."""

    @property
    def id(self) -> str:
        """Ten hex digits over every field; part of a result's file name."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_dict(self) -> dict[str, object]:
        """As JSON stores it."""
        return asdict(self)


AUTO = "auto"
"""As a recipe: what the checkpoint shows of its trainer (`recipe_choice`), else `gad-fork`."""

PRESETS: dict[str, Recipe] = {
    "gad-fork": Recipe(),
    "gad": Recipe(pooling="last", eos="include"),
    "verl-ppo": Recipe(pooling="last", eos="include", alignment="previous"),
    "trl": Recipe(pooling="last", eos="turn", tokens="template"),
    "trl-text": Recipe(pooling="last", eos="turn", tokens="text"),
    "openrlhf": Recipe(pooling="last", eos="include", tokens="template"),
}
"""TRL's `RewardTrainer` (1.16, `_prepare_dataset` and `compute_loss`): the logit of a sequence classifier, which is the
value at the last token that is no padding; of the rendered chat, or of plain text plus EOS. OpenRLHF's reward model
(`RewardDataset`, `_get_reward_model`): the value at EOS of the rendered chat, line breaks behind it stripped; its
`--apply_chat_template` with a template that ends a turn in EOS is meant, other data is another definition."""


def preset_name(recipe: Recipe) -> str:
    """The preset that a recipe is; '' for one of somebody's own."""
    return next((name for name, preset in PRESETS.items() if preset == recipe), "")


def recipe_from(spec: str | Mapping[str, object] | None) -> Recipe:
    """A recipe from a preset's name, `preset,key=value,...`, or a mapping (config, result file); `auto` is `gad-fork`.

    Raises ScoringError that names the bad key or value and the ones that exist.
    """
    if spec is None or spec == AUTO:
        return Recipe()
    if isinstance(spec, str):
        parts = [p.strip() for p in spec.split(",") if p.strip()]
        values: dict[str, object] = {}
        base = Recipe()
        for i, part in enumerate(parts):
            key, equals, value = part.partition("=")
            if not equals:
                if i or key not in PRESETS:
                    raise ScoringError(f"recipe {spec!r}: {key!r} is no preset; there are {', '.join(PRESETS)}")
                base = PRESETS[key]
            else:
                values[key.strip()] = value.strip()
        return _updated(base, values)
    values = dict(spec)
    name = values.pop("preset", "gad-fork")
    if not isinstance(name, str) or name not in PRESETS:
        raise ScoringError(f"recipe: preset {name!r:.60} does not exist; there are {', '.join(PRESETS)}")
    return _updated(PRESETS[name], values)


def with_template_read(recipe: Recipe) -> Recipe:
    """The recipe with the text of its chat template, where a user gave the path of a file.

    Raises ScoringError for a file that cannot be read, and for a text that makes nothing of the messages: every prompt
    would be the same.
    """
    given = recipe.chat_template
    if given is None:
        return recipe
    where, text = "recipe: chat_template", given
    if "{" not in given and "\n" not in given:
        path = expanded(given)
        where = str(path)
        try:
            if path.stat().st_size > _LARGEST_TEMPLATE:
                raise ScoringError(f"{path}: larger than 1 MiB; a chat template is a page of Jinja")
            text = path.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise ScoringError(f"{path}: {reason}; give chat_template a Jinja file, or its text") from None
    if "messages" not in text or "{" not in text:
        raise ScoringError(f"{where}: a chat template that ignores the messages; give the one that training used")
    return replace(recipe, chat_template=text)


_CHOICES: dict[str, tuple[str, ...]] = {
    "pooling": ("mean", "last", "sum"),
    "eos": ("exclude", "include", "turn"),
    "alignment": ("token", "previous"),
    "tokens": ("concat", "template", "text"),
    "ties": ("report", "win", "lose", "half"),
    "dtype": ("auto", "float32", "bfloat16", "float16", "float64"),
}


def _updated(base: Recipe, values: Mapping[str, object]) -> Recipe:
    known = {f.name for f in fields(Recipe)}
    clean: dict[str, object] = {}
    for key, value in values.items():
        if key not in known:
            raise ScoringError(f"recipe: {key!r} is no field; there are {', '.join(sorted(known))}")
        if key in _CHOICES:
            if value not in _CHOICES[key]:
                raise ScoringError(f"recipe: {key}={value!r:.60} is not one of {', '.join(_CHOICES[key])}")
            clean[key] = value
        elif key.startswith("max_"):
            clean[key] = _positive(key, value)
        elif value is None or isinstance(value, str):
            clean[key] = value or None
        else:
            raise ScoringError(f"recipe: {key} must be text")
    return replace(base, **clean)  # type: ignore[arg-type]


def _positive(key: str, value: object) -> int | None:
    if value in (None, "", "none"):
        return None
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise ScoringError(f"recipe: {key}={value!r} must be a whole number above 0, or none")
    return number
