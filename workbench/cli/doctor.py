"""`workbench doctor`: what this machine can run, one line per finding, each with its remedy. It changes no setting.

The checks are functions of `Facts`, so that tests can judge any machine on any other. `fail`: the default scenario
cannot run here; `warn`: something else will be missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from server.bridge.broker import KINDS, SLOW_KIND
from workbench.machine.facts import RESERVED_COUNT, Facts, read_facts
from workbench.scenarios.scenario import DEFAULT_NAME, builtin_names, load_scenario

PYTHON_LEAST = (3, 11, 0)
# Server and fleet use one core each at full load; with fewer they compete with each other and with the window.
CORES_WANTED = 2
# For four Python processes with compiled code, pictures and the buffers of a few thousand connections.
MEMORY_BYTES_WANTED = 2**30
# For the largest page of shared memory, which counts as a file, and a recording.
FILE_BYTES_WANTED = 128 * 2**20
# For processes and threads of a run, and those of the user's desktop.
PROCESSES_WANTED = 64


class Mark(Enum):
    """The verdict of a finding."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the output."""

    mark: Mark
    subject: str
    found: str
    remedy: str = ""
    """What to do about it; "" if there is nothing to do."""

    def line(self) -> str:
        """As printed."""
        return f"{self.mark.value:<5} {self.subject:<18} {self.found}" + (f"; {self.remedy}" if self.remedy else "")


def _judged(subject: str, found: str, is_ok: bool, mark: Mark, remedy: str) -> Finding:
    """OK, or a finding with this mark and remedy."""
    return Finding(Mark.OK, subject, found) if is_ok else Finding(mark, subject, found, remedy)


def check_python(facts: Facts) -> Finding:
    """Whether the interpreter is new enough."""
    found = f"{'.'.join(map(str, facts.python))} on {facts.platform}"
    remedy = "install Python 3.11 or newer and make the environment with it"
    return _judged("python", found, facts.python >= PYTHON_LEAST, Mark.FAIL, remedy)


def check_cores(facts: Facts) -> Finding:
    """Whether server and fleet can have one core each."""
    remedy = f"provide {CORES_WANTED}, or expect the fleet to be late at high load"
    return _judged("cores", f"{facts.core_count:g} usable", facts.core_count >= CORES_WANTED, Mark.WARN, remedy)


def check_memory(facts: Facts) -> Finding:
    """Whether the memory is enough for all processes of a run."""
    total, free = f"{facts.memory_bytes / 2**30:.1f} GiB", facts.memory_bytes_available
    if free is None:
        return Finding(Mark.OK, "memory", f"{total}; this system does not say how much is free")
    remedy = f"free {MEMORY_BYTES_WANTED / 2**30:g} GiB, or run fewer connections"
    return _judged("memory", f"{free / 2**30:.1f} of {total} free", free >= MEMORY_BYTES_WANTED, Mark.WARN, remedy)


def check_open_files(facts: Facts, demands: Mapping[str, int]) -> list[Finding]:
    """Whether server and fleet, each with a limit per process, can hold the connections of every scenario."""
    # The hard limit counts: the workbench raises the soft one itself.
    fit = max(0, facts.open_files_hard - RESERVED_COUNT)
    found = f"{facts.open_files_hard:,} open files per process: {fit:,} connections"
    mark, name = _judge(fit, demands)
    remedy = f"{name} has {demands[name]:,}: ulimit -Hn {demands[name] + RESERVED_COUNT} as root" if name else ""
    return [Finding(mark, f"{process} sockets", found, remedy) for process in ("server", "fleet")]


def check_limits(facts: Facts) -> Finding:
    """Whether a limit of the shell or the container prevents a run."""
    limits = (
        ("memory", facts.address_space_bytes, MEMORY_BYTES_WANTED, 2**20, "MiB per process", f"v {2**20}"),
        ("file sizes", facts.file_bytes, FILE_BYTES_WANTED, 2**20, "MiB", "f unlimited"),
        ("processes and threads", facts.process_count, PROCESSES_WANTED, 1, "", f"u {PROCESSES_WANTED}"),
    )
    # Unlimited values are None, and are never too low.
    low = [limit for limit in limits if limit[1] is not None and limit[1] < limit[2]]
    if not low:
        return Finding(Mark.OK, "limits", f"none on {', '.join(name for name, *_ in limits)} that a run would reach")
    found = ", ".join(f"{name}: {(count or 0) // unit:,} {word}".strip() for name, count, _, unit, word, _ in low)
    return Finding(Mark.FAIL, "limits", found, "raise it: " + ", ".join(f"ulimit -{option}" for *_, option in low))


def check_ports(facts: Facts, demands: Mapping[str, int]) -> Finding:
    """Whether there are enough ephemeral ports: each connection of a fleet to one server takes one."""
    if facts.ports is None:
        return Finding(Mark.OK, "ephemeral ports", "this system does not say")
    first, last = facts.ports
    count = last - first + 1
    found = f"{first} to {last}: {count:,} connections to one server address"
    mark, name = _judge(count, demands)
    widen = 'sysctl -w net.ipv4.ip_local_port_range="10240 65535" as root'
    return Finding(mark, "ephemeral ports", found, f"{name} has {demands[name]:,}: {widen}" if name else "")


def _judge(fit: int, demands: Mapping[str, int]) -> tuple[Mark, str]:
    """The mark if `fit` connections are possible, and a scenario that needs more: the default one, or the largest."""
    # One scenario is named: the one that the user most likely wants.
    largest = max(demands, key=lambda name: demands[name])
    if fit < demands[DEFAULT_NAME]:
        return Mark.FAIL, DEFAULT_NAME
    return (Mark.WARN, largest) if fit < demands[largest] else (Mark.OK, "")


def check_display(facts: Facts) -> Finding:
    """Whether a window can open. Without one every scenario runs with --headless."""
    remedy = "use --headless, or start it in a desktop session or under xvfb-run"
    return _judged("display", facts.display or "none", bool(facts.display), Mark.WARN, remedy)


def check_epoll(facts: Facts) -> Finding:
    """Whether epoll exists, which the native loops need."""
    found = "available" if facts.has_epoll else "not available"
    return _judged("epoll", found, facts.has_epoll, Mark.FAIL, "run it on Linux, for instance in a container")


def check_kernels(facts: Facts) -> Finding:
    """Whether compiled kernels exist or can be kept."""
    if facts.kernels_fault:
        return Finding(Mark.WARN, "compiled kernels", facts.kernels_fault)
    if facts.compiled_count:
        return Finding(Mark.OK, "compiled kernels", f"{facts.compiled_count} in {facts.kernels_folder}")
    found = f"none yet in {facts.kernels_folder}"
    return Finding(Mark.OK, "compiled kernels", found, "the first run compiles them, once per machine and version")


def check_pages(facts: Facts) -> Finding:
    """How pages are shared: they take no space in /dev/shm and leave nothing there."""
    kind = "memory without a name" if facts.has_memfd else "unlinked files in the temporary folder"
    return Finding(Mark.OK, "shared pages", f"{kind}; the size of /dev/shm does not matter")


def check_brokers(facts: Facts) -> Finding:
    """Which brokers are installed. Of the built-in scenarios only mqtt_sensors needs one."""
    found = ", ".join(facts.brokers)
    # The slow one is part of the `mqtt` extra, so its presence is no reason to be content.
    if facts.brokers not in ((), (SLOW_KIND,)):
        return Finding(Mark.OK, "brokers", found)
    remedy = f"apt install {' '.join(kind for kind in KINDS if kind != SLOW_KIND)}"
    if not found:
        return Finding(Mark.OK, "brokers", "none, which only mqtt_sensors needs", remedy)
    return Finding(Mark.OK, "brokers", found, f"it is slow; {remedy} for a much faster one")


def examine(facts: Facts, demands: Mapping[str, int]) -> list[Finding]:
    """All findings. `demands`: the sockets of each built-in scenario."""
    return [
        check_python(facts),
        check_cores(facts),
        check_memory(facts),
        *check_open_files(facts, demands),
        check_ports(facts, demands),
        check_limits(facts),
        check_epoll(facts),
        check_kernels(facts),
        check_pages(facts),
        check_display(facts),
        check_brokers(facts),
    ]


def conclusion(findings: list[Finding]) -> str:
    """The last line: whether the default scenario can run."""
    faults = [finding.subject for finding in findings if finding.mark is Mark.FAIL]
    return f"{DEFAULT_NAME} cannot run here: {', '.join(faults)}" if faults else f"{DEFAULT_NAME} can run here"


def run_doctor() -> int:
    """Print all findings. Returns 0, or 1 when the default scenario cannot run here."""
    demands = {name: load_scenario(name).socket_count for name in builtin_names()}
    findings = examine(read_facts(), demands)
    for finding in findings:
        print(finding.line())
    print(conclusion(findings))
    return int(any(finding.mark is Mark.FAIL for finding in findings))
