"""The command line: what each command prints and writes; each mistake is one line and exit code 2."""

import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from server.config import ServerConfig
from workbench.address import parse_url, require_free
from workbench.cli import app as cli
from workbench.cli import serve as serve_command
from workbench.errors import RunError, UserError
from workbench.machine import facts
from workbench.run import show as run_command
from workbench.scenarios.scenario import builtin_names, builtin_text
from workbench.stop_signal import StopSignal

ROOT = Path(__file__).parents[3]
PATIENCE_S = 240
"""A machine that never compiled the kernels takes its time; no test waits for nothing."""


def workbench(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "workbench", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Iterator[object]:
    """`refuse(words)` runs a command that must be refused, and returns the line it is refused with."""

    def run(*arguments: str) -> str:
        code = cli.run_main(arguments)
        shown = capsys.readouterr()
        assert code == 2, shown
        assert shown.out == ""
        assert len(shown.err.splitlines()) == 1 and "Traceback" not in shown.err
        return shown.err.strip()

    yield run


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "line"),
        [
            ("fly", "No such command 'fly'; 'workbench --help' lists the options"),
            ("run --fast", "No such option: --fast"),
            ("run crwod", "no scenario 'crwod'; did you mean 'crowd'?"),
            ("run a b", "unexpected extra argument"),
            ("run --seconds soon", "Invalid value for '--seconds': 'soon' is not a number; 'workbench run --help'"),
            ("run --seconds 0", "$.seconds is 0; it must be above 0"),
            ("run --seconds nan", "$.seconds is nan; it must be above 0"),
            ("run --seed 1.5", "'1.5' is not a whole number"),
            ("run --port 70000", "$.server.port is 70000; it must be 0 to 65535"),
            ("run --set fleet.conections=5", "did you mean $.fleet.connections?"),
            ("run --set oops", "is not KEY=VALUE"),
            ("run --headless --summary .", "--summary . is a folder; give the name of a file"),
            ("run --headless --screenshot /nowhere/a.png", "there is no folder /nowhere; make it first"),
            ("scenarios show crwod", "did you mean 'crowd'?"),
            ("serve --size 5", "--size '5' is not WxH"),
            ("serve --size 0x5", "--size: width is 0; it must be 1 to 8192"),
            ("serve --size 8192x8192", "--size: width x height is 8192 x 8192, which is 65536 tiles; at most 65535"),
            ("serve --origin example.org", "--origin: origins has 'example.org', which no browser sends; give scheme"),
            ("serve --tick-ms 0", "--tick-ms: tick_ms is 0; it must be 1 to 60000"),
            ("serve --loop fast", "--loop: loop is 'fast'; it must be native, portable or mailbox"),
            ("serve --port http", "'http' is not a whole number"),
            ("serve --mqtt oops", "broker 'oops' is not the URL of an MQTT broker; write it like mqtt://HOST"),
            ("serve --mqtt embedded --loop mailbox", "mqtt is set, but a mailbox server has no bridge"),
            ("serve --cert a.pem", "--cert: cert is 'a.pem', but key is not set; TLS needs both"),
            ("serve --key a.pem", "--key: key is 'a.pem', but cert is not set; TLS needs both"),
            ("serve --viewers-only-without-token", "viewers_only_without_token is true, but token is not set; give a"),
            ("serve --journal-sync full", "--journal-sync full needs --journal FILE; name one"),
            ("serve --cert /nowhere/a.pem --key b.pem", "cert /nowhere/a.pem cannot be read: no such file"),
            ("run --set server.cert=a --set server.key=b", "server.cert is set, and fleets speak no TLS: set link to"),
            ("serve --nats nats://a", "--nats nats://a is not available yet"),
            ("fleet", "Missing argument 'URL'"),
            ("fleet http://h:1/canvas", "'http://h:1/canvas' lacks the scheme ws; write it as ws://HOST:PORT/canvas"),
            ("fleet wss://h:1/canvas", "fleets speak no TLS; give a ws:// address"),
            ("fleet ws://h/canvas", "'ws://h/canvas' lacks a port"),
            ("fleet ws://h:99999/canvas", "Port out of range"),
            ("fleet ws://h:1 --pattern stars", "--pattern: pattern is 'stars'; it must be sensor_field"),
            ("fleet ws://h:1 --viewers some", "--viewers: viewers is 'some'; it must be all, none or a whole number"),
            ("fleet ws://h:1 --viewers 2000", "0 to connections (1000)"),
            ("fleet ws://h:1 --viewers=--5", "--viewers: viewers is '--5'; it must be all, none or a whole number"),
            (f"run --set seed={'9' * 5000}", "it must be a whole number"),
            (f"run {'a' * 300}", "no scenario 'aaa"),
            (f"run {'a' * 300}.toml", "cannot be read: File name too long; give a TOML file you may read"),
            (f"run --headless --summary {'a' * 300}", "cannot be accessed: File name too long; choose another place"),
            (f"run --headless --record {'a' * 300}", "cannot be accessed: File name too long; choose another place"),
            (f"report {'a' * 300}", "cannot be read: File name too long; give a recording you may read"),
            (f"compare {'a' * 300} b", "cannot be read: File name too long"),
            (f"export {'a' * 300} a.csv", "cannot be read: File name too long"),
            ("fleet ws://h:1/c?token=12345678 --token 87654321", "--token is one token and the URL has another; leave"),
            ("fleet ws://h:1 --seconds 0", "--seconds: seconds is 0"),
            ("fleet ws://h:1 --seed -1", "--seed: seed is -1"),
        ],
    )
    def test_each_is_one_line(self, refuse, words: str, line: str) -> None:  # type: ignore[no-untyped-def]
        assert line in refuse(*words.split())

    def test_a_port_that_is_taken(self, refuse) -> None:  # type: ignore[no-untyped-def]
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            for words in (["run", "--headless", "--port", port], ["serve", "--port", port]):
                assert f"cannot listen on 127.0.0.1:{port}: address already in use; choose" in refuse(*words)

    def test_too_few_open_files(self, refuse, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
        monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 500))
        line = refuse("run", "crowd", "--headless")
        assert "fleet.connections is 5,000, but the open-file limit of 500 allows 404 connections" in line
        assert "lower it to 404, or raise the limit: ulimit -Hn 5096" in line

    def test_no_display(self) -> None:
        process = workbench("run", SDL_VIDEODRIVER="x11", DISPLAY="", WAYLAND_DISPLAY="")
        shown, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, shown) == (2, "")
        assert len(errors.splitlines()) == 1 and "--headless" in errors

    @pytest.mark.parametrize("bug", [AssertionError("this cannot be"), EOFError("Ran out of input")])
    def test_a_bug_keeps_its_traceback(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bug: Exception
    ) -> None:
        """Whatever is raised: the parser takes EOFError for a person who ends a question."""

        def break_down(*_: object, **how: object) -> int:
            raise bug

        monkeypatch.setattr(run_command, "run_scenario", break_down)
        assert cli.run_main(["run", "--headless"]) == 70
        errors = capsys.readouterr().err
        assert "Traceback" in errors and str(bug) in errors

    def test_a_failed_request_exits_with_1(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def give_up(*_: object, **how: object) -> int:
            raise RunError("the disk is full")

        monkeypatch.setattr(run_command, "run_scenario", give_up)
        assert cli.run_main(["run", "--headless"]) == 1
        assert capsys.readouterr().err == "the disk is full\n"


class TestWords:
    @pytest.mark.parametrize("command", ["", "run", "serve", "fleet", "scenarios", "scenarios show", "doctor"])
    def test_help_ends_with_an_example_that_parses(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run_main([*command.split(), "--help"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert re.search(r"Example: workbench( \S+)+$", text)
        assert f"Example: workbench {command}".strip() in text

    def test_without_a_command_it_runs_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []
        monkeypatch.setattr(run_command, "run_scenario", lambda *given, **how: asked.append(given) or 0)
        assert cli.run_main([]) == 0
        assert cli.run_main(["run", "crowd", "--seed", "7", "--port", "4000", "--seconds", "2.5", "--headless"]) == 0
        (first, _), (second, outputs) = asked
        assert first.name == "first_light"
        assert (second.name, second.seed, second.server.port, second.seconds) == ("crowd", 7, 4000, 2.5)
        assert outputs.headless

    def test_without_a_choice_the_picker_opens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []
        monkeypatch.setattr(run_command, "run_scenario", lambda *given, asks=False: asked.append(asks) or 0)
        for words in ("", "run"):
            assert cli.run_main(words.split()) == 0
        assert asked == [True, True]
        chosen = ("first_light", "--seconds 3", "--headless", "--seed 7", "--screenshot a.png", "--record a.pxr")
        for words in chosen:
            assert cli.run_main(["run", *words.split()]) == 0
        assert asked[2:] == [False] * len(chosen)

    def test_options_override_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []
        monkeypatch.setattr(run_command, "run_scenario", lambda *given, **how: asked.append(given) or 0)
        cli.run_main(["run", "--seed", "7", "--set", "seed=3", "--set", "loops=2"])
        assert (asked[0][0].seed, asked[0][0].server.loops) == (7, 2)

    def test_serve_passes_on_all_options(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []
        monkeypatch.setattr(serve_command, "serve", lambda *given: asked.append(given) or 0)
        words = "serve --host ::1 --port 9 --size 20x10 --rate-per-s 5 --burst 6 --loops 2 --loop portable --tick-ms 50"
        cli.run_main([*words.split(), "--echo", "--origin", "http://a", "--origin", "http://b", "--summary", "s.json"])
        config = ServerConfig(
            host="::1", port=9, width=20, height=10, rate_per_s=5, burst=6, loops=2, loop="portable", tick_ms=50,
            echo=True, origins=("http://a", "http://b"),
        )  # fmt: skip
        assert asked == [(config, Path("s.json"))]

    def test_fleet_passes_on_all_options(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []
        monkeypatch.setattr(run_command, "run_scenario", lambda *given, **how: asked.append(given) or 0)
        words = "fleet ws://[::1]:9/board --connections 4 --rate-per-s 2.5 --frames-per-write 3 --pattern noise"
        cli.run_main([*words.split(), "--arrivals", "bursty", "--viewers", "2", "--seconds", "3"])
        ((scenario, outputs, address),) = asked
        fleet = scenario.fleet
        assert (address.host, address.port, address.path) == ("::1", 9, "/board")
        assert (fleet.connections, fleet.rate_per_s, fleet.frames_per_write, fleet.viewers) == (4, 2.5, 3, 2)
        assert (fleet.pattern, fleet.arrivals, scenario.seconds, outputs.headless) == ("noise", "bursty", 3, True)

    def test_scenarios_are_listed_a_line_each(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run_main(["scenarios"]) == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == builtin_names()

    def test_a_scenario_is_shown_as_it_is_written(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run_main(["scenarios", "show", "crowd"]) == 0
        assert capsys.readouterr().out == builtin_text("crowd")

    def test_help_imports_nothing_heavy(self) -> None:
        script = (
            "import sys, workbench.cli.app; print(sorted({'numba', 'pygame', 'matplotlib', 'rich'} & set(sys.modules)))"
        )
        shown = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        assert shown.stdout == "[]\n"


class TestAddress:
    def test_a_url_is_taken_apart_and_put_together(self) -> None:
        assert parse_url("ws://127.0.0.1:8765/canvas").url == "ws://127.0.0.1:8765/canvas"
        assert parse_url("ws://[::1]:8765").url == "ws://[::1]:8765/canvas"

    def test_a_server_on_all_interfaces_is_reached_on_loopback(self) -> None:
        assert parse_url("ws://0.0.0.0:1/x").reachable_host == "127.0.0.1"

    def test_any_free_port_is_free(self) -> None:
        require_free("127.0.0.1", 0)
        with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1:5"):
            require_free("192.0.2.1", 5)
        with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1.*; choose another host$"):
            require_free("192.0.2.1", 0)


class TestFileLimit:
    def test_what_fits_is_accepted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 1024))
        facts.require_connections(1024 - facts.RESERVED_COUNT, "n")
        with pytest.raises(UserError):
            facts.require_connections(1025 - facts.RESERVED_COUNT, "n")

    def test_the_actual_limit_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda which: (20, 20))
        line = "n is 8, but the open-file limit of 20 allows 0 connections; raise the limit: ulimit -Hn 104"
        with pytest.raises(UserError, match=f"^{line}$"):
            facts.require_connections(8, "n")

    def test_no_limit_is_no_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, resource.RLIM_INFINITY))
        facts.require_connections(1_000_000, "n")


def test_a_stop_signal_sets_the_flag_and_handlers_are_restored() -> None:
    former = signal.getsignal(signal.SIGTERM)
    rung = []
    with StopSignal(lambda: rung.append(1)) as stop:
        assert not stop.asked
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked and rung == [1]
    assert signal.getsignal(signal.SIGTERM) is former


# --- On real sockets ------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server alone, and the URL of its first line."""
    process = workbench("serve", "--size", "64x32", "--summary", str(tmp_path / "serve.json"))
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
    assert ready, "it does not listen"
    line = process.stdout.readline()
    assert re.fullmatch(r"listening on ws://127\.0\.0\.1:\d+/canvas\n", line)
    yield process, line.split()[-1]
    process.kill()
    process.communicate()


class TestForReal:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_serve_drains_at_a_signal(
        self, served: tuple[subprocess.Popen[str], str], tmp_path: Path, number: signal.Signals
    ) -> None:
        process, url = served
        with urlopen(url.replace("ws://", "http://").replace("/canvas", "/palette.json"), timeout=PATIENCE_S) as answer:
            answer.read()  # One that was ended before it served has nothing to tell of.
        process.send_signal(number)
        shown, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, shown, errors) == (0, "", "")
        summary = json.loads((tmp_path / "serve.json").read_text())
        assert summary["received_per_s"] == 0 and summary["server_cpu_cores"] > 0
        assert summary["offered_per_s"] is summary["placement_to_view_ms_p50"] is summary["fleet_cpu_cores"] is None

    def test_fleet_offers_load_to_it(self, served: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
        path = tmp_path / "fleet.json"
        process = workbench("fleet", served[1], "--connections", "8", "--seconds", "3", "--summary", str(path))
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (0, "")
        summary = json.loads(path.read_text())
        assert summary["connections"] == 8 and summary["connections_lost"] == summary["protocol_errors"] == 0
        assert summary["offered_per_s"] > 0 and summary["delivered_per_s"] > 0
        assert summary["placement_to_view_ms_p99"] > 0
        assert summary["received_per_s"] is summary["server_cpu_cores"] is summary["canvas_checksum"] is None

    def test_a_run_is_balanced(self, tmp_path: Path) -> None:
        path = tmp_path / "run.json"
        picture = tmp_path / "run.png"
        words = ["run", "--headless", "--seconds", "2.5"]
        words += ["--set", "fleet.connections=40", "--set", "server.tick_ms=220"]
        process = workbench(*words, "--summary", str(path), "--screenshot", str(picture))
        shown, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (0, ""), shown
        summary = json.loads(path.read_text())
        assert summary["viewers_checked"] == 40 and summary["viewers_wrong"] == 0
        assert summary["connections_lost"] == summary["protocol_errors"] == 0
        handled = summary["admitted_per_s"] + summary["throttled_per_s"]
        assert handled == pytest.approx(summary["received_per_s"], rel=0.1)
        assert summary["throttled_per_s"] > 0, "the greedy ones meet the limit"
        assert summary["tick_ms_p50"] >= 110, "no tick follows another sooner than after half an interval"
        assert picture.read_bytes().startswith(b"\x89PNG")

    def test_a_fleet_without_a_server_says_so(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # The port is taken, and nothing listens on it.
            port = taken.getsockname()[1]
            process = workbench("fleet", f"ws://127.0.0.1:{port}/canvas", "--connections", "3", "--seconds", "1")
            _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1
        assert len(errors.splitlines()) == 1 and errors.startswith("fleet: ") and str(port) in errors
