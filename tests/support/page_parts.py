"""The parts of the documentation that are generated: keys, scenarios, settings, packages and help texts.

A part is a marked block of a page and what has to stand in it. `test_docs` compares the two; with `WRITE_DOCS=1` it
writes the parts into the pages instead.
"""

import ast
import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from devices.config import FleetConfig
from devices.hostile.config import HostileConfig
from server.config import Brake, ServerConfig
from support.house_rules import ROOMS, House, parsed
from support.page_rules import marks
from workbench.scenarios.fault import Fault
from workbench.scenarios.scenario import Scenario, builtin_names, load_scenario
from workbench.window.toolkit.keys import BINDINGS, REPLAY_BINDINGS

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Part:
    """One generated block: the page, its mark there, and how it is rendered."""

    page: str
    mark: str
    render: Callable[[], str]


def rows_of(head: str, rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    """A table: its head, written as `a | b`, and its rows."""
    columns = head.count("|") + 1
    lines = [f"| {head} |", "|" + "---|" * columns]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


# --- Settings of a scenario -----------------------------------------------------------------------------------------

UNITS = (
    (r"_per_s$|_per_s_max$", "1/s"),
    (r"_ms(_max)?$", "ms"),
    (r"_us$", "µs"),
    (r"_s$|^seconds$", "s"),
    (r"_bytes_max$", "bytes"),
    (r"_ticks$", "ticks"),
    (r"^(width|height)$", "pixels"),
)
"""Unit of a key, by how it ends."""
TYPES = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def settings_rows(owner: type[msgspec.Struct], place: Callable[[Any], dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A row per key of `owner` that is no table itself; `place` puts an object of these keys into a scenario."""
    sentences, hints = sentences_of(owner), get_type_hints(owner)
    for field in msgspec.structs.fields(owner):
        kind = hints[field.name]
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)) and field.name != "faults":
            unit = next((unit for pattern, unit in UNITS if re.search(pattern, field.name)), "")
            words, choices = _type_words(kind)
            allowed = choices or _allowed(field.name, kind, place)
            yield f"`{field.name}`", words, allowed, unit, _default(field), sentences.get(field.name, "")


def sentences_of(owner: type[msgspec.Struct]) -> dict[str, str]:
    """Key to the docstring below it in the source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for node, following in zip(body.body, body.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(following, ast.Expr):
            found[node.target.id] = " ".join(ast.literal_eval(following.value).split())
    return found


def _type_words(kind: Any) -> tuple[str, str]:
    """What kind of value a key takes, and the words that it may be."""
    if kind in TYPES:
        return TYPES[kind], ""
    options = [kind] if get_origin(kind) is Literal else [one for one in get_args(kind) if one is not type(None)]
    words = [f"`{word}`" for one in options if get_origin(one) is Literal for word in get_args(one)]
    numbers = [TYPES[one] for one in options if one in TYPES]
    if get_origin(kind) is tuple:
        return "list", ""
    return " or ".join([*numbers, *["word"] * bool(words)]), "" if numbers else ", ".join(words)


def _allowed(name: str, kind: Any, place: Callable[[Any], dict[str, Any]]) -> str:
    """What the key may be, in the words of the error that a wrong value gets; "" where none is wrong."""
    if name == "load_curve":
        return "points `[seconds, factor]`"
    wrong: Any = ["!"] if get_origin(kind) is tuple else -1 if {int, float} & {kind, *get_args(kind)} else "!"
    try:
        msgspec.convert(place({name: wrong}), Scenario)
    except msgspec.ValidationError as error:
        found = re.search(r"(?:it must be|; give) (.+?)(?: - at .*)?$", str(error))
        if found is not None:
            span = re.sub(r" \(\d+\)$", "", found[1])
            return re.sub(r"(\d{5,})(\.0)?", lambda number: f"{int(number[1]):,}", span)
    return ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if value is msgspec.NODEFAULT:
        return "required"
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{list(value) if isinstance(value, tuple) else value}`"


SETTINGS: dict[str, tuple[type[msgspec.Struct], Callable[[Any], dict[str, Any]]]] = {
    "scenario": (Scenario, lambda keys: keys),
    "server": (ServerConfig, lambda keys: {"server": keys}),
    "brakes": (Brake, lambda keys: {"server": {"brakes": {"apply": keys}}}),
    "fleet": (FleetConfig, lambda keys: {"fleet": keys}),
    "hostile": (HostileConfig, lambda keys: {"fleet": {"hostile": keys}}),
    "faults": (Fault, lambda keys: {"faults": [{"kind": "stall devices"} | keys]}),
}
"""The mark of each table of settings, its class, and where in a scenario its keys are."""


# --- Packages and help texts ----------------------------------------------------------------------------------------


def package_tree() -> str:
    """The packages, each with the first sentence of its docstring."""
    lines = []
    for name, path in sorted(House(ROOT).modules().items(), key=lambda one: (ROOMS.index(one[0].split(".")[0]), one)):
        if path.name == "__init__.py":
            label = "    " * name.count(".") + name.rpartition(".")[2] + "/"
            first = " ".join((ast.get_docstring(parsed(path)) or "").partition("\n\n")[0].split())
            lines.append(f"{label:<24}{re.split(r'[.;] ', first + ' ', maxsplit=1)[0]}")
    return "```text\n" + "\n".join(lines) + "\n```\n"


def help_text(command: str) -> str:
    """What `command --help` prints, without colours, 100 columns wide."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    shown = subprocess.run(
        [sys.executable, "-m", "workbench", *command.split()[1:], "--help"],
        cwd=ROOT,
        env={**kept, "COLUMNS": "100", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    return "\n".join(line.rstrip() for line in shown.stdout.strip("\n").splitlines()) + "\n"


def help_commands() -> list[str]:
    """The commands whose help docs/cli.md shows."""
    return marks((ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), "help")


# --- All of them ----------------------------------------------------------------------------------------------------


def _keys() -> str:
    return rows_of("key | action", [(binding.keys, binding.meaning) for binding in BINDINGS])


def _replay_keys() -> str:
    return rows_of("key | action in a replay", [(binding.keys, binding.meaning) for binding in REPLAY_BINDINGS])


def _scenarios() -> str:
    return rows_of("scenario | what it shows", [(f"`{name}`", load_scenario(name).title) for name in builtin_names()])


def _settings(name: str) -> str:
    return rows_of("key | type | allowed | unit | default | meaning", settings_rows(*SETTINGS[name]))


PARTS: tuple[Part, ...] = (
    Part("docs/guide.md", "keys", _keys),
    Part("docs/guide.md", "replay keys", _replay_keys),
    Part("docs/scenarios.md", "scenarios", _scenarios),
    *(Part("docs/scenarios.md", f"settings: {name}", lambda name=name: _settings(name)) for name in SETTINGS),
    Part("docs/architecture.md", "tree", package_tree),
)
