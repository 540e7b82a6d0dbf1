"""A typed filter becomes a test of tags: part of a name, a glob, or a regular expression in linear time (RE2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

LONGEST = 1000
"""Characters that a filter may have."""
_REGEX_SIGNS = set("^$|()+\\{}")


class FilterError(ValueError):
    """The text is no regular expression; the message says why."""


Kind = Literal[
    "a part of a name", "a glob over the last part of a name", "a glob over the whole name", "a regular expression"
]


def kind_of(text: str) -> Kind:
    r"""What a filter is taken as.

    Any of `^ $ | ( ) + \ { }` or `.*` make a regular expression found anywhere, else `*` and `?` a glob: over the whole
    tag where there is a slash in it (`critic/*`), else over the whole tag or what stands behind its last slash (`d_*`
    finds `critic/d_acc`). Anything else, `[` included, is a part of the name.
    """
    if _REGEX_SIGNS & set(text) or ".*" in text:
        return "a regular expression"
    if "*" not in text and "?" not in text:
        return "a part of a name"
    return "a glob over the whole name" if "/" in text else "a glob over the last part of a name"


def matcher(text: str) -> Callable[[str], bool]:
    """A test for tags, blind to case. Raises FilterError."""
    text = text.strip()[:LONGEST]
    kind = kind_of(text)
    if kind == "a regular expression":
        return _regex(text)
    if kind.startswith("a glob"):
        import re2

        escaped = re2.escape(text)
        whole = escaped.replace(r"\*", ".*").replace(r"\?", ".")
        last = escaped.replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        return _regex(f"^{whole}$" if "/" in text else f"^{whole}$|/{last}$")
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
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if isinstance(error, re2.error) and error.args else error
        said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise FilterError(f"no regular expression: {said}") from error
    return lambda tag: search(tag) is not None


def group_of(tag: str) -> str:
    """What is before the first slash, or `other`."""
    prefix, slash, _ = tag.partition("/")
    return prefix if slash and prefix else "other"
