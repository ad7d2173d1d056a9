"""The cache of compiled kernels: whatever is wrong with it, kernels are compiled, and one line says why."""

import ast
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from operator import truediv
from pathlib import Path

import numba
import numpy as np
import pytest

from server.kernels import cache, kernel
from server.kernels.cache import Place, Store, compiled_count, find_place
from support.serving import Serving

ROOT = Path(__file__).parents[3]
DAMAGED = "some compiled kernels in {} are damaged or cannot be read; they are compiled again"


def add(left, right):
    return left + right


def element(array, index):
    return array[index]


plain_add = kernel.kernel(add)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kernels").mkdir()
    return tmp_path / "kernels"


@pytest.fixture
def start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """`start(1, 2)` compiles or loads `add` for such arguments, as a new process does. Returns hits and notes."""

    def run(*arguments: float, place: Place | None = None) -> tuple[int, list[str]]:
        monkeypatch.setattr(kernel, "_store", Store(place or Place(folder)))
        compiled, notes = kernel.kernel(add), list[str]()
        kernel.compile_all(
            [kernel.Warm("add", compiled, lambda: arguments)], lambda done, total, name: None, notes.append
        )
        assert compiled(*arguments) == sum(arguments)
        return sum(compiled.stats.cache_hits.values()), notes

    return run


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


class Mischief:
    """Raises when it is unpickled, which no reader of a pickle expects."""

    def __reduce__(self) -> object:
        return truediv, (1, 0)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lead_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut in its head": lambda path: os.truncate(path, 10),
    "random": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    "one wrong bit": flip,
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Mischief())),
    "a link to itself": lead_nowhere,
}
if os.geteuid():  # The superuser reads any file; for it, the link above is what cannot be read.
    DAMAGES["not to be read"] = lambda path: path.chmod(0)


class TestDamage:
    def test_a_sound_cache_is_loaded(self, start, folder: Path) -> None:
        assert start(20, 22) == (0, [])
        assert start(20, 22) == (1, [])
        assert compiled_count(folder) == 1

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_it_is_compiled_and_kept_again(self, start, folder: Path, damage: str) -> None:
        start(20, 22)
        path = only_file(folder)
        DAMAGES[damage](path)
        assert start(20, 22) == (0, [DAMAGED.format(folder)])
        assert start(20, 22) == (1, [])
        assert only_file(folder) == path

    def test_a_folder_in_its_place_stays_and_is_reported(self, start, folder: Path) -> None:
        start(20, 22)
        make_folder(only_file(folder))
        for _ in range(2):
            hits, notes = start(20, 22)
            assert hits == 0 and notes[0] == DAMAGED.format(folder)
            assert notes[1].startswith(f"compiled kernels cannot be kept in {folder}: Is a directory; make room, or ")
            assert len(list(folder.iterdir())) == 1, "nothing half written stays"

    def test_files_that_changed_places_are_not_loaded(self, start, folder: Path, tmp_path: Path) -> None:
        start(20, 22)
        whole = only_file(folder)
        start(0.5, 0.25)
        (half,) = set(folder.iterdir()) - {whole}
        whole.rename(tmp_path / "aside")
        half.rename(whole)
        (tmp_path / "aside").rename(half)
        assert start(20, 22) == start(0.5, 0.25) == (0, [DAMAGED.format(folder)])
        assert start(20, 22) == start(0.5, 0.25) == (1, [])

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"cnowhere\nthing\n.",
            pickle.dumps(Mischief()),
            pickle.dumps((1, 2, 3)),
            pickle.dumps(None),
            b"\x80\xff",
        ],
    )
    def test_what_is_whole_and_of_no_use(self, start, folder: Path, payload: bytes) -> None:
        start(20, 22)
        path = only_file(folder)
        path.write_bytes(cache._seal(path, payload) + payload)
        assert start(20, 22) == (0, [DAMAGED.format(folder)])
        assert start(20, 22) == (1, [])

    def test_many_faults_of_a_kind_are_one_line(self, folder: Path) -> None:
        store = Store(Place(folder))
        for name in ("one", "two", "three"):
            store.save(name, b"machine code")
        for path in folder.iterdir():
            path.write_bytes(b"")
        assert [store.load(name) for name in ("one", "two", "three")] == [None] * 3
        assert store.take_notes() == [DAMAGED.format(folder)] and store.take_notes() == []


class TestForeign:
    @pytest.mark.parametrize("part", range(3), ids=["system", "processor", "its features"])
    def test_another_processor_has_files_of_its_own(
        self, start, folder: Path, monkeypatch: pytest.MonkeyPatch, part: int
    ) -> None:
        start(20, 22)
        codegen = type(plain_add.targetctx.codegen())
        facts = list(plain_add.targetctx.codegen().magic_tuple())
        facts[part] += "-other"
        with monkeypatch.context() as other:
            other.setattr(codegen, "magic_tuple", lambda self: tuple(facts))
            assert start(20, 22) == (0, []), "what was compiled for another one is not loaded"
            assert start(20, 22) == (1, [])
        assert start(20, 22) == (1, []) and compiled_count(folder) == 2

    def test_the_facts_are_the_compilers_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(numba.config, "CPU_NAME", "made-up")
        assert "made-up" in plain_add.targetctx.codegen().magic_tuple()

    def test_other_versions_have_a_folder_of_their_own(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
        places = [find_place()]
        for package in ("numba", "llvmlite", "numpy"):
            with monkeypatch.context() as other:
                other.setattr(cache, "version", lambda name, upgraded=package: f"1.{name == upgraded}")
                places.append(find_place())
        monkeypatch.setattr("sysconfig.get_config_var", lambda _: "cpython-399-x86_64-linux-gnu")
        places.append(find_place())
        assert len({place.folder for place in places}) == 5

    def test_another_source_is_compiled(self, start, monkeypatch: pytest.MonkeyPatch) -> None:
        start(20, 22)
        monkeypatch.setattr(kernel, "_digest_of", lambda file: "other")
        assert start(20, 22) == (0, [])


class TestPlace:
    @pytest.fixture
    def blocked(self, tmp_path: Path) -> Path:
        """A file where a folder should be: not even root can make one there."""
        (tmp_path / "blocked").touch()
        return tmp_path / "blocked"

    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        return tmp_path / "home"

    def test_it_is_the_users_cache(self, home: Path) -> None:
        place = find_place()
        assert place.folder is not None and place.folder.parent == home / "pixel-canvas" and place.fault == ""

    def test_a_chosen_one_that_cannot_be(self, blocked: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocked))
        place = find_place()
        assert place.folder is not None and place.folder.parent == home / "pixel-canvas"
        assert (
            place.fault
            == f"{blocked / place.folder.name}: Not a directory; compiled kernels are kept in {place.folder}"
        )

    def test_no_home(self, blocked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
        place = find_place()
        assert place.folder is not None and place.folder.is_relative_to(tmp_path / f"pixel-canvas-{os.getuid()}")
        assert place.fault.startswith("HOME: no home folder is known; compiled kernels are kept in ")

    @pytest.mark.parametrize("mode", [0o700, 0o777])
    def test_a_temporary_folder_that_others_write(
        self, tmp_path: Path, blocked: Path, monkeypatch: pytest.MonkeyPatch, mode: int
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
        (tmp_path / f"pixel-canvas-{os.getuid()}").mkdir()
        (tmp_path / f"pixel-canvas-{os.getuid()}").chmod(mode)
        assert (find_place().folder is None) == (mode == 0o777)

    def test_nowhere(self, blocked: Path, monkeypatch: pytest.MonkeyPatch, start) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
        monkeypatch.setattr("tempfile.tempdir", str(blocked))
        place = find_place()
        assert place.folder is None
        assert place.fault == (
            f"{blocked}/pixel-canvas/{place_name()}: Not a directory; compiled kernels cannot be kept, so each start "
            "compiles them: set NUMBA_CACHE_DIR to a folder that can be written"
        )
        assert start(20, 22, place=place) == (0, [place.fault])

    def test_one_that_is_there_and_cannot_be_written(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = find_place().folder
        assert first is not None
        monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK and Path(path).is_relative_to(home)))
        place = find_place()
        assert place.folder is not None and not place.folder.is_relative_to(home)
        assert place.fault == f"{first}: it cannot be written; compiled kernels are kept in {place.folder}"
        (first / "decode.kernel").touch()
        assert find_place() == Place(first), "what it holds can be loaded"


def place_name() -> str:
    return f"kernels-{cache._digest()}"


class TestSaving:
    def test_a_full_disk(self, start, folder: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
        try:
            found = start(20, 22)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        line = f"compiled kernels cannot be kept in {folder}: File too large; make room, or {cache.REMEDY}"
        assert found == (0, [line])
        assert list(folder.iterdir()) == [], "nothing half written stays"

    def test_a_folder_that_is_gone(self, start, folder: Path) -> None:
        folder.rmdir()
        hits, notes = start(20, 22)
        assert hits == 0 and len(notes) == 1 and "No such file or directory" in notes[0]

    def test_who_loads_meanwhile_sees_all_of_one(self, folder: Path) -> None:
        payloads = [bytes([number]) * 300_000 for number in range(4)]
        stores = [Store(Place(folder)) for _ in payloads]
        stores[0].save("kernel", payloads[0])

        def save_and_load(store: Store, payload: bytes) -> set[bytes | None]:
            found = set()
            for _ in range(40):
                store.save("kernel", payload)
                found.add(store.load("kernel"))
            return found

        with ThreadPoolExecutor(len(stores)) as pool:
            found = set().union(*pool.map(save_and_load, stores, payloads))
        assert found <= set(payloads)
        assert [store.take_notes() for store in stores] == [[]] * 4 and len(list(folder.iterdir())) == 1


PROGRAM = """
import sys
from server.kernels.kernel import Warm, compile_all, kernel

@kernel
def add(left, right):
    return left + right

@kernel
def add_all(count, step):
    total = step - step
    for _ in range(count):
        total = add(total, step)
    return total

warms = [Warm("", one, lambda pair=pair: pair) for one in (add, add_all) for pair in ((3, 2), (3, 2.5), (3, 2j))]
print("ready", flush=True)
order = int(sys.stdin.readline())
compile_all(warms[::order], lambda done, total, name: None)
print(add(3, 2), add_all(3, 2.5), *(sum(one.stats.cache_hits.values()) for one in (add, add_all)))
"""


def compiling(program: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, program],
        env=os.environ | {"NUMBA_CACHE_DIR": str(program.parent / "cache"), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_that_compile_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    both = [compiling(program) for _ in range(2)]
    for process in both:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process, order in zip(both, ("1", "-1"), strict=True):  # As server and fleet, which need other types first.
        assert process.stdin is not None
        process.stdin.write(f"{order}\n")
        process.stdin.flush()
    for process in both:
        shown, errors = process.communicate()
        assert (process.returncode, errors) == (0, "") and shown.startswith("5 7.5 ")
    shown, errors = compiling(program).communicate("1\n")
    assert (shown, errors) == ("ready\n5 7.5 3 3\n", ""), "all that they have left is whole"


def test_serve_with_damaged_kernels_says_so_and_serves(tmp_path: Path) -> None:
    with Serving():  # Compiles the real ones, where they are not compiled yet.
        warm = find_place().folder
    assert warm is not None
    copy = shutil.copytree(warm, tmp_path / warm.name)
    victims = [path for name in ("queues.waiting", "due_frames.begin") for path in copy.glob(f"server.kernels.{name}*")]
    assert len(victims) >= 2
    for path in victims:
        path.write_bytes(b"")
    for expected in (DAMAGED.format(copy) + "\n", ""):
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench", "serve"],
            cwd=ROOT,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, expected) and first.startswith("listening on ws://")


class TestBoundsChecks:
    def test_such_kernels_have_a_folder_of_their_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
        monkeypatch.delenv("NUMBA_BOUNDSCHECK", raising=False)
        plain = find_place().folder
        monkeypatch.setenv("NUMBA_BOUNDSCHECK", "0")
        assert find_place().folder == plain
        monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
        assert find_place().folder != plain

    def test_an_index_beyond_an_array_raises(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kernel, "_store", Store(Place(folder)))
        monkeypatch.setattr(numba.config, "BOUNDSCHECK", 1)
        compiled = kernel.kernel(element)
        assert compiled(np.arange(3), 2) == 2
        with pytest.raises(IndexError):
            compiled(np.arange(3), 3)


class TestKey:
    """A folder of compiled kernels belongs to one set of sources."""

    def test_a_change_of_any_source_changes_the_key(self, tmp_path: Path) -> None:
        sources = [path for glob in cache._SOURCES for path in ROOT.glob(glob)]
        for path in sources:
            (tmp_path / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / path.relative_to(ROOT))
        keys = {cache._digest(tmp_path)}
        for path in sources:
            with (tmp_path / path.relative_to(ROOT)).open("a") as file:
                file.write("# Changed.\n")
            keys.add(cache._digest(tmp_path))
        assert len(keys) == 1 + len(sources)
        assert ROOT / "server" / "wire.py" in sources

    def test_kernels_import_nothing_of_ours_that_is_not_in_the_key(self) -> None:
        sources = {path.relative_to(ROOT) for glob in cache._SOURCES for path in ROOT.glob(glob)}
        for path in sources:
            for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("server", "devices")):
                    module = Path(*str(node.module).split("."))
                    within = {module / f"{alias.name}.py" for alias in node.names}
                    assert module.with_suffix(".py") in sources or within <= sources, f"{path} imports {node.module}"
