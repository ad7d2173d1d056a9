"""What tests share: no display, no colours, a window's texts, one way to say that a component is not on this machine.

Invariant: on a developer's machine a missing component skips a test with one line; where CI=true it fails the test, so
that nothing goes untested there unnoticed. A test that starts a program of the machine has the mark `outside`: CI runs
these once more on a PATH without those programs, as users have it.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.browser import Browser
    from support.window_stage import Written

# Before any test imports pygame or matplotlib: they read these once.
os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["SDL_AUDIODRIVER"] = "dummy"
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
os.environ["MPLBACKEND"] = "Agg"
# Servers of tests, and of processes that tests start, check all their invariants. Read once, too.
os.environ["PIXEL_CANVAS_CHECKS"] = "thorough"


def give_up(what: str, remedy: str, *, in_ci: bool) -> None:
    """Skip the test with one line, or fail it where everything is to be there."""
    line = f"{what} is not here: {remedy}"
    if in_ci:
        pytest.fail(line, pytrace=False)
    pytest.skip(line)


def is_ci() -> bool:
    """Whether this is the project's own test machine."""
    return os.environ.get("CI") == "true"


OUTSIDE = {"needs_program", "needs_broker"}
"""A test with one of these fixtures, directly or through others, is marked `outside`."""
EVERYWHERE = {"cat", "git", "sh", "uname"}
"""Programs that no machine with a checkout lacks."""


def pytest_configure(config: pytest.Config) -> None:
    """Where workers share the tests, compile the kernels once before they begin: on two cores, in two processes."""
    if not getattr(config.option, "numprocesses", None) or config.option.collectonly:
        return
    config.option.loadscopereorder = False  # Files in their order: those with few tests are the longest.
    command = [sys.executable, "-m", "support.compiling"]
    parts = [subprocess.Popen([*command, part], cwd=Path(__file__).parent) for part in ("server", "fleet")]
    codes = [part.wait() for part in parts]
    if any(codes):
        raise pytest.UsageError("the kernels cannot be compiled")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need programs of the machine."""
    for item in items:
        if OUTSIDE.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("outside")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Fail a test without the mark `outside` that starts a program that a machine may lack."""
    begin = subprocess.Popen.__init__

    def begin_if_ours(process: subprocess.Popen[Any], command: Any, *more: Any, **options: Any) -> None:
        program = Path(os.fsdecode(command if isinstance(command, str | bytes | Path) else command[0]))
        is_installed = program.is_relative_to(sys.prefix) or "site-packages" in program.parts  # By pip, with us.
        is_made = program.is_relative_to(tempfile.gettempdir())  # By the test itself.
        is_known = is_installed or is_made or program.name in EVERYWHERE
        is_here = is_known and "server.bridge.broker_process" not in command
        assert is_here, f"{command}: ask for the program by needs_program or needs_broker"
        begin(process, command, *more, **options)

    with pytest.MonkeyPatch.context() as patch:
        if not item.get_closest_marker("outside"):
            patch.setattr(subprocess.Popen, "__init__", begin_if_ours)
        return (yield)


@pytest.fixture(scope="session")
def needs_program() -> Callable[[str, str], str]:
    """`needs_program(name, remedy)`: the program's path; without it the test is skipped, or fails in CI."""

    def find(name: str, remedy: str) -> str:
        path = shutil.which(name)
        if path is None:
            give_up(name, remedy, in_ci=is_ci())
        assert path is not None
        return path

    return find


@pytest.fixture(scope="session")
def needs_broker() -> Callable[..., str]:
    """`needs_broker(kind)`, or any without a kind: the kind; without it the test is skipped, or fails in CI."""
    from support.brokers import require

    return require


@pytest.fixture(scope="session")
def certificates(
    needs_program: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """`certificates(name)`: a folder with ca.pem, cert.pem and key.pem of that name's own CA. No test changes it."""
    from support.brokers import make_certificates

    needs_program("openssl", "apt-get install openssl")

    @cache
    def made(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        make_certificates(folder)
        return folder

    return made


@pytest.fixture(scope="session")
def chromium(needs_program: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator["Browser"]:
    """One Chromium for all tests."""
    from support.browser import Browser

    with Browser(needs_program("chromium", "apt-get install chromium"), tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: "Browser") -> Iterator["Browser"]:
    """Chromium with no page open and nothing stored by earlier ones."""
    yield chromium
    chromium.close_pages()


@pytest.fixture
def needs_package() -> Callable[[str], ModuleType]:
    """`needs_package(name)`: the imported package; without it the test is skipped, or fails in CI."""

    def find(name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.partition(".")[0]:
                raise  # The package is here and lacks something: that is a fault, not an absence.
            give_up(f"package {name}", "pip install -e '.[dev]'", in_ci=is_ci())
            raise

    return find


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> "list[Written]":
    """Every text that a window writes during the test."""
    from support.window_stage import note_writing  # Only where there is a window: it imports pygame.

    return note_writing(monkeypatch)
