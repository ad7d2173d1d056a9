"""Open files: what is asked for is had up to the hard limit, and never beyond it."""

import resource

import pytest

from server import open_files
from server.config import ServerConfig
from server.listener import connections_allowed

NONE = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The soft and the hard limit of a process that is not this one."""
    present = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda which: tuple(present))
    monkeypatch.setattr(resource, "setrlimit", lambda which, wanted: present.__setitem__(slice(None), wanted))
    return present


@pytest.mark.parametrize(
    ("wanted", "had"),
    [(100, 1024), (1024, 1024), (1025, 1025), (4096, 4096), (5000, 4096)],
)
def test_as_many_as_wanted_up_to_the_hard_limit(limits: list[int], wanted: int, had: int) -> None:
    assert open_files.raise_to(wanted) == had
    assert limits == [had, 4096]


def test_all_that_may_be_had(limits: list[int]) -> None:
    assert open_files.raise_to_hard() == open_files.allowed_count() == 4096
    assert limits == [4096, 4096]


def test_no_limit_counts_as_a_million_and_stays_none(limits: list[int]) -> None:
    limits[:] = [1024, NONE]
    assert open_files.raise_to_hard() == open_files.UNLIMITED_COUNT
    assert limits == [open_files.UNLIMITED_COUNT, NONE]
    limits[:] = [NONE, NONE]
    assert open_files.raise_to(10**9) == open_files.UNLIMITED_COUNT
    assert limits == [NONE, NONE]


@pytest.mark.parametrize(("hard", "fit", "served"), [(4096, 4032, 4032), (70, 6, 6), (64, 0, 1), (10, 0, 1)])
def test_some_are_kept_for_other_files(limits: list[int], hard: int, fit: int, served: int) -> None:
    limits[:] = [10, hard]
    assert open_files.connections_that_fit() == fit
    assert connections_allowed(ServerConfig(connections_max=5000)) == served
