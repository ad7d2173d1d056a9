"""A scenario as TOML: only what differs from a scenario that says nothing, in the order of the settings.

Invariant: what `load_scenario` reads from the text is equal to the scenario that it was written from, but for the
server's token and the login at a broker: the text is there to be kept and passed on, and secrets are not.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from server.broker_address import without_login
from workbench.scenario import Scenario


def scenario_text(scenario: Scenario) -> str:
    """The whole file. Its name is always said, so that the file may be called anything."""
    return "\n".join(_table((), scenario, Scenario(), always=("name",))).strip() + "\n"


def _table(
    path: tuple[str, ...], settings: msgspec.Struct, plain: msgspec.Struct, always: tuple[str, ...] = ()
) -> Iterator[str]:
    """Lines of one table and of those inside it: its own keys first, as TOML wants it."""
    inner: list[tuple[str, msgspec.Struct, msgspec.Struct]] = []
    lines: list[str] = []
    for key in settings.__struct_fields__:
        value, default = getattr(settings, key), getattr(plain, key)
        if isinstance(value, msgspec.Struct):
            inner.append((key, value, default))
        elif (value != default or key in always) and (*path, key) != ("server", "token"):
            lines.append(f"{key} = {_value(without_login(value) if key == 'mqtt' else value)}")
    if path and lines:
        yield f"\n[{'.'.join(path)}]"
    yield from lines
    for key, value, default in inner:
        yield from _table((*path, key), value, default)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML's escapes are JSON's, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, msgspec.Struct):
        fields = ", ".join(f"{key} = {_value(getattr(value, key))}" for key in value.__struct_fields__)
        return f"{{ {fields} }}"
    return repr(value)
