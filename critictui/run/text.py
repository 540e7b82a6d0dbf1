"""The one door for foreign text: what is safe to show comes out, whatever goes in."""

from __future__ import annotations

import re
import unicodedata

LINE_LIMIT = 16 << 10
"""Characters of one line, or one tag, that a screen is ever given."""

_STRINGS = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c\n]*+(?:\x07|\x1b\\|\x9c)?"
_CONTROL_SEQUENCES = r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?"
_SHORT_ESCAPES = r"\x1b[ -/]*+[0-~]?"
_ESCAPES = re.compile(f"{_STRINGS}|{_CONTROL_SEQUENCES}|{_SHORT_ESCAPES}")
"""Whole sequences (ECMA-48), 7 and 8 bit: strings with their payload, control sequences, short escapes.

Possessive, and every end is optional: an unfinished sequence costs one pass and takes no more than its line.
"""

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_DIRECTION = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_INVISIBLE = (
    r"\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2028\u2029\u2060-\u2065\u206a-\u206f"
    r"\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_SURROGATES = r"\ud800-\udfff"
_UNSAFE = re.compile(f"[{_CONTROLS}{_DIRECTION}{_INVISIBLE}{_SURROGATES}]")

_STACKABLE = re.compile(r"[^\w\s\x00-\x7f]{5,}+")
"""Marks that stand on the letter before them are no word characters to Python; of any script."""
_MOST_MARKS = 4


def sanitise(text: str, limit: int = LINE_LIMIT) -> str:
    r"""`text` with nothing in it that a terminal obeys or a reader cannot see, at most `limit` characters long.

    Escape sequences go, whole. C0 (but tab and newline), C1 and DEL become control pictures or `\x9b`; characters that
    turn the direction of writing or have no width become `\u202e`; lone surrogates become U+FFFD; more than four
    combining marks on one another are cut. What is over the limit becomes `…+n`, n the characters that are missing.
    Idempotent, and linear in the length of `text`.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    rest = 0
    if len(text) > 8 * limit + 64:
        rest = len(text) - 8 * limit - 64
        text = text[: 8 * limit + 64]
    clean = _ESCAPES.sub("", text) if _has_escape(text) else text
    clean = _UNSAFE.sub(_visible, clean)
    if not clean.isascii():
        clean = _STACKABLE.sub(_unstacked, clean)
    return _capped(clean, limit, rest)


def sanitise_line(text: str, limit: int = 512) -> str:
    """As `sanitise`, on one line: newlines become `␊` and tabs a space. For tags, names and messages."""
    clean = sanitise(text, limit)
    return clean.replace("\n", "␊").replace("\t", " ")


def _has_escape(text: str) -> bool:
    return "\x1b" in text or bool(re.search("[\x90\x98\x9b\x9d\x9e\x9f]", text))


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unstacked(match: re.Match[str]) -> str:
    """A run of signs without the marks beyond the fourth on one another."""
    kept, stacked = [], 0
    for sign in match.group():
        stacked = stacked + 1 if unicodedata.category(sign) in {"Mn", "Me"} else 0
        if stacked <= _MOST_MARKS:
            kept.append(sign)
    return "".join(kept)


def _capped(text: str, limit: int, rest: int) -> str:
    if len(text) <= limit and not rest:
        return text
    # The suffix counts towards the limit, so that a second pass has nothing left to cut.
    missing = len(text) + rest
    for _ in range(3):
        suffix = f"…+{missing}"
        keep = min(len(text), limit - len(suffix))
        missing = len(text) + rest - max(keep, 0)
    suffix = f"…+{missing}"
    return text[: limit - len(suffix)] + suffix if len(suffix) < limit else text[: max(limit, 0)]


def json_text(value: object) -> str:
    """As JSON on a UTF-8 stdout can hold it: names on disk may be bytes that are no text."""
    return str(value).encode("utf-8", "replace").decode()
