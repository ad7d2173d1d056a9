"""The commands in odd places: each works there, or says in one line what is missing, with the right exit code.

A row of a table is a place, a command, its exit code and its line. What can be borne is borne all at once in one place,
as in a narrow container: no current folder, an unknown user without a home, a root that cannot be written, letters of
all kinds in every path, a hundred ports, no IPv6, little stack and a clock that runs backwards.
"""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conftest import give_up, is_ci
from server.kernels.cache import find_place

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "tests" / "recordings" / "first_light_3.pxr"
PATIENCE_S = 240
SMALL = ("--set", "fleet.connections=8", "--set", "server.width=64", "--set", "server.height=64")
RUN = ("run", "first_light", "--headless", "--seconds", "1", *SMALL)
UNKNOWN_USER = 54_321
"""Of no name on any machine."""
LOOPBACK = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 1))"
"""Takes the loopback of a new network up: SIOCSIFFLAGS with IFF_UP."""

NeedsProgram = Callable[[str, str], str]


@dataclass
class Place:
    """Where a command is run: by which program, in which folder and environment, with which limits."""

    folder: Path
    """Of outputs: {out} in a command."""
    current: Path | None = None
    wrapper: Sequence[str] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None
    recording: Path = RECORDING

    def start(self, *words: str) -> subprocess.Popen[str]:
        names = {"out": self.folder, "rec": self.recording}
        filled = [re.sub(r"{(\w+)}", lambda found: str(names[found[1]]), word) for word in words]
        changed = {"NUMBA_CACHE_DIR": str(cache_folder()), **self.environment}
        inherited = {name: text for name, text in os.environ.items() if name not in changed}
        return subprocess.Popen(
            [*self.wrapper, sys.executable, "-m", "workbench", *filled],
            cwd=self.current or self.folder,
            env=inherited | {name: text for name, text in changed.items() if text is not None},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            preexec_fn=self.prepare,
        )

    def run(self, *words: str) -> "Ended":
        return Ended.of(self.start(*words))


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @classmethod
    def of(cls, process: subprocess.Popen[str]) -> "Ended":
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        return cls(process.returncode, out, err)

    def must_be(self, code: int, line: str) -> None:
        """One line on standard error that matches, or none for ""; and this exit code."""
        assert "Traceback" not in self.err, self.err
        lines = [text for text in self.err.splitlines() if text.strip()]
        assert self.code == code and len(lines) == bool(line), (self.code, self.err)
        assert not line or re.search(line, lines[0]), lines[0]


@contextmanager
def serving(place: Place, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in this place that listens, and its URL."""
    with place.start("serve", "--size", "64x64", *words) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line.startswith("listening on "):
                Ended.of(server).must_be(0, "listening")
            yield server, line.split()[-1]
        finally:
            server.kill()


def cache_folder() -> Path:
    """Where the compiled kernels of these tests are, of which no place is to make its own."""
    folder = find_place().folder
    assert folder is not None
    return folder.parent


def limited(which: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(which, (most, most))


# --- Places that need no more rights than anybody has -----------------------------------------------------------------


def gone(folder: Path) -> Place:
    current = folder / "gone"
    current.mkdir()
    return Place(folder, current, prepare=current.rmdir)


def gone_for_outputs(folder: Path) -> Place:
    place = gone(folder)
    place.folder = Path()
    return place


def bytes_for_names(folder: Path) -> Place:
    """Names that are no text, which Linux takes."""
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xff \xe4"))
    odd.mkdir()
    recording = odd / os.fsdecode(b"\xfe.pxr")
    shutil.copy(RECORDING, recording)
    return Place(odd, environment={"TMPDIR": str(odd)}, recording=recording)


def few_files(folder: Path) -> Place:
    return Place(folder, prepare=limited(resource.RLIMIT_NOFILE, 12))


def little_memory(folder: Path) -> Place:
    return Place(folder, prepare=limited(resource.RLIMIT_AS, 200 << 20))


def short_files(folder: Path) -> Place:
    return Place(folder, prepare=limited(resource.RLIMIT_FSIZE, 64 << 10))


def hidden_by_a_module(folder: Path) -> Place:
    (folder / "server.py").write_text("")
    return Place(folder)


def hidden_by_a_package(folder: Path) -> Place:
    hiding = folder / "lib" / "plots"
    hiding.mkdir(parents=True)
    (hiding / "__init__.py").write_text("")
    return Place(folder, environment={"PYTHONPATH": str(hiding.parent)})


def beside_a_folder(folder: Path) -> Place:
    """One of a package's name, which Python takes for none of its own."""
    (folder / "plots").mkdir()
    return Place(folder)


NO_FOLDER = "the current folder is gone; start the program in another one"
ANYBODYS: Sequence[tuple[Callable[[Path], Place], Sequence[str], int, str]] = (
    (gone, ("doctor",), 0, ""),
    (gone_for_outputs, (*RUN, "--summary", "a.json"), 2, f"^--summary a.json: {NO_FOLDER}$"),
    (gone_for_outputs, ("export", "{rec}", "a.csv"), 2, f"^OUT a.csv: {NO_FOLDER}$"),
    (bytes_for_names, ("export", "{rec}", "{out}/a.parquet"), 0, ""),
    (bytes_for_names, ("compare", "{rec}", "{rec}", "--json", "{out}/a.json", "--plot", "{out}/a.png"), 0, ""),
    (
        bytes_for_names,
        (*RUN, "--record", "{out}/a.pxr"),
        2,
        "^--record .*: its name, .* cannot be read as text; choose",
    ),
    (bytes_for_names, (*RUN, "--set", "server.journal={out}/j"), 2, "^--set server.journal=.* cannot be read as text"),
    (few_files, RUN, 2, r"the open-file limit of 12 allows 0 connections; raise the limit: ulimit -Hn 104$"),
    (few_files, ("serve",), 1, r"^Too many open files; raise the limit on open files \(ulimit -n\)$"),
    (few_files, ("export", "{rec}", "{out}/a.csv"), 0, ""),
    (few_files, ("doctor",), 1, ""),
    (little_memory, ("serve",), 1, r"; free memory, or raise the limit on it \(ulimit -v\)$"),
    (little_memory, RUN, 1, r"; .*raise the limits? on .*\(.*ulimit -v\)$"),
    (little_memory, ("doctor",), 1, ""),
    (short_files, RUN, 1, r"^File too large; raise the limit on file sizes \(ulimit -f\)$"),
    (short_files, ("serve",), 1, r"^File too large; raise the limit on file sizes \(ulimit -f\)$"),
    (
        short_files,
        ("report", "{rec}", "--out", "{out}/a.html"),
        1,
        "a.html cannot be written: File too large; make",
    ),
    (short_files, ("doctor",), 1, ""),
    (hidden_by_a_module, ("scenarios",), 2, "^/.*/server.py hides this program's package 'server'; rename it"),
    (hidden_by_a_package, ("report", "{rec}"), 2, "^/.*/lib/plots hides this program's package 'plots'; rename it"),
    (beside_a_folder, ("scenarios",), 0, ""),
)


@pytest.mark.parametrize(
    ("place", "words", "code", "line"), ANYBODYS, ids=[f"{row[0].__name__} {' '.join(row[1][:1])}" for row in ANYBODYS]
)
def test_anybodys_places(
    tmp_path: Path, place: Callable[[Path], Place], words: Sequence[str], code: int, line: str
) -> None:
    place(tmp_path).run(*words).must_be(code, line)


def test_a_name_that_is_no_text_is_spelt_out_in_json(tmp_path: Path) -> None:
    place = bytes_for_names(tmp_path)
    place.run("compare", "{rec}", "{rec}", "--json", "{out}/a.json").must_be(0, "")
    runs = json.loads((place.folder / "a.json").read_text())["runs"]
    assert runs[0]["file"] == f"{tmp_path}/\\udcff \\udce4/\\udcfe.pxr"


# --- Places that only root can make -----------------------------------------------------------------------------------


@pytest.fixture
def entering(needs_program: NeedsProgram) -> Callable[..., list[str]]:
    """`entering(script, flags)`: the words before a command that run it in namespaces of its own, after the script.

    The folder and the programs that the script names are its $0 and what it finds. Without root's rights the test is
    skipped in one line, or fails in CI.
    """
    unshare = needs_program("unshare", "apt-get install util-linux")
    needs_program("mount", "apt-get install mount")
    if subprocess.run([unshare, "-m", "-n", "-p", "-f", "true"], capture_output=True, check=False).returncode:
        give_up("the right to make namespaces", "run the tests as root", in_ci=is_ci())

    def words(script: str, folder: Path, *flags: str) -> list[str]:
        begin = f'set -e; "{sys.executable}" -c "{LOOPBACK}"; {script}; exec "$@"'
        return [unshare, "-m", "-n", *flags, "sh", "-c", begin, str(folder)]

    return words


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into, which pytest's are not, with the compiled kernels."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        kernels = find_place().folder
        assert kernels is not None
        shutil.copytree(kernels, folder / "kernels" / kernels.name)
        yield folder


@pytest.fixture
def as_unknown(needs_program: NeedsProgram) -> list[str]:
    """Runs a command as a user of no name, who can open and run root's files, as Python may be one of them."""
    setpriv = needs_program("setpriv", "apt-get install util-linux")
    if os.geteuid() != 0:
        give_up("the right to be another user", "run the tests as root", in_ci=is_ci())
    rights = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
    return [setpriv, f"--reuid={UNKNOWN_USER}", f"--regid={UNKNOWN_USER}", "--clear-groups", *rights]


BACKWARDS = """
import time
_hour = iter(range(2**31, 0, -3600))
time.time = lambda: float(next(_hour))
_broken_down = time.gmtime
time.gmtime = lambda seconds=None: _broken_down(time.time() if seconds is None else seconds)
"""


class TestAllAtOnce:
    """Every command does its work in a place where all that can be odd without being in the way is odd."""

    @pytest.fixture
    def place(
        self, open_folder: Path, tmp_path: Path, entering: Callable[..., list[str]], as_unknown: list[str]
    ) -> Iterator[Place]:
        folder = open_folder / tmp_path.name / "mit Blanks, Ümläut, 空白 and \"quotes' {} %s $x"
        folder.mkdir(parents=True)
        (folder / "sitecustomize.py").write_text(BACKWARDS)
        recording = folder / "aufnahme ü.pxr"
        shutil.copy(RECORDING, recording)
        (folder / "Kerne").symlink_to(open_folder / "kernels")
        current = folder / "gone"
        current.mkdir()
        script = (
            "echo 40000 40099 >/proc/sys/net/ipv4/ip_local_port_range;"
            "echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6;"
            'mkdir "$0/rw"; mount -t tmpfs -o mode=777 none "$0/rw"; mount -o remount,bind,ro /'
        )
        # What is written is seen in there alone, so it is looked at through a process that stays there.
        holder = subprocess.Popen(
            [*entering(script, folder), "sh", "-c", "echo in; read -r end"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdin is not None and holder.stdout is not None
        assert holder.stdout.readline() == "in\n"
        nsenter = shutil.which("nsenter")
        assert nsenter is not None, "it comes with unshare"

        def prepare() -> None:
            current.rmdir()
            current.mkdir()  # Another one: that in which we are is gone.
            resource.setrlimit(resource.RLIMIT_STACK, (256 << 10, 256 << 10))

        yield Place(
            folder / "rw",
            current,
            [nsenter, "-t", str(holder.pid), "-m", "-n", *as_unknown],
            {
                "HOME": None,
                "TMPDIR": str(folder / "rw"),
                "PYTHONPATH": str(folder),
                "NUMBA_CACHE_DIR": str(folder / "Kerne"),
            },
            prepare,
            recording,
        )
        holder.stdin.close()
        holder.wait(PATIENCE_S)
        holder.stdout.close()

    def seen(self, place: Place) -> Path:
        """The folder of outputs, as it is seen in there."""
        return Path(f"/proc/{place.wrapper[2]}/root{place.folder}")

    def test_a_run_and_what_is_made_of_its_recording(self, place: Place) -> None:
        outputs = ("--summary", "{out}/a.json", "--record", "{out}/a.pxr")
        place.run(*RUN, *outputs).must_be(0, "")
        summary = json.loads((self.seen(place) / "a.json").read_text())
        assert summary["connections"] == 8 and summary["admitted_per_s"] > 0 and summary["connections_lost"] == 0
        place.recording = place.folder / "a.pxr"
        place.run("export", "{rec}", "{out}/a.csv").must_be(0, "")
        assert (self.seen(place) / "a.csv").stat().st_size > 1000

    @pytest.mark.parametrize(
        "words",
        [
            ("doctor",),
            ("report", "{rec}", "--out", "{out}/a.html"),
            ("replay", "{rec}", "--screenshot", "{out}/a.png"),
            ("export", "{rec}", "{out}/a.gif"),
        ],
        ids=lambda words: words[0],
    )
    def test_a_command(self, place: Place, words: Sequence[str]) -> None:
        ended = place.run(*words)
        # A hundred ports are too few for the scenario that the doctor is about, which it says.
        ended.must_be(1 if words[0] == "doctor" else 0, "")
        if words[0] == "doctor":
            assert re.search(r"fail +ephemeral ports +40000 to 40099: 100 connections", ended.out), ended.out
        else:
            assert (self.seen(place) / Path(words[-1]).name).stat().st_size > 1000

    def test_a_server_and_its_fleet(self, place: Place) -> None:
        with serving(place, "--journal", "{out}/journal") as (server, url):
            fleet = place.run("fleet", url, "--connections", "8", "--seconds", "1")
            server.terminate()
            Ended.of(server).must_be(0, "")
        fleet.must_be(0, "")

    def test_more_connections_than_ports(self, place: Place) -> None:
        place.run("run", "--headless", "--seconds", "1").must_be(
            1, "^fleet: 1000 connections need as many local ports and there are 100: lower connections, or widen"
        )

    def test_an_address_of_ipv6(self, place: Place) -> None:
        line = r"^cannot listen on \[::1\].*: cannot assign requested address; choose another host$"
        place.run("serve", "--host", "::1").must_be(2, line)
        place.run(*RUN, "--set", "server.host=::1").must_be(2, line)


NO_ROOM = "cannot be written: No space left on device"
FULL: Sequence[tuple[Sequence[str], int, str]] = (
    ((*RUN, "--record", "{out}/a.pxr"), 2, "^--record .*/a.pxr cannot be written: the disk is full; make room there$"),
    (("serve", "--journal", "{out}/j"), 2, "^journal /.*/j cannot be used: the disk is full; make room there"),
    (("replay", "{rec}", "--screenshot", "{out}/a.png"), 1, f"^/.*/a.png {NO_ROOM}; make room"),
    (("compare", "{rec}", "{rec}", "--json", "{out}/a.json"), 1, f"^/.*/a.json {NO_ROOM}; make room"),
    (("export", "{rec}", "{out}/a.csv"), 1, f"^/.*/a.csv {NO_ROOM}; make room"),
    (("export", "{rec}", "{out}/a.gif"), 1, f"^/.*/a.gif {NO_ROOM}; make room"),
    (("export", "{rec}", "{out}/a.mp4"), 1, f"^/.*/a.mp4 {NO_ROOM}; make room"),
)


@pytest.fixture
def full(tmp_path: Path, entering: Callable[..., list[str]]) -> Place:
    """Whose outputs are on a disk without room."""
    script = 'mount -t tmpfs -o size=4k none "$0"; dd if=/dev/zero of="$0/fill" bs=4k count=1 2>/dev/null'
    return Place(tmp_path, ROOT, entering(script, tmp_path))


@pytest.mark.parametrize(("words", "code", "line"), FULL, ids=[f"{row[0][0]} {row[0][-1][6:]}" for row in FULL])
def test_a_full_disk_at_each_output(full: Place, words: Sequence[str], code: int, line: str) -> None:
    full.run(*words).must_be(code, line)


def test_a_full_disk_at_the_end_of_a_server(full: Place) -> None:
    with serving(full, "--summary", "{out}/a.json") as (server, _):
        server.terminate()
        Ended.of(server).must_be(1, f"^/.*/a.json {NO_ROOM}; the server itself has ended$")


@pytest.mark.parametrize(
    ("most", "words", "line"),
    [
        (1, RUN, r"^the server cannot be started: .*; raise the limit on processes \(ulimit -u\)$"),
        (
            2,
            ("serve", "--loops", "2"),
            r"^no further thread can be started; raise the limits on threads and memory \(ulimit -u, ulim",
        ),
        (2, ("doctor",), ""),
    ],
    ids=["run", "serve", "doctor"],
)
def test_few_processes(
    tmp_path: Path, open_folder: Path, as_unknown: list[str], most: int, words: Sequence[str], line: str
) -> None:
    """Also threads that have started end when others cannot."""
    environment = {"HOME": None, "NUMBA_CACHE_DIR": str(open_folder / "kernels")}
    place = Place(tmp_path, ROOT, as_unknown, environment, limited(resource.RLIMIT_NPROC, most))
    place.run(*words).must_be(1, line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_process_of_a_container_hears_signals(
    tmp_path: Path, entering: Callable[..., list[str]], number: signal.Signals
) -> None:
    """The system spares process 1 each signal that it does not handle itself."""
    place = Place(tmp_path, ROOT, entering("true", tmp_path, "-p", "-f", "--kill-child"))
    with serving(place) as (server, _):
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        os.kill(int(children[0]), number)
        Ended.of(server).must_be(0, "")


def test_a_server_that_was_stopped_goes_on_and_ends(tmp_path: Path) -> None:
    """Ctrl-Z and a signal meanwhile, which waits until it goes on."""
    with serving(Place(tmp_path)) as (server, _):
        server.send_signal(signal.SIGSTOP)
        os.waitpid(server.pid, os.WUNTRACED)
        server.terminate()
        server.send_signal(signal.SIGCONT)
        Ended.of(server).must_be(0, "")
