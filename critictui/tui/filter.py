"""A typed filter becomes a test of tags: part of a name, a glob, or a regular expression in linear time (RE2)."""

from __future__ import annotations

from collections.abc import Callable

LONGEST = 1000
"""Characters that a filter may have."""
_REGEX_SIGNS = set("^$|()+\\{}")


class FilterError(ValueError):
    """The text is no regular expression; the message says why."""


def matcher(text: str) -> Callable[[str], bool]:
    r"""A test for tags, blind to case.

    `*` and `?` make a glob over the whole tag (`critic/*`); any of `^ $ | ( ) + \ { }` or `.*` make a regular
    expression found anywhere; anything else, `[` included, is a part of the name. Raises FilterError.
    """
    text = text.strip()[:LONGEST]
    if not text:
        return lambda tag: True
    if _REGEX_SIGNS & set(text) or ".*" in text:
        return _regex(text)
    if "*" in text or "?" in text:
        import re2

        return _regex("^" + re2.escape(text).replace(r"\*", ".*").replace(r"\?", ".") + "$")
    part = text.lower()
    return lambda tag: part in tag.lower()


def _regex(pattern: str) -> Callable[[str], bool]:
    import re2

    options = re2.Options()
    options.log_errors = False  # it would write to the terminal itself
    options.case_sensitive = False
    options.dot_nl = True
    options.max_mem = 8 << 20
    try:
        search = re2.compile(pattern, options).search
    except Exception as error:
        raise FilterError(f"no regular expression: {error}") from error
    return lambda tag: search(tag) is not None


def group_of(tag: str) -> str:
    """What is before the first slash, or `other`."""
    prefix, slash, _ = tag.partition("/")
    return prefix if slash and prefix else "other"
