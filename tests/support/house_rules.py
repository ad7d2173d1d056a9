"""The rules for sources, as functions from a source tree to complaints. `test_house` applies them.

Each rule returns lines that name the place, the fault and what to do; no line means that the rule holds. Rules only
read text: none imports the code it looks at. The order of packages is written once, in the import
table of docs/architecture.md.
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
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from support.page_rules import cells

ROOMS = ("workbench", "plots", "devices", "server")
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
VAGUE_NAMES = frozenset(
    {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "hacks", "stuff"}
)
CACHES = frozenset(
    {".venv", "__pycache__", "build", "dist", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
)
LIBRARY = ("workbench/__init__.py", "server/protocol/__init__.py")
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
    """The import table of docs/architecture.md, top row first. A row speaks of one package, or of some modules."""

    names: list[tuple[str, ...]]
    may_import: list[tuple[str, ...]]

    def row(self, module: str) -> int | None:
        """The row of a module: the longest name that is the module or a package around it. None without a row."""
        found = [
            (len(name), index)
            for index, names in enumerate(self.names)
            for name in names
            if module == name or module.startswith(name + ".")
        ]
        return max(found)[1] if found else None


def layers_of(page: str) -> Layers:
    """Read the rows `| names | what it is | what it may import |`."""
    names, may_import = [], []
    for name, _, imports in cells(page, "imports"):
        names.append(tuple(re.findall(r"`([\w.]+)`", name)))
        may_import.append(tuple(re.findall(r"`([\w.]+)`", imports)))
    return Layers(names, may_import)


def check_places(house: House, layers: Layers) -> list[str]:
    """Each package has its own row in the import table, each row has its package, and says what its docstring says."""
    modules = house.modules()
    listed = [name for names in layers.names for name in names]
    complaints = [
        f"{house.name(path)} has no row: add `{name}` to the import table, above all that it imports"
        for name, path in modules.items()
        if "." in name and name not in listed and (layers.row(name) is None or path.name == "__init__.py")
    ]
    gone = [name for name in listed if name not in modules]
    return complaints + [f"there is no {name}: take it out of the import table" for name in gone]


def check_layers(house: House, layers: Layers) -> list[str]:
    """A row imports only rows that it names; these stand below it, and each is needed."""
    complaints, needed = [], set()
    for name, target, where in _imports_between(house):
        above, below = layers.row(name), layers.row(target)
        if above is None or below is None or above == below:
            continue  # A module without a row is `check_places`'s complaint.
        allowed = [one for one in layers.may_import[above] if layers.row(one) == below]
        needed.update((above, one) for one in allowed)
        if not allowed:
            complaints.append(f"{where} imports {target}: the row of {name} does not name it; use what it may import")
        elif below < above:
            complaints.append(f"{where} imports {target}: its row stands above that of {name}; turn the import round")
    named = [(row, one) for row, names in enumerate(layers.may_import) for one in names]
    return complaints + [
        f"`{layers.names[row][0]}` does not import {one}: take it out of its row"
        for row, one in named
        if (row, one) not in needed
    ]


def _imports_between(house: House) -> Iterator[tuple[str, str, str]]:
    """(module, imported module, file:line) of every import inside the project."""
    modules = house.modules()
    for name, path in modules.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported, line in imports_of(path, package):
            target = imported if imported in modules else imported.rpartition(".")[0]
            if target in modules and target != name:
                yield name, target, f"{house.name(path)}:{line}"


def check_cycles(house: House) -> list[str]:
    """No module imports itself by way of others."""
    edges: dict[str, set[str]] = {}
    for name, target, _ in _imports_between(house):
        edges.setdefault(name, set()).add(target)
    try:
        tuple(TopologicalSorter(edges).static_order())
    except CycleError as error:
        return [f"these import each other: {' > '.join(reversed(error.args[1]))}; move what they share below them"]
    return []


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
    """A package's `__init__` holds its docstring and nothing else, or import cycles grow through it.

    What `LIBRARY` lists is imported from there on first use.
    """
    return [
        f"{house.name(path)} must hold a docstring only: move the rest to a module with a name"
        for path in house.sources()
        if path.name == "__init__.py"
        and house.name(path) not in LIBRARY
        and (len(parsed(path).body) != 1 or not ast.get_docstring(parsed(path)))
    ]


def check_docstrings(house: House) -> list[str]:
    """Every module, and every public class, function and method, says what it is. An override need not repeat it."""
    complaints = []
    classes = {
        node.name: node for path in house.sources() for node in parsed(path).body if isinstance(node, ast.ClassDef)
    }
    for path in house.sources():
        overrides = {
            method
            for class_ in parsed(path).body
            if isinstance(class_, ast.ClassDef)
            for method in class_.body
            if isinstance(method, ast.FunctionDef) and _is_documented_in_a_base(method.name, class_, classes)
        }
        for node in _public(parsed(path)):
            if not ast.get_docstring(node) and node not in overrides:
                place = f":{node.lineno} {node.name}" if not isinstance(node, ast.Module) else ""
                complaints.append(
                    f"{house.name(path)}{place} has no docstring: say what it is, in one line if it can be"
                )
    return complaints


def _is_documented_in_a_base(name: str, class_: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    bases = (classes.get(base.id) for base in class_.bases if isinstance(base, ast.Name))
    return any(
        any(isinstance(node, ast.FunctionDef) and node.name == name and ast.get_docstring(node) for node in base.body)
        or _is_documented_in_a_base(name, base, classes)
        for base in bases
        if base is not None and base is not class_
    )


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
        if re.match(r"(dependencies|mqtt|export|docs|dev) = \[", line):
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
