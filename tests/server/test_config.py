"""The server's settings: defaults that hold, and nonsense refused in one line that names value and range."""

import msgspec
import pytest

from server.config import ServerConfig
from server.engine.canvas import new_rules


def test_defaults_are_those_of_the_protocol():
    config = ServerConfig()
    assert (config.rate_per_s, config.burst, config.stall_s, config.handshake_s) == (60, 120, 30, 5)
    assert (config.host, config.port, config.echo, config.evict_after_s) == ("127.0.0.1", 0, False, 0)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("port", 65_536, "port is 65536; it must be 0 to 65535"),
        ("port", -1, "port is -1; it must be 0 to 65535"),
        ("width", 0, "width is 0; it must be 1 to 8192"),
        ("height", 8193, "height is 8193; it must be 1 to 8192"),
        ("rate_per_s", 0, "rate_per_s is 0; it must be 1 to 65535"),
        ("burst", 70_000, "burst is 70000; it must be 1 to 65535"),
        ("tick_ms", 0, "tick_ms is 0; it must be 1 to 60000"),
        ("loops", 65, "loops is 65; it must be 1 to 64"),
        ("connections_max", 0, "connections_max is 0; it must be 1 to 1000000"),
        ("stall_s", 0.0, "stall_s is 0.0; it must be 0.1 to 86400"),
        ("evict_after_s", -1.0, "evict_after_s is -1.0; it must be 0 to 86400"),
        ("handshake_s", 601.0, "handshake_s is 601.0; it must be 0.1 to 600"),
    ],
)
def test_a_value_out_of_range_is_named(name, value, words):
    with pytest.raises(ValueError, match=words):
        ServerConfig(**{name: value})
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert({name: value}, ServerConfig)


@pytest.mark.parametrize("name", ["width", "height", "rate_per_s", "burst", "tick_ms", "loops"])
def test_the_ends_of_a_range_are_in_it(name):
    ServerConfig(**{name: 1})


def test_more_tiles_than_can_be_counted():
    ServerConfig(width=8192, height=8160)
    words = "width x height is 8192 x 8192, which is 65536 tiles; at most 65535 can be counted: take 32 pixels off"
    with pytest.raises(ValueError, match=words):
        ServerConfig(width=8192, height=8192)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"widht": 3}, "unknown field `widht`"), ({"width": "3"}, r"\$\.width"), ({"loop": "fast"}, r"\$\.loop")],
)
def test_a_key_or_a_type_that_is_wrong_is_named_by_its_path(settings, words):
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(settings, ServerConfig)


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError):
        ServerConfig().width = 3


def test_rules_are_the_settings_in_nanoseconds_and_tiles():
    rules = new_rules(ServerConfig(width=65, height=32, rate_per_s=50, burst=3, stall_s=0.5, evict_after_s=2))[0]
    assert (rules["token_ns"], rules["burst_ns"]) == (20_000_000, 60_000_000)
    assert (rules["stall_ns"], rules["evict_ns"]) == (500_000_000, 2_000_000_000)
    assert (rules["tiles_across"], rules["tiles_down"], rules["tick_next"]) == (3, 1, 1)
