"""Scenarios: the settings of a run, read from TOML, changed, and written as TOML.

A scenario is a built-in name or a file. Overrides (`fleet.connections=500`) are applied to the parsed TOML before it is
validated, so that a wrong override and a wrong line of the file give the same error.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from devices.config import FleetConfig
from server.config import ServerConfig
from server.mqtt.address import without_login
from workbench.errors import UserError, shown
from workbench.scenarios.fault import LINK_FAULTS, Fault
from workbench.scenarios.load_curve import LoadCurve, check_curve
from workbench.scenarios.validation import closest, explain

# The built-in scenarios, one TOML file each.
FOLDER = Path(__file__).parent
# Size in pixels of the pictures in the list of scenarios.
PORTRAIT_SIZE = (320, 180)

DEFAULT_NAME = "first_light"

_SERVER_SHORTHANDS = ("loop", "loops")
SECONDS_MAX = 7 * 86_400


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One run: a server, a fleet, how they are linked, and for how long."""

    name: str = ""
    """Default: the name of the file."""
    title: str = ""
    """One sentence on what it shows."""
    seconds: float | None = None
    """How long it is measured, from a second after all devices are connected. Absent: until it is stopped."""
    seed: int = 1
    """Seed of all random numbers of the fleet."""
    link: Literal["socket", "memory"] = "socket"
    """How devices reach the server: over loopback sockets, or through shared memory, without sockets."""
    load_curve: LoadCurve = ()
    """Load multiplier over time: [seconds since the load began, factor], linear in between. Empty: always 1."""
    faults: tuple[Fault, ...] = ()
    """Faults to inject, and when."""
    server: ServerConfig = ServerConfig()
    fleet: FleetConfig = FleetConfig()

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 < self.seconds <= SECONDS_MAX:
            raise ValueError(f"seconds is {self.seconds:g}; it must be above 0 and at most {SECONDS_MAX}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; it must be 0 to 2**63 - 1")
        # Linked devices share memory with the compiled loop only, and have no sockets that could be harmed.
        if self.link == "memory" and self.server.loop != "native":
            raise ValueError(f"link is memory and server.loop is {self.server.loop}; it must be native then")
        if self.link == "memory" and self.fleet.region != "whole":
            raise ValueError(f"link is memory and fleet.region is {self.fleet.region}; it must be whole then")
        if self.link == "memory" and self.fleet.interval_ms:
            raise ValueError(f"link is memory and fleet.interval_ms is {self.fleet.interval_ms}; it must be 0 then")
        if self.link == "memory" and self.faults:
            raise ValueError(f"link is memory and there are {len(self.faults)} faults; they need link to be socket")
        speaks_sockets = self.link == "socket" and self.fleet.transport == "websocket"
        if self.server.has_tls and (speaks_sockets or self.fleet.hostile.connections):
            raise ValueError(
                "server.cert is set, and fleets speak no TLS: set link to memory or fleet.transport to mqtt "
                "(and fleet.hostile.connections to 0), or leave server.cert and server.key out"
            )
        check_curve(self.load_curve)
        if self.fleet.transport == "mqtt":
            self._check_mqtt()
        for fault in self.faults:
            if fault.kind == "pause broker" and self.server.mqtt != "embedded":
                raise ValueError(
                    "a fault pauses the broker, but the run has none of its own; set server.mqtt to embedded"
                )
            if fault.kind == "kill loop clients" and fault.loop >= self.server.loops:
                raise ValueError(
                    f"a fault's loop is {fault.loop} and server.loops is {self.server.loops}; loops are counted from 0"
                )

    @property
    def socket_count(self) -> int:
        """Sockets that connect devices and server: one each, none through memory; a broker takes four."""
        return 0 if self.link == "memory" or self.fleet.transport == "mqtt" else self.fleet.connections

    def _check_mqtt(self) -> None:
        if not self.server.has_bridge:
            raise ValueError("fleet.transport is mqtt and server.mqtt is none; set that to embedded or to a URL")
        if self.link == "memory":
            raise ValueError("fleet.transport is mqtt and link is memory; set link to socket")
        for fault in self.faults:
            if fault.kind in LINK_FAULTS:
                raise ValueError(
                    f"a fault is {fault.kind!r} and fleet.transport is mqtt: there are no links then; pause the broker"
                )


def builtin_names() -> list[str]:
    """Names of the built-in scenarios, the default first."""
    names = sorted(path.stem for path in FOLDER.glob("*.toml"))
    return sorted(names, key=lambda name: name != DEFAULT_NAME)


def portrait_path(name: str) -> Path:
    """The picture of a built-in scenario, a PNG file."""
    return FOLDER / "pictures" / f"{name}.png"


def builtin_text(name: str) -> str:
    """The TOML of a built-in scenario. Raises UserError for an unknown name."""
    if name not in builtin_names():
        raise UserError(_unknown(name))
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def load_scenario(
    name_or_path: str, overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None
) -> Scenario:
    """Read a built-in scenario or a TOML file, and apply `KEY=VALUE` overrides, then `values` by dotted key.

    Raises UserError, one line, for an unknown name, a file that is unreadable or not TOML, and an invalid key or value.
    """
    # Overrides are laid over the tree, not over the scenario: one message for a faulty file and a faulty override.
    path, label = _locate(name_or_path)
    tree = _read(path, label)
    tree.setdefault("name", shown(path.stem))
    for override in overrides:
        apply_override(tree, override)
    for key, value in (values or {}).items():
        _set(tree, key, value, f"{key}={value}")
    return scenario_of(tree, label)


def scenario_of(tree: dict[str, Any], label: str) -> Scenario:
    """The scenario from parsed TOML. Raises UserError that begins with `label` and names the key."""
    tree = _with_broker(_spread_shorthands(tree))
    try:
        return msgspec.convert(tree, Scenario)
    except msgspec.ValidationError as error:
        raise UserError(f"{label}: {explain(str(error), tree, Scenario)}") from None


def _locate(name_or_path: str) -> tuple[Path, str]:
    """The file, and its name in errors."""
    # Built-in names win over files: `./crowd` or `crowd.toml` still name a file.
    if name_or_path in builtin_names():
        return FOLDER / f"{name_or_path}.toml", f"scenario {name_or_path}"
    path = Path(name_or_path)
    # A bare word without a file is a misspelt name; anything that looks like a path is one.
    if path.suffix == ".toml" or len(path.parts) > 1 or _is_there(path):
        return path, name_or_path
    raise UserError(_unknown(name_or_path))


def _is_there(path: Path) -> bool:
    """Whether a file of this name exists; False if it cannot be checked, or the name is not valid."""
    try:
        return path.exists()
    except OSError:
        return False


def _unknown(name: str) -> str:
    guess = closest(name, builtin_names())
    hint = f"did you mean {guess!r}? " if guess else ""
    return f"no scenario {name!r}; {hint}'workbench scenarios' lists them, or give a TOML file"


def _read(path: Path, label: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except IsADirectoryError:
        raise UserError(
            f"scenario {label!r} is a folder; give a TOML file or a name from 'workbench scenarios'"
        ) from None
    except FileNotFoundError:
        raise UserError(f"no file {label!r}; 'workbench scenarios' lists the built-in ones") from None
    except OSError as error:
        raise UserError(f"{label}: cannot be read: {error.strerror}; give a TOML file you may read") from None
    except UnicodeDecodeError:
        raise UserError(f"{label}: is not a TOML file (it is not UTF-8 text); give a scenario as TOML") from None
    except ValueError as error:  # Also a number with more digits than Python parses.
        raise UserError(f"{label}: is not TOML: {error}; correct it there") from None


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one dotted key of `tree` from a `KEY=VALUE` text. Raises UserError."""
    key, _, text = override.partition("=")
    _set(tree, key if "=" in override else "", _value_of(text.strip()), override)


def _set(tree: dict[str, Any], key: str, value: Any, override: str) -> None:
    """Set one dotted key. `override`: how to quote it in an error."""
    names = [name.strip() for name in key.split(".")]
    if not all(names):
        raise UserError(f"--set {override!r} is not KEY=VALUE; write for example --set fleet.connections=500")
    if shown(override) != override:  # Other processes and recordings get it as UTF-8.
        raise UserError(f"--set {override} cannot be read as text; write it in UTF-8")
    for depth, name in enumerate(names[:-1]):
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise UserError(f"--set {override!r}: $.{'.'.join(names[: depth + 1])} has no keys; set it as a whole")
    tree[names[-1]] = value


def _value_of(text: str) -> Any:
    """The TOML value that the text is, or else the text itself."""
    try:
        table = tomllib.loads(f"value = {text}")
    except ValueError:  # Also a number with more digits than Python parses.
        return text
    # A text with a line break could add keys of its own: then it is plain text.
    return table["value"] if list(table) == ["value"] else text


def _with_broker(tree: dict[str, Any]) -> dict[str, Any]:
    """Give a fleet that speaks MQTT the embedded broker if no broker is named."""
    fleet, server = tree.get("fleet"), tree.get("server", {})
    if not (isinstance(fleet, dict) and fleet.get("transport") == "mqtt" and isinstance(server, dict)):
        return tree
    return tree | {"server": server | {"mqtt": "embedded"}} if server.get("mqtt", "none") == "none" else tree


def _spread_shorthands(tree: dict[str, Any]) -> dict[str, Any]:
    """Move `loop` and `loops` from the top level to the table `server`."""
    found = {key: tree[key] for key in _SERVER_SHORTHANDS if key in tree}
    server = tree.get("server", {})
    if not found or not isinstance(server, dict):
        return tree
    rest = {key: value for key, value in tree.items() if key not in found}
    return rest | {"server": server | found}


_UNKEPT = (("server", "token"), ("server", "viewers_only_without_token"))


def scenario_text(scenario: Scenario) -> str:
    """The scenario as TOML: its name, and the settings that differ from their defaults.

    `load_scenario` reads an equal scenario from it, except for secrets, since the text is kept and passed on: the
    server's token, the setting that needs one, and the login at a broker.
    """
    return "\n".join(_table((), scenario, Scenario(), always=("name",))).strip() + "\n"


def _table(
    path: tuple[str, ...], settings: msgspec.Struct, plain: msgspec.Struct, always: tuple[str, ...] = ()
) -> Iterator[str]:
    """Lines of one table and of those inside it. TOML requires its own keys to come first."""
    inner: list[tuple[str, msgspec.Struct, msgspec.Struct]] = []
    arrays: list[str] = []
    lines: list[str] = []
    for key in settings.__struct_fields__:
        value, default = getattr(settings, key), getattr(plain, key)
        if isinstance(value, msgspec.Struct):
            # Tables after plain keys: in TOML a key after a table header would belong to that table.
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
    """Lines of one table of an array: the keys that differ from their defaults."""
    yield f"\n[[{'.'.join(path)}]]"
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            yield f"{field.encode_name} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML escapes like JSON, except that DEL must be escaped, too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)


def changes_between(before: msgspec.Struct, after: msgspec.Struct) -> dict[str, Any]:
    """The settings of `after` that differ from `before`, by dotted key. Arrays are compared as a whole."""
    changes: dict[str, Any] = {}
    for name in after.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(new, msgspec.Struct):
            changes |= {f"{name}.{key}": value for key, value in changes_between(old, new).items()}
        elif new != old:
            changes[name] = new
    return changes


def with_changes(scenario: Scenario, changes: Mapping[str, Any], label: str) -> Scenario:
    """The scenario with these changes, the inverse of `changes_between`; values may have been JSON in between.

    Raises UserError that begins with `label` for an invalid key or value.
    """
    try:
        changed: Scenario = _replaced(scenario, changes)
    except (ValueError, TypeError) as error:
        raise UserError(f"{label}: {error}") from None
    return changed


def _replaced(settings: msgspec.Struct, changes: Mapping[str, Any]) -> Any:
    """The settings of a table and of those in it, replaced at once: a single change may contradict other settings."""
    types = {field.name: field.type for field in msgspec.structs.fields(settings)}
    tables: dict[str, dict[str, Any]] = {}
    fields: dict[str, Any] = {}
    for key, value in changes.items():
        name, dot, rest = key.partition(".")
        if name not in types or bool(dot) != isinstance(getattr(settings, name), msgspec.Struct):
            raise ValueError(f"{key} is not a setting")
        if dot:
            tables.setdefault(name, {})[rest] = value
        else:
            fields[name] = msgspec.convert(value, types[name])
    fields |= {name: _replaced(getattr(settings, name), inner) for name, inner in tables.items()}
    return msgspec.structs.replace(settings, **fields)
