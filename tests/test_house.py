"""The house is as docs/architecture.md says and as the rules want it; and each rule is known to be able to complain.

A complaint says what to do. A new package takes its row in the import table of docs/architecture.md; a new outside
package takes its door in `DOORS` and its reason in pyproject.toml.
"""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from conftest import give_up
from support.house_rules import (
    House,
    check_cycles,
    check_dependency_reasons,
    check_docstrings,
    check_doors,
    check_init_files,
    check_layers,
    check_lock,
    check_machine_paths,
    check_names,
    check_places,
    check_sizes,
    layers_of,
    parsed,
    sizes_of,
)
from support.page_rules import block, cells

ROOT = Path(__file__).parents[1]
HOUSE = House(ROOT)

DOORS: dict[str, tuple[str, ...]] = {
    "numpy": ("*",),
    "msgspec": ("*",),
    "numba": ("server/kernels/kernel.py",),
    "llvmlite": ("server/kernels/libc.py",),
    "pygame": ("workbench/window/*",),
    "matplotlib": ("plots/*",),
    "time": ("server/system/clock.py",),
    "socket": (
        "server/server.py",
        "server/accept/listener.py",
        "server/accept/address_limits.py",
        "server/tls/*",
        "server/bridge/broker.py",
        "server/mailbox/client.py",
        "server/loops/slow_path.py",
        "server/loops/*",
        "devices/sockets/socket_links.py",
        "devices/hostile/pool.py",
        "devices/client.py",
        "workbench/address.py",
    ),
    "select": (
        "server/loops/*",
        "server/tls/terminator.py",
        "devices/sockets/socket_links.py",
        "devices/hostile/pool.py",
        "workbench/machine/facts.py",
    ),
    "selectors": ("server/loops/portable.py", "workbench/rerun/playback.py"),
    "segno": ("workbench/window/overview/cards.py",),
    "prometheus_client": ("server/web/metrics.py", "workbench/export/exposition.py"),
    "PIL": (
        "server/web/routes.py",
        "workbench/export/timelapse.py",
        "workbench/export/foxglove.py",
        "workbench/report/pictures.py",
    ),
    "typer": ("workbench/cli/app.py", "workbench/cli/option.py", "workbench/cli/recordings.py"),
    "rich": ("workbench/run/live_table.py", "workbench/comparison/table.py", "workbench/export/progress.py"),
    "subprocess": ("workbench/session/processes.py", "workbench/export/video.py", "server/bridge/broker.py"),
    "aiomqtt": ("server/mqtt/link.py",),
    "amqtt": ("server/bridge/broker_process.py",),
    "sqlite3": ("server/journal/*", "workbench/recording/*"),
    "websockets": ("workbench/bench/peers/servers.py",),
    "pyarrow": ("workbench/export/tables.py",),
    "mcap": ("workbench/export/foxglove.py",),
    "imageio_ffmpeg": ("workbench/export/video.py",),
    "picows": ("workbench/bench/peers/servers.py",),
    "aiohttp": ("workbench/bench/peers/servers.py",),
}
"""Each outside package, and standard modules that touch the world, to the modules that may import it."""

RATCHET: dict[str, int] = {}
"""Files and functions (`file::function`) above the limit, with their lines. They may only shrink."""


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def architecture() -> str:
    return (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def report(complaints: list[str]) -> None:
    """Fail with one line a complaint."""
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this Python in the root, in plain black and white."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SDL_VIDEODRIVER") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env={**kept, **environment}, capture_output=True, text=True
    )


def docstring_line(path: Path) -> str:
    return (ast.get_docstring(parsed(path)) or "").partition("\n")[0]


class TestLayers:
    def test_each_package_has_its_row(self) -> None:
        report(check_places(HOUSE, layers_of(architecture())))

    def test_imports_run_downwards(self) -> None:
        report(check_layers(HOUSE, layers_of(architecture())))

    def test_no_module_imports_itself_by_way_of_others(self) -> None:
        report(check_cycles(HOUSE))

    def test_a_package_is_described_by_its_docstring(self) -> None:
        modules = HOUSE.modules()
        for names, text, _ in cells(architecture(), "imports"):
            name = names.strip("`")
            assert text == docstring_line(modules[name]), f"the row of {name} and its docstring differ"

    def test_the_tops_hold_few_modules(self) -> None:
        for room, most in {"server": 6, "workbench": 8}.items():
            assert len(list((ROOT / room).glob("*.py"))) <= most, f"move modules of {room} into its packages"

    def test_each_outside_package_has_one_door(self) -> None:
        report(check_doors(HOUSE, DOORS))


class TestForm:
    def test_files_and_functions_keep_their_size(self) -> None:
        report(check_sizes(sizes_of(HOUSE), RATCHET))

    def test_init_files_hold_a_docstring_only(self) -> None:
        report(check_init_files(HOUSE))

    def test_all_that_is_public_has_a_docstring(self) -> None:
        report(check_docstrings(HOUSE))

    def test_no_name_fits_anything(self) -> None:
        report(check_names(HOUSE))

    def test_no_file_knows_the_machine_it_was_written_on(self) -> None:
        report(check_machine_paths(HOUSE))

    def test_dependencies_have_reasons(self) -> None:
        report(check_dependency_reasons((ROOT / "pyproject.toml").read_text(encoding="utf-8")))

    def test_lock_file_is_public_and_current(self) -> None:
        lock, pyproject = (ROOT / name for name in ("uv.lock", "pyproject.toml"))
        report(check_lock(lock.read_text(encoding="utf-8"), pyproject.read_text(encoding="utf-8")))


class TestReadme:
    @pytest.mark.parametrize("name", ["run", "test"])
    def test_command_is_one_line(self, name: str) -> None:
        assert len(block(readme(), f"command: {name}").splitlines()) == 1

    def test_ci_runs_the_test_command_of_readme(self) -> None:
        script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        assert os.access(ROOT / ".ci" / "run", os.X_OK), "chmod +x .ci/run"
        assert "<!-- command: test -->" in script, ".ci/run must take its command from README"
        assert "pytest" not in script, ".ci/run must have no test command of its own"
        assert "-m outside" in script, ".ci/run must also run the tests of programs without these programs"

    def test_ci_names_tests_that_exist(self) -> None:
        script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
        paths = re.findall(r"tests/[\w/]+(?:\.py)?", script)
        assert [path for path in paths if not (ROOT / path).exists()] == [] != paths

    def test_changelog_names_the_version(self) -> None:
        version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
        assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


class TestTools:
    @pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=["lint", "format"])
    def test_ruff(self, arguments: tuple[str, ...]) -> None:
        # One line a fault; what ruff wants in its place, `ruff format` and `ruff check --fix` do.
        found = run("ruff", *arguments, "--quiet", "--output-format", "concise", ".")
        report((found.stdout + found.stderr).splitlines() if found.returncode else [])

    def test_mypy(self) -> None:
        # Type stubs follow the Python they were installed for, so that one is checked for.
        found = run("mypy", "--python-version", f"{sys.version_info.major}.{sys.version_info.minor}")
        report((found.stdout + found.stderr).splitlines() if found.returncode else [])


# --- Each rule can complain -----------------------------------------------------------------------------------------

TABLE = """
<!-- imports -->
| package | what it is | may import |
|---|---|---|
| `workbench.cli` | commands | `workbench.view`, `server.engine` |
| `workbench.view` | what is shown | |
| `devices` | the fleet | `server.protocol` |
| `server.loops` | bytes | `server.engine` |
| `server.engine`, `server.canvas` | the tick | `server.protocol` |
| `server.protocol` | the wire | |

<!-- end -->
"""


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A small house without fault, to be made faulty."""
    files = {
        "workbench/__init__.py": "",
        "workbench/cli.py": "from workbench import view\nimport server.engine\n",
        "workbench/view.py": "",
        "devices/__init__.py": "",
        "devices/fleet.py": "from server.protocol.frames import FRAME\n",
        "server/__init__.py": "",
        "server/engine.py": "import server.protocol.frames\n\n\ndef step():\n    '''Step.'''\n",
        "server/canvas.py": "",
        "server/loops/__init__.py": "",
        "server/loops/native.py": "from server import engine\n",
        "server/protocol/__init__.py": "",
        "server/protocol/frames.py": "FRAME = 1\n",
    }
    for name, text in files.items():
        write(House(tmp_path), name, text)
    return House(tmp_path)


def write(house: House, name: str, text: str) -> None:
    """Write a module with a docstring and the given text."""
    path = house.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'"""A module."""\n{text}', encoding="utf-8")


def only(complaints: list[str]) -> str:
    assert len(complaints) == 1, complaints
    return complaints[0]


class TestRulesComplain:
    def test_not_about_a_good_house(self, house: House) -> None:
        layers = layers_of(TABLE)
        assert check_places(house, layers) + check_layers(house, layers) + check_cycles(house) == []
        assert check_doors(house, {}) + check_init_files(house) + check_docstrings(house) + check_names(house) == []
        assert check_sizes(sizes_of(house), {}) + check_machine_paths(house) == []

    def test_about_a_package_without_a_row(self, house: House) -> None:
        write(house, "server/web/__init__.py", "")
        write(house, "server/loops/deep/__init__.py", "")
        complaints = check_places(house, layers_of(TABLE))
        assert [line.split(" has ")[0] for line in complaints] == [
            "server/loops/deep/__init__.py",
            "server/web/__init__.py",
        ]

    def test_about_a_row_without_a_package(self, house: House) -> None:
        (house.root / "server/canvas.py").unlink()
        assert "there is no server.canvas" in only(check_places(house, layers_of(TABLE)))

    @pytest.mark.parametrize(
        ("file", "text", "words"),
        [
            (
                "devices/fleet.py",
                "from server.protocol import frames\nfrom server import engine",
                "row of devices.fleet does",
            ),
            ("server/protocol/frames.py", "from ..canvas import x", "row of server.protocol.frames does not name it"),
            ("server/canvas.py", "def f():\n    from .loops import native", "row of server.canvas does not name it"),
        ],
    )
    def test_about_an_import_that_no_row_names(self, house: House, file: str, text: str, words: str) -> None:
        write(house, file, text)
        assert words in only(check_layers(house, layers_of(TABLE)))

    def test_about_an_import_upwards(self, house: House) -> None:
        write(house, "workbench/view.py", "import workbench.cli\n")
        table = TABLE.replace("what is shown | |", "what is shown | `workbench.cli` |")
        assert "its row stands above that of workbench.view" in only(check_layers(house, layers_of(table)))

    def test_about_a_row_that_names_too_much(self, house: House) -> None:
        table = TABLE.replace("the wire | |", "the wire | `server.canvas` |")
        assert "take it out of its row" in only(check_layers(house, layers_of(table)))

    def test_about_a_cycle(self, house: House) -> None:
        write(house, "server/canvas.py", "import server.engine\n")
        write(house, "server/engine.py", "from server.canvas import x\n")
        assert "server.engine > server.canvas" in only(check_cycles(house)) or "server.canvas > server.engine" in only(
            check_cycles(house)
        )

    def test_about_a_second_door(self, house: House) -> None:
        write(house, "server/canvas.py", "import numba.core\n")
        assert "whose door is server/engine.py" in check_doors(house, {"numba": ("server/engine.py",)})[0]
        assert "whose door is no module" in only(check_doors(house, {}))

    def test_about_a_standard_module_with_a_door(self, house: House) -> None:
        write(house, "server/canvas.py", "from time import sleep\nimport struct\n")
        assert "imports time" in only(check_doors(house, {"time": ()}))

    def test_about_a_door_nobody_uses(self, house: House) -> None:
        assert "nothing in server/x.py imports numba" in only(check_doors(house, {"numba": ("server/x.py",)}))

    def test_about_long_files_and_functions(self, house: House) -> None:
        write(house, "server/canvas.py", "def f():\n" + "    pass\n" * 60 + "\n" * 600)
        assert [line.split(" has ")[0] for line in check_sizes(sizes_of(house), {})] == [
            "server/canvas.py",
            "server/canvas.py::f",
        ]

    @pytest.mark.parametrize(
        ("lines", "words"),
        [(71, "70 are allowed"), (69, "set it to 69"), (60, "take it out"), (None, "is gone")],
    )
    def test_about_a_ratchet_that_is_not_tight(self, lines: int | None, words: str) -> None:
        sizes = {} if lines is None else {"a.py::f": (lines, 60)}
        assert words in only(check_sizes(sizes, {"a.py::f": 70}))
        assert check_sizes({"a.py::f": (70, 60)}, {"a.py::f": 70}) == []

    def test_about_code_in_an_init_file(self, house: House) -> None:
        write(house, "server/__init__.py", "from server import engine\n")
        assert "must hold a docstring only" in only(check_init_files(house))

    def test_about_missing_docstrings(self, house: House) -> None:
        write(house, "server/canvas.py", "class A:\n    def b(self): ...\n    def _c(self): ...\n")
        assert [line.split(" has ")[0] for line in check_docstrings(house)] == [
            "server/canvas.py:2 A",
            "server/canvas.py:3 b",
        ]

    def test_about_a_docstring_only_where_no_base_class_has_it(self, house: House) -> None:
        base = 'class A:\n    """A."""\n    def b(self):\n        """Do b."""\n'
        write(house, "server/canvas.py", base)
        write(house, "server/layer.py", 'class C(A):\n    """C."""\n    def b(self): ...\n    def d(self): ...\n')
        assert [line.split(" has ")[0] for line in check_docstrings(house)] == ["server/layer.py:5 d"]

    def test_about_a_vague_name(self, house: House) -> None:
        write(house, "server/frame_utils.py", "")
        assert "server/frame_utils.py" in only(check_names(house))

    def test_about_a_path_of_one_machine(self, house: House) -> None:
        write(house, "server/canvas.py", "HOME = '/root" + "/canvas'\n")
        assert "server/canvas.py:2" in only(check_machine_paths(house))

    def test_about_a_dependency_without_reason(self) -> None:
        text = 'dependencies = [\n    "numpy>=2", # Every queue is an array.\n    "numba>=0.62",\n]\n'
        assert 'pyproject.toml:3 "numba>=0.62",' in only(check_dependency_reasons(text))

    def test_about_a_lock_that_is_private_or_old(self) -> None:
        project = '[project]\nname = "p"\ndependencies = ["numpy>=2", "Num_ba<3,>=1"]\n'
        project += "[project.optional-dependencies]\ndev = []\n"
        packages = '{ name = "num-ba", specifier = ">=1,<3" }, { name = "numpy", specifier = ">=2" }'
        lock = f'[[package]]\nname = "p"\n[package.metadata]\nrequires-dist = [{packages}]\n'
        assert check_lock(lock, project) == []
        assert "names https://example.org" in only(check_lock(lock + 'url = "https://example.org/x"\n', project))
        assert len(check_lock(lock, project.replace("numpy>=2", "numpy>=3"))) == 2

    def test_a_program_that_a_test_starts_is_asked_for(self) -> None:
        with pytest.raises(AssertionError, match="by needs_program or needs_broker"):
            subprocess.run(["openssl", "version"])

    def test_a_missing_component_skips_here_and_fails_in_ci(self) -> None:
        with pytest.raises(pytest.skip.Exception, match=r"^chromium is not here: apt install chromium$"):
            give_up("chromium", "apt install chromium", in_ci=False)
        with pytest.raises(pytest.fail.Exception, match=r"^chromium is not here: apt install chromium$"):
            give_up("chromium", "apt install chromium", in_ci=True)
