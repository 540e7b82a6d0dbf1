"""From a fixed set to token ids as training saw them: one tree a prompt, its responses as the branches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from critictui.scoring.fixed_set import FixedSet, Message, Response
from critictui.scoring.recipe import EosRule, Recipe, ScoringError
from critictui.worker.ends import differing_ends, end_warnings, ending, ends_shown
from critictui.worker.tokenizer import template_in_effect

Ids = NDArray[np.int64]
_NONE: Ids = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One response behind its prompt."""

    ids: Ids
    """(n,) the response's tokens that take part in the score: cut at the recipe's length, its end by the recipe."""
    truncated: bool
    """The prompt or the response was cut."""
    eos: bool
    """The response ended in an end-of-sequence token, whether or not it takes part."""
    closing: int = 0
    """How many of `ids` stand behind the response's own: EOS, and what closes the turn behind it."""

    def count(self, eos: EosRule) -> int:
        """How many of `ids` take part under another rule for the end; `ids` must hold as much as that asks for."""
        own = len(self.ids) - self.closing
        return {"exclude": own, "include": own + min(self.closing, 1), "turn": len(self.ids)}[eos]


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """A prompt's tokens once, and the responses to it."""

    prompt: Ids
    branches: tuple[Branch, ...]

    @property
    def tokens(self) -> int:
        """How many tokens a forward pass over it computes."""
        return len(self.prompt) + sum(len(branch.ids) for branch in self.branches)


@dataclass(frozen=True, slots=True, eq=False)
class Tokenised:
    """A fixed set as trees. Equal prompts and equal responses are there once."""

    trees: tuple[Tree, ...]
    places: tuple[tuple[tuple[int, int], ...], ...]
    """For each prompt of the set, for its teacher and then each student: (tree, branch)."""
    warnings: tuple[str, ...]
    differing_ends: str = ""
    """Which tokens end how many responses of each side, in words, where it is not one token."""
    tokenizer_sha256: str = ""
    template_sha256: str = ""
    """Of the tokenizer and the chat template that made it; empty where no template takes part."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """What turns text into ids: tokenizer, recipe, and what ends a response."""

    tokenizer: Any
    recipe: Recipe
    eos_ids: frozenset[int]
    end: int | None
    """What is put behind a response that is text."""
    where: str
    tail: Ids
    """What closes a turn behind EOS, for raw responses; what is rendered has it already."""

    def render(self, messages: list[dict[str, str]], *, generation_prompt: bool) -> Ids:
        return _render(
            self.tokenizer, messages, self.recipe.chat_template, generation_prompt=generation_prompt, where=self.where
        )


def tokenise(
    fixed_set: FixedSet, tokenizer: Any, recipe: Recipe, *, eos_ids: frozenset[int], where: str = "checkpoint"
) -> Tokenised:
    """Tokenise every prompt and response by the recipe.

    eos_ids: what ends a response (see `end_ids`); so does what the set's own ids end in. where: names the tokenizer in
    errors. Raises ScoringError when the tokenizer has no chat template and the recipe brings none, or the template does
    not take the prompt.
    """
    shown = ends_shown(fixed_set, tokenizer, eos_ids)
    eos_ids |= shown.keys()
    raw = recipe.tokens == "concat" and recipe.eos == "turn"
    tail = turn_tail(tokenizer, recipe.chat_template, eos_ids, where=where) if raw else _NONE
    # both sides end alike: a text gets the end that the stored ids have
    end = shown.most_common(1)[0][0] if shown else tokenizer.eos_token_id
    rules = _Rules(tokenizer, recipe, eos_ids, end, where, tail)
    trees: list[tuple[Ids, list[Branch]]] = []
    openings: set[bytes] = set()
    by_prompt: dict[bytes, int] = {}
    known: dict[tuple[int, bytes, bool], int] = {}
    places: list[tuple[tuple[int, int], ...]] = []
    ends = {"teacher": Counter[int](), "students": Counter[int]()}
    for item in fixed_set.prompts:
        opening = _opening(item.prompt, rules)
        openings.add(opening.tobytes())
        spots: list[tuple[int, int]] = []
        for number, response in enumerate((item.teacher, *item.students)):
            before, behind = _sequence(item.prompt, response, rules, opening)
            prompt = before if recipe.max_prompt_tokens is None else before[-recipe.max_prompt_tokens :]
            tree = by_prompt.setdefault(prompt.tobytes(), len(trees))
            if tree == len(trees):
                trees.append((prompt, []))
            branch, last = _branch(behind, rules, cut=len(prompt) < len(before))
            ends["students" if number else "teacher"][last] += 1
            key = (tree, branch.ids.tobytes(), branch.truncated)
            if key not in known:
                known[key] = len(trees[tree][1])
                trees[tree][1].append(branch)
            spots.append((tree, known[key]))
        places.append(tuple(spots))
    _refuse_constant(fixed_set, len(openings), rules)
    made = tuple(Tree(prompt, tuple(branches)) for prompt, branches in trees)
    differing = differing_ends(ends, tokenizer)
    warnings = () if recipe.eos == "exclude" else end_warnings(ends, differing)
    return Tokenised(made, tuple(places), warnings, differing)


def _refuse_constant(fixed_set: FixedSet, openings: int, rules: _Rules) -> None:
    if openings == 1 and len({item.prompt for item in fixed_set.prompts}) > 1:
        raise ScoringError(
            f"{rules.where}: the chat template makes the same text of every prompt; give the one that training used "
            "(recipe chat_template=FILE)"
        )


def _branch(ids: Ids, rules: _Rules, *, cut: bool) -> tuple[Branch, int]:
    """All that stands behind a prompt, with its end by the recipe, and the token that ends it, -1 where none does.

    cut: says that the prompt was cut.
    """
    recipe = rules.recipe
    own, eos = ending(ids, rules.eos_ids, rules.tail, rendered=recipe.tokens != "concat")
    if recipe.max_response_tokens is not None and len(ids) > recipe.max_response_tokens:
        ids, cut = ids[: recipe.max_response_tokens], True
        own, eos = min(own, len(ids)), eos and own < len(ids)
    stop = {"exclude": own, "include": own + eos, "turn": len(ids)}[recipe.eos]
    if recipe.eos == "turn":  # a sequence classifier looks for the last token that is no padding, EOS or not
        pad = rules.tokenizer.pad_token_id
        while stop and int(ids[stop - 1]) == pad:
            stop -= 1
    return Branch(ids=ids[:stop], truncated=cut, eos=eos, closing=max(stop - own, 0)), int(ids[own]) if eos else -1


def turn_tail(tokenizer: Any, chat_template: str | None, eos_ids: frozenset[int], *, where: str = "checkpoint") -> Ids:
    """What the chat template writes behind the EOS of a finished answer (ChatML's line break); mostly nothing.

    Raises ScoringError without a template, or when it does not take a question and an answer.
    """
    turn = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    ids = _render(tokenizer, turn, chat_template, generation_prompt=False, where=where)
    found = np.flatnonzero(np.isin(ids, list(eos_ids)))
    return ids[int(found[-1]) + 1 :] if len(found) else _NONE


def _opening(prompt: str | Sequence[Message], rules: _Rules) -> Ids:
    """What stands before every response to a prompt."""
    if rules.recipe.tokens == "text":
        return _plain(rules.tokenizer, _text_of(prompt, rules.where))
    return rules.render(messages_of(prompt), generation_prompt=True)


def _sequence(prompt: str | Sequence[Message], response: Response, rules: _Rules, opening: Ids) -> tuple[Ids, Ids]:
    """(prompt ids, all that stands behind them), neither of them cut yet."""
    recipe = rules.recipe
    if recipe.tokens == "concat":
        ids = response_ids(rules.tokenizer, response, recipe, rules.eos_ids, rules.end)
        if recipe.eos == "turn":
            own, eos = ending(ids, rules.eos_ids, rules.tail)
            ids = np.concatenate([ids[: own + eos], rules.tail]) if eos else ids
        return opening, ids
    whole = together(rules.tokenizer, prompt, response.text, recipe, where=rules.where)
    same = common(opening, whole)
    if same < len(opening) and recipe.pooling != "last":
        raise ScoringError(
            f"{rules.where}: a prompt's tokens differ when a response follows them, so that it is not clear which "
            "tokens are the response's; score with tokens=concat"
        )
    return whole[:same], whole[same:]


def together(
    tokenizer: Any, prompt: str | Sequence[Message], response: str, recipe: Recipe, *, where: str = "checkpoint"
) -> Ids:
    """Prompt and response tokenised together: as one chat by the template, or as one text with EOS behind it.

    Raises ScoringError without a template, when it does not take these messages, or for a chat where text is needed.
    """
    if recipe.tokens == "text":
        eos = tokenizer.eos_token or ""
        return _plain(tokenizer, _text_of(prompt, where) + response.removesuffix(eos) + eos)
    messages = [*messages_of(prompt), {"role": "assistant", "content": response}]
    return _render(tokenizer, messages, recipe.chat_template, generation_prompt=False, where=where)


def _text_of(prompt: str | Sequence[Message], where: str) -> str:
    if isinstance(prompt, str):
        return prompt
    raise ScoringError(f"{where}: a prompt is a chat, and the recipe wants plain text; score with tokens=template")


def _plain(tokenizer: Any, text: str) -> Ids:
    return np.asarray(tokenizer(text)["input_ids"], np.int64)


def common(one: Ids, other: Ids) -> int:
    """How many tokens two sequences begin with in common."""
    n = min(len(one), len(other))
    differ = np.flatnonzero(one[:n] != other[:n])
    return int(differ[0]) if len(differ) else n


def prompt_ids(
    tokenizer: Any, prompt: str | Sequence[Message], chat_template: str | None = None, *, where: str = "checkpoint"
) -> Ids:
    """The chat template's ids with its generation prompt. A plain text is one user message.

    Raises ScoringError without a template, or when it fails on these messages.
    """
    return _render(tokenizer, messages_of(prompt), chat_template, generation_prompt=True, where=where)


def messages_of(prompt: str | Sequence[Message]) -> list[dict[str, str]]:
    """A prompt as the chat template takes it."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": message.role, "content": message.content} for message in prompt]


def _render(
    tokenizer: Any, messages: list[dict[str, str]], chat_template: str | None, *, generation_prompt: bool, where: str
) -> Ids:
    if chat_template is None and not getattr(tokenizer, "chat_template", None):
        raise ScoringError(
            f"{where}: its tokenizer has no chat template (tokenizer_config.json or chat_template.jinja); "
            "copy the one that training used there, or give the recipe a chat_template"
        )
    from jinja2.exceptions import TemplateError

    try:
        ids = tokenizer.apply_chat_template(
            messages,
            chat_template=template_in_effect(tokenizer, chat_template),
            tokenize=True,
            add_generation_prompt=generation_prompt,
            return_dict=False,
        )
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise ScoringError(f"{where}: the chat template fails on a prompt ({error!s:.120})") from None
    return np.asarray(ids, np.int64)


def response_ids(
    tokenizer: Any, response: Response, recipe: Recipe, eos_ids: frozenset[int], end: int | None = None
) -> Ids:
    """The raw ids where they are known; else the text's, followed by its end if the recipe includes it.

    end: the token for that; None takes the tokenizer's EOS.

    Known ids are what the model wrote and are left as they are. A text that was cut by its length (finish reason
    `length`) had no EOS, so none is made up.
    """
    if response.ids is not None:
        return np.asarray(response.ids, np.int64)
    ids = list(tokenizer(response.text, add_special_tokens=False)["input_ids"])
    eos = tokenizer.eos_token_id if end is None else end
    wanted = recipe.eos != "exclude" and response.finish_reason != "length" and eos is not None
    if wanted and (not ids or ids[-1] not in eos_ids):
        ids.append(eos)
    return np.asarray(ids, np.int64)
