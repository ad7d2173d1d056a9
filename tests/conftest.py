"""What tests share: no display, no colours, a window's texts, one way to say that a component is not on this machine.

Invariant: on a developer's machine a missing component skips a test with one line; where CI=true it fails the test, so
that nothing goes untested there unnoticed.
"""

import importlib
import os
import shutil
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.window_stage import Written

# Before any test imports pygame or matplotlib: they read these once.
os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ["SDL_AUDIODRIVER"] = "dummy"
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
os.environ["MPLBACKEND"] = "Agg"


def give_up(what: str, remedy: str, *, in_ci: bool) -> None:
    """Skip the test with one line, or fail it where everything is to be there."""
    line = f"{what} is not here: {remedy}"
    if in_ci:
        pytest.fail(line, pytrace=False)
    pytest.skip(line)


def is_ci() -> bool:
    """Whether this is the project's own test machine."""
    return os.environ.get("CI") == "true"


@pytest.fixture
def needs_program() -> Callable[[str, str], str]:
    """`needs_program(name, remedy)`: the program's path; without it the test is skipped, or fails in CI."""

    def find(name: str, remedy: str) -> str:
        path = shutil.which(name)
        if path is None:
            give_up(name, remedy, in_ci=is_ci())
        assert path is not None
        return path

    return find


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
