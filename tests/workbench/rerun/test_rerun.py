"""A recording's arrivals placed again at a real server, and the results of the command."""

import queue
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.config import FleetConfig, StartFleet
from server.ipc.control import CheckViewers, Event, Phase, Stop, StopSending
from server.ipc.page import Page, fleet_sections
from server.protocol.blocks import Block
from server.protocol.messages import Delta, Pong, Throttled
from server.wire import DropReason
from support import recorded
from support.serving import Serving
from workbench.cli import app as cli
from workbench.errors import RunError, UserError
from workbench.recording.film import checksum_of
from workbench.recording.reader import Recording
from workbench.rerun import command
from workbench.rerun.command import rerun, rerun_scenario
from workbench.rerun.playback import Playback, ReplyCounter
from workbench.run.show import Outputs

TICKS = 30
SIZE = (40, 33)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording whose ticks are close together, and change most pixels repeatedly."""
    monkeypatch.setattr(recorded, "TICK_NS", 1_000_000)
    path = tmp_path / "a.pxr"
    recorded.make(path, TICKS, size=SIZE, changes=900)
    return path


def start_of(port: int, clients: int) -> StartFleet:
    config = FleetConfig(connections=clients, viewers=1, rate_per_s=0)
    return StartFleet(
        config=config, host="127.0.0.1", port=port, path="/canvas", seed=1, telemetry_fd=-1, canvas_fd=-1,
        width=SIZE[0], height=SIZE[1],
    )  # fmt: skip


class Parent:
    """The session's side: ends the load when everything is placed, and the process when everything is seen."""

    def __init__(self) -> None:
        self.commands: Any = queue.SimpleQueue()
        self.phases: list[str] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, Phase):
            self.phases.append(event.name)
            answers = {"finished": [StopSending()], "quiet": [CheckViewers(), Stop()]}
            for answer in answers.get(event.name, []):
                self.commands.put(answer)


class TestPlayback:
    @pytest.mark.parametrize(("loop", "clients"), [("native", 16), ("native", 1), ("mailbox", 3)])
    def test_the_canvas_becomes_the_recorded_one(self, loop: str, clients: int, source: Path) -> None:
        page, parent = Page.create(fleet_sections()), Parent()
        settings = {"width": SIZE[0], "height": SIZE[1], "rate_per_s": 65535, "burst": 65535, "loop": loop}
        with Serving(**settings) as serving, Recording.open(source) as recording:
            Playback(start_of(serving.port, clients), page, recording, parent.on_event, parent.commands).run()
            placed = sum(len(frame.changes) for frame in recording.frames())
            np.testing.assert_array_equal(serving.pixels, recording.canvas_at(recording.last_ns))
        assert parent.phases == ["connected", "sending", "finished", "quiet", "checked"]
        counters = page["fleet"][0]
        assert counters["offered_count"] == counters["sent_count"] == placed
        assert counters["throttled_count"] == counters["shed_count"] == 0
        assert counters["delta_count"] > 0 and counters["snapshot_count"] == 1
        assert page["latency"].sum() > 0 and page["latency_max_us"][0] > 0

    def test_a_missing_server_is_reported_in_one_line(self, source: Path) -> None:
        page, parent = Page.create(fleet_sections()), Parent()
        with socket.socket() as taken, Recording.open(source) as recording:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            playback = Playback(start_of(port, 2), page, recording, parent.on_event, parent.commands)
            with pytest.raises(RunError, match=f"a connection to 127.0.0.1:{port} ended: connection refused"):
                playback.run()
        assert parent.phases == []

    def test_is_stopped_at_any_time(self, source: Path) -> None:
        page, parent = Page.create(fleet_sections()), Parent()
        parent.commands.put(Stop())
        with Serving(width=SIZE[0], height=SIZE[1]) as serving, Recording.open(source) as recording:
            Playback(start_of(serving.port, 2), page, recording, parent.on_event, parent.commands).run()
        assert "finished" not in parent.phases


class TestReplyCounter:
    @pytest.fixture
    def page(self) -> Page:
        return Page.create(fleet_sections())

    def test_a_placement_is_seen_by_the_first_delta_after_its_pong(self, page: Page) -> None:
        replies = ReplyCounter(page, 1, 64, 64)
        delta = Block(0, (3, 4), b"\x01\x02")
        nonce = replies.on_ping(0, 1_000_000)
        assert replies.unanswered_count == 1
        replies.on_message(0, Pong(nonce, 7).encode(), 1_500_000)
        assert replies.unanswered_count == 0
        replies.on_message(0, Delta(7, (delta,)).encode(), 2_000_000)
        assert page["latency"].sum() == 0
        replies.on_message(0, Delta(8, (delta,)).encode(), 3_063_000)
        assert page["latency_max_us"][0] == 2063
        (bucket,) = np.flatnonzero(page["latency"])
        assert bucket == 64 + (11 - 6) * 32 + (2063 >> (11 - 5)) - 32
        assert (page["fleet"][0]["delta_count"], page["fleet"][0]["delta_pixel_count"]) == (2, 4)

    def test_drops_are_counted_once_by_reason(self, page: Page) -> None:
        replies = ReplyCounter(page, 2, 64, 64)
        replies.on_message(1, Throttled(DropReason.RATE, 10, 5).encode(), 0)
        replies.on_message(1, Throttled(DropReason.OUT_OF_BOUNDS, 10, 7).encode(), 0)
        replies.on_message(0, Throttled(DropReason.OVERLOAD, 10, 4).encode(), 0)
        counters = page["fleet"][0]
        assert (counters["throttled_count"], counters["out_of_bounds_count"], counters["shed_count"]) == (5, 2, 4)


class TestScenario:
    def test_is_the_recorded_server_with_clients(self, source: Path) -> None:
        with Recording.open(source) as recording:
            scenario = rerun_scenario(recording, ["loop=mailbox", "server.tick_ms=50"])
            server, was = scenario.server, recording.scenario.server
        assert (server.width, server.height) == SIZE
        assert (server.loop, server.tick_ms, server.tick_ms_max) == ("mailbox", 50, was.tick_ms_max)
        assert (server.rate_per_s, server.burst) == (65535, 65535)
        assert (scenario.fleet.connections, scenario.fleet.viewers, scenario.link) == (16, 1, "socket")
        assert scenario.faults == () and scenario.load_curve == () and scenario.seconds is None

    @pytest.mark.parametrize(
        "override", ["fleet.connections=3", "seed=2", "server.width=9", "server.journal=a", "link=memory"]
    )
    def test_what_the_recording_fixes_is_refused(self, override: str, source: Path) -> None:
        with (
            Recording.open(source) as recording,
            pytest.raises(UserError, match=f"--set {override}: a rerun takes all"),
        ):
            rerun_scenario(recording, [override])


class FakeShow:
    """Plays nothing, and has the figures that the test sets."""

    played: list[Any]
    checksums: list[int]
    finishes = True

    def __init__(self, outputs: Outputs, *_: Any, commands: Any) -> None:
        FakeShow.played = []
        self.outputs, self.commands = outputs, commands
        self.exit_code, self.has_failed = 0, False
        self.is_finished, self.recorded = self.finishes, outputs.record
        self.figures: dict[str, Any] = {}

    def play(self, scenario: Any) -> None:
        self.figures = {"canvas_checksum": self.checksums[len(self.played)]}
        FakeShow.played.append(scenario)

    def close(self) -> None:
        pass


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The files that were compared, in place of their comparison."""
    files: list[Any] = []
    monkeypatch.setattr(command, "Show", FakeShow)
    monkeypatch.setattr(command, "compare_files", files.append)
    monkeypatch.setattr(command, "print_comparison", lambda comparison, file: None)
    monkeypatch.setattr(FakeShow, "finishes", True)
    return files


def checksum_in(path: Path) -> int:
    with Recording.open(path) as recording:
        return checksum_of(recording.canvas_at(recording.last_ns))


class TestCommand:
    def test_says_that_the_canvas_is_the_same(
        self, source: Path, compared: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(FakeShow, "checksums", [checksum_in(source)], raising=False)
        assert rerun(source, ["server.port=4000"], Outputs(headless=True)) == 0
        expected = f"the server as recorded: the canvas is the same, checksum {checksum_in(source):08x}\n"
        assert capsys.readouterr().out == expected
        assert [scenario.server.port for scenario in FakeShow.played] == [4000] and compared == []

    def test_a_token_makes_no_other_server_and_is_not_printed(
        self, source: Path, compared: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(FakeShow, "checksums", [checksum_in(source), checksum_in(source)], raising=False)
        assert rerun(source, ['server.token="only-ours"'], Outputs(headless=True)) == 0
        assert [scenario.server.token for scenario in FakeShow.played] == ["only-ours"] and compared == []
        assert rerun(source, ['server.token="only-ours"', "loop=mailbox"], Outputs(headless=True)) == 0
        assert [scenario.server.token for scenario in FakeShow.played] == ["only-ours", "only-ours"]
        output = capsys.readouterr().out
        assert "the server with --set loop=mailbox: " in output and "only-ours" not in output

    def test_another_server_is_compared_with_the_recorded_one(
        self, source: Path, compared: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(FakeShow, "checksums", [checksum_in(source), 7], raising=False)
        assert rerun(source, ["loop=mailbox"], Outputs(headless=True)) == 1
        assert [scenario.server.loop for scenario in FakeShow.played] == ["native", "mailbox"]
        assert len(compared) == 1 and len(compared[0]) == 2
        last = capsys.readouterr().out.splitlines()[-1]
        assert last == (
            "the server with --set loop=mailbox: the canvas is another one, checksum 00000007; "
            f"recorded was {checksum_in(source):08x}"
        )

    def test_a_run_that_ended_early_is_not_compared(
        self, source: Path, compared: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(FakeShow, "checksums", [7], raising=False)
        monkeypatch.setattr(FakeShow, "finishes", False)
        assert rerun(source, ["loop=mailbox"], Outputs(headless=True)) == 0
        assert "ended before all was placed" in capsys.readouterr().out and compared == []

    def test_a_recording_without_changes_is_refused(self, tmp_path: Path) -> None:
        recorded.make(tmp_path / "b.pxr", 0)
        with pytest.raises(UserError, match="nothing to place again"):
            rerun(tmp_path / "b.pxr", [], Outputs(headless=True))

    def test_is_asked_for_on_the_command_line(
        self, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = []
        monkeypatch.setattr(command, "rerun", lambda *arguments: asked.append(arguments) or 0)
        assert cli.run_main(["run", "--from-recording", str(source), "--headless", "--set", "loop=mailbox"]) == 0
        assert asked == [(source, ["loop=mailbox"], Outputs(headless=True))]
        assert cli.run_main(["run", "crowd", "--from-recording", str(source)]) == 2
        assert "conflict: the recording defines the run" in capsys.readouterr().err
