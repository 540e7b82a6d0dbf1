"""Lives that overlap: pieces of one tag, oldest first, go in; one value a step, by step, comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from critictui.run.columns import Columns
from critictui.run.dtypes import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Points of one tag that one life of one writer wrote, in file order."""

    session: int
    step: IntArray
    wall: FloatArray
    value: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """The points that are shown."""

    columns: Columns
    """By step; `position` holds the session of each point."""
    superseded: int
    """Points that a later session covers: its first step is theirs or lower."""
    duplicates: int
    """Points whose step the same session wrote again later."""


def merge(pieces: Sequence[Piece]) -> Merged:
    """Later sessions over earlier ones, from their first step on; in one session the last write of a step stands."""
    kept: list[Piece] = []
    superseded = 0
    ceiling: int | None = None
    for piece in _joined(pieces)[::-1]:
        stays = slice(None) if ceiling is None else piece.step < ceiling
        left = Piece(piece.session, piece.step[stays], piece.wall[stays], piece.value[stays])
        superseded += len(piece.step) - len(left.step)
        lowest = int(piece.step.min())
        ceiling = lowest if ceiling is None else min(ceiling, lowest)
        kept.append(_by_step(left))
    kept.reverse()
    columns = Columns(sum(len(piece.step) for piece in kept))
    for piece in kept:
        columns.append(piece.step, piece.wall, piece.value, np.full(len(piece.step), piece.session))
    duplicates = sum(len(piece.step) for piece in pieces) - superseded - columns.n
    return Merged(columns, superseded, duplicates)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """One piece a session: a session can go on in a further file."""
    out: list[Piece] = []
    for piece in pieces:
        if out and out[-1].session == piece.session:
            last = out.pop()
            step = np.concatenate([last.step, piece.step])
            wall = np.concatenate([last.wall, piece.wall])
            out.append(Piece(piece.session, step, wall, np.concatenate([last.value, piece.value])))
        else:
            out.append(piece)
    return out


def _by_step(piece: Piece) -> Piece:
    order = np.argsort(piece.step, kind="stable")
    step = piece.step[order]
    last = np.ones(len(order), np.bool_)
    last[:-1] = step[1:] != step[:-1]
    chosen = order[last]
    return Piece(piece.session, piece.step[chosen], piece.wall[chosen], piece.value[chosen])
