"""The rules for sources, as functions from a source tree to complaints. `test_house` applies them.

Each rule returns lines that name the place, the fault and what to do; no line means that the rule holds. Rules only
read text: none imports the code it looks at. The order of modules is written once, in README's import table.
"""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from readme_rules import cells

ROOMS = ("workbench", "plots", "devices", "server")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
VAGUE_NAMES = frozenset(
    {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "hacks", "stuff"}
)
CACHES = frozenset(
    {".venv", "__pycache__", "build", "dist", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
)
PUBLIC_HOSTS = frozenset({"https://pypi.org", "https://files.pythonhosted.org"})
TEXT_SUFFIXES = frozenset({"", ".py", ".md", ".toml", ".html", ".js", ".css", ".svg"})
# Split, or this file would break its own rule.
MACHINE_PATHS = re.compile("|".join(["/" + "work/", "/tmp" + "/h/", "/" + "root/", "/opt" + "/(?:wheels|pypi)"]))


@dataclass(frozen=True)
class House:
    """A source tree: the four rooms and `tests` below `root`."""

    root: Path

    def sources(self, *folders: str) -> list[Path]:
        """Python files below the named folders; without names, of all rooms."""
        return sorted(path for folder in folders or ROOMS for path in (self.root / folder).rglob("*.py"))

    def name(self, path: Path) -> str:
        """The path as complaints show it: relative, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def modules(self) -> dict[str, Path]:
        """Dotted name to file, of every module and package of the rooms."""
        return {self.name(path)[:-3].replace("/", ".").removesuffix(".__init__"): path for path in self.sources()}

    def tracked(self) -> list[str]:
        """Files that belong to the project: those git knows, or all but caches where there is no git."""
        if (self.root / ".git").exists():
            command = ["git", "-c", "safe.directory=*", "ls-files"]
            return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout.split(
                "\n"
            )[:-1]
        files = (path for path in self.root.rglob("*") if path.is_file())
        return sorted(self.name(path) for path in files if not CACHES.intersection(path.parts))


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(path: Path, package: str) -> Iterator[tuple[str, int]]:
    """Every (dotted name, line) that a file imports, wherever in it; `from a import b` gives `a.b`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


# --- Layers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layers:
    """README's import table: what each package may reach in other rooms, and the order of what is inside it."""

    reach: dict[str, tuple[str, ...]]
    order: dict[str, list[list[str]]]

    def level(self, package: str, member: str) -> int | None:
        """The level of a member of a package, 0 at the top; None when it has no place."""
        for index, names in enumerate(self.order.get(package, [])):
            if member in names:
                return index
        return None


def layers_of(readme: str) -> Layers:
    """Read the rows `| package | what it may import from other rooms | its modules, top > down |`."""
    reach, order = {}, {}
    for package, others, modules in cells(readme, "imports"):
        reach[package.strip("`")] = tuple(re.findall(r"`([\w.]+)`", others))
        order[package.strip("`")] = [re.findall(r"`(\w+)`", level) for level in modules.split(">")]
    return Layers(reach, order)


def check_places(house: House, layers: Layers) -> list[str]:
    """Each module and package has a place in the import table, and each place has its module."""
    modules = house.modules()
    complaints = []
    for name, path in modules.items():
        package, _, member = name.rpartition(".")
        if package and layers.level(package, member) is None:
            complaints.append(
                f"{house.name(path)} has no place: add `{member}` to the row of `{package}` in README's import table, "
                "left of all that it imports and right of all that import it"
            )
    for package, levels in layers.order.items():
        gone = [name for level in levels for name in level if f"{package}.{name}" not in modules]
        complaints += [f"`{package}` has no {name}: take it out of README's import table" for name in gone]
    return complaints


def check_layers(house: House, layers: Layers) -> list[str]:
    """Imports run downwards only."""
    modules = house.modules()
    complaints = []
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported, line in imports_of(path, package):
            target = imported if imported in modules else imported.rpartition(".")[0]
            if target in modules and target != name and (fault := _upward(name, target, layers)):
                complaints.append(f"{house.name(path)}:{line} imports {target}: {fault}")
    return complaints


def _upward(name: str, target: str, layers: Layers) -> str:
    """Why `name` may not import `target`, or "" when it may."""
    source_parts, target_parts = name.split("."), target.split(".")
    if source_parts[0] != target_parts[0]:
        allowed = layers.reach.get(source_parts[0], ())
        if any(target == prefix or target.startswith(prefix + ".") for prefix in allowed):
            return ""
        return f"{source_parts[0]} may import {', '.join(allowed) or 'no other room'}; move the code or use what it may"
    shared = 0
    while shared < min(len(source_parts), len(target_parts)) and source_parts[shared] == target_parts[shared]:
        shared += 1
    if shared in (len(source_parts), len(target_parts)):
        return ""
    package = ".".join(source_parts[:shared])
    above, below = layers.level(package, source_parts[shared]), layers.level(package, target_parts[shared])
    if above is None or below is None or above < below:
        return ""  # A module without a place is `check_places`'s complaint.
    return (
        f"in README's import table {source_parts[shared]} does not stand left of {target_parts[shared]} "
        f"(row of `{package}`); turn the dependency round"
    )


def check_doors(house: House, doors: dict[str, tuple[str, ...]]) -> list[str]:
    """Each outside package is imported by its named modules only; standard modules only where `doors` has them."""
    complaints = []
    used: set[tuple[str, str]] = set()
    for path in house.sources():
        file = house.name(path)
        for imported, line in imports_of(path, ""):
            package = imported.partition(".")[0]
            if package in ROOMS or (package not in doors and package in sys.stdlib_module_names):
                continue
            opened = [pattern for pattern in doors.get(package, ()) if fnmatch(file, pattern)]
            used.update((package, pattern) for pattern in opened)
            if not opened:
                where = ", ".join(doors.get(package, ())) or "no module"
                complaints.append(f"{file}:{line} imports {package}, whose door is {where}: call that, or widen DOORS")
    shut = [(package, pattern) for package, patterns in doors.items() for pattern in patterns]
    complaints += [
        f"nothing in {pattern} imports {package}: take it out of DOORS"
        for package, pattern in shut
        if (package, pattern) not in used
    ]
    return list(dict.fromkeys(complaints))


# --- Sizes, docstrings and names ------------------------------------------------------------------------------------


def sizes_of(house: House) -> dict[str, tuple[int, int]]:
    """`file` and `file::function` to (lines, limit), of rooms and tests."""
    sizes = {}
    for path in house.sources(*ROOMS, "tests"):
        file = house.name(path)
        sizes[file] = (len(path.read_text(encoding="utf-8").splitlines()), FILE_LINES_MAX)
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                sizes[f"{file}::{node.name}"] = ((node.end_lineno or 0) - node.lineno + 1, FUNCTION_LINES_MAX)
    return sizes


def check_sizes(sizes: dict[str, tuple[int, int]], ratchet: dict[str, int]) -> list[str]:
    """Files and functions keep their limits; those in `ratchet` may only shrink."""
    complaints = []
    for name, (lines, limit) in sizes.items():
        allowed = ratchet.get(name, limit)
        if lines > allowed:
            complaints.append(f"{name} has {lines} lines, {allowed} are allowed: split it at a noun")
        elif name in ratchet and lines < allowed:
            now = f"set it to {lines}" if lines > limit else "take it out"
            complaints.append(f"{name} shrank to {lines} lines (good): {now} in RATCHET")
    complaints += [f"{name} is gone: take it out of RATCHET" for name in ratchet if name not in sizes]
    return complaints


def check_init_files(house: House) -> list[str]:
    """A package's `__init__` holds its docstring and nothing else, or import cycles grow through it."""
    return [
        f"{house.name(path)} must hold a docstring only: move the rest to a module with a name"
        for path in house.sources()
        if path.name == "__init__.py" and (len(parsed(path).body) != 1 or not ast.get_docstring(parsed(path)))
    ]


def check_docstrings(house: House) -> list[str]:
    """Every module, and every public class, function and method, says what it is."""
    complaints = []
    for path in house.sources():
        for node in _public(parsed(path)):
            if not ast.get_docstring(node):
                place = f":{node.lineno} {node.name}" if not isinstance(node, ast.Module) else ""
                complaints.append(
                    f"{house.name(path)}{place} has no docstring: say what it is, in one line if it can be"
                )
    return complaints


def _public(
    node: ast.Module | ast.ClassDef,
) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """A module or class, and what it offers to others."""
    yield node
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from _public(child)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield child


def check_names(house: House) -> list[str]:
    """One module is one noun: no name that would fit anything."""
    return [
        f"{house.name(path)} is called by a word that fits anything: name it for the one thing it is"
        for path in house.sources(*ROOMS, "tests")
        if VAGUE_NAMES.intersection(re.split(r"[/_.]", house.name(path).removesuffix(".py")))
    ]


def check_machine_paths(house: House) -> list[str]:
    """No file knows the machine it was written on."""
    complaints = []
    for file in house.tracked():
        path = house.root / file
        if path.suffix in TEXT_SUFFIXES and path.is_file():
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if MACHINE_PATHS.search(line):
                    complaints.append(f"{file}:{number} names a path of one machine: make it relative or a setting")
    return complaints


def check_dependency_reasons(pyproject: str) -> list[str]:
    """Each dependency has its reason in a comment on its line."""
    complaints, inside = [], False
    for number, line in enumerate(pyproject.splitlines(), 1):
        if re.match(r"(dependencies|mqtt|cluster|export|dev) = \[", line):
            inside = True
        elif line.startswith("]"):
            inside = False
        elif inside and line.strip().startswith('"') and not re.search(r'",?\s+# \S+ \S+ \S+', line):
            complaints.append(f"pyproject.toml:{number} {line.strip()} has no reason: add `# Why it is needed.`")
    return complaints


def check_lock(lock: str, pyproject: str) -> list[str]:
    """The lock file names the public index only, and locks the dependencies that pyproject has now."""
    complaints = [
        f"uv.lock names {host}: lock again with `uv lock --default-index https://pypi.org/simple`"
        for host in sorted(set(re.findall(r'"((?:https?|file)://[^/"]*)', lock)) - PUBLIC_HOSTS)
    ]
    project = tomllib.loads(pyproject)["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    (package,) = (one for one in tomllib.loads(lock)["package"] if one["name"] == project["name"])
    locked = {f"{one['name']}{one.get('specifier', '')}" for one in package["metadata"]["requires-dist"]}
    stale = {_requirement(one) for one in wanted} ^ {_requirement(one) for one in locked}
    return complaints + [f"uv.lock and pyproject.toml differ in {one}: lock again" for one in sorted(stale)]


def _requirement(text: str) -> str:
    """A requirement with its name and its limits in one spelling."""
    name, limits = re.fullmatch(r"([\w.-]+)(.*)", text).groups()
    return f"{re.sub('[._-]+', '-', name).lower()}{','.join(sorted(limits.split(',')))}"
