"""Scenarios: reading, writing and changing them; each error is one line that begins with its place."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.config import FleetConfig
from server.config import ServerConfig
from workbench.errors import UserError
from workbench.scenarios.fault import Fault
from workbench.scenarios.scenario import DEFAULT_NAME, Scenario, builtin_names, builtin_text, load_scenario


def refusal(name: str, *overrides: str) -> str:
    """The one line that a faulty scenario is refused with."""
    with pytest.raises(UserError) as caught:
        load_scenario(name, overrides)
    line = str(caught.value)
    assert "\n" not in line
    return line


class TestBuiltIns:
    @pytest.mark.parametrize("name", builtin_names())
    def test_each_loads_and_says_what_it_shows(self, name: str) -> None:
        scenario = load_scenario(name)
        assert scenario.name == name
        assert scenario.title.endswith(".") and builtin_text(name).startswith("title")

    def test_the_default_comes_first(self) -> None:
        assert builtin_names()[0] == DEFAULT_NAME

    def test_first_light_has_drops_to_show(self) -> None:
        scenario = load_scenario("first_light")
        greedy_rate = scenario.fleet.rate_per_s * scenario.fleet.greedy_factor
        assert scenario.fleet.connections == 1000 and scenario.fleet.greedy_ratio > 0
        assert scenario.fleet.rate_per_s < scenario.server.rate_per_s < greedy_rate

    def test_crowd_is_within_its_limits(self) -> None:
        scenario = load_scenario("crowd")
        fleet, server = scenario.fleet, scenario.server
        assert fleet.connections * fleet.rate_per_s == 300_000
        assert fleet.connections <= server.width * server.height, "a pixel for each device"
        assert fleet.viewer_count == fleet.connections
        assert fleet.rate_per_s <= server.rate_per_s and fleet.frames_per_write <= server.burst
        assert 1000 / server.tick_ms >= 5, "five deltas a second"


class TestOverrides:
    def test_each_is_typed_by_its_key(self) -> None:
        scenario = load_scenario(
            "crowd",
            [
                "fleet.connections=7",
                "fleet.viewers=none",
                "server.echo=true",
                "server.origins=['http://a']",
                "title=x y",
            ],
        )
        assert (scenario.fleet.connections, scenario.fleet.viewers, scenario.server.echo) == (7, "none", True)
        assert scenario.server.origins == ("http://a",)
        assert scenario.title == "x y"

    def test_the_last_override_wins(self) -> None:
        assert load_scenario("crowd", ["seed=2", "seed=3"]).seed == 3

    def test_loop_and_loops_are_shorthands(self) -> None:
        server = load_scenario("crowd", ["loop=portable", "loops=2"]).server
        assert (server.loop, server.loops) == ("portable", 2)

    @given(st.integers(0, 1_000_000))
    @settings(deadline=None, max_examples=20)
    def test_any_number_in_range_arrives(self, count: int) -> None:
        assert load_scenario("crowd", [f"fleet.connections={count}"]).fleet.connections == count

    @given(st.text(max_size=30), st.text(max_size=30))
    @settings(deadline=None, max_examples=100)
    def test_any_text_is_taken_or_refused(self, key: str, value: str) -> None:
        try:
            load_scenario("crowd", [f"{key}={value}"])
        except UserError as error:
            assert str(error)


class TestFaults:
    @pytest.mark.parametrize(
        ("override", "line"),
        [
            ("fleet.conections=5", "$.fleet.conections is not a known key; did you mean $.fleet.connections?"),
            ("server.zzz=5", "$.server.zzz is not a known key; known there: host, port, width"),
            ("fleet.connections=abc", "$.fleet.connections is 'abc'; it must be a whole number"),
            ("fleet.connections=-1", "$.fleet.connections is -1; it must be 0 to 1000000"),
            ("fleet.connections=1.5", "$.fleet.connections is 1.5; it must be a whole number"),
            ("fleet.rate_per_s=nan", "$.fleet.rate_per_s is nan; it must be 0 to 1000000"),
            ("fleet.viewers=6000", "$.fleet.viewers is 6000; it must be all, none or 0 to connections (5000)"),
            ("fleet.viewers=some", "$.fleet.viewers is 'some'; it must be all, none or a whole number"),
            ("fleet.pattern=imag", "it must be sensor_field, image, life, hotspot or noise"),
            ("fleet=3", "$.fleet is 3; it must be a table of keys"),
            ("server.origins=[1]", "$.server.origins[0] is 1; it must be a text"),
            ("server.echo=1", "$.server.echo is 1; it must be true or false"),
            ("server.port=70000", "$.server.port is 70000; it must be 0 to 65535"),
            ("loop=mail", "$.server.loop is 'mail'; it must be native, portable or mailbox"),
            ("link=wire", "$.link is 'wire'; it must be socket or memory"),
            ("fleet.region=near", "$.fleet.region is 'near'; it must be whole or around"),
            ("fleet.interval_ms=1001", "$.fleet.interval_ms is 1001; it must be 0 to 1000"),
            ("fleet.slow_ratio=2", "$.fleet.slow_ratio is 2.0; it must be 0 to 1"),
            ("seconds=0", "$.seconds is 0; it must be above 0"),
            ("seed=-1", "$.seed is -1; it must be 0 to"),
            ("seed.x=1", "$.seed has no keys"),
            ("fleet", "--set 'fleet' is not KEY=VALUE"),
            ("=3", "--set '=3' is not KEY=VALUE"),
        ],
    )
    def test_of_a_key_or_value_names_its_path(self, override: str, line: str) -> None:
        assert line in refusal("crowd", override)

    @pytest.mark.parametrize("override", ["loop=mailbox", "fleet.region=around", "fleet.interval_ms=50"])
    def test_of_what_no_memory_link_can_do(self, override: str) -> None:
        with pytest.raises(UserError, match="link is memory and"):
            load_scenario("crowd", ["link=memory", override])

    def test_of_a_name_gives_the_closest(self) -> None:
        assert refusal("crwod").startswith("no scenario 'crwod'; did you mean 'crowd'? 'workbench scenarios'")
        assert "did you mean" not in refusal("zzzzzz")
        with pytest.raises(UserError, match="no scenario 'crwod'"):
            builtin_text("crwod")

    def test_of_a_file_names_the_file(self, tmp_path: Path) -> None:
        assert "is a folder" in refusal(str(tmp_path))
        assert "no file" in refusal(str(tmp_path / "none.toml"))
        broken = tmp_path / "broken.toml"
        broken.write_text("a = ?")
        assert "is not TOML" in refusal(str(broken)) and "line 1" in refusal(str(broken))
        broken.write_bytes(b"\xff\xfe\x00")
        assert "not UTF-8" in refusal(str(broken))
        assert "cannot be read" in refusal(str(broken / "below.toml"))

    def test_in_a_file_names_file_and_path(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        path.write_text("[fleet]\nrate_per_s = 'fast'\n")
        assert refusal(str(path)) == f"{path}: $.fleet.rate_per_s is 'fast'; it must be a number"


def test_a_file_says_all_that_a_scenario_holds(tmp_path: Path) -> None:
    scenario = Scenario(
        name="mine", title="T.", seconds=3.5, seed=9, server=ServerConfig(width=5), fleet=FleetConfig(connections=2)
    )
    path = tmp_path / "other.toml"
    path.write_text(
        'name = "mine"\ntitle = "T."\nseconds = 3.5\nseed = 9\n[server]\nwidth = 5\n[fleet]\nconnections = 2\n'
    )
    assert load_scenario(str(path)) == scenario


def test_a_file_without_a_name_is_called_by_its_own(tmp_path: Path) -> None:
    path = tmp_path / "rush.toml"
    path.write_text("[fleet]\nconnections = 1\n")
    assert load_scenario(str(path)).name == "rush"


class TestDirections:
    """A load curve and faults: laid over by --set as any key, and refused in one line where they make no sense."""

    def test_they_are_read(self) -> None:
        scenario = load_scenario(
            "first_light",
            ["load_curve=[[0, 0.5], [10, 2]]", "faults=[{kind = 'cut links', at_s = 3, every_s = 2.5, share = 0.1}]"],
        )
        assert scenario.load_curve == ((0, 0.5), (10, 2))
        assert scenario.faults == (Fault(kind="cut links", at_s=3, every_s=2.5, share=0.1),)

    @pytest.mark.parametrize(
        ("override", "line"),
        [
            ("load_curve=[[5, 1], [4, 1]]", "load_curve has a point at 4 s; points must go forward from 0"),
            ("load_curve=[[0, 11]]", "load_curve has the factor 11; it must be 0 to 10"),
            ("load_curve=[[0]]", "load_curve"),
            ("faults=[{kind='fire'}]", "$.faults[0].kind is 'fire'; it must be stall devices, cut links, kill loop"),
            ("faults=[{kind='cut links', after=3}]", "$.faults[0].after is not a known key; known there: kind, at_s"),
            ("faults=[{kind='cut links', share=2}]", "share is 2.0; it must be 0 to 1"),
            ("faults=[{kind='cut links', every_s=0.1}]", "every_s is 0.1; it must be 0, or 0.25"),
            ("faults=[{kind='kill loop clients', loop=1}]", "a fault's loop is 1 and server.loops is 1"),
        ],
    )
    def test_each_fault_is_described(self, override: str, line: str) -> None:
        assert line in refusal("first_light", override)

    def test_memory_has_nothing_to_cut(self) -> None:
        assert "they need link to be socket" in refusal("internet", "faults=[{kind='cut links'}]")
