"""What a tag means: the spellings of the trainers go in, the canonical name of the metric comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from critictui.run.metrics import NAMES
from critictui.run.profiles import BUILT_IN, Profile
from critictui.run.tags import HELD_OUT, TRAIN

Rank = tuple[int, int, int]
"""(measured on held-out pairs, whose word it is, place among equals): lower stands better for a metric."""
Table = Mapping[str, tuple[str, Rank]]
"""A tag as it is written to the canonical name it means, and how well it stands for that."""
_USER, _NAME, _PROFILE, _ANY = range(4)


def table_of(profile: Profile | None = None, user: Mapping[str, str] | None = None) -> Table:
    """Everything that is known of tags in a run of this profile.

    The user's aliases come first, then the canonical names, the profile's spellings, and those of all trainers: what is
    written is not always what its writer was taken for.
    """
    spellings: list[tuple[str, str, int]] = [(tag, name, _USER) for tag, name in (user or {}).items()]
    if profile is not None and profile.by_user:
        spellings += [(tag, name, _USER) for tag, name in profile.aliases.items()]
    spellings += [(name, name, _NAME) for name in NAMES]
    if profile is not None:
        spellings += [(tag, name, _PROFILE) for tag, name in profile.aliases.items()]
    spellings += [(tag, name, _ANY) for known in BUILT_IN for tag, name in known.aliases.items()]
    table: dict[str, tuple[str, Rank]] = {}
    for place, (tag, name, whose) in enumerate(spellings):
        table.setdefault(tag, (name, (0, whose, place)))
    return table


GENERAL = table_of()
"""What is known of tags before anything is known of a run."""


def meaning(tag: str, table: Table = GENERAL) -> tuple[str, Rank] | None:
    """The canonical name of a tag and how well it stands for it, or None for no known spelling.

    A prefix `train/` or `eval/` is looked through, `eval/` as the lesser one.
    """
    if tag in table:
        return table[tag]
    for prefix in TRAIN:
        if tag.startswith(prefix) and tag[len(prefix) :] in table:
            return table[tag[len(prefix) :]]
    for prefix in HELD_OUT:
        if tag.startswith(prefix) and tag[len(prefix) :] in table:
            name, (_, whose, place) = table[tag[len(prefix) :]]
            return name, (1, whose, place)
    return None


def canonical(tag: str, table: Table = GENERAL) -> str:
    """The canonical name of a tag, or the tag itself."""
    found = meaning(tag, table)
    return tag if found is None else found[0]


def stand_ins(tags: Iterable[str], table: Table = GENERAL) -> dict[str, str]:
    """Canonical name to the tag that stands for it: the best spelling, of equals the first."""
    best: dict[str, tuple[Rank, str]] = {}
    for tag in tags:
        found = meaning(tag, table)
        if found is not None and (found[0] not in best or found[1] < best[found[0]][0]):
            best[found[0]] = (found[1], tag)
    return {name: tag for name, (_, tag) in best.items()}
