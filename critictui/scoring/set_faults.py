"""Faults in a fixed set's texts that make a critic tell formats apart instead of answers."""

from __future__ import annotations

from critictui.scoring.fixed_set import FixedSet

_HEAD = 200
"""Characters of a prompt that are looked for; its template's words may stand before it."""
_REPR = ("[{'", '[{"', "{'role'", "array([{")


def echoed_share(fixed_set: FixedSet) -> float:
    """Share of student responses that begin with their prompt's last message; 0 without students."""
    hits: list[bool] = []
    for item in fixed_set.prompts:
        text = item.prompt if isinstance(item.prompt, str) else item.prompt[-1].content
        head = text.strip()[:_HEAD]
        hits += [len(head) > 3 and head in s.text[: len(text) + 2 * _HEAD] for s in item.students]
    return sum(hits) / len(hits) if hits else 0.0


def garbled_share(fixed_set: FixedSet) -> float:
    """Share of the prompts given as text that are Python's repr of a chat; 0 where all are messages."""
    texts = [p.prompt for p in fixed_set.prompts if isinstance(p.prompt, str)]
    return sum(t.lstrip().startswith(_REPR) for t in texts) / len(texts) if texts else 0.0
