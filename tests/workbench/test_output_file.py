"""Output files of commands: one rule for all options, and which files are written into, not replaced."""

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer.main

from server.system import standard_streams
from support import recorded
from workbench import output_file
from workbench.cli import app as cli
from workbench.cli import serve as serve_command
from workbench.errors import RunError, UserError
from workbench.output_file import (
    STANDARD_OUTPUT,
    leads_to_stdout,
    require_new,
    require_outputs,
    talk_file,
    whole_file,
    write_atomically,
)

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240

SUFFIXES = {
    ("replay", "--video"): ".mp4",
    ("compare", "--plot"): ".png",
    ("export", "OUT"): ".csv",
}
"""Where a name must end so."""
WORDS = {
    ("run", "--record"): "run --headless --record {out}",
    ("run", "--summary"): "run --headless --summary {out}",
    ("run", "--screenshot"): "run --headless --screenshot {out}",
    ("fleet", "--summary"): "fleet ws://127.0.0.1:1/canvas --summary {out}",
    ("serve", "--summary"): "serve --summary {out}",
    ("replay", "--screenshot"): "replay {recording} --screenshot {out}",
    ("replay", "--video"): "replay {recording} --video {out}",
    ("export", "OUT"): "export {recording} {out}",
    ("report", "--out"): "report {recording} --out {out}",
    ("compare", "--json"): "compare {recording} {recording} --json {out}",
    ("compare", "--plot"): "compare {recording} {recording} --plot {out}",
}
"""Each option that names a file to be written, in a command that gets as far as looking at it."""
FOLDERS = {("run", "--gallery"), ("bench", "--out")}
"""Those that name a folder, in which the command chooses names."""
READ = {
    ("run", "SCENARIO"),
    ("run", "--from-recording"),
    ("serve", "--cert"),
    ("serve", "--key"),
    ("serve", "--journal"),
    ("replay", "FILE"),
    ("export", "FILE"),
    ("report", "FILE..."),
    ("compare", "FILE..."),
}
"""Those that are read, or gone on from."""


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "kept.pxr"
    recorded.make(path, 3)
    return path


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A named pipe, and the descriptor of its reader."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, descriptor
    os.close(descriptor)


class TestOneRule:
    def test_the_table_has_every_option_that_names_a_file(self) -> None:
        found = set()
        for name, command in typer.main.get_command(cli.app).commands.items():  # type: ignore[attr-defined]
            for param in command.params:
                word = param.opts[0] if param.param_type_name == "option" else param.metavar
                if any(part in str(param.metavar) for part in ("FILE", "FOLDER", "OUT")) or word == "SCENARIO":
                    found.add((name, word))
        assert found == WORDS.keys() | FOLDERS | READ

    @pytest.mark.parametrize("option", WORDS, ids=" ".join)
    def test_nothing_takes_the_place_of_a_recording(
        self, option: tuple[str, str], recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / f"measured{SUFFIXES.get(option, '.any')}"
        out.write_bytes(recording.read_bytes())
        words = WORDS[option].format(recording=recording, out=out).split()
        assert cli.run_main(words) == 2
        shown = capsys.readouterr()
        fault = "already exists" if option[1] == "--record" else "holds a recording or a journal, which is never"
        assert shown.out == "" and fault in shown.err and len(shown.err.splitlines()) == 1
        assert out.read_bytes() == recording.read_bytes()

    @pytest.mark.parametrize("option", WORDS, ids=" ".join)
    def test_a_socket_and_a_folder_are_refused(
        self, option: tuple[str, str], recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder, bound = (tmp_path / f"{name}{SUFFIXES.get(option, '')}" for name in ("folder", "socket"))
        folder.mkdir()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(bound))  # The whole path may be too long for an address.
            for out in (folder, bound):
                assert cli.run_main(WORDS[option].format(recording=recording, out=out).split()) == 2
                assert len(capsys.readouterr().err.splitlines()) == 1
            assert stat.S_ISSOCK(bound.stat().st_mode)

    @pytest.mark.parametrize("head", [b"SQLite format 3\x00", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"])
    def test_a_log_of_a_recording_is_one_too_whatever_names_the_file(self, head: bytes, tmp_path: Path) -> None:
        """As in a folder of a gallery or of benchmarks, where names are chosen late."""
        path, link = tmp_path / "a.png", tmp_path / "b.png"
        path.write_bytes(head + b"measured")
        link.symlink_to(path)
        for name in (path, link):
            with pytest.raises(RunError, match="holds a recording or a journal, which is never overwritten"):
                write_atomically(name, b"new")
        assert path.read_bytes() == head + b"measured" and len(list(tmp_path.iterdir())) == 2

    def test_other_files_are_replaced_by_all_but_a_recording(self, tmp_path: Path) -> None:
        path = tmp_path / "old"
        path.write_bytes(b"old")
        require_outputs({"--summary": path})
        with pytest.raises(UserError, match=r"--record .*old already exists; choose another name"):
            require_new(path, "--record")
        path.write_bytes(b"")
        require_new(path, "--record")
        (tmp_path / "old-wal").write_bytes(b"what was measured")
        with pytest.raises(UserError, match="old-wal already exists"):
            require_new(path, "--record")

    @pytest.mark.parametrize("name", ["-", "/dev/null", "/dev/stdout", "{pipe}"])
    def test_a_recording_and_a_journal_need_a_file(
        self, name: str, reading: tuple[Path, int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        name = name.format(pipe=reading[0])
        for words in ("run --headless --record", "serve --journal", "run --headless --set server.journal="):
            line = f"{words}{'' if words.endswith('=') else ' '}{name}"
            assert cli.run_main(line.split()) == 2
            shown = capsys.readouterr()
            assert "is not a regular file" in shown.err and len(shown.err.splitlines()) == 1

    def test_inputs_are_not_overwritten(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        scenario, link = tmp_path / "mine.toml", tmp_path / "link"
        scenario.write_text("")
        link.symlink_to(scenario)
        for words in (
            f"run {scenario} --headless --summary {link}",
            f"serve --cert {scenario} --key {scenario} --summary {scenario}",
            f"serve --journal {tmp_path / 'new'} --summary {tmp_path / 'new'}",
            f"run --headless --set server.journal={tmp_path / 'new'} --summary {tmp_path / 'new'}",
        ):
            assert cli.run_main(words.split()) == 2
            assert "is read by this command; choose another name" in capsys.readouterr().err
        assert scenario.read_text() == ""
        require_outputs({"--out": tmp_path / "b", "--json": None}, [scenario, Path("a" * 300), Path("/dev/null")])

    def test_two_outputs_are_two_files(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "a"
        for words in (f"--record {path} --summary {path}", f"--summary {path} --screenshot {path}"):
            assert cli.run_main(["run", "--headless", *words.split()]) == 2
            assert f"both name {path}; choose two names" in capsys.readouterr().err
        with pytest.raises(UserError, match="both name /dev/stdout"):
            require_outputs({"--json": STANDARD_OUTPUT, "--plot": Path("/dev/stdout")})
        require_outputs({"--json": Path("/dev/null"), "--plot": Path("/dev/null")})

    def test_impossible_outputs_are_refused_early(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for path in (tmp_path, tmp_path / "file" / "x", tmp_path / "none" / "x", Path("a" * 300)):
            with pytest.raises(UserError, match="--summary"):
                require_outputs({"--summary": path})


class TestReplaced:
    def test_is_written_whole_and_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "out.json"
        write_atomically(path, b"one")
        write_atomically(path, b"two")
        assert path.read_bytes() == b"two" and list(tmp_path.iterdir()) == [path]

    def test_a_failure_leaves_the_old_one_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "out"
        path.mkdir()
        with pytest.raises(RunError, match=r"cannot be written: .*; make room, or choose another place"):
            write_atomically(path, b"new")
        assert list(tmp_path.iterdir()) == [path]

    def test_a_link_stays_one_and_leads_to_what_is_written(self, tmp_path: Path) -> None:
        target, link = tmp_path / "a.json", tmp_path / "newest.json"
        link.symlink_to(target)
        write_atomically(link, b"one")
        write_atomically(link, b"two")
        assert link.is_symlink() and target.read_bytes() == b"two"


class TestWrittenInto:
    def test_a_pipe_stays_one(self, reading: tuple[Path, int], tmp_path: Path) -> None:
        path, descriptor = reading
        require_outputs({"--summary": path})
        write_atomically(path, b"whole")
        with whole_file(path) as temporary:
            temporary.write_bytes(b" and more")
        assert os.read(descriptor, 100) == b"whole and more" and path.is_fifo()
        assert list(tmp_path.iterdir()) == [path]

    def test_a_pipe_without_a_reader_is_not_waited_for_without_an_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(output_file, "READER_WAIT_NS", 0)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(RunError, match="pipe cannot be written: it has no reader"):
            write_atomically(tmp_path / "pipe", b"whole")

    @pytest.mark.parametrize("place", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/thread-self/fd/{}", "{link}"])
    def test_an_open_file_is_appended_to(self, place: str, tmp_path: Path) -> None:
        """The log of a night, to which the shell appends: `--summary /dev/fd/3 3>> nightly.log`."""
        log, link = tmp_path / "nightly.log", tmp_path / "link.json"
        log.write_bytes(b"yesterday\n")
        with log.open("ab") as kept:
            link.symlink_to(f"/dev/fd/{kept.fileno()}")
            path = Path(place.format(kept.fileno(), link=link))
            require_outputs({"--summary": path})
            write_atomically(path, b"today\n")
            with whole_file(path) as temporary:
                temporary.write_bytes(b"tonight\n")
            kept.write(b"end\n")
        assert log.read_bytes() == b"yesterday\ntoday\ntonight\nend\n" and link.is_symlink()

    def test_a_file_that_another_process_has_open_is_appended_to(self, tmp_path: Path) -> None:
        log = tmp_path / "nightly.log"
        log.write_bytes(b"yesterday\n")
        with log.open("ab") as kept, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=kept) as other:
            write_atomically(Path(f"/proc/{other.pid}/fd/1"), b"today\n")
            other.communicate(b"end\n")
        assert log.read_bytes() == b"yesterday\ntoday\nend\n"

    def test_nothing_open_is_refused(self) -> None:
        reading, writing = os.pipe()
        os.close(writing)
        for number in (reading, writing):
            with pytest.raises(UserError, match="nothing is open there to be written to"):
                require_outputs({"--out": Path(f"/dev/fd/{number}")})
        os.close(reading)

    def test_standard_output_that_is_closed_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(standard_streams, "closed", {1})
        with pytest.raises(UserError, match="--out -: nothing is open there"):
            require_outputs({"--out": STANDARD_OUTPUT})

    def test_a_dash_is_standard_output(self, capfd: pytest.CaptureFixture[str]) -> None:
        print("before")
        write_atomically(STANDARD_OUTPUT, b"whole\n")
        assert capfd.readouterr().out == "before\nwhole\n"
        assert leads_to_stdout(STANDARD_OUTPUT) and leads_to_stdout(Path("/dev/fd/1"))
        assert talk_file(None, STANDARD_OUTPUT) is sys.stderr and talk_file(None, Path("/dev/null")) is sys.stdout

    def test_a_missing_reader_is_one_line(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        with pytest.raises(RunError, match="cannot be written: Broken pipe"):
            write_atomically(Path(f"/dev/fd/{writing}"), b"whole")
        os.close(writing)


class TestForReal:
    def test_a_summary_is_added_to_the_log_that_output_goes_to(self, tmp_path: Path) -> None:
        log = tmp_path / "nightly.log"
        log.write_bytes(b"yesterday\n")
        words = "run first_light --headless --seconds 1 --set fleet.connections=20 --summary /dev/stdout"
        with log.open("ab") as kept:
            done = subprocess.run(
                [sys.executable, "-m", "workbench", *words.split()],
                cwd=ROOT, stdout=kept, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False,
            )  # fmt: skip
        assert done.returncode == 0, done.stderr
        before, _, summary = log.read_bytes().partition(b"\n")
        assert before == b"yesterday"
        tree: dict[str, Any] = json.loads(summary)
        assert tree["seconds"] >= 1 and "connections 20" in done.stderr, "the live table went elsewhere"

    def test_the_other_outputs_are_alone_on_it_too(self, recording: Path) -> None:
        for words, head in (
            (f"report {recording} --out -", b"<!doctype html>"),
            (f"compare {recording} {recording} --json /dev/stdout", b"{"),
            (f"replay {recording} --screenshot -", b"\x89PNG"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "workbench", *words.split()],
                cwd=ROOT, capture_output=True, timeout=PATIENCE_S, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert done.stdout[: len(head)].lower() == head.lower()
            if head == b"{":
                json.loads(done.stdout)

    def test_serve_keeps_its_first_line_and_the_summary_follows(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench", "serve", "--summary", "-"], cwd=ROOT, stdout=subprocess.PIPE
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"listening on ws://")
            process.send_signal(signal.SIGTERM)
            summary = json.loads(process.stdout.read())
        assert process.returncode == 0 and summary["connections"] == 0


def test_a_journal_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A summary under the name of another server's journal, whose pages may still be in its log."""
    path = tmp_path / "canvas.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("CREATE TABLE ticks (tick)")
        monkeypatch.setattr(serve_command, "require_free", lambda *_: pytest.fail("it went on"))
        for name in ("canvas.db", "canvas.db-wal"):
            assert cli.run_main(["serve", "--summary", str(tmp_path / name)]) == 2
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT name FROM sqlite_master").fetchall() == [("ticks",)]
