"""What ends a response: stored ids and a tokenizer in, the ends they show and what does not compare in words out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from critictui.scoring.fixed_set import FixedSet

Ids = NDArray[np.int64]
_NONE: Ids = np.empty(0, np.int64)


def ending(ids: Ids, eos_ids: frozenset[int], tail: Ids, *, rendered: bool = False) -> tuple[int, bool]:
    """(how many tokens are the response's own, whether EOS follows them).

    Several EOS are one: generation pads with them. tail: what may follow it (see `turn_tail`). rendered: the template
    wrote the end, so that whatever follows the last EOS is its own.
    """
    n = len(ids)
    if rendered:
        found = np.flatnonzero(np.isin(ids, list(eos_ids)))
        n = int(found[-1]) + 1 if len(found) else n
    elif 0 < len(tail) < n and int(ids[-len(tail) - 1]) in eos_ids and np.array_equal(ids[-len(tail) :], tail):
        n -= len(tail)
    own = n
    while own and int(ids[own - 1]) in eos_ids:
        own -= 1
    return own, own < n


def ends_shown(fixed_set: FixedSet, tokenizer: Any, eos_ids: frozenset[int]) -> Counter[int]:
    """Which token ends how many of the responses whose ids are stored.

    eos_ids: those that the model's files name. Beside them any special token in the last place is one: a critic that
    was made from a base model names that model's EOS, while its student ends a turn. Padding is one only behind a
    response that is known to have stopped.
    """
    special = frozenset(number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
    pad = {tokenizer.pad_token_id} - eos_ids
    shown = Counter[int]()
    for item in fixed_set.prompts:
        for response in (item.teacher, *item.students):
            ids = response.ids or ()
            ends = eos_ids | (special if response.finish_reason == "stop" else special - pad)
            own, eos = ending(np.asarray(ids, np.int64), ends, _NONE)
            shown.update([ids[own]] if eos else [])
    return shown


def differing_ends(ends: Mapping[str, Mapping[int, int]], tokenizer: Any) -> str:
    """Which tokens end how many responses of each side (-1: none does), in words; empty where it is one token."""
    tokens = {end for seen in ends.values() for end in seen} - {-1}
    if len(tokens) <= 1:
        return ""
    names = {end: str(tokenizer.convert_ids_to_tokens(end)) for end in tokens}
    sides = [
        f"{side} " + ", ".join(f"{names.get(end, 'none')} ({count})" for end, count in sorted(seen.items()))
        for side, seen in ends.items()
    ]
    return "; ".join(sides)


def end_warnings(ends: Mapping[str, Mapping[int, int]], differing: str) -> tuple[str, ...]:
    """What a recipe that scores the end must say of sides, teacher and students, that end differently."""
    teacher, students = (set(seen) for seen in ends.values())
    if differing:
        return (f"responses end in different tokens, and the recipe scores them: {differing}; score with eos=exclude",)
    if len(teacher) == len(students) == 1 and teacher != students:
        return ("the end-of-sequence token is scored on one side only: scores of the two sides do not compare",)
    if teacher != students:
        return ("not all responses end in the end-of-sequence token that the recipe scores",)
    return ()
