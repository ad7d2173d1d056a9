"""Explains an error of the validation of settings in one line: the key (`$.fleet.rate_per_s`), the value, the remedy.

It looks the key up in the tree of values and in the classes of the settings.
"""

import difflib
import re
import typing
from collections.abc import Sequence
from typing import Any, Literal

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_EXPECTED = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_TYPE_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "null": "nothing",
    "object": "a table of keys",
    "array": "a list",
}


def closest(word: str, words: Sequence[str]) -> str | None:
    """The known word that is most similar to an unknown one, if any is similar."""
    found = difflib.get_close_matches(word, words, n=1, cutoff=0.55)
    return found[0] if found else None


def explain(message: str, tree: dict[str, Any], settings: type[Any]) -> str:
    """One line from msgspec's `message` about converting `tree` to `settings`."""
    match = _AT.match(message)
    assert match is not None
    what, path = match["what"], match["path"] or "$"
    # msgspec reports one fault at a time, as text; these patterns are its three kinds of message.
    if unknown := _UNKNOWN.search(what):
        return _explain_unknown(path, unknown[1], _type_at(path, settings))
    if expected := _EXPECTED.search(what):
        wanted = " or ".join(_TYPE_WORDS.get(word, word) for word in expected[1].split(" | "))
        return f"{path} is {_shown(_value_at(path, tree))}; it must be {_choices(path, settings) or wanted}"
    if choices := _choices(path, settings):
        return f"{path} is {_shown(_value_at(path, tree))}; it must be {choices}"
    return f"{path}.{what}"


def _explain_unknown(path: str, key: str, owner: Any) -> str:
    known = list(getattr(owner, "__struct_fields__", ()))
    guess = closest(key, known)
    hint = f"did you mean {path}.{guess}?" if guess else f"known there: {', '.join(known)}"
    return f"{path}.{key} is not a known key; {hint}"


def _names(path: str) -> list[str]:
    return re.findall(r"[^.\[\]]+", path.removeprefix("$"))


def _type_at(path: str, settings: Any) -> Any:
    found = settings
    for name in _names(path):
        if name.isdigit():
            # An index into a tuple: all entries have the first argument's type.
            found = next(iter(typing.get_args(found)), None)
        else:
            found = typing.get_type_hints(found).get(name) if isinstance(found, type) else None
    return found


def _value_at(path: str, tree: Any) -> Any:
    found = tree
    for name in _names(path):
        found = found[int(name)] if isinstance(found, list | tuple) else found[name]
    return found


def _choices(path: str, settings: Any) -> str:
    """The values that the key allows, or "" if it is not an enumeration."""
    kind = _type_at(path, settings)
    options = (kind, *typing.get_args(kind))
    words = [
        str(word) for option in options if typing.get_origin(option) is Literal for word in typing.get_args(option)
    ]
    if not words:
        return ""
    numbers = [_TYPE_WORDS["int"]] if int in options else []
    return ", ".join((words + numbers)[:-1]) + " or " * (len(words + numbers) > 1) + (words + numbers)[-1]


def _shown(value: Any) -> str:
    """A value as in TOML, cut to fit a line."""
    text = repr(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
