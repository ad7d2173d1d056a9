"""The doctor: findings, verdicts and remedies for different machines."""

from dataclasses import replace
from pathlib import Path

import pytest

from plots.ipc import picture_sections
from server.ipc.page import Page
from server.kernels.cache import find_place
from workbench.cli import doctor
from workbench.cli.doctor import Mark, conclusion, examine, run_doctor
from workbench.machine.facts import RESERVED_COUNT, Facts, display_of, memory_available_of, ports_of, read_facts
from workbench.scenarios.scenario import builtin_names, load_scenario

GOOD = Facts(
    python=(3, 12, 4),
    platform="Linux-6.1-x86_64",
    core_count=2,
    memory_bytes=8 * 2**30,
    memory_bytes_available=4 * 2**30,
    memory_limit_bytes=8 * 2**30,
    open_files_soft=1024,
    open_files_hard=20_000,
    address_space_bytes=None,
    file_bytes=2**30,
    process_count=4096,
    ports=(32768, 60999),
    display="DISPLAY=:0",
    has_epoll=True,
    has_memfd=True,
    kernels_folder="/cache/kernels",
    kernels_fault="",
    compiled_count=19,
    brokers=("mosquitto", "amqtt"),
)
DEMANDS = {"first_light": 1000, "small": 10, "crowd": 5000}


def test_a_good_machine_has_no_findings() -> None:
    findings = examine(GOOD, DEMANDS)
    assert {finding.mark for finding in findings} == {Mark.OK}
    assert not any(finding.remedy for finding in findings)
    assert conclusion(findings) == "first_light can run here"


@pytest.mark.parametrize(
    ("change", "mark", "words"),
    [
        ({"python": (3, 10, 9)}, Mark.FAIL, ["python", "3.10.9", "3.11"]),
        ({"core_count": 1.5}, Mark.WARN, ["cores", "1.5 usable", "provide 2"]),
        ({"memory_bytes_available": 2**29}, Mark.WARN, ["memory", "0.5 of 8.0 GiB", "free 1 GiB"]),
        ({"ports": (60000, 60099)}, Mark.FAIL, ["ports", "100 connections", "ip_local_port_range"]),
        ({"ports": (60000, 61999)}, Mark.WARN, ["ports", "2,000 connections", "crowd has 5,000"]),
        ({"display": ""}, Mark.WARN, ["display", "none", "--headless"]),
        ({"has_epoll": False}, Mark.FAIL, ["epoll", "Linux"]),
        ({"address_space_bytes": 2**29}, Mark.FAIL, ["limits", "memory: 512 MiB per process", "ulimit -v 1048576"]),
        ({"file_bytes": 2**26}, Mark.FAIL, ["limits", "file sizes: 64 MiB", "ulimit -f unlimited"]),
        ({"process_count": 20}, Mark.FAIL, ["limits", "processes and threads: 20", "ulimit -u 64"]),
        ({"kernels_folder": "", "kernels_fault": "set NUMBA_CACHE_DIR"}, Mark.WARN, ["kernels", "NUMBA_CACHE_DIR"]),
    ],
)
def test_one_fault_gives_one_finding_with_its_remedy(change: dict[str, object], mark: Mark, words: list[str]) -> None:
    findings = examine(replace(GOOD, **change), DEMANDS)
    (found,) = (finding for finding in findings if finding.mark is not Mark.OK)
    assert found.mark is mark
    assert all(word in found.line() for word in words), found.line()
    assert "\n" not in found.line()
    assert ("cannot run here" in conclusion(findings)) == (mark is Mark.FAIL)


@pytest.mark.parametrize(
    ("hard", "mark", "fit", "remedy"),
    [
        (1024, Mark.FAIL, 1024 - RESERVED_COUNT, f"ulimit -Hn {1000 + RESERVED_COUNT}"),
        (1000 + RESERVED_COUNT, Mark.WARN, 1000, f"ulimit -Hn {5000 + RESERVED_COUNT}"),
        (5000 + RESERVED_COUNT, Mark.OK, 5000, ""),
        (10, Mark.FAIL, 0, "ulimit"),
    ],
)
def test_open_files_are_reported_for_server_and_fleet(hard: int, mark: Mark, fit: int, remedy: str) -> None:
    server, fleet = doctor.check_open_files(replace(GOOD, open_files_hard=hard), DEMANDS)
    assert (server.subject, fleet.subject) == ("server sockets", "fleet sockets")
    for finding in (server, fleet):
        assert finding.mark is mark
        assert f": {fit:,} connections" in finding.found
        assert remedy in finding.remedy


def test_several_limits_are_one_finding() -> None:
    finding = doctor.check_limits(replace(GOOD, file_bytes=0, process_count=1))
    assert finding.found == "file sizes: 0 MiB, processes and threads: 1"
    assert finding.remedy == "raise it: ulimit -f unlimited, ulimit -u 64"


def test_the_largest_shared_page_is_a_file_that_is_wanted() -> None:
    largest = Page.size_bytes(picture_sections())
    assert largest < doctor.FILE_BYTES_WANTED


def test_a_machine_is_measured_by_the_sockets_of_a_scenario(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million devices that share memory with the server, and those behind a broker, need no socket each."""
    needed = max(load_scenario(name).socket_count for name in builtin_names())
    enough = replace(GOOD, open_files_hard=needed + RESERVED_COUNT, ports=(20_000, 20_000 + needed - 1))
    monkeypatch.setattr(doctor, "read_facts", lambda: enough)
    assert run_doctor() == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()[:-1]} == {"ok"}
    assert load_scenario("internet").socket_count == load_scenario("mqtt_sensors").socket_count == 0
    assert load_scenario("million").socket_count == needed


def test_unknown_facts_are_no_faults() -> None:
    findings = examine(replace(GOOD, ports=None, memory_bytes_available=None), DEMANDS)
    assert {finding.mark for finding in findings} == {Mark.OK}
    assert sum("does not say" in finding.found for finding in findings) == 2


def test_what_only_later_use_needs_is_no_warning() -> None:
    findings = examine(replace(GOOD, compiled_count=0, brokers=(), has_memfd=False), DEMANDS)
    assert {finding.mark for finding in findings} == {Mark.OK}
    lines = "\n".join(finding.line() for finding in findings)
    assert "none yet in /cache/kernels" in lines
    assert "apt install mosquitto nats-server" in lines
    assert "unlinked files" in lines


def test_brokers_are_named_and_a_slow_one_alone_is_a_warning() -> None:
    (line,) = (finding.line() for finding in examine(GOOD, DEMANDS) if finding.subject == "brokers")
    assert "mosquitto, amqtt" in line and "apt" not in line
    (line,) = (f.line() for f in examine(replace(GOOD, brokers=("amqtt",)), DEMANDS) if f.subject == "brokers")
    assert "amqtt" in line and "it is slow; apt install mosquitto nats-server" in line


@pytest.mark.parametrize(
    ("environment", "system", "expected"),
    [
        ({"DISPLAY": ":7"}, "linux", "DISPLAY=:7"),
        ({"DISPLAY": ":7", "WAYLAND_DISPLAY": "wayland-0"}, "linux", "WAYLAND_DISPLAY=wayland-0"),
        ({"SDL_VIDEODRIVER": "x11", "DISPLAY": ":7"}, "linux", "SDL_VIDEODRIVER=x11"),
        ({"SDL_VIDEODRIVER": "dummy", "DISPLAY": ":7"}, "linux", ""),
        ({"DISPLAY": ""}, "linux", ""),
        ({}, "darwin", "the desktop"),
    ],
)
def test_display(environment: dict[str, str], system: str, expected: str) -> None:
    assert display_of(environment, system) == expected


def test_files_of_the_kernel_are_read_or_missing() -> None:
    assert memory_available_of("MemTotal: 10 kB\nMemAvailable:  2048 kB\n") == 2**21
    assert memory_available_of("MemTotal: 10 kB\n") is None
    assert ports_of("32768\t60999\n") == (32768, 60999)
    assert ports_of("") is None


def test_this_machine_is_examined(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "read_facts", lambda: replace(GOOD, display=""))
    assert run_doctor() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(examine(GOOD, DEMANDS)) + 1
    assert lines[-1] == "first_light can run here"
    facts = read_facts()
    assert facts.core_count > 0
    assert facts.memory_bytes > 0
    assert 0 < facts.memory_limit_bytes <= facts.memory_bytes
    assert facts.open_files_hard > RESERVED_COUNT
    assert 0 < facts.open_files_soft <= facts.open_files_hard


def test_exit_code_says_that_the_default_scenario_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = load_scenario("first_light").fleet.connections + RESERVED_COUNT
    monkeypatch.setattr(doctor, "read_facts", lambda: replace(GOOD, open_files_hard=fit))
    assert run_doctor() == 0
    monkeypatch.setattr(doctor, "read_facts", lambda: replace(GOOD, open_files_hard=fit - 1))
    assert run_doctor() == 1


def test_a_chosen_folder_holds_one_for_each_set_of_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    folder = find_place().folder
    assert folder is not None and folder.parent == tmp_path / "mine" and folder.is_dir()
    monkeypatch.setattr("server.kernels.cache.version", lambda _: "another compiler's")
    assert find_place().folder != folder
