"""A scenario as TOML: only what differs from a scenario that says nothing, in the order of the settings.

Invariant: what `load_scenario` reads from the text is equal to the scenario that it was written from, but for the
server's token, what only holds where there is one, and the login at a broker: the text is there to be kept and passed
on, and secrets are not.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from server.mqtt.address import without_login
from workbench.scenarios.scenario import Scenario

_UNKEPT = (("server", "token"), ("server", "viewers_only_without_token"))


def scenario_text(scenario: Scenario) -> str:
    """The whole file. Its name is always said, so that the file may be called anything."""
    return "\n".join(_table((), scenario, Scenario(), always=("name",))).strip() + "\n"


def _table(
    path: tuple[str, ...], settings: msgspec.Struct, plain: msgspec.Struct, always: tuple[str, ...] = ()
) -> Iterator[str]:
    """Lines of one table and of those inside it: its own keys first, as TOML wants it."""
    inner: list[tuple[str, msgspec.Struct, msgspec.Struct]] = []
    arrays: list[str] = []
    lines: list[str] = []
    for key in settings.__struct_fields__:
        value, default = getattr(settings, key), getattr(plain, key)
        if isinstance(value, msgspec.Struct):
            inner.append((key, value, default))
        elif value and isinstance(value, tuple) and isinstance(value[0], msgspec.Struct):
            arrays += (line for entry in value for line in _entry((*path, key), entry))
        elif (value != default or key in always) and (*path, key) not in _UNKEPT:
            lines.append(f"{key} = {_value(without_login(value) if key == 'mqtt' else value)}")
    if path and lines:
        yield f"\n[{'.'.join(path)}]"
    yield from lines
    yield from arrays
    for key, value, default in inner:
        yield from _table((*path, key), value, default)


def _entry(path: tuple[str, ...], settings: msgspec.Struct) -> Iterator[str]:
    """Lines of one table of an array: its keys that say something else than nothing would."""
    yield f"\n[[{'.'.join(path)}]]"
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            yield f"{field.encode_name} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML's escapes are JSON's, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
