"""Configuration texts into dotted keys: the plain part of YAML, and Python literals as pprint writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

Scalar = str | int | float | bool | None

_LINE = re.compile(r"^( *)((?:- )*)(?:([\w.$/@-][^:#'\"{}\[\]]*?|'[^']*'|\"[^\"]*\")\s*:(?: +|$))?(.*)$")
_INT = re.compile(r"[+-]?[0-9]{1,18}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?")
_REFERENCE = re.compile(r"\$\{(?:oc\.select:)?([\w.]+)(?:,([^{}]*))?\}")


def yaml_scalars(text: str) -> dict[str, Scalar]:
    """`{"a.b": 1}` for nested `key: scalar` mappings, lists as `a.b.0`; anything else in the text is passed over.

    The subset that Hydra and wandb write. References `${a.b}` to other keys of the text are followed once.
    """
    values: dict[str, Scalar] = {}
    path: list[tuple[int, str]] = []
    counts: dict[str, int] = {}
    skip_deeper: int | None = None
    for raw in text.split("\n"):
        line = raw.rstrip()
        found = _LINE.match(line)
        if not line.strip() or line.lstrip().startswith(("#", "---", "%")) or found is None or "\t" in line[:8]:
            continue
        indent, dashes, key, rest = len(found.group(1)), found.group(2), found.group(3), found.group(4)
        if skip_deeper is not None:
            if indent > skip_deeper:
                continue
            skip_deeper = None
        if dashes or rest == "-":
            while path and path[-1][0] >= indent and not (path[-1][0] == indent and not path[-1][1].isdigit()):
                path.pop()
            name = ".".join(p for _, p in path)
            index = counts[name] = counts.get(name, -1) + 1
            if key is None and rest != "-":
                values[f"{name}.{index}"] = _scalar(rest)
            else:
                path.append((indent, str(index)))
                indent += len(dashes)
        if key is None:
            continue
        while path and path[-1][0] >= indent:
            path.pop()
        name = ".".join([*(p for _, p in path), key.strip("'\"")])
        if rest == "" or rest.startswith(("#", "&", "!")):
            path.append((indent, key.strip("'\"")))
        elif rest[:1] in "|>":
            skip_deeper = indent
        else:
            _assign(values, name, rest)
    return {key: _resolved(value, values) for key, value in values.items()}


def _assign(values: dict[str, Scalar], name: str, text: str) -> None:
    if text.startswith("[") and text.endswith("]"):
        for index, item in enumerate(text[1:-1].split(",")):
            values[f"{name}.{index}"] = _scalar(item.strip())
    else:
        values[name] = _scalar(text)


def _scalar(text: str) -> Scalar:
    if text.startswith(("'", '"')):
        end = text.find(text[0], 1)
        return text[1:end] if end > 0 else text
    text = text.split(" #", 1)[0].strip()
    if text in {"null", "~", "Null", "NULL", ""}:
        return None
    if text in {"true", "True", "false", "False"}:
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _resolved(value: Scalar, values: Mapping[str, Scalar]) -> Scalar:
    if not isinstance(value, str) or "${" not in value:
        return value
    found = _REFERENCE.fullmatch(value)
    if found is None:
        return None
    target = values.get(found.group(1), _scalar(found.group(2) or ""))
    return None if isinstance(target, str) and "${" in target else target


_TOKEN = re.compile(
    r"'((?:[^'\\]|\\.)*+)'\s*:\s*"  # a key
    r"|'((?:[^'\\]|\\.)*+)'|\"((?:[^\"\\]|\\.)*+)\""  # a text
    r"|([{}\[\]()])|([^\s,{}\[\]()'\"]++)"  # a bracket, a word
)
_PPRINTED = re.compile(r"\s*[{'\"\[(]|\s*[^\s=]*[,}\]]$")
_STRANGERS = 200


def printed_scalars(lines: Iterable[str]) -> dict[str, Scalar]:
    """Dotted keys of a Python dict as `print` or `pprint` wrote it, from its first brace on, lists as `a.b.0`.

    Reads by columns where lines break: a warning printed into the middle, or a line that was lost, costs only itself.
    """
    values: dict[str, Scalar] = {}
    path: list[tuple[int, str]] = []
    key: tuple[int, str] | None = None
    strangers = count = 0
    opened = False
    for line in lines:
        if opened and not _PPRINTED.match(line):
            strangers += 1
            if strangers > _STRANGERS:
                break
            continue
        fresh, here = True, 0
        for token in _TOKEN.finditer(line if opened else line[line.find("{") :].rjust(len(line))):
            named, text, quoted, bracket, word = token.groups()
            if named is not None:
                while fresh and path and path[-1][0] >= token.start():
                    path.pop()
                key, fresh, count = (token.start(), named), False, 0
            elif bracket in {"{", "["}:
                opened = True
                if key is not None:
                    path.append(key)
                    key, here, fresh = None, here + 1, False
            elif bracket in {"}", "]"}:
                if here:  # what was opened on an earlier line is closed by the column of the next key
                    path.pop()
                    here -= 1
            elif bracket is None:
                # Texts that follow each other are one text that pprint broke, or the items of a list: only the latter
                # have no key of their own.
                item = text if text is not None else quoted
                value = item if item is not None else _scalar(word.replace("None", "null"))
                names = [name for _, name in path] + ([key[1]] if key is not None else [str(count)])
                values.setdefault(".".join(names), value)
                count, key = count + (key is None), None
        if opened and line.rstrip().endswith("}"):
            break
    return values
