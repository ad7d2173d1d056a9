"""Scenarios: what is to be done in a run, as frozen settings read from TOML. They start nothing.

A scenario is a built-in name or a file. Overrides (`fleet.connections=500`) are laid over the file before it is
typed, so that a faulty override is told like a faulty line of the file.
Invariant: whoever holds a `Scenario` holds one whose every value is of its type and in its range.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from devices.config import FleetConfig
from server.config import ServerConfig
from workbench.errors import UserError, shown
from workbench.scenarios.fault import LINK_FAULTS, Fault
from workbench.scenarios.load_curve import LoadCurve, check_curve
from workbench.scenarios.validation import closest, explain

FOLDER = Path(__file__).parent
"""The built-in scenarios, a TOML file each."""
PORTRAIT_SIZE = (320, 180)
"""Pixels of the picture of each, which is shown where one is picked."""

DEFAULT_NAME = "first_light"

_SERVER_SHORTHANDS = ("loop", "loops")
SECONDS_MAX = 7 * 86_400


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One run: a server, a fleet, how they are linked, and for how long."""

    name: str = ""
    """As asked for on the command line; a file's own name when it does not say."""
    title: str = ""
    """One sentence on what it shows."""
    seconds: float | None = None
    """How long it is measured, from a second after all devices are connected. Absent: until somebody ends it."""
    seed: int = 1
    """All that is drawn by lot in the fleet comes from it."""
    link: Literal["socket", "memory"] = "socket"
    """How devices reach the server: over real loopback sockets, or through memory that both share, without any."""
    load_curve: LoadCurve = ()
    """By what every device's rate is multiplied as the run goes on: [seconds since the load began, factor], linear in
    between. Empty: always 1."""
    faults: tuple[Fault, ...] = ()
    """What is done to the run on purpose, and when."""
    server: ServerConfig = ServerConfig()
    fleet: FleetConfig = FleetConfig()

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 < self.seconds <= SECONDS_MAX:
            raise ValueError(f"seconds is {self.seconds:g}; it must be above 0 and at most {SECONDS_MAX}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; it must be 0 to 2**63 - 1")
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
                    "a fault pauses the broker, but the run has none of its own: set server.mqtt to embedded"
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
    """The built-in scenarios, the default first."""
    names = sorted(path.stem for path in FOLDER.glob("*.toml"))
    return sorted(names, key=lambda name: name != DEFAULT_NAME)


def portrait_path(name: str) -> Path:
    """Where the picture of a built-in scenario is kept, as PNG."""
    return FOLDER / "pictures" / f"{name}.png"


def builtin_text(name: str) -> str:
    """The TOML of a built-in scenario. Raises UserError for a name that is none."""
    if name not in builtin_names():
        raise UserError(_unknown(name))
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def load_scenario(
    name_or_path: str, overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None
) -> Scenario:
    """Read a built-in scenario or a TOML file and lay `KEY=VALUE` overrides over it, then `values` by dotted key.

    Raises UserError, one line, for a name that is unknown, a file that cannot be read or is no TOML, and for a key
    or value that the settings refuse.
    """
    path, label = _locate(name_or_path)
    tree = _read(path, label)
    tree.setdefault("name", shown(path.stem))
    for override in overrides:
        lay_over(tree, override)
    for key, value in (values or {}).items():
        _set(tree, key, value, f"{key}={value}")
    return scenario_of(tree, label)


def scenario_of(tree: dict[str, Any], label: str) -> Scenario:
    """Type a tree of TOML values. Raises UserError that begins with `label` and names the path of the fault."""
    tree = _with_broker(_spread_shorthands(tree))
    try:
        return msgspec.convert(tree, Scenario)
    except msgspec.ValidationError as error:
        raise UserError(f"{label}: {explain(str(error), tree, Scenario)}") from None


def _locate(name_or_path: str) -> tuple[Path, str]:
    """The file, and how to call it in an error."""
    if name_or_path in builtin_names():
        return FOLDER / f"{name_or_path}.toml", f"scenario {name_or_path}"
    path = Path(name_or_path)
    if path.suffix == ".toml" or len(path.parts) > 1 or _is_there(path):
        return path, name_or_path
    raise UserError(_unknown(name_or_path))


def _is_there(path: Path) -> bool:
    """Whether there is anything of this name here; nothing is where nobody may look, or that no name could be of."""
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
        raise UserError(f"{label}: is no TOML file (it is not UTF-8 text); give a scenario as TOML") from None
    except ValueError as error:  # Also a number of so many digits that Python reads none such.
        raise UserError(f"{label}: is no TOML: {error}; correct it there") from None


def lay_over(tree: dict[str, Any], override: str) -> None:
    """Set one dotted key of `tree` to the value of a `KEY=VALUE` text. Raises UserError for what is none."""
    key, _, text = override.partition("=")
    _set(tree, key if "=" in override else "", _value_of(text.strip()), override)


def _set(tree: dict[str, Any], key: str, value: Any, override: str) -> None:
    """Set one dotted key. `override`: how to quote it in an error."""
    names = [name.strip() for name in key.split(".")]
    if not all(names):
        raise UserError(f"--set {override!r} is no KEY=VALUE; write for example --set fleet.connections=500")
    if shown(override) != override:  # It is told to other processes, and kept in recordings.
        raise UserError(f"--set {override} cannot be read as text; write it in UTF-8")
    for depth, name in enumerate(names[:-1]):
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise UserError(f"--set {override!r}: $.{'.'.join(names[: depth + 1])} has no keys; set it as a whole")
    tree[names[-1]] = value


def _value_of(text: str) -> Any:
    """A TOML value where the text is one, else the text itself."""
    try:
        table = tomllib.loads(f"value = {text}")
    except ValueError:  # Also a number of so many digits that Python reads none such.
        return text
    return table["value"] if list(table) == ["value"] else text


def _with_broker(tree: dict[str, Any]) -> dict[str, Any]:
    """Give a fleet that speaks MQTT a broker of the run's own, where none is named."""
    fleet, server = tree.get("fleet"), tree.get("server", {})
    if not (isinstance(fleet, dict) and fleet.get("transport") == "mqtt" and isinstance(server, dict)):
        return tree
    return tree | {"server": server | {"mqtt": "embedded"}} if server.get("mqtt", "none") == "none" else tree


def _spread_shorthands(tree: dict[str, Any]) -> dict[str, Any]:
    """Move the top level's `loop` and `loops` to the server's table, where they live."""
    found = {key: tree[key] for key in _SERVER_SHORTHANDS if key in tree}
    server = tree.get("server", {})
    if not found or not isinstance(server, dict):
        return tree
    rest = {key: value for key, value in tree.items() if key not in found}
    return rest | {"server": server | found}
