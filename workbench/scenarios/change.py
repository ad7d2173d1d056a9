"""What one scenario has otherwise than another: dotted keys and their values, as data that can be written down.

It reads and writes nothing. Invariant: `with_changes(before, changes_between(before, after), ...)` is `after`, also
when the changes have been JSON in between.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from workbench.errors import UserError
from workbench.scenarios.scenario import Scenario


def changes_between(before: msgspec.Struct, after: msgspec.Struct) -> dict[str, Any]:
    """By dotted key, the settings of `after` that `before` has otherwise. Tables are gone through, arrays are whole."""
    changes: dict[str, Any] = {}
    for name in after.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(new, msgspec.Struct):
            changes |= {f"{name}.{key}": value for key, value in changes_between(old, new).items()}
        elif new != old:
            changes[name] = new
    return changes


def with_changes(scenario: Scenario, changes: Mapping[str, Any], label: str) -> Scenario:
    """The scenario with these settings. Raises UserError that begins with `label` for what is no setting of one."""
    try:
        changed: Scenario = _laid_over(scenario, changes)
    except (ValueError, TypeError) as error:
        raise UserError(f"{label}: {error}") from None
    return changed


def _laid_over(settings: msgspec.Struct, changes: Mapping[str, Any]) -> Any:
    """The settings of a table and of those in it. All are replaced at once: one alone may contradict another."""
    types = {field.name: field.type for field in msgspec.structs.fields(settings)}
    tables: dict[str, dict[str, Any]] = {}
    fields: dict[str, Any] = {}
    for key, value in changes.items():
        name, dot, rest = key.partition(".")
        if name not in types or bool(dot) != isinstance(getattr(settings, name), msgspec.Struct):
            raise ValueError(f"{key} is no setting")
        if dot:
            tables.setdefault(name, {})[rest] = value
        else:
            fields[name] = msgspec.convert(value, types[name])
    fields |= {name: _laid_over(getattr(settings, name), inner) for name, inner in tables.items()}
    return msgspec.structs.replace(settings, **fields)
